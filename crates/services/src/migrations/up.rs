//! Applies what is pending.

use anteroom_domain::migrations::{Direction, Leniency, Run, Version, compare, to_apply};

use super::{MigrateError, Migrations};

/// What is to be applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpOptions {
    /// Up to and including this one; all if absent.
    pub to: Option<Version>,
    /// Also what is older than the newest that is applied.
    pub out_of_order: bool,
}

impl Migrations {
    /// Applies what is pending, oldest first, under the lock. Answers the runs. Several may do so at once: each migration is
    /// applied by one of them, and all succeed.
    pub async fn up(&self, options: &UpOptions) -> Result<Vec<Run>, MigrateError> {
        let leniency = Leniency {
            out_of_order: options.out_of_order,
        };
        let to = options.to.as_ref();
        let past = self.database.past().await?;
        let entries = compare(&self.files, &past);
        let unwatched = past
            .applied
            .iter()
            .any(|version| !past.runs.iter().any(|run| run.version == *version));
        if to_apply(&self.files, &entries, to, leniency)?.is_empty() && !unwatched {
            return Ok(Vec::new());
        }
        let mut session = self.lock().await?;
        let mut past = session.past().await?;
        self.adopt(&mut *session, &mut past).await?;
        let pending = to_apply(&self.files, &compare(&self.files, &past), to, leniency)?;
        self.run_all(&mut *session, &past, &pending, Direction::Up).await
    }

    /// Runs migrations in order.
    pub(super) async fn run_all(
        &self,
        session: &mut dyn anteroom_ports::MigrationSession,
        past: &anteroom_domain::migrations::Past,
        migrations: &[&anteroom_domain::migrations::Migration],
        direction: Direction,
    ) -> Result<Vec<Run>, MigrateError> {
        let mut runs = Vec::new();
        for (place, migration) in migrations.iter().enumerate() {
            self.watch.see(&super::Progress::Begins {
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
