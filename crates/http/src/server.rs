//! The listener: HTTP/1.1 on plain TCP. It is put together from actix's parts as `HttpServer` puts them, but for one:
//! connections are [`Connection`]s, so that what the parser refuses is answered like everything else.

use std::future::ready;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;

use actix_http::HttpService;
use actix_server::ServerBuilder;
use actix_service::{IntoServiceFactory as _, ServiceFactory, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::body::BoxBody;
use actix_web::dev::{AppConfig, Server, ServiceRequest, ServiceResponse};
use actix_web::rt::net::TcpStream;
use actix_web::{App, HttpResponse, web};

use crate::connection::watch_connection;
use crate::edge::Edge;
use crate::refusal::{Connection, Refusals};
use crate::route::mount;
use crate::{Api, Problem, routes};

/// How long a client may take for its first request's head.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

fn app(
    api: web::Data<Api>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    let mut app = App::new().app_data(api.clone());
    for resource in mount(routes()) {
        app = app.service(resource);
    }
    if let Some(embedded) = &api.embedded {
        app = app.service(web::scope(embedded.path).configure(|config| (embedded.configure)(config)));
    }
    app.default_service(web::to(|| async { Err::<HttpResponse, Problem>(Problem::no_route()) }))
        .wrap(Edge::new(api))
}

/// The API on a listener, with so many workers. It runs when it is polled. A graceful stop waits for `grace_seconds`.
pub fn server(
    api: &web::Data<Api>,
    listener: TcpListener,
    workers: usize,
    grace_seconds: u64,
) -> std::io::Result<Server> {
    let builder = ServerBuilder::new()
        .workers(workers)
        .shutdown_timeout(grace_seconds)
        .disable_signals();
    let (api, stopping) = (api.clone(), builder.graceful_shutdown_signal());
    let worker = move || {
        let stopping = stopping.clone();
        let refusals = Rc::new(Refusals::new(&api));
        let http = HttpService::build()
            .client_request_timeout(HEAD_PATIENCE)
            .client_disconnect_timeout(Duration::from_secs(1))
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .on_connect_ext(|connection: &Connection, extensions| watch_connection(connection.socket(), extensions));
        let app = app(api.clone()).into_factory().map_err(|e| e.error_response());
        let accept = fn_service(move |socket| {
            let wrap = |socket| Connection::new(socket, Rc::clone(&refusals));
            ready(Ok(accepted(socket, wrap)))
        });
        accept.and_then(http.h1(map_config(app, |()| AppConfig::default())))
    };
    Ok(builder.listen("anteroom", listener, worker)?.run())
}

/// What is done with each connection: `wrap` is what reads and writes it from then on.
fn accepted<T>(socket: TcpStream, wrap: impl FnOnce(TcpStream) -> T) -> (T, Option<SocketAddr>) {
    // Nagle's algorithm holds a stream's first chunk back for up to 40 ms.
    let _ = socket.set_nodelay(true);
    let peer = socket.peer_addr().ok();
    (wrap(socket), peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn no_connection_waits_for_more_to_send() {
        let listener = actix_web::rt::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        assert!(!socket.nodelay().unwrap());
        let (socket, peer) = accepted(socket, |socket| socket);
        assert!(socket.nodelay().unwrap());
        assert_eq!(peer, client.local_addr().ok());
    }
}
