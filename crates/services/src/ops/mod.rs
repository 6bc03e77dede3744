//! The running of it: health, the deployment's key, repeated requests, and what is done in the background.

mod check_health;
mod check_key;
mod leases;
mod repeat_request;

pub use check_health::Health;
pub use check_key::CheckKeyError;
pub(crate) use leases::{Lease, Leases};
pub use repeat_request::{Claimed, HeldKey, Repeat, RepeatError};

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anteroom_domain::{RequestId, Timestamp};
use anteroom_ports::{Clock, Ids, Secrets, Store};
use jiff::SignedDuration;

/// The use cases of operations.
pub struct Ops {
    store: Arc<dyn Store>,
    secrets: Arc<dyn Secrets>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    /// Whether the store answered when last asked, so that its going and coming are logged once each.
    was_up: AtomicBool,
    /// When the schema was last seen to be current.
    schema_seen: Mutex<Option<Instant>>,
    /// The keys that requests hold which run here.
    leases: Leases,
}

impl Ops {
    /// Puts the context together. A request holds its `Idempotency-Key` for the length of a `lease` without renewing
    /// that.
    pub fn new(
        store: Arc<dyn Store>,
        secrets: Arc<dyn Secrets>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        lease: SignedDuration,
    ) -> Self {
        Self {
            store,
            secrets,
            clock,
            ids,
            was_up: AtomicBool::new(true),
            schema_seen: Mutex::new(None),
            leases: Leases::of(lease),
        }
    }

    /// A fresh identifier for a request.
    pub fn request_id(&self) -> RequestId {
        RequestId(self.ids.uuid())
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
