//! What was used beyond limits.

use anteroom_domain::billing::{OverageAccount, Owner};
use jiff::SignedDuration;

use super::billing::somebody;
use super::samples::at;
use super::{TestDatabase, begin, race, ready};

fn account(owner: Owner, counter: &str, month: i64) -> OverageAccount {
    OverageAccount {
        owner,
        counter: counter.into(),
        window_start: at(0) + SignedDuration::from_hours(24 * 30) * i32::try_from(month).unwrap(),
        key: "exports \u{e4}".into(),
        plan: "pro".into(),
        plan_version: 3,
        paid_from: 100,
        max: 5_000_000_000,
        reported: 0,
    }
}

/// Each owner, counter and window has one of its own.
pub async fn accounts_survive_a_round_trip(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (owner, other) = (somebody(), somebody());
    let first = account(owner, "a", 0);
    let all = [
        first.clone(),
        account(owner, "b", 0),
        account(owner, "a", 1),
        account(other, "a", 0),
    ];
    let mut unit = begin(&store).await;
    for account in &all {
        assert_eq!(unit.lock_overage(account).await.unwrap(), *account);
    }
    let grown = OverageAccount {
        plan: "business".into(),
        plan_version: 4,
        paid_from: 1000,
        max: 7,
        reported: 4_000_000_000,
        ..first.clone()
    };
    unit.put_overage(&grown).await.unwrap();
    assert_eq!(unit.lock_overage(&first).await.unwrap(), grown, "what stands is kept");
    unit.commit().await.unwrap();
    let mut reads = store.read().await.unwrap();
    let of = reads.overages_of(owner, first.window_start).await.unwrap();
    assert_eq!(of, [grown, all[1].clone(), all[2].clone()]);
    assert_eq!(
        reads.overages_of(owner, all[2].window_start).await.unwrap(),
        [all[2].clone()]
    );
    assert_eq!(reads.overages_of(other, first.window_start).await.unwrap().len(), 1);
    assert!(
        reads
            .overages_of(somebody(), first.window_start)
            .await
            .unwrap()
            .is_empty()
    );
}

/// Sixty-four who count at once count each thing once, though none of them waits to begin.
pub async fn of_parallel_reports_none_is_lost(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let terms = account(somebody(), "a", 0);
    let reports = race(|nth| {
        let (store, terms) = (store.clone(), terms.clone());
        async move {
            let mut unit = begin(&store).await;
            let mut account = unit.lock_overage(&terms).await.unwrap();
            let due = account.report(100 + i64::try_from(nth).unwrap() + 1);
            unit.put_overage(&account).await.unwrap();
            unit.commit().await.unwrap();
            due
        }
    });
    let reported: i64 = reports.await.into_iter().sum();
    assert_eq!(reported, 64, "as much as the highest says");
    let mut reads = store.read().await.unwrap();
    let stored = reads.overages_of(terms.owner, terms.window_start).await.unwrap();
    assert_eq!(stored[0].reported, 64);
}
