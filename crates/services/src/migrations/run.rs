//! Runs one migration, either way.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::time::{Duration, Instant};

use anteroom_domain::migrations::{
    Direction, Migration, Outcome, Past, Refusal, Run, Script, Statement, StatementRun, TokenKind, Walk, backfill,
    normal_checksum, resume_at, runs_in_transaction, tokens,
};
use anteroom_ports::migrations::{MigrationFault, MigrationResult, MigrationSession, Range, Settled};

use super::{Failure, Left, MigrateError, Migrations, Progress};

/// The longest wait between two tries, and between two batches.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What went wrong, and with which statement, counted from 0.
struct Stumble {
    at: Option<usize>,
    fault: MigrationFault,
    /// Whether it was outside of any transaction, so that something of it may be there.
    outside: bool,
}

impl From<MigrationFault> for Stumble {
    fn from(fault: MigrationFault) -> Self {
        Self {
            at: None,
            fault,
            outside: false,
        }
    }
}

/// One migration on its way.
struct Step<'a> {
    migration: &'a Migration,
    script: &'a Script,
    direction: Direction,
}

impl Step<'_> {
    fn backfills(&self) -> bool {
        self.direction == Direction::Up && self.migration.options.batch.is_some()
    }
}

impl Migrations {
    /// Runs one migration, or goes on with it.
    pub(super) async fn run(
        &self,
        session: &mut dyn MigrationSession,
        past: &Past,
        migration: &Migration,
        direction: Direction,
    ) -> Result<Run, MigrateError> {
        let script = match direction {
            Direction::Up => &migration.up,
            Direction::Down => migration
                .down
                .as_ref()
                .ok_or_else(|| Refusal::NoDown(migration.version.clone()))?,
        };
        let step = Step {
            migration,
            script,
            direction,
        };
        let last = past.runs.iter().rev().find(|run| run.version == migration.version);
        let mut run = match last {
            Some(run) if run.direction == direction && run.partial() => {
                // Each batch of a backfill stands by itself: its statement may be mended in between.
                if migration.options.batch.is_none() {
                    resume_at(script, run, self.database.dialect())?;
                }
                Run {
                    outcome: Outcome::Running,
                    error: None,
                    runner: self.runner.clone(),
                    role: session.role().to_owned(),
                    total: script.statements.len(),
                    exact_checksum: script.exact_checksum.clone(),
                    normal_checksum: script.normal_checksum.clone(),
                    ..run.clone()
                }
            }
            _ => self.run_of(migration, direction, Outcome::Running, session.role()),
        };
        let done = match (direction, migration.options.batch) {
            (Direction::Up, Some(batch)) => self.walk(session, &step, &mut run, batch).await,
            _ if migration.options.transaction && !run.left_something() => self.at_once(session, &step, &mut run).await,
            _ => self.one_by_one(session, &step, &mut run).await,
        };
        match done {
            Ok(()) => {
                let event = match direction {
                    Direction::Up => "migration.applied",
                    Direction::Down => "migration.reverted",
                };
                tracing::info!(event, version = %run.version, name = run.name, ms = run.ms(), rows = run.rows());
                self.watch.see(&Progress::Ended(&run));
                Ok(run)
            }
            Err(error) => {
                tracing::error!(event = "migration.failed", version = %run.version, name = run.name, %error);
                self.watch.see(&Progress::Ended(&run));
                Err(error)
            }
        }
    }

    /// Everything in one transaction. What is in the way of a lock is given way to, and the whole is tried again.
    async fn at_once(
        &self,
        session: &mut dyn MigrationSession,
        step: &Step<'_>,
        run: &mut Run,
    ) -> Result<(), MigrateError> {
        let mut again = 0;
        let fresh = run.clone();
        let stumble = loop {
            // What was written of the try before went with its transaction.
            run.clone_from(&fresh);
            let Err(stumble) = self.try_at_once(session, step, run).await else {
                return Ok(());
            };
            // Where the connection is gone, so is the transaction.
            let _ = session.rollback().await;
            let locked = matches!(stumble.fault, MigrationFault::LockTimeout(_));
            if !locked || !self.wait_for_retry(&mut again, &stumble.fault).await {
                break stumble;
            }
        };
        *run = fresh;
        self.note_failure(session, run, &stumble.fault).await;
        Err(failure(step, &stumble, Left::AsBefore))
    }

