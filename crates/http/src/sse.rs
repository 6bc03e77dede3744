//! Server-sent events (WHATWG HTML, section 9.2).

use std::task::Poll;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::connection::WatchGuard;

/// One frame without a name: `data: …`.
pub(crate) fn data(payload: &[u8]) -> Bytes {
    frame(None, None, payload)
}

/// One frame with a name.
pub(crate) fn event<T: Serialize>(name: &str, payload: &T) -> Bytes {
    frame(Some(name), None, &serde_json::to_vec(payload).unwrap_or_default())
}

/// One frame with a name and an identifier, which a reader who lost the line hands back as `Last-Event-ID`.
pub(crate) fn event_at<T: Serialize>(name: &str, id: usize, payload: &T) -> Bytes {
    frame(Some(name), Some(id), &serde_json::to_vec(payload).unwrap_or_default())
}

fn frame(name: Option<&str>, id: Option<usize>, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(payload.len() + name.map_or(0, str::len) + 40);
    if let Some(id) = id {
        frame.put_slice(format!("id: {id}\n").as_bytes());
    }
    if let Some(name) = name {
        frame.put_slice(b"event: ");
        frame.put_slice(name.as_bytes());
        frame.put_u8(b'\n');
    }
    // JSON that was pretty-printed upstream has line ends; each line needs its own field.
    for line in payload.split(|b| *b == b'\n') {
        frame.put_slice(b"data: ");
        frame.put_slice(line.strip_suffix(b"\r").unwrap_or(line));
        frame.put_u8(b'\n');
    }
    frame.put_u8(b'\n');
    frame.freeze()
}

/// A comment, which every client skips: it keeps proxies from taking a model that thinks for a dead connection.
const HEARTBEAT: Bytes = Bytes::from_static(b": ping\n\n");

/// A streamed answer out of a channel. `render` turns an item into a frame; where none comes for as long as `heartbeat`
/// there is a comment. The body ends with the channel; dropping the body drops the channel, which ends the call behind it.
/// `watch` ends with the body.
pub(crate) fn response<T: 'static>(
    receiver: mpsc::Receiver<T>,
    watch: WatchGuard,
    heartbeat: Duration,
    render: impl Fn(T) -> Bytes + 'static,
) -> HttpResponse {
    translated(receiver, watch, heartbeat, move |item| Frames::more(render(item)))
}

/// The frames that one item of a channel becomes.
pub(crate) struct Frames {
    bytes: Bytes,
    last: bool,
}

impl Frames {
    /// These, which may be none, and more may follow.
    pub(crate) fn more(bytes: Bytes) -> Self {
        Self { bytes, last: false }
    }

    /// These, and the body ends.
    pub(crate) fn last(bytes: Bytes) -> Self {
        Self { bytes, last: true }
    }
}

/// Like [`response`], where an item may become several frames or none, and the one who renders says when the body ends.
/// An item without a frame is silence to the client, so it does not put the comment off.
pub(crate) fn translated<T: 'static>(
    receiver: mpsc::Receiver<T>,
    watch: WatchGuard,
    heartbeat: Duration,
    render: impl FnMut(T) -> Frames + 'static,
) -> HttpResponse {
    let frames = frames(receiver, heartbeat, render);
    event_stream().streaming(frames.map(move |frame| {
        // It ends with the body.
        let _ = &watch;
        Ok::<_, actix_web::Error>(frame)
    }))
}

fn frames<T>(
    receiver: mpsc::Receiver<T>,
    heartbeat: Duration,
    render: impl FnMut(T) -> Frames,
) -> impl Stream<Item = Bytes> {
    let state = Some((receiver, render, NOT_AT_ALL));
    stream::unfold(state, move |state| async move {
        let (mut receiver, mut render, patience) = state?;
        // From when the client was ready for the next frame; what is ready at once never runs into it below.
        let due = Instant::now() + heartbeat;
        let mut gathered = Gathered::default();
        loop {
            let item = timeout_at(due, receiver.recv()).await;
            let Ok(item) = item else {
                return Some((HEARTBEAT, Some((receiver, render, patience))));
            };
            if !gathered.add(render(item?)) {
                return Some((gathered.bytes(), None));
            }
            // An empty chunk would end the body (RFC 9112 section 7.1).
            if gathered.len() > 0 {
                break;
            }
            if Instant::now() >= due {
                return Some((HEARTBEAT, Some((receiver, render, patience))));
            }
        }
        // What has come already is written along: each write costs more than all that Anteroom does with an event.
        let mut waited = 0;
        while gathered.len() < AT_ONCE {
            match receiver.try_recv() {
                Ok(item) => {
                    waited = 0;
                    if !gathered.add(render(item)) {
                        return Some((gathered.bytes(), None));
                    }
                }
                Err(mpsc::error::TryRecvError::Empty) if waited < patience => {
                    waited += 1;
                    after_others().await;
                }
                // The next call finds out that the channel has ended.
                Err(_) => break,
            }
        }
        Some((gathered.bytes(), Some((receiver, render, FOR_OTHERS))))
    })
}

