//! Vouches anew for what was applied: for files that say the same as before, or that the schema proves.

use anteroom_domain::migrations::{
    Catalogue, Dialect, Difference, Direction, Entry, Migration, Outcome, Run, State, Statement, Version, compare,
};
use anteroom_ports::MigrationSession;

use super::{MigrateError, Migrations, Progress, Unwatched, UpOptions};
use std::sync::Arc;

/// What is to be vouched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repair {
    /// Files that were changed after they were applied.
    Files,
    /// A migration that was run in part, and finished by hand.
    Applied(Version),
    /// A migration that was run in part, and taken back by hand.
    NotApplied(Version),
}

/// A migration that was vouched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// What was written.
    pub run: Run,
    /// Why.
    pub reason: &'static str,
}

/// Why nothing was vouched for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepairError {
    /// The files, run from the first to the newest that is applied, make another schema than there is.
    #[error(
        "the database is not as the files say now, so they are not vouched for. Put them back as they were, or make the \
         change a migration of its own"
    )]
    Differs(Vec<Difference>),
    /// A file does something that a trial would do to more than its own database.
    #[error(
        "to prove the files they would be run on a database that is made for it, and {version} has {title}, which reaches \
         beyond that. Put the files back as they were"
    )]
    NotTried {
        /// Which migration.
        version: Version,
        /// The beginning of the statement.
        title: String,
    },
    /// It was not run in part.
    #[error("{0} was not run in part; `anteroom migrate status` shows how it stands")]
    NotPartial(Version),
    /// Something stands against it.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
}

impl From<anteroom_ports::MigrationFault> for RepairError {
    fn from(fault: anteroom_ports::MigrationFault) -> Self {
        Self::Migrate(fault.into())
    }
}

/// Whether a statement changes more than the database that it is run on.
fn reaches_beyond(statement: &Statement, dialect: Dialect) -> bool {
    let tokens = statement.tokens(dialect);
    let one_of = |place: usize, words: &[&str]| {
        tokens
            .get(place)
            .is_some_and(|token| words.iter().any(|word| token.is(word)))
    };
    let cluster = [
        "ROLE",
        "USER",
        "GROUP",
        "DATABASE",
        "TABLESPACE",
        "SYSTEM",
        "SUBSCRIPTION",
        "SERVER",
    ];
    match dialect {
        Dialect::Sqlite => one_of(0, &["ATTACH"]),
        Dialect::Postgres => {
            (one_of(0, &["CREATE", "ALTER", "DROP"]) && one_of(1, &cluster))
                || one_of(0, &["COPY"])
                || tokens
                    .iter()
                    .any(|token| token.text.to_ascii_lowercase().starts_with("dblink"))
        }
    }
}

impl Migrations {
    /// Vouches for what can be proven, or for what the operator says of a migration that was run in part.
    pub async fn repair(&self, what: &Repair) -> Result<Vec<Repaired>, RepairError> {
        let mut session = self.lock().await?;
        let past = session.past().await?;
        let entries = compare(&self.files, &past);
        let repaired = match what {
            Repair::Files => self.repair_files(&mut *session, &entries).await,
            Repair::Applied(version) => self.settle(&mut *session, &entries, version, true).await,
            Repair::NotApplied(version) => self.settle(&mut *session, &entries, version, false).await,
        }?;
        for Repaired { run, .. } in &repaired {
            self.watch.see(&Progress::Ended(run));
        }
        Ok(repaired)
    }

    async fn repair_files(
        &self,
        session: &mut dyn MigrationSession,
        entries: &[Entry],
    ) -> Result<Vec<Repaired>, RepairError> {
        let in_state = |state: State| {
            let versions = entries
                .iter()
                .filter(move |entry| entry.state == state)
                .map(|entry| &entry.version);
            let found = versions.filter_map(|version| self.files.iter().find(|file| file.version == *version));
            found.collect::<Vec<&Migration>>()
        };
        let (reformatted, changed) = (in_state(State::Reformatted), in_state(State::Changed));
        let mut catalogue = None;
        if !changed.is_empty() {
            let live = self.read_catalogue(session).await?;
            // There is one database to try files on, which is whose the lock is: also when that took long.
            session.still_locked().await?;
            let made = self.made_of_files(entries).await?;
            session.still_locked().await?;
            let differences = made.differences(&live);
            if !differences.is_empty() {
                return Err(RepairError::Differs(differences));
            }
            catalogue = Some(live);
        }
        let mut repaired = Vec::new();
        session.begin(self.patience.lock_timeout, false).await?;
        for (files, reason, catalogue) in [
            (
                reformatted,
                "only comments, white space or line ends were changed",
                None,
            ),
            (
                changed,
                "the files make exactly the schema that there is",
                catalogue.as_ref(),
            ),
        ] {
            for file in files {
                let run = self.vouch(session, file, catalogue).await?;
                repaired.push(Repaired { run, reason });
            }
        }
        session.commit().await?;
        Ok(repaired)
    }

