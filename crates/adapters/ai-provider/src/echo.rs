//! A model that repeats what it is told: for trying Anteroom out without a provider, for demonstrations and tests.
//!
//! It answers with the text of the last user message, word by word if streamed, in OpenAI's shapes. A token is a word
//! here: the prompt's are the words of all messages, the completion's those it repeats, once per choice.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};

use anteroom_domain::chat::TokenUsage;
use anteroom_ports::chat::{ChatCall, ChatChunk, ChatEvent, ChatReply, ChatStream, OfferedModel, ProviderError};
use anteroom_ports::{ChatModel, Clock};

use crate::shared::failure::bad_request;

mod vectors;

/// The one model it offers.
const MODEL: &str = "echo";

/// Choices beyond this are refused, as they multiply the answer.
const MAX_CHOICES: usize = 128;

/// A provider with the single model `echo`.
pub struct Echo {
    clock: Arc<dyn Clock>,
    delay: Duration,
}

impl std::fmt::Debug for Echo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Echo")
            .field("delay", &self.delay)
            .finish_non_exhaustive()
    }
}

impl Echo {
    /// Answers at once; the clock gives answers their `created`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            delay: Duration::ZERO,
        }
    }

    /// Takes this long for every word, as a model would.
    #[must_use]
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    fn answer(&self, call: &ChatCall) -> Result<Answer, ProviderError> {
        let request = Request::parse(&call.body)?;
        let said = request.last_user_text()?;
        let all = words(&said).count();
        let kept = request.max_tokens.map_or(all, |max| all.min(max));
        let text: String = words(&said).take(kept).collect();
        let completion_tokens = kept * request.choices;
        Ok(Answer {
            id: format!("chatcmpl-{}", call.request_id.0.simple()),
            created: self.clock.now().as_second(),
            text,
            words: kept,
            finish_reason: if kept < all { "length" } else { "stop" },
            choices: request.choices,
            include_usage: request.include_usage,
            usage: TokenUsage {
                prompt_tokens: count(request.prompt_words()),
                completion_tokens: count(completion_tokens),
                ..TokenUsage::default()
            },
        })
    }
}