/// A stream's first frames wait for nothing.
const NOT_AT_ALL: usize = 0;
/// How often everybody else on this worker gets a turn without anything new coming, before what has come is written: who
/// reads the provider's connection and who drives the call hand on an event at a time, in turns.
const FOR_OTHERS: usize = 2;
/// So many bytes are written without waiting for more.
const AT_ONCE: usize = 8 * 1024;

/// Lets everything that is ready to run on this worker run once.
async fn after_others() {
    let mut waited = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        // Not tokio's way, which asks the kernel for news before it goes on.
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Frames that are written together.
#[derive(Default)]
struct Gathered {
    first: Bytes,
    all: BytesMut,
}

impl Gathered {
    /// Adds these. Whether more may follow.
    fn add(&mut self, Frames { bytes, last }: Frames) -> bool {
        if self.len() == 0 {
            self.first = bytes;
        } else {
            if self.all.is_empty() {
                self.all.extend_from_slice(&self.first);
            }
            self.all.extend_from_slice(&bytes);
        }
        !last
    }

    fn len(&self) -> usize {
        self.first.len().max(self.all.len())
    }

    fn bytes(self) -> Bytes {
        if self.all.is_empty() {
            self.first
        } else {
            self.all.freeze()
        }
    }
}

fn event_stream() -> HttpResponseBuilder {
    let mut builder = HttpResponse::Ok();
    builder
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-cache, no-transform"))
        .insert_header(("x-accel-buffering", "no"));
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The frames of items that come every 400 ms, of which only the sixth and the last become one.
    #[tokio::test(start_paused = true)]
    async fn what_nobody_sees_does_not_put_the_comment_off() {
        let (out, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            for number in 1..=8 {
                tokio::time::sleep(Duration::from_millis(400)).await;
                out.send(number).await.unwrap();
            }
        });
        let render = |number| match number {
            8 => Frames::last(Bytes::from_static(b"last")),
            6 => Frames::more(Bytes::from_static(b"sixth")),
            _ => Frames::more(Bytes::new()),
        };
        let frames: Vec<Bytes> = frames(receiver, Duration::from_millis(900), render).collect().await;
        assert_eq!(frames, [HEARTBEAT, HEARTBEAT, "sixth".into(), "last".into()]);
    }

    /// Whoever brings an event gets a turn to bring the next, so that they are written together.
    #[tokio::test]
    async fn what_comes_in_turns_is_written_together() {
        let (out, receiver) = mpsc::channel(1);
        let (ask, mut asked) = mpsc::channel(1);
        // As the reader of a connection and the driver of a call do it.
        tokio::spawn(async move {
            for number in 0..10 {
                ask.send(number).await.unwrap();
            }
        });
        tokio::spawn(async move {
            while let Some(number) = asked.recv().await {
                out.send(number).await.unwrap();
            }
        });
        let render = |number: u8| Frames::more(Bytes::from(vec![b'0' + number]));
        let frames: Vec<Bytes> = frames(receiver, Duration::from_secs(60), render).collect().await;
        assert_eq!(frames.concat(), b"0123456789");
        assert!(frames.len() < 5, "{frames:?}");
    }

    #[tokio::test]
    async fn no_more_is_written_together_than_is_worth_it() {
        let (out, receiver) = mpsc::channel(100);
        for _ in 0..100 {
            out.send(()).await.unwrap();
        }
        drop(out);
        let render = |()| Frames::more(Bytes::from(vec![b'x'; 1000]));
        let frames: Vec<Bytes> = frames(receiver, Duration::from_secs(60), render).collect().await;
        assert_eq!(frames.concat().len(), 100_000);
        assert!(frames.iter().all(|frame| frame.len() < AT_ONCE + 1000), "{frames:?}");
    }

    #[test]
    fn frames_keep_their_payload() {
        assert_eq!(data(b"{\"a\":1.50}"), "data: {\"a\":1.50}\n\n");
        assert_eq!(data(b"{\n\"a\":1\r\n}"), "data: {\ndata: \"a\":1\ndata: }\n\n");
        assert_eq!(event("x.y", &1), "event: x.y\ndata: 1\n\n");
        assert_eq!(event_at("x.y", 7, &1), "id: 7\nevent: x.y\ndata: 1\n\n");
    }
}
