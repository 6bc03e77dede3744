//! What goes to the model and what comes from it is looked at, where the operator wants it. What is refused is answered
//! all the same, with `finish_reason` `content_filter`; what was found is recorded, never the text.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use anteroom_domain::audit::Actor;
use anteroom_domain::billing::{NanoUsd, Owner};
use anteroom_domain::chat::{
    Consequence, Direction, Finding, Lane, Outcome, Pace, TokenUsage, UsageEvent, Verdict, texts_of,
};
use anteroom_domain::{RequestId, Timestamp};
use anteroom_ports::chat::{ChatChunk, Moderator, ModeratorAway};
use anteroom_ports::{Durability, StoreResult, UnitOfWork};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument as _, error, info, warn};

use super::Chat;
use super::call::Call;
use super::complete_chat::ChatError;
use crate::access::Principal;
use crate::audit::Act;
use crate::{Client, elapsed_ms};

/// Who looks, and what follows.
#[derive(Clone)]
pub struct ModerationOptions {
    /// Who looks; `None`: nobody.
    pub moderator: Option<Arc<dyn Moderator>>,
    /// Whether texts pass while the moderator cannot be asked.
    pub fail_open: bool,
    /// What is answered in place of what was refused.
    pub refusal: String,
    /// The most bytes of a streamed answer's text that are held back until they are judged.
    pub hold_bytes: usize,
    /// How many bytes before them the moderator is shown again.
    pub look_behind_bytes: usize,
}

impl Default for ModerationOptions {
    /// Nobody looks.
    fn default() -> Self {
        Self {
            moderator: None,
            fail_open: false,
            refusal: "This was refused by the rules of this service.".to_owned(),
            hold_bytes: 512,
            look_behind_bytes: 1024,
        }
    }
}

impl std::fmt::Debug for ModerationOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModerationOptions")
            .field("moderator", &self.moderator.as_ref().map(|m| m.name().to_owned()))
            .finish_non_exhaustive()
    }
}

/// What findings are recorded under.
pub(super) struct Found<'a> {
    pub(super) call_id: RequestId,
    pub(super) who: &'a Principal,
    pub(super) client: &'a Client,
    pub(super) model: &'a str,
    pub(super) direction: Direction,
    pub(super) findings: &'a [Finding],
}

/// Held back at most, however little text they bring.
const MAX_HELD: usize = 1024;

impl Chat {
    /// Whoever looks at texts that go this way.
    pub(super) fn moderator(&self, direction: Direction) -> Option<&Arc<dyn Moderator>> {
        let moderator = self.options.moderation.moderator.as_ref();
        moderator.filter(|moderator| moderator.looks_at(direction))
    }

    /// Has a text looked at.
    pub(super) async fn look(&self, direction: Direction, text: &str) -> Result<Verdict, ChatError> {
        let Some(moderator) = self.moderator(direction) else {
            return Ok(Verdict::default());
        };
        // Not on the worker that the call runs on: a pattern may take long, and a connection to a moderator is shared.
        let (judge, text) = (Arc::clone(moderator), text.to_owned());
        let judging = async move { judge.judge(direction, &text).await }.in_current_span();
        let judged = AbortOnDropHandle::new(self.runtime.spawn(judging)).await;
        match judged.unwrap_or_else(|e| Err(ModeratorAway { detail: e.to_string() })) {
            Ok(verdict) => Ok(verdict),
            Err(away) => {
                let passed = self.options.moderation.fail_open;
                metrics::counter!("anteroom_chat_moderation_failures_total", "moderator" => moderator.name().to_owned())
                    .increment(1);
                warn!(event = "chat.moderation.failed", moderator = moderator.name(), direction = direction.as_str(), passed, reason = %away);
                if passed {
                    Ok(Verdict::default())
                } else {
                    Err(ChatError::ModeratorAway)
                }
            }
        }
    }

