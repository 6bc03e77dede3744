//! How the targets of models do, counted: by Anteroom's own names, and by those of OpenTelemetry's conventions for
//! generative AI (semantic conventions 1.41), spelt as its mapping to Prometheus spells them.
//!
//! The conventions' `gen_ai.response.model` is left out. What a provider calls the model that answered is the provider's to
//! say, so that it could make as many series as it likes; and a target has one model, with few versions. The spans have it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use anteroom_otlp::Place;
use anteroom_ports::TargetObserver;
use anteroom_ports::chat::TargetCall;
use metrics::{Counter, Histogram, Label};

pub(crate) const FIRST_TOKEN: &str = "anteroom_chat_target_first_token_seconds";
pub(crate) const TOTAL: &str = "anteroom_chat_target_seconds";
const CALLS: &str = "anteroom_chat_target_calls_total";
const ERRORS: &str = "anteroom_chat_target_errors_total";

/// `gen_ai.client.operation.duration`, in seconds.
pub(crate) const OPERATION: &str = "gen_ai_client_operation_duration_seconds";
/// `gen_ai.client.operation.time_to_first_chunk`, in seconds.
pub(crate) const FIRST_CHUNK: &str = "gen_ai_client_operation_time_to_first_chunk_seconds";
/// `gen_ai.client.token.usage`, in `{token}`.
pub(crate) const TOKENS: &str = "gen_ai_client_token_usage";

/// So many targets are told apart; what is beyond is counted as `other`. Clients cannot name any: only the configuration,
/// admins, and a provider that lists its own.
const MOST_TARGETS: usize = 500;

const OTHER: &str = "other";

/// Says what each of them means.
pub(crate) fn describe() {
    metrics::describe_counter!(
        CALLS,
        "Calls that a target of a model was asked for, each try counted, by how they ended."
    );
    metrics::describe_counter!(ERRORS, "Failures of a target of a model, by kind.");
    metrics::describe_histogram!(
        FIRST_TOKEN,
        "From asking a target of a model to the first token of a streamed answer."
    );
    metrics::describe_histogram!(TOTAL, "From asking a target of a model to the end of its answer.");
    metrics::describe_histogram!(OPERATION, "GenAI operation duration.");
    metrics::describe_histogram!(
        FIRST_CHUNK,
        "From asking a model to the first chunk of its streamed answer."
    );
    metrics::describe_histogram!(TOKENS, "Number of input and output tokens used.");
}

/// Handles of one metric, each looked up once. There are few of them.
struct Handles<K, H>(Mutex<Vec<(K, H)>>);

