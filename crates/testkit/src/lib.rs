//! Fakes for every port but the store, a fixed clock, seeded ids.
//!
//! A fake keeps what it was asked and answers what a test told it to. Each is built with `new()` (or a word that says
//! how it behaves), shared behind an `Arc`, and changed through `&self`, so that a test can still script it after the
//! services have it. Every fake of something slow panics where a unit of work of the same task is still open, if the
//! store is wrapped in a [`GuardedStore`].

pub mod accounts;
pub mod billing;
pub mod chat;
pub mod collector;
pub mod embedder;
pub mod ops;
pub mod postgres;
pub mod protection;
pub mod sessions;
pub mod smtp;
pub mod store;
pub mod webhooks;

pub use accounts::{ListedPasswords, PlainHasher};
pub use billing::FakePayments;
pub use chat::{CountingObserver, ScriptedModel, ScriptedModerator, Step, StreamEnd};
pub use collector::{CollectedSpan, Collector};
pub use embedder::ScriptedEmbedder;
pub use ops::{FixedClock, SeededIds};
pub use protection::{ClosedLimiter, OpenLimiter};
pub use sessions::{FakeSecrets, FakeSigner};
pub use store::GuardedStore;
pub use webhooks::RecordingMailer;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks what a fake keeps. A test that failed while holding it must not make others fail for another reason.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
