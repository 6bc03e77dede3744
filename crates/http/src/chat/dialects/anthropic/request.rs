//! A request of the Messages API, said as a chat completion.

use anteroom_domain::chat::{Dialect, Original, TOKENS_OF_KNOWN_TOOL};
use serde::Deserialize as _;
use serde_json::json;
use serde_json::value::RawValue;

use super::super::canonical::{
    Content, Declaration, File, ImageUrl, JsonSchema, Message, Part as Piece, ResponseFormat, Tool, ToolCall,
};
use super::super::reader::Part;
use super::super::{Call, Fate, Refusal, sort};
use super::PARAMETERS;
use crate::chat::dropped::Dropped;

/// What a picture or a document counts as where only an estimate is asked for; Anthropic's own largest picture.
const TOKENS_OF_MEDIA: usize = 1600;

/// A request and what its answer has to be written with.
#[derive(Debug)]
pub(crate) struct Request {
    /// The chat completion.
    pub(crate) call: Call,
    /// The model that was asked for.
    pub(crate) model: String,
    /// Whether the caller wants to see what the model thinks.
    pub(crate) thinking: bool,
    /// An estimate of the tokens that are sent.
    pub(crate) input_tokens: usize,
}

/// What is gathered on the way through the messages.
#[derive(Default)]
struct Gathered {
    messages: Vec<Message>,
    /// What a chat completion has no word for.
    lost: Dropped,
    /// Where tools stand that only Anthropic's models know.
    known_tools: Vec<String>,
    /// Bytes of pictures and documents, which are no text to be counted, and how many there are, those that are told by
    /// their address included.
    media: (usize, usize),
}

impl Request {
    /// Reads one. Where tokens are only counted, nothing is said of how long the answer may be.
    pub(crate) fn read(bytes: &[u8], counting: bool) -> Result<Self, Refusal> {
        let root = Part::root(bytes)?;
        let unsaid = sort(root.members(), PARAMETERS)?;
        let mut gathered = Gathered {
            lost: unsaid.lost,
            ..Gathered::default()
        };
        let model = root.text("model")?;
        let max_tokens = root.positive("max_tokens")?;
        if max_tokens.is_none() && !counting {
            return Err(Refusal::invalid(
                "max_tokens",
                "`max_tokens` is missing: it must be a whole number",
            ));
        }
        gathered.system(&root)?;
        let turns = Part::list(
            root.required::<Box<RawValue>>("messages", "an array")?.as_ref(),
            "messages",
        )?;
        if turns.is_empty() {
            return Err(Refusal::invalid(
                "messages",
                "`messages` must have at least one message",
            ));
        }
        for turn in &turns {
            gathered.turn(turn)?;
        }
        let mut call = Call::new(unsaid.dropped);
        call.set("model", &model);
        call.set("messages", &gathered.messages);
        if let Some(most) = max_tokens {
            call.set("max_completion_tokens", &most);
        }
        for key in ["temperature", "top_p"] {
            if let Some(number) = root.number(key)? {
                call.set(key, number);
            }
        }
        if let Some(stop) = root.read::<Vec<String>>("stop_sequences", "an array of strings")? {
            call.set("stop", &stop);
        }
        gathered.tools(&root, &mut call)?;
        tool_choice(&root, &mut call)?;
        user(&root, &mut call)?;
        let thinking = effort(&root, &mut call)?;
        if root.read("stream", "true or false")?.unwrap_or(false) {
            call.set("stream", &true);
            call.set("stream_options", &json!({ "include_usage": true }));
        }
        let (bytes, count) = gathered.media;
        let known_tools = gathered.known_tools.len() * usize::try_from(TOKENS_OF_KNOWN_TOOL).unwrap_or(0);
        call.original = Some(original(&root, gathered.lost, gathered.known_tools));
        let text = call.bytes().len().saturating_sub(bytes);
        Ok(Self {
            call,
            model,
            thinking,
            input_tokens: text.div_ceil(3) + count * TOKENS_OF_MEDIA + known_tools,
        })
    }
}

