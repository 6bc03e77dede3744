//! Noticing that a client has gone away. actix does not cancel a handler whose client hung up, and a model call goes
//! on costing money until somebody does.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio_util::sync::CancellationToken;

/// The socket of a connection, kept by the connection itself: watchers only borrow it, so that none keeps it open.
#[derive(Clone)]
struct Socket(Arc<OwnedFd>);

/// How often a running call looks whether its client is still there.
const EVERY: Duration = Duration::from_millis(250);

/// Remembers the socket of each connection.
pub(crate) fn watch_connection(tcp: &TcpStream, extensions: &mut Extensions) {
    if let Ok(socket) = tcp.as_fd().try_clone_to_owned() {
        extensions.insert(Socket(Arc::new(socket)));
    }
}

/// A token that is cancelled soon after the client of this request has hung up, and a guard that ends the watch.
pub(crate) fn watch(
    request: &HttpRequest,
    runtime: &tokio::runtime::Handle,
) -> (CancellationToken, tokio_util::sync::DropGuard) {
    let gone = CancellationToken::new();
    let over = CancellationToken::new();
    if let Some(Socket(socket)) = request.conn_data::<Socket>() {
        let socket = Arc::downgrade(socket);
        let (cancel, over) = (gone.clone(), over.clone());
        runtime.spawn(async move {
            if over.run_until_cancelled(hung_up(socket)).await.is_some() {
                cancel.cancel();
            }
        });
    }
    (gone, over.drop_guard())
}

async fn hung_up(socket: Weak<OwnedFd>) {
    while socket.upgrade().is_some_and(|socket| !closed(&socket)) {
        tokio::time::sleep(EVERY).await;
    }
}

/// Whether the peer has closed its side, whatever it sent before and nobody has read yet.
fn closed(socket: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(socket, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut fds, Some(&now)) {
        Ok(_) => fds[0]
            .revents()
            .intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR),
        Err(_) => false,
    }
}
