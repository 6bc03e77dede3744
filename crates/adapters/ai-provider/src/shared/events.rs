//! A response's body as server-sent events (WHATWG HTML, section 9.2), within bounds.
//!
//! eventsource-stream reads the format. It holds whatever comes until an event is complete, looks at all of it again
//! whenever more comes, moves the rest of what it holds at every line, and panics on a byte order mark. So it is fed
//! small pieces that end a line where they can, without that mark, and no more for one event than [`MAX_EVENT`].

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf as _, Bytes, BytesMut};
use eventsource_stream::{Event, EventStream, EventStreamError};
use futures_util::{Stream, StreamExt as _, stream};

use anteroom_ports::chat::ProviderError;

use super::failure;
use super::redact::Redactor;

/// Most bytes of one event; models that draw send a whole picture in one.
const MAX_EVENT: usize = 8 * 1024 * 1024;

/// How much is handed on at a time, but for a line that is longer.
const PIECE: usize = 4 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// What can go wrong below the events.
#[derive(Debug)]
pub(crate) enum ReadError<E> {
    /// The connection broke.
    Broken(E),
    /// An event without end.
    TooLong,
}

type Body<E> = Pin<Box<dyn Stream<Item = Result<Bytes, E>> + Send>>;
type Inner<E> = Pin<Box<dyn Stream<Item = Result<Event, Unreadable<E>>> + Send>>;

/// Why there is no next event.
pub(crate) type Unreadable<E> = EventStreamError<ReadError<E>>;

/// Events as they come, read no faster than they are asked for.
pub(crate) struct Events<E> {
    inner: Inner<E>,
    /// Bytes read since the last event.
    pending: Arc<AtomicUsize>,
}

impl<E: Send + 'static> Events<E> {
    pub(crate) fn new(body: impl Stream<Item = Result<Bytes, E>> + Send + 'static) -> Self {
        let pending = Arc::<AtomicUsize>::default();
        let pieces = Pieces {
            body: Box::pin(body),
            ready: Bytes::new(),
            held: BytesMut::new(),
            begun: false,
            ended: false,
            pending: Arc::clone(&pending),
        };
        let pieces = stream::unfold(pieces, |mut pieces| async move {
            let piece = pieces.next().await?;
            Some((piece, pieces))
        });
        Self {
            inner: Box::pin(EventStream::new(pieces)),
            pending,
        }
    }

    /// The next event; `None` at the end of the body.
    pub(crate) async fn next(&mut self) -> Option<Result<Event, Unreadable<E>>> {
        let event = self.inner.next().await;
        self.pending.store(0, Ordering::Relaxed);
        event
    }
}

/// What an unreadable event means.
pub(crate) fn unreadable(error: Unreadable<reqwest::Error>, redactor: &Redactor) -> ProviderError {
    match error {
        EventStreamError::Transport(ReadError::Broken(error)) => failure::transport(error, redactor),
        EventStreamError::Transport(ReadError::TooLong) => {
            failure::protocol(format!("an event of more than {MAX_EVENT} bytes"))
        }
        EventStreamError::Utf8(_) => failure::protocol("a stream that is not UTF-8"),
        EventStreamError::Parser(_) => failure::protocol("a stream that is not server-sent events"),
    }
}

/// A body cut into pieces for the parser.
struct Pieces<E> {
    body: Body<E>,
    /// Can go to the parser.
    ready: Bytes,
    /// Waits for the end of its line.
    held: BytesMut,
    begun: bool,
    ended: bool,
    pending: Arc<AtomicUsize>,
}

impl<E> Pieces<E> {
    async fn next(&mut self) -> Option<Result<Bytes, ReadError<E>>> {
        while self.ready.is_empty() {
            if self.ended {
                return None;
            }
            match self.body.next().await {
                Some(Ok(came)) => {
                    if self.pending.fetch_add(came.len(), Ordering::Relaxed) + came.len() > MAX_EVENT {
                        self.ended = true;
                        return Some(Err(ReadError::TooLong));
                    }
                    self.take(came);
                }
                Some(Err(error)) => {
                    self.ended = true;
                    return Some(Err(ReadError::Broken(error)));
                }
                None => {
                    self.ended = true;
                    // A last event without its blank line still counts; a torn one will not parse.
                    self.take(Bytes::from_static(b"\n\n"));
                }
            }
        }
        let line = line_end(&self.ready).map_or(self.ready.len(), |end| end + 1);
        Some(Ok(self.ready.split_to(line.max(PIECE).min(self.ready.len()))))
    }