    async fn try_at_once(
        &self,
        session: &mut dyn MigrationSession,
        step: &Step<'_>,
        run: &mut Run,
    ) -> Result<(), Stumble> {
        session.still_locked().await?;
        session.renew().await?;
        session.begin(self.lock_timeout(step), true).await?;
        for (place, statement) in step.script.statements.iter().enumerate() {
            self.execute(session, step, run, place, statement).await?;
        }
        self.succeed(session, step, run).await?;
        Ok(session.commit().await?)
    }

    /// Runs a statement and notes it; nothing is stored yet.
    async fn execute(
        &self,
        session: &mut dyn MigrationSession,
        step: &Step<'_>,
        run: &mut Run,
        place: usize,
        statement: &Statement,
    ) -> Result<(), Stumble> {
        let of = step.script.statements.len();
        let sql = &*statement.sql;
        self.watch.see(&Progress::Statement {
            number: place + 1,
            of,
            sql,
        });
        session.announce(sql).await?;
        let started = Instant::now();
        let touched = session.execute(sql).await;
        let rows = touched.map_err(|fault| Stumble {
            at: Some(place),
            fault,
            outside: false,
        })?;
        run.statements.push(self.statement_run(statement, started, rows));
        Ok(())
    }

    fn statement_run(&self, statement: &Statement, started: Instant, rows: u64) -> StatementRun {
        StatementRun {
            checksum: normal_checksum(std::slice::from_ref(statement), self.database.dialect()),
            ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            rows,
        }
    }

    /// Writes, in the open transaction, that a migration is done, with the schema as it is then.
    async fn succeed(&self, session: &mut dyn MigrationSession, step: &Step<'_>, run: &mut Run) -> MigrationResult<()> {
        // The migration may have changed where names are looked up, and as whom. What is left to do waits for locks no
        // longer than its statements did: it still holds theirs.
        session.restore_settings(self.lock_timeout(step)).await?;
        let catalogue = session.catalogue().await?;
        run.outcome = Outcome::Succeeded;
        run.error = None;
        run.finished_at = Some(self.clock.now());
        run.fingerprint = Some(catalogue.fingerprint());
        run.id = session.write_run(run, Some(&catalogue)).await?;
        session.mark(&run.version, run.direction == Direction::Up).await
    }

    /// One statement after another, each in a transaction of its own with the note that it is done, so that a run that is
    /// cut off goes on with the next. What cannot be part of a transaction is noted before and after.
    async fn one_by_one(
        &self,
        session: &mut dyn MigrationSession,
        step: &Step<'_>,
        run: &mut Run,
    ) -> Result<(), MigrateError> {
        session.renew().await?;
        run.id = session.write_run(run, None).await?;
        for statement in step.script.statements.iter().take(run.statements.len()) {
            // What it set went with the connection that it was set on.
            if statement.sets(self.database.dialect()) {
                session.execute(&statement.sql).await?;
            }
        }
        while let Some(statement) = step.script.statements.get(run.statements.len()) {
            let place = run.statements.len();
            let mut again = 0;
            let stumble = loop {
                let done = if runs_in_transaction(statement, self.database.dialect()) {
                    self.by_itself(session, step, run, statement).await
                } else {
                    self.outside(session, step, run, statement).await
                };
                let stumble = match done {
                    Ok(()) => break None,
                    Err(Halt::ForGood(error)) => return Err(*error),
                    Err(Halt::Stumble(stumble)) => stumble,
                };
                let _ = session.rollback().await;
                run.statements.truncate(place);
                run.outcome = Outcome::Running;
                let locked = matches!(stumble.fault, MigrationFault::LockTimeout(_));
                if !locked || !self.wait_for_retry(&mut again, &stumble.fault).await {
                    break Some(stumble);
                }
            };
            if let Some(stumble) = stumble {
                return self.leave_in_part(session, step, run, &stumble).await;
            }
        }
        if run.outcome == Outcome::Succeeded {
            return Ok(());
        }
        // The last statement was none that its end could be written with.
        let ending = async {
            session.begin(self.lock_timeout(step), false).await?;
            self.succeed(session, step, run).await?;
            session.commit().await
        };
        let ended: MigrationResult<()> = ending.await;
        match ended {
            Ok(()) => Ok(()),
            Err(fault) => {
                let _ = session.rollback().await;
                self.leave_in_part(session, step, run, &fault.into()).await
            }
        }
    }

