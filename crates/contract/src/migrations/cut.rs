//! A database whose connection is cut at a chosen moment, as a killed process or a killed backend leaves it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anteroom_domain::migrations::{Catalogue, Dialect, Past, Run, Runner, Version, Walk};
use anteroom_ports::migrations::{
    MigrationDatabase, MigrationFault, MigrationResult, MigrationSession, Range, Settled, Waiting,
};
use async_trait::async_trait;

/// A database that lets so many calls of a session through that change something, and then drops it.
pub(super) struct Cut {
    inner: Arc<dyn MigrationDatabase>,
    left: Arc<AtomicUsize>,
    /// What was executed, in order.
    executed: Arc<Mutex<Vec<String>>>,
    /// Whether the call that is cut is carried out all the same, and only its answer is lost.
    after: bool,
}

impl Cut {
    pub(super) fn new(inner: Arc<dyn MigrationDatabase>, calls: usize, after: bool) -> Self {
        Self {
            inner,
            left: Arc::new(AtomicUsize::new(calls)),
            executed: Arc::default(),
            after,
        }
    }

    /// What was executed, in order, byte by byte.
    pub(super) fn executed(&self) -> Vec<String> {
        self.executed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn cut() -> MigrationFault {
    MigrationFault::Away { reason: "cut".into() }
}

#[async_trait]
impl MigrationDatabase for Cut {
    fn dialect(&self) -> Dialect {
        self.inner.dialect()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn applied_versions(&self) -> MigrationResult<Vec<Version>> {
        self.inner.applied_versions().await
    }

    async fn past(&self) -> MigrationResult<Past> {
        self.inner.past().await
    }

    async fn catalogue(&self) -> MigrationResult<Catalogue> {
        self.inner.catalogue().await
    }

    async fn recorded_catalogue(&self) -> MigrationResult<Option<Catalogue>> {
        self.inner.recorded_catalogue().await
    }

    async fn estimated_rows(&self, table: &str) -> MigrationResult<Option<u64>> {
        self.inner.estimated_rows(table).await
    }

    async fn diesel_versions(&self) -> MigrationResult<Vec<Version>> {
        self.inner.diesel_versions().await
    }

    async fn lock(&self, runner: &Runner, waiting: &Waiting<'_>) -> MigrationResult<Box<dyn MigrationSession>> {
        Ok(Box::new(CutSession {
            inner: Some(self.inner.lock(runner, waiting).await?),
            left: Arc::clone(&self.left),
            executed: Arc::clone(&self.executed),
            after: self.after,
        }))
    }

    async fn scratch(&self) -> MigrationResult<Arc<dyn MigrationDatabase>> {
        self.inner.scratch().await
    }

    async fn discard(&self) -> MigrationResult<()> {
        self.inner.discard().await
    }
}

struct CutSession {
    inner: Option<Box<dyn MigrationSession>>,
    left: Arc<AtomicUsize>,
    executed: Arc<Mutex<Vec<String>>>,
    after: bool,
}

impl CutSession {
    /// The session, for a call that changes nothing.
    fn whole(&mut self) -> MigrationResult<&mut dyn MigrationSession> {
        let inner = self.inner.as_mut().ok_or_else(cut)?;
        Ok(&mut **inner)
    }

    /// The session, if this call gets that far; and whether it is the last.
    fn next(&mut self) -> MigrationResult<(&mut dyn MigrationSession, bool)> {
        let left = self.left.load(Ordering::SeqCst);
        if left == 0 && !self.after {
            self.inner = None;
        }
        let last = left <= 1 && self.after;
        self.left.store(left.saturating_sub(1), Ordering::SeqCst);
        let inner = self.inner.as_mut().ok_or_else(cut)?;
        Ok((&mut **inner, last))
    }

    fn ended<T>(&mut self, last: bool, answer: MigrationResult<T>) -> MigrationResult<T> {
        if last {
            self.inner = None;
            return Err(cut());
        }
        answer
    }
}

macro_rules! through {
    ($self:ident, $call:ident ( $($argument:expr),* )) => {{
        let (inner, last) = $self.next()?;
        let answer = inner.$call($($argument),*).await;
        $self.ended(last, answer)
    }};
}

#[async_trait]
impl MigrationSession for CutSession {
    fn role(&self) -> &str {
        self.inner.as_ref().map_or("", |inner| inner.role())
    }

    async fn past(&mut self) -> MigrationResult<Past> {
        self.whole()?.past().await
    }

    async fn still_locked(&mut self) -> MigrationResult<()> {
        self.whole()?.still_locked().await
    }

    async fn begin(&mut self, lock_timeout: Duration, rebuilds: bool) -> MigrationResult<()> {
        self.whole()?.begin(lock_timeout, rebuilds).await
    }

    async fn execute(&mut self, sql: &str) -> MigrationResult<u64> {
        self.executed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(sql.to_owned());
        through!(self, execute(sql))
    }

    async fn restore_settings(&mut self, lock_timeout: Duration) -> MigrationResult<()> {
        self.whole()?.restore_settings(lock_timeout).await
    }

    async fn renew(&mut self) -> MigrationResult<()> {
        self.whole()?.renew().await
    }

    async fn limit_locks(&mut self, sql: &str, lock_timeout: Duration) -> MigrationResult<()> {
        self.whole()?.limit_locks(sql, lock_timeout).await
    }

    async fn commit(&mut self) -> MigrationResult<()> {
        through!(self, commit())
    }

    async fn rollback(&mut self) -> MigrationResult<()> {
        self.whole()?.rollback().await
    }

    async fn write_run(&mut self, run: &Run, catalogue: Option<&Catalogue>) -> MigrationResult<i64> {
        through!(self, write_run(run, catalogue))
    }

    async fn mark(&mut self, version: &Version, applied: bool) -> MigrationResult<()> {
        through!(self, mark(version, applied))
    }

    async fn catalogue(&mut self) -> MigrationResult<Catalogue> {
        self.whole()?.catalogue().await
    }

    async fn settle(&mut self, sql: &str, begun: bool) -> MigrationResult<Settled> {
        self.whole()?.settle(sql, begun).await
    }

    async fn next_range(&mut self, walk: &Walk, after: Option<&str>, batch: u32) -> MigrationResult<Option<Range>> {
        self.whole()?.next_range(walk, after, batch).await
    }

    async fn announce(&mut self, sql: &str) -> MigrationResult<()> {
        self.whole()?.announce(sql).await
    }
}
