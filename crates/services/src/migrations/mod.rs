//! Changes of a database's schema: Anteroom's own, or the operator's application's. Files and history decide what is to be
//! done (`anteroom_domain::migrations`); here it is done, one statement after another, so that whatever is cut off can be
//! gone on with.

mod administer;
mod baseline;
mod drift;
mod own;
mod plan;
mod record;
mod repair;
mod run;
mod take_back;
mod up;

pub use administer::{AdministerError, MigrationDetails, OwnMigrations};
pub use baseline::Baseline;
pub use drift::{Drift, DriftError};
pub use own::{SchemaStatus, bring_up, own, schema_status, take_back_newest};
pub use plan::{PlannedLock, PlannedMigration, PlannedStatement, stops};
pub use record::record_runs;
pub use repair::{Repair, RepairError, Repaired};

pub use anteroom_domain::migrations::UpOptions;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anteroom_domain::migrations::{
    Catalogue, Difference, Direction, Entry, FolderError, Migration, Outcome, Past, Refusal, Run, Runner, Scope,
    Script, SourceFile, Version, compare, read_folder, resume_at,
};
use anteroom_ports::Clock;
use anteroom_ports::migrations::{Holder, MigrationDatabase, MigrationFault, MigrationSession, Waiting};

/// How patient one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long one waits for somebody else who migrates.
    pub lock: Duration,
    /// How long a statement waits for a table's lock before it gives way to those who queue behind it.
    pub lock_timeout: Duration,
    /// How often a statement that was not given its lock is tried again.
    pub retries: u32,
    /// How long after the first such try the second is made; each wait is twice the one before, at most ten seconds.
    pub retry_after: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            lock: Duration::from_secs(120),
            lock_timeout: Duration::from_secs(3),
            retries: 10,
            retry_after: Duration::from_millis(250),
        }
    }
}

/// What happens while migrations run, for whoever watches.
#[derive(Debug)]
pub enum Progress<'a> {
    /// Somebody else migrates, and is waited for.
    Waiting(Option<&'a Holder>),
    /// The schema is not as the last migration left it. The next one takes it for right as it is.
    Drifted(&'a [Difference]),
    /// A migration begins, or goes on.
    Begins {
        /// Which.
        migration: &'a Migration,
        /// Which way.
        direction: Direction,
        /// How many of this run were before it.
        place: usize,
        /// How many there are in this run.
        of: usize,
    },
    /// A statement begins.
    Statement {
        /// Which, from 1.
        number: usize,
        /// Of how many.
        of: usize,
        /// What it is.
        sql: &'a str,
    },
    /// A lock was not given, and is asked for again.
    Retries {
        /// The how-manieth time, from 1.
        again: u32,
        /// At most how often.
        at_most: u32,
        /// Who has it, in words that begin so, where the database says it.
        held_by: Option<&'a str>,
    },
    /// A backfill has walked further.
    Walked {
        /// How many rows it has touched.
        rows: u64,
        /// About how many rows its table has.
        of: Option<u64>,
    },
    /// A migration has ended.
    Ended(&'a Run),
}

/// Watches migrations run.
pub trait Watch: Send + Sync {
    /// Something happened.
    fn see(&self, progress: &Progress<'_>);
}

/// Sees nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn see(&self, _progress: &Progress<'_>) {}
}

/// Remembers what has ended, well or not.
#[derive(Debug, Default)]
pub struct Ended(Mutex<Vec<Run>>);

impl Ended {
    /// The runs, in their order.
    pub fn runs(&self) -> Vec<Run> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Watch for Ended {
    fn see(&self, progress: &Progress<'_>) {
        if let Progress::Ended(run) = progress {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((*run).clone());
        }
    }
}

/// Where a migration was left by a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// As it was before: nothing of it stayed.
    AsBefore,
    /// In part.
    Partly {
        /// How many of its statements are done.
        done: usize,
        /// Of how many.
        total: usize,
    },
}

/// A migration that did not end well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub version: Version,
    /// Its name.
    pub name: String,
    /// Which way it went.
    pub direction: Direction,
    /// Its statement, from 1, and the line of the file that it begins on; `None` if it was none of them.
    pub at: Option<(usize, usize)>,
    /// What it was.
    pub sql: Option<String>,
    /// What the database said.
    pub fault: MigrationFault,
    /// What is left of it.
    pub left: Left,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            version, name, fault, ..
        } = self;
        let (file, again) = match self.direction {
            Direction::Up => ("up.sql", "up"),
            Direction::Down => ("down.sql", "down"),
        };
        write!(f, "{version}_{name}: ")?;
        if let Some((number, line)) = self.at {
            write!(f, "statement {number} ({file}, line {line}): ")?;
        }
        write!(f, "{fault}")?;
        if let Some(sql) = &self.sql {
            let shown: String = sql.chars().take(300).collect();
            let more = if shown.len() < sql.len() { " …" } else { "" };
            write!(f, "\n  {}{more}", shown.replace('\n', "\n  "))?;
        }
        match self.left {
            Left::AsBefore => write!(f, "\nNothing of it was kept. ")?,
            Left::Partly { done: 0, .. } => write!(f, "\nWhat it has done stays. ")?,
            Left::Partly { done, total } => write!(f, "\n{done} of its {total} statements are done and stay. ")?,
        }
        match fault {
            MigrationFault::NeedsNoTransaction(_) => {
                write!(
                    f,
                    "Write `transaction = false` into its migration.toml, and run `anteroom migrate {again}` again"
                )
            }
            MigrationFault::LockTimeout(_) => write!(
                f,
                "Others hold a lock that it needs: end what runs long, and run `anteroom migrate {again}` again"
            ),
            MigrationFault::Away { .. } => write!(f, "`anteroom migrate {again}` goes on from there"),
            _ => match self.left {
                Left::AsBefore => write!(f, "Mend the file, and run `anteroom migrate {again}` again"),
                Left::Partly { done: 0, .. } => write!(f, "Mend it, and `anteroom migrate {again}` goes on with it"),
                Left::Partly { .. } => write!(
                    f,
                    "Mend that statement or what it stumbles over (not those that are done), and `anteroom migrate \
                     {again}` goes on with it"
                ),
            },
        }
    }
}

