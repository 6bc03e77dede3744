//! Surfaces beside OpenAI's chat completions. Each is a pure translation into a chat completion and of its answer back:
//! the relay, the quota and the booking know only the one dialect. What cannot be said in it is dropped and named in a
//! header of the answer, or refused with the parameter's name; each surface has a table that says which.

pub(crate) mod anthropic;
mod canonical;
mod reader;
pub(crate) mod responses;
pub(crate) mod text;

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_domain::billing::Operation;
use anteroom_domain::chat::{Original, RawObject};
use anteroom_services::chat::{ChatAnswer, Relayed};
use bytes::{Bytes, BytesMut};
use serde::Serialize;
use tracing::warn;

use super::dropped::Dropped;
use super::rates::announce;
use super::{manner, marked};
use crate::caller::{Known, request_id};
use crate::problem::Problem;
use crate::{Api, sse};
pub(crate) use reader::Refusal;

/// What becomes of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is said in the chat completion, or in the answer.
    Mapped,
    /// A provider that speaks the surface's own dialect is told it. Elsewhere it is left out, and named.
    Native,
    /// It is left out, and named in the answer's header.
    Dropped,
    /// The request is refused, and told why.
    Refused(&'static str),
}

/// What becomes of each parameter of a surface. One that is not in it is dropped.
pub(crate) type Table = [(&'static str, Fate)];

/// What of a request is not said in the chat completion.
#[derive(Debug, Default)]
struct Unsaid {
    /// Nobody is told.
    dropped: Dropped,
    /// Only a provider that speaks the surface's own dialect is told.
    lost: Dropped,
}

/// Goes through the parameters of a request: what is refused ends it, what is dropped is noted.
fn sort(request: &RawObject, table: &Table) -> Result<Unsaid, Refusal> {
    let mut unsaid = Unsaid::default();
    for key in request.keys() {
        if request.get(key).is_some_and(|raw| raw.get() == "null") {
            continue;
        }
        match table.iter().find(|(name, _)| *name == key) {
            Some((_, Fate::Mapped)) => {}
            Some((_, Fate::Refused(why))) => return Err(Refusal::unsupported(key, *why)),
            Some((_, Fate::Native)) => unsaid.lost.note(key),
            Some((_, Fate::Dropped)) | None => unsaid.dropped.note(key),
        }
    }
    Ok(unsaid)
}

/// A request, said as a chat completion.
#[derive(Debug, Default)]
pub(crate) struct Call {
    body: RawObject,
    /// What nobody is told.
    pub(crate) dropped: Dropped,
    /// What was said, for a provider that speaks the surface's own dialect.
    original: Option<Original>,
}

impl Call {
    fn new(dropped: Dropped) -> Self {
        Self {
            dropped,
            ..Self::default()
        }
    }

    fn set<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) {
        let set = self.body.set(key, value);
        debug_assert!(set.is_ok(), "texts, numbers and raw values always serialise");
    }

    /// The chat completion's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.body.to_vec()
    }
}

/// Says an answer in another dialect. A stream's translation keeps what it has to remember from chunk to chunk.
pub(crate) trait Dialect {
    /// A whole answer's body; `None` if what the provider sent is no chat completion.
    fn whole(&mut self, answer: &[u8]) -> Option<Vec<u8>>;

    /// A chunk's events; `None` if what the provider sent is no chunk.
    fn chunk(&mut self, chunk: &[u8], out: &mut BytesMut) -> Option<()>;

    /// The events that end a whole stream.
    fn done(&mut self, out: &mut BytesMut);

    /// The events that end a stream that broke off.
    fn failed(&mut self, problem: &Problem, out: &mut BytesMut);
}

/// What the answer to a request is put together with, beside the provider's.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    /// The request's id, which the answer's own are made of.
    pub(crate) id: String,
    /// Unix seconds.
    pub(crate) created: i64,
}

impl Stamp {
    /// Of a request.
    pub(crate) fn of(request: &HttpRequest, api: &Api) -> Self {
        Self {
            id: request_id(request),
            created: api.ops.now().as_second(),
        }
    }

    /// An id as the surface writes them: a prefix, and the request's without its hyphens.
    fn id(&self, prefix: &str) -> String {
        format!("{prefix}_{}", self.id.replace('-', ""))
    }
}

/// What the provider sent cannot be read. The log is told so, but not what it was: that may be what somebody said.
fn unreadable(what: &'static str) -> Problem {
    let problem = Problem::new(
        StatusCode::BAD_GATEWAY,
        "upstream_error",
        "the model provider's answer is no chat completion",
    );
    warn!(
        event = "chat.answer.unreadable",
        code = problem.code(),
        "what the provider sent is {what}"
    );
    problem
}

