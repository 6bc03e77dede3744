//! One connection to the server, each step of it within its time.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anteroom_ports::MailError;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Noop, Quit, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use secrecy::ExposeSecret as _;
use tokio::time::timeout;

use crate::failure::{self, Step};
use crate::message::Built;
use crate::target::{SmtpTarget, Tls};

/// How much longer than a command the server may take over the mail itself (RFC 5321 section 4.5.3.2.6 gives it ten
/// minutes). A mail that it takes after that comes twice.
const MESSAGE_FACTOR: u32 = 4;

/// In this order of preference.
const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

/// Makes connections.
pub(crate) struct Connector {
    target: SmtpTarget,
    limit: Duration,
    tls: Option<TlsParameters>,
    hello: ClientId,
}

impl Connector {
    pub(crate) fn new(target: SmtpTarget, limit: Duration, ca_file: Option<&Path>) -> Result<Self, MailError> {
        let tls = match target.tls {
            Tls::None => None,
            _ => Some(tls_parameters(&target.host, ca_file)?),
        };
        let hello = target.hello.clone().map_or_else(ClientId::default, ClientId::Domain);
        Ok(Self {
            target,
            limit,
            tls,
            hello,
        })
    }

    /// Connects, encrypts and logs in, as the target says.
    pub(crate) async fn connect(&self) -> Result<Connection, MailError> {
        let implicit = self.tls.clone().filter(|_| self.target.tls == Tls::Implicit);
        let server = (self.target.host.as_str(), self.target.port);
        let connecting = AsyncSmtpConnection::connect_tokio1(server, Some(self.limit), &self.hello, implicit, None);
        let mut line = within(self.limit, Step::Connect, connecting).await?;
        if let (Tls::Required | Tls::Opportunistic, Some(tls)) = (self.target.tls, &self.tls) {
            if line.can_starttls() {
                within(self.limit, Step::StartTls, line.starttls(tls.clone(), &self.hello)).await?;
            } else if self.target.tls == Tls::Required {
                return Err(MailError::Temporary("the server does not offer STARTTLS".to_owned()));
            }
        }
        if let Some((user, password)) = &self.target.credentials {
            if line.server_info().get_auth_mechanism(&MECHANISMS).is_none() {
                let reason = "the server offers no login by PLAIN or LOGIN on this connection";
                return Err(MailError::Temporary(reason.to_owned()));
            }
            let credentials = Credentials::new(user.clone(), password.expose_secret().to_owned());
            within(self.limit, Step::Auth, line.auth(&MECHANISMS, &credentials)).await?;
        }
        Ok(Connection {
            line,
            limit: self.limit,
            mails: 0,
        })
    }
}

fn tls_parameters(host: &str, ca_file: Option<&Path>) -> Result<TlsParameters, MailError> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(path) = ca_file {
        let unreadable = |why: &str| MailError::Permanent(format!("{}: {why}", path.display()));
        let pem = fs::read(path).map_err(|e| unreadable(&e.to_string()))?;
        let certificates = Certificate::from_pem(&pem).map_err(|_| unreadable("these are no certificates in PEM"))?;
        builder = builder.add_root_certificate(certificates);
    }
    builder
        .build()
        .map_err(|_| MailError::Permanent("TLS cannot be set up: a certificate to trust is not one".to_owned()))
}

/// A connection that is ready for a mail.
pub(crate) struct Connection {
    line: AsyncSmtpConnection,
    limit: Duration,
    mails: u32,
}

impl Connection {
    /// How many mails have gone over it.
    pub(crate) fn mails(&self) -> u32 {
        self.mails
    }

    /// Whether the server is still there.
    pub(crate) async fn still_answers(&mut self) -> bool {
        matches!(timeout(self.limit, self.line.command(Noop)).await, Ok(Ok(_)))
    }

    /// Says goodbye, as far as the server listens.
    pub(crate) async fn quit(mut self) {
        let _ = timeout(self.limit, self.line.command(Quit)).await;
    }

    /// Hands a mail over. After an error the connection is to be dropped.
    pub(crate) async fn deliver(&mut self, mail: &Built) -> Result<(), MailError> {
        let mut parameters = Vec::new();
        if !AsRef::<str>::as_ref(&mail.to).is_ascii() {
            if !self.line.server_info().supports_feature(Extension::SmtpUtfEight) {
                let reason = "the server takes no addresses beyond ASCII (SMTPUTF8)";
                return Err(MailError::Permanent(reason.to_owned()));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        let (limit, line) = (self.limit, &mut self.line);
        within(
            limit,
            Step::Mail,
            line.command(Mail::new(Some(mail.from.clone()), parameters)),
        )
        .await?;
        within(limit, Step::Rcpt, line.command(Rcpt::new(mail.to.clone(), Vec::new()))).await?;
        within(limit, Step::Data, line.command(Data)).await?;
        within(limit * MESSAGE_FACTOR, Step::Message, line.message(&mail.bytes)).await?;
        self.mails += 1;
        Ok(())
    }
}

async fn within<T>(limit: Duration, step: Step, work: impl Future<Output = Result<T, Error>>) -> Result<T, MailError> {
    match timeout(limit, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(failure::of(step, &e)),
        Err(_) => Err(failure::too_long(step)),
    }
}
