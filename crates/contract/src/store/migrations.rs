//! The schema.

use std::ops::Range;
use std::time::Duration;

use anteroom_domain::access::UsedWith;
use anteroom_domain::billing::{METER_KEY_BUDGET, METER_MESSAGES, Owner, QuotaKey};
use anteroom_domain::chat::{Outcome, UsageEvent};
use anteroom_domain::migrations::{Scope, Version};
use anteroom_ports::StoreError;
use anteroom_services::migrations::{SchemaStatus, schema_status};
use tokio::task::JoinSet;

use super::samples::{api_key, at, counter, digest, hold, reservation, settlement, stored_user};
use super::{TestDatabase, begin, migrate_down, migrate_up, ready};
use crate::migrations::crashes::converges;

/// The tables that every database's migrations make, as [`TestDatabase::shape`] tells of them.
const SHAPE: &str = include_str!("shape.txt");

/// How a shape spells a column. `kind` is `bytes`, `integer` or `text`; `key` is its place in the primary key, from 1.
pub fn column_line(table: &str, column: &str, kind: &str, nullable: bool, key: Option<i64>) -> String {
    let null = if nullable { "nullable" } else { "required" };
    let key = key.map_or_else(String::new, |place| format!(" key {place}"));
    format!("{table}.{column}: {kind} {null}{key}")
}

/// How a shape spells an index other than the primary key's. `columns` are joined by a comma.
pub fn index_line(table: &str, columns: &str, unique: bool) -> String {
    let unique = if unique { " unique" } else { "" };
    format!("{table} ({columns}): index{unique}")
}

/// How a shape spells a foreign key.
pub fn reference_line(table: &str, column: &str, target: &str, cascades: bool) -> String {
    let cascade = if cascades { ", deleted with it" } else { "" };
    format!("{table}.{column} -> {target}{cascade}")
}

/// With rows in it; what is taken back leaves nothing behind.
pub async fn the_schema_goes_up_down_and_up(database: &dyn TestDatabase) {
    let store = ready(database).await;
    stored_user(&store).await;
    let shape = database.shape().await;
    let missing: Vec<&str> = SHAPE
        .lines()
        .filter(|line| !shape.iter().any(|found| found == line))
        .collect();
    let added: Vec<&String> = shape
        .iter()
        .filter(|found| !SHAPE.lines().any(|line| line == *found))
        .collect();
    assert!(
        missing.is_empty() && added.is_empty(),
        "missing {missing:#?}, added {added:#?}"
    );
    let status = schema_status(&*store).await.unwrap();
    assert!(status.current(), "{status:?}");
    assert_eq!(migrate_up(&store).await.unwrap(), []);

    let mut taken_back = Vec::new();
    while let Some(version) = migrate_down(&store).await.unwrap() {
        let status = schema_status(&*store).await.unwrap();
        assert_eq!(status.pending.first(), Some(&version));
        taken_back.insert(0, version);
    }
    assert_eq!(taken_back, status.applied);
    assert_eq!(database.shape().await, Vec::<String>::new());
    assert_eq!(migrate_up(&store).await.unwrap(), taken_back);
    assert_eq!(database.shape().await, shape);
    stored_user(&store).await;
}