/// Makes the call, which is this one of the relay's operations, and answers in the caller's dialect.
pub(crate) async fn relay(
    caller: Known,
    api: &web::Data<Api>,
    request: &HttpRequest,
    operation: Operation,
    call: Call,
    mut dialect: impl Dialect + 'static,
) -> Result<HttpResponse, Problem> {
    let manner = manner(request, operation);
    let (gone, watch) = api.watchers.watch(request);
    let (chat, who) = (Arc::clone(&api.chat), caller.who);
    let body = call.bytes();
    let original = call.original;
    let answer = api
        .run_call(body.len(), async move {
            chat.complete_chat_as(&who, &body, original, gone, manner).await
        })
        .await?;
    let (answer, theirs, rates) = match answer {
        ChatAnswer::Whole {
            body,
            dropped,
            rates,
            cache,
        } => {
            let read = dialect.whole(&body);
            let body = read.ok_or_else(|| unreadable("no chat completion"))?;
            let answer = HttpResponse::Ok().content_type("application/json").body(body);
            (marked(answer, cache), dropped, rates)
        }
        ChatAnswer::Stream {
            events,
            dropped,
            rates,
            cache,
        } => {
            let render = move |item| frames(&mut dialect, item);
            let answer = sse::translated(events, watch, api.options.heartbeat, render);
            (marked(answer, cache), dropped, rates)
        }
    };
    // What could not be said to the relay, and what the relay's provider could not be told.
    let answer = call.dropped.name_in(answer, &theirs);
    Ok(announce(answer, request, api, rates))
}

/// The events of one thing that the relay brings, and whether more may follow.
fn frames(dialect: &mut impl Dialect, item: Relayed) -> sse::Frames {
    let mut out = BytesMut::new();
    let problem = match item {
        Relayed::Chunk(data) if dialect.chunk(&data, &mut out).is_some() => return sse::Frames::more(out.freeze()),
        Relayed::Chunk(_) => unreadable("no chunk of a chat completion"),
        Relayed::Done => {
            dialect.done(&mut out);
            return sse::Frames::last(out.freeze());
        }
        Relayed::Failed(error) => (*error).into(),
    };
    dialect.failed(&problem, &mut out);
    sse::Frames::last(out.freeze())
}

