//! The embedded default store: SQLite.
//!
//! One file, many readers and one writer. The queries are written once for both databases, in `../sql`; here is what
//! SQLite does its own way.

mod backend;
mod log;
mod migrator;
mod store;

#[path = "../../sql/access.rs"]
mod access;
#[path = "../../sql/accounts.rs"]
mod accounts;
#[path = "../../sql/audit.rs"]
mod audit;
#[path = "../../sql/billing.rs"]
mod billing;
#[path = "../../sql/chat.rs"]
mod chat;
#[path = "../../sql/kept.rs"]
mod kept;
#[path = "../../sql/migrations.rs"]
mod migrations;
#[path = "../../sql/ops.rs"]
mod ops;
#[path = "../../sql/pool.rs"]
mod pool;
#[path = "../../sql/protection.rs"]
mod protection;
#[path = "../../sql/schema.rs"]
mod schema;
#[path = "../../sql/sessions.rs"]
mod sessions;
#[path = "../../sql/types.rs"]
mod types;
#[path = "../../sql/unit.rs"]
mod unit;
#[path = "../../sql/webhooks.rs"]
mod webhooks;

pub use migrations::DieselMigrations;
pub use migrator::{SqliteMigrations, diesel_migrations};
pub use store::{SqliteOptions, SqliteStore};
