//! OpenAI's messages, read for dialects that order them in another way.

use serde::Deserialize;
use serde_json::Value;

use anteroom_ports::chat::ProviderError;

use super::ask::Ask;
use crate::shared::failure;

/// A message.
#[derive(Debug, PartialEq)]
pub(crate) enum Turn {
    /// `system` and `developer`.
    System(Vec<Part>),
    /// `user`.
    User(Vec<Part>),
    /// `assistant`.
    Assistant {
        /// What it said.
        said: Vec<Part>,
        /// What it called.
        calls: Vec<Call>,
        /// The blocks of thought that came with an earlier answer (`thinking_blocks`).
        thoughts: Vec<Value>,
    },
    /// `tool`.
    Tool {
        /// Which call it answers.
        call_id: String,
        /// What came of it.
        result: Vec<Part>,
    },
}

/// A part of a message.
#[derive(Debug, PartialEq)]
pub(crate) struct Part {
    /// What it is.
    pub(crate) what: What,
    /// Anthropic's mark that the prompt may be cached up to here.
    pub(crate) cache_control: Option<Value>,
    /// Where it stands, for errors: `messages[1].content[0]`.
    pub(crate) at: String,
}

/// What a part is.
#[derive(Debug, PartialEq)]
pub(crate) enum What {
    /// Text, which is not empty.
    Text(String),
    /// A picture.
    Image(Source),
    /// A file of another kind.
    File {
        /// Its type and its bytes in base64.
        data: Data,
        /// Its name.
        name: Option<String>,
    },
    /// Sound.
    Audio(Data),
}

/// Where something is to be had.
#[derive(Debug, PartialEq)]
pub(crate) enum Source {
    /// At an address that the provider may ask.
    Url(String),
    /// Here.
    Data(Data),
}

/// A type and bytes in base64.
#[derive(Debug, PartialEq)]
pub(crate) struct Data {
    /// Such as `image/png`.
    pub(crate) mime: String,
    /// In base64.
    pub(crate) base64: String,
}

/// A call of a tool.
#[derive(Debug, PartialEq)]
pub(crate) struct Call {
    /// Its id.
    pub(crate) id: String,
    /// The tool's name.
    pub(crate) name: String,
    /// Its arguments, an object.
    pub(crate) arguments: Value,
    /// Gemini's mark of the thought behind it (`extra_content.google.thought_signature`).
    pub(crate) signature: Option<Value>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    name: Option<Value>,
    #[serde(default)]
    tool_calls: Option<Vec<Value>>,
    #[serde(default)]
    tool_call_id: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    function_call: Option<Value>,
    #[serde(default)]
    audio: Option<Value>,
    #[serde(default)]
    thinking_blocks: Option<Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Value>),
}

#[derive(Deserialize)]
struct ToolCall {
    id: String,
    function: Function,
    #[serde(default)]
    extra_content: Value,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    arguments: Option<String>,
}

/// Reads `messages`.
pub(crate) fn turns(ask: &mut Ask) -> Result<Vec<Turn>, ProviderError> {
    let messages: Vec<Value> = ask.take("messages", "a list of messages")?.unwrap_or_default();
    let read = |(number, message)| turn(ask, &format!("messages[{number}]"), message);
    messages.into_iter().enumerate().map(read).collect()
}

fn turn(ask: &mut Ask, at: &str, message: Value) -> Result<Turn, ProviderError> {
    let message: Message =
        serde_json::from_value(message).map_err(|_| failure::bad_request(Some(at), format!("`{at}` is no message")))?;
    if message.name.is_some() {
        ask.drop("messages.name");
    }
    for (name, value) in [("function_call", &message.function_call), ("audio", &message.audio)] {
        if value.is_some() {
            return Err(failure::unsupported(
                &format!("{at}.{name}"),
                "this model's provider has no such thing",
            ));
        }
    }
    let mut parts = parts(ask, at, message.content)?;
    match message.role.as_str() {
        "system" | "developer" => Ok(Turn::System(parts)),
        "user" => Ok(Turn::User(parts)),
        "assistant" => {
            // What it refused with is what it said.
            parts.extend(text(at, message.refusal.unwrap_or_default()));
            let calls = message.tool_calls.unwrap_or_default().into_iter().enumerate();
            let calls = calls.map(|(number, call)| tool_call(&format!("{at}.tool_calls[{number}]"), call));
            Ok(Turn::Assistant {
                said: parts,
                calls: calls.collect::<Result<_, _>>()?,
                thoughts: message.thinking_blocks.unwrap_or_default(),
            })
        }
        "tool" => {
            let name = format!("{at}.tool_call_id");
            let missing = || failure::bad_request(Some(&name), format!("`{name}` is missing"));
            Ok(Turn::Tool {
                call_id: message.tool_call_id.ok_or_else(missing)?,
                result: parts,
            })
        }
        _ => {
            let name = format!("{at}.role");
            let detail = "must be system, developer, user, assistant or tool";
            Err(failure::bad_request(Some(&name), format!("`{name}` {detail}")))
        }
    }
}

