//! How a connection is made: the URL, TLS, and what is set on a new session.

use std::time::Duration;

use anteroom_ports::StoreResult;
use diesel::connection::CacheSize;
use diesel_async::{AsyncConnection as _, AsyncPgConnection, SimpleAsyncConnection as _};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use secrecy::ExposeSecret as _;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::{Host, SslMode, SslNegotiation};
use tokio_postgres::{CancelToken, Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::backend::{Conn, store_error, unavailable};
use crate::store::PostgresOptions;

/// How long a transaction may lie open with nothing done on it: a node that vanished must not hold locks for ever.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(15);

/// With TLS, or without.
#[derive(Clone)]
pub(crate) enum Tls {
    Off,
    On(MakeRustlsConnect),
}

impl Tls {
    /// Asks the server to stop what runs on a connection.
    pub(crate) async fn cancel(&self, token: &CancelToken) -> Result<(), tokio_postgres::Error> {
        match self {
            Self::Off => token.cancel_query(NoTls).await,
            Self::On(tls) => token.cancel_query(tls.clone()).await,
        }
    }
}

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) config: tokio_postgres::Config,
    pub(crate) tls: Tls,
    pub(crate) pooler: bool,
    statement_timeout: Duration,
    pub(crate) patience: Duration,
    pub(crate) runtime: Handle,
}

impl Connector {
    /// Reads the options; connects to nothing.
    pub(crate) fn new(options: &PostgresOptions) -> StoreResult<Self> {
        let (url, root_file) = understandable(options.url.expose_secret());
        // The parser's errors name the parameter, never its value.
        let mut config: tokio_postgres::Config = url
            .parse()
            .map_err(|e| unavailable(&format!("the database URL cannot be used: {}", chain(&e))))?;
        if config.get_ssl_mode() == SslMode::Prefer && local(&config) {
            config.ssl_mode(SslMode::Disable);
        }
        if config.get_application_name().is_none() {
            config.application_name(&options.application_name);
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(options.acquire_timeout);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(Duration::from_secs(5));
        }
        config
            .keepalives_idle(Duration::from_secs(30))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3);
        Ok(Self {
            tls: tls(&config, root_file.as_deref())?,
            config,
            pooler: options.pooler,
            statement_timeout: options.statement_timeout,
            patience: options.acquire_timeout,
            runtime: Handle::current(),
        })
    }

    /// A connection for the pool.
    pub(crate) async fn connect(&self) -> StoreResult<Conn> {
        let (mut pg, driver) = self.connect_bare().await?;
        if self.pooler {
            // What is set on a session is set on whichever server connection the pooler takes next; `Conn::begin` sets
            // it for a transaction. Prepared statements are not where the next transaction looks for them, either.
            pg.set_prepared_statement_cache_size(CacheSize::Disabled);
        } else {
            let settings = self.timeouts("SET");
            pg.batch_execute(&settings).await.map_err(store_error)?;
        }
        let begin = if self.pooler {
            format!("BEGIN; {}", self.timeouts("SET LOCAL"))
        } else {
            "BEGIN".into()
        };
        Ok(Conn::new(pg, driver, self.tls.clone(), self.statement_timeout, begin))
    }

    /// A connection as the server gives it, and the task that moves its bytes, which ends with the connection.
    pub(crate) async fn connect_bare(&self) -> StoreResult<(AsyncPgConnection, JoinHandle<()>)> {
        // The driver's own limit ends where the server has taken the call; one that is frozen says nothing then.
        timeout(self.patience, self.connect_at_leisure())
            .await
            .unwrap_or_else(|_| Err(unavailable("connecting took too long")))
    }

    async fn connect_at_leisure(&self) -> StoreResult<(AsyncPgConnection, JoinHandle<()>)> {
        let (client, driver) = self.client_at_leisure().await?;
        let failed = |e: tokio_postgres::Error| unavailable(&format!("cannot connect: {}", chain(&e)));
        if self.pooler {
            // Diesel prepares statements of its own first; they must all reach one server connection.
            client.batch_execute("BEGIN").await.map_err(failed)?;
        }
        let mut pg = AsyncPgConnection::try_from(client)
            .await
            .map_err(|e| unavailable(&format!("cannot set up a connection: {e}")))?;
        if self.pooler {
            pg.batch_execute("ROLLBACK").await.map_err(store_error)?;
        }
        Ok((pg, driver))
    }

    /// A connection without anything of Diesel's.
    pub(crate) async fn connect_client(&self) -> StoreResult<(Client, JoinHandle<()>)> {
        timeout(self.patience, self.client_at_leisure())
            .await
            .unwrap_or_else(|_| Err(unavailable("connecting took too long")))
    }

    async fn client_at_leisure(&self) -> StoreResult<(Client, JoinHandle<()>)> {
        let failed = |e: tokio_postgres::Error| unavailable(&format!("cannot connect: {}", chain(&e)));
        Ok(match &self.tls {
            Tls::Off => {
                let (client, connection) = self.config.connect(NoTls).await.map_err(failed)?;
                (client, self.drive(connection))
            }
            Tls::On(tls) => {
                let (client, connection) = self.config.connect(tls.clone()).await.map_err(failed)?;
                (client, self.drive(connection))
            }
        })
    }

    /// Which database it is, without a password.
    pub(crate) fn describe(&self) -> String {
        let hosts = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let hosts: Vec<String> = hosts.collect();
        format!(
            "PostgreSQL database {} on {}",
            self.config.get_dbname().or(self.config.get_user()).unwrap_or("?"),
            hosts.join(", ")
        )
    }

    fn drive<S>(&self, connection: tokio_postgres::Connection<tokio_postgres::Socket, S>) -> JoinHandle<()>
    where
        S: tokio_postgres::tls::TlsStream + Unpin + Send + 'static,
    {
        self.runtime.spawn(async move {
            // Whoever uses the connection is told by its own error; this one is for those that lay idle.
            if let Err(error) = connection.await {
                tracing::debug!(error = %chain(&error), "store.connection.closed");
            }
        })
    }

    fn timeouts(&self, set: &str) -> String {
        let (statement, idle) = (self.statement_timeout.as_millis(), IDLE_IN_TRANSACTION.as_millis());
        format!("{set} statement_timeout = {statement}; {set} idle_in_transaction_session_timeout = {idle}")
    }
}

