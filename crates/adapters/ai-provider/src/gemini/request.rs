//! OpenAI's request as Gemini's.

use std::collections::HashMap;

use serde_json::{Value, json};

use anteroom_ports::chat::{ChatCall, ProviderError};

use super::bare;
use crate::shared::failure;
use crate::translate::ask::{Ask, Fate, Table, max_tokens, stop};
use crate::translate::tools::{Choice, Format, Tool, choice, format, tools};
use crate::translate::turns::{Call, Data, Part, Source, Turn, What, turns};

/// What becomes of each parameter. docs/guides/model-providers.md says the same to the reader.
pub(super) const TABLE: &Table = &[
    ("model", Fate::Mapped),
    ("messages", Fate::Mapped),
    ("max_tokens", Fate::Mapped),
    ("max_completion_tokens", Fate::Mapped),
    ("stop", Fate::Mapped),
    ("temperature", Fate::Mapped),
    ("top_p", Fate::Mapped),
    ("top_k", Fate::Mapped),
    ("frequency_penalty", Fate::Mapped),
    ("presence_penalty", Fate::Mapped),
    ("seed", Fate::Mapped),
    ("n", Fate::Mapped),
    ("tools", Fate::Mapped),
    ("tool_choice", Fate::Mapped),
    ("response_format", Fate::Mapped),
    ("reasoning_effort", Fate::Mapped),
    ("logit_bias", Fate::Dropped),
    ("store", Fate::Dropped),
    ("metadata", Fate::Dropped),
    ("service_tier", Fate::Dropped),
    ("prediction", Fate::Dropped),
    ("prompt_cache_key", Fate::Dropped),
    ("safety_identifier", Fate::Dropped),
    ("user", Fate::Dropped),
    ("thinking", Fate::Dropped),
    ("verbosity", Fate::Dropped),
    ("parallel_tool_calls", Fate::Refused),
    ("logprobs", Fate::Refused),
    ("top_logprobs", Fate::Refused),
    ("modalities", Fate::Refused),
    ("audio", Fate::Refused),
    ("web_search_options", Fate::Refused),
    ("functions", Fate::Refused),
    ("function_call", Fate::Refused),
];

/// The models whose thought is measured in tokens, not in levels, and who do not ask for the mark of the thought
/// behind a call.
const OLDER: [&str; 2] = ["gemini-1", "gemini-2"];

/// The least that Pro of the generation 2.5 can be told to think, in tokens.
const LEAST_OF_PRO: u32 = 128;

/// What stands for the mark of a thought that a client did not keep. Google documents it for calls that another model
/// made; without any, the models that want one refuse the turn.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// The body for the server, and what it cannot be told.
pub(super) fn translate(call: &ChatCall) -> Result<(Value, Vec<String>), ProviderError> {
    let mut ask = Ask::read(&call.body, TABLE)?;
    let _ = ask.take_value("model");
    let older = is_older(bare(&call.model));
    let mut body = json!({});
    let turns = turns(&mut ask)?;
    conversation(&mut body, turns, older, &mut ask)?;
    tooling(&mut body, &mut ask)?;
    let config = config(&mut ask, bare(&call.model))?;
    if config.as_object().is_some_and(|members| !members.is_empty()) {
        body["generationConfig"] = config;
    }
    Ok((body, [call.lost(), ask.dropped()].concat()))
}

fn is_older(model: &str) -> bool {
    OLDER.iter().any(|name| model.starts_with(name))
}

fn config(ask: &mut Ask, model: &str) -> Result<Value, ProviderError> {
    let mut config = json!({});
    if let Some(max) = max_tokens(ask)? {
        config["maxOutputTokens"] = json!(max);
    }
    if let Some(stop) = stop(ask)? {
        config["stopSequences"] = json!(stop);
    }
    for (name, here) in [
        ("temperature", "temperature"),
        ("top_p", "topP"),
        ("top_k", "topK"),
        ("frequency_penalty", "frequencyPenalty"),
        ("presence_penalty", "presencePenalty"),
        ("seed", "seed"),
        ("n", "candidateCount"),
    ] {
        if let Some(number) = ask.take::<serde_json::Number>(name, "a number")? {
            config[here] = Value::Number(number);
        }
    }
    if let Some(format) = format(ask)? {
        config["responseMimeType"] = json!("application/json");
        if let Format::Schema(schema) = format {
            config["responseJsonSchema"] = schema;
        }
    }
    if let Some(effort) = ask.take::<String>("reasoning_effort", "a text")? {
        match thinking(&effort, model)? {
            Some(thinking) => config["thinkingConfig"] = thinking,
            None => ask.drop("reasoning_effort"),
        }
    }
    Ok(config)
}

