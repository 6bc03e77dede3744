//! A mailer that speaks SMTP to a mail server (RFC 5321), over TLS where it is told to.
//!
//! Each step has a time limit, and a connection is used again only if the mail before it went through to the end: one
//! that was left in the middle may still hold the answer to what went before, which would then pass for the next
//! mail's. That is why lettre's own pool is not used; it takes such connections back.

mod connection;
mod failure;
mod message;
mod target;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anteroom_ports::{Clock, Mail, MailError, Mailer};
use async_trait::async_trait;
use lettre::message::Mailbox;

use connection::{Connection, Connector};
pub use target::{EXPECTED, SmtpTarget, Tls};

/// Where mails go, and how.
#[derive(Debug, Clone)]
pub struct SmtpOptions {
    /// The server.
    pub target: SmtpTarget,
    /// The sender: `ada@example.com` or `Ada <ada@example.com>`.
    pub from: String,
    /// The longest that connecting (name, TCP, TLS, greeting) may take, and each command after it. The server may
    /// take four times as long to answer to the mail itself, since it may look through it then.
    pub timeout: Duration,
    /// Connections that are kept for the next mail, at most.
    pub max_idle: usize,
    /// Certificates in PEM that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
}

impl SmtpOptions {
    /// The longest that a mail can take with this timeout, all its steps together.
    pub fn longest(timeout: Duration) -> Duration {
        // NOOP on a kept connection; connecting, STARTTLS, AUTH; MAIL, RCPT, DATA; and four for the mail.
        timeout * 11
    }
}

/// How long a connection that nobody uses is kept. Servers hang up after minutes.
const KEPT_FOR: Duration = Duration::from_secs(30);

/// Mails over one connection; servers have limits.
const MAILS_PER_CONNECTION: u32 = 50;

/// Sends mails to one server.
pub struct MailSmtp {
    connector: Connector,
    from: Mailbox,
    clock: Arc<dyn Clock>,
    max_idle: usize,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl MailSmtp {
    /// Prepares for sending; connects to nothing yet. [`MailError::Permanent`] if the sender is no address or the
    /// certificates cannot be read.
    pub fn new(options: SmtpOptions, clock: Arc<dyn Clock>) -> Result<Self, MailError> {
        let from = options
            .from
            .trim()
            .parse()
            .map_err(|_| MailError::Permanent("the sender is not an address".to_owned()))?;
        Ok(Self {
            connector: Connector::new(options.target, options.timeout, options.ca_file.as_deref())?,
            from,
            clock,
            max_idle: options.max_idle,
            idle: Mutex::default(),
        })
    }

    /// A connection that is ready for a mail: a kept one that still answers, else a new one.
    async fn ready(&self) -> Result<Connection, MailError> {
        while let Some(mut kept) = self.take_kept() {
            if kept.still_answers().await {
                return Ok(kept);
            }
        }
        self.connector.connect().await
    }

    fn take_kept(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|kept| kept.since.elapsed() < KEPT_FOR);
        idle.pop().map(|kept| kept.connection)
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.max_idle && connection.mails() < MAILS_PER_CONNECTION {
            idle.push(Idle {
                connection,
                since: Instant::now(),
            });
        }
    }
}

#[async_trait]
impl Mailer for MailSmtp {
    fn name(&self) -> &'static str {
        "smtp"
    }

    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let message = message::build(&self.from, mail, self.clock.now())?;
        let mut connection = self.ready().await?;
        connection.deliver(&message).await?;
        self.keep(connection);
        Ok(())
    }

    /// Connects, with STARTTLS and AUTH as for a mail, and asks for a NOOP.
    async fn check(&self) -> Result<(), MailError> {
        let mut connection = self.connector.connect().await?;
        if connection.still_answers().await {
            connection.quit().await;
            return Ok(());
        }
        Err(MailError::Temporary("the server does not answer NOOP".to_owned()))
    }
}