impl Gathered {
    fn system(&mut self, root: &Part) -> Result<(), Refusal> {
        let Some(raw) = root.raw("system") else { return Ok(()) };
        let text = match serde_json::from_str(raw.get()) {
            Ok(text) => text,
            Err(_) => self.texts(&Part::list(raw, "system")?)?.join("\n\n"),
        };
        self.messages.push(Message::said("system", Content::Text(text)));
        Ok(())
    }

    /// Blocks of which all are text.
    fn texts(&mut self, blocks: &[Part]) -> Result<Vec<String>, Refusal> {
        let text = |block: &Part| match block.text("type")?.as_str() {
            "text" => {
                self.extras(block);
                block.text("text")
            }
            _ => Err(block.unknown("type", "`text` stands here")),
        };
        blocks.iter().map(text).collect()
    }

    /// What a block asks for beside what it says.
    fn extras(&mut self, block: &Part) {
        for key in ["cache_control", "citations", "transformations"] {
            if block.raw(key).is_some() {
                self.lost.note(key);
            }
        }
    }

    fn turn(&mut self, turn: &Part) -> Result<(), Refusal> {
        let role = match turn.text("role")?.as_str() {
            "user" => "user",
            "assistant" => "assistant",
            "system" => "system",
            _ => {
                return Err(Refusal::invalid(
                    turn.place("role"),
                    "the role is `user` or `assistant`",
                ));
            }
        };
        let content: Box<RawValue> = turn.required("content", "a string or an array of blocks")?;
        if let Ok(text) = String::deserialize(&mut serde_json::Deserializer::from_str(content.get())) {
            self.messages.push(Message::said(role, Content::Text(text)));
            return Ok(());
        }
        let blocks = Part::list(&content, &turn.place("content"))?;
        match role {
            "assistant" => self.assistant(&blocks),
            "user" => self.user(&blocks),
            _ => {
                let text = self.texts(&blocks)?.join("\n\n");
                self.messages.push(Message::said(role, Content::Text(text)));
                Ok(())
            }
        }
    }

    fn assistant(&mut self, blocks: &[Part]) -> Result<(), Refusal> {
        let (mut text, mut tool_calls) = (String::new(), Vec::new());
        for block in blocks {
            self.extras(block);
            match block.text("type")?.as_str() {
                "text" => text.push_str(&block.text("text")?),
                "tool_use" => {
                    let input: Box<RawValue> = block.required("input", "an object")?;
                    tool_calls.push(ToolCall::new(
                        block.text("id")?,
                        block.text("name")?,
                        input.get().to_owned(),
                    ));
                }
                // A thought is for the model that had it; a chat completion has no place for it.
                "thinking" | "redacted_thinking" => self.lost.note("messages.content.thinking"),
                _ => return Err(block.unknown("type", "`text`, `tool_use` and `thinking` are an assistant's")),
            }
        }
        let silent = text.is_empty() && !tool_calls.is_empty();
        self.messages.push(Message {
            tool_calls,
            content: (!silent).then_some(Content::Text(text)),
            ..Message::said("assistant", Content::Text(String::new()))
        });
        Ok(())
    }

    /// The results of tools have messages of their own, which have to follow the calls at once; what else the user says
    /// comes after them.
    fn user(&mut self, blocks: &[Part]) -> Result<(), Refusal> {
        let mut said = Vec::new();
        for block in blocks {
            if block.text("type")? == "tool_result" {
                self.extras(block);
                self.tool_result(block, &mut said)?;
            } else {
                let piece = self.piece(block)?;
                said.push(piece);
            }
        }
        let only_results = !blocks.is_empty() && said.is_empty();
        if !only_results {
            self.messages.push(Message::said("user", Content::of(said)));
        }
        Ok(())
    }