/// Much as Google maps it on its own OpenAI-compatible address, but that what a model has not becomes the next that it has:
/// Pro cannot be told not to think, nor to think minimally, and its first of the third generation knew two levels.
/// `None` for the models that do not think.
fn thinking(effort: &str, model: &str) -> Result<Option<Value>, ProviderError> {
    let pro = model.contains("-pro");
    let (level, budget) = match effort {
        "none" => (if pro { "LOW" } else { "MINIMAL" }, if pro { LEAST_OF_PRO } else { 0 }),
        "minimal" => (if pro { "LOW" } else { "MINIMAL" }, 1024),
        "low" => ("LOW", 1024),
        "medium" if model.starts_with("gemini-3-pro") => ("HIGH", 8192),
        "medium" => ("MEDIUM", 8192),
        "high" | "xhigh" | "max" => ("HIGH", 24_576),
        _ => {
            let message = "`reasoning_effort` must be none, minimal, low, medium, high, xhigh or max".to_owned();
            return Err(failure::bad_request(Some("reasoning_effort"), message));
        }
    };
    if model.starts_with("gemini-1") || model.starts_with("gemini-2.0") {
        return Ok(None);
    }
    Ok(Some(if is_older(model) {
        json!({ "thinkingBudget": budget })
    } else {
        json!({ "thinkingLevel": level })
    }))
}

fn tooling(body: &mut Value, ask: &mut Ask) -> Result<(), ProviderError> {
    let tools = tools(ask)?;
    let choice = choice(ask)?;
    if tools.is_empty() {
        return Ok(());
    }
    if tools.iter().any(|tool| tool.cache_control.is_some()) {
        ask.drop("tools.cache_control");
    }
    let strict = tools.iter().any(|tool| tool.strict == Some(true));
    let declarations: Vec<Value> = tools.into_iter().map(declaration).collect();
    body["tools"] = json!([{ "functionDeclarations": declarations }]);
    let config = match choice {
        Some(Choice::None) => json!({ "mode": "NONE" }),
        Some(Choice::Required) => json!({ "mode": "ANY" }),
        Some(Choice::Named(name)) => json!({ "mode": "ANY", "allowedFunctionNames": [name] }),
        // Calls that keep to their schema, as with `strict` at OpenAI.
        Some(Choice::Auto) | None if strict => json!({ "mode": "VALIDATED" }),
        Some(Choice::Auto) | None => return Ok(()),
    };
    body["toolConfig"] = json!({ "functionCallingConfig": config });
    Ok(())
}

fn declaration(tool: Tool) -> Value {
    let mut made = json!({ "name": tool.name });
    if let Some(description) = tool.description {
        made["description"] = json!(description);
    }
    if let Some(parameters) = tool.parameters {
        made["parametersJsonSchema"] = parameters;
    }
    made
}

