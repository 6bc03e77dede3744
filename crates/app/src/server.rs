//! A running server: its listeners, its jobs, and its end.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use actix_web::web;
use anteroom_http::{Api, CookieOptions, Embedded, HttpOptions};
use anteroom_ports::StoreResult;
use anteroom_stripe_stub::{Stub, StubError, StubOptions};
use anyhow::Context as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};
use url::Url;

use crate::config::{SameSite, Settings};
use crate::migrations::prepare_schema;
use crate::payments::STUB_PATH;
use crate::secret_file::private_folder;
use crate::wiring::{Adapters, Services};
use crate::{jobs, metrics};

/// A server that listens.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where metrics are, if they are served.
    pub metrics: Option<SocketAddr>,
    /// Where clients reach it.
    pub public_url: Url,
    /// The kind of store, the model provider, the payment provider and the mailer, for the lines at start.
    pub parts: Parts,
    services: Arc<Services>,
    stub: Option<Arc<Stub>>,
    api: web::Data<Api>,
    server: ServerHandle,
    ended: JoinHandle<std::io::Result<()>>,
    metrics_server: Option<ServerHandle>,
    stop_jobs: CancellationToken,
    jobs: TaskTracker,
    grace: Duration,
}

/// What stands behind the ports, by name.
#[derive(Debug, Clone)]
pub struct Parts {
    /// `sqlite` or `postgres`.
    pub store: &'static str,
    /// The model provider.
    pub models: String,
    /// The payment provider, or `none`.
    pub payments: &'static str,
    /// The mailer, or `none`.
    pub mailer: &'static str,
}

fn bind(host: &str, port: u16, variable: &str) -> anyhow::Result<TcpListener> {
    let addresses: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .with_context(|| format!("`{host}` is no address to listen on"))?
        .collect();
    let bound = TcpListener::bind(addresses.as_slice());
    bound.with_context(|| format!("cannot listen on {host} port {port}; set {variable} to a free one"))
}

/// Starts a server: checks the key, brings the schema up, loads the signing keys, listens. It must be called on a multi-thread runtime.
pub async fn serve(mut settings: Settings) -> anyhow::Result<Running> {
    let listener = bind(&settings.server.host, settings.server.port, "PORT")?;
    let address = listener.local_addr()?;
    settings.server.port = address.port();
    if settings.server.public_url.port() == Some(0) {
        // Port 0 was a wish for any; now it is known which.
        let _ = settings.server.public_url.set_port(Some(address.port()));
    }
    let metrics_listener = if settings.metrics.enabled {
        Some(bind(&settings.metrics.host, settings.metrics.port, "METRICS_PORT")?)
    } else {
        None
    };
    let adapters = Adapters::new(&settings).await?;
    let services = Arc::new(Services::new(&settings, &adapters)?);
    prepare_store(&settings, &adapters, &services).await?;
    // What was published stands in production; in development people try terms out.
    services
        .billing
        .keep_plans(!settings.is_production())
        .await
        .context("billing.plans cannot be used")?;
    services
        .sessions
        .prepare_signing_keys()
        .await
        .context("access tokens cannot be signed")?;
    services
        .chat
        .load_models()
        .await
        .context("the stored models cannot be read")?;

    let parts = Parts {
        store: adapters.store.kind(),
        models: adapters
            .providers
            .iter()
            .map(|provider| provider.models.name())
            .collect::<Vec<_>>()
            .join(", "),
        payments: adapters.payments.as_ref().map_or("none", |p| p.name()),
        mailer: adapters.mailer.as_ref().map_or("none", |m| m.name()),
    };
    let stub = adapters.stub.map(open_stub).transpose()?;
    let api = web::Data::new(api(&settings, &services, stub.clone().map(embedded)));
    let metrics_address = metrics_listener.as_ref().map(TcpListener::local_addr).transpose()?;
    // Before the server: its workers look their metrics up when they start.
    let metrics_server = metrics_listener.map(metrics::serve).transpose()?;
    let (server, ended) = start_http(&settings, listener, &api)?;
    let stop_jobs = CancellationToken::new();
    let lease = Duration::from_secs(settings.server.lease_seconds.into());
    let jobs = jobs::start(&services, adapters.limiter, lease, &stop_jobs);
    let grace = Duration::from_secs(settings.server.shutdown_grace_seconds.into());
    let public_url = settings.public_url();
    info!(event = "server.started", %address, %public_url, store = parts.store, models = %parts.models, payments = parts.payments, docs = %format_args!("{}/docs", public_url.as_str().trim_end_matches('/')), mail = parts.mailer, version = env!("CARGO_PKG_VERSION"));
    Ok(Running {
        address,
        metrics: metrics_address,
        public_url,
        parts,
        services,
        stub,
        api,
        server,
        ended,
        metrics_server,
        stop_jobs,
        jobs,
        grace,
    })
}

async fn prepare_store(settings: &Settings, adapters: &Adapters, services: &Services) -> anyhow::Result<()> {
    let applied = prepare_schema(settings, adapters, services).await?;
    let store = adapters.store.kind();
    info!(event = "migration.schema.current", store, applied = applied.len());
    Ok(())
}

