//! One unit of work, or one connection that only reads: the type that every context's methods are written on.

use anteroom_ports::{Durability, ReadUnit, StoreError, StoreResult, UnitOfWork, query_sent};
use async_trait::async_trait;
use diesel::QueryResult;
use tokio::runtime::Handle;

use crate::backend::{Conn, Link, store_error};
use crate::pool::Lease;

/// What became of the last statement.
///
/// After one that did not succeed PostgreSQL accepts nothing more on the transaction (and answers its COMMIT with a
/// silent rollback); on SQLite the transaction may be gone, and later statements would stand alone. So nothing more is
/// sent then, and the commit is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Statement {
    Succeeded,
    /// It runs, or its future was dropped while it did.
    Sent,
    Failed,
}

/// A leased connection, and what is known about its transaction.
pub(crate) struct Unit {
    lease: Option<Lease>,
    runtime: Handle,
    /// A transaction is open, and undone unless it is committed.
    open: bool,
    last: Statement,
    after_commit: Vec<Box<dyn FnOnce() + Send>>,
}

impl Unit {
    /// Opens a transaction. If this fails or is dropped halfway, what it may have opened is undone.
    pub(crate) async fn begin(lease: Lease, runtime: Handle, durability: Durability) -> StoreResult<Self> {
        let mut unit = Self {
            lease: Some(lease),
            runtime,
            open: true,
            last: Statement::Sent,
            after_commit: Vec::new(),
        };
        query_sent();
        let done = unit.held()?.begin(durability).await;
        unit.checked(done)?;
        Ok(unit)
    }

    /// A connection without a transaction.
    pub(crate) fn reading(lease: Lease, runtime: Handle) -> Self {
        Self {
            lease: Some(lease),
            runtime,
            open: false,
            last: Statement::Succeeded,
            after_commit: Vec::new(),
        }
    }

    fn held(&mut self) -> StoreResult<&mut Conn> {
        let lease = self.lease.as_mut().ok_or_else(|| StoreError::Unavailable {
            reason: "the connection is gone".into(),
        })?;
        lease.conn()
    }

    /// The connection, for one statement, whose result goes through [`Unit::checked`].
    pub(crate) fn conn(&mut self) -> StoreResult<&mut Link> {
        Ok(self.ready()?.link())
    }

    /// The same, for a statement that may touch many rows.
    pub(crate) fn conn_for_long(&mut self) -> StoreResult<&mut Link> {
        Ok(self.ready()?.link_for_long())
    }

    fn ready(&mut self) -> StoreResult<&mut Conn> {
        if self.last != Statement::Succeeded {
            return Err(StoreError::Corrupt {
                reason: "the unit of work failed before and can only be dropped".into(),
            });
        }
        self.last = Statement::Sent;
        query_sent();
        self.held()
    }

    /// The result of a statement.
    pub(crate) fn checked<T>(&mut self, result: QueryResult<T>) -> StoreResult<T> {
        self.last = if result.is_ok() {
            Statement::Succeeded
        } else {
            Statement::Failed
        };
        result.map_err(store_error)
    }
}

impl ReadUnit for Unit {}

#[async_trait]
impl UnitOfWork for Unit {
    fn after_commit(&mut self, act: Box<dyn FnOnce() + Send>) {
        self.after_commit.push(act);
    }

    #[tracing::instrument(level = "debug", name = "store.commit", skip_all)]
    async fn commit(mut self: Box<Self>) -> StoreResult<()> {
        let done = self.ready()?.commit().await;
        let safe = self.checked(done)?;
        self.open = false;
        let acts = std::mem::take(&mut self.after_commit);
        // The connection goes back first: who is woken may want one, and nobody else is to wait for the disk.
        drop(self);
        safe.wait().await?;
        for act in acts {
            act();
        }
        Ok(())
    }
}

impl Drop for Unit {
    /// Gives the connection back. Undoing what was not committed takes a round trip, which a destructor must not wait
    /// for: a task does it, and the connection is nobody's until it is done.
    fn drop(&mut self) {
        let Some(mut lease) = self.lease.take() else { return };
        if !self.open && self.last == Statement::Succeeded {
            return;
        }
        lease.distrust();
        let cut_off = self.last == Statement::Sent;
        self.runtime.spawn(async move {
            let Ok(conn) = lease.conn() else { return };
            if conn.undo(cut_off).await {
                lease.trust();
            }
        });
    }
}