/// A part with this text. An empty one is none: some providers refuse it.
fn text(at: &str, text: String) -> Option<Part> {
    (!text.is_empty()).then(|| Part {
        what: What::Text(text),
        cache_control: None,
        at: at.to_owned(),
    })
}

fn parts(ask: &mut Ask, at: &str, content: Option<Content>) -> Result<Vec<Part>, ProviderError> {
    let at = format!("{at}.content");
    let parts = match content {
        None => return Ok(Vec::new()),
        Some(Content::Text(whole)) => return Ok(text(&at, whole).into_iter().collect()),
        Some(Content::Parts(parts)) => parts,
    };
    let mut read = Vec::with_capacity(parts.len());
    for (number, part) in parts.into_iter().enumerate() {
        read.extend(self::part(ask, format!("{at}[{number}]"), part)?);
    }
    Ok(read)
}

fn part(ask: &mut Ask, at: String, mut part: Value) -> Result<Option<Part>, ProviderError> {
    let bad = |what: &str| failure::bad_request(Some(&at), format!("`{at}` {what}"));
    let unsupported =
        |name: &str| failure::unsupported(&format!("{at}.{name}"), "this model's provider has no such thing");
    let string = |value: &Value| value.as_str().map(str::to_owned);
    let kind = string(&part["type"]).ok_or_else(|| bad("is no part: it has no type"))?;
    let what = match kind.as_str() {
        "text" | "refusal" => {
            let text = string(&part[&kind]).ok_or_else(|| bad("has no text"))?;
            if text.is_empty() {
                return Ok(None);
            }
            What::Text(text)
        }
        "image_url" => {
            let image = &part["image_url"];
            if image["detail"].as_str().is_some_and(|detail| detail != "auto") {
                ask.drop("messages.image_url.detail");
            }
            let url = image["url"]
                .as_str()
                .or(image.as_str())
                .ok_or_else(|| bad("has no url"))?;
            What::Image(source(url).ok_or_else(|| bad("must be an http, https or base64 data URL"))?)
        }
        "input_audio" => {
            let sound = &part["input_audio"];
            let (base64, format) = (string(&sound["data"]), string(&sound["format"]));
            let (Some(base64), Some(format)) = (base64, format) else {
                return Err(bad("must have data and format"));
            };
            let mime = format!("audio/{format}");
            What::Audio(Data { mime, base64 })
        }
        "file" => {
            let file = &part["file"];
            if !file["file_id"].is_null() {
                return Err(unsupported("file.file_id"));
            }
            let data = file["file_data"]
                .as_str()
                .and_then(data)
                .ok_or_else(|| bad("must have file_data, a data URL"))?;
            What::File {
                data,
                name: string(&file["filename"]),
            }
        }
        _ => return Err(unsupported("type")),
    };
    let cache_control = match part["cache_control"].take() {
        Value::Null => None,
        mark => Some(mark),
    };
    Ok(Some(Part {
        what,
        cache_control,
        at,
    }))
}

fn source(url: &str) -> Option<Source> {
    if url.starts_with("https://") || url.starts_with("http://") {
        return Some(Source::Url(url.to_owned()));
    }
    data(url).map(Source::Data)
}

/// Reads a data URL (RFC 2397) in base64.
fn data(url: &str) -> Option<Data> {
    let (kind, base64) = url.strip_prefix("data:")?.split_once(',')?;
    let mime = kind.strip_suffix(";base64")?.split(';').next()?;
    Some(Data {
        mime: mime.to_owned(),
        base64: base64.to_owned(),
    })
}

fn tool_call(at: &str, call: Value) -> Result<Call, ProviderError> {
    if call.get("type").is_some_and(|kind| kind != "function") {
        return Err(failure::unsupported(
            &format!("{at}.type"),
            "this model's provider knows functions only",
        ));
    }
    let bad = |what: &str| failure::bad_request(Some(at), format!("`{at}` {what}"));
    let call: ToolCall = serde_json::from_value(call).map_err(|_| bad("is no call of a function"))?;
    let arguments = call.function.arguments.unwrap_or_default();
    let arguments = if arguments.trim().is_empty() {
        "{}".to_owned()
    } else {
        arguments
    };
    let arguments: Value = serde_json::from_str(&arguments).unwrap_or_default();
    if !arguments.is_object() {
        return Err(bad("has arguments that are no JSON object"));
    }
    let signature = call.extra_content["google"].get("thought_signature").cloned();
    Ok(Call {
        id: call.id,
        name: call.function.name,
        arguments,
        signature,
    })
}

#[cfg(test)]
mod tests {
    use anteroom_ports::chat::ProviderErrorKind;
    use serde_json::json;

    use super::super::ask::Fate;
    use super::*;

    fn read(messages: &Value) -> Result<(Vec<Turn>, Vec<String>), ProviderError> {
        let body = json!({ "messages": messages }).to_string();
        let mut ask = Ask::read(body.as_bytes(), &[("messages", Fate::Mapped)])?;
        let turns = turns(&mut ask)?;
        Ok((turns, ask.dropped()))
    }

