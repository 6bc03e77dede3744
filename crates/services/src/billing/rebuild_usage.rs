//! Adding up anew what was used, from the calls that are booked: after a node of a version that did not add up, or where
//! somebody doubts the sums.

use anteroom_ports::{Durability, StoreResult};
use tracing::info;

use super::Billing;

/// How many owners are looked up at a time.
const PAGE: i64 = 500;

impl Billing {
    /// Makes the sums of every owner anew, one owner a commit, beside what is booked meanwhile. Answers how many owners
    /// there are.
    pub async fn rebuild_usage(&self) -> StoreResult<usize> {
        let (mut after, mut owners) = (None, 0);
        loop {
            let page = self.store.read().await?.page_usage_owners(after, PAGE).await?;
            for owner in &page {
                let mut unit = self.store.begin(Durability::Full).await?;
                unit.rebuild_usage(*owner).await?;
                unit.commit().await?;
            }
            owners += page.len();
            let Some(last) = page.last() else { break };
            after = Some(*last);
        }
        info!(event = "billing.usage.rebuilt", owners);
        Ok(owners)
    }
}
