//! What subscribers were told of by mail, and who is to be looked at.

use anteroom_domain::access::UsedWith;
use anteroom_domain::billing::{NanoUsd, NoticeKind, Owner};
use anteroom_domain::chat::{Outcome, UsageEvent};
use anteroom_domain::{ApiKeyId, RequestId, Timestamp};
use jiff::SignedDuration;

use super::billing::{somebody, subscription};
use super::samples::{at, id, usage};
use super::{TestDatabase, begin, race, ready};

/// Whoever inserts it; nobody does who is undone.
pub async fn of_parallel_tellers_one_tells(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (owner, other) = (somebody(), somebody());
    let mut undone = begin(&store).await;
    assert!(
        undone
            .insert_notice(owner, NoticeKind::PaymentFailed, "sub_1", at(1))
            .await
            .unwrap()
    );
    drop(undone);
    let tellers = race(|_| {
        let store = store.clone();
        async move {
            let mut unit = begin(&store).await;
            let tells = unit
                .insert_notice(owner, NoticeKind::PaymentFailed, "sub_1", at(1))
                .await
                .unwrap();
            unit.commit().await.unwrap();
            tells
        }
    });
    assert_eq!(tellers.await.into_iter().filter(|tells| *tells).count(), 1);
    let mut unit = begin(&store).await;
    for (owner, kind, reference, new) in [
        (owner, NoticeKind::PaymentFailed, "sub_1", false),
        (other, NoticeKind::PaymentFailed, "sub_1", true),
        (owner, NoticeKind::PlanChanged, "sub_1", true),
        (owner, NoticeKind::PaymentFailed, "sub_2 \u{e4}", true),
        (owner, NoticeKind::PaymentFailed, "sub_2 \u{e4}", false),
    ] {
        assert_eq!(
            unit.knows_notice(owner, kind, reference).await.unwrap(),
            !new,
            "{reference}"
        );
        assert_eq!(
            unit.insert_notice(owner, kind, reference, at(2)).await.unwrap(),
            new,
            "{reference}"
        );
        assert!(unit.knows_notice(owner, kind, reference).await.unwrap(), "{reference}");
    }
}

/// Oldest first; and an owner's all at once.
pub async fn what_was_told_is_purged_and_deleted(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (owner, other) = (somebody(), somebody());
    let mut unit = begin(&store).await;
    for (reference, second) in [("b", 2), ("a", 1), ("c", 3)] {
        for owner in [owner, other] {
            unit.insert_notice(owner, NoticeKind::QuotaNear, reference, at(second))
                .await
                .unwrap();
        }
    }
    assert_eq!(unit.purge_notices(at(1), 10).await.unwrap(), 0);
    assert_eq!(unit.purge_notices(at(4), 2).await.unwrap(), 2, "no more than asked");
    let knows = async |unit: &mut Box<dyn anteroom_ports::UnitOfWork>, owner: Owner| {
        let mut known = Vec::new();
        for reference in ["a", "b", "c"] {
            if unit
                .knows_notice(owner, NoticeKind::QuotaNear, reference)
                .await
                .unwrap()
            {
                known.push(reference);
            }
        }
        known
    };
    assert_eq!(knows(&mut unit, owner).await, ["b", "c"]);
    unit.delete_notices(owner).await.unwrap();
    assert!(knows(&mut unit, owner).await.is_empty());
    assert_eq!(knows(&mut unit, other).await, ["b", "c"], "nobody else's");
    assert_eq!(unit.purge_notices(at(3), 10).await.unwrap(), 1);
    assert_eq!(knows(&mut unit, other).await, ["c"]);
}

/// In a span of time, in the order of their identifiers, and only trials.
pub async fn ending_trials_are_paged(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let mut unit = begin(&store).await;
    for (provider, id, status, end) in [
        ("stripe", "sub_3", "trialing", Some(20)),
        ("stripe", "sub_1", "trialing", Some(11)),
        ("stripe", "sub_0", "trialing", Some(10)),
        ("stripe", "sub_2", "active", Some(15)),
        ("stripe", "sub_4", "trialing", Some(21)),
        ("stripe", "sub_5", "trialing", None),
        ("other", "sub_9", "trialing", Some(15)),
    ] {
        let mut sub = subscription(somebody(), id, status, 1);
        sub.provider = provider.into();
        sub.trial_end = end.map(at);
        unit.put_subscription(&sub).await.unwrap();
    }
    unit.commit().await.unwrap();
    let mut read = store.read().await.unwrap();
    let mut page = async |after, limit| {
        let found = read.page_ending_trials(at(10), at(20), after, limit).await.unwrap();
        found.into_iter().map(|sub| sub.provider_id).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 10).await, ["sub_9", "sub_1", "sub_3"]);
    assert_eq!(page(None, 1).await, ["sub_9"]);
    assert_eq!(page(Some(("other", "sub_9")), 1).await, ["sub_1"]);
    assert_eq!(page(Some(("stripe", "sub_1")), 10).await, ["sub_3"]);
}

/// Each once, however often they called, also where a day begins between.
pub async fn owners_who_called_lately_are_paged(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let midnight: Timestamp = "2026-11-27T00:00:00Z".parse().unwrap();
    let minutes = |minutes| midnight + SignedDuration::from_mins(minutes);
    let mut owners = [somebody(), somebody(), somebody(), Owner::api_key(ApiKeyId(id()))];
    owners.sort();
    let call = |owner, created_at| UsageEvent {
        request_id: RequestId(id()),
        owner,
        used_with: UsedWith::ApiKey(ApiKeyId(id())),
        model: "gpt-4o".into(),
        plan: "pro".into(),
        served_by: None,
        usage: usage(1),
        exact: true,
        cost: Some(NanoUsd(1)),
        first_token_ms: None,
        total_ms: 1,
        outcome: Outcome::Complete,
        created_at,
    };
    let mut unit = begin(&store).await;
    for (owner, at) in [
        (owners[0], -600),
        (owners[0], -10),
        (owners[1], -60),
        (owners[2], 5),
        (owners[2], 6),
        (owners[3], -30),
        (owners[3], 1),
    ] {
        unit.insert_usage(&[&call(owner, minutes(at))]).await.unwrap();
    }
    unit.commit().await.unwrap();
    let mut read = store.read().await.unwrap();
    let mut page = async |since, after, limit| read.page_owners_booked(minutes(since), after, limit).await.unwrap();
    assert_eq!(page(-30, None, 10).await, [owners[0], owners[2], owners[3]]);
    assert_eq!(page(-60, None, 10).await, owners);
    assert_eq!(page(2, None, 10).await, [owners[2]]);
    assert_eq!(page(6, None, 10).await, [owners[2]], "at that moment");
    assert!(page(7, None, 10).await.is_empty());
    assert_eq!(page(-60, None, 2).await, owners[..2]);
    assert_eq!(page(-60, Some(owners[1]), 10).await, owners[2..]);
    assert!(page(-60, Some(owners[3]), 10).await.is_empty());
}
