//! Can this node serve?

use std::sync::atomic::Ordering;

use anteroom_ports::StoreResult;
use tracing::{info, warn};

use super::Ops;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// Whether the schema is exactly what this binary was built for.
    pub schema_current: bool,
}

impl Ops {
    /// Asks the store. An error means: not now.
    pub async fn check_health(&self) -> StoreResult<Health> {
        let outcome = self.store.schema_status().await;
        let up = outcome.is_ok();
        if self.was_up.swap(up, Ordering::SeqCst) != up {
            match &outcome {
                Ok(_) => info!(event = "store.available"),
                Err(e) => warn!(event = "store.unavailable", reason = %e),
            }
        }
        outcome.map(|schema| Health {
            schema_current: schema.current(),
        })
    }
}
