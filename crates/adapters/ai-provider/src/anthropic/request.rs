//! OpenAI's request as Anthropic's.

use serde_json::{Value, json};

use anteroom_ports::chat::{ChatCall, ProviderError};

use super::thinking::{Circumstances, answers_unthought_call, sample, think};
use crate::shared::failure;
use crate::translate::ask::{Ask, Fate, Table, max_tokens, stop};
use crate::translate::tools::{Choice, Format, Tool, choice, closed, format, tools};
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
    ("tools", Fate::Mapped),
    ("tool_choice", Fate::Mapped),
    ("parallel_tool_calls", Fate::Mapped),
    ("response_format", Fate::Mapped),
    ("reasoning_effort", Fate::Mapped),
    ("thinking", Fate::Mapped),
    ("user", Fate::Mapped),
    ("frequency_penalty", Fate::Dropped),
    ("presence_penalty", Fate::Dropped),
    ("logit_bias", Fate::Dropped),
    ("seed", Fate::Dropped),
    ("store", Fate::Dropped),
    ("metadata", Fate::Dropped),
    ("service_tier", Fate::Dropped),
    ("prediction", Fate::Dropped),
    ("prompt_cache_key", Fate::Dropped),
    ("safety_identifier", Fate::Dropped),
    ("verbosity", Fate::Dropped),
    ("n", Fate::Refused),
    ("logprobs", Fate::Refused),
    ("top_logprobs", Fate::Refused),
    ("modalities", Fate::Refused),
    ("audio", Fate::Refused),
    ("web_search_options", Fate::Refused),
    ("functions", Fate::Refused),
    ("function_call", Fate::Refused),
];

/// The body for the server, and what it cannot be told.
pub(super) fn translate(call: &ChatCall, assumed_max: u32) -> Result<(Value, Vec<String>), ProviderError> {
    let mut ask = Ask::read(&call.body, TABLE)?;
    let _ = ask.take_value("model");
    let max = max_tokens(&mut ask)?.unwrap_or(assumed_max);
    let mut body = json!({ "model": call.model, "max_tokens": max });
    let turns = turns(&mut ask)?;
    let unthought = answers_unthought_call(&turns);
    conversation(&mut body, turns)?;
    if let Some(stop) = stop(&mut ask)? {
        body["stop_sequences"] = json!(stop);
    }
    let forced = tooling(&mut body, &mut ask)?;
    match format(&mut ask)? {
        // The API has a format of its own for this. A forced tool, which others use, would rule out tools and thought.
        Some(Format::Schema(schema)) => {
            body["output_config"] = json!({ "format": { "type": "json_schema", "schema": closed(schema) } });
        }
        Some(Format::Object) => {
            let why = "this model's provider knows `json_schema`, but no JSON without a schema";
            return Err(failure::unsupported("response_format", why));
        }
        None => {}
    }
    let circumstances = Circumstances { max, forced, unthought };
    let thinks = think(&mut body, &mut ask, &call.model, circumstances)?;
    sample(&mut body, &mut ask, &call.model, thinks)?;
    if let Some(user) = ask.take::<String>("user", "a text")? {
        body["metadata"] = json!({ "user_id": user });
    }
    Ok((body, [call.lost(), ask.dropped()].concat()))
}

/// The tools, and whether one has to be called.
fn tooling(body: &mut Value, ask: &mut Ask) -> Result<bool, ProviderError> {
    let tools = tools(ask)?;
    let one_at_a_time = ask.take::<bool>("parallel_tool_calls", "true or false")? == Some(false);
    let choice = choice(ask)?;
    if tools.is_empty() {
        return Ok(false);
    }
    let forced = matches!(choice, Some(Choice::Required | Choice::Named(_)));
    body["tools"] = tools.into_iter().map(tool).collect();
    let mut chosen = match choice {
        Some(Choice::None) => {
            body["tool_choice"] = json!({ "type": "none" });
            return Ok(false);
        }
        None if !one_at_a_time => return Ok(false),
        None | Some(Choice::Auto) => json!({ "type": "auto" }),
        Some(Choice::Required) => json!({ "type": "any" }),
        Some(Choice::Named(name)) => json!({ "type": "tool", "name": name }),
    };
    if one_at_a_time {
        chosen["disable_parallel_tool_use"] = json!(true);
    }
    body["tool_choice"] = chosen;
    Ok(forced)
}

