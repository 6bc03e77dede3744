//! A request of the Responses API, said as a chat completion.

use anteroom_domain::chat::RawObject;
use serde_json::json;
use serde_json::value::RawValue;

use super::super::canonical::{
    Content, Declaration, File, ImageUrl, JsonSchema, Message, Part as Piece, ResponseFormat, Tool, ToolCall,
};
use super::super::reader::Part;
use super::super::{Call, Refusal, sort};
use super::PARAMETERS;
use crate::chat::dropped::Dropped;

/// A request and what its answer has to be written with.
#[derive(Debug)]
pub(crate) struct Request {
    /// The chat completion.
    pub(crate) call: Call,
    /// The model that was asked for.
    pub(crate) model: String,
    /// What the answer repeats of the request.
    pub(crate) echo: RawObject,
}

/// What an answer repeats, and what stands there where the request says nothing.
const REPEATED: [(&str, &str); 13] = [
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("reasoning", r#"{"effort":null,"summary":null}"#),
    ("safety_identifier", "null"),
    ("prompt_cache_key", "null"),
    ("temperature", "null"),
    ("text", r#"{"format":{"type":"text"}}"#),
    ("tool_choice", "\"auto\""),
    ("tools", "[]"),
    ("top_p", "null"),
    ("user", "null"),
];

#[derive(Default)]
struct Gathered {
    messages: Vec<Message>,
    dropped: Dropped,
}

impl Request {
    /// Reads one.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let root = Part::root(bytes)?;
        let mut gathered = Gathered {
            messages: Vec::new(),
            dropped: sort(root.members(), PARAMETERS)?.dropped,
        };
        if root.read("background", "true or false")?.unwrap_or(false) {
            return Err(Refusal::unsupported("background", super::NO_MEMORY));
        }
        if root
            .read::<String>("truncation", "a string")?
            .is_some_and(|word| word != "disabled")
        {
            gathered.dropped.note("truncation");
        }
        let model = root.text("model")?;
        if let Some(text) = root.read::<String>("instructions", "a string")? {
            gathered.messages.push(Message::said("system", Content::Text(text)));
        }
        gathered.input(&root)?;
        let mut call = Call::new(std::mem::take(&mut gathered.dropped));
        call.set("model", &model);
        call.set("messages", &gathered.messages);
        if let Some(most) = root.positive("max_output_tokens")? {
            call.set("max_completion_tokens", &most);
        }
        for key in ["temperature", "top_p"] {
            if let Some(number) = root.number(key)? {
                call.set(key, number);
            }
        }
        for key in ["user", "safety_identifier", "prompt_cache_key", "service_tier"] {
            if let Some(text) = root.read::<String>(key, "a string")? {
                call.set(key, &text);
            }
        }
        tools(&root, &mut call)?;
        text(&root, &mut call)?;
        if let Some(reasoning) = root.part("reasoning")? {
            if let Some(effort) = reasoning.read::<String>("effort", "a string")? {
                call.set("reasoning_effort", &effort);
            }
            for key in ["summary", "generate_summary"] {
                if reasoning.raw(key).is_some() {
                    call.dropped.note(&reasoning.place(key));
                }
            }
        }
        if root.read("stream", "true or false")?.unwrap_or(false) {
            call.set("stream", &true);
            call.set("stream_options", &json!({ "include_usage": true }));
        }
        let echo = echo(&root)?;
        Ok(Self { call, model, echo })
    }
}

fn echo(root: &Part) -> Result<RawObject, Refusal> {
    let mut echo = RawObject::default();
    for (key, otherwise) in REPEATED {
        let otherwise = || serde_json::from_str::<Box<RawValue>>(otherwise).unwrap_or_default();
        let raw = root.raw(key).map_or_else(otherwise, ToOwned::to_owned);
        echo.set(key, &raw)
            .map_err(|e| Refusal::invalid(key, format!("`{key}` cannot be read: {e}")))?;
    }
    Ok(echo)
}

impl Gathered {
    fn input(&mut self, root: &Part) -> Result<(), Refusal> {
        let raw: Box<RawValue> = root.required("input", "a string or an array of items")?;
        if let Ok(text) = serde_json::from_str(raw.get()) {
            self.messages.push(Message::said("user", Content::Text(text)));
            return Ok(());
        }
        let items = Part::list(&raw, "input")?;
        if items.is_empty() {
            return Err(Refusal::invalid("input", "`input` must have at least one item"));
        }
        // Calls stand in one message with what was said before them, as the model had said it.
        let mut calls_may_join = false;
        for item in &items {
            let kind = item.read::<String>("type", "a string")?;
            match kind.as_deref() {
                None | Some("message") => calls_may_join = self.message(item)? == "assistant",
                Some("function_call") => {
                    let call = ToolCall::new(item.text("call_id")?, item.text("name")?, item.text("arguments")?);
                    self.called(call, calls_may_join);
                    calls_may_join = true;
                }
                Some("function_call_output") => {
                    self.result(item)?;
                    calls_may_join = false;
                }
                // A thought is for the model that had it; a chat completion has no place for it.
                Some("reasoning") => self.dropped.note("input.reasoning"),
                Some("item_reference") => {
                    return Err(Refusal::unsupported(
                        item.place("type"),
                        "no answers are kept here, so send items whole; clients do with `store: false` \
                         (the AI SDK: `providerOptions: { openai: { store: false } }`)",
                    ));
                }
                Some(_) => {
                    let known = "`message`, `function_call`, `function_call_output` and `reasoning` are taken";
                    return Err(item.unknown("type", known));
                }
            }
        }
        if self.messages.is_empty() {
            return Err(Refusal::invalid("input", "`input` says nothing"));
        }
        Ok(())
    }

    fn called(&mut self, call: ToolCall, join: bool) {
        if let Some(last) = self.messages.last_mut().filter(|last| join && last.role == "assistant") {
            if matches!(&last.content, Some(Content::Text(text)) if text.is_empty()) {
                last.content = None;
            }
            last.tool_calls.push(call);
            return;
        }
        self.messages.push(Message {
            content: None,
            tool_calls: vec![call],
            ..Message::said("assistant", Content::Text(String::new()))
        });
    }

    fn result(&mut self, item: &Part) -> Result<(), Refusal> {
        let id = item.text("call_id")?;
        let raw: Box<RawValue> = item.required("output", "a string or an array of parts")?;
        let mut shown = Vec::new();
        let text = match serde_json::from_str(raw.get()) {
            Ok(text) => text,
            Err(_) => {
                let mut texts = Vec::new();
                for part in Part::list(&raw, &item.place("output"))? {
                    match piece(&part)? {
                        Piece::Text { text } => texts.push(text),
                        // A tool's message is text only, so what it shows is shown by the user.
                        picture => shown.push(picture),
                    }
                }
                texts.join("\n")
            }
        };
        self.messages.push(Message::result(id, text));
        if !shown.is_empty() {
            self.messages.push(Message::said("user", Content::of(shown)));
        }
        Ok(())
    }

    /// Says whose message it was.
    fn message(&mut self, item: &Part) -> Result<&'static str, Refusal> {
        let role = match item.text("role")?.as_str() {
            "user" => "user",
            "assistant" => "assistant",
            // OpenAI's newer word, which few other servers know.
            "system" | "developer" => "system",
            _ => {
                let known = "the role is `user`, `assistant`, `system` or `developer`";
                return Err(Refusal::invalid(item.place("role"), known));
            }
        };
        let raw: Box<RawValue> = item.required("content", "a string or an array of parts")?;
        let content = match serde_json::from_str(raw.get()) {
            Ok(text) => Content::Text(text),
            Err(_) => {
                let parts = Part::list(&raw, &item.place("content"))?;
                let pieces = parts.iter().map(piece).collect::<Result<Vec<_>, _>>()?;
                if role == "user" {
                    Content::of(pieces)
                } else {
                    joined(item, pieces)?
                }
            }
        };
        self.messages.push(Message::said(role, content));
        Ok(role)
    }
}

