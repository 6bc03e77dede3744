//! Whether a pooler stands between. In transaction mode it gives each transaction whichever connection to the server is
//! free: what one sets on a session, or locks for it, is the next client's then.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anteroom_ports::migrations::MigrationResult;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex};
use tokio::time::timeout;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use super::Link;

/// A cancel request, by the manual's chapter "Message Formats": its length, its code, the process, the secret.
const CANCEL_REQUEST_BYTES: usize = 16;

/// Whether the process that the other end named when we connected is another than the server's that answers. A pooler
/// makes up a process and a secret for each of its clients, to know whose statement is to be cancelled.
pub(super) async fn stands_between(link: &Link) -> MigrationResult<bool> {
    let answers = link.first("SELECT pg_backend_pid()").await?;
    Ok(match (named_process(link).await, answers) {
        (Some(named), Some(answers)) => named.to_string() != answers,
        _ => false,
    })
}

/// The process that was named when we connected, which the driver tells nobody but whom it sends a cancel request to.
async fn named_process(link: &Link) -> Option<i32> {
    let (ours, mut theirs) = duplex(64);
    // Yes to the question whether TLS may be spoken, if it is asked.
    theirs.write_all(b"S").await.ok()?;
    let key = link.client.cancel_token();
    let sending = key.cancel_query_raw(ours, AsIfTls);
    let mut sent = Vec::new();
    let reading = theirs.read_to_end(&mut sent);
    let (sending, reading) = timeout(Duration::from_secs(1), async { tokio::join!(sending, reading) })
        .await
        .ok()?;
    sending.ok()?;
    reading.ok()?;
    let request = sent.get(sent.len().checked_sub(CANCEL_REQUEST_BYTES)?..)?;
    Some(i32::from_be_bytes(request.get(8..12)?.try_into().ok()?))
}

/// TLS that encrypts nothing: what is sent stays in this process.
struct AsIfTls;

struct AsIfEncrypted(DuplexStream);

impl TlsConnect<DuplexStream> for AsIfTls {
    type Stream = AsIfEncrypted;
    type Error = Infallible;
    type Future = Ready<Result<AsIfEncrypted, Infallible>>;

    fn connect(self, stream: DuplexStream) -> Self::Future {
        ready(Ok(AsIfEncrypted(stream)))
    }
}

impl TlsStream for AsIfEncrypted {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for AsIfEncrypted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for AsIfEncrypted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
