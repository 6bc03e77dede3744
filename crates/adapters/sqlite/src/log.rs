//! The write-ahead log: how a commit comes to outlive a power cut, and how the log is moved into the database.
//!
//! SQLite's own way (`synchronous = FULL`) waits for the disk with the write lock held, so that everybody who wants to
//! write waits as well: a millisecond for each, where a statement takes microseconds. So commits only append to the log,
//! the lock is let go, and whoever promises that what it wrote is safe waits for the disk afterwards, together with
//! others. What comes first in the log is safe first; one that was acknowledged depends on none that may be lost.
//!
//! For the same reason no commit moves the log into the database on the side. Most of it is moved by a connection that
//! does not write, and only the rest with the lock held.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anteroom_ports::{StoreError, StoreResult};
use diesel::QueryResult;
use diesel::connection::SimpleConnection as _;
use diesel::sql_types::Integer;
use diesel_async::SimpleAsyncConnection as _;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::{error, warn};

use crate::backend::{Connector, Link, store_error};
use crate::pool::Pool;

/// How often the log's length is asked for, in commits.
const LOOK_EVERY: u64 = 64;
/// A log of so many pages (of 4 KiB) is moved into the database.
const LONG: i32 = 4000;
/// What is left of the file once all of it has been moved, in bytes.
pub(crate) const KEEP_BYTES: u32 = 32 * 1024 * 1024;

/// The log of one database.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    /// How many commits it has taken.
    committed: AtomicU64,
    /// How many of them are on the disk. Held while it is waited for.
    synced: tokio::sync::Mutex<u64>,
    /// Whether the disk has failed to take it. What it did not take it never will, and it says so only once.
    broken: AtomicBool,
    long: AtomicBool,
    runtime: Handle,
}

impl Log {
    /// That of the database in this file, which is there.
    pub(crate) fn of(database: &Path, runtime: Handle) -> StoreResult<Arc<Self>> {
        // SQLite keeps it beside the file itself, not beside a link to it.
        let found = std::fs::canonicalize(database).map_err(unsafe_now)?;
        let mut path = found.into_os_string();
        path.push("-wal");
        Ok(Arc::new(Self {
            path: path.into(),
            committed: AtomicU64::new(0),
            synced: tokio::sync::Mutex::new(0),
            broken: AtomicBool::new(false),
            long: AtomicBool::new(false),
            runtime,
        }))
    }

    /// Notes a commit on the connection that writes. Answers which one it is.
    pub(crate) async fn committed(&self, link: &mut Link) -> u64 {
        let number = self.committed.fetch_add(1, Ordering::SeqCst) + 1;
        if number.is_multiple_of(LOOK_EVERY) {
            use diesel_async::RunQueryDsl as _;
            let asked = diesel::dsl::sql::<(Integer, Integer, Integer)>("PRAGMA wal_checkpoint(NOOP)");
            let told: QueryResult<(i32, i32, i32)> = asked.get_result(link).await;
            // The commit stands, whatever comes of this.
            if told.is_ok_and(|(_, pages, moved)| pages >= LONG && moved < pages) {
                self.long.store(true, Ordering::SeqCst);
            }
        }
        number
    }

    /// Returns when that commit outlives a power cut.
    pub(crate) async fn safe(self: &Arc<Self>, number: u64) -> StoreResult<()> {
        let mut synced = self.synced.lock().await;
        if *synced >= number {
            return Ok(());
        }
        let reached = self.committed.load(Ordering::SeqCst);
        let (log, first) = (Arc::clone(self), *synced == 0);
        let synced_now = self.runtime.spawn_blocking(move || log.sync(first)).await;
        synced_now.map_err(|_| unsafe_now("the runtime is shutting down"))??;
        *synced = reached;
        Ok(())
    }

    fn sync(&self, first: bool) -> StoreResult<()> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(unsafe_now("the disk failed before; look at it, and start again"));
        }
        let file = File::open(&self.path).map_err(unsafe_now)?;
        if let Err(e) = file.sync_data() {
            error!(event = "store.sync.failed", reason = %e);
            self.broken.store(true, Ordering::SeqCst);
            return Err(unsafe_now(e));
        }
        // The file may be new, and its name must outlive the cut too.
        if first && let Some(folder) = self.path.parent() {
            File::open(folder).and_then(|it| it.sync_all()).map_err(unsafe_now)?;
        }
        Ok(())
    }

    /// Has the log moved into the database, elsewhere, if it has grown long.
    pub(crate) fn tend(&self, connector: &Connector, writer: &Arc<Pool>) {
        if self.long.swap(false, Ordering::SeqCst) {
            let (connector, writer) = (connector.clone(), Arc::clone(writer));
            self.runtime.spawn(async move {
                if let Err(e) = move_log(connector, writer).await {
                    warn!(event = "store.checkpoint.failed", reason = %e);
                }
            });
        }
    }
}

