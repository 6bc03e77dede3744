//! Applies what is pending.

use anteroom_domain::migrations::{
    Catalogue, Direction, Migration, Outcome, Past, Run, State, UpOptions, compare, to_apply,
};
use anteroom_ports::MigrationSession;
use anteroom_ports::migrations::MigrationFault;

use super::{MigrateError, Migrations, Progress};

impl Migrations {
    /// Applies what is pending, oldest first, under the lock. Answers the runs. Several may do so at once: each migration is
    /// applied by one of them, and all succeed.
    pub async fn up(&self, options: &UpOptions) -> Result<Vec<Run>, MigrateError> {
        let past = self.database.past().await?;
        let entries = compare(&self.files, &past);
        let unwatched = past
            .applied
            .iter()
            .any(|version| !past.runs.iter().any(|run| run.version == *version));
        if to_apply(&self.files, &entries, options)?.is_empty() && !unwatched {
            return Ok(Vec::new());
        }
        let mut session = self.lock().await?;
        let mut past = session.past().await?;
        self.adopt(&mut *session, &mut past).await?;
        let entries = compare(&self.files, &past);
        let pending = to_apply(&self.files, &entries, options)?;
        // What was run in part has changed the schema, and is gone on with.
        let in_part = entries
            .iter()
            .any(|entry| matches!(entry.state, State::PartlyUp { .. }));
        // So has a concurrent build that the server refused: its index is there, invalid, and is built anew.
        let refused = entries.iter().any(|entry| {
            let failed = entry.run.as_ref().is_some_and(|run| run.outcome == Outcome::Failed);
            let file = self.files.iter().find(|file| file.version == entry.version);
            entry.state.pending() && failed && file.is_some_and(|file| !file.options.transaction)
        });
        if !pending.is_empty() && !in_part && !refused {
            self.look_for_drift(&mut *session).await?;
        }
        self.run_all(&mut *session, &past, &pending, Direction::Up).await
    }

    /// Says what was changed past all migrations, before they make it part of what is right.
    async fn look_for_drift(&self, session: &mut dyn MigrationSession) -> Result<(), MigrateError> {
        let Some(recorded) = self.database.recorded_catalogue().await? else {
            return Ok(());
        };
        let differences = recorded.differences(&self.read_catalogue(session).await?);
        if !differences.is_empty() {
            tracing::warn!(event = "migration.drift.found", objects = differences.len());
            self.watch.see(&Progress::Drifted(&differences));
        }
        Ok(())
    }

    /// The live schema, outside of a transaction. To read it may take locks of tables, which are waited for as a
    /// migration's are.
    pub(super) async fn read_catalogue(&self, session: &mut dyn MigrationSession) -> Result<Catalogue, MigrateError> {
        let mut again = 0;
        session.restore_settings(self.patience.lock_timeout).await?;
        loop {
            match session.catalogue().await {
                Err(fault @ MigrationFault::LockTimeout(_)) if self.wait_for_retry(&mut again, &fault).await => {}
                read => return Ok(read?),
            }
        }
    }

    /// Runs migrations in order.
    pub(super) async fn run_all(
        &self,
        session: &mut dyn MigrationSession,
        past: &Past,
        migrations: &[&Migration],
        direction: Direction,
    ) -> Result<Vec<Run>, MigrateError> {
        let mut runs = Vec::new();
        for (place, migration) in migrations.iter().enumerate() {
            self.watch.see(&Progress::Begins {
                migration,
                direction,
                place,
                of: migrations.len(),
            });
            runs.push(self.run(session, past, migration, direction).await?);
        }
        Ok(runs)
    }
}
