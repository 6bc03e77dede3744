//! All objects, the clock and what falls due: everything that a request reads or changes. It stands behind one lock;
//! a request is one change, which happens as a whole or not at all.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tracing::error;

use crate::billing;
use crate::deliveries::Outbox;
use crate::error::ApiError;
use crate::ids::random_id;
use crate::journal::{Journal, Line};
use crate::json::{at, hidden, previous, set, set_hidden, shown, text};

/// The API version whose shapes the stub writes.
pub const API_VERSION: &str = "2026-10-28.endive";

/// The `object` under which answers are kept for their idempotency keys; nobody can ask for it.
pub(crate) const IDEMPOTENCY: &str = "_idempotency";

/// How many things happen to one object in one second by themselves, at most.
const MOST_IN_A_SECOND: u32 = 8;

/// An object and its place in the order of making.
#[derive(Clone)]
struct Kept {
    number: u64,
    value: Arc<Value>,
}

/// Which request causes an event.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cause {
    /// `req_…`; none of what falls due by itself.
    pub(crate) id: Option<String>,
    /// Its idempotency key.
    pub(crate) key: Option<String>,
}

/// Everything there is.
pub(crate) struct World {
    objects: HashMap<String, Kept>,
    /// By the `object` member, in the order of making.
    kinds: HashMap<String, BTreeMap<u64, String>>,
    made: u64,
    due: BTreeSet<(i64, u8, String)>,
    due_of: HashMap<String, (i64, u8)>,
    offset: SignedDuration,
    journal: Option<Journal>,
    undo: Vec<(String, Option<Kept>)>,
    fresh: Vec<String>,
    outbox: Arc<Outbox>,
    /// The time of what is being done, in Unix seconds.
    pub(crate) at: i64,
    /// Who caused it.
    pub(crate) cause: Cause,
    /// Where the pages are, without a slash at its end.
    pub(crate) public_url: String,
    /// Whether a subscription whose last retry failed becomes `unpaid` instead of `canceled`.
    pub(crate) unpaid: bool,
}

impl World {
    /// With what a journal says.
    pub(crate) fn new(
        outbox: Arc<Outbox>,
        public_url: String,
        journal: Option<(Journal, Vec<Line>)>,
    ) -> std::io::Result<Self> {
        let mut world = Self {
            objects: HashMap::new(),
            kinds: HashMap::new(),
            made: 0,
            due: BTreeSet::new(),
            due_of: HashMap::new(),
            offset: SignedDuration::ZERO,
            journal: None,
            undo: Vec::new(),
            fresh: Vec::new(),
            outbox,
            at: 0,
            cause: Cause::default(),
            public_url,
            unpaid: false,
        };
        let Some((mut journal, lines)) = journal else {
            return Ok(world);
        };
        for line in lines {
            line.put.into_iter().for_each(|object| world.put(object));
            line.del.iter().for_each(|id| world.remove(id));
            if let Some(ms) = line.clock {
                world.offset = SignedDuration::from_millis(ms);
            }
        }
        world.undo.clear();
        journal.compact(&world.all(), world.offset_ms())?;
        world.journal = Some(journal);
        Ok(world)
    }

    fn all(&self) -> Vec<&Value> {
        let mut all: Vec<_> = self.objects.values().collect();
        all.sort_by_key(|kept| kept.number);
        all.into_iter().map(|kept| &*kept.value).collect()
    }

    fn offset_ms(&self) -> i64 {
        i64::try_from(self.offset.as_millis()).unwrap_or_default()
    }

    // ---- time

    /// The stub's time: the real one and what it was advanced by.
    pub(crate) fn now(&self) -> Timestamp {
        real_now().saturating_add(self.offset).unwrap_or(Timestamp::MAX)
    }

    /// Moves the clock forward. What falls due by that is not done yet.
    pub(crate) fn move_clock(&mut self, by: SignedDuration) -> Result<(), ApiError> {
        let offset = self.offset.checked_add(by).filter(|_| !by.is_negative());
        let offset = offset.ok_or_else(|| ApiError::refused("The clock only goes forward."))?;
        if real_now().checked_add(offset).is_err() {
            return Err(ApiError::refused("The clock does not go that far."));
        }
        let before = std::mem::replace(&mut self.offset, offset);
        let line = Line {
            clock: Some(self.offset_ms()),
            ..Line::default()
        };
        self.write(&line).inspect_err(|_| self.offset = before)
    }