    /// What the files make, up to the newest that is applied, of an empty database.
    async fn made_of_files(&self, entries: &[Entry]) -> Result<Catalogue, RepairError> {
        let dialect = self.database.dialect();
        for file in &self.files {
            let beyond = file
                .up
                .statements
                .iter()
                .find(|statement| reaches_beyond(statement, dialect));
            if let Some(statement) = beyond {
                return Err(RepairError::NotTried {
                    version: file.version.clone(),
                    title: statement.title(dialect),
                });
            }
        }
        let applied: Vec<&Version> = entries
            .iter()
            .filter(|e| !e.state.pending())
            .map(|e| &e.version)
            .collect();
        let scratch = self.database.scratch().await?;
        let trial = Self {
            database: Arc::clone(&scratch),
            files: self
                .files
                .iter()
                .filter(|file| applied.contains(&&file.version))
                .cloned()
                .collect(),
            scope: self.scope,
            clock: Arc::clone(&self.clock),
            runner: self.runner.clone(),
            patience: self.patience,
            watch: Arc::new(Unwatched),
        };
        let made = async {
            trial.up(&UpOptions::default()).await?;
            Ok(scratch.catalogue().await?)
        };
        let made = made.await;
        if let Err(error) = scratch.discard().await {
            tracing::warn!(event = "migration.scratch.left", database = scratch.describe(), %error);
        }
        made
    }

    async fn vouch(
        &self,
        session: &mut dyn MigrationSession,
        file: &Migration,
        catalogue: Option<&Catalogue>,
    ) -> Result<Run, RepairError> {
        let mut run = self.run_of(file, Direction::Up, Outcome::Repaired, session.role());
        run.finished_at = Some(run.started_at);
        run.fingerprint = catalogue.map(Catalogue::fingerprint);
        run.id = session.write_run(&run, catalogue).await?;
        tracing::info!(event = "migration.repaired", version = %run.version, name = run.name);
        Ok(run)
    }

    /// What the operator says of a migration that was run in part.
    async fn settle(
        &self,
        session: &mut dyn MigrationSession,
        entries: &[Entry],
        version: &Version,
        applied: bool,
    ) -> Result<Vec<Repaired>, RepairError> {
        let entry = entries.iter().find(|entry| entry.version == *version);
        let part = entry.and_then(|entry| entry.run.clone()).filter(Run::partial);
        let Some(part) = part else {
            return Err(RepairError::NotPartial(version.clone()));
        };
        let was_applied = part.direction == Direction::Down;
        let file = self.files.iter().find(|file| file.version == *version);
        session.begin(self.patience.lock_timeout, false).await?;
        let catalogue = session.catalogue().await?;
        let direction = if applied { Direction::Up } else { Direction::Down };
        let mut run = match file {
            Some(file) => self.run_of(file, direction, Outcome::Repaired, session.role()),
            // Its folder is gone.
            None => Run {
                id: 0,
                direction,
                outcome: Outcome::Repaired,
                started_at: self.clock.now(),
                runner: self.runner.clone(),
                statements: Vec::new(),
                begun: None,
                walked_to: None,
                error: None,
                ..part
            },
        };
        run.finished_at = Some(run.started_at);
        run.fingerprint = Some(catalogue.fingerprint());
        run.id = session.write_run(&run, Some(&catalogue)).await?;
        if applied != was_applied {
            session.mark(version, applied).await?;
        }
        session.commit().await?;
        tracing::info!(event = "migration.repaired", version = %run.version, name = run.name, applied);
        let reason = if applied {
            "said to be applied"
        } else {
            "said not to be applied"
        };
        Ok(vec![Repaired { run, reason }])
    }
}
