//! The store: a pool of readers, one writer, and one file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anteroom_ports::{Durability, Listener, ReadUnit, Store, StoreError, StoreResult, UnitOfWork, query_sent};
use async_trait::async_trait;
use diesel_async::SimpleAsyncConnection as _;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::backend::{Connector, store_error};
use crate::log::Log;
use crate::pool::Pool;
use crate::unit::Unit;

/// Where the database is and how it is shared.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// The file; it and its directory are made if they are missing, readable by their owner only.
    pub path: PathBuf,
    /// How many connections may read at once.
    pub readers: usize,
    /// How long one waits for a connection, or for the write lock, before [`StoreError::Unavailable`].
    pub acquire_timeout: Duration,
}

impl SqliteOptions {
    /// Four readers and three seconds.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            readers: 4,
            acquire_timeout: Duration::from_secs(3),
        }
    }
}

/// A store in one SQLite file.
pub struct SqliteStore {
    pub(crate) connector: Connector,
    log: Arc<Log>,
    readers: Arc<Pool>,
    pub(crate) writer: Arc<Pool>,
    acquire_timeout: Duration,
    runtime: Handle,
    // Last: removed after everything else has let go of it.
    _temporary: Option<TemporaryDirectory>,
}

impl SqliteStore {
    /// Opens a database, and makes it if there is none. The schema is not touched; see
    /// [`anteroom_ports::OwnSchema`]. Statements run on the threads for blocking work of the runtime that
    /// this is called on.
    pub async fn open(options: SqliteOptions) -> StoreResult<Self> {
        Self::build(options, None).await
    }

    /// An empty database in a directory of its own, which goes with it: for tests. It does not wait for the disk.
    pub async fn open_temporary() -> StoreResult<Self> {
        let directory = TemporaryDirectory::make()?;
        let options = SqliteOptions::new(directory.0.join("anteroom.db"));
        Self::build(options, Some(directory)).await
    }

    async fn build(options: SqliteOptions, temporary: Option<TemporaryDirectory>) -> StoreResult<Self> {
        let runtime = Handle::current();
        let writer = Connector {
            path: options.path,
            patience: options.acquire_timeout,
            writes: true,
            durable: temporary.is_none(),
            runtime: runtime.clone(),
            log: None,
        };
        let readers = Connector {
            writes: false,
            ..writer.clone()
        };
        make_private(&writer.path)?;
        // A temporary file never waits for the disk.
        let log = Log::of(&writer.path, runtime.clone())?;
        let connector = writer.clone();
        let writer = Connector {
            log: writer.durable.then(|| Arc::clone(&log)),
            ..writer
        };
        let store = Self {
            connector,
            log,
            readers: Pool::new(readers, options.readers),
            writer: Pool::new(writer, 1),
            acquire_timeout: options.acquire_timeout,
            runtime,
            _temporary: temporary,
        };
        // The first connection turns the write-ahead log on, which readers cannot do; and a file that cannot be opened
        // is found out now.
        drop(store.writer.lease(store.deadline()).await?);
        Ok(store)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.acquire_timeout
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    #[tracing::instrument(level = "debug", name = "store.begin", skip_all)]
    async fn begin(&self, durability: Durability) -> StoreResult<Box<dyn UnitOfWork>> {
        self.log.tend(&self.connector, &self.writer);
        let lease = self.writer.lease(self.deadline()).await?;
        Ok(Box::new(Unit::begin(lease, self.runtime.clone(), durability).await?))
    }

    #[tracing::instrument(level = "debug", name = "store.read", skip_all)]
    async fn read(&self) -> StoreResult<Box<dyn ReadUnit>> {
        let lease = self.readers.lease(self.deadline()).await?;
        Ok(Box::new(Unit::reading(lease, self.runtime.clone())))
    }

    /// A file calls nobody.
    async fn listen(&self) -> StoreResult<Option<Box<dyn Listener>>> {
        Ok(None)
    }

    #[tracing::instrument(level = "debug", name = "store.ping", skip_all)]
    async fn ping(&self) -> StoreResult<()> {
        let mut lease = self.readers.lease(self.deadline()).await?;
        query_sent();
        let done = lease.conn()?.link().batch_execute("SELECT 1 FROM sqlite_schema").await;
        done.map_err(store_error)
    }
}

/// Makes the file and its directory for their owner only; the log files take the file's mode.
fn make_private(path: &std::path::Path) -> StoreResult<()> {
    let failed = |e: std::io::Error| StoreError::Unavailable {
        reason: format!("cannot make {}: {e}", path.display()),
    };
    let mut directory = std::fs::DirBuilder::new();
    directory.recursive(true);
    let mut file = std::fs::OpenOptions::new();
    file.create(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
        directory.mode(0o700);
        file.mode(0o600);
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        directory.create(parent).map_err(failed)?;
    }
    file.open(path).map_err(failed).map(|_| ())
}

/// A directory that is removed with this value.
pub(crate) struct TemporaryDirectory(pub(crate) PathBuf);

impl TemporaryDirectory {
    pub(crate) fn make() -> StoreResult<Self> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let base = std::env::temp_dir();
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = base.join(format!("anteroom-{}-{number}", std::process::id()));
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => {
                    return Err(StoreError::Unavailable {
                        reason: format!("cannot make {}: {e}", path.display()),
                    });
                }
            }
        }
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // Nothing can be done about a failure, and nothing depends on it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