/// What is not a user's is text, and older servers know no list of it.
fn joined(item: &Part, pieces: Vec<Piece>) -> Result<Content, Refusal> {
    let mut all = String::new();
    for piece in pieces {
        match piece {
            Piece::Text { text } => all.push_str(&text),
            _ => {
                return Err(Refusal::unsupported(
                    item.place("content"),
                    "only users show pictures and files",
                ));
            }
        }
    }
    Ok(Content::Text(all))
}

fn piece(part: &Part) -> Result<Piece, Refusal> {
    let nothing_kept = |key: &str| Refusal::unsupported(part.place(key), "no files are kept or fetched here");
    match part.text("type")?.as_str() {
        "input_text" | "output_text" | "text" => Ok(Piece::Text {
            text: part.text("text")?,
        }),
        "refusal" => Ok(Piece::Text {
            text: part.text("refusal")?,
        }),
        "input_image" => {
            if part.raw("file_id").is_some() {
                return Err(nothing_kept("file_id"));
            }
            Ok(Piece::ImageUrl {
                image_url: ImageUrl {
                    url: part.text("image_url")?,
                    detail: part.read("detail", "a string")?,
                },
            })
        }
        "input_file" => {
            if let Some(key) = ["file_id", "file_url"].into_iter().find(|key| part.raw(key).is_some()) {
                return Err(nothing_kept(key));
            }
            let name = part.read::<String>("filename", "a string")?;
            Ok(Piece::File {
                file: File {
                    filename: name.unwrap_or_else(|| "document.pdf".to_owned()),
                    file_data: part.text("file_data")?,
                },
            })
        }
        _ => Err(part.unknown("type", "text, `input_image` and `input_file` are taken")),
    }
}

