//! Noticing that a client has gone away. actix does not cancel a handler whose client hung up, and a model call goes
//! on costing money until somebody does.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The socket of a connection, kept by the connection itself: watchers only borrow it, so that none keeps it open.
#[derive(Clone)]
struct Socket(Arc<OwnedFd>);

/// How often the clients of running calls are looked at.
const EVERY: Duration = Duration::from_millis(250);

/// Remembers the socket of each connection.
pub(crate) fn watch_connection(tcp: &TcpStream, extensions: &mut Extensions) {
    if let Ok(socket) = tcp.as_fd().try_clone_to_owned() {
        extensions.insert(Socket(Arc::new(socket)));
    }
}

/// Looks after the clients of running calls, all of them in one task: most calls are over before the first look, and a
/// task for each would have to be woken to be ended.
#[derive(Clone)]
pub struct Watchers(Arc<Watched>);

#[derive(Default)]
struct Watched {
    calls: Mutex<Vec<Watch>>,
    came: Notify,
}

/// A call whose client is watched.
struct Watch {
    socket: Weak<OwnedFd>,
    wanted: Weak<()>,
    gone: CancellationToken,
}

/// Ends a watch when it is dropped.
pub(crate) struct WatchGuard(#[expect(dead_code, reason = "what counts is whether it is there")] Option<Arc<()>>);

impl Watchers {
    /// Begins to look, on that runtime.
    pub fn new(runtime: &tokio::runtime::Handle) -> Self {
        let watched = Arc::<Watched>::default();
        runtime.spawn(look(Arc::clone(&watched)));
        Self(watched)
    }

    /// A token that is cancelled soon after the client of this request has hung up, and a guard that ends the watch.
    pub(crate) fn watch(&self, request: &HttpRequest) -> (CancellationToken, WatchGuard) {
        let gone = CancellationToken::new();
        let Some(Socket(socket)) = request.conn_data::<Socket>() else {
            return (gone, WatchGuard(None));
        };
        let guard = Arc::new(());
        let mut calls = self.0.calls();
        let first = calls.is_empty();
        calls.push(Watch {
            socket: Arc::downgrade(socket),
            wanted: Arc::downgrade(&guard),
            gone: gone.clone(),
        });
        drop(calls);
        if first {
            self.0.came.notify_one();
        }
        (gone, WatchGuard(Some(guard)))
    }
}

async fn look(watched: Arc<Watched>) {
    loop {
        // Looked at apart, so that no worker waits for it.
        let mut calls = std::mem::take(&mut *watched.calls());
        calls.retain(Watch::goes_on);
        let watching = {
            let mut meanwhile = watched.calls();
            calls.append(&mut meanwhile);
            *meanwhile = calls;
            !meanwhile.is_empty()
        };
        if !watching {
            watched.came.notified().await;
        }
        tokio::time::sleep(EVERY).await;
    }
}

impl Watched {
    fn calls(&self) -> MutexGuard<'_, Vec<Watch>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    fn goes_on(&self) -> bool {
        if self.wanted.strong_count() == 0 {
            return false;
        }
        let there = self.socket.upgrade().is_some_and(|socket| !closed(&socket));
        if !there {
            self.gone.cancel();
        }
        there
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
