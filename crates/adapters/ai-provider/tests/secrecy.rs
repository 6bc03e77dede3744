//! The provider's key is nowhere to be read, however loud the log and however talkative the provider.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use anteroom_contract::chat_model::KEY;
use anteroom_ports::ChatModel as _;
use futures_util::StreamExt as _;
use serde_json::json;
use tracing::instrument::WithSubscriber as _;
use tracing_subscriber::fmt::MakeWriter;

use crate::upstream::{Received, Step, Upstream, data, end, head, json as answer, whole};
use crate::{call, model, options};

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Repeats the request's Authorization in every way a provider could.
fn talkative(number: usize, request: &Received) -> Vec<Step> {
    let key = request.header("authorization").unwrap();
    let error = json!({ "error": { "message": key, "type": key, "code": key, "param": key, key: [key] } }).to_string();
    match number {
        0..8 => {
            let status = [400, 401, 403, 404, 429, 500, 503, 307][number];
            let location = format!("location: http://127.0.0.1:1/{key}\r\nx-key: {key}\r\nretry-after: {key}\r\n");
            vec![whole(status, &location, &error)]
        }
        8 => vec![whole(500, "", key)],
        9 => vec![answer(200, key)],
        10 => vec![answer(200, &error)],
        11 => vec![head(), data("{\"choices\":[]}"), data(&error), end()],
        12 => vec![head(), data("{\"choices\":[]}"), data(key), end()],
        13 => vec![Step::Send(format!("HTTP/1.1 {key}\r\n\r\n").into()), Step::Close],
        14 => vec![
            Step::Send(format!("HTTP/1.1 200 OK\r\n{key} {key}\r\n\r\n").into()),
            Step::Close,
        ],
        _ => vec![answer(
            200,
            &json!({ "choices": [], "data": [], "key": key }).to_string(),
        )],
    }
}

#[tokio::test]
async fn the_key_is_in_no_error_no_debug_and_no_log() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    let shown = async {
        let mut shown = vec![format!("{:?}", options("http://a.example/v1", KEY))];
        for number in 0..16 {
            let upstream = Upstream::start(move |request| talkative(number, request)).await;
            let model = model(&upstream.base_url, KEY);
            shown.push(format!("{model:?}"));
            let call = || call("{\"stream\":false}");
            shown.push(format!(
                "{:?}",
                model.complete(call()).await.map_err(|e| (e.to_string(), e))
            ));
            shown.push(format!("{:?}", model.models().await.map_err(|e| (e.to_string(), e))));
            match model.stream(call()).await {
                Ok(stream) => shown.push(format!("{:?}", stream.events.collect::<Vec<_>>().await)),
                Err(e) => shown.push(format!("{e} {e:?}")),
            }
            assert_eq!(
                upstream.seen().requests[0].header("authorization"),
                Some(&*format!("Bearer {KEY}"))
            );
        }
        shown.concat()
    }
    .with_subscriber(subscriber)
    .await;
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(shown.contains("[redacted]"));
    assert!(!shown.contains(KEY), "{shown}");
    // hyper and reqwest do say something at this level, so this is no empty claim.
    assert!(log.contains("hyper") && log.len() > 1000);
    assert!(!log.contains(KEY), "{log}");
}
