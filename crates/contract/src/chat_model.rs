//! What every provider of models does, whoever answers.
//!
//! An adapter's tests implement [`Bench`] and name it to [`chat_model_contract!`](crate::chat_model_contract): `answers`
//! for a model that cannot fail, `answers` and `failures` for one behind a network, and `cumulative` where the provider may
//! say with every chunk what it has used.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a suite fails by panicking"
)]

use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep, timeout};

use anteroom_domain::chat::TokenUsage;
use anteroom_ports::ChatModel;
use anteroom_ports::chat::{
    ChatCall, ChatChunk, ChatEvent, ChatEvents, ProviderError, ProviderErrorKind, TimeoutStage,
};

/// What [`Scene::Answer`] answers, in five chunks or more.
pub const ANSWER: &str = "Grüße aus dem Vorzimmer, \"wörtlich\" \u{1f44b}";

/// What a scene's answer has used, where it says.
pub const USAGE: TokenUsage = TokenUsage {
    prompt_tokens: 23,
    completion_tokens: 11,
    cached_tokens: 5,
    reasoning_tokens: 3,
    ..TokenUsage::NONE
};

/// The arguments in [`Scene::ToolCall`].
pub const ARGUMENTS: &str = r#"{"city":"Zürich","days":[1,2]}"#;

/// The message of the provider's error, which goes on with the key.
pub const FAILURE: &str = "the model fell over; the key was";

/// The key under which the adapter calls. The provider repeats it in every error.
pub const KEY: &str = "sk-canary-4b1d0f5e7c9a2836";

/// What the provider does with the calls it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// Answers [`ANSWER`] and says what it used.
    Answer,
    /// Answers [`ANSWER`] and does not say.
    NoUsage,
    /// Streams [`ANSWER`] and says with every chunk what it has used so far, at last [`USAGE`].
    CumulativeUsage,
    /// Calls a tool with [`ARGUMENTS`] and says nothing.
    ToolCall,
    /// Streams some of [`ANSWER`] and ends in good order, without the mark that it is whole.
    EndsEarly,
    /// Sends some of [`ANSWER`], and the connection breaks.
    Breaks,
    /// Streams some of [`ANSWER`], then an error with [`FAILURE`] and [`KEY`].
    FailsMidway,
    /// Sends what is no answer, with status 200.
    Garbage,
    /// Takes the call and never says anything.
    Silent,
    /// Streams some of [`ANSWER`] and then nothing more, without ending.
    FallsSilent,
    /// Streams a word every 20 ms without end.
    Drips,
    /// Streams without pause or end, as fast as it is read.
    Floods,
    /// Refuses with this status and an error with [`FAILURE`] and [`KEY`]; with 429, it asks to come back in 7 s.
    Refuses(u16),
    /// Cannot be reached.
    Away,
}

/// The adapter's patience.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a stream's first event.
    pub first_token: Duration,
    /// Between two events.
    pub idle: Duration,
    /// For the whole answer.
    pub total: Duration,
}

/// Enough for a machine that is busy with something else.
const LONG: Duration = Duration::from_secs(30);

/// Enough to see that nothing comes.
const SHORT: Duration = Duration::from_millis(300);

/// How soon a provider must see that its caller has gone.
const SOON: Duration = Duration::from_secs(1);

const PATIENT: Patience = Patience {
    first_token: LONG,
    idle: LONG,
    total: LONG,
};

/// What the suite needs beyond the port: to direct the provider behind the adapter.
#[async_trait]
pub trait Bench: Send + Sync {
    /// The adapter with [`KEY`], and behind it a provider that plays this scene in every call.
    async fn model(&self, scene: Scene, patience: Patience) -> Box<dyn ChatModel>;

    /// A call that asks for [`ANSWER`].
    fn call(&self, streamed: bool) -> ChatCall;

    /// How many calls have reached the provider.
    fn arrived(&self) -> usize;

    /// How many of them the provider has seen hang up before their end.
    fn hung_up(&self) -> usize;

    /// Bytes of answers that the provider could send so far.
    fn sent_bytes(&self) -> usize;
}