#[async_trait]
impl ChatModel for Echo {
    fn name(&self) -> &'static str {
        MODEL
    }

    async fn models(&self) -> Result<Vec<OfferedModel>, ProviderError> {
        Ok(vec![OfferedModel {
            id: MODEL.to_owned(),
            owned_by: "anteroom".to_owned(),
            created: 0,
        }])
    }

    async fn complete(&self, call: ChatCall) -> Result<ChatReply, ProviderError> {
        let answer = self.answer(&call)?;
        let words = u32::try_from(answer.words).unwrap_or(u32::MAX);
        pause(self.delay.saturating_mul(words)).await;
        let dropped = call.lost();
        Ok(ChatReply {
            dropped,
            ..answer.whole()
        })
    }

    async fn stream(&self, call: ChatCall) -> Result<ChatStream, ProviderError> {
        let answer = self.answer(&call)?;
        let delay = self.delay;
        // Made one by one as they are asked for: a slow reader holds one chunk, not the answer.
        let events = Box::pin(stream::unfold(
            (answer, 0, 0),
            move |(answer, number, begin)| async move {
                let word = answer.word(number, begin);
                let event = answer.event(number, word)?;
                if !word.is_empty() {
                    pause(delay).await;
                }
                let last_choice = (number + 1) % answer.choices == 0;
                let begin = if last_choice { begin + word.len() } else { begin };
                Some((Ok(event), (answer, number + 1, begin)))
            },
        ));
        let dropped = call.lost();
        Ok(ChatStream { events, dropped })
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// What will be said.
struct Answer {
    id: String,
    created: i64,
    text: String,
    words: usize,
    finish_reason: &'static str,
    choices: usize,
    include_usage: bool,
    usage: TokenUsage,
}

impl Answer {
    fn whole(self) -> ChatReply {
        let choice = |index| {
            json!({
                "index": index,
                "message": { "role": "assistant", "content": self.text, "refusal": null },
                "logprobs": null,
                "finish_reason": self.finish_reason,
            })
        };
        let body = json!({
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": MODEL,
            "choices": (0..self.choices).map(choice).collect::<Vec<_>>(),
            "usage": self.usage_object(),
        });
        ChatReply {
            body: Bytes::from(body.to_string()),
            text: self.text,
            usage: Some(self.usage),
            dropped: Vec::new(),
        }
    }

    /// The word of a stream's event: the one that begins there, or nothing where the event has none.
    fn word(&self, number: usize, begin: usize) -> &str {
        if !(1..=self.words).contains(&(number / self.choices)) {
            return "";
        }
        words(&self.text[begin..]).next().unwrap_or_default()
    }

    /// The events of a stream by number: for each choice its role, then its words and its end in turn; then the
    /// usage, if it was asked for, and the mark.
    fn event(&self, number: usize, word: &str) -> Option<ChatEvent> {
        let (round, choice) = (number / self.choices, number % self.choices);
        let rounds = self.words + 2;
        if round < rounds {
            let delta = match round {
                0 => json!({ "role": "assistant", "content": "" }),
                _ if round + 1 == rounds => json!({}),
                _ => json!({ "content": word }),
            };
            let finish_reason = (round + 1 == rounds).then_some(self.finish_reason);
            let choices =
                json!([{ "index": choice, "delta": delta, "logprobs": null, "finish_reason": finish_reason }]);
            return Some(ChatEvent::Chunk(ChatChunk {
                data: self.chunk(&choices, &Value::Null),
                text: if choice == 0 { word.to_owned() } else { String::new() },
                output_bytes: word.len(),
                ..ChatChunk::default()
            }));
        }
        match (number - rounds * self.choices, self.include_usage) {
            (0, true) => Some(ChatEvent::Chunk(ChatChunk {
                data: self.chunk(&json!([]), &self.usage_object()),
                usage: Some(self.usage),
                usage_only: true,
                ..ChatChunk::default()
            })),
            (0, false) | (1, true) => Some(ChatEvent::Done),
            _ => None,
        }
    }

    fn chunk(&self, choices: &Value, usage: &Value) -> Bytes {
        let mut chunk = json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": MODEL,
            "choices": choices,
        });
        if self.include_usage {
            // As OpenAI does: null on every chunk but the last.
            chunk["usage"] = usage.clone();
        }
        Bytes::from(chunk.to_string())
    }

    fn usage_object(&self) -> Value {
        json!({
            "prompt_tokens": self.usage.prompt_tokens,
            "completion_tokens": self.usage.completion_tokens,
            "total_tokens": self.usage.prompt_tokens + self.usage.completion_tokens,
            "prompt_tokens_details": { "cached_tokens": 0 },
            "completion_tokens_details": { "reasoning_tokens": 0 },
        })
    }
}

/// What it reads of a request; the rest has no meaning to it.
struct Request {
    messages: Vec<Message>,
    max_tokens: Option<usize>,
    choices: usize,
    include_usage: bool,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    role: String,
    #[serde(default)]
    content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
}

impl Content {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Parts(parts) => parts.iter().map(|part| part.text.as_str()).collect(),
        }
    }
}

impl Request {
    fn parse(body: &[u8]) -> Result<Self, ProviderError> {
        #[derive(Deserialize)]
        struct Wire {
            messages: Option<Vec<Value>>,
            max_tokens: Option<usize>,
            max_completion_tokens: Option<usize>,
            n: Option<usize>,
            stream_options: Option<StreamOptions>,
        }
        #[derive(Deserialize)]
        struct StreamOptions {
            include_usage: Option<bool>,
        }
        let wire: Wire = serde_json::from_slice(body)
            .map_err(|_| bad_request(None, "the body is not a chat completion request".to_owned()))?;
        let choices = wire.n.unwrap_or(1);
        if !(1..=MAX_CHOICES).contains(&choices) {
            return Err(bad_request(Some("n"), format!("`n` must be 1 to {MAX_CHOICES}")));
        }
        let read = |(number, message)| {
            let param = format!("messages[{number}]");
            let fault = |_| {
                bad_request(
                    Some(&param),
                    "`content` must be a text or a list of text parts".to_owned(),
                )
            };
            serde_json::from_value(message).map_err(fault)
        };
        let messages = wire.messages.unwrap_or_default();
        Ok(Self {
            messages: messages.into_iter().enumerate().map(read).collect::<Result<_, _>>()?,
            max_tokens: wire.max_completion_tokens.or(wire.max_tokens),
            choices,
            include_usage: wire.stream_options.and_then(|o| o.include_usage).unwrap_or(false),
        })
    }

    fn last_user_text(&self) -> Result<String, ProviderError> {
        let last = self.messages.iter().rfind(|message| message.role == "user");
        let content = last.and_then(|message| message.content.as_ref());
        content.map(Content::text).ok_or_else(|| {
            bad_request(
                Some("messages"),
                "no message of a user has `content` to repeat".to_owned(),
            )
        })
    }