    /// Records findings within the unit of work. Say that they were with [`Self::tell_findings`] once it is committed.
    pub(super) async fn record_findings(&self, unit: &mut dyn UnitOfWork, found: &Found<'_>) -> StoreResult<()> {
        let moderator = self.moderator(found.direction).map(|m| m.name().to_owned());
        for finding in found.findings {
            let name = match finding.consequence {
                Consequence::Refuse => "chat.moderation.refused",
                Consequence::Flag => "chat.moderation.flagged",
            };
            let user = found.who.user().id;
            let act = Act::succeeded(name, Actor::User(user), found.client)
                .subject(user)
                .session(found.who.used_with().session())
                .detail("moderator", moderator.clone())
                .detail("rule", finding.rule.clone())
                .detail("direction", found.direction.as_str())
                .detail("call_id", found.call_id.to_string());
            self.audit.record(unit, act).await?;
        }
        Ok(())
    }

    /// Logs and counts findings.
    pub(super) fn tell_findings(&self, found: &Found<'_>) {
        let moderator = self
            .moderator(found.direction)
            .map(|m| m.name().to_owned())
            .unwrap_or_default();
        let direction = found.direction.as_str();
        for Finding { rule, consequence } in found.findings {
            let (call_id, model) = (found.call_id, found.model);
            let consequence = match consequence {
                Consequence::Refuse => {
                    info!(event = "chat.moderation.refused", %call_id, model, moderator, direction, rule);
                    "refused"
                }
                Consequence::Flag => {
                    info!(event = "chat.moderation.flagged", %call_id, model, moderator, direction, rule);
                    "flagged"
                }
            };
            metrics::counter!("anteroom_chat_moderation_findings_total", "moderator" => moderator.clone(), "direction" => direction, "consequence" => consequence)
                .increment(1);
        }
    }

    /// Records findings by themselves. That they cannot be recorded does not change what follows from them.
    pub(super) async fn note_findings(&self, found: &Found<'_>) {
        if found.findings.is_empty() {
            return;
        }
        let noted = async {
            let mut unit = self.store.begin(Durability::Full).await?;
            self.record_findings(&mut *unit, found).await?;
            unit.commit().await
        };
        if let Err(e) = noted.await {
            error!(event = "chat.moderation.not_recorded", call_id = %found.call_id, reason = %e);
        }
        self.tell_findings(found);
    }

    /// The usage row of a call that was refused before anything was asked: it used nothing, cost nothing and counts
    /// against no limit.
    pub(super) fn refused_event(&self, found: &Found<'_>, plan: &str, begun: Instant) -> UsageEvent {
        UsageEvent {
            request_id: found.call_id,
            owner: Owner::account(found.who.user().id),
            used_with: found.who.used_with(),
            model: found.model.to_owned(),
            plan: plan.to_owned(),
            served_by: None,
            usage: TokenUsage::default(),
            exact: true,
            cost: Some(NanoUsd(0)),
            first_token_ms: None,
            total_ms: elapsed_ms(begun),
            outcome: Outcome::Filtered,
            created_at: self.clock.now(),
        }
    }
}

/// The text of a whole answer, all choices and whatever else they say.
pub(super) fn answers_text(body: &[u8], first: &str) -> String {
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        return first.to_owned();
    };
    let mut texts = Vec::new();
    for choice in answer["choices"].as_array().into_iter().flatten() {
        texts_of(&choice["message"], &mut |_, text| texts.push(text.to_owned()));
    }
    texts.join("\n")
}

/// A whole answer with the refusal in place of what it said; what it used stays.
pub(super) fn refused_body(body: &[u8], head: &Head, refusal: &str) -> Bytes {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let choices = answer["choices"].as_array().map_or(1, Vec::len).max(1);
    let mut refused = head.whole(refusal, choices);
    for name in ["id", "created", "model", "usage"] {
        if let Some(value) = answer.get(name).filter(|value| !value.is_null()) {
            refused[name] = value.clone();
        }
    }
    Bytes::from(refused.to_string())
}

/// What the parts of an answer that Anteroom writes itself have in common.
#[derive(Debug, Clone)]
pub(super) struct Head {
    id: String,
    created: i64,
    model: String,
}

impl Head {
    pub(super) fn new(call_id: RequestId, now: Timestamp, model: &str) -> Self {
        Self {
            id: format!("chatcmpl-{}", call_id.0.simple()),
            created: now.as_second(),
            model: model.to_owned(),
        }
    }

    /// As the provider began.
    fn follow(&mut self, chunk: &Value) {
        if let Some(id) = chunk["id"].as_str() {
            id.clone_into(&mut self.id);
        }
        if let Some(model) = chunk["model"].as_str() {
            model.clone_into(&mut self.model);
        }
        if let Some(created) = chunk["created"].as_i64() {
            self.created = created;
        }
    }

