//! A small Stripe over HTTP, for development, tests and demonstrations. It takes no money.
//!
//! Stripe's own SDKs drive it unchanged: customers, prices, checkouts, subscriptions, invoices, one-time payments with their
//! refunds and disputes, meters and the events of all of them, delivered under Stripe's signatures. It runs inside Anteroom's server ([`Stub::configure`]) or alone
//! ([`Stub::serve`]), and has a clock that can be moved ([`Stub::advance`]) to see renewals, failing cards and ends.
//!
//! Where it differs from Stripe, on purpose:
//! - an invoice is finalized and paid in the moment it is made, not an hour later;
//! - there is one clock for everything; `/v1/test_helpers/test_clocks` move that one;
//! - events are never forgotten, Stripe keeps them for 30 days;
//! - `cancel_at` ends a subscription without shortening its last period;
//! - subscriptions say that their billing is flexible, as Stripe's are; credit is still reckoned from the price, not from
//!   what was paid for it, which differs after discounts;
//! - all items of a subscription are billed at the same interval;
//! - no taxes, no tiers; payment intents and charges only of what is bought once: an invoice is paid or it is not;
//! - a refund arrives at once; a dispute is of the whole charge, and decided by the words of Stripe's test mode;
//! - only parameters that have an effect here, or none anywhere near, are taken; others are refused as unknown.

// Stripe's objects have many members, which `json!` takes one by one.
#![recursion_limit = "512"]

mod api;
mod billing;
mod control;
mod deliveries;
mod error;
mod form;
mod ids;
mod journal;
mod json;
mod pages;
mod periods;
mod server;
mod signature;
mod world;

pub use deliveries::Knobs;
pub use journal::StubError;
pub use signature::{SIGNATURE_HEADER, sign};
pub use world::API_VERSION;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::web::ServiceConfig;
use actix_web::{App, HttpServer};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use url::Url;

use deliveries::Outbox;
use error::ApiError;
use ids::random_id;
use journal::Journal;
use json::{hidden, set_hidden, text};
use world::{Cause, World, shown_event};

/// Where events are sent from the beginning.
#[derive(Debug, Clone)]
pub struct WebhookTarget {
    /// As this process reaches it.
    pub url: Url,
    /// What events are signed with, `whsec_…`.
    pub secret: SecretString,
}

/// Where the stub is, and who may ask it.
#[derive(Debug, Clone)]
pub struct StubOptions {
    /// Where its pages and its API are reached: `http://127.0.0.1:7860/stripe-stub`.
    pub public_url: Url,
    /// The key that opens the API, `sk_test_…`. No other does.
    pub secret_key: SecretString,
    /// The first webhook endpoint. More are made by `/v1/webhook_endpoints`.
    pub webhook: Option<WebhookTarget>,
    /// Who may show its pages in a frame, as `frame-ancestors` takes them (CSP level 3); nobody without any.
    pub frame_ancestors: Vec<String>,
    /// A file that keeps the objects across restarts; without one they are gone with the process.
    pub journal: Option<PathBuf>,
}

/// A small Stripe.
pub struct Stub {
    world: Mutex<World>,
    outbox: Arc<Outbox>,
    key: SecretString,
    webhook: Option<WebhookTarget>,
    frame_ancestors: String,
}

impl Stub {
    /// Reads the journal, if there is one, and starts the deliveries, which end when the stub is dropped.
    pub fn open(options: StubOptions) -> Result<Arc<Self>, StubError> {
        let key = options.secret_key.expose_secret();
        if key.starts_with("sk_live_") || key.starts_with("rk_live_") {
            return Err(StubError::LiveKey);
        }
        let journal = options.journal.as_deref().map(Journal::open).transpose()?;
        let outbox = Arc::new(Outbox::default());
        let public_url = options.public_url.as_str().trim_end_matches('/').to_owned();
        let world = World::new(outbox.clone(), public_url, journal).map_err(|source| StubError::Journal {
            path: options.journal.clone().unwrap_or_default(),
            source,
        })?;
        let stub = Arc::new(Self {
            world: Mutex::new(world),
            outbox,
            key: options.secret_key,
            webhook: options.webhook,
            frame_ancestors: match options.frame_ancestors.as_slice() {
                [] => "'none'".to_owned(),
                some => some.join(" "),
            },
        });
        stub.begin();
        deliveries::start(Arc::downgrade(&stub), stub.outbox.clone())?;
        Ok(stub)
    }

    /// Sets the configured endpoint right and takes up deliveries that were under way.
    fn begin(&self) {
        let mut world = self.world();
        self.configure_endpoint(&mut world);
        let events: Vec<_> = world
            .of_kind("event")
            .map(|event| text(event, "id").to_owned())
            .collect();
        for event in events {
            let pending = world.pending(&event);
            self.outbox.push(&event, &pending);
        }
    }