    /// A statement in a transaction of its own, and if it is the last, the end of the migration with it.
    async fn by_itself(
        &self,
        session: &mut dyn MigrationSession,
        step: &Step<'_>,
        run: &mut Run,
        statement: &Statement,
    ) -> Result<(), Halt> {
        let place = run.statements.len();
        session.still_locked().await?;
        session.begin(self.lock_timeout(step), false).await?;
        if let Err(stumble) = self.execute(session, step, run, place, statement).await {
            if matches!(stumble.fault, MigrationFault::NeedsNoTransaction(_)) {
                session.rollback().await?;
                return self.outside(session, step, run, statement).await;
            }
            return Err(stumble.into());
        }
        if place + 1 == step.script.statements.len() {
            self.succeed(session, step, run).await?;
        } else {
            session.write_run(run, None).await?;
        }
        Ok(session.commit().await?)
    }

    /// A statement that cannot be part of a transaction.
    async fn outside(
        &self,
        session: &mut dyn MigrationSession,
        step: &Step<'_>,
        run: &mut Run,
        statement: &Statement,
    ) -> Result<(), Halt> {
        let place = run.statements.len();
        session.still_locked().await?;
        let begun = run.begun == Some(place + 1);
        match session.settle(&statement.sql, begun).await? {
            Settled::Unknown => {
                return Err(Halt::ForGood(Box::new(MigrateError::Begun {
                    version: run.version.clone(),
                    name: run.name.clone(),
                    statement: place + 1,
                    sql: statement.sql.clone(),
                })));
            }
            Settled::Done => run.statements.push(self.statement_run(statement, Instant::now(), 0)),
            Settled::Ready => {
                run.begun = Some(place + 1);
                session.write_run(run, None).await?;
                session.limit_locks(&statement.sql, self.lock_timeout(step)).await?;
                let done = self.execute(session, step, run, place, statement).await;
                if let Err(stumble) = done {
                    // The server refused it, so it did not do it: only a lost connection leaves that open.
                    if !matches!(stumble.fault, MigrationFault::Away { .. }) {
                        run.begun = None;
                    }
                    return Err(Halt::Stumble(Stumble {
                        outside: true,
                        ..stumble
                    }));
                }
            }
        }
        run.begun = None;
        session.write_run(run, None).await?;
        Ok(())
    }

    /// A backfill: its statement for one range of keys after another, each in a transaction of its own.
    async fn walk(
        &self,
        session: &mut dyn MigrationSession,
        step: &Step<'_>,
        run: &mut Run,
        batch: u32,
    ) -> Result<(), MigrateError> {
        let dialect = self.database.dialect();
        // Both were looked at when the file was read.
        let walk = backfill(step.script, dialect).map_err(|reason| MigrationFault::Corrupt { reason })?;
        let Some(statement) = step.script.statements.first() else {
            return Ok(());
        };
        if run.id == 0 {
            run.statements.push(self.statement_run(statement, Instant::now(), 0));
            run.id = session.write_run(run, None).await?;
        }
        session.renew().await?;
        let of = self.database.estimated_rows(&walk.table).await?;
        self.watch.see(&Progress::Statement {
            number: 1,
            of: 1,
            sql: &statement.sql,
        });
        session.announce(&statement.sql).await?;
        let mut again = 0;
        loop {
            let started = Instant::now();
            let before = run.clone();
            match self.walk_once(session, step, run, (&walk, statement, batch)).await {
                Ok(false) => return Ok(()),
                Ok(true) => {
                    again = 0;
                    self.watch.see(&Progress::Walked { rows: run.rows(), of });
                    // As long as the batch took, so that at most half of the database's time is taken.
                    tokio::time::sleep(started.elapsed().min(LONGEST_PAUSE)).await;
                }
                Err(stumble) => {
                    let _ = session.rollback().await;
                    *run = before;
                    let locked = matches!(stumble.fault, MigrationFault::LockTimeout(_));
                    if !locked || !self.wait_for_retry(&mut again, &stumble.fault).await {
                        return self.leave_in_part(session, step, run, &stumble).await;
                    }
                }
            }
        }
    }

    /// One batch; `false` if there was none left, and the migration is done.
    async fn walk_once(
        &self,
        session: &mut dyn MigrationSession,
        step: &Step<'_>,
        run: &mut Run,
        (walk, statement, batch): (&Walk, &Statement, u32),
    ) -> Result<bool, Stumble> {
        session.still_locked().await?;
        session.begin(self.lock_timeout(step), false).await?;
        let range = session.next_range(walk, run.walked_to.as_deref(), batch).await?;
        let Some(range) = range else {
            self.succeed(session, step, run).await?;
            session.commit().await?;
            return Ok(false);
        };
        let started = Instant::now();
        let sql = self.in_range(statement, &range);
        let touched = session.execute(&sql).await;
        let rows = touched.map_err(|fault| Stumble {
            at: Some(0),
            fault,
            outside: false,
        })?;
        let this = self.statement_run(statement, started, rows);
        if let Some(sum) = run.statements.first_mut() {
            sum.ms += this.ms;
            sum.rows += this.rows;
        }
        run.walked_to = Some(range.last);
        session.write_run(run, None).await?;
        session.commit().await?;
        Ok(true)
    }

