//! Anteroom's own schema.

use std::sync::Arc;

use anteroom_domain::migrations::{Back, Runner, Scope, Version, folder_versions};
use anteroom_ports::migrations::MigrationFault;
use anteroom_ports::{Clock, Store, StoreError, StoreResult};

use super::{MigrateError, Migrations, UpOptions};

/// Where a schema stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaStatus {
    /// Versions that are applied, oldest first.
    pub applied: Vec<Version>,
    /// Versions this binary knows that are not applied, oldest first.
    pub pending: Vec<Version>,
    /// Applied versions this binary does not know: a newer one has been here.
    pub unknown: Vec<Version>,
}

impl SchemaStatus {
    /// Whether the schema is exactly what this binary was built for.
    pub fn current(&self) -> bool {
        self.pending.is_empty() && self.unknown.is_empty()
    }
}

/// A store's own schema and migrations.
pub fn own(store: &dyn Store, clock: Arc<dyn Clock>, runner: Runner) -> Result<Migrations, MigrateError> {
    Migrations::new(store.schema(), &store.own_migrations(), Scope::Own, clock, runner)
}

/// Where a store's schema stands; changes nothing.
pub async fn schema_status(store: &dyn Store) -> StoreResult<SchemaStatus> {
    let schema = store.schema();
    let mut applied = schema.applied_versions().await.map_err(|e| store_error(&e))?;
    applied.sort_unstable();
    let known = folder_versions(&store.own_migrations());
    Ok(SchemaStatus {
        pending: known
            .iter()
            .filter(|version| !applied.contains(version))
            .cloned()
            .collect(),
        unknown: applied
            .iter()
            .filter(|version| !known.contains(version))
            .cloned()
            .collect(),
        applied,
    })
}

/// Who runs what nobody asked for by name: a server that starts.
fn this_process() -> Runner {
    Runner {
        user: "anteroom".into(),
        host: String::new(),
        pid: std::process::id(),
        tool_version: env!("CARGO_PKG_VERSION").into(),
    }
}

/// Brings a store's schema up. Several nodes may do so at once: each migration is applied once, and all succeed. Answers
/// the versions that this call applied.
pub async fn bring_up(store: &dyn Store, clock: Arc<dyn Clock>) -> StoreResult<Vec<Version>> {
    let migrations = own(store, clock, this_process()).map_err(|e| store_error(&e))?;
    let runs = migrations
        .up(&UpOptions::default())
        .await
        .map_err(|e| store_error(&e))?;
    Ok(runs.into_iter().map(|run| run.version).collect())
}

/// Takes the newest migration of a store's schema back. Answers its version; `None` if none is applied.
pub async fn take_back_newest(store: &dyn Store, clock: Arc<dyn Clock>) -> StoreResult<Option<Version>> {
    let migrations = own(store, clock, this_process()).map_err(|e| store_error(&e))?;
    if migrations
        .database()
        .applied_versions()
        .await
        .map_err(|e| store_error(&e))?
        .is_empty()
    {
        return Ok(None);
    }
    let runs = migrations.down(&Back::Steps(1)).await.map_err(|e| store_error(&e))?;
    Ok(runs.into_iter().next().map(|run| run.version))
}

/// What a failure means to those who only know the store.
fn store_error(error: &(dyn std::error::Error + 'static)) -> StoreError {
    let reason = error.to_string();
    let refused = matches!(
        error.downcast_ref(),
        Some(MigrateError::Refused(_) | MigrateError::Files(_))
    ) || matches!(error.downcast_ref(), Some(MigrationFault::Corrupt { .. }));
    if refused {
        StoreError::Corrupt { reason }
    } else {
        StoreError::Unavailable { reason }
    }
}