/// The small Stripe of the server's own. Where its journal cannot be kept (a disk that nobody can write to, another server
/// in the same folder) it forgets when it ends.
fn open_stub(options: StubOptions) -> anyhow::Result<Arc<Stub>> {
    let folder = options
        .journal
        .as_deref()
        .and_then(Path::parent)
        .map_or(Ok(()), private_folder);
    let kept = match folder {
        Ok(()) => Stub::open(options.clone()),
        Err(error) => Err(StubError::Journal {
            path: options.journal.clone().unwrap_or_default(),
            source: std::io::Error::other(format!("{error:#}")),
        }),
    };
    let opened = match kept {
        Err(error @ (StubError::Locked(_) | StubError::Journal { .. })) => {
            warn!(event = "stripe_stub.forgets", reason = %error, "several nodes share one stub: run `anteroom stripe-stub` and set stripe_stub.url");
            Stub::open(StubOptions {
                journal: None,
                ..options
            })
        }
        other => other,
    };
    opened.context("the stub of Stripe cannot start")
}

fn embedded(stub: Arc<Stub>) -> Embedded {
    Embedded {
        path: STUB_PATH,
        configure: Box::new(move |config| stub.configure(config)),
    }
}

fn api(settings: &Settings, s: &Services, embedded: Option<Embedded>) -> Api {
    let secure = settings.cookie_secure();
    let options = HttpOptions {
        version: env!("CARGO_PKG_VERSION"),
        allowed_origins: settings.allowed_origins(),
        cookie: CookieOptions {
            name: if secure { "__Host-anteroom" } else { "anteroom" }.to_owned(),
            secure,
            same_site: match settings.cookie.same_site {
                SameSite::Lax => "Lax",
                SameSite::Strict => "Strict",
                SameSite::None => "None",
            },
        },
        trusted_proxies: settings.server.trusted_proxies.clone(),
        country_header: settings
            .server
            .country_header
            .as_deref()
            .and_then(|name| name.parse().ok()),
        max_json_bytes: settings.server.max_json_bytes,
        max_chat_bytes: settings.server.max_body_bytes,
        heartbeat: Duration::from_secs(settings.server.heartbeat_seconds.into()),
        frame_ancestors: settings.security.frame_ancestors.clone(),
        hsts: settings.public_url().scheme() == "https",
    };
    Api {
        access: Arc::clone(&s.access),
        accounts: Arc::clone(&s.accounts),
        audit: Arc::clone(&s.audit),
        sessions: Arc::clone(&s.sessions),
        migrations: Arc::clone(&s.migrations),
        billing: Arc::clone(&s.billing),
        chat: Arc::clone(&s.chat),
        ops: Arc::clone(&s.ops),
        protection: Arc::clone(&s.protection),
        watchers: anteroom_http::Watchers::new(&tokio::runtime::Handle::current()),
        runtime: tokio::runtime::Handle::current(),
        in_flight: anteroom_http::InFlight::default(),
        embedded,
        options,
    }
}

fn start_http(
    settings: &Settings,
    listener: TcpListener,
    api: &web::Data<Api>,
) -> anyhow::Result<(ServerHandle, JoinHandle<std::io::Result<()>>)> {
    let workers = match settings.server.workers {
        0 => std::thread::available_parallelism().map_or(2, usize::from),
        n => n,
    };
    let server = anteroom_http::server(api, listener, workers, settings.server.shutdown_grace_seconds.into())?;
    Ok((server.handle(), tokio::spawn(server)))
}

impl Running {
    /// The use cases, for tests and for commands that run beside the server.
    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// The server's own stub of Stripe, if it has one, for tests.
    pub fn stub(&self) -> Option<&Arc<Stub>> {
        self.stub.as_ref()
    }

    /// Takes no more requests, lets running ones (streams included) finish within the grace time, books what ran,
    /// and ends.
    pub async fn stop(self) -> anyhow::Result<()> {
        let begun = Instant::now();
        info!(
            event = "server.stopping",
            requests = self.api.in_flight.count(),
            calls = self.services.chat.running()
        );
        self.api.in_flight.drain();
        let graceful = tokio::spawn(self.server.stop(true));
        // An answer that nobody reads at the moment has no connection, and may finish like the others.
        while begun.elapsed() < self.grace && !(graceful.is_finished() && self.services.chat.running() == 0) {
            // Connections that are kept open for a next request are nobody's request; nothing waits for them.
            if self.api.in_flight.count() == 0 && self.services.chat.running() == 0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.services.chat.stop_draining();
        self.server.stop(false).await;
        // Dropping the workers' streams has cancelled the calls that were left; each books what it used. Answers of
        // conversations would go on without a reader.
        self.services.chat.cut_answers();
        if tokio::time::timeout(Duration::from_secs(3), self.services.chat.settled())
            .await
            .is_err()
        {
            warn!(event = "server.stopped.unsettled", calls = self.services.chat.running());
        }
        self.services.webhooks.stop_delivering();
        self.stop_jobs.cancel();
        let _ = tokio::time::timeout(Duration::from_secs(2), self.jobs.wait()).await;
        // What was done since the last round, so that a node that rests leaves nothing unsealed. A store that is away
        // gets neither, and whoever stops processes waits no longer for it.
        last_job("sessions.flush_seen", self.services.sessions.flush_seen()).await;
        last_job("access.flush_used", self.services.access.flush_used()).await;
        last_job("audit.seal", self.services.audit.seal()).await;
        if let Some(metrics) = self.metrics_server {
            metrics.stop(false).await;
        }
        graceful.abort();
        self.ended.abort();
        info!(
            event = "server.stopped",
            ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
        );
        Ok(())
    }
}

/// The longest that one of the last writes may take.
const LAST_JOB: Duration = Duration::from_secs(1);

async fn last_job<T>(job: &'static str, run: impl Future<Output = StoreResult<T>>) {
    let reason = match tokio::time::timeout(LAST_JOB, run).await {
        Ok(Ok(_)) => return,
        Ok(Err(e)) => e.to_string(),
        Err(_) => "it took too long".to_owned(),
    };
    warn!(event = "job.failed", job, reason);
}