    /// Does everything that has fallen due, in the order of time, each thing at its own time.
    pub(crate) fn run_due(&mut self) {
        let mut last = (String::new(), 0);
        let mut times = 0;
        loop {
            let now = self.now().as_second();
            let Some((when, _, id)) = self.due.first().filter(|(when, ..)| *when <= now).cloned() else {
                return;
            };
            times = if last == (id.clone(), when) { times + 1 } else { 0 };
            last = (id.clone(), when);
            self.at = when;
            self.cause = Cause::default();
            let done = billing::fall_due(self, &id).and_then(|()| self.commit());
            let done_nothing = done.is_err();
            if let Err(error) = done {
                self.roll_back();
                error!(%id, message = error.message, "what fell due could not be done");
            }
            // Several things may happen to an object in one second, but not for ever.
            if done_nothing || times > MOST_IN_A_SECOND {
                self.forget_due(&id);
            }
        }
    }

    fn forget_due(&mut self, id: &str) {
        if let Some((when, order)) = self.due_of.remove(id) {
            self.due.remove(&(when, order, id.to_owned()));
        }
    }

    // ---- objects

    /// An object as it is kept.
    pub(crate) fn get(&self, id: &str) -> Option<&Value> {
        self.objects.get(id).map(|kept| &*kept.value)
    }

    /// An object of this kind. `noun` and `param` are for the refusal.
    pub(crate) fn find(&self, kind: &str, id: &str, noun: &str, param: &str) -> Result<Value, ApiError> {
        let found = self.get(id).filter(|object| text(object, "object") == kind);
        let found = found.ok_or_else(|| ApiError::not_found(noun, id, param))?;
        Ok(found.clone())
    }

    /// All objects of a kind, oldest first.
    pub(crate) fn of_kind(&self, kind: &str) -> impl DoubleEndedIterator<Item = &Value> {
        let numbers = self.kinds.get(kind).into_iter().flat_map(BTreeMap::values);
        numbers.filter_map(|id| self.get(id))
    }

    /// Keeps an object, without an event.
    pub(crate) fn put(&mut self, object: Value) {
        let id = text(&object, "id").to_owned();
        let before = self.objects.get(&id).cloned();
        let number = before.as_ref().map_or_else(
            || {
                self.made += 1;
                self.made
            },
            |kept| kept.number,
        );
        self.undo.push((id.clone(), before));
        self.place(
            id,
            Kept {
                number,
                value: Arc::new(object),
            },
        );
    }

    fn place(&mut self, id: String, kept: Kept) {
        self.forget_due(&id);
        if let Some((when, order)) = billing::due(&kept.value) {
            self.due.insert((when, order, id.clone()));
            self.due_of.insert(id.clone(), (when, order));
        }
        let kind = text(&kept.value, "object").to_owned();
        self.kinds.entry(kind).or_default().insert(kept.number, id.clone());
        self.objects.insert(id, kept);
    }

    fn displace(&mut self, id: &str) -> Option<Kept> {
        self.forget_due(id);
        let kept = self.objects.remove(id)?;
        if let Some(kind) = self.kinds.get_mut(text(&kept.value, "object")) {
            kind.remove(&kept.number);
        }
        Some(kept)
    }

    /// Forgets an object, without an event.
    pub(crate) fn remove(&mut self, id: &str) {
        if let Some(kept) = self.displace(id) {
            self.undo.push((id.to_owned(), Some(kept)));
        }
    }

    /// Keeps a new object and tells of it.
    pub(crate) fn create(&mut self, object: &Value, event: &str) {
        self.put(object.clone());
        self.emit(event, object, None);
    }

    /// Keeps a changed object and, if it shows a change, tells of it. Answers whether it does.
    pub(crate) fn change(&mut self, object: Value, event: &str) -> bool {
        let before = self.get(text(&object, "id")).cloned().unwrap_or_default();
        let Some(was) = previous(&shown(before), &shown(object.clone())) else {
            self.put(object);
            return false;
        };
        self.put(object.clone());
        self.emit(event, &object, Some(was));
        true
    }

