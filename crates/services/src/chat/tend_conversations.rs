//! Conversations that nobody has used for long are deleted, where the operator wants that.

use anteroom_ports::{Durability, StoreResult};
use tracing::info;

use super::Chat;
use crate::later;

/// How many go in one commit: with up to thousands of messages each.
const BATCH: i64 = 20;

impl Chat {
    /// Deletes a batch of conversations that were last used too long ago. Answers how many.
    pub async fn purge_conversations(&self) -> StoreResult<usize> {
        let Some(kept) = self.options.kept else {
            return Ok(0);
        };
        let before = later(self.clock.now(), -kept);
        let mut unit = self.store.begin(Durability::Full).await?;
        let purged = unit.purge_conversations(before, BATCH).await?;
        unit.commit().await?;
        if purged > 0 {
            info!(event = "chat.conversations.purged", count = purged);
        }
        Ok(purged)
    }
}
