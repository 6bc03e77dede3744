//! The provider's key is nowhere to be read, however loud the log and however talkative the provider.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use anteroom_ai_provider::{AzureOptions, OpenAiCompatible, OpenAiOptions};
use anteroom_contract::chat_model::KEY;
use anteroom_ports::chat::{ChatCall, EmbedCall};
use anteroom_ports::{ChatModel, Embedder};
use futures_util::StreamExt as _;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::upstream::{Received, Step, Upstream, data, end, head, json as answer, whole};
use crate::{PATIENT, anthropic, call, gemini, model, options};

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

/// The headers that show the key, one for each provider.
const SHOW: [&str; 4] = ["authorization", "api-key", "x-api-key", "x-goog-api-key"];

fn shown_key(request: &Received) -> &str {
    SHOW.iter().find_map(|name| request.header(name)).unwrap()
}

/// Repeats what the request showed in every way a provider could.
fn talkative(number: usize, request: &Received) -> Vec<Step> {
    let key = shown_key(request);
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
            &json!({
                "choices": [], "data": [], "models": [], "key": key, "content": [{ "type": "text", "text": key }],
                "candidates": [{ "content": { "parts": [{ "text": key }] }, "finishReason": "STOP" }],
            })
            .to_string(),
        )],
    }
}

/// Everything that a provider's adapter gives away.
async fn all_of(model: &dyn ChatModel) -> String {
    let call = || call("{\"messages\":[]}");
    let whole = model.complete(call()).await.map_err(|e| (e.to_string(), e));
    let listed = model.models().await.map_err(|e| (e.to_string(), e));
    let streamed = match model.stream(call()).await {
        Ok(stream) => format!("{:?}", stream.events.collect::<Vec<_>>().await),
        Err(e) => format!("{e} {e:?}"),
    };
    format!("{whole:?} {listed:?} {streamed}")
}

/// Everything that all adapters give away about all answers.
async fn all_of_all() -> String {
    let mut shown = vec![format!("{:?}", options("http://a.example/v1", KEY))];
    for number in 0..16 {
        let upstream = Upstream::start(move |request| talkative(number, request)).await;
        let url = &upstream.base_url;
        let azure = OpenAiOptions {
            azure: Some(AzureOptions::default()),
            ..options(url, KEY)
        };
        let (openai, azure) = (model(url, KEY), OpenAiCompatible::new(azure).unwrap());
        let (anthropic, gemini) = (anthropic::model(url, KEY, PATIENT), gemini::model(url, KEY, PATIENT));
        shown.push(format!("{openai:?} {azure:?} {anthropic:?} {gemini:?}"));
        let models: [&dyn ChatModel; 4] = [&openai, &azure, &anthropic, &gemini];
        for model in models {
            shown.push(all_of(model).await);
        }
        let embedders: [&dyn Embedder; 3] = [&openai, &azure, &gemini];
        for embedder in embedders {
            let ChatCall { request_id, model, .. } = call("");
            let body = "{\"input\":\"x\"}".into();
            let embedded = embedder
                .embed(EmbedCall {
                    request_id,
                    model,
                    body,
                })
                .await;
            shown.push(format!("{:?}", embedded.map_err(|e| (e.to_string(), e))));
        }
        let seen = upstream.seen();
        assert!(seen.requests.iter().all(|request| shown_key(request).ends_with(KEY)));
        assert_eq!(seen.requests.len(), 4 * 3 + 3);
    }
    shown.concat()
}

#[tokio::test]
async fn the_key_is_in_no_error_no_debug_and_no_log() {
    let log = Log::default();
    // For the whole process, so that it hears of tasks that libraries start too, and of other tests: they may tell the key
    // as little. And what a thread without a subscriber comes by first is cached as if nobody wanted to hear of it.
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .init();
    let shown = all_of_all().await;
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(shown.contains("[redacted]"));
    let at = shown.find(KEY).map(|at| &shown[at.saturating_sub(300)..at + KEY.len()]);
    assert_eq!(at, None);
    // hyper and reqwest do say something at this level, so this is no empty claim.
    assert!(log.contains("hyper") && log.len() > 1000);
    assert!(!log.contains(KEY), "{log}");
}
