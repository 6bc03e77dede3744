//! Can this node serve?

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anteroom_ports::StoreResult;
use tracing::{info, warn};

use super::Ops;
use crate::migrations::schema_status;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// Whether the schema is exactly what this binary was built for.
    pub schema_current: bool,
}

/// For how long a schema that was current is taken to be so; asking takes a connection of its own.
const SCHEMA_FRESH: Duration = Duration::from_secs(30);

impl Ops {
    /// Asks the store. An error means: not now.
    pub async fn check_health(&self) -> StoreResult<Health> {
        let outcome = self.ask().await;
        let up = outcome.is_ok();
        if self.was_up.swap(up, Ordering::SeqCst) != up {
            match &outcome {
                Ok(_) => info!(event = "store.available"),
                Err(e) => warn!(event = "store.unavailable", reason = %e),
            }
        }
        outcome
    }

    async fn ask(&self) -> StoreResult<Health> {
        let known = *self.schema_seen.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_some_and(|at| at.elapsed() < SCHEMA_FRESH) {
            self.store.ping().await?;
            return Ok(Health { schema_current: true });
        }
        let schema_current = schema_status(&*self.store).await?.current();
        if schema_current {
            *self.schema_seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        Ok(Health { schema_current })
    }
}
