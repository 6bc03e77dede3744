//! What is done for sessions in the background.

use std::sync::PoisonError;

use anteroom_ports::{Durability, StoreResult};

use super::Sessions;
use crate::later;

impl Sessions {
    /// Writes down when sessions were last seen, in one batch. What cannot be written is kept for the next.
    pub async fn flush_seen(&self) -> StoreResult<usize> {
        let batch: Vec<_> = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.drain().collect()
        };
        if batch.is_empty() {
            return Ok(0);
        }
        let written = async {
            let mut unit = self.store.begin(Durability::Full).await?;
            unit.touch_sessions(&batch).await?;
            unit.commit().await
        }
        .await;
        if written.is_err() {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            for (id, at) in &batch {
                let entry = seen.entry(*id).or_insert(*at);
                *entry = (*entry).max(*at);
            }
        }
        written.map(|()| batch.len())
    }

    /// Deletes sessions that expired more than 30 days ago, a batch at a time. Answers how many.
    pub async fn purge_expired(&self) -> StoreResult<usize> {
        let before = later(self.clock.now(), jiff::SignedDuration::from_hours(-24 * 30));
        let mut unit = self.store.begin(Durability::Full).await?;
        let purged = unit.purge_sessions(before, 500).await?;
        unit.commit().await?;
        Ok(purged)
    }
}
