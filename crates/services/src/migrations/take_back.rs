//! Takes migrations back, and applies the newest anew.

use anteroom_domain::migrations::{Back, Direction, Migration, Run, compare, to_take_back};

use super::{MigrateError, Migrations};

impl Migrations {
    /// Takes the newest migrations back, newest first, under the lock, with what is in the tables and columns that they
    /// brought. Answers the runs.
    pub async fn down(&self, back: &Back) -> Result<Vec<Run>, MigrateError> {
        let mut session = self.lock().await?;
        let mut past = session.past().await?;
        self.adopt(&mut *session, &mut past).await?;
        let applied = to_take_back(&self.files, &compare(&self.files, &past), back)?;
        self.run_all(&mut *session, &past, &applied, Direction::Down).await
    }

    /// What [`down`](Self::down) would take back, newest first.
    ///
    /// # Errors
    /// Whatever stands against it.
    pub async fn to_take_back(&self, back: &Back) -> Result<Vec<Migration>, MigrateError> {
        let entries = compare(&self.files, &self.database.past().await?);
        Ok(to_take_back(&self.files, &entries, back)?
            .into_iter()
            .cloned()
            .collect())
    }

    /// Takes the newest migration back and applies it anew: for trying one while it is written.
    pub async fn redo(&self) -> Result<Vec<Run>, MigrateError> {
        let mut session = self.lock().await?;
        let past = session.past().await?;
        let newest = to_take_back(&self.files, &compare(&self.files, &past), &Back::Steps(1))?;
        let mut runs = self.run_all(&mut *session, &past, &newest, Direction::Down).await?;
        let past = session.past().await?;
        runs.extend(self.run_all(&mut *session, &past, &newest, Direction::Up).await?);
        Ok(runs)
    }
}