    fn tool_result(&mut self, block: &Part, said: &mut Vec<Piece>) -> Result<(), Refusal> {
        let id = block.text("tool_use_id")?;
        if block.read("is_error", "true or false")?.unwrap_or(false) {
            self.lost.note("messages.content.is_error");
        }
        let text = match block.raw("content") {
            None => String::new(),
            Some(raw) => match serde_json::from_str(raw.get()) {
                Ok(text) => text,
                Err(_) => {
                    let mut texts = Vec::new();
                    for part in Part::list(raw, &block.place("content"))? {
                        match self.piece(&part)? {
                            Piece::Text { text } => texts.push(text),
                            // A tool's message is text only, so what it shows is shown by the user.
                            picture => said.push(picture),
                        }
                    }
                    texts.join("\n")
                }
            },
        };
        self.messages.push(Message::result(id, text));
        Ok(())
    }

    fn piece(&mut self, block: &Part) -> Result<Piece, Refusal> {
        self.extras(block);
        let source = || {
            let source = block.part("source")?;
            source.ok_or_else(|| Refusal::invalid(block.place("source"), "`source` is missing"))
        };
        match block.text("type")?.as_str() {
            "text" => Ok(Piece::Text {
                text: block.text("text")?,
            }),
            "image" => {
                let source = source()?;
                let url = match source.text("type")?.as_str() {
                    "base64" => self.data(&source)?,
                    "url" => {
                        self.media.1 += 1;
                        source.text("url")?
                    }
                    _ => return Err(source.unknown("type", "`base64` and `url` are taken: no files are kept here")),
                };
                Ok(Piece::ImageUrl {
                    image_url: ImageUrl { url, detail: None },
                })
            }
            "document" => {
                let source = source()?;
                match source.text("type")?.as_str() {
                    "text" => Ok(Piece::Text {
                        text: source.text("data")?,
                    }),
                    "base64" => {
                        let title = block.read::<String>("title", "a string")?;
                        Ok(Piece::File {
                            file: File {
                                filename: title.unwrap_or_else(|| "document.pdf".to_owned()),
                                file_data: self.data(&source)?,
                            },
                        })
                    }
                    _ => Err(source.unknown(
                        "type",
                        "`text` and `base64` are taken: no files are kept or fetched here",
                    )),
                }
            }
            _ => Err(block.unknown("type", "`text`, `image`, `document` and `tool_result` are a user's")),
        }
    }

    fn data(&mut self, source: &Part) -> Result<String, Refusal> {
        let data = format!("data:{};base64,{}", source.text("media_type")?, source.text("data")?);
        self.media = (self.media.0 + data.len(), self.media.1 + 1);
        Ok(data)
    }

    fn tools(&mut self, root: &Part, call: &mut Call) -> Result<(), Refusal> {
        let declared = root.parts("tools")?;
        let mut tools = Vec::with_capacity(declared.len());
        for tool in &declared {
            match tool.read::<String>("type", "a string")?.as_deref() {
                None | Some("custom") => {}
                Some(kind) if is_known_tool(kind) => {
                    self.known_tools.push(tool.place("type"));
                    continue;
                }
                Some(_) => return Err(tool.unknown("type", "tools that the caller runs are called")),
            }
            for key in tool.members().keys() {
                if !["type", "name", "description", "input_schema", "strict"].contains(&key) && tool.raw(key).is_some()
                {
                    self.lost.note(&format!("tools.{key}"));
                }
            }
            tools.push(Tool {
                r#type: "function",
                function: Declaration {
                    name: tool.text("name")?,
                    description: tool.read("description", "a string")?,
                    parameters: tool.raw("input_schema"),
                    strict: tool.read("strict", "true or false")?,
                },
            });
        }
        if !tools.is_empty() {
            call.set("tools", &tools);
        }
        Ok(())
    }
}