fn tool(tool: Tool) -> Value {
    let strict = tool.strict == Some(true);
    let schema = tool
        .parameters
        .unwrap_or_else(|| json!({ "type": "object", "properties": {} }));
    let mut made = json!({ "name": tool.name, "input_schema": if strict { closed(schema) } else { schema } });
    if let Some(description) = tool.description {
        made["description"] = json!(description);
    }
    if strict {
        made["strict"] = json!(true);
    }
    mark(&mut made, tool.cache_control);
    made
}

/// `system` and `messages`. Instructions go to the front, wherever they stood; turns of the same side become one, as
/// results of tools have to stand in front of what the user says next.
fn conversation(body: &mut Value, turns: Vec<Turn>) -> Result<(), ProviderError> {
    let mut system = Vec::new();
    let mut messages: Vec<(&'static str, Vec<Value>)> = Vec::new();
    for turn in turns {
        let (role, blocks) = match turn {
            Turn::System(parts) => {
                for part in parts {
                    system.push(text_only(part)?);
                }
                continue;
            }
            Turn::User(parts) => ("user", blocks(parts)?),
            Turn::Tool { call_id, result } => {
                let content = blocks(result)?;
                (
                    "user",
                    vec![json!({ "type": "tool_result", "tool_use_id": call_id, "content": content })],
                )
            }
            Turn::Assistant { said, calls, thoughts } => {
                let said = said.into_iter().map(text_only).collect::<Result<Vec<_>, _>>()?;
                let calls = calls.iter().map(tool_use);
                ("assistant", thoughts.into_iter().chain(said).chain(calls).collect())
            }
        };
        if blocks.is_empty() {
            continue;
        }
        match messages.last_mut() {
            Some((last, content)) if *last == role => content.extend(blocks),
            _ => messages.push((role, blocks)),
        }
    }
    if !system.is_empty() {
        body["system"] = Value::Array(system);
    }
    let message = |(role, content)| json!({ "role": role, "content": content });
    body["messages"] = messages.into_iter().map(message).collect();
    Ok(())
}

fn tool_use(call: &Call) -> Value {
    json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments })
}

fn blocks(parts: Vec<Part>) -> Result<Vec<Value>, ProviderError> {
    parts.into_iter().map(block).collect()
}

fn block(part: Part) -> Result<Value, ProviderError> {
    let base64 = |data: Data| json!({ "type": "base64", "media_type": data.mime, "data": data.base64 });
    let mut block = match part.what {
        What::Text(text) => json!({ "type": "text", "text": text }),
        What::Image(Source::Url(url)) => json!({ "type": "image", "source": { "type": "url", "url": url } }),
        What::Image(Source::Data(data)) => json!({ "type": "image", "source": base64(data) }),
        What::File { data, name } if data.mime == "application/pdf" => {
            let mut block = json!({ "type": "document", "source": base64(data) });
            if let Some(name) = name {
                block["title"] = json!(name);
            }
            block
        }
        What::File { .. } => {
            return Err(failure::unsupported(
                &part.at,
                "this model's provider reads files in PDF only",
            ));
        }
        What::Audio(_) => return Err(failure::unsupported(&part.at, "this model's provider hears nothing")),
    };
    mark(&mut block, part.cache_control);
    Ok(block)
}

fn text_only(part: Part) -> Result<Value, ProviderError> {
    match part.what {
        What::Text(_) => block(part),
        _ => Err(failure::unsupported(
            &part.at,
            "this model's provider takes text only in such a message",
        )),
    }
}

fn mark(block: &mut Value, cache_control: Option<Value>) {
    if let Some(mark) = cache_control {
        block["cache_control"] = mark;
    }
}

#[cfg(test)]
mod tests {
    use anteroom_ports::chat::ProviderErrorKind;

    use super::*;
    use crate::translate::proof::{call, guide_agrees, table_holds};