/// A stream to its end. A failure before the first event counts like one in its place.
async fn collect(model: &dyn ChatModel, call: ChatCall) -> (Vec<ChatEvent>, Option<ProviderError>) {
    let mut events = Vec::new();
    let mut stream = match model.stream(call).await {
        Ok(stream) => stream.events,
        Err(error) => return (events, Some(error)),
    };
    let mut failure = None;
    while let Some(item) = stream.next().await {
        assert!(failure.is_none(), "something came after the failure");
        assert_ne!(events.last(), Some(&ChatEvent::Done), "something came after the end");
        match item {
            Ok(event) => events.push(event),
            Err(error) => failure = Some(error),
        }
    }
    let whole = events.last() == Some(&ChatEvent::Done);
    assert!(whole != failure.is_some(), "a stream ends whole or with an error");
    (events, failure)
}

fn chunks(events: &[ChatEvent]) -> Vec<&ChatChunk> {
    events
        .iter()
        .filter_map(|event| match event {
            ChatEvent::Chunk(chunk) => Some(chunk),
            ChatEvent::Done => None,
        })
        .collect()
}

fn text(events: &[ChatEvent]) -> String {
    chunks(events).into_iter().map(|chunk| chunk.text.as_str()).collect()
}

fn usage(events: &[ChatEvent]) -> Option<TokenUsage> {
    let reported = chunks(events).into_iter().filter_map(|chunk| chunk.usage);
    reported.reduce(TokenUsage::max)
}

async fn stream_fails(bench: &dyn Bench, scene: Scene, patience: Patience) -> (Vec<ChatEvent>, ProviderError) {
    let model = bench.model(scene, patience).await;
    let (events, failure) = collect(&*model, bench.call(true)).await;
    let failure = failure.unwrap_or_else(|| panic!("{scene:?} is no failure"));
    assert_secret(&failure);
    (events, failure)
}

async fn whole_fails(bench: &dyn Bench, scene: Scene, patience: Patience) -> ProviderError {
    let model = bench.model(scene, patience).await;
    let failure = model.complete(bench.call(false)).await.unwrap_err();
    assert_secret(&failure);
    failure
}

fn assert_secret(failure: &ProviderError) {
    let shown = format!("{failure} {failure:?}");
    assert!(!shown.contains(KEY), "{shown}");
}

async fn until(what: &str, holds: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LONG, "in vain: {what}");
        sleep(Duration::from_millis(5)).await;
    }
    begun.elapsed()
}

/// A whole answer has its text, its bytes and its usage.
pub async fn a_whole_answer_has_text_and_usage(bench: &dyn Bench) {
    let model = bench.model(Scene::Answer, PATIENT).await;
    let reply = model.complete(bench.call(false)).await.unwrap();
    assert_eq!(reply.text, ANSWER);
    let usage = reply.usage.unwrap();
    assert!(usage.prompt_tokens > 0 && usage.completion_tokens > 0);
    assert!(
        serde_json::from_slice::<serde_json::Value>(&reply.body)
            .unwrap()
            .is_object()
    );
}

/// A stream's chunks add up to the whole answer and its usage, and end with one mark.
pub async fn a_stream_adds_up_to_the_whole_answer(bench: &dyn Bench) {
    let model = bench.model(Scene::Answer, PATIENT).await;
    let whole = model.complete(bench.call(false)).await.unwrap();
    let (events, failure) = collect(&*model, bench.call(true)).await;
    assert_eq!(failure, None);
    assert_eq!(text(&events), ANSWER);
    assert_eq!(usage(&events), whole.usage);
    let chunks = chunks(&events);
    assert!(chunks.iter().filter(|c| !c.text.is_empty()).count() >= 5);
    for chunk in chunks {
        assert!(
            serde_json::from_slice::<serde_json::Value>(&chunk.data)
                .unwrap()
                .is_object()
        );
        assert!(chunk.output_bytes >= chunk.text.len());
        assert!(!chunk.usage_only || (chunk.usage.is_some() && chunk.output_bytes == 0));
    }
}

/// The list of models names at least one, each once.
pub async fn models_are_listed(bench: &dyn Bench) {
    let model = bench.model(Scene::Answer, PATIENT).await;
    let listed = model.models().await.unwrap();
    let mut names: Vec<_> = listed.iter().map(|m| m.id.clone()).collect();
    assert!(!names.is_empty() && names.iter().all(|n| !n.is_empty()));
    names.sort();
    names.dedup();
    assert_eq!(names.len(), listed.len());
    assert!(!model.name().is_empty());
}

