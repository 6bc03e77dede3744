//! Compares the schema with what migrations made of it.

use anteroom_domain::migrations::{Difference, Outcome, Run};

use super::{MigrateError, Migrations};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The run after which the schema was as it should be.
    pub since: Run,
    /// What has been changed since, past all migrations.
    pub differences: Vec<Difference>,
}

/// Why there is nothing to compare with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DriftError {
    /// No run has left a record of the schema.
    #[error(
        "nothing is known of how the schema should be: no migration has been run here yet. `anteroom migrate up` or \
         `anteroom migrate baseline` writes it down"
    )]
    NothingRecorded,
    /// The database did not answer.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
}

impl Migrations {
    /// What of the schema is not as the last run left it.
    pub async fn drift(&self) -> Result<Drift, DriftError> {
        let failed = |fault| DriftError::Migrate(MigrateError::Fault(fault));
        let recorded = self.database.recorded_catalogue().await.map_err(failed)?;
        let past = self.database.past().await.map_err(failed)?;
        let since = past.runs.into_iter().rev().find(|run| run.fingerprint.is_some());
        let (Some(recorded), Some(since)) = (recorded, since) else {
            return Err(DriftError::NothingRecorded);
        };
        let actual = self.database.catalogue().await.map_err(failed)?;
        let differences = recorded.differences(&actual);
        let outcome = if differences.is_empty() {
            Outcome::Succeeded
        } else {
            Outcome::Failed
        };
        tracing::info!(
            event = "migration.drift.checked",
            outcome = outcome.as_str(),
            objects = differences.len()
        );
        Ok(Drift { since, differences })
    }
}