    /// A backfill's statement with its range in it.
    fn in_range(&self, statement: &Statement, range: &Range) -> String {
        let found = tokens(&statement.sql, self.database.dialect()).unwrap_or_default();
        let pieces = found.iter().map(|token| match (token.kind, token.text) {
            (TokenKind::Parameter, ":first") => range.first.as_str(),
            (TokenKind::Parameter, ":last") => range.last.as_str(),
            (_, text) => text,
        });
        pieces.collect()
    }

    fn lock_timeout(&self, step: &Step<'_>) -> Duration {
        step.migration
            .options
            .lock_timeout
            .unwrap_or(self.patience.lock_timeout)
    }

    /// Waits before another try, if there is to be one. Each wait is twice as long, give or take a half.
    pub(super) async fn wait_for_retry(&self, again: &mut u32, fault: &MigrationFault) -> bool {
        if *again >= self.patience.retries {
            return false;
        }
        let doubled = self
            .patience
            .retry_after
            .saturating_mul(1 << (*again).min(16))
            .min(LONGEST_PAUSE);
        let percent = 50 + u32::try_from(RandomState::new().hash_one(*again) % 100).unwrap_or(50);
        *again += 1;
        self.watch.see(&Progress::Retries {
            again: *again,
            at_most: self.patience.retries,
            held_by: match fault {
                MigrationFault::LockTimeout(said) => said.detail.as_deref(),
                _ => None,
            },
        });
        tokio::time::sleep(doubled * percent / 100).await;
        true
    }

    /// Writes down that a run failed, if the database can be written to.
    async fn note_failure(&self, session: &mut dyn MigrationSession, run: &mut Run, fault: &MigrationFault) {
        run.outcome = Outcome::Failed;
        run.error = Some(fault.to_string());
        run.finished_at = Some(self.clock.now());
        run.fingerprint = None;
        let noted = async {
            // Where locks are not given, one is not long waited for to say so.
            if !fault.is_lock() {
                session.restore_settings(Duration::ZERO).await?;
            }
            session.write_run(run, None).await
        };
        match noted.await {
            Ok(id) => run.id = id,
            Err(error) => tracing::warn!(event = "migration.history.unwritten", version = %run.version, %error),
        }
    }

    async fn leave_in_part(
        &self,
        session: &mut dyn MigrationSession,
        step: &Step<'_>,
        run: &mut Run,
        stumble: &Stumble,
    ) -> Result<(), MigrateError> {
        self.note_failure(session, run, &stumble.fault).await;
        let done = if step.backfills() { 0 } else { run.statements.len() };
        let total = run.total;
        // A concurrent build that the server refuses leaves its index behind, as an invalid one.
        let left = if done == 0 && run.walked_to.is_none() && run.begun.is_none() && !stumble.outside {
            Left::AsBefore
        } else {
            Left::Partly { done, total }
        };
        Err(failure(step, stumble, left))
    }
}

/// Why a statement did not get done: for good, or so that it may be tried again.
enum Halt {
    ForGood(Box<MigrateError>),
    Stumble(Stumble),
}

impl From<Stumble> for Halt {
    fn from(stumble: Stumble) -> Self {
        Self::Stumble(stumble)
    }
}

impl From<MigrationFault> for Halt {
    fn from(fault: MigrationFault) -> Self {
        Self::Stumble(fault.into())
    }
}

fn failure(step: &Step<'_>, stumble: &Stumble, left: Left) -> MigrateError {
    let statement = stumble
        .at
        .and_then(|at| step.script.statements.get(at).map(|statement| (at, statement)));
    MigrateError::Failed(Box::new(Failure {
        version: step.migration.version.clone(),
        name: step.migration.name.clone(),
        direction: step.direction,
        at: statement.map(|(at, statement)| (at + 1, statement.line)),
        sql: statement.map(|(_, statement)| statement.sql.clone()),
        fault: stumble.fault.clone(),
        left,
    }))
}