    /// Knows every parameter.
    const MODEL: &str = "claude-opus-4-6";

    fn told(model: &str, with: &Value) -> (Value, Vec<String>) {
        translate(&call(model, with), 4096).unwrap()
    }

    fn function(name: &str) -> Value {
        let schema = json!({ "type": "object", "properties": { "a": { "type": "string" } } });
        json!({ "type": "function", "function": { "name": name, "description": "d", "parameters": schema } })
    }

    #[test]
    fn every_row_of_the_table_does_what_it_says() {
        let schema = json!({ "type": "object", "properties": {} });
        let format = json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": schema } });
        let closed = json!({ "type": "object", "properties": {}, "additionalProperties": false });
        let declared = json!([{ "name": "f", "description": "d",
            "input_schema": { "type": "object", "properties": { "a": { "type": "string" } } } }]);
        let cases = [
            ("max_tokens", json!(7), "/max_tokens", json!(7)),
            ("max_completion_tokens", json!(7), "/max_tokens", json!(7)),
            ("stop", json!("x"), "/stop_sequences", json!(["x"])),
            ("stop", json!(["x", "y"]), "/stop_sequences", json!(["x", "y"])),
            ("temperature", json!(0.25), "/temperature", json!(0.25)),
            ("top_p", json!(0.5), "/top_p", json!(0.5)),
            ("top_k", json!(5), "/top_k", json!(5)),
            ("tools", json!([function("f")]), "/tools", declared),
            (
                "response_format",
                format,
                "/output_config/format",
                json!({ "type": "json_schema", "schema": closed }),
            ),
            (
                "reasoning_effort",
                json!("minimal"),
                "/output_config/effort",
                json!("low"),
            ),
            (
                "reasoning_effort",
                json!("high"),
                "/thinking",
                json!({ "type": "adaptive" }),
            ),
            (
                "reasoning_effort",
                json!("none"),
                "/thinking",
                json!({ "type": "disabled" }),
            ),
            (
                "thinking",
                json!({ "type": "enabled" }),
                "/thinking",
                json!({ "type": "enabled" }),
            ),
            ("user", json!("u-1"), "/metadata", json!({ "user_id": "u-1" })),
            // Without tools there is nothing to choose from.
            ("tool_choice", json!("required"), "/model", json!(MODEL)),
            ("parallel_tool_calls", json!(false), "/model", json!(MODEL)),
        ];
        table_holds(TABLE, MODEL, &|call| translate(call, 4096), &cases);
        guide_agrees(TABLE, 1);
    }

    #[test]
    fn the_plainest_request_has_what_the_api_wants() {
        let content = json!([{ "type": "text", "text": "hi" }]);
        let expected = json!({ "model": "claude-x", "max_tokens": 4096,
            "messages": [{ "role": "user", "content": content }] });
        assert_eq!(told("claude-x", &json!({})), (expected, vec![]));
    }

    #[test]
    fn the_choice_of_tools_is_mapped_with_their_order() {
        let named = json!({ "type": "function", "function": { "name": "f" } });
        for (choice, parallel, expected) in [
            (json!("auto"), true, json!({ "type": "auto" })),
            (json!("none"), true, json!({ "type": "none" })),
            (json!("none"), false, json!({ "type": "none" })),
            (json!("required"), true, json!({ "type": "any" })),
            (named, true, json!({ "type": "tool", "name": "f" })),
            (Value::Null, true, Value::Null),
            (
                Value::Null,
                false,
                json!({ "type": "auto", "disable_parallel_tool_use": true }),
            ),
            (
                json!("required"),
                false,
                json!({ "type": "any", "disable_parallel_tool_use": true }),
            ),
        ] {
            let with = json!({ "tools": [function("f")], "tool_choice": choice, "parallel_tool_calls": parallel });
            let (body, dropped) = told(MODEL, &with);
            assert_eq!(body["tool_choice"], expected, "{with}");
            assert!(dropped.is_empty());
        }
        let mut strict = function("f");
        strict["function"]["strict"] = json!(true);
        strict["cache_control"] = json!({ "type": "ephemeral" });
        let (body, _) = told(MODEL, &json!({ "tools": [strict] }));
        assert_eq!(body["tools"][0]["strict"], true);
        assert_eq!(body["tools"][0]["input_schema"]["additionalProperties"], false);
        assert_eq!(body["tools"][0]["cache_control"], json!({ "type": "ephemeral" }));
    }

