//! The adapters against the contract of their port, and what is OpenAI's own on top of it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod anthropic;
mod echo;
mod fidelity;
mod gemini;
mod scenes;
mod secrecy;
mod stage;
mod transport;
mod upstream;

use std::time::Duration;

use anteroom_ai_provider::{OpenAiCompatible, OpenAiOptions, Timeouts};
use anteroom_domain::RequestId;
use anteroom_ports::chat::{ChatCall, ChatEvent, ChatStream};
use bytes::Bytes;
use futures_util::StreamExt as _;
use uuid::Uuid;

/// Enough for a machine that is busy with something else.
const LONG: Duration = Duration::from_secs(30);

const PATIENT: Timeouts = Timeouts {
    connect: LONG,
    first_token: LONG,
    idle: LONG,
    total: LONG,
};

fn options(base_url: &str, api_key: &str) -> OpenAiOptions {
    OpenAiOptions {
        base_url: base_url.parse().unwrap(),
        api_key: api_key.into(),
        timeouts: PATIENT,
        azure: None,
    }
}

fn model(base_url: &str, api_key: &str) -> OpenAiCompatible {
    OpenAiCompatible::new(options(base_url, api_key)).unwrap()
}

fn call(body: impl Into<Bytes>) -> ChatCall {
    ChatCall {
        request_id: RequestId(Uuid::nil()),
        model: "m".to_owned(),
        body: body.into(),
        original: None,
    }
}

/// The JSON of a stream's chunks, as it came, of one that ends well.
async fn datas(stream: ChatStream) -> Vec<Bytes> {
    let mut events: Vec<_> = stream.events.map(Result::unwrap).collect().await;
    assert_eq!(events.pop(), Some(ChatEvent::Done));
    let data = |event| match event {
        ChatEvent::Chunk(chunk) => chunk.data,
        ChatEvent::Done => panic!("it went on after its end"),
    };
    events.into_iter().map(data).collect()
}
