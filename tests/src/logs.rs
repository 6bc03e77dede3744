//! The log as it was written: every event of this process that has a name, with the request it belongs to.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event as TracingEvent, Level, Metadata, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry};

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its dotted name.
    pub name: String,
    /// The request during which it happened.
    pub request_id: Option<String>,
    /// Everything else it says.
    pub fields: BTreeMap<String, String>,
}

static EVENTS: Mutex<Vec<Event>> = Mutex::new(Vec::new());

fn events() -> MutexGuard<'static, Vec<Event>> {
    EVENTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins to keep what is logged, once for the process.
pub fn keep() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| Registry::default().with(Keeper).init());
}

/// The events of a request, in order, without the line that every request has.
pub fn of_request(id: &str) -> Vec<Event> {
    let mine = |e: &&Event| e.request_id.as_deref() == Some(id) && e.name != "request" && e.name != "proxy.untrusted";
    events().iter().filter(mine).cloned().collect()
}

/// The line that every request has.
pub fn request_line(id: &str) -> Option<Event> {
    let mine = |e: &&Event| e.request_id.as_deref() == Some(id) && e.name == "request";
    events().iter().find(mine).cloned()
}

/// All events of a name in which some field has this value.
pub fn about(name: &str, value: &str) -> Vec<Event> {
    let mine = |e: &&Event| e.name == name && e.fields.values().any(|v| v == value);
    events().iter().filter(mine).cloned().collect()
}

/// Whether a text stands in any event that was kept.
pub fn mention(text: &str) -> bool {
    events().iter().any(|e| e.fields.values().any(|v| v.contains(text)))
}

struct Keeper;

struct RequestId(String);

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Keeper {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let (Some(request), Some(span)) = (fields.0.remove("request_id"), context.span(id)) {
            span.extensions_mut().insert(RequestId(request));
        }
    }

    fn on_event(&self, event: &TracingEvent<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let Some(name) = fields.0.remove("event") else { return };
        let mut spans = context.event_scope(event).into_iter().flatten();
        let request_id = spans.find_map(|span| span.extensions().get::<RequestId>().map(|id| id.0.clone()));
        events().push(Event {
            name,
            request_id,
            fields: fields.0,
        });
    }
}
