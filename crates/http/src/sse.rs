//! Server-sent events (WHATWG HTML, section 9.2).

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
    stream::unfold(Some((receiver, render)), move |state| async move {
        let (mut receiver, mut render) = state?;
        // From when the client was ready for the next frame; what is ready at once never runs into it below.
        let due = Instant::now() + heartbeat;
        loop {
            let item = timeout_at(due, receiver.recv()).await;
            let Ok(item) = item else {
                return Some((HEARTBEAT, Some((receiver, render))));
            };
            let Frames { bytes, last } = render(item?);
            if last {
                return Some((bytes, None));
            }
            // An empty chunk would end the body (RFC 9112 section 7.1).
            if !bytes.is_empty() {
                return Some((bytes, Some((receiver, render))));
            }
            if Instant::now() >= due {
                return Some((HEARTBEAT, Some((receiver, render))));
            }
        }
    })
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

    #[test]
    fn frames_keep_their_payload() {
        assert_eq!(data(b"{\"a\":1.50}"), "data: {\"a\":1.50}\n\n");
        assert_eq!(data(b"{\n\"a\":1\r\n}"), "data: {\ndata: \"a\":1\ndata: }\n\n");
        assert_eq!(event("x.y", &1), "event: x.y\ndata: 1\n\n");
        assert_eq!(event_at("x.y", 7, &1), "id: 7\nevent: x.y\ndata: 1\n\n");
    }
}