/// Whether it is a tool that Anthropic's models know by heart and the caller runs: one of these, and a date. Those that
/// Anthropic runs cost extra or keep something there.
fn is_known_tool(kind: &str) -> bool {
    const RUN_BY_THE_CALLER: [&str; 6] = [
        "bash",
        "text_editor",
        "memory",
        "computer",
        "computer_toolset",
        "browser_toolset",
    ];
    kind.rsplit_once('_').is_some_and(|(name, date)| {
        RUN_BY_THE_CALLER.contains(&name) && date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit())
    })
}

/// What was said, without what nobody is told.
fn original(root: &Part, lost: Dropped, known_tools: Vec<String>) -> Original {
    let mut body = root.members().clone();
    let told = |key: &&str| {
        let row = PARAMETERS.iter().find(|(name, _)| name == key);
        matches!(row, Some((_, Fate::Mapped | Fate::Native)))
    };
    let untold: Vec<String> = body.keys().filter(|key| !told(key)).map(str::to_owned).collect();
    for key in &untold {
        body.remove(key);
    }
    Original {
        dialect: Dialect::AnthropicMessages,
        body,
        lost: lost.into_names(),
        known_tools,
    }
}

/// Who asks, as the caller's own caller names them.
fn user(root: &Part, call: &mut Call) -> Result<(), Refusal> {
    let Some(metadata) = root.part("metadata")? else {
        return Ok(());
    };
    // Whatever it is, no provider sees it: the relay puts another name in its place.
    if let Some(user) = metadata.read::<String>("user_id", "a string")? {
        call.set("user", &user);
    }
    Ok(())
}

fn tool_choice(root: &Part, call: &mut Call) -> Result<(), Refusal> {
    let Some(choice) = root.part("tool_choice")? else {
        return Ok(());
    };
    match choice.text("type")?.as_str() {
        "auto" => call.set("tool_choice", "auto"),
        "any" => call.set("tool_choice", "required"),
        "none" => call.set("tool_choice", "none"),
        "tool" => {
            let named = json!({ "type": "function", "function": { "name": choice.text("name")? } });
            call.set("tool_choice", &named);
        }
        _ => return Err(choice.unknown("type", "`auto`, `any`, `tool` and `none` can be chosen")),
    }
    if choice
        .read("disable_parallel_tool_use", "true or false")?
        .unwrap_or(false)
    {
        call.set("parallel_tool_calls", &false);
    }
    Ok(())
}

/// How hard the model is to think, and the shape of its answer. Says whether the caller wants to see the thoughts.
fn effort(root: &Part, call: &mut Call) -> Result<bool, Refusal> {
    let mut effort: Option<String> = None;
    let mut thinks = false;
    if let Some(thinking) = root.part("thinking")? {
        match thinking.text("type")?.as_str() {
            "disabled" => {}
            "adaptive" => thinks = true,
            "enabled" => {
                thinks = true;
                // Budgets have no name in chat completions, efforts have; the borders are a matter of taste.
                let budget = thinking.positive("budget_tokens")?.unwrap_or(0);
                let word = match budget {
                    ..4096 => "low",
                    4096..16_384 => "medium",
                    _ => "high",
                };
                effort = Some(word.to_owned());
            }
            _ => return Err(thinking.unknown("type", "`enabled`, `adaptive` and `disabled` are known")),
        }
    }
    if let Some(config) = root.part("output_config")? {
        if let Some(word) = config.read::<String>("effort", "a string")? {
            // The one above OpenAI's highest.
            effort = Some(if word == "max" { "xhigh".to_owned() } else { word });
        }
        if let Some(format) = config.part("format")? {
            if format.text("type")? != "json_schema" {
                return Err(format.unknown("type", "`json_schema` is known"));
            }
            let schema: Box<RawValue> = format.required("schema", "an object")?;
            let format = ResponseFormat {
                r#type: "json_schema",
                json_schema: JsonSchema {
                    name: "answer".to_owned(),
                    description: None,
                    schema: &schema,
                    strict: Some(true),
                },
            };
            call.set("response_format", &format);
        }
    }
    if let Some(effort) = effort {
        call.set("reasoning_effort", &effort);
    }
    Ok(thinks)
}
