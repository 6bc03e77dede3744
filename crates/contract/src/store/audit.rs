//! The audit log and its chain.

use anteroom_domain::audit::{Actor, Outcome, Seal};
use anteroom_ports::audit::AuditFilter;

use super::samples::{at, audit_entry, stored_user};
use super::{TestDatabase, begin, race, ready};

/// Every field, newest first, also for an account that is gone.
pub async fn entries_survive_a_round_trip(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let mut bare = audit_entry("system.start", None);
    (bare.session_id, bare.address, bare.user_agent, bare.request_id) = (None, None, None, None);
    bare.details.clear();
    bare.actor = Actor::System;
    let mut own = audit_entry("account.login", Some(ada.id));
    own.actor = Actor::User(ada.id);
    let mut unit = begin(&store).await;
    unit.insert_audit(&bare).await.unwrap();
    unit.insert_audit(&own).await.unwrap();
    unit.delete_user(ada.id).await.unwrap();
    unit.commit().await.unwrap();
    let mut read = store.read().await.unwrap();
    let all = AuditFilter::default();
    assert_eq!(
        read.page_audit(&all, None, 10).await.unwrap(),
        [own.clone(), bare.clone()]
    );
    assert_eq!(read.page_audit(&all, None, 1).await.unwrap(), [own.clone()]);
    assert_eq!(read.page_audit(&all, Some(own.id), 10).await.unwrap(), [bare]);
}

/// Each filter alone, and all together.
#[expect(clippy::too_many_lines, reason = "a table of cases")]
pub async fn entries_are_filtered(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (ada, root) = (stored_user(&store).await.id, stored_user(&store).await.id);
    let login = audit_entry("account.login", Some(ada));
    let mut logout = audit_entry("account_x.logout", Some(ada));
    logout.outcome = Outcome::Succeeded;
    logout.actor = Actor::User(ada);
    logout.at = at(5);
    let mut role = audit_entry("account.role.change", Some(ada));
    role.actor = Actor::User(root);
    role.at = at(9);
    let mut unit = begin(&store).await;
    for entry in [&login, &logout, &role] {
        unit.insert_audit(entry).await.unwrap();
    }
    unit.commit().await.unwrap();
    let filter = AuditFilter::default;
    let cases = [
        (
            AuditFilter {
                user: Some(ada),
                ..filter()
            },
            vec![&role, &logout, &login],
        ),
        (
            AuditFilter {
                user: Some(root),
                ..filter()
            },
            vec![&role],
        ),
        (
            AuditFilter {
                actor: Some(ada),
                ..filter()
            },
            vec![&logout],
        ),
        (
            AuditFilter {
                subject: Some(root),
                ..filter()
            },
            vec![],
        ),
        (
            AuditFilter {
                act: Some("account".into()),
                ..filter()
            },
            vec![&role, &login],
        ),
        (
            AuditFilter {
                act: Some("account.login".into()),
                ..filter()
            },
            vec![&login],
        ),
        (
            AuditFilter {
                act: Some("account%".into()),
                ..filter()
            },
            vec![],
        ),
        (
            AuditFilter {
                outcome: Some(Outcome::Succeeded),
                ..filter()
            },
            vec![&logout],
        ),
        (
            AuditFilter {
                from: Some(at(5)),
                ..filter()
            },
            vec![&role, &logout],
        ),
        (
            AuditFilter {
                until: Some(at(5)),
                ..filter()
            },
            vec![&login],
        ),
        (
            AuditFilter {
                user: Some(ada),
                act: Some("account".into()),
                from: Some(at(2)),
                ..filter()
            },
            vec![&role],
        ),
    ];
    let mut read = store.read().await.unwrap();
    for (filter, expected) in cases {
        let found = read.page_audit(&filter, None, 10).await.unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{filter:?}");
    }
}