/// A release may be refused and taken back while there are calls that were made with API keys.
pub async fn what_was_used_with_keys_stays_when_they_are_taken_back(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let owner = stored_user(&store).await;
    let key = api_key(&owner);
    let budget = QuotaKey {
        owner: Owner::api_key(key.id),
        meter: METER_KEY_BUDGET,
        window_start: at(0),
    };
    let by_session = reservation(vec![hold(&counter(), 1, None)]);
    let mut by_key = reservation(vec![hold(&counter(), 1, None), hold(&budget, 5, Some(9))]);
    by_key.used_with = UsedWith::ApiKey(key.id);
    let mut unit = begin(&store).await;
    unit.insert_api_key(&key, &digest()).await.unwrap();
    for call in [&by_session, &by_key] {
        unit.reserve_quota(&[call]).await.unwrap();
        let event = UsageEvent {
            request_id: call.request_id,
            owner: call.owner,
            used_with: call.used_with,
            model: call.model.clone(),
            plan: "free".into(),
            served_by: None,
            usage: call.at_least,
            exact: false,
            cost: None,
            first_token_ms: None,
            total_ms: 1,
            outcome: Outcome::Lost,
            created_at: at(1),
        };
        assert_eq!(unit.insert_usage(&[&event]).await.unwrap(), 1);
    }
    unit.commit().await.unwrap();

    let is = async |count: i64, of: &str| {
        let sql = format!(
            "CREATE TABLE proof (n INTEGER NOT NULL CHECK (n = {count})); \
             INSERT INTO proof SELECT count(*) FROM {of}; DROP TABLE proof"
        );
        database.execute(&sql).await;
    };
    while !migrate_down(&store)
        .await
        .unwrap()
        .unwrap()
        .as_str()
        .ends_with("000016")
    {}
    is(2, "usage_events WHERE session_id IS NOT NULL").await;
    is(2, "reservations WHERE session_id IS NOT NULL AND meter = 'messages'").await;
    is(0, "reservations WHERE meter = 'key_budget'").await;
    is(2, "quota_windows WHERE reserved = 1").await;
    is(0, "quota_windows WHERE owner_kind = 'api_key'").await;
    migrate_up(&store).await.unwrap();
    is(2, "usage_events").await;
    let mut unit = begin(&store).await;
    let open = unit.expired_reservations(at(100), 9).await.unwrap();
    assert!(open.contains(&by_session), "{open:?}");
    let settled = unit
        .settle_quota(&[settlement(by_key.id, &[(METER_MESSAGES, 1)])])
        .await
        .unwrap();
    assert_eq!(settled, [by_key.id]);
}

/// An old binary must not write into what it does not understand.
pub async fn a_newer_versions_schema_is_refused(database: &dyn TestDatabase) {
    let store = ready(database).await;
    database
        .execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('99990101000000')")
        .await;
    let status = schema_status(&*store).await.unwrap();
    assert_eq!(status.unknown, ["99990101000000".parse::<Version>().unwrap()]);
    assert!(!status.current());
    for error in [
        migrate_up(&store).await.unwrap_err(),
        migrate_down(&store).await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    }
}

/// Whoever is killed, and whenever: the next one ends what was begun. Of the migrations that the first release came with.
pub async fn a_cut_at_any_moment_ends_in_the_same_schema(database: &dyn TestDatabase) {
    converges_among(database, 0..FIRST).await;
}

/// The same of all since.
pub async fn a_cut_at_any_later_moment_ends_in_the_same_schema(database: &dyn TestDatabase) {
    converges_among(database, FIRST..usize::MAX).await;
}

/// How many migrations are tried in the first of the two: they take as long as the others.
const FIRST: usize = 14;

async fn converges_among(database: &dyn TestDatabase, places: Range<usize>) {
    let store = database.open(Duration::from_secs(20)).await;
    let open = || store.schema();
    let cuts = converges(&open, &store.own_migrations(), Scope::Own, &[false], places).await;
    assert!(cuts > 100, "only {cuts} cuts");
}

/// Each migration is applied by one of them, and all succeed.
pub async fn nodes_that_start_together_migrate_once(database: &dyn TestDatabase) {
    const NODES: usize = 16;
    let mut nodes = JoinSet::new();
    for _ in 0..NODES {
        let store = database.open(Duration::from_secs(20)).await;
        nodes.spawn(async move { migrate_up(&store).await.unwrap() });
    }
    let mut applied: Vec<Version> = nodes.join_all().await.into_iter().flatten().collect();
    applied.sort_unstable();
    let store = database.open(Duration::from_secs(20)).await;
    let status = schema_status(&*store).await.unwrap();
    assert!(status.current(), "{status:?}");
    assert_eq!(applied, status.applied);
}

/// Not even by a table of its own.
pub async fn asking_for_the_status_changes_nothing(database: &dyn TestDatabase) {
    let store = database.open(Duration::from_secs(20)).await;
    let SchemaStatus {
        applied,
        pending,
        unknown,
    } = schema_status(&*store).await.unwrap();
    assert_eq!((applied.len(), unknown.len()), (0, 0));
    assert!(!pending.is_empty());
    database
        .execute("CREATE TABLE __diesel_schema_migrations (version TEXT PRIMARY KEY)")
        .await;
}
