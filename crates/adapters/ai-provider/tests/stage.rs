//! Providers behind an adapter that play scenes.

use std::sync::Mutex;
use std::time::Duration;

use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use anteroom_ai_provider::Timeouts;
use anteroom_contract::chat_model::{Bench, FAILURE, KEY, Patience, Scene};
use anteroom_contract::embedder;
use anteroom_ports::chat::{ChatCall, EmbedCall};
use anteroom_ports::{ChatModel, Embedder};
use async_trait::async_trait;
use serde_json::json;

use crate::upstream::{Received, Step, Upstream, whole};
use crate::{LONG, call};

/// Where nobody listens. A port that somebody listened on a moment ago may be another test's by now.
const AWAY: &str = "http://127.0.0.1:1/v1";

/// The servers of a stage, one for every adapter.
#[derive(Default)]
struct Servers(Mutex<Vec<Upstream>>);

impl Servers {
    fn count(&self, of: impl Fn(&Upstream) -> usize) -> usize {
        self.0.lock().unwrap().iter().map(of).sum()
    }
}

/// What a provider does with a request in a scene.
type Play = fn(Scene, &Received) -> Vec<Step>;

/// A provider of answers.
pub struct Stage {
    servers: Servers,
    play: Play,
    adapter: fn(&str, Timeouts) -> Box<dyn ChatModel>,
}

impl Stage {
    pub fn new(play: Play, adapter: fn(&str, Timeouts) -> Box<dyn ChatModel>) -> Self {
        Self {
            servers: Servers::default(),
            play,
            adapter,
        }
    }
}

#[async_trait]
impl Bench for Stage {
    async fn model(&self, scene: Scene, patience: Patience) -> Box<dyn ChatModel> {
        let timeouts = Timeouts {
            connect: LONG,
            first_token: patience.first_token,
            idle: patience.idle,
            total: patience.total,
        };
        if scene == Scene::Away {
            return (self.adapter)(AWAY, timeouts);
        }
        let play = self.play;
        let upstream = Upstream::start(move |request| play(scene, request)).await;
        let model = (self.adapter)(&upstream.base_url, timeouts);
        self.servers.0.lock().unwrap().push(upstream);
        model
    }

    fn call(&self, streamed: bool) -> ChatCall {
        let messages = json!([{ "role": "user", "content": "hi" }]);
        call(json!({ "model": "m", "messages": messages, "stream": streamed }).to_string())
    }

    fn arrived(&self) -> usize {
        self.servers.count(|upstream| upstream.seen().requests.len())
    }

    fn hung_up(&self) -> usize {
        self.servers.count(|upstream| upstream.seen().hung_up)
    }

    fn sent_bytes(&self) -> usize {
        self.servers.count(|upstream| upstream.seen().sent_bytes)
    }
}

/// How a provider makes vectors, and whether it says what that used.
type Embed = fn(&Received, bool) -> Vec<Step>;

/// A provider of vectors.
pub struct VectorStage {
    servers: Servers,
    embed: Embed,
    adapter: fn(&str, Timeouts) -> Box<dyn Embedder>,
}

impl VectorStage {
    pub fn new(embed: Embed, adapter: fn(&str, Timeouts) -> Box<dyn Embedder>) -> Self {
        Self {
            servers: Servers::default(),
            embed,
            adapter,
        }
    }
}

#[async_trait]
impl embedder::Bench for VectorStage {
    async fn embedder(&self, scene: embedder::Scene, total: Duration) -> Box<dyn Embedder> {
        use embedder::Scene;
        let timeouts = Timeouts {
            total,
            ..crate::PATIENT
        };
        let embed = self.embed;
        let play = move |request: &Received| match scene {
            Scene::Answer => embed(request, true),
            Scene::NoUsage => embed(request, false),
            Scene::Garbage => vec![whole(200, "content-type: text/html\r\n", "<html>It works!</html>")],
            Scene::Silent => vec![Step::Hang],
            Scene::Refuses(status) => {
                let error = json!({ "error": { "message": format!("{FAILURE} {KEY}"), "type": "t" } }).to_string();
                let headers = "content-type: application/json\r\nretry-after: 7\r\n";
                vec![whole(status, headers, &error)]
            }
            Scene::Away => Vec::new(),
        };
        if scene == Scene::Away {
            return (self.adapter)(AWAY, timeouts);
        }
        let upstream = Upstream::start(play).await;
        let adapter = (self.adapter)(&upstream.base_url, timeouts);
        self.servers.0.lock().unwrap().push(upstream);
        adapter
    }

    fn call(&self, texts: &[&str], encoding_format: &str) -> EmbedCall {
        let body = json!({ "model": "m", "input": texts, "encoding_format": encoding_format }).to_string();
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
        self.servers.count(|upstream| upstream.seen().requests.len())
    }

    fn hung_up(&self) -> usize {
        self.servers.count(|upstream| upstream.seen().hung_up)
    }
}

/// Some vector that is the same for the same text.
pub fn vector_of(text: &str) -> Vec<f32> {
    let mut vector: Vec<f32> = text.bytes().take(3).map(|byte| f32::from(byte) / 256.0).collect();
    vector.resize(4, -0.125);
    vector
}

/// A vector's little-endian floats.
pub fn base64(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
    STANDARD.encode(bytes)
}