async fn move_log(connector: Connector, writer: Arc<Pool>) -> StoreResult<()> {
    let patience = connector.patience;
    let most = connector.runtime.clone().spawn_blocking(move || {
        // What can be moved without waiting for anybody.
        let moved = connector.open()?.batch_execute("PRAGMA wal_checkpoint(PASSIVE)");
        moved.map_err(store_error)
    });
    most.await.map_err(|_| unsafe_now("the runtime is shutting down"))??;
    // Only once all of it has been moved does the next to write begin at its front again.
    let mut lease = writer.lease(Instant::now() + patience).await?;
    let link = lease.conn()?.link_for_long();
    let moved = link.batch_execute("PRAGMA wal_checkpoint(PASSIVE)").await;
    moved.map_err(store_error)
}

fn unsafe_now(reason: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable {
        reason: format!("what was written is not safe on the disk: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anteroom_contract::store::migrate_up;
    use anteroom_ports::{Durability, Store};

    use super::*;
    use crate::store::{SqliteOptions, SqliteStore};

    #[tokio::test]
    async fn those_that_wait_together_wait_for_the_disk_once() {
        let folder = tempfile::tempdir().unwrap();
        let (database, file) = (folder.path().join("a.db"), folder.path().join("a.db-wal"));
        std::fs::write(&database, "").unwrap();
        std::fs::write(&file, "").unwrap();
        let log = Log::of(&database, Handle::current()).unwrap();
        log.committed.store(3, Ordering::SeqCst);
        log.safe(2).await.unwrap();
        std::fs::remove_file(&file).unwrap();
        // The first wait was for all three.
        log.safe(3).await.unwrap();
        log.committed.store(4, Ordering::SeqCst);
        let error = log.safe(4).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    }

    /// The kernel tells of a failure once, and then that all is well.
    #[tokio::test]
    async fn after_a_sync_that_failed_nothing_is_safe_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let (database, file) = (folder.path().join("a.db"), folder.path().join("a.db-wal"));
        std::fs::write(&database, "").unwrap();
        // What cannot be synced.
        std::os::unix::fs::symlink("/dev/null", &file).unwrap();
        let log = Log::of(&database, Handle::current()).unwrap();
        log.committed.store(1, Ordering::SeqCst);
        log.safe(1).await.unwrap_err();
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, "").unwrap();
        log.committed.store(2, Ordering::SeqCst);
        log.safe(2).await.unwrap_err();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_commit_waits_for_the_disk_and_a_relaxed_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions::new(folder.path().join("a.db"));
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(options).await.unwrap());
        migrate_up(&store).await.unwrap();
        let commit = async |durability| {
            let mut unit = store.begin(durability).await.unwrap();
            let called = Arc::new(AtomicBool::new(false));
            let call = Arc::clone(&called);
            unit.after_commit(Box::new(move || call.store(true, Ordering::SeqCst)));
            (unit.commit().await, called.load(Ordering::SeqCst))
        };
        assert_eq!(commit(Durability::Full).await, (Ok(()), true));
        // Whoever waits finds nothing to wait for.
        std::fs::remove_file(folder.path().join("a.db-wal")).unwrap();
        assert_eq!(commit(Durability::Relaxed).await, (Ok(()), true));
        let (outcome, called) = commit(Durability::Full).await;
        assert!(matches!(outcome, Err(StoreError::Unavailable { .. })), "{outcome:?}");
        assert!(!called);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_long_log_is_moved_into_the_database() {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions::new(folder.path().join("a.db"));
        let store = SqliteStore::open(options).await.unwrap();
        let pages = async |sql: &str| {
            use diesel_async::RunQueryDsl as _;
            let deadline = Instant::now() + Duration::from_secs(5);
            let mut lease = store.writer.lease(deadline).await.unwrap();
            let conn = lease.conn().unwrap();
            conn.begin(Durability::Relaxed).await.unwrap();
            conn.link().batch_execute(sql).await.unwrap();
            conn.commit().await.unwrap().wait().await.unwrap();
            let asked = diesel::dsl::sql::<(Integer, Integer, Integer)>("PRAGMA wal_checkpoint(NOOP)");
            let (_, pages, _): (i32, i32, i32) = asked.get_result(conn.link()).await.unwrap();
            pages
        };
        pages("CREATE TABLE blobs (it BLOB)").await;
        let mut longest = 0;
        for _ in 0..2 * LONG / 16 {
            longest = longest.max(pages("INSERT INTO blobs VALUES (zeroblob(65536))").await);
        }
        assert!(longest > LONG, "{longest}");
        // Whoever begins a unit of work has it moved; whoever writes then begins at its front again.
        let mut left = longest;
        for _ in 0..100 {
            drop(store.begin(Durability::Relaxed).await.unwrap());
            left = pages("INSERT INTO blobs VALUES (1)").await;
            if left < LONG {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(left < LONG, "{left}");
        let kept = std::fs::metadata(folder.path().join("a.db-wal")).unwrap().len();
        assert!(kept <= u64::from(KEEP_BYTES), "{kept}");
    }
}
