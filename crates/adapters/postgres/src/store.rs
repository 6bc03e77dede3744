//! The store: a pool of connections to one server.

use std::sync::Arc;
use std::time::Duration;

use anteroom_ports::{Durability, Listener, ReadUnit, Store, StoreError, StoreResult, UnitOfWork, query_sent};
use async_trait::async_trait;
use diesel_async::SimpleAsyncConnection as _;
use secrecy::SecretString;
use tokio::time::{Instant, timeout_at};

use crate::backend::{Connector, store_error, unavailable};
use crate::listener::PgListener;
use crate::pool::Pool;
use crate::unit::Unit;

/// Where the database is and how it is used.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host/name?…`, with `tokio_postgres`'s parameters and `sslrootcert=<file>`.
    ///
    /// `sslmode`: `disable`; `prefer` (when absent), which uses TLS if the server offers it, and does not ask a server
    /// on this machine; `require`, `verify-ca` and `verify-full`, which all insist on it. Unlike in libpq, a certificate is
    /// always verified, name included, against the system's roots or those in `sslrootcert`.
    /// `channel_binding=require` works (Neon).
    pub url: SecretString,
    /// How many connections there are at most.
    pub max_connections: usize,
    /// How long one waits for a connection with an open transaction before [`StoreError::Unavailable`].
    pub acquire_timeout: Duration,
    /// How long a statement may take.
    pub statement_timeout: Duration,
    /// Whether the URL leads to a pooler in transaction mode (`PgBouncer`, Neon's pooled host). Then statements are not
    /// kept prepared, every read has a transaction, and nothing is set on a session. Migrations need a direct URL.
    pub pooler: bool,
    /// What the server's activity view shows.
    pub application_name: String,
}

impl PostgresOptions {
    /// Ten connections, three seconds for one, four for a statement, no pooler.
    pub fn new(url: SecretString) -> Self {
        Self {
            url,
            max_connections: 10,
            acquire_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(4),
            pooler: false,
            application_name: "anteroom".into(),
        }
    }
}

/// A store on a PostgreSQL server.
pub struct PostgresStore {
    pub(crate) connector: Connector,
    pool: Arc<Pool>,
    acquire_timeout: Duration,
}

impl PostgresStore {
    /// Reads the options. Connects when it is first needed, so a server that is away is found out by
    /// [`Store::ping`]. Connections live on the runtime that this is called on.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the URL or a certificate file cannot be used.
    #[expect(
        clippy::unused_async,
        reason = "a runtime is needed, and the other store opens its file here"
    )]
    pub async fn open(options: PostgresOptions) -> StoreResult<Self> {
        let connector = Connector::new(&options)?;
        Ok(Self {
            pool: Pool::new(connector.clone(), options.max_connections),
            connector,
            acquire_timeout: options.acquire_timeout,
        })
    }

    /// A unit with an open transaction. A connection that lay in the pool may have died a moment ago: the second try
    /// has a new one.
    async fn unit(&self, durability: Durability) -> StoreResult<Unit> {
        let deadline = Instant::now() + self.acquire_timeout;
        match self.try_unit(deadline, durability).await {
            Err(StoreError::Unavailable { .. }) if Instant::now() < deadline => {
                self.pool.forget_idle();
                self.try_unit(deadline, durability).await
            }
            done => done,
        }
    }

    async fn try_unit(&self, deadline: Instant, durability: Durability) -> StoreResult<Unit> {
        let lease = self.pool.lease(deadline).await?;
        let beginning = Unit::begin(lease, self.connector.runtime.clone(), durability);
        timeout_at(deadline, beginning)
            .await
            .unwrap_or_else(|_| Err(unavailable("the server did not open a transaction in time")))
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    #[tracing::instrument(level = "debug", name = "store.begin", skip_all)]
    async fn begin(&self, durability: Durability) -> StoreResult<Box<dyn UnitOfWork>> {
        Ok(Box::new(self.unit(durability).await?))
    }

    #[tracing::instrument(level = "debug", name = "store.read", skip_all)]
    async fn read(&self) -> StoreResult<Box<dyn ReadUnit>> {
        if self.connector.pooler {
            // Preparing a statement and running it must reach the same server connection.
            return Ok(Box::new(self.unit(Durability::Relaxed).await?));
        }
        let lease = self.pool.lease(Instant::now() + self.acquire_timeout).await?;
        Ok(Box::new(Unit::reading(lease, self.connector.runtime.clone())))
    }

    /// Not through a pooler: it gives the server connection that listens to whoever comes next.
    #[tracing::instrument(level = "debug", name = "store.listen", skip_all)]
    async fn listen(&self) -> StoreResult<Option<Box<dyn Listener>>> {
        if self.connector.pooler {
            return Ok(None);
        }
        Ok(Some(Box::new(PgListener::open(&self.connector).await?)))
    }

    #[tracing::instrument(level = "debug", name = "store.ping", skip_all)]
    async fn ping(&self) -> StoreResult<()> {
        let deadline = Instant::now() + self.acquire_timeout;
        let mut lease = self.pool.lease(deadline).await?;
        lease.distrust();
        query_sent();
        timeout_at(deadline, lease.conn()?.link().batch_execute("SELECT 1"))
            .await
            .map_err(|_| unavailable("the server did not answer in time"))?
            .map_err(store_error)?;
        lease.trust();
        Ok(())
    }
}