/// `systemInstruction` and `contents`. Instructions go to the front, wherever they stood; turns of the same side become
/// one.
fn conversation(body: &mut Value, turns: Vec<Turn>, older: bool, ask: &mut Ask) -> Result<(), ProviderError> {
    let mut system = Vec::new();
    let mut contents: Vec<(&'static str, Vec<Value>)> = Vec::new();
    // A result names its function here, where OpenAI's names the call.
    let mut called: HashMap<String, String> = HashMap::new();
    for turn in turns {
        let (role, parts) = match turn {
            Turn::System(parts) => {
                for part in parts {
                    system.push(text_only(part, ask)?);
                }
                continue;
            }
            Turn::User(parts) => ("user", parts.into_iter().map(|p| self::part(p, ask)).collect()),
            Turn::Tool { call_id, result } => {
                let Some(name) = called.get(&call_id) else {
                    let message = "a message with the role `tool` answers no call that was made before it".to_owned();
                    return Err(failure::bad_request(Some("messages"), message));
                };
                ("user", vec![response(name, result)?])
            }
            Turn::Assistant { said, calls, thoughts } => {
                if !thoughts.is_empty() {
                    ask.drop("messages.thinking_blocks");
                }
                let said = said
                    .into_iter()
                    .map(|part| text_only(part, ask))
                    .collect::<Result<Vec<_>, _>>()?;
                called.extend(calls.iter().map(|call| (call.id.clone(), call.name.clone())));
                let calls = calls.into_iter().enumerate();
                let calls = calls.map(|(number, call)| function_call(call, !older && number == 0));
                ("model", said.into_iter().chain(calls).collect())
            }
        };
        if parts.is_empty() {
            continue;
        }
        match contents.last_mut() {
            Some((last, together)) if *last == role => together.extend(parts),
            _ => contents.push((role, parts)),
        }
    }
    if !system.is_empty() {
        body["systemInstruction"] = json!({ "parts": system });
    }
    let content = |(role, parts)| json!({ "role": role, "parts": parts });
    body["contents"] = contents.into_iter().map(content).collect();
    Ok(())
}

fn function_call(call: Call, wants_mark: bool) -> Value {
    let mut part = json!({ "functionCall": { "name": call.name, "args": call.arguments } });
    match call.signature {
        Some(signature) => part["thoughtSignature"] = signature,
        None if wants_mark => part["thoughtSignature"] = json!(NO_SIGNATURE),
        None => {}
    }
    part
}

/// A result: an object as it is, and what is none under the name that the API takes for a function's output.
fn response(name: &str, result: Vec<Part>) -> Result<Value, ProviderError> {
    let mut output = String::new();
    for part in result {
        match part.what {
            What::Text(text) => output.push_str(&text),
            _ => {
                return Err(failure::unsupported(
                    &part.at,
                    "this model's provider takes text only as a tool's result",
                ));
            }
        }
    }
    let response = serde_json::from_str(&output).ok().filter(Value::is_object);
    let response = response.unwrap_or_else(|| json!({ "output": output }));
    Ok(json!({ "functionResponse": { "name": name, "response": response } }))
}

fn part(part: Part, ask: &mut Ask) -> Value {
    if part.cache_control.is_some() {
        ask.drop("messages.cache_control");
    }
    let inline = |data: Data| json!({ "inlineData": { "mimeType": data.mime, "data": data.base64 } });
    match part.what {
        What::Text(text) => json!({ "text": text }),
        What::Image(Source::Url(url)) => {
            let mut file = json!({ "fileUri": url });
            if let Some(mime) = mime(&url) {
                file["mimeType"] = json!(mime);
            }
            json!({ "fileData": file })
        }
        What::Image(Source::Data(data)) | What::Audio(data) | What::File { data, .. } => inline(data),
    }
}

/// A picture's type, as far as its address tells.
fn mime(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next()?;
    let (_, ending) = path.rsplit_once('.')?;
    match ending.to_ascii_lowercase().as_str() {
        "png" => Some("image/png"),
        "jpg" | "jpeg" => Some("image/jpeg"),
        "webp" => Some("image/webp"),
        "gif" => Some("image/gif"),
        "heic" => Some("image/heic"),
        "heif" => Some("image/heif"),
        _ => None,
    }
}

fn text_only(part: Part, ask: &mut Ask) -> Result<Value, ProviderError> {
    match part.what {
        What::Text(_) => Ok(self::part(part, ask)),
        _ => Err(failure::unsupported(
            &part.at,
            "this model's provider takes text only in such a message",
        )),
    }
}

#[cfg(test)]
mod tests {
    use anteroom_ports::chat::ProviderErrorKind;

    use super::*;
    use crate::translate::proof::{call, guide_agrees, table_holds};

    const MODEL: &str = "gemini-3-flash";

    fn told(model: &str, with: &Value) -> (Value, Vec<String>) {
        translate(&call(model, with)).unwrap()
    }

    fn function(name: &str) -> Value {
        let schema = json!({ "type": "object", "properties": { "a": { "type": "string" } } });
        json!({ "type": "function", "function": { "name": name, "description": "d", "parameters": schema } })
    }

    #[test]
    fn every_row_of_the_table_does_what_it_says() {
        let schema = json!({ "type": "object", "properties": {} });
        let format = json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": schema } });
        let declared = json!([{ "functionDeclarations": [{ "name": "f", "description": "d",
            "parametersJsonSchema": { "type": "object", "properties": { "a": { "type": "string" } } } }] }]);
        let json_type = json!("application/json");
        let cases = [
            ("max_tokens", json!(7), "/generationConfig/maxOutputTokens", json!(7)),
            (
                "max_completion_tokens",
                json!(7),
                "/generationConfig/maxOutputTokens",
                json!(7),
            ),
            ("stop", json!("x"), "/generationConfig/stopSequences", json!(["x"])),
            ("temperature", json!(1.25), "/generationConfig/temperature", json!(1.25)),
            ("top_p", json!(0.5), "/generationConfig/topP", json!(0.5)),
            ("top_k", json!(5), "/generationConfig/topK", json!(5)),
            (
                "frequency_penalty",
                json!(0.5),
                "/generationConfig/frequencyPenalty",
                json!(0.5),
            ),
            (
                "presence_penalty",
                json!(-0.5),
                "/generationConfig/presencePenalty",
                json!(-0.5),
            ),
            ("seed", json!(5), "/generationConfig/seed", json!(5)),
            ("n", json!(2), "/generationConfig/candidateCount", json!(2)),
            ("tools", json!([function("f")]), "/tools", declared),
            (
                "response_format",
                format.clone(),
                "/generationConfig/responseJsonSchema",
                schema,
            ),
            (
                "response_format",
                format,
                "/generationConfig/responseMimeType",
                json_type.clone(),
            ),
            (
                "response_format",
                json!({ "type": "json_object" }),
                "/generationConfig/responseMimeType",
                json_type,
            ),
            (
                "reasoning_effort",
                json!("low"),
                "/generationConfig/thinkingConfig",
                json!({ "thinkingLevel": "LOW" }),
            ),
            // Without tools there is nothing to choose from.
            ("tool_choice", json!("required"), "/contents/0/role", json!("user")),
        ];
        table_holds(TABLE, MODEL, &translate, &cases);
        guide_agrees(TABLE, 2);
    }

    #[test]
    fn the_plainest_request_is_no_more_than_its_contents() {
        let expected = json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }] });
        assert_eq!(told(MODEL, &json!({})), (expected, vec![]));
    }

    #[test]
    fn how_hard_to_think_is_told_as_the_model_can_be_told() {
        for (effort, flash, pro, third_pro, older_flash, older_pro) in [
            ("none", "MINIMAL", "LOW", "LOW", 0, 128),
            ("minimal", "MINIMAL", "LOW", "LOW", 1024, 1024),
            ("low", "LOW", "LOW", "LOW", 1024, 1024),
            ("medium", "MEDIUM", "MEDIUM", "HIGH", 8192, 8192),
            ("high", "HIGH", "HIGH", "HIGH", 24_576, 24_576),
            ("xhigh", "HIGH", "HIGH", "HIGH", 24_576, 24_576),
            ("max", "HIGH", "HIGH", "HIGH", 24_576, 24_576),
        ] {
            let level = |level: &str| json!({ "thinkingLevel": level });
            let budget = |budget: i64| json!({ "thinkingBudget": budget });
            for (model, expected) in [
                (MODEL, level(flash)),
                ("gemini-3.1-pro-preview", level(pro)),
                ("models/gemini-3-pro-preview", level(third_pro)),
                ("gemini-2.5-flash", budget(older_flash)),
                ("models/gemini-2.5-pro", budget(older_pro)),
            ] {
                let (body, dropped) = told(model, &json!({ "reasoning_effort": effort }));
                assert_eq!(body["generationConfig"]["thinkingConfig"], expected, "{model} {effort}");
                assert!(dropped.is_empty());
            }
        }
        let (body, dropped) = told("gemini-2.0-flash", &json!({ "reasoning_effort": "high" }));
        assert!(body.get("generationConfig").is_none());
        assert_eq!(dropped, ["reasoning_effort"]);
        for model in [MODEL, "gemini-2.0-flash"] {
            assert!(translate(&call(model, &json!({ "reasoning_effort": "very" }))).is_err());
        }
    }

    #[test]
    fn the_choice_of_tools_is_mapped() {
        let named = json!({ "type": "function", "function": { "name": "f" } });
        for (choice, strict, expected) in [
            (json!("auto"), false, Value::Null),
            (Value::Null, true, json!({ "mode": "VALIDATED" })),
            (json!("none"), true, json!({ "mode": "NONE" })),
            (json!("required"), false, json!({ "mode": "ANY" })),
            (named, false, json!({ "mode": "ANY", "allowedFunctionNames": ["f"] })),
        ] {
            let mut tool = function("f");
            tool["function"]["strict"] = json!(strict);
            let (body, _) = told(MODEL, &json!({ "tools": [tool], "tool_choice": choice }));
            assert_eq!(body["toolConfig"]["functionCallingConfig"], expected, "{choice}");
        }
    }

    #[test]
    fn a_conversation_with_tools_and_pictures_is_put_in_order() {
        let signed = json!({ "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{\"a\":1}" },
            "extra_content": { "google": { "thought_signature": "s" } } });
        let plain = json!({ "id": "c2", "type": "function", "function": { "name": "g", "arguments": "" } });
        let messages = json!([
            { "role": "system", "content": "one" },
            { "role": "user", "content": [
                { "type": "text", "text": "look", "cache_control": { "type": "ephemeral" } },
                { "type": "image_url", "image_url": { "url": "https://a.example/i.PNG?x=1" } },
                { "type": "image_url", "image_url": { "url": "https://a.example/i" } },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,AA" } },
                { "type": "input_audio", "input_audio": { "data": "BB", "format": "wav" } },
            ] },
            { "role": "assistant", "content": "", "tool_calls": [signed, plain] },
            { "role": "tool", "tool_call_id": "c1", "content": "{\"sun\":true}" },
            { "role": "tool", "tool_call_id": "c2", "content": "rain" },
            { "role": "user", "content": "well?" },
        ]);
        let (body, dropped) = told(MODEL, &json!({ "messages": messages }));
        assert_eq!(dropped, ["messages.cache_control"]);
        assert_eq!(body["systemInstruction"], json!({ "parts": [{ "text": "one" }] }));
        let expected = json!([
            { "role": "user", "parts": [
                { "text": "look" },
                { "fileData": { "fileUri": "https://a.example/i.PNG?x=1", "mimeType": "image/png" } },
                { "fileData": { "fileUri": "https://a.example/i" } },
                { "inlineData": { "mimeType": "image/png", "data": "AA" } },
                { "inlineData": { "mimeType": "audio/wav", "data": "BB" } },
            ] },
            { "role": "model", "parts": [
                { "functionCall": { "name": "f", "args": { "a": 1 } }, "thoughtSignature": "s" },
                { "functionCall": { "name": "g", "args": {} } },
            ] },
            { "role": "user", "parts": [
                { "functionResponse": { "name": "f", "response": { "sun": true } } },
                { "functionResponse": { "name": "g", "response": { "output": "rain" } } },
                { "text": "well?" },
            ] },
        ]);
        assert_eq!(body["contents"], expected);
    }

    #[test]
    fn a_call_without_its_mark_gets_the_documented_stand_in_where_one_is_wanted() {
        let call = json!({ "id": "c", "type": "function", "function": { "name": "f" } });
        let with = json!({ "messages": [{ "role": "assistant", "tool_calls": [call, call] }] });
        let (body, _) = told(MODEL, &with);
        let parts = &body["contents"][0]["parts"];
        assert_eq!(parts[0]["thoughtSignature"], NO_SIGNATURE);
        assert!(parts[1].get("thoughtSignature").is_none());
        let (body, _) = told("gemini-2.5-flash", &with);
        assert!(body["contents"][0]["parts"][0].get("thoughtSignature").is_none());
    }

    #[test]
    fn a_result_of_no_call_is_the_callers_fault() {
        let with = json!({ "messages": [{ "role": "tool", "tool_call_id": "c", "content": "x" }] });
        let failure = translate(&call(MODEL, &with)).unwrap_err();
        assert!(matches!(
            failure.kind,
            ProviderErrorKind::BadRequest { status: 400, .. }
        ));
    }
}