    fn take(&mut self, came: Bytes) {
        let ends_a_line = line_end(&came).is_some();
        if self.held.is_empty() && ends_a_line {
            self.ready = came;
        } else {
            self.held.extend_from_slice(&came);
            if ends_a_line {
                self.ready = self.held.split().freeze();
            }
        }
        if ends_a_line && !self.begun {
            self.begun = true;
            if self.ready.starts_with(BYTE_ORDER_MARK) {
                self.ready.advance(BYTE_ORDER_MARK.len());
            }
        }
    }
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Every event's data, or that it cannot be read.
    async fn read(pieces: Vec<Vec<u8>>) -> Vec<Result<String, ()>> {
        let body = stream::iter(pieces.into_iter().map(|p| Ok::<_, Infallible>(Bytes::from(p))));
        let mut events = Events::new(body);
        let mut read = Vec::new();
        while let Some(event) = events.next().await {
            let over = event.is_err();
            read.push(event.map(|e| e.data).map_err(|_| ()));
            if over {
                break;
            }
        }
        read
    }

    fn data(texts: &[&str]) -> Vec<Result<String, ()>> {
        texts.iter().map(|&t| Ok(t.to_owned())).collect()
    }

    #[tokio::test]
    async fn events_are_the_same_however_the_bytes_are_cut() {
        let text = "\u{feff}: hi\r\n\r\ndata: a\r\ndata:b\r\n\r\nevent: x\ndata: grüß\u{1f600}\n\n: p\n\ndata: end";
        let expected = data(&["a\nb", "grüß\u{1f600}", "end"]);
        for size in 1..=text.len() {
            let pieces = text.as_bytes().chunks(size).map(<[u8]>::to_vec).collect();
            assert_eq!(read(pieces).await, expected, "pieces of {size} bytes");
        }
    }

    #[tokio::test]
    async fn an_event_without_end_is_cut_off() {
        let endless_line = vec![vec![b'x'; 64 * 1024]; 200];
        assert_eq!(read(endless_line).await, [Err(())]);
        let endless_lines = vec![b"data: 0123456789\n".repeat(4 * 1024); 200];
        assert_eq!(read(endless_lines).await, [Err(())]);
        let endless_comments = vec![b": ping\n\n".repeat(8 * 1024); 200];
        assert_eq!(read(endless_comments).await, [Err(())]);
    }

    #[tokio::test]
    async fn an_answer_may_be_longer_than_an_event() {
        let piece = format!("data: {}\n\n", "x".repeat(64 * 1024)).into_bytes();
        let pieces = vec![piece; 2 * MAX_EVENT / (64 * 1024)];
        assert!(read(pieces).await.iter().all(Result::is_ok));
    }

    #[tokio::test]
    async fn a_large_event_is_read_in_time_that_grows_with_its_size() {
        // A line of 7 MiB in pieces of 2 KiB: looked at once for each piece it would be 12 GB of looking.
        let mut event = b"data: ".to_vec();
        event.resize(7 * 1024 * 1024, b'x');
        event.extend_from_slice(b"\n\ndata: next\n\n");
        let begun = std::time::Instant::now();
        let read = read(event.chunks(2048).map(<[u8]>::to_vec).collect()).await;
        assert_eq!(read.len(), 2);
        assert_eq!(read[1].as_deref(), Ok("next"));
        assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn many_events_in_one_read_are_read_in_time_that_grows_with_their_number() {
        let event = b"data: {\"choices\":[{\"delta\":{\"content\":\"word \"},\"index\":0}]}\n\n";
        let begun = std::time::Instant::now();
        let read = read(vec![event.repeat(20_000)]).await;
        assert_eq!(read.len(), 20_000);
        assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn what_is_not_utf_8_is_an_error() {
        assert_eq!(read(vec![b"data: \xff\n\ndata: b\n\n".to_vec()]).await, [Err(())]);
        assert_eq!(
            read(vec![b"data: a\n\ndata: \xc3".to_vec()]).await,
            [Ok("a".to_owned()), Err(())]
        );
    }

    #[tokio::test]
    async fn an_empty_body_has_no_events() {
        assert_eq!(read(vec![]).await, []);
        assert_eq!(read(vec![b"\n\n\r\n".to_vec(), vec![]]).await, []);
    }
}