fn tools(root: &Part, call: &mut Call) -> Result<(), Refusal> {
    let mut tools = Vec::new();
    let declared = root.parts("tools")?;
    for tool in &declared {
        if tool.text("type")? != "function" {
            return Err(tool.unknown("type", "tools of the caller's own (`function`) are called"));
        }
        tools.push(Tool {
            r#type: "function",
            function: Declaration {
                name: tool.text("name")?,
                description: tool.read("description", "a string")?,
                parameters: tool.raw("parameters"),
                strict: tool.read("strict", "true or false")?,
            },
        });
    }
    if !tools.is_empty() {
        call.set("tools", &tools);
    }
    if let Some(parallel) = root.read::<bool>("parallel_tool_calls", "true or false")? {
        // Servers refuse it where there are no tools.
        if !tools.is_empty() {
            call.set("parallel_tool_calls", &parallel);
        }
    }
    let Some(raw) = root.raw("tool_choice") else {
        return Ok(());
    };
    if let Ok(word) = serde_json::from_str::<String>(raw.get()) {
        if !["auto", "none", "required"].contains(&word.as_str()) {
            return Err(root.unknown("tool_choice", "`auto`, `none`, `required` and a function can be chosen"));
        }
        if !tools.is_empty() {
            call.set("tool_choice", &word);
        }
        return Ok(());
    }
    let Some(choice) = root.part("tool_choice")? else {
        return Ok(());
    };
    if choice.text("type")? != "function" {
        return Err(choice.unknown("type", "a `function` can be chosen"));
    }
    let named = json!({ "type": "function", "function": { "name": choice.text("name")? } });
    call.set("tool_choice", &named);
    Ok(())
}

/// The shape of the answer.
fn text(root: &Part, call: &mut Call) -> Result<(), Refusal> {
    let Some(text) = root.part("text")? else { return Ok(()) };
    if let Some(word) = text.read::<String>("verbosity", "a string")? {
        call.set("verbosity", &word);
    }
    let Some(format) = text.part("format")? else {
        return Ok(());
    };
    match format.text("type")?.as_str() {
        "text" => {}
        "json_object" => call.set("response_format", &json!({ "type": "json_object" })),
        "json_schema" => {
            let schema: Box<RawValue> = format.required("schema", "an object")?;
            let named = ResponseFormat {
                r#type: "json_schema",
                json_schema: JsonSchema {
                    name: format.text("name")?,
                    description: format.read("description", "a string")?,
                    schema: &schema,
                    strict: format.read("strict", "true or false")?,
                },
            };
            call.set("response_format", &named);
        }
        _ => return Err(format.unknown("type", "`text`, `json_object` and `json_schema` are known")),
    }
    Ok(())
}
