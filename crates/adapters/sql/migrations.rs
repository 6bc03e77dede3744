//! What bringing a schema up and down has in common on both databases. How one process at a time does it, each has in
//! its `migrator`.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use anteroom_ports::migrations::SchemaStatus;
use anteroom_ports::{StoreError, StoreResult};
use diesel::backend::Backend;
use diesel::migration::{Migration, MigrationSource};
use diesel_migrations::MigrationHarness;

/// How long one waits for another process that migrates.
pub(crate) const LOCK_PATIENCE: Duration = Duration::from_secs(120);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Compares what is applied with what this binary knows.
pub(crate) fn status<DB, H, S>(harness: &mut H, source: &S) -> StoreResult<SchemaStatus>
where
    DB: Backend,
    H: MigrationHarness<DB>,
    S: MigrationSource<DB>,
{
    let mut applied: Vec<String> = harness
        .applied_migrations()
        .map_err(|e| unavailable(&e))?
        .iter()
        .map(ToString::to_string)
        .collect();
    applied.sort_unstable();
    compare(applied, source)
}

/// Where a database stands on which the given versions are applied.
pub(crate) fn compare<DB: Backend>(
    applied: Vec<String>,
    source: &impl MigrationSource<DB>,
) -> StoreResult<SchemaStatus> {
    let known: Vec<String> = known(source)?.iter().map(|m| version(&**m)).collect();
    Ok(SchemaStatus {
        pending: known.iter().filter(|v| !applied.contains(v)).cloned().collect(),
        unknown: applied.iter().filter(|v| !known.contains(v)).cloned().collect(),
        applied,
    })
}

/// Applies what is pending, each migration in a transaction of its own. Answers the versions.
pub(crate) fn up<DB, H, S>(harness: &mut H, source: &S) -> StoreResult<Vec<String>>
where
    DB: Backend,
    H: MigrationHarness<DB>,
    S: MigrationSource<DB>,
{
    let status = status(harness, source)?;
    if !status.unknown.is_empty() {
        return Err(StoreError::Corrupt {
            reason: format!(
                "a newer version has been here: migrations {} are applied and unknown to this one",
                status.unknown.join(", ")
            ),
        });
    }
    for migration in known(source)? {
        if status.pending.contains(&version(&*migration)) {
            logged("migration.applied", &*migration, || harness.run_migration(&*migration))?;
        }
    }
    Ok(status.pending)
}

/// Takes the newest applied migration back. Answers its version.
pub(crate) fn down<DB, H, S>(harness: &mut H, source: &S) -> StoreResult<Option<String>>
where
    DB: Backend,
    H: MigrationHarness<DB>,
    S: MigrationSource<DB>,
{
    let Some(newest) = status(harness, source)?.applied.pop() else {
        return Ok(None);
    };
    let Some(migration) = known(source)?.into_iter().find(|m| version(&**m) == newest) else {
        return Err(StoreError::Corrupt {
            reason: format!("migration {newest} is unknown to this version, which cannot take it back"),
        });
    };
    logged("migration.reverted", &*migration, || {
        harness.revert_migration(&*migration)
    })?;
    Ok(Some(newest))
}

fn logged<DB: Backend, T>(
    event: &'static str,
    migration: &dyn Migration<DB>,
    run: impl FnOnce() -> Result<T, Failure>,
) -> StoreResult<()> {
    let (version, started) = (version(migration), Instant::now());
    let result = run();
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    match result {
        Ok(_) => {
            tracing::info!(event, %version, ms);
            Ok(())
        }
        Err(error) => {
            tracing::error!(event = "migration.failed", %version, ms, %error);
            Err(unavailable(&error))
        }
    }
}

/// What this binary knows, oldest first.
fn known<DB: Backend, S: MigrationSource<DB>>(source: &S) -> StoreResult<Vec<Box<dyn Migration<DB>>>> {
    let mut known = source.migrations().map_err(|e| StoreError::Corrupt {
        reason: format!("the embedded migrations cannot be read: {e}"),
    })?;
    known.sort_unstable_by_key(|m| version(&**m));
    Ok(known)
}

fn version<DB: Backend>(migration: &dyn Migration<DB>) -> String {
    migration.name().version().to_string()
}

fn unavailable(error: &Failure) -> StoreError {
    StoreError::Unavailable {
        reason: format!("the migration failed: {error}"),
    }
}

/// How long to wait before asking for the lock again: 20 to 120 ms, so that nodes that start together do not ask
/// together.
pub(crate) fn pause() -> Duration {
    Duration::from_millis(20 + RandomState::new().hash_one(0) % 100)
}