/// The URL in the words of `tokio_postgres`, and the value of `sslrootcert`. `verify-full` and `verify-ca` are what
/// `require` does here anyway: a certificate that is not checked protects from nobody who can answer in the server's
/// place.
fn understandable(url: &str) -> (String, Option<String>) {
    // A password may hold a question mark; what follows the last `@` does not hold one but for the parameters'.
    let host = url.rfind('@').map_or(0, |at| at + 1);
    let Some(mark) = url[host..].find('?').map(|mark| host + mark) else {
        return (url.to_owned(), None);
    };
    let mut root_file = None;
    let mut kept = Vec::new();
    for pair in url[mark + 1..].split('&') {
        match pair.split_once('=') {
            Some(("sslmode", "verify-full" | "verify-ca")) => kept.push("sslmode=require"),
            Some(("sslrootcert", "system")) => {}
            Some(("sslrootcert", path)) => root_file = Some(percent_decoded(path)),
            _ => kept.push(pair),
        }
    }
    (format!("{}?{}", &url[..mark], kept.join("&")), root_file)
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = tail.get(..2).filter(|_| first == b'%');
        let decoded = hex
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(decoded.unwrap_or(first));
        rest = if decoded.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether every host is this machine, where TLS would protect from nobody and certificates are made up.
fn local(config: &tokio_postgres::Config) -> bool {
    config.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback)
        && config.get_hosts().iter().all(|host| match host {
            Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()),
            Host::Unix(_) => true,
        })
}

fn tls(config: &tokio_postgres::Config, root_file: Option<&str>) -> StoreResult<Tls> {
    if config.get_ssl_mode() == SslMode::Disable {
        return Ok(Tls::Off);
    }
    let mut roots = RootCertStore::empty();
    match root_file {
        Some(path) => {
            let unreadable = |e| unavailable(&format!("the certificates in {path} cannot be read: {e}"));
            for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
                roots
                    .add(certificate.map_err(unreadable)?)
                    .map_err(|e| unavailable(&format!("a certificate in {path} cannot be used: {e}")))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    // The provider is named, so that nothing depends on what the process installed.
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| unavailable(&format!("TLS cannot be set up: {e}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    if config.get_ssl_negotiation() == SslNegotiation::Direct {
        client.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(Tls::On(MakeRustlsConnect::new(client)))
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_put_into_words_the_driver_knows() {
        for (url, driver, root) in [
            ("postgres://u:p@h/d", "postgres://u:p@h/d", None),
            (
                "postgres://u:p?@h/d?sslmode=verify-full&channel_binding=require",
                "postgres://u:p?@h/d?sslmode=require&channel_binding=require",
                None,
            ),
            (
                "postgresql://h/d?sslrootcert=%2Fetc%2fca.pem&sslmode=require",
                "postgresql://h/d?sslmode=require",
                Some("/etc/ca.pem"),
            ),
            ("postgres://h/d?sslrootcert=system", "postgres://h/d?", None),
        ] {
            let (got, file) = understandable(url);
            assert_eq!((got.as_str(), file.as_deref()), (driver, root), "{url}");
            got.parse::<tokio_postgres::Config>().unwrap();
        }
        assert_eq!(percent_decoded("a%zz%4"), "a%zz%4");
    }

    #[test]
    fn only_this_machine_is_local() {
        for (url, expected) in [
            ("postgres://localhost/d", true),
            ("postgres://127.0.0.1,[::1]/d", true),
            ("postgres://%2Fvar%2Frun%2Fpostgresql/d", true),
            ("postgres://localhost,db.example.com/d", false),
            ("postgres://db.example.com/d", false),
        ] {
            let config: tokio_postgres::Config = url.parse().unwrap();
            assert_eq!(local(&config), expected, "{url}");
        }
    }
}