    /// The secret of the configured endpoint is not kept with it: the configuration has it.
    fn configure_endpoint(&self, world: &mut World) {
        let known = world
            .of_kind("webhook_endpoint")
            .find(|e| json::truth(&json!({"it": hidden(e, "configured")}), "it"));
        let id = known.map_or_else(|| random_id("we_"), |endpoint| text(endpoint, "id").to_owned());
        let known = known.is_some();
        match &self.webhook {
            Some(target) => {
                let mut endpoint = api::webhook_endpoints::endpoint(&id, target.url.as_str(), &["*".into()], world);
                set_hidden(&mut endpoint, "configured", true);
                world.put(endpoint);
            }
            None if known => world.remove(&id),
            None => return,
        }
        if world.commit().is_err() {
            world.roll_back();
        }
    }

    /// Mounts `/v1/…`, `/checkout/{id}`, `/portal/{id}` and `/_stub/…` in whatever scope the caller is.
    pub fn configure(self: &Arc<Self>, config: &mut ServiceConfig) {
        server::configure(self, config);
    }

    /// Serves alone until the process is told to end.
    pub async fn serve(self: Arc<Self>, listener: std::net::TcpListener) -> io::Result<()> {
        let app = move || App::new().configure(|config| self.configure(config));
        HttpServer::new(app).workers(1).listen(listener)?.run().await
    }

    /// The stub's time: the real one and what it was advanced by.
    pub fn now(&self) -> Timestamp {
        self.world().now()
    }

    /// Moves the clock forward and does everything that falls due by that, in the order of time, each thing at its own.
    /// Answers the new time. A negative duration, or one beyond what a timestamp can be, moves nothing.
    #[expect(
        clippy::unused_async,
        reason = "callers await it, should it have to wait for deliveries one day"
    )]
    pub async fn advance(&self, by: SignedDuration) -> Timestamp {
        // The refusal is about a clock that would go backward: the answer shows that it did not move.
        self.advance_clock(by).unwrap_or_else(|_| self.now())
    }

    fn advance_clock(&self, by: SignedDuration) -> Result<Timestamp, ApiError> {
        let mut world = self.world();
        world.run_due();
        world.move_clock(by)?;
        world.run_due();
        let now = world.now();
        drop(world);
        self.outbox.wake();
        Ok(now)
    }

    /// Keeps an object as it is, in the place of one with the same `id`, and tells nobody.
    pub fn put(&self, object: Value) {
        let mut world = self.world();
        world.put(object);
        if world.commit().is_err() {
            world.roll_back();
        }
    }

    /// An object as the API shows it.
    pub fn object(&self, id: &str) -> Option<Value> {
        let world = self.world();
        world.get(id).map(|object| world.shown(object))
    }

    /// Every event, oldest first.
    pub fn events(&self) -> Vec<Value> {
        let world = self.world();
        world.of_kind("event").map(shown_event).collect()
    }

    /// How events are delivered.
    pub fn knobs(&self) -> Knobs {
        self.outbox.knobs()
    }

    /// Sets that; dice begin anew.
    pub fn set_knobs(&self, knobs: Knobs) {
        self.outbox.set_knobs(knobs);
    }

    /// Lets the events go that wait because deliveries are paused.
    pub fn release(&self) {
        self.outbox.release();
    }

    /// Whether a subscription whose last retry failed becomes `unpaid` instead of `canceled`.
    pub fn set_unpaid(&self, unpaid: bool) {
        self.world().unpaid = unpaid;
    }

    /// Ends when no delivery is on its way. What is paused, or tried again by the stub's clock, is not.
    pub async fn settled(&self) {
        while !self.outbox.is_settled() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    // ---- for the other rooms

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tick(&self) -> Timestamp {
        let mut world = self.world();
        world.run_due();
        world.now()
    }

    pub(crate) fn endpoint_secret(&self, endpoint: &Value) -> SecretString {
        match hidden(endpoint, "secret").as_str() {
            Some(secret) => secret.into(),
            None => self
                .webhook
                .as_ref()
                .map(|target| target.secret.clone())
                .unwrap_or_default(),
        }
    }

    /// Forgets everything but what it was opened with.
    pub(crate) fn reset(&self) -> Result<(), ApiError> {
        let mut world = self.world();
        world.reset()?;
        self.outbox.clear();
        self.outbox.set_knobs(Knobs::default());
        world.unpaid = false;
        self.configure_endpoint(&mut world);
        Ok(())
    }

    /// One change as a whole: done and written down, or not done. A refusal that says so keeps what was done.
    pub(crate) fn change<T>(
        &self,
        cause: Cause,
        work: impl FnOnce(&mut World) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let mut world = self.world();
        // What a panic left half done.
        world.roll_back();
        world.run_due();
        world.at = world.now().as_second();
        world.cause = cause;
        let done = work(&mut world);
        match &done {
            Err(error) if !error.keep => world.roll_back(),
            _ => world.commit().inspect_err(|_| world.roll_back())?,
        }
        done
    }
}

// Its objects hold addresses and the secrets of webhooks.
impl fmt::Debug for Stub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stub").finish_non_exhaustive()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        // The thread holds the stub weakly; awake, it sees that it is gone.
        self.outbox.wake();
    }
}
