//! OpenAI's older completions of a text (<https://platform.openai.com/docs/api-reference/completions>): the prompt is
//! what a user says.

use anteroom_domain::chat::RawObject;
use bytes::BytesMut;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::canonical::{Content, Message, PlainChoice, plain_choices};
use super::reader::Part;
use super::{Call, Dialect, Fate, Refusal, Table, sort};
use crate::problem::Problem;
use crate::sse;

const CHAT_ONLY: &str = "a chat completion cannot say it";

/// What becomes of each parameter.
pub(crate) const PARAMETERS: &Table = &[
    ("model", Fate::Mapped),
    ("prompt", Fate::Mapped),
    ("max_tokens", Fate::Mapped),
    ("temperature", Fate::Mapped),
    ("top_p", Fate::Mapped),
    ("n", Fate::Mapped),
    ("stream", Fate::Mapped),
    ("stream_options", Fate::Mapped),
    ("stop", Fate::Mapped),
    ("presence_penalty", Fate::Mapped),
    ("frequency_penalty", Fate::Mapped),
    ("seed", Fate::Mapped),
    ("user", Fate::Mapped),
    ("logit_bias", Fate::Mapped),
    ("echo", Fate::Mapped),
    ("best_of", Fate::Mapped),
    ("logprobs", Fate::Dropped),
    ("suffix", Fate::Refused(CHAT_ONLY)),
];

/// Reads a request.
pub(crate) fn read(bytes: &[u8]) -> Result<Call, Refusal> {
    let root = Part::root(bytes)?;
    let dropped = sort(root.members(), PARAMETERS)?.dropped;
    if root.read("echo", "true or false")?.unwrap_or(false) {
        return Err(Refusal::unsupported("echo", CHAT_ONLY));
    }
    if root.positive("best_of")?.unwrap_or(1) > 1 {
        return Err(Refusal::unsupported("best_of", CHAT_ONLY));
    }
    let prompt: Box<RawValue> = root.required("prompt", "a string")?;
    let prompt = serde_json::from_str::<String>(prompt.get())
        .or_else(|_| serde_json::from_str::<[String; 1]>(prompt.get()).map(|[only]| only))
        .map_err(|_| Refusal::unsupported("prompt", "one prompt, as a string, is taken"))?;
    let mut call = Call::new(dropped);
    call.set("model", &root.text("model")?);
    call.set("messages", &[Message::said("user", Content::Text(prompt))]);
    if let Some(most) = root.positive("max_tokens")? {
        call.set("max_completion_tokens", &most);
    }
    for (key, fate) in PARAMETERS {
        let own = ["model", "prompt", "max_tokens", "echo", "best_of"].contains(key);
        if let Some(raw) = root.raw(key).filter(|_| *fate == Fate::Mapped && !own) {
            call.set(key, raw);
        }
    }
    Ok(call)
}

/// Puts an answer together: the provider's own, with its choices rewritten.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Of the request, for the error that ends a stream.
    pub(crate) request_id: String,
}

fn rewritten(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut answer = RawObject::parse(bytes).ok()?;
    let choice = |(number, choice): (i64, PlainChoice<'_>)| {
        let finish_reason: Option<String> = choice
            .finish_reason
            .and_then(|raw| serde_json::from_str(raw.get()).ok());
        let index = choice.index.unwrap_or(number);
        json!({ "text": choice.text, "index": index, "logprobs": null, "finish_reason": finish_reason })
    };
    let choices: Vec<Value> = (0..).zip(plain_choices(answer.get("choices"))?).map(choice).collect();
    answer.set("object", "text_completion").ok()?;
    answer.set("choices", &choices).ok()?;
    Some(answer.to_vec())
}

impl Dialect for Answer {
    fn whole(&mut self, answer: &[u8]) -> Option<Vec<u8>> {
        rewritten(answer)
    }

    fn chunk(&mut self, chunk: &[u8], out: &mut BytesMut) -> Option<()> {
        out.extend_from_slice(&sse::data(&rewritten(chunk)?));
        Some(())
    }

    fn done(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn failed(&mut self, problem: &Problem, out: &mut BytesMut) {
        let body = problem.openai_body(&self.request_id).to_string();
        out.extend_from_slice(&sse::data(body.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(body: &Value) -> Value {
        serde_json::from_slice(&read(body.to_string().as_bytes()).unwrap().bytes()).unwrap()
    }

    #[test]
    fn a_prompt_is_what_a_user_says() {
        for prompt in [json!("hi"), json!(["hi"])] {
            let body = json!({ "model": "m", "prompt": prompt, "max_tokens": 5, "stop": ["a"], "n": 2, "echo": false, "best_of": 1, "logprobs": 3 });
            let expected = json!({
                "model": "m", "messages": [{ "role": "user", "content": "hi" }], "max_completion_tokens": 5, "stop": ["a"], "n": 2,
            });
            assert_eq!(sent(&body), expected);
            let call = read(body.to_string().as_bytes()).unwrap();
            assert_eq!(call.dropped.header().as_deref(), Some("logprobs"));
        }
        for (more, param) in [
            (json!({ "prompt": ["a", "b"] }), "prompt"),
            (json!({ "prompt": [1, 2] }), "prompt"),
            (json!({ "prompt": null }), "prompt"),
            (json!({ "suffix": "x" }), "suffix"),
            (json!({ "echo": true }), "echo"),
            (json!({ "best_of": 2 }), "best_of"),
        ] {
            let mut body = json!({ "model": "m", "prompt": "hi" });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let refusal = read(body.to_string().as_bytes()).unwrap_err();
            assert_eq!(refusal.param.as_deref(), Some(param), "{body}");
        }
    }

    #[test]
    fn answers_keep_all_but_their_choices() {
        let read = |bytes: &str| serde_json::from_slice::<Value>(&rewritten(bytes.as_bytes()).unwrap()).unwrap();
        let choice = |text: &str, index: u64, finish: Value| json!({ "text": text, "index": index, "logprobs": null, "finish_reason": finish });
        let whole = r#"{"id":"c","object":"chat.completion","x":1,"choices":[{"message":{"content":"a"},"finish_reason":"stop"},{"index":1,"message":{"content":null},"finish_reason":"length"}]}"#;
        assert_eq!(
            read(whole),
            json!({ "id": "c", "object": "text_completion", "x": 1, "choices": [choice("a", 0, json!("stop")), choice("", 1, json!("length"))] })
        );
        let chunk = r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}],"usage":null}"#;
        assert_eq!(read(chunk)["choices"], json!([choice("a", 0, Value::Null)]));
        // A part of another shape costs nothing but itself.
        let odd = r#"{"choices":[{"index":0.0,"logprobs":1e400,"delta":{"content":null,"x":1e400},"finish_reason":7}],"x":1e400}"#;
        let text = String::from_utf8(rewritten(odd.as_bytes()).unwrap()).unwrap();
        assert_eq!(
            text,
            r#"{"choices":[{"finish_reason":null,"index":0,"logprobs":null,"text":""}],"x":1e400,"object":"text_completion"}"#
        );
        assert!(rewritten(b"[]").is_none() && rewritten(b"{\"choices\":7}").is_none());
    }
}
