//! `echo` against the contracts.

use std::sync::Arc;
use std::time::Duration;

use anteroom_ai_provider::Echo;

use anteroom_contract::chat_model::{ANSWER, Bench, Patience, Scene};
use anteroom_contract::embedder;
use anteroom_ports::chat::{ChatCall, EmbedCall};
use anteroom_ports::{ChatModel, Embedder};
use anteroom_testkit::FixedClock;
use async_trait::async_trait;
use serde_json::json;

use crate::call;

/// There is nobody behind it who could play a scene.
struct Alone;

#[async_trait]
impl Bench for Alone {
    async fn model(&self, scene: Scene, _: Patience) -> Box<dyn ChatModel> {
        assert_eq!(scene, Scene::Answer);
        Box::new(Echo::new(Arc::new(FixedClock::new())))
    }

    fn call(&self, streamed: bool) -> ChatCall {
        let body = json!({
            "model": "echo", "messages": [{ "role": "user", "content": ANSWER }], "stream": streamed,
            "stream_options": { "include_usage": true },
        });
        call(body.to_string())
    }

    fn arrived(&self) -> usize {
        0
    }

    fn hung_up(&self) -> usize {
        0
    }

    fn sent_bytes(&self) -> usize {
        0
    }
}

anteroom_contract::chat_model_contract!(Alone; answers);

#[async_trait]
impl embedder::Bench for Alone {
    async fn embedder(&self, scene: embedder::Scene, _: Duration) -> Box<dyn Embedder> {
        assert_eq!(scene, embedder::Scene::Answer);
        Box::new(Echo::new(Arc::new(FixedClock::new())))
    }

    fn call(&self, texts: &[&str], encoding_format: &str) -> EmbedCall {
        let body = json!({ "model": "echo", "input": texts, "encoding_format": encoding_format }).to_string();
        let ChatCall {
            request_id,
            model,
            body,
            ..
        } = call(body);
        EmbedCall {
            request_id,
            model,
            body,
        }
    }

    fn arrived(&self) -> usize {
        0
    }

    fn hung_up(&self) -> usize {
        0
    }
}

anteroom_contract::embedder_contract!(Alone; answers);