    #[test]
    fn json_without_a_schema_is_refused() {
        let with = json!({ "response_format": { "type": "json_object" } });
        let parameter = "response_format".to_owned();
        let refused = translate(&call(MODEL, &with), 1).unwrap_err();
        assert_eq!(refused.kind, ProviderErrorKind::Unsupported { parameter });
    }

    #[test]
    fn a_conversation_with_tools_and_pictures_is_put_in_order() {
        let call_of = |id: &str, arguments: &str| json!({ "id": id, "type": "function", "function": { "name": "f", "arguments": arguments } });
        let (body, dropped) = told(
            MODEL,
            &json!({ "messages": [
                { "role": "system", "content": "one" },
                { "role": "user", "content": [
                    { "type": "text", "text": "look", "cache_control": { "type": "ephemeral" } },
                    { "type": "image_url", "image_url": { "url": "https://a.example/i.png" } },
                    { "type": "image_url", "image_url": { "url": "data:image/png;base64,AA" } },
                    { "type": "file", "file": { "file_data": "data:application/pdf;base64,BB", "filename": "b.pdf" } },
                ] },
                { "role": "developer", "content": "two" },
                { "role": "assistant", "content": "", "tool_calls": [call_of("c1", "{\"a\":1}"), call_of("c2", "")],
                    "thinking_blocks": [{ "type": "thinking", "thinking": "t", "signature": "s" }] },
                { "role": "tool", "tool_call_id": "c1", "content": "sun" },
                { "role": "tool", "tool_call_id": "c2", "content": [{ "type": "text", "text": "rain" }] },
                { "role": "user", "content": "well?" },
                { "role": "assistant", "content": "" },
            ] }),
        );
        assert!(dropped.is_empty());
        let text = |text: &str| json!({ "type": "text", "text": text });
        let result =
            |id: &str, said: &str| json!({ "type": "tool_result", "tool_use_id": id, "content": [text(said)] });
        let base64 = |mime: &str, data: &str| json!({ "type": "base64", "media_type": mime, "data": data });
        assert_eq!(body["system"], json!([text("one"), text("two")]));
        let expected = json!([
            { "role": "user", "content": [
                { "type": "text", "text": "look", "cache_control": { "type": "ephemeral" } },
                { "type": "image", "source": { "type": "url", "url": "https://a.example/i.png" } },
                { "type": "image", "source": base64("image/png", "AA") },
                { "type": "document", "source": base64("application/pdf", "BB"), "title": "b.pdf" },
            ] },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "t", "signature": "s" },
                { "type": "tool_use", "id": "c1", "name": "f", "input": { "a": 1 } },
                { "type": "tool_use", "id": "c2", "name": "f", "input": {} },
            ] },
            { "role": "user", "content": [result("c1", "sun"), result("c2", "rain"), text("well?")] },
        ]);
        assert_eq!(body["messages"], expected);
    }

    #[test]
    fn what_the_api_cannot_take_in_a_message_is_refused_by_its_place() {
        let user = |part: Value| json!({ "messages": [{ "role": "user", "content": [part] }] });
        let picture = json!({ "type": "image_url", "image_url": { "url": "https://a.example/i.png" } });
        for with in [
            user(json!({ "type": "input_audio", "input_audio": { "data": "AA", "format": "wav" } })),
            user(json!({ "type": "file", "file": { "file_data": "data:text/csv;base64,AA" } })),
            json!({ "messages": [{ "role": "system", "content": [picture] }] }),
        ] {
            let parameter = "messages[0].content[0]".to_owned();
            let refused = translate(&call(MODEL, &with), 1).unwrap_err();
            assert_eq!(refused.kind, ProviderErrorKind::Unsupported { parameter });
        }
    }
}
