//! What is done for keys in the background.

use std::sync::PoisonError;

use anteroom_domain::access::ApiKey;
use anteroom_ports::{Durability, StoreResult};
use jiff::SignedDuration;

use super::Access;
use crate::later;

impl Access {
    /// Notes that a key is used, if that was not noted moments ago.
    pub(super) fn note_used(&self, key: &ApiKey) {
        /// A last use younger than this is left alone.
        const OLD: SignedDuration = SignedDuration::from_secs(60);
        let now = self.clock.now();
        if key.last_used_at.is_some_and(|at| now.duration_since(at) < OLD) {
            return;
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert(key.id, now);
    }

    /// The key, with the use that this node has noted and not written down yet.
    pub(super) fn as_last_used(&self, mut key: ApiKey) -> ApiKey {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        key.last_used_at = key.last_used_at.max(used.get(&key.id).copied());
        key
    }

    /// Writes down when keys were last used, in one batch. What cannot be written is kept for the next.
    pub async fn flush_used(&self) -> StoreResult<usize> {
        let batch: Vec<_> = {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            used.drain().collect()
        };
        if batch.is_empty() {
            return Ok(0);
        }
        let written = async {
            let mut unit = self.store.begin(Durability::Full).await?;
            unit.touch_api_keys(&batch).await?;
            unit.commit().await
        }
        .await;
        if written.is_err() {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            for (id, at) in &batch {
                let entry = used.entry(*id).or_insert(*at);
                *entry = (*entry).max(*at);
            }
        }
        written.map(|()| batch.len())
    }

    /// Deletes keys that expired more than 30 days ago, a batch at a time. Answers how many.
    pub async fn purge_expired(&self) -> StoreResult<usize> {
        let before = later(self.clock.now(), SignedDuration::from_hours(-24 * 30));
        let mut unit = self.store.begin(Durability::Full).await?;
        let purged = unit.purge_api_keys(before, 500).await?;
        unit.commit().await?;
        Ok(purged)
    }
}