/// Calls do not wait for or mix with one another, and a stream that is dropped harms no other.
pub async fn calls_run_beside_each_other(bench: &dyn Bench) {
    let model = bench.model(Scene::Answer, PATIENT).await;
    let mut dropped = model.stream(bench.call(true)).await.unwrap().events;
    assert!(dropped.next().await.unwrap().is_ok());
    let calls = (0..16).map(|_| collect(&*model, bench.call(true)));
    let answers = futures_util::future::join_all(calls).await;
    drop(dropped);
    assert!(answers.iter().all(|(events, _)| text(events) == ANSWER));
    assert_eq!(model.complete(bench.call(false)).await.unwrap().text, ANSWER);
}

/// Where the provider does not say what was used, neither does the adapter.
pub async fn missing_usage_is_none(bench: &dyn Bench) {
    let model = bench.model(Scene::NoUsage, PATIENT).await;
    let reply = model.complete(bench.call(false)).await.unwrap();
    assert_eq!((reply.text.as_str(), reply.usage), (ANSWER, None));
    let (events, failure) = collect(&*model, bench.call(true)).await;
    assert_eq!((failure, usage(&events)), (None, None));
    let output: usize = chunks(&events).into_iter().map(|c| c.output_bytes).sum();
    assert_eq!(output, ANSWER.len());
}

/// Usage that is said again and again is handed on as said; its maximum is what was used.
pub async fn cumulative_usage_is_handed_on(bench: &dyn Bench) {
    let model = bench.model(Scene::CumulativeUsage, PATIENT).await;
    let (events, failure) = collect(&*model, bench.call(true)).await;
    assert_eq!((failure, text(&events)), (None, ANSWER.to_owned()));
    assert_eq!(usage(&events), Some(USAGE));
    let chunks = chunks(&events);
    assert!(chunks.iter().filter(|c| c.usage.is_some()).count() > 2);
    assert!(chunks.iter().all(|c| !(c.usage_only && c.output_bytes > 0)));
}

/// A tool call is no text, but output.
pub async fn a_tool_call_counts_as_output(bench: &dyn Bench) {
    let model = bench.model(Scene::ToolCall, PATIENT).await;
    assert_eq!(model.complete(bench.call(false)).await.unwrap().text, "");
    let (events, failure) = collect(&*model, bench.call(true)).await;
    assert_eq!((failure, text(&events)), (None, String::new()));
    let output: usize = chunks(&events).into_iter().map(|c| c.output_bytes).sum();
    assert!(output >= ARGUMENTS.len());
}

/// A stream that ends without its mark is not whole.
pub async fn a_stream_without_its_mark_is_a_failure(bench: &dyn Bench) {
    let (events, failure) = stream_fails(bench, Scene::EndsEarly, PATIENT).await;
    assert_eq!(failure.kind, ProviderErrorKind::Protocol { error: None });
    assert_part(&events);
}

/// A connection that breaks is said to have broken, after what it brought.
pub async fn a_broken_connection_is_a_failure(bench: &dyn Bench) {
    let (events, failure) = stream_fails(bench, Scene::Breaks, PATIENT).await;
    assert_eq!(failure.kind, ProviderErrorKind::Transport);
    assert_part(&events);
    let failure = whole_fails(bench, Scene::Breaks, PATIENT).await;
    assert_eq!(failure.kind, ProviderErrorKind::Transport);
}

/// An error in the middle of a stream is handed on, freed of the key, after what came before it.
pub async fn an_error_midway_is_handed_on_without_the_key(bench: &dyn Bench) {
    let (events, failure) = stream_fails(bench, Scene::FailsMidway, PATIENT).await;
    let ProviderErrorKind::Protocol { error: Some(error) } = failure.kind else {
        panic!("{failure:?}");
    };
    assert!(error["message"].as_str().unwrap().starts_with(FAILURE));
    assert_part(&events);
}

fn assert_part(events: &[ChatEvent]) {
    let text = text(events);
    assert!(
        !text.is_empty() && text.len() < ANSWER.len() && ANSWER.starts_with(&text),
        "{text}"
    );
}

