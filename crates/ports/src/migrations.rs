//! Anteroom's own schema.

use async_trait::async_trait;

use crate::StoreResult;

/// Where the schema stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaStatus {
    /// Versions that are applied, oldest first.
    pub applied: Vec<String>,
    /// Versions this binary knows that are not applied, oldest first.
    pub pending: Vec<String>,
    /// Applied versions this binary does not know: a newer one has been here.
    pub unknown: Vec<String>,
}

impl SchemaStatus {
    /// Whether the schema is exactly what this binary was built for.
    pub fn current(&self) -> bool {
        self.pending.is_empty() && self.unknown.is_empty()
    }
}

/// Brings the schema up. Several nodes may do so at once: each migration is applied once, and all succeed.
#[async_trait]
pub trait Migrator: Send + Sync {
    /// Where the schema stands; changes nothing.
    async fn schema_status(&self) -> StoreResult<SchemaStatus>;

    /// Applies what is pending under a lock that the server or the operating system drops with this process.
    /// Answers the versions that this call applied.
    async fn migrate_up(&self) -> StoreResult<Vec<String>>;

    /// Takes the newest applied migration back, under the same lock, with what is in the tables and columns that it
    /// brought. Answers its version; `None` if none is applied. [`Corrupt`](crate::StoreError::Corrupt) if this binary
    /// does not know it.
    async fn migrate_down(&self) -> StoreResult<Option<String>>;
}
