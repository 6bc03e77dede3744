//! Measures what a call to a model costs on the store: reserving its quota, then settling it.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement")]

use std::time::Instant;

use anteroom_domain::billing::{Hold, METER_MESSAGES, METER_SPEND, Owner, QuotaKey};
use anteroom_domain::chat::{Outcome, TokenUsage, UsageEvent};
use anteroom_domain::{RequestId, ReservationId, SessionId, Timestamp, UserId};
use anteroom_ports::billing::Reservation;
use anteroom_ports::{Durability, Migrator, Store};
use anteroom_sqlite::{SqliteOptions, SqliteStore};
use uuid::Uuid;

#[tokio::main]
async fn main() {
    let path = std::env::args().nth(1).unwrap();
    let store = SqliteStore::open(SqliteOptions::new(path)).await.unwrap();
    store.migrate_up().await.unwrap();
    run(&store).await;
}

async fn run(store: &dyn Store) {
    let now: Timestamp = "2026-11-20T00:00:00Z".parse().unwrap();
    let owner = Owner::account(UserId(Uuid::now_v7()));
    let key = |owner, meter| QuotaKey {
        owner,
        meter,
        window_start: now,
    };
    let mut reserve = Vec::new();
    let mut settle = Vec::new();
    let mut read = Vec::new();
    let session_id = SessionId(Uuid::now_v7());
    for _ in 0..3000 {
        let reservation = Reservation {
            id: ReservationId(Uuid::now_v7()),
            request_id: RequestId(Uuid::now_v7()),
            owner,
            session_id,
            model: "gpt".into(),
            at_least: TokenUsage::default(),
            holds: vec![
                Hold {
                    key: key(owner, METER_MESSAGES),
                    amount: 1,
                    limit: Some(1_000_000),
                },
                Hold {
                    key: key(Owner::DEPLOYMENT, METER_SPEND),
                    amount: 10,
                    limit: Some(1_000_000_000),
                },
            ],
            created_at: now,
            expires_at: now,
        };
        let t = Instant::now();
        let mut unit = store.begin(Durability::Relaxed).await.unwrap();
        unit.reserve_quota(&reservation).await.unwrap();
        unit.commit().await.unwrap();
        reserve.push(t.elapsed());
        let t = Instant::now();
        let mut unit = store.begin(Durability::Relaxed).await.unwrap();
        unit.settle_quota(reservation.id, &[(METER_MESSAGES, 1), (METER_SPEND, 5)])
            .await
            .unwrap();
        unit.insert_usage(&UsageEvent {
            request_id: reservation.request_id,
            owner,
            session_id,
            model: "gpt".into(),
            usage: TokenUsage::default(),
            exact: true,
            cost: None,
            first_token_ms: None,
            total_ms: 1,
            outcome: Outcome::Complete,
            created_at: now,
        })
        .await
        .unwrap();
        unit.commit().await.unwrap();
        settle.push(t.elapsed());
        let t = Instant::now();
        store
            .read()
            .await
            .unwrap()
            .quota_level(&key(owner, METER_MESSAGES))
            .await
            .unwrap();
        read.push(t.elapsed());
    }
    for (name, mut times) in [("reserve", reserve), ("settle+usage", settle), ("one read", read)] {
        times.sort_unstable();
        println!("{name}: p50 {:?} p99 {:?}", times[1500], times[2970]);
    }
}