impl<K, H> Default for Handles<K, H> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: PartialEq, H> Handles<K, H> {
    fn with(&self, key: K, find: impl FnOnce() -> H, act: impl FnOnce(&H)) {
        let mut known = lock(&self.0);
        let at = known.iter().position(|(known, _)| *known == key);
        let at = at.unwrap_or_else(|| {
            known.push((key, find()));
            known.len() - 1
        });
        act(&known[at].1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A target, and what is counted of it.
#[derive(Default)]
struct Target {
    own: Vec<Label>,
    conventional: Vec<Label>,
    total: OnceLock<Histogram>,
    first_token: OnceLock<Histogram>,
    /// By how they ended.
    calls: Handles<&'static str, Counter>,
    /// By kind.
    errors: Handles<&'static str, Counter>,
    /// By what was asked for, and the kind of failure if it failed.
    operations: Handles<(&'static str, Option<&'static str>), Histogram>,
    /// By what was asked for.
    first_chunk: Handles<&'static str, Histogram>,
    /// By what was asked for, and the type of token.
    tokens: Handles<(&'static str, &'static str), Histogram>,
}

impl Target {
    fn new(provider: &str, model: &str, place: Option<&Place>) -> Self {
        let kind = place.map_or_else(|| provider.to_owned(), |place| place.kind.to_owned());
        let mut conventional = vec![
            Label::new("gen_ai_provider_name", kind),
            Label::new("gen_ai_request_model", model.to_owned()),
        ];
        if let Some((host, port)) = place.and_then(|place| place.server.as_ref()) {
            conventional.push(Label::new("server_address", host.clone()));
            conventional.push(Label::new("server_port", port.to_string()));
        }
        Self {
            own: vec![
                Label::new("provider", provider.to_owned()),
                Label::new("model", model.to_owned()),
            ],
            conventional,
            ..Self::default()
        }
    }

    fn own(&self, more: Option<(&'static str, &'static str)>) -> Vec<Label> {
        let more = more.map(|(name, value)| Label::from_static_parts(name, value));
        self.own.iter().cloned().chain(more).collect()
    }

    fn conventional(&self, operation: &'static str, more: Option<(&'static str, &'static str)>) -> Vec<Label> {
        let first = Label::from_static_parts("gen_ai_operation_name", operation);
        let more = more.map(|(name, value)| Label::from_static_parts(name, value));
        std::iter::once(first)
            .chain(self.conventional.iter().cloned())
            .chain(more)
            .collect()
    }

    fn count(&self, call: &TargetCall<'_>) {
        let total = self.total.get_or_init(|| metrics::histogram!(TOTAL, self.own(None)));
        total.record(call.total);
        if let Some(first_token) = call.first_token {
            let histogram = || metrics::histogram!(FIRST_TOKEN, self.own(None));
            self.first_token.get_or_init(histogram).record(first_token);
        }
        if let Some(kind) = call.failure {
            let counter = || metrics::counter!(ERRORS, self.own(Some(("kind", kind))));
            self.errors.with(kind, counter, |counter| counter.increment(1));
        }
        let outcome = call.outcome.as_str();
        let counter = || metrics::counter!(CALLS, self.own(Some(("outcome", outcome))));
        self.calls.with(outcome, counter, |counter| counter.increment(1));
        self.count_by_conventions(call);
    }

    fn count_by_conventions(&self, call: &TargetCall<'_>) {
        let (operation, failure) = (call.operation, call.failure);
        let histogram = || {
            let error = failure.map(|kind| ("error_type", kind));
            metrics::histogram!(OPERATION, self.conventional(operation, error))
        };
        self.operations
            .with((operation, failure), histogram, |it| it.record(call.total));
        if let Some(first_chunk) = call.first_chunk {
            let histogram = || metrics::histogram!(FIRST_CHUNK, self.conventional(operation, None));
            self.first_chunk.with(operation, histogram, |it| it.record(first_chunk));
        }
        let Some(usage) = call.usage else { return };
        // Vectors are no tokens.
        let output =
            (operation != "embeddings" && usage.completion_tokens > 0).then_some(("output", usage.completion_tokens));
        for (kind, tokens) in [Some(("input", usage.prompt_tokens)), output].into_iter().flatten() {
            let histogram = || {
                let kind = Some(("gen_ai_token_type", kind));
                metrics::histogram!(TOKENS, self.conventional(operation, kind))
            };
            #[expect(clippy::cast_precision_loss, reason = "nobody uses 2^53 tokens")]
            let tokens = tokens as f64;
            self.tokens.with((operation, kind), histogram, |it| it.record(tokens));
        }
    }
}

/// Counts how the targets of models do.
pub(crate) struct TargetMetrics {
    /// What the conventions say of the providers, by the operator's names for them.
    places: HashMap<String, Place>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By provider, then by model.
    targets: HashMap<String, HashMap<String, Arc<Target>>>,
    count: usize,
    other: Option<Arc<Target>>,
}

impl TargetMetrics {
    pub(crate) fn new(places: HashMap<String, Place>) -> Self {
        Self {
            places,
            known: Mutex::default(),
        }
    }

    /// The target's own, or that of all others if there are too many.
    fn target(&self, provider: &str, model: &str) -> Arc<Target> {
        let mut known = lock(&self.known);
        let found = known.targets.get(provider).and_then(|models| models.get(model));
        if let Some(target) = found {
            return Arc::clone(target);
        }
        if known.count == MOST_TARGETS {
            let other = known
                .other
                .get_or_insert_with(|| Arc::new(Target::new(OTHER, OTHER, None)));
            return Arc::clone(other);
        }
        let target = Arc::new(Target::new(provider, model, self.places.get(provider)));
        known.count += 1;
        let models = known.targets.entry(provider.to_owned()).or_default();
        models.insert(model.to_owned(), Arc::clone(&target));
        target
    }
}

impl TargetObserver for TargetMetrics {
    fn ended(&self, call: TargetCall<'_>) {
        self.target(call.provider, call.model).count(&call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_targets_are_told_apart() {
        let metrics = TargetMetrics::new(HashMap::new());
        let is_other = |model: &str| metrics.target("p", model).own == Target::new(OTHER, OTHER, None).own;
        for number in 0..MOST_TARGETS {
            assert!(!is_other(&number.to_string()));
        }
        assert!(is_other("one more"));
        assert!(!is_other("0"));
    }

    #[test]
    fn a_target_is_looked_up_once() {
        let metrics = TargetMetrics::new(HashMap::new());
        assert!(Arc::ptr_eq(&metrics.target("p", "m"), &metrics.target("p", "m")));
        let handles: Handles<&str, u8> = Handles::default();
        handles.with("a", || 1, |it| assert_eq!(*it, 1));
        handles.with("b", || 2, |it| assert_eq!(*it, 2));
        handles.with("a", || panic!("it is known"), |it| assert_eq!(*it, 1));
    }
}
