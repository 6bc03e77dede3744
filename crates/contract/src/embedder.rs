//! What every provider of vectors does, whoever answers.
//!
//! An adapter's tests implement [`Bench`] and name it to [`embedder_contract!`](crate::embedder_contract): `answers` for
//! one that cannot fail, `answers` and `failures` for one behind a network.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a suite fails by panicking"
)]

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use anteroom_ports::Embedder;
use anteroom_ports::chat::{EmbedCall, EmbedReply, ProviderError, ProviderErrorKind, TimeoutStage};

use crate::chat_model::{FAILURE, KEY};

/// What the provider does with the calls it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// Answers with vectors and says what it used.
    Answer,
    /// Answers and does not say.
    NoUsage,
    /// Sends what is no answer, with status 200.
    Garbage,
    /// Takes the call and never says anything.
    Silent,
    /// Refuses with this status and an error with [`FAILURE`] and [`KEY`], and asks to come back in 7 s.
    Refuses(u16),
    /// Cannot be reached.
    Away,
}

/// Enough for a machine that is busy with something else.
const LONG: Duration = Duration::from_secs(30);

/// Enough to see that nothing comes.
const SHORT: Duration = Duration::from_millis(300);

/// What the suite needs beyond the port: to direct the provider behind the adapter.
#[async_trait]
pub trait Bench: Send + Sync {
    /// The adapter with [`KEY`], patient for this long, and behind it a provider that plays this scene in every call.
    async fn embedder(&self, scene: Scene, total: Duration) -> Box<dyn Embedder>;

    /// A call for the vectors of these texts.
    fn call(&self, texts: &[&str], encoding_format: &str) -> EmbedCall;

    /// How many calls have reached the provider.
    fn arrived(&self) -> usize;

    /// How many of them the provider has seen hang up before their end.
    fn hung_up(&self) -> usize;
}

fn vectors(reply: &EmbedReply) -> Vec<Vec<f32>> {
    let answer: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(answer["object"], "list");
    assert!(answer["model"].is_string());
    let entries = answer["data"].as_array().unwrap().iter().enumerate();
    let vector = |(index, entry): (usize, &Value)| {
        assert_eq!(entry["object"], "embedding");
        assert_eq!(entry["index"], index);
        match &entry["embedding"] {
            Value::String(text) => {
                let bytes = STANDARD.decode(text).unwrap();
                assert_eq!(bytes.len() % 4, 0);
                let numbers = bytes.chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap()));
                numbers.collect()
            }
            numbers => serde_json::from_value(numbers.clone()).unwrap(),
        }
    };
    entries.map(vector).collect()
}

async fn fails(bench: &dyn Bench, scene: Scene, total: Duration) -> ProviderError {
    let embedder = bench.embedder(scene, total).await;
    let failure = embedder.embed(bench.call(&["a"], "float")).await.unwrap_err();
    let shown = format!("{failure} {failure:?}");
    assert!(!shown.contains(KEY), "{shown}");
    failure
}

/// Every text has its vector, in the order of the texts, and the same text the same one.
pub async fn every_text_has_its_vector(bench: &dyn Bench) {
    let embedder = bench.embedder(Scene::Answer, LONG).await;
    assert!(!embedder.name().is_empty());
    let reply = embedder
        .embed(bench.call(&["one", "two", "one"], "float"))
        .await
        .unwrap();
    let vectors = vectors(&reply);
    assert_eq!(vectors.len(), 3);
    assert!(vectors.iter().all(|v| !v.is_empty() && v.len() == vectors[0].len()));
    assert_eq!(vectors[0], vectors[2]);
    assert_ne!(vectors[0], vectors[1]);
    let usage = reply.usage.unwrap();
    assert!(usage.prompt_tokens > 0 && usage.completion_tokens == 0);
}

/// Base64 holds the numbers that the list holds.
pub async fn both_encodings_hold_the_same(bench: &dyn Bench) {
    let embedder = bench.embedder(Scene::Answer, LONG).await;
    let floats = embedder.embed(bench.call(&["one", "two"], "float")).await.unwrap();
    let base64 = embedder.embed(bench.call(&["one", "two"], "base64")).await.unwrap();
    let answer: Value = serde_json::from_slice(&base64.body).unwrap();
    assert!(answer["data"][1]["embedding"].is_string());
    assert_eq!(vectors(&floats), vectors(&base64));
}