/// What is no answer is not passed off as one.
pub async fn garbage_is_a_failure(bench: &dyn Bench) {
    let garbage = ProviderErrorKind::Protocol { error: None };
    assert_eq!(whole_fails(bench, Scene::Garbage, PATIENT).await.kind, garbage);
    let (events, failure) = stream_fails(bench, Scene::Garbage, PATIENT).await;
    assert_eq!((events, failure.kind), (vec![], garbage.clone()));
    let model = bench.model(Scene::Garbage, PATIENT).await;
    assert_eq!(model.models().await.unwrap_err().kind, garbage);
}

/// The provider's refusals are told apart; its words reach the caller where they concern the request, the key never.
pub async fn refusals_are_told_apart(bench: &dyn Bench) {
    let seven_seconds = Some(Duration::from_secs(7));
    for (status, expected) in [
        (401, ProviderErrorKind::Auth),
        (403, ProviderErrorKind::Auth),
        (
            429,
            ProviderErrorKind::RateLimited {
                retry_after: seven_seconds,
            },
        ),
        (500, ProviderErrorKind::Upstream { status: 500 }),
        (503, ProviderErrorKind::Upstream { status: 503 }),
    ] {
        let scene = Scene::Refuses(status);
        assert_eq!(whole_fails(bench, scene, PATIENT).await.kind, expected);
        let (events, failure) = stream_fails(bench, scene, PATIENT).await;
        assert_eq!((events, failure.kind), (vec![], expected.clone()));
        let model = bench.model(scene, PATIENT).await;
        let failure = model.models().await.unwrap_err();
        assert_secret(&failure);
        assert_eq!(failure.kind, expected);
    }
    for refused in [400, 404, 422] {
        let whole = whole_fails(bench, Scene::Refuses(refused), PATIENT).await;
        let (_, streamed) = stream_fails(bench, Scene::Refuses(refused), PATIENT).await;
        assert_eq!(whole.kind, streamed.kind);
        // For the log there is no message, which could repeat the prompt.
        assert!(!whole.detail.contains(FAILURE));
        let ProviderErrorKind::BadRequest {
            status,
            error: Some(error),
        } = whole.kind
        else {
            panic!("{whole:?}");
        };
        assert_eq!(status, refused);
        assert!(error["message"].as_str().unwrap().starts_with(FAILURE));
    }
}

/// A refused call is not repeated: whether it may be is the caller's to decide.
pub async fn nothing_is_repeated(bench: &dyn Bench) {
    for status in [429, 500, 503] {
        let model = bench.model(Scene::Refuses(status), PATIENT).await;
        let before = bench.arrived();
        assert!(model.complete(bench.call(false)).await.is_err());
        assert!(model.stream(bench.call(true)).await.is_err());
        assert!(model.models().await.is_err());
        assert_eq!(bench.arrived() - before, 3);
    }
}

/// A provider that cannot be reached is a failure at once, of every kind of call.
pub async fn a_provider_that_is_away_is_a_failure(bench: &dyn Bench) {
    let away = ProviderErrorKind::Unreachable;
    assert_eq!(whole_fails(bench, Scene::Away, PATIENT).await.kind, away);
    assert_eq!(stream_fails(bench, Scene::Away, PATIENT).await.1.kind, away);
    let model = bench.model(Scene::Away, PATIENT).await;
    assert_eq!(model.models().await.unwrap_err().kind, away);
}

/// Each wait has its own end.
pub async fn time_runs_out_in_stages(bench: &dyn Bench) {
    let first_token = Patience {
        first_token: SHORT,
        ..PATIENT
    };
    let idle = Patience { idle: SHORT, ..PATIENT };
    let total = Patience {
        total: SHORT,
        ..PATIENT
    };
    for (scene, patience, stage) in [
        (Scene::Silent, first_token, TimeoutStage::FirstToken),
        (Scene::FallsSilent, idle, TimeoutStage::Idle),
        (Scene::Silent, total, TimeoutStage::Total),
        (Scene::FallsSilent, total, TimeoutStage::Total),
        (Scene::Drips, total, TimeoutStage::Total),
        (Scene::Floods, total, TimeoutStage::Total),
    ] {
        let begun = Instant::now();
        let (events, failure) = stream_fails(bench, scene, patience).await;
        assert_eq!(failure.kind, ProviderErrorKind::Timeout(stage), "{scene:?}");
        assert_eq!(events.is_empty(), scene == Scene::Silent);
        assert!(
            (SHORT..LONG).contains(&begun.elapsed()),
            "{scene:?}: {:?}",
            begun.elapsed()
        );
    }
    let failure = whole_fails(bench, Scene::Silent, total).await;
    assert_eq!(failure.kind, ProviderErrorKind::Timeout(TimeoutStage::Total));
    // A whole answer has no first token to wait for.
    let patient = Patience {
        total: SHORT * 2,
        ..first_token
    };
    let failure = whole_fails(bench, Scene::Silent, patient).await;
    assert_eq!(failure.kind, ProviderErrorKind::Timeout(TimeoutStage::Total));
}

