//! Takes over a database that has its schema already.

use anteroom_domain::migrations::{Direction, Migration, Outcome, Refusal, Run, Version};
use anteroom_ports::migrations::{MigrationFault, SqlFault};

use super::{MigrateError, Migrations, Progress};

/// What the database is said to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Baseline {
    /// Everything up to and including this one.
    To(Version),
    /// What Diesel's table says.
    Diesel,
}

impl Migrations {
    /// Notes migrations as applied without running them. Only where none is noted yet.
    pub async fn baseline(&self, what: &Baseline) -> Result<Vec<Run>, MigrateError> {
        let mut session = self.lock().await?;
        let past = session.past().await?;
        if !past.applied.is_empty() {
            let reason = format!(
                "{} migrations are noted as applied: a baseline is for a database without a history",
                past.applied.len()
            );
            return Err(MigrationFault::Sql(SqlFault::new(reason)).into());
        }
        let migrations = self.had(what).await?;
        let mut runs = Vec::new();
        session.begin(self.patience.lock_timeout, false).await?;
        let catalogue = session.catalogue().await?;
        let newest = migrations.len().saturating_sub(1);
        for (place, migration) in migrations.into_iter().enumerate() {
            let outcome = match what {
                Baseline::To(_) => Outcome::Baselined,
                Baseline::Diesel => Outcome::Adopted,
            };
            let mut run = self.run_of(migration, Direction::Up, outcome, session.role());
            run.finished_at = Some(run.started_at);
            let seen = (place == newest).then_some(&catalogue);
            run.fingerprint = seen.map(anteroom_domain::migrations::Catalogue::fingerprint);
            run.id = session.write_run(&run, seen).await?;
            session.mark(&run.version, true).await?;
            tracing::info!(event = "migration.baselined", version = %run.version, name = run.name);
            runs.push(run);
        }
        session.commit().await?;
        for run in &runs {
            self.watch.see(&Progress::Ended(run));
        }
        Ok(runs)
    }

    async fn had(&self, what: &Baseline) -> Result<Vec<&Migration>, MigrateError> {
        match what {
            Baseline::To(version) => {
                if !self.files.iter().any(|file| file.version == *version) {
                    return Err(Refusal::NoSuchVersion(version.clone()).into());
                }
                Ok(self.files.iter().filter(|file| file.version <= *version).collect())
            }
            Baseline::Diesel => {
                let versions = self.database.diesel_versions().await?;
                let unknown = versions
                    .iter()
                    .filter(|version| !self.files.iter().any(|file| file.version == **version));
                let unknown: Vec<Version> = unknown.cloned().collect();
                if !unknown.is_empty() {
                    return Err(Refusal::Unknown(unknown).into());
                }
                Ok(self
                    .files
                    .iter()
                    .filter(|file| versions.contains(&file.version))
                    .collect())
            }
        }
    }
}