    /// A whole answer that refuses.
    pub(super) fn whole(&self, refusal: &str, choices: usize) -> Value {
        let choice = |index| {
            json!({
                "index": index,
                "message": { "role": "assistant", "content": refusal, "refusal": null },
                "logprobs": null,
                "finish_reason": "content_filter",
            })
        };
        json!({
            "id": self.id, "object": "chat.completion", "created": self.created, "model": self.model,
            "choices": (0..choices).map(choice).collect::<Vec<_>>(),
            "usage": usage(TokenUsage::default()),
        })
    }

    fn chunk(&self, choices: &Value) -> Value {
        json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
            "choices": choices,
        })
    }

    /// The chunks that end a stream which was refused: what is answered instead, where nothing was said yet, and the
    /// reason for the end.
    pub(super) fn closing(
        &self,
        choices: impl IntoIterator<Item = u64>,
        refusal: Option<&str>,
        used: Option<TokenUsage>,
    ) -> Vec<Bytes> {
        let mut chunks = Vec::new();
        for index in choices {
            if let Some(refusal) = refusal {
                let delta = json!({ "role": "assistant", "content": refusal });
                let said = json!([{ "index": index, "delta": delta, "logprobs": null, "finish_reason": null }]);
                chunks.push(self.chunk(&said));
            }
            let end = json!([{ "index": index, "delta": {}, "logprobs": null, "finish_reason": "content_filter" }]);
            chunks.push(self.chunk(&end));
        }
        if let Some(used) = used {
            let mut last = self.chunk(&json!([]));
            last["usage"] = usage(used);
            chunks.push(last);
        }
        chunks.into_iter().map(|chunk| Bytes::from(chunk.to_string())).collect()
    }
}

fn usage(usage: TokenUsage) -> Value {
    json!({
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens.saturating_add(usage.completion_tokens),
    })
}

/// Which text of a stream a piece belongs to: the choice, and where in it.
type LaneKey = (u64, String);

struct Held {
    chunk: ChatChunk,
    /// Where the texts that it adds to end with it.
    ends: Vec<(LaneKey, usize)>,
}

/// What comes through the gate.
pub(super) enum Through {
    /// These chunks, perhaps none.
    Chunks(Vec<ChatChunk>),
    /// Nothing any more: what is held was refused.
    Refused,
}

/// Holds the chunks of a streamed answer back until what they say has been judged.
pub(super) struct Gate {
    lanes: BTreeMap<LaneKey, Lane>,
    held: VecDeque<Held>,
    /// Everything that was found, each once.
    pub(super) findings: Vec<Finding>,
    head: Head,
    choices: BTreeSet<u64>,
    /// Whether any text has gone through.
    said: bool,
    gone: CancellationToken,
}

impl Gate {
    /// One for a call's answer, if anybody looks at answers.
    pub(super) fn of(chat: &Chat, call: &Call, gone: &CancellationToken) -> Option<Self> {
        chat.moderator(Direction::Output)?;
        Some(Self {
            lanes: BTreeMap::new(),
            held: VecDeque::new(),
            findings: Vec::new(),
            head: Head::new(call.request_id, chat.clock.now(), &call.model),
            choices: BTreeSet::new(),
            said: false,
            gone: gone.clone(),
        })
    }

    /// Takes a chunk in and answers what may go.
    pub(super) async fn push(&mut self, chat: &Arc<Chat>, call: &Call, chunk: ChatChunk) -> Result<Through, ChatError> {
        let pace = chat.moderator(Direction::Output).map_or(Pace::Words, |m| m.pace());
        let hold = chat.options.moderation.hold_bytes;
        let mut ends: Vec<(LaneKey, usize)> = Vec::new();
        // Texts that are over, since another has begun or their choice has ended.
        let mut over: Vec<LaneKey> = Vec::new();
        match serde_json::from_slice::<Value>(&chunk.data) {
            Ok(value) => {
                if self.choices.is_empty() {
                    self.head.follow(&value);
                }
                for choice in value["choices"].as_array().into_iter().flatten() {
                    self.take_in(choice, &mut ends, &mut over);
                }
            }
            Err(_) => self.add(0, String::new(), &chunk.text, &mut ends),
        }
        self.held.push_back(Held {
            chunk,
            ends: ends.clone(),
        });
        let crowded = self.held.len() > MAX_HELD;
        if crowded {
            over.extend(self.lanes.keys().cloned());
        }
        for key in over {
            if self.judge(chat, call, &key, None).await? {
                return Ok(Through::Refused);
            }
        }
        for (key, _) in ends {
            let due = self.lanes.get(&key).map_or(0, |lane| lane.due(pace, hold));
            if due > 0 && self.judge(chat, call, &key, Some(due)).await? {
                return Ok(Through::Refused);
            }
        }
        Ok(Through::Chunks(self.released()))
    }