    fn whats(turn: Turn) -> Vec<What> {
        let (Turn::System(parts)
        | Turn::User(parts)
        | Turn::Assistant { said: parts, .. }
        | Turn::Tool { result: parts, .. }) = turn;
        parts.into_iter().map(|part| part.what).collect()
    }

    #[test]
    fn every_kind_of_message_is_read() {
        let call = json!({ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{\"a\":1}" },
            "extra_content": { "google": { "thought_signature": "s" } } });
        let (turns, dropped) = read(&json!([
            { "role": "developer", "content": "be kind" },
            { "role": "user", "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "" }], "name": "ada" },
            { "role": "assistant", "content": null, "tool_calls": [call], "thinking_blocks": [{ "type": "thinking" }] },
            { "role": "tool", "tool_call_id": "c", "content": "it rains" },
        ]))
        .unwrap();
        assert_eq!(dropped, ["messages.name"]);
        let text = |t: &str| vec![What::Text(t.to_owned())];
        let mut turns = turns.into_iter();
        assert_eq!(whats(turns.next().unwrap()), text("be kind"));
        assert_eq!(whats(turns.next().unwrap()), text("a"));
        let Some(Turn::Assistant { said, calls, thoughts }) = turns.next() else {
            panic!();
        };
        assert!(said.is_empty() && thoughts.len() == 1);
        let expected = Call {
            id: "c".into(),
            name: "f".into(),
            arguments: json!({ "a": 1 }),
            signature: Some(json!("s")),
        };
        assert_eq!(calls, [expected]);
        let Some(Turn::Tool { call_id, result }) = turns.next() else {
            panic!();
        };
        assert_eq!((call_id.as_str(), result.len()), ("c", 1));
    }

    #[test]
    fn parts_of_every_kind_are_read() {
        let (turns, dropped) = read(&json!([{ "role": "user", "content": [
            { "type": "image_url", "image_url": { "url": "https://a.example/i.png", "detail": "high" } },
            { "type": "image_url", "image_url": { "url": "data:image/png;charset=x;base64,AAAA" } },
            { "type": "input_audio", "input_audio": { "data": "BBBB", "format": "wav" } },
            { "type": "file", "file": { "file_data": "data:application/pdf;base64,CCCC", "filename": "a.pdf" } },
        ] }]))
        .unwrap();
        let data = |mime: &str, base64: &str| Data {
            mime: mime.into(),
            base64: base64.into(),
        };
        let expected = vec![
            What::Image(Source::Url("https://a.example/i.png".into())),
            What::Image(Source::Data(data("image/png", "AAAA"))),
            What::Audio(data("audio/wav", "BBBB")),
            What::File {
                data: data("application/pdf", "CCCC"),
                name: Some("a.pdf".into()),
            },
        ];
        assert_eq!(whats(turns.into_iter().next().unwrap()), expected);
        assert_eq!(dropped, ["messages.image_url.detail"]);
    }

    #[test]
    fn a_fault_names_its_place() {
        let user = |part: Value| json!([{ "role": "user", "content": [part] }]);
        for (messages, param) in [
            (json!([7]), "messages[0]"),
            (json!([{ "content": "x" }]), "messages[0]"),
            (json!([{ "role": "user", "content": 7 }]), "messages[0]"),
            (json!([{ "role": "king", "content": "x" }]), "messages[0].role"),
            (json!([{ "role": "tool", "content": "x" }]), "messages[0].tool_call_id"),
            (user(json!({ "text": "x" })), "messages[0].content[0]"),
            (user(json!({ "type": "text" })), "messages[0].content[0]"),
            (
                user(json!({ "type": "image_url", "image_url": { "url": "file:///etc/passwd" } })),
                "messages[0].content[0]",
            ),
            (
                json!([{ "role": "assistant", "tool_calls": [{ "id": "c", "function": { "name": "f", "arguments": "[" } }] }]),
                "messages[0].tool_calls[0]",
            ),
        ] {
            let failure = read(&messages).unwrap_err();
            let ProviderErrorKind::BadRequest {
                status: 400,
                error: Some(error),
            } = failure.kind
            else {
                panic!("{failure:?}");
            };
            assert_eq!(error["param"], param, "{messages}");
        }
        for (messages, parameter) in [
            (user(json!({ "type": "hologram" })), "messages[0].content[0].type"),
            (
                user(json!({ "type": "file", "file": { "file_id": "f" } })),
                "messages[0].content[0].file.file_id",
            ),
            (
                json!([{ "role": "assistant", "function_call": { "name": "f" } }]),
                "messages[0].function_call",
            ),
            (
                json!([{ "role": "assistant", "tool_calls": [{ "type": "custom" }] }]),
                "messages[0].tool_calls[0].type",
            ),
        ] {
            let parameter = parameter.to_owned();
            assert_eq!(
                read(&messages).unwrap_err().kind,
                ProviderErrorKind::Unsupported { parameter }
            );
        }
    }
}