/// Whoever stops waiting, however far the call has come, is seen to have gone within a second.
pub async fn a_dropped_call_is_hung_up_at_once(bench: &dyn Bench) {
    for scene in [Scene::FallsSilent, Scene::Drips, Scene::Floods] {
        let model = bench.model(scene, PATIENT).await;
        let mut events = model.stream(bench.call(true)).await.unwrap().events;
        assert!(events.next().await.unwrap().is_ok());
        let before = bench.hung_up();
        drop(events);
        let time = until("a hang-up", || bench.hung_up() > before).await;
        assert!(time < SOON, "{scene:?}: {time:?}");
    }
    let model = bench.model(Scene::Silent, PATIENT).await;
    for streamed in [true, false] {
        let (arrived, before) = (bench.arrived(), bench.hung_up());
        let waiting = async {
            if streamed {
                model.stream(bench.call(true)).await.map(drop)
            } else {
                model.complete(bench.call(false)).await.map(drop)
            }
        };
        tokio::select! {
            _ = waiting => panic!("it said something"),
            _ = until("a call", || bench.arrived() > arrived) => {}
        }
        let time = until("a hang-up", || bench.hung_up() > before).await;
        assert!(time < SOON, "{time:?}");
    }
}

/// A consumer that stops reading stops the provider; what is read ahead is bounded, and nothing is lost.
pub async fn a_slow_consumer_slows_the_provider(bench: &dyn Bench) {
    /// What two sockets may hold between them, and then some. The provider could send far more in the same time.
    const MOST: usize = 16 * 1024 * 1024;
    let model = bench.model(Scene::Floods, PATIENT).await;
    let mut events = model.stream(bench.call(true)).await.unwrap().events;
    next_chunk(&mut events).await;
    // Sockets take some time to fill; then nothing may move any more.
    let mut sent = bench.sent_bytes();
    loop {
        sleep(Duration::from_millis(500)).await;
        let now = bench.sent_bytes();
        if now == sent {
            break;
        }
        assert!(
            now < MOST,
            "{now} bytes are on their way to a consumer that does not read"
        );
        sent = now;
    }
    // Reading on sets it going again.
    let read_on = async {
        while bench.sent_bytes() == sent {
            next_chunk(&mut events).await;
        }
    };
    assert!(timeout(LONG, read_on).await.is_ok());
}

async fn next_chunk(events: &mut ChatEvents) -> ChatChunk {
    match events.next().await {
        Some(Ok(ChatEvent::Chunk(chunk))) => chunk,
        other => panic!("no chunk: {other:?}"),
    }
}

/// Writes a test for each case of the suite of providers. `$bench` is an expression that makes a [`Bench`].
#[macro_export]
macro_rules! chat_model_contract {
    ($bench:expr; answers) => {
        $crate::chat_model_contract!(@cases $bench;
            a_whole_answer_has_text_and_usage a_stream_adds_up_to_the_whole_answer models_are_listed
            calls_run_beside_each_other
        );
    };
    ($bench:expr; failures) => {
        $crate::chat_model_contract!(@cases $bench;
            missing_usage_is_none a_tool_call_counts_as_output
            a_stream_without_its_mark_is_a_failure a_broken_connection_is_a_failure
            an_error_midway_is_handed_on_without_the_key garbage_is_a_failure refusals_are_told_apart
            nothing_is_repeated a_provider_that_is_away_is_a_failure time_runs_out_in_stages
            a_dropped_call_is_hung_up_at_once a_slow_consumer_slows_the_provider
        );
    };
    ($bench:expr; cumulative) => {
        $crate::chat_model_contract!(@cases $bench; cumulative_usage_is_handed_on);
    };
    (@cases $bench:expr; $($case:ident)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            $crate::chat_model::$case(&$bench).await;
        }
    )+};
}