/// Whoever has the database's password for the application cannot rewrite the log by a slip.
pub async fn the_log_is_append_only(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let entry = audit_entry("account.login", None);
    let mut unit = begin(&store).await;
    unit.insert_audit(&entry).await.unwrap();
    unit.insert_audit_seals(&[seal(1, &entry)]).await.unwrap();
    unit.commit().await.unwrap();
    for sql in [
        "UPDATE audit_log SET act = 'x'",
        "DELETE FROM audit_log",
        "UPDATE audit_seals SET seq = 2",
        "DELETE FROM audit_seals",
    ] {
        assert!(database.refuses(sql).await, "{sql}");
    }
    let mut read = store.read().await.unwrap();
    let sealed = read.sealed_audit(0, 10).await.unwrap();
    assert_eq!(sealed, [(seal(1, &entry), Some(Ok(entry)))]);
}

fn seal(seq: i64, entry: &anteroom_domain::audit::AuditEntry) -> Seal {
    Seal {
        seq,
        audit_id: entry.id,
        digest: [u8::try_from(seq).unwrap(); 32],
    }
}

/// Each row once, in order, whoever seals.
pub async fn of_parallel_sealers_each_row_is_sealed_once(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let mut unit = begin(&store).await;
    for _ in 0..20 {
        unit.insert_audit(&audit_entry("account.login", None)).await.unwrap();
    }
    unit.commit().await.unwrap();
    let mut read = store.read().await.unwrap();
    assert_eq!(read.count_unsealed_audit().await.unwrap(), 20);
    drop(read);
    race(|_| {
        let store = store.clone();
        async move {
            let mut unit = begin(&store).await;
            let (last, rows) = unit.lock_audit_chain(None, 3).await.unwrap();
            let first = last.map_or(1, |seal| seal.seq + 1);
            let seals: Vec<Seal> = (first..).zip(&rows).map(|(seq, row)| seal(seq, row)).collect();
            unit.insert_audit_seals(&seals).await.unwrap();
            unit.commit().await.unwrap();
        }
    })
    .await;
    let mut read = store.read().await.unwrap();
    assert_eq!(read.count_unsealed_audit().await.unwrap(), 0);
    let sealed = read.sealed_audit(0, 100).await.unwrap();
    let places: Vec<i64> = sealed.iter().map(|(seal, _)| seal.seq).collect();
    assert_eq!(places, (1..=20).collect::<Vec<_>>());
    assert!(sealed.windows(2).all(|pair| pair[0].0.audit_id < pair[1].0.audit_id));
    assert_eq!(read.sealed_audit(18, 100).await.unwrap().len(), 2);
}

/// Without those before, in order.
pub async fn unsealed_rows_are_found_from_one_on(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let entries: Vec<_> = (0..4).map(|_| audit_entry("account.login", None)).collect();
    let mut unit = begin(&store).await;
    assert_eq!(unit.first_unsealed_audit(None).await.unwrap(), None);
    for entry in &entries {
        unit.insert_audit(entry).await.unwrap();
    }
    unit.insert_audit_seals(&[seal(1, &entries[1]), seal(2, &entries[3])])
        .await
        .unwrap();
    unit.commit().await.unwrap();
    let of = |number: usize| Some((entries[number].id, entries[number].at));
    let mut read = store.read().await.unwrap();
    assert_eq!(read.first_unsealed_audit(None).await.unwrap(), of(0));
    assert_eq!(read.first_unsealed_audit(Some(entries[0].id)).await.unwrap(), of(0));
    assert_eq!(read.first_unsealed_audit(Some(entries[1].id)).await.unwrap(), of(2));
    assert_eq!(read.first_unsealed_audit(Some(entries[3].id)).await.unwrap(), None);
    drop(read);
    let mut unit = begin(&store).await;
    let (last, rows) = unit.lock_audit_chain(Some(entries[1].id), 10).await.unwrap();
    assert_eq!(last.map(|seal| seal.seq), Some(2));
    assert_eq!(rows, [entries[2].clone()]);
}