    /// Makes an event, which is delivered once the change is kept.
    pub(crate) fn emit(&mut self, event: &str, object: &Value, was: Option<Value>) {
        let mut data = json!({ "object": self.shown(object) });
        if let Some(was) = was {
            set(&mut data, "previous_attributes", was);
        }
        let endpoints: Vec<String> = self
            .of_kind("webhook_endpoint")
            .filter(|endpoint| wants(endpoint, event))
            .map(|endpoint| text(endpoint, "id").to_owned())
            .collect();
        let id = random_id("evt_");
        let mut made = json!({
            "id": id, "object": "event", "api_version": API_VERSION, "created": self.at, "livemode": false,
            "pending_webhooks": endpoints.len(), "type": event,
            "request": { "id": self.cause.id, "idempotency_key": self.cause.key },
        });
        // As text it takes a fifth of the memory, and there are more events than anything else.
        set_hidden(&mut made, "data", data.to_string());
        set_hidden(&mut made, "pending", endpoints);
        self.put(made);
        self.fresh.push(id);
    }

    /// An object as it is shown: with prices as they are now and without what only the stub knows.
    pub(crate) fn shown(&self, object: &Value) -> Value {
        if text(object, "object") == "event" {
            return shown_event(object);
        }
        let mut object = shown(object.clone());
        if let Some(list) = crate::json::items_mut(&mut object, "items/data") {
            for item in list {
                if let Some(price) = self.get(text(at(item, "price"), "id")) {
                    set(item, "price", shown(price.clone()));
                }
            }
        }
        object
    }

    // ---- changes as a whole

    /// Writes down what changed and hands its events to the deliveries.
    pub(crate) fn commit(&mut self) -> Result<(), ApiError> {
        let mut line = Line::default();
        let ids: BTreeSet<_> = self.undo.iter().map(|(id, _)| id.clone()).collect();
        let mut put: Vec<_> = Vec::new();
        for id in ids {
            match self.objects.get(&id) {
                Some(kept) => put.push(kept),
                None => line.del.push(id),
            }
        }
        if put.is_empty() && line.del.is_empty() {
            return Ok(());
        }
        if self.journal.is_some() {
            put.sort_by_key(|kept| kept.number);
            line.put = put.into_iter().map(|kept| (*kept.value).clone()).collect();
            self.write(&line)?;
        }
        self.undo.clear();
        for id in std::mem::take(&mut self.fresh) {
            let pending = self.pending(&id);
            self.outbox.push(&id, &pending);
        }
        Ok(())
    }

    /// Which endpoints an event has still to reach.
    pub(crate) fn pending(&self, event: &str) -> Vec<String> {
        let pending = self.get(event).map(|event| hidden(event, "pending"));
        let list = pending.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    fn write(&mut self, line: &Line) -> Result<(), ApiError> {
        let Some(journal) = &mut self.journal else {
            return Ok(());
        };
        journal.write(line).map_err(|error| {
            error!(%error, "the journal cannot be written");
            ApiError::internal()
        })
    }

    /// Takes back what changed since the last commit.
    pub(crate) fn roll_back(&mut self) {
        self.fresh.clear();
        while let Some((id, before)) = self.undo.pop() {
            self.displace(&id);
            if let Some(kept) = before {
                self.place(id, kept);
            }
        }
    }

    /// Forgets everything and sets the clock right.
    pub(crate) fn reset(&mut self) -> Result<(), ApiError> {
        let ids: Vec<_> = self.objects.keys().cloned().collect();
        for id in ids {
            self.remove(&id);
        }
        self.commit()?;
        self.offset = SignedDuration::ZERO;
        self.write(&Line {
            clock: Some(0),
            ..Line::default()
        })
    }
}

/// An event as it is shown.
pub(crate) fn shown_event(event: &Value) -> Value {
    let data: Option<Value> = hidden(event, "data")
        .as_str()
        .and_then(|data| serde_json::from_str(data).ok());
    let mut event = shown(event.clone());
    if let Some(data) = data {
        set(&mut event, "data", data);
    }
    event
}

fn wants(endpoint: &Value, event: &str) -> bool {
    let kinds = crate::json::items(endpoint, "enabled_events");
    text(endpoint, "status") == "enabled" && kinds.iter().any(|kind| kind == "*" || kind == event)
}

/// The real time, which signatures carry whatever the stub's clock says.
#[expect(
    clippy::disallowed_methods,
    reason = "the stub is a program of its own, and this is its clock"
)]
pub(crate) fn real_now() -> Timestamp {
    Timestamp::now()
}
