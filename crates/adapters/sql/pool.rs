//! A pool of connections that bounds how many there are and how long one waits for one.
//!
//! Not one of the usual pools, because they give a connection back as it is: with a transaction open after a unit of
//! work was dropped, or dead after the server went away, to be found out by the next to use it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anteroom_ports::{StoreError, StoreResult};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::backend::{Conn, Connector};

/// At most a number of connections, made when they are needed.
pub(crate) struct Pool {
    connector: Connector,
    idle: Mutex<Vec<Conn>>,
    permits: Arc<Semaphore>,
}

impl Pool {
    /// A pool of at most `size` connections.
    pub(crate) fn new(connector: Connector, size: usize) -> Arc<Self> {
        Arc::new(Self {
            connector,
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(size.max(1))),
        })
    }

    /// A connection: the one given back last (its caches are warm), or a new one. [`StoreError::Unavailable`] if there
    /// is none by the deadline.
    pub(crate) async fn lease(self: &Arc<Self>, deadline: Instant) -> StoreResult<Lease> {
        let permit = timeout_at(deadline, self.permits.clone().acquire_owned())
            .await
            .map_err(|_| unavailable("all connections are in use"))?
            .map_err(|_| unavailable("the pool is closed"))?;
        let pooled = self.idle().pop();
        if let Some(mut conn) = pooled {
            if conn.alive().await {
                return Ok(self.wrap(conn, permit));
            }
            // Whatever ended it has most likely ended the others: do not try each.
            self.forget_idle();
        }
        let conn = timeout_at(deadline, self.connector.connect())
            .await
            .map_err(|_| unavailable("connecting took too long"))??;
        Ok(self.wrap(conn, permit))
    }

    fn wrap(self: &Arc<Self>, conn: Conn, permit: OwnedSemaphorePermit) -> Lease {
        Lease {
            conn: Some(conn),
            trusted: true,
            pool: self.clone(),
            _permit: permit,
        }
    }

    /// Closes the connections that nobody uses.
    pub(crate) fn forget_idle(&self) {
        let idle = std::mem::take(&mut *self.idle());
        drop(idle);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Conn>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unavailable(reason: &str) -> StoreError {
    StoreError::Unavailable { reason: reason.into() }
}

/// A connection out of the pool. Dropping it gives the connection back, or closes it if it is not trusted.
pub(crate) struct Lease {
    conn: Option<Conn>,
    trusted: bool,
    pool: Arc<Pool>,
    // Last, so that whoever waits for the permit finds the connection.
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// The connection.
    pub(crate) fn conn(&mut self) -> StoreResult<&mut Conn> {
        self.conn.as_mut().ok_or_else(|| unavailable("the connection is gone"))
    }

    /// From here on the connection may be in a state that nobody else must find it in.
    pub(crate) fn distrust(&mut self) {
        self.trusted = false;
    }

    /// The connection is as good as new.
    pub(crate) fn trust(&mut self) {
        self.trusted = true;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take().filter(|_| self.trusted) {
            self.pool.idle().push(conn);
        }
    }
}