    /// The answer is over: judges what is left of it.
    pub(super) async fn finish(&mut self, chat: &Arc<Chat>, call: &Call) -> Result<Through, ChatError> {
        let keys: Vec<LaneKey> = self.lanes.keys().cloned().collect();
        for key in keys {
            if self.judge(chat, call, &key, None).await? {
                return Ok(Through::Refused);
            }
        }
        Ok(Through::Chunks(self.released()))
    }

    /// The chunks that end the stream after a refusal.
    pub(super) fn closing(&self, refusal: &str, used: Option<TokenUsage>) -> Vec<Bytes> {
        let choices = if self.choices.is_empty() {
            BTreeSet::from([0])
        } else {
            self.choices.clone()
        };
        self.head.closing(choices, (!self.said).then_some(refusal), used)
    }

    fn take_in(&mut self, choice: &Value, ends: &mut Vec<(LaneKey, usize)>, over: &mut Vec<LaneKey>) {
        let index = choice["index"].as_u64().unwrap_or(0);
        self.choices.insert(index);
        let mut pieces: Vec<(String, String)> = Vec::new();
        texts_of(&choice["delta"], &mut |place, text| {
            pieces.push((place.to_owned(), text.to_owned()));
        });
        pieces.retain(|(_, text)| !text.is_empty());
        let ended = choice["finish_reason"].is_string();
        let others = self.lanes.keys().filter(|(of, place)| {
            *of == index && (ended || !pieces.is_empty() && !pieces.iter().any(|(here, _)| here == place))
        });
        over.extend(others.cloned());
        for (place, text) in pieces {
            if ended {
                over.push((index, place.clone()));
            }
            self.add(index, place, &text, ends);
        }
    }

    fn add(&mut self, choice: u64, place: String, text: &str, ends: &mut Vec<(LaneKey, usize)>) {
        let key = (choice, place);
        let lane = self.lanes.entry(key.clone()).or_default();
        lane.push(text);
        ends.push((key, lane.end()));
    }

    /// Has so much of a text judged, or all of it; whether it is refused.
    async fn judge(
        &mut self,
        chat: &Arc<Chat>,
        call: &Call,
        key: &LaneKey,
        due: Option<usize>,
    ) -> Result<bool, ChatError> {
        let Some(lane) = self.lanes.get(key) else {
            return Ok(false);
        };
        let due = due.unwrap_or(lane.end() - lane.judged());
        if due == 0 {
            return Ok(false);
        }
        let view = lane.view(due);
        let quick = chat
            .moderator(Direction::Output)
            .is_none_or(|m| m.pace() == Pace::Words);
        let look = chat.look(Direction::Output, &view);
        // What is asked over a network may take long; nobody waits for it who has gone.
        let verdict = if quick {
            look.await?
        } else {
            chat.while_wanted(call, &self.gone, look).await?
        };
        let refused = verdict.refusal().is_some();
        for finding in verdict.findings {
            if !self.findings.contains(&finding) {
                self.findings.push(finding);
            }
        }
        if !refused && let Some(lane) = self.lanes.get_mut(key) {
            lane.pass(due, chat.options.moderation.look_behind_bytes);
        }
        Ok(refused)
    }

    fn released(&mut self) -> Vec<ChatChunk> {
        let mut chunks = Vec::new();
        while let Some(first) = self.held.front() {
            let judged = |(key, end): &(LaneKey, usize)| self.lanes.get(key).is_none_or(|lane| lane.judged() >= *end);
            if !first.ends.iter().all(judged) {
                break;
            }
            self.said |= !first.ends.is_empty();
            chunks.extend(self.held.pop_front().map(|held| held.chunk));
        }
        chunks
    }
}