/// One event with its name, put behind the others.
fn push<T: Serialize>(out: &mut BytesMut, name: &str, payload: &T) {
    let frame: Bytes = sse::event(name, payload);
    out.extend_from_slice(&frame);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// The stamp of all answers that tests put together.
    pub(crate) fn stamp() -> Stamp {
        Stamp {
            id: "01890000-0000-7000-8000-000000000000".to_owned(),
            created: 1_700_000_000,
        }
    }

    /// An answer of the provider's: whole, and as the chunks of a stream that says the same.
    #[derive(Debug, Clone)]
    pub(crate) struct Said {
        pub(crate) whole: Value,
        pub(crate) chunks: Vec<Value>,
    }

    fn pieces(text: &str, cuts: &[usize]) -> Vec<String> {
        let letters: Vec<char> = text.chars().collect();
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (letters.len() + 1)).collect();
        ends.push(letters.len());
        ends.sort_unstable();
        let mut from = 0;
        let mut pieces = Vec::new();
        for end in ends {
            pieces.push(letters[from..end].iter().collect());
            from = end;
        }
        pieces
    }

    fn chunk(delta: &Value, finish: Option<&str>) -> Value {
        json!({ "id": "c", "object": "chat.completion.chunk", "model": "m-1", "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] })
    }

    /// Any answer, cut anywhere. The pieces of its calls may come in turn, and their names and ids late.
    pub(crate) fn any_answer() -> impl Strategy<Value = Said> {
        let text = "(\\PC|[ \n]){0,40}";
        let call = (
            "[a-z_]{1,12}",
            prop::collection::btree_map("[a-z]{1,5}", "\\PC{0,8}", 0..3),
        );
        let calls = prop::collection::vec(call, 0..4);
        let cuts = prop::collection::vec(0usize..64, 0..6);
        let finish = prop::sample::select(vec!["stop", "length", "content_filter", "eos"]);
        let usage = (0i64..9999, 0i64..9999, 0i64..9999);
        let order = (any::<bool>(), any::<bool>());
        (text, calls, cuts, finish, usage, order).prop_map(|(text, calls, cuts, finish, usage, (in_turn, late))| {
            let (prompt, completion, cached) = usage;
            let finish = if calls.is_empty() { finish } else { "tool_calls" };
            let usage = json!({
                "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
                "prompt_tokens_details": { "cached_tokens": cached.min(prompt) },
            });
            let mut chunks = vec![chunk(&json!({ "role": "assistant", "content": "" }), None)];
            for piece in pieces(&text, &cuts) {
                chunks.push(chunk(&json!({ "content": piece }), None));
            }
            let mut tool_calls = Vec::new();
            let mut of_calls: Vec<Vec<Value>> = Vec::new();
            for (number, (name, arguments)) in calls.iter().enumerate() {
                let (id, arguments) = (format!("call_{number}"), json!(arguments).to_string());
                let first = json!({ "index": number, "id": id, "type": "function", "function": { "name": name, "arguments": "" } });
                let more = |piece: &String| json!({ "index": number, "function": { "arguments": piece } });
                let mut all: Vec<Value> = pieces(&arguments, &cuts).iter().map(more).collect();
                all.insert(usize::from(late), first);
                of_calls.push(all);
                tool_calls.push(json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } }));
            }
            let rounds = of_calls.iter().map(Vec::len).max().unwrap_or(0);
            let in_order: Vec<&Value> = if in_turn {
                let round = |n: usize| of_calls.iter().filter_map(move |all| all.get(n));
                (0..rounds).flat_map(round).collect()
            } else {
                of_calls.iter().flatten().collect()
            };
            chunks.extend(in_order.into_iter().map(|piece| chunk(&json!({ "tool_calls": [piece] }), None)));
            chunks.push(chunk(&json!({}), Some(finish)));
            chunks.push(json!({ "model": "m-1", "choices": [], "usage": usage }));
            let mut message = json!({ "role": "assistant", "content": text });
            if !tool_calls.is_empty() {
                message["tool_calls"] = json!(tool_calls);
            }
            let whole = json!({
                "id": "c", "model": "m-1", "usage": usage,
                "choices": [{ "index": 0, "message": message, "finish_reason": finish }],
            });
            Said { whole, chunks }
        })
    }

    /// What a dialect makes of chunks: the events with their names.
    pub(crate) fn stream(dialect: &mut impl Dialect, chunks: &[Value], end: Option<&Problem>) -> Vec<(String, Value)> {
        let mut out = BytesMut::new();
        for chunk in chunks {
            dialect.chunk(chunk.to_string().as_bytes(), &mut out).unwrap();
        }
        match end {
            Some(problem) => dialect.failed(problem, &mut out),
            None => dialect.done(&mut out),
        }
        let text = String::from_utf8(out.to_vec()).unwrap();
        let event = |frame: &str| {
            let (name, data) = frame.split_once('\n').unwrap();
            let name = name.strip_prefix("event: ").unwrap().to_owned();
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(data["type"], name.as_str(), "the name stands in the data as well");
            (name, data)
        };
        text.split("\n\n")
            .filter(|frame| !frame.is_empty())
            .map(event)
            .collect()
    }

    #[test]
    fn each_parameter_has_its_fate() {
        const TABLE: &Table = &[
            ("model", Fate::Mapped),
            ("top_k", Fate::Dropped),
            ("container", Fate::Refused("there are none here")),
        ];
        let of = |text: &str| sort(&RawObject::parse(text.as_bytes()).unwrap(), TABLE).map(|unsaid| unsaid.dropped);
        assert_eq!(of(r#"{"model":1}"#).unwrap().header(), None);
        assert_eq!(
            of(r#"{"top_k":1,"model":1,"x_new":{}}"#).unwrap().header().as_deref(),
            Some("top_k, x_new")
        );
        let refused = of(r#"{"container":"c"}"#).unwrap_err();
        assert_eq!(
            (refused.code, refused.param.as_deref()),
            ("unsupported_parameter", Some("container"))
        );
        assert_eq!(
            of(r#"{"container":null,"top_k":null}"#).unwrap().header(),
            None,
            "null is absent"
        );
    }

    #[test]
    fn the_documentation_knows_every_parameter() {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/API.md")).unwrap();
        for (title, table) in [
            ("### Anthropic's Messages", anthropic::PARAMETERS),
            ("### OpenAI's Responses", responses::PARAMETERS),
            ("### OpenAI's older completions", text::PARAMETERS),
        ] {
            let section = text.split(title).nth(1).unwrap().split("\n##").next().unwrap();
            let documented = |fate: &str| -> Vec<&str> {
                let list = section.split(&format!("\n- {fate}: ")).nth(1).unwrap();
                let end = list.find("\n-").into_iter().chain(list.find("\n\n")).min().unwrap();
                list[..end].split('`').skip(1).step_by(2).collect()
            };
            let of = |wanted: fn(&Fate) -> bool| -> Vec<&str> {
                table
                    .iter()
                    .filter(|(_, fate)| wanted(fate))
                    .map(|(name, _)| *name)
                    .collect()
            };
            assert_eq!(documented("mapped"), of(|fate| *fate == Fate::Mapped), "{title}");
            assert_eq!(documented("dropped"), of(|fate| *fate == Fate::Dropped), "{title}");
            if section.contains("\n- native: ") {
                assert_eq!(documented("native"), of(|fate| *fate == Fate::Native), "{title}");
            } else {
                assert!(of(|fate| *fate == Fate::Native).is_empty(), "{title}");
            }
            assert_eq!(
                documented("refused"),
                of(|fate| matches!(fate, Fate::Refused(_))),
                "{title}"
            );
        }
    }
}