/// Many texts in one call keep their order.
pub async fn many_texts_keep_their_order(bench: &dyn Bench) {
    let embedder = bench.embedder(Scene::Answer, LONG).await;
    let texts: Vec<String> = (0..250).map(|n| format!("{n} text")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let together = vectors(&embedder.embed(bench.call(&texts, "float")).await.unwrap());
    assert_eq!(together.len(), texts.len());
    for number in [0, 99, 100, 101, 249] {
        let alone = embedder
            .embed(bench.call(&texts[number..=number], "float"))
            .await
            .unwrap();
        assert_eq!(vectors(&alone), together[number..=number]);
    }
}

/// Where the provider does not say what was used, neither does the adapter.
pub async fn missing_usage_is_none(bench: &dyn Bench) {
    let embedder = bench.embedder(Scene::NoUsage, LONG).await;
    let reply = embedder.embed(bench.call(&["one"], "float")).await.unwrap();
    assert_eq!((vectors(&reply).len(), reply.usage), (1, None));
}

/// What is no answer is not passed off as one.
pub async fn garbage_is_a_failure(bench: &dyn Bench) {
    let garbage = ProviderErrorKind::Protocol { error: None };
    assert_eq!(fails(bench, Scene::Garbage, LONG).await.kind, garbage);
}

/// The provider's refusals are told apart; its words reach the caller where they concern the request, the key never.
pub async fn refusals_are_told_apart(bench: &dyn Bench) {
    let retry_after = Some(Duration::from_secs(7));
    for (status, expected) in [
        (401, ProviderErrorKind::Auth),
        (403, ProviderErrorKind::Auth),
        (429, ProviderErrorKind::RateLimited { retry_after }),
        (500, ProviderErrorKind::Upstream { status: 500 }),
    ] {
        assert_eq!(fails(bench, Scene::Refuses(status), LONG).await.kind, expected);
    }
    let refused = fails(bench, Scene::Refuses(400), LONG).await;
    let ProviderErrorKind::BadRequest {
        status: 400,
        error: Some(error),
    } = refused.kind
    else {
        panic!("{refused:?}");
    };
    assert!(error["message"].as_str().unwrap().starts_with(FAILURE));
}

/// A refused call is not repeated, a provider that is away is a failure at once, and time runs out.
pub async fn what_fails_is_not_repeated(bench: &dyn Bench) {
    let before = bench.arrived();
    fails(bench, Scene::Refuses(503), LONG).await;
    assert_eq!(bench.arrived() - before, 1);
    let away = fails(bench, Scene::Away, LONG).await;
    assert_eq!(away.kind, ProviderErrorKind::Unreachable);
    let late = fails(bench, Scene::Silent, SHORT).await;
    assert_eq!(late.kind, ProviderErrorKind::Timeout(TimeoutStage::Total));
}

/// Whoever stops waiting is seen to have gone within a second.
pub async fn a_dropped_call_is_hung_up_at_once(bench: &dyn Bench) {
    let embedder = bench.embedder(Scene::Silent, LONG).await;
    let (arrived, before) = (bench.arrived(), bench.hung_up());
    let until = async |holds: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < LONG, "in vain");
            sleep(Duration::from_millis(5)).await;
        }
        begun.elapsed()
    };
    let (has_arrived, has_gone) = (|| bench.arrived() > arrived, || bench.hung_up() > before);
    tokio::select! {
        _ = embedder.embed(bench.call(&["a"], "float")) => panic!("it said something"),
        _ = until(&has_arrived) => {}
    }
    assert!(until(&has_gone).await < Duration::from_secs(1));
}

/// Writes a test for each case of the suite. `$bench` is an expression that makes a [`Bench`].
#[macro_export]
macro_rules! embedder_contract {
    ($bench:expr; answers) => {
        $crate::embedder_contract!(@cases embed_answers $bench;
            every_text_has_its_vector both_encodings_hold_the_same many_texts_keep_their_order
        );
    };
    ($bench:expr; failures) => {
        $crate::embedder_contract!(@cases embed_failures $bench;
            missing_usage_is_none garbage_is_a_failure refusals_are_told_apart what_fails_is_not_repeated
            a_dropped_call_is_hung_up_at_once
        );
    };
    (@cases $module:ident $bench:expr; $($case:ident)+) => {
        mod $module {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    $crate::embedder::$case(&$bench).await;
                }
            )+
        }
    };
}
