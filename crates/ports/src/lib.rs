//! What the services need from outside: traits and their promises. `README.md` says how to write an adapter.
//!
//! `Ok(None)` means "not found"; an `Err` is a failure. A store method takes part in the unit of work it is called
//! on: it is atomic with everything else done on it, and undone with it when the unit is dropped without commit.

pub mod access;
pub mod accounts;
pub mod audit;
pub mod billing;
pub mod chat;
pub mod migrations;
pub mod ops;
pub mod protection;
pub mod queries;
pub mod sessions;
pub mod store;
pub mod webhooks;

pub use access::{AccessRead, AccessWrite};
pub use accounts::{AccountsRead, AccountsWrite, HashError, PasswordHasher, PasswordList, Verified};
pub use audit::{AuditRead, AuditWrite};
pub use billing::{
    BillingRead, BillingWrite, CreditsRead, CreditsWrite, NoticesRead, NoticesWrite, OverageRead, OverageWrite,
    PaymentProvider, RevenueRead, RevenueWrite, SubscriptionsRead, SubscriptionsWrite,
};
pub use chat::{ChatModel, ChatRead, ChatWrite, Embedder, ModelsRead, ModelsWrite, TargetObserver};
pub use migrations::{MigrationDatabase, MigrationFault, MigrationSession, OwnSchema};
pub use ops::{Clock, Ids, OpsRead, OpsWrite};
pub use protection::{ProtectionRead, ProtectionWrite, RateLimiter};
pub use queries::{Queries, query_sent};
pub use sessions::{
    Digest, Listener, SealError, Secrets, SessionsRead, SessionsWrite, SigningKeyError, TokenRefusal, TokenSigner,
};
pub use store::{Durability, ReadUnit, Store, StoreError, StoreResult, UnitOfWork};
pub use webhooks::{Mail, MailError, Mailer, WebhooksWrite};
