//! The driving side: the route table, one file per endpoint, wire types, problem+json.
//!
//! Only this crate knows status codes. An endpoint reads the request, calls one use case and shapes the answer.

mod body;
mod caller;
mod connection;
mod edge;
mod idempotency;
mod openapi;
mod origin;
mod problem;
mod query;
mod refusal;
mod route;
mod routes;
mod server;
mod sse;
mod traced;

pub mod access;
pub mod accounts;
pub mod audit;
pub mod billing;
pub mod chat;
pub mod migrations;
pub mod ops;
pub mod protection;
pub mod sessions;

pub use connection::Watchers;
pub use edge::InFlight;
pub use openapi::openapi;
pub use problem::Problem;
pub use route::Route;
pub use routes::routes;
pub use server::server;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::HeaderName;
use anteroom_ports::Queries;
use anteroom_services::migrations::OwnMigrations;
use anteroom_services::protection::Protection;
use anteroom_services::{Access, Accounts, Audit, Billing, Chat, Ops, Sessions};
use ipnet::IpNet;
use tracing::Instrument as _;

/// What the session cookie looks like.
#[derive(Debug, Clone)]
pub struct CookieOptions {
    /// `__Host-anteroom`, or `anteroom` where cookies cannot be secure (http on loopback).
    pub name: String,
    /// Whether it is sent over https only.
    pub secure: bool,
    /// `Lax`, `Strict` or `None`.
    pub same_site: &'static str,
}

/// What the operator can set about the edge.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// The version that `/health` tells.
    pub version: &'static str,
    /// The origins whose pages may call with credentials: the public URL's and the frontend's.
    pub allowed_origins: Vec<String>,
    /// The session cookie.
    pub cookie: CookieOptions,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which such a peer names the client's country, where one does.
    pub country_header: Option<HeaderName>,
    /// The largest JSON body, in bytes.
    pub max_json_bytes: usize,
    /// The largest body of a relayed call, in bytes.
    pub max_chat_bytes: usize,
    /// How long a stream says nothing before it says that it is still there.
    pub heartbeat: Duration,
    /// Who may show Anteroom's pages in a frame; nobody if empty.
    pub frame_ancestors: Vec<String>,
    /// Whether to promise https for a year.
    pub hsts: bool,
}

/// Everything the endpoints need.
pub struct Api {
    /// API keys.
    pub access: Arc<Access>,
    /// Users.
    pub accounts: Arc<Accounts>,
    /// The audit log.
    pub audit: Arc<Audit>,
    /// Sessions.
    pub sessions: Arc<Sessions>,
    /// Plans and payment.
    pub billing: Arc<Billing>,
    /// Models and conversations.
    pub chat: Arc<Chat>,
    /// Health, keys of repeated requests, time.
    pub ops: Arc<Ops>,
    /// Rate limits.
    pub protection: Arc<Protection>,
    /// Anteroom's own schema.
    pub migrations: Arc<OwnMigrations>,
    /// The main multi-thread runtime.
    pub runtime: tokio::runtime::Handle,
    /// Looks after the clients of running calls.
    pub watchers: Watchers,
    /// Requests that are being answered.
    pub in_flight: InFlight,
    /// What else is served beside the API.
    pub embedded: Option<Embedded>,
    /// Settings of the edge.
    pub options: HttpOptions,
}

/// Something that is no part of the API and is served below a path of its own, behind the same edge.
pub struct Embedded {
    /// The path, `/stripe-stub`.
    pub path: &'static str,
    /// What is there.
    pub configure: Box<dyn Fn(&mut actix_web::web::ServiceConfig) + Send + Sync>,
}

async fn waited_for<T, E: Into<Problem>>(task: tokio::task::JoinHandle<Result<T, E>>) -> Result<T, Problem> {
    match task.await {
        Ok(outcome) => outcome.map_err(Into::into),
        Err(e) => Err(Problem::internal(format!("a use case did not end: {e}"))),
    }
}

impl Api {
    /// Runs a use case as a task on the main runtime and waits for it. A request that is dropped half-way (actix
    /// drops handlers on its single-threaded workers) can then not cut a transaction in two, and a store that blocks
    /// while cleaning up does not block a worker. It begins at once: who waits needs no room for it.
    pub fn run<T, E>(
        &self,
        use_case: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> impl Future<Output = Result<T, Problem>> + 'static
    where
        T: Send + 'static,
        E: Into<Problem> + Send + 'static,
    {
        let counted = Queries::current().of(use_case.in_current_span());
        waited_for(self.runtime.spawn(counted))
    }

    /// The same, but as a task on the worker that took the request. For calls to models, of which there are many at once
    /// and which are long: each piece of an answer would have to be handed from thread to thread. What must not end with
    /// the worker a use case has to see to itself. A call whose body has more than 256 KiB goes to the main runtime
    /// even so: reading it takes a while, for which everybody else on the worker would wait.
    pub fn run_call<T, E>(
        &self,
        body_bytes: usize,
        call: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> impl Future<Output = Result<T, Problem>> + 'static
    where
        T: Send + 'static,
        E: Into<Problem> + Send + 'static,
    {
        let counted = Queries::current().of(call.in_current_span());
        waited_for(spawn_call(&self.runtime, body_bytes, counted))
    }
}

/// What has more bytes takes a while to read.
const LARGE: usize = 256 * 1024;

fn spawn_call<T: Send + 'static>(
    main: &tokio::runtime::Handle,
    body_bytes: usize,
    call: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    if body_bytes > LARGE {
        main.spawn(call)
    } else {
        tokio::spawn(call)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_runs_on_the_worker_unless_its_body_is_large() {
        let main = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        let worker = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let here = std::thread::current().id();
        for (body_bytes, stays) in [(0, true), (LARGE, true), (LARGE + 1, false)] {
            let ran = worker.block_on(async {
                let call = async { std::thread::current().id() };
                spawn_call(main.handle(), body_bytes, call).await.unwrap()
            });
            assert_eq!(ran == here, stays, "{body_bytes}");
        }
    }
}