    fn prompt_words(&self) -> usize {
        let contents = self.messages.iter().filter_map(|message| message.content.as_ref());
        contents.map(|content| words(&content.text()).count()).sum()
    }
}

/// Cuts a text into words, each with the space after it (the first with that before it as well), so that together
/// they are the text again. Space alone is one word.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let word = rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len());
        let space = rest[word..]
            .find(char::is_whitespace)
            .map_or(rest.len(), |at| word + at);
        let end = rest[space..]
            .find(|c: char| !c.is_whitespace())
            .map_or(rest.len(), |at| space + at);
        let (next, after) = rest.split_at(end);
        rest = after;
        (!next.is_empty()).then_some(next)
    })
}

fn count(words: usize) -> i64 {
    i64::try_from(words).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use anteroom_domain::RequestId;
    use anteroom_ports::chat::ProviderErrorKind;
    use anteroom_testkit::FixedClock;

    use super::*;

    fn call(body: &Value) -> ChatCall {
        ChatCall {
            request_id: RequestId("018f0000-0000-7000-8000-000000000001".parse().unwrap()),
            model: MODEL.to_owned(),
            body: Bytes::from(body.to_string()),
            original: None,
        }
    }

    fn echo() -> Echo {
        Echo::new(Arc::new(FixedClock::new()))
    }

    fn told(content: &Value) -> Value {
        json!({ "model": "echo", "messages": [{ "role": "user", "content": content }] })
    }

    async fn chunks(body: &Value) -> Vec<Value> {
        let mut events: Vec<_> = echo().stream(call(body)).await.unwrap().events.collect().await;
        assert_eq!(events.pop(), Some(Ok(ChatEvent::Done)));
        let chunk = |event| match event {
            Ok(ChatEvent::Chunk(chunk)) => serde_json::from_slice(&chunk.data).unwrap(),
            other => panic!("{other:?}"),
        };
        events.into_iter().map(chunk).collect()
    }

    #[test]
    fn words_add_up_to_their_text() {
        for (text, expected) in [
            ("", &[][..]),
            ("one", &["one"]),
            ("one two", &["one ", "two"]),
            ("  one \n two  ", &["  one \n ", "two  "]),
            ("  ", &["  "]),
            ("grüß\u{a0}dich", &["grüß\u{a0}", "dich"]),
        ] {
            assert_eq!(words(text).collect::<Vec<_>>(), expected);
            assert_eq!(words(text).collect::<String>(), text);
        }
    }

    #[tokio::test]
    async fn the_last_user_message_comes_back_whole() {
        let body = json!({ "model": "echo", "messages": [
            { "role": "system", "content": "be brief" },
            { "role": "user", "content": "not this" },
            { "role": "assistant", "content": null, "tool_calls": [] },
            { "role": "user", "content": [{ "type": "text", "text": "but " }, { "type": "image_url", "image_url": {} },
                { "type": "text", "text": "this one" }] },
            { "role": "assistant", "content": "nor this" },
        ] });
        let reply = echo().complete(call(&body)).await.unwrap();
        assert_eq!(reply.text, "but this one");
        let usage = reply.usage.unwrap();
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (9, 3));
        let value: Value = serde_json::from_slice(&reply.body).unwrap();
        let expected = json!({
            "id": "chatcmpl-018f0000000070008000000000000001", "object": "chat.completion", "created": 1_767_225_600,
            "model": "echo",
            "choices": [{ "index": 0, "message": { "role": "assistant", "content": "but this one", "refusal": null },
                "logprobs": null, "finish_reason": "stop" }],
            "usage": { "prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12,
                "prompt_tokens_details": { "cached_tokens": 0 }, "completion_tokens_details": { "reasoning_tokens": 0 } },
        });
        assert_eq!(value, expected);
    }

    #[tokio::test]
    async fn a_stream_brings_role_words_end_and_usage_if_asked() {
        let mut body = told(&json!("a b"));
        let chunks_without = chunks(&body).await;
        assert!(chunks_without.iter().all(|chunk| chunk.get("usage").is_none()));
        let choices: Vec<_> = chunks_without.iter().map(|chunk| chunk["choices"][0].clone()).collect();
        assert_eq!(choices[0]["delta"], json!({ "role": "assistant", "content": "" }));
        assert_eq!(choices[1]["delta"], json!({ "content": "a " }));
        assert_eq!(choices[2]["delta"], json!({ "content": "b" }));
        assert_eq!(
            (&choices[3]["delta"], &choices[3]["finish_reason"]),
            (&json!({}), &json!("stop"))
        );
        assert_eq!(choices.len(), 4);

        body["stream_options"] = json!({ "include_usage": true });
        let chunks_with = chunks(&body).await;
        assert_eq!(chunks_with.len(), 5);
        assert!(
            chunks_with[..4]
                .iter()
                .all(|chunk| chunk["usage"].is_null() && chunk.get("usage").is_some())
        );
        assert_eq!(chunks_with[4]["choices"], json!([]));
        assert_eq!(chunks_with[4]["usage"]["total_tokens"], 4);
    }

    #[tokio::test]
    async fn a_maximum_cuts_the_answer_off() {
        for (limits, text, reason) in [
            (json!({ "max_tokens": 2 }), "a b ", "length"),
            (json!({ "max_tokens": 1, "max_completion_tokens": 3 }), "a b c", "stop"),
            (json!({ "max_completion_tokens": 0 }), "", "length"),
        ] {
            let mut body = told(&json!("a b c"));
            body.as_object_mut()
                .unwrap()
                .extend(limits.as_object().unwrap().clone());
            let reply = echo().complete(call(&body)).await.unwrap();
            let value: Value = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!(
                (reply.text.as_str(), &value["choices"][0]["finish_reason"]),
                (text, &json!(reason))
            );
            assert_eq!(
                chunks(&body).await.last().unwrap()["choices"][0]["finish_reason"],
                reason
            );
        }
    }

    #[tokio::test]
    async fn several_choices_take_turns() {
        let mut body = told(&json!("a b"));
        body["n"] = json!(2);
        body["stream_options"] = json!({ "include_usage": true });
        let chunks = chunks(&body).await;
        let indices: Vec<_> = chunks
            .iter()
            .filter_map(|c| c["choices"][0]["index"].as_u64())
            .collect();
        assert_eq!(indices, [0, 1, 0, 1, 0, 1, 0, 1]);
        assert_eq!(chunks[8]["usage"]["completion_tokens"], 4);
        let reply = echo().complete(call(&body)).await.unwrap();
        let value: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(value["choices"][1]["index"], 1);
        assert_eq!(
            (reply.text.as_str(), reply.usage.unwrap().completion_tokens),
            ("a b", 4)
        );
    }

    #[tokio::test]
    async fn a_message_of_nothing_has_an_answer_of_nothing() {
        for content in [json!(""), json!([]), json!([{ "type": "image_url" }])] {
            let reply = echo().complete(call(&told(&content))).await.unwrap();
            assert_eq!((reply.text.as_str(), reply.usage.unwrap().completion_tokens), ("", 0));
            assert_eq!(chunks(&told(&content)).await.len(), 2);
        }
    }

    #[tokio::test]
    async fn what_has_nothing_to_repeat_is_refused() {
        for (body, param) in [
            (json!({ "messages": [] }), json!("messages")),
            (json!({}), json!("messages")),
            (
                json!({ "messages": [{ "role": "system", "content": "x" }] }),
                json!("messages"),
            ),
            (told(&Value::Null), json!("messages")),
            (told(&json!(7)), json!("messages[0]")),
            (json!({ "messages": [1] }), json!("messages[0]")),
            (json!({ "messages": [], "n": 0 }), json!("n")),
            (json!([]), Value::Null),
            (json!({ "messages": "hi" }), Value::Null),
        ] {
            let failure = echo().complete(call(&body)).await.unwrap_err();
            let ProviderErrorKind::BadRequest {
                status: 400,
                error: Some(error),
            } = failure.kind
            else {
                panic!("{failure:?}");
            };
            assert_eq!(
                (&error["param"], &error["type"]),
                (&param, &json!("invalid_request_error"))
            );
            assert!(echo().stream(call(&body)).await.is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_is_taken_for_every_word() {
        let slow = echo().with_delay(Duration::from_millis(100));
        let begun = tokio::time::Instant::now();
        let events: Vec<_> = slow
            .stream(call(&told(&json!("a b c"))))
            .await
            .unwrap()
            .events
            .collect()
            .await;
        assert_eq!((events.len(), begun.elapsed().as_millis()), (6, 300));
        let begun = tokio::time::Instant::now();
        slow.complete(call(&told(&json!("a b")))).await.unwrap();
        assert_eq!(begun.elapsed().as_millis(), 200);
    }
}