/// Why migrations did not run, or not to the end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MigrateError {
    /// Files of the folder are wrong; nothing was done.
    #[error("{}", lines(.0))]
    Files(Vec<FolderError>),
    /// Something stands against it; nothing was done.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// One did not end well; those before it did.
    #[error("{0}")]
    Failed(Box<Failure>),
    /// A statement was begun outside of a transaction, and nothing says how far it came.
    #[error(
        "{version}_{name}: statement {statement} was begun, cannot be part of a transaction, and nothing says whether it \
         ended:\n  {sql}\nLook. If it was done, run the rest by hand and say so: `anteroom migrate repair --applied \
         {version}`; if nothing of the migration is to stay, take it back by hand: `anteroom migrate repair \
         --not-applied {version}`"
    )]
    Begun {
        /// Which migration.
        version: Version,
        /// Its name.
        name: String,
        /// Which statement, from 1.
        statement: usize,
        /// What it is.
        sql: String,
    },
    /// The database did not do what was asked, outside of any migration.
    #[error(transparent)]
    Fault(#[from] MigrationFault),
}

fn lines(errors: &[FolderError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    format!("nothing was run, since files cannot be read:\n  {}", lines.join("\n  "))
}

/// A database and the migrations that are meant for it.
#[derive(Clone)]
pub struct Migrations {
    database: Arc<dyn MigrationDatabase>,
    files: Vec<Migration>,
    scope: Scope,
    clock: Arc<dyn Clock>,
    runner: Runner,
    patience: Patience,
    watch: Arc<dyn Watch>,
}

impl Migrations {
    /// Reads the files.
    ///
    /// # Errors
    /// [`MigrateError::Files`] with everything that is wrong with them.
    pub fn new(
        database: Arc<dyn MigrationDatabase>,
        files: &[SourceFile],
        scope: Scope,
        clock: Arc<dyn Clock>,
        runner: Runner,
    ) -> Result<Self, MigrateError> {
        Ok(Self {
            files: read_folder(files, database.dialect()).map_err(MigrateError::Files)?,
            database,
            scope,
            clock,
            runner,
            patience: Patience::default(),
            watch: Arc::new(Unwatched),
        })
    }

    /// With another patience.
    #[must_use]
    pub fn patient(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// With somebody who watches.
    #[must_use]
    pub fn watched(mut self, watch: Arc<dyn Watch>) -> Self {
        self.watch = watch;
        self
    }

    /// The same, run by somebody else.
    #[must_use]
    pub fn run_by(mut self, user: String) -> Self {
        self.runner.user = user;
        self
    }

    /// The migrations that the files hold, oldest first.
    pub fn files(&self) -> &[Migration] {
        &self.files
    }

    /// Where they are applied.
    pub fn database(&self) -> &dyn MigrationDatabase {
        &*self.database
    }

    /// How every migration stands, oldest first.
    pub async fn status(&self) -> Result<Vec<Entry>, MigrateError> {
        Ok(compare(&self.files, &self.database.past().await?))
    }

    /// Whether of what was run in part the statements that were run are what they were.
    ///
    /// # Errors
    /// [`Refusal::EditedSince`] for the first that is not.
    pub fn check_parts(&self, entries: &[Entry]) -> Result<(), MigrateError> {
        for run in entries.iter().filter_map(|entry| entry.run.as_ref()) {
            let file = self.files.iter().find(|file| file.version == run.version);
            let script = file.and_then(|file| match run.direction {
                Direction::Up => Some(&file.up),
                Direction::Down => file.down.as_ref(),
            });
            if let Some(script) = script.filter(|_| run.partial()) {
                resume_at(script, run, self.database.dialect())?;
            }
        }
        Ok(())
    }

    /// All that has been done, oldest first.
    pub async fn history(&self) -> Result<Vec<Run>, MigrateError> {
        Ok(self.database.past().await?.runs)
    }

    /// Takes the lock.
    async fn lock(&self) -> Result<Box<dyn MigrationSession>, MigrateError> {
        let told = |holder: Option<&Holder>| self.watch.see(&Progress::Waiting(holder));
        let waiting = Waiting {
            patience: self.patience.lock,
            told: &told,
        };
        Ok(self.database.lock(&self.runner, &waiting).await?)
    }

    /// A run that has not begun.
    fn run_of(&self, migration: &Migration, direction: Direction, outcome: Outcome, role: &str) -> Run {
        let nothing = Script {
            statements: Vec::new(),
            exact_checksum: String::new(),
            normal_checksum: String::new(),
        };
        let script = match direction {
            Direction::Up => &migration.up,
            Direction::Down => migration.down.as_ref().unwrap_or(&nothing),
        };
        Run {
            id: 0,
            version: migration.version.clone(),
            name: migration.name.clone(),
            direction,
            outcome,
            exact_checksum: script.exact_checksum.clone(),
            normal_checksum: script.normal_checksum.clone(),
            started_at: self.clock.now(),
            finished_at: None,
            runner: self.runner.clone(),
            role: role.to_owned(),
            total: script.statements.len(),
            statements: Vec::new(),
            begun: None,
            walked_to: None,
            fingerprint: None,
            error: None,
        }
    }

    /// Gives what was applied before there was a history an entry each, so that its files are watched from now on.
    async fn adopt(&self, session: &mut dyn MigrationSession, past: &mut Past) -> Result<(), MigrateError> {
        if self.scope == Scope::Application {
            return Ok(());
        }
        let known = |migration: &&Migration| {
            past.applied.contains(&migration.version) && !past.runs.iter().any(|run| run.version == migration.version)
        };
        let adopted: Vec<&Migration> = self.files.iter().filter(known).collect();
        // The schema is as it should be, if all that is applied is adopted now.
        let catalogue = if past.runs.is_empty() && !adopted.is_empty() {
            Some(self.read_catalogue(session).await?)
        } else {
            None
        };
        let newest = adopted.len().saturating_sub(1);
        for (place, migration) in adopted.into_iter().enumerate() {
            let seen = catalogue.as_ref().filter(|_| place == newest);
            let mut run = self.run_of(migration, Direction::Up, Outcome::Adopted, session.role());
            run.finished_at = Some(run.started_at);
            run.fingerprint = seen.map(Catalogue::fingerprint);
            run.id = session.write_run(&run, seen).await?;
            past.runs.push(run);
        }
        Ok(())
    }
}
