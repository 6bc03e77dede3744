//! Booking calls that have ended, many in one commit: waiting for the disk once for each would make every next call
//! wait as well, since a store may have one writer.

use std::time::Duration;

use anteroom_domain::chat::Outcome;
use anteroom_ports::{Durability, StoreError, StoreResult};
use tracing::{error, warn};

use super::Chat;
use super::call::{Call, Record};

/// How many are booked in one commit at most: a statement takes no more values than it can count.
const MOST: usize = 200;
/// For how long others are gathered. A process that dies meanwhile leaves their reservations to the sweep.
const GATHER: Duration = Duration::from_millis(10);
/// Tries, with growing pauses, before calls are left to the sweep: about 50 seconds.
const TRIES: u32 = 9;

impl Chat {
    /// Books a call, off the answer's path. Returns when it is booked, or left to the sweep.
    pub(super) async fn settle(&self, call: &Call, outcome: Outcome) {
        self.observe(call, outcome);
        let record = self.record(call, outcome);
        let reservation = record.reservation;
        self.settlements.waiting().push(record);
        let _turn = self.settlements.turn.lock().await;
        // Whoever had the turn before may have taken this call along.
        let is_this = |record: &Record| record.reservation == reservation;
        while self.settlements.waiting().iter().any(is_this) {
            if self.settlements.waiting().len() < MOST {
                tokio::time::sleep(GATHER).await;
            }
            self.write_all(self.settlements.take(MOST)).await;
        }
        self.booked(call, outcome);
    }

    async fn write_all(&self, records: Vec<Record>) {
        match self.write_patiently(&records).await {
            Ok(()) => {}
            // One that the store will never take must not hold the others back.
            Err(StoreError::Conflict { .. } | StoreError::Corrupt { .. }) if records.len() > 1 => {
                for record in records {
                    if let Err(e) = self.write_patiently(std::slice::from_ref(&record)).await {
                        left_to_sweep(&record, &e);
                    }
                }
            }
            Err(e) => records.iter().for_each(|record| left_to_sweep(record, &e)),
        }
    }

    async fn write_patiently(&self, records: &[Record]) -> StoreResult<()> {
        let mut pause = Duration::from_millis(100);
        for attempt in 1.. {
            match self.write_once(records).await {
                Err(e @ (StoreError::Unavailable { .. } | StoreError::Stale)) if attempt < TRIES => {
                    if attempt == 1 {
                        warn!(event = "chat.settle.deferred", calls = records.len(), reason = %e);
                    }
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                outcome => return outcome,
            }
        }
        Ok(())
    }

    async fn write_once(&self, records: &[Record]) -> StoreResult<()> {
        let mut unit = self.store.begin(Durability::Full).await?;
        Record::write(records, &mut *unit).await?;
        unit.commit().await
    }
}

fn left_to_sweep(record: &Record, reason: &StoreError) {
    error!(event = "chat.settle.left_to_sweep", reservation_id = %record.reservation, reason = %reason);
}
