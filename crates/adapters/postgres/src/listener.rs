//! Hearing what nodes are told, on a connection of its own that lies on LISTEN.

use std::pin::pin;
use std::time::{Duration, Instant};

use anteroom_domain::sessions::Change;
use anteroom_ports::sessions::Heard;
use anteroom_ports::{Listener, StoreError, StoreResult};
use async_trait::async_trait;
use futures_util::future::poll_fn;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::backend::{CHANNEL, unavailable};
use crate::connector::{Connector, Tls, chain};

/// How often the link is tried.
const BEAT: Duration = Duration::from_millis(200);

/// How long an answer may take, before the link counts as broken.
const ANSWER: Duration = Duration::from_secs(2);

/// A connection that hears.
pub(crate) struct PgListener {
    client: Client,
    told: UnboundedReceiver<String>,
    driver: JoinHandle<()>,
    beat: Interval,
}

impl PgListener {
    /// Connects and begins to listen.
    pub(crate) async fn open(connector: &Connector) -> StoreResult<Self> {
        let opening = Self::open_at_leisure(connector);
        timeout(connector.patience, opening)
            .await
            .unwrap_or_else(|_| Err(unavailable("connecting took too long")))
    }

    async fn open_at_leisure(connector: &Connector) -> StoreResult<Self> {
        // So that it is told from the others in the server's activity view.
        let mut config = connector.config.clone();
        let name = config.get_application_name().unwrap_or("anteroom");
        let name = format!("{name} (listening)");
        config.application_name(&name);
        let (client, told, driver) = match &connector.tls {
            Tls::Off => {
                let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
                let (told, driver) = drive(connector, connection);
                (client, told, driver)
            }
            Tls::On(tls) => {
                let (client, connection) = config.connect(tls.clone()).await.map_err(failed)?;
                let (told, driver) = drive(connector, connection);
                (client, told, driver)
            }
        };
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let listener = Self {
            client,
            told,
            driver,
            beat,
        };
        // A channel's name is no parameter of LISTEN. This one has nothing in it that would need quoting.
        let name = format!("SELECT {CHANNEL}");
        let rows = listener.client.simple_query(&name).await.map_err(failed)?;
        let channel = rows.iter().find_map(|row| match row {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        let channel = channel.ok_or_else(|| unavailable("the database URL leads into no schema"))?;
        let listen = format!("LISTEN {channel}");
        listener.client.batch_execute(&listen).await.map_err(failed)?;
        Ok(listener)
    }

    fn heard(&mut self, first: Option<&str>) -> Vec<Change> {
        let mut changes: Vec<Change> = first.map(Change::parse).into_iter().collect();
        while let Ok(text) = self.told.try_recv() {
            changes.push(Change::parse(&text));
        }
        changes
    }
}

impl Drop for PgListener {
    fn drop(&mut self) {
        // Closes the socket: a link that is broken would not say goodbye either.
        self.driver.abort();
    }
}

#[async_trait]
impl Listener for PgListener {
    async fn next(&mut self) -> StoreResult<Heard> {
        tokio::select! {
            first = self.told.recv() => {
                let first = first.ok_or_else(|| unavailable("the listening connection was closed"))?;
                Ok(Heard { changes: self.heard(Some(&first)), as_of: None })
            }
            _ = self.beat.tick() => {
                // What was committed before this is sent before the answer: the server hands notifications out
                // whenever it has answered a query.
                let asked = Instant::now();
                timeout(ANSWER, self.client.batch_execute(""))
                    .await
                    .map_err(|_| unavailable("the listening connection did not answer in time"))?
                    .map_err(failed)?;
                Ok(Heard { changes: self.heard(None), as_of: Some(asked) })
            }
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` hands over")]
fn failed(error: tokio_postgres::Error) -> StoreError {
    unavailable(&format!("cannot listen: {}", chain(&error)))
}

/// Moves the connection's bytes, and hands on what it is told. Answers come after what was told before them.
fn drive<S>(
    connector: &Connector,
    connection: tokio_postgres::Connection<tokio_postgres::Socket, S>,
) -> (UnboundedReceiver<String>, JoinHandle<()>)
where
    S: tokio_postgres::tls::TlsStream + Unpin + Send + 'static,
{
    let (tell, told) = unbounded_channel();
    let driver = connector.runtime.spawn(async move {
        let mut connection = pin!(connection);
        loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(message))) => {
                    if tell.send(message.payload().to_owned()).is_err() {
                        return;
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    tracing::debug!(error = %chain(&error), "store.connection.closed");
                    return;
                }
                None => return,
            }
        }
    });
    (told, driver)
}
