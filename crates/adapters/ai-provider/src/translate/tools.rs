//! OpenAI's tools, choice of tools and structured output.

use serde::Deserialize;
use serde_json::{Map, Value};

use anteroom_ports::chat::ProviderError;

use super::ask::Ask;
use crate::shared::failure;

/// A function that may be called.
#[derive(Debug, Deserialize)]
pub(crate) struct Tool {
    /// Its name.
    pub(crate) name: String,
    /// What it does.
    #[serde(default)]
    pub(crate) description: Option<String>,
    /// The JSON Schema of its arguments.
    #[serde(default)]
    pub(crate) parameters: Option<Value>,
    /// Whether calls must keep to it.
    #[serde(default)]
    pub(crate) strict: Option<bool>,
    /// Anthropic's mark that the prompt may be cached up to here.
    #[serde(skip)]
    pub(crate) cache_control: Option<Value>,
}

/// Which tools are to be called.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Those that seem right, if any.
    Auto,
    /// None.
    None,
    /// At least one.
    Required,
    /// This one.
    Named(String),
}

/// What the answer's text has to be.
#[derive(Debug, PartialEq)]
pub(crate) enum Format {
    /// Some JSON object.
    Object,
    /// JSON that keeps to this schema.
    Schema(Value),
}

/// Reads `tools`.
pub(crate) fn tools(ask: &mut Ask) -> Result<Vec<Tool>, ProviderError> {
    let tools: Vec<Value> = ask.take("tools", "a list of tools")?.unwrap_or_default();
    let read = |(number, mut tool): (usize, Value)| {
        let at = format!("tools[{number}]");
        if tool["type"] != "function" {
            return Err(failure::unsupported(&at, "this model's provider knows functions only"));
        }
        let cache_control = tool
            .get_mut("cache_control")
            .map(Value::take)
            .filter(|mark| !mark.is_null());
        let function = tool.get_mut("function").map(Value::take).unwrap_or_default();
        let bad = |_| failure::bad_request(Some(&at), format!("`{at}.function` is no function with a name"));
        let function: Tool = serde_json::from_value(function).map_err(bad)?;
        Ok(Tool {
            cache_control,
            ..function
        })
    };
    tools.into_iter().enumerate().map(read).collect()
}

/// Reads `tool_choice`.
pub(crate) fn choice(ask: &mut Ask) -> Result<Option<Choice>, ProviderError> {
    let Some(choice) = ask.take_value("tool_choice") else {
        return Ok(None);
    };
    let named = choice["function"]["name"]
        .as_str()
        .filter(|_| choice["type"] == "function");
    match (choice.as_str(), named) {
        (Some("auto"), _) => Ok(Some(Choice::Auto)),
        (Some("none"), _) => Ok(Some(Choice::None)),
        (Some("required"), _) => Ok(Some(Choice::Required)),
        (None, Some(name)) => Ok(Some(Choice::Named(name.to_owned()))),
        _ => Err(failure::unsupported(
            "tool_choice",
            "this model's provider knows `auto`, `none`, `required` and one function by its name",
        )),
    }
}

/// Reads `response_format`.
pub(crate) fn format(ask: &mut Ask) -> Result<Option<Format>, ProviderError> {
    let Some(mut format) = ask.take_value("response_format") else {
        return Ok(None);
    };
    match format["type"].as_str() {
        Some("json_object") => Ok(Some(Format::Object)),
        Some("json_schema") => match format.pointer_mut("/json_schema/schema").map(Value::take) {
            Some(schema @ Value::Object(_)) => Ok(Some(Format::Schema(schema))),
            _ => {
                let name = "response_format.json_schema.schema";
                Err(failure::bad_request(
                    Some(name),
                    format!("`{name}` is missing or no object"),
                ))
            }
        },
        _ => Err(failure::unsupported(
            "response_format",
            "this model's provider knows `text`, `json_object` and `json_schema`",
        )),
    }
}

/// A schema whose objects have no members but those it names. It asks for less than the original, so what keeps to it
/// keeps to that as well; a schema that says something else of further members is left alone.
pub(crate) fn closed(schema: Value) -> Value {
    let Value::Object(mut members) = schema else {
        return schema;
    };
    let is_object = match members.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        Some(kind) => kind == "object",
        None => members.contains_key("properties"),
    };
    if is_object && !members.contains_key("additionalProperties") {
        members.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    let each = |members: &mut Map<String, Value>| {
        for value in members.values_mut() {
            *value = closed(value.take());
        }
    };
    for name in ["properties", "$defs", "definitions"] {
        if let Some(Value::Object(schemas)) = members.get_mut(name) {
            each(schemas);
        }
    }
    for name in ["items", "anyOf", "oneOf", "allOf", "prefixItems"] {
        match members.get_mut(name) {
            Some(Value::Array(schemas)) => schemas.iter_mut().for_each(|schema| *schema = closed(schema.take())),
            Some(schema) => *schema = closed(schema.take()),
            None => {}
        }
    }
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::ask::Fate;
    use super::*;

    fn ask(body: &Value) -> Ask {
        let table = [
            ("tools", Fate::Mapped),
            ("tool_choice", Fate::Mapped),
            ("response_format", Fate::Mapped),
        ];
        Ask::read(body.to_string().as_bytes(), &table).unwrap()
    }

    #[test]
    fn tools_and_the_choice_among_them_are_read() {
        let function = json!({ "name": "f", "description": "d", "parameters": { "type": "object" }, "strict": true });
        let mark = json!({ "type": "ephemeral" });
        let tools = tools(&mut ask(&json!({ "tools": [
            { "type": "function", "function": function, "cache_control": mark },
            { "type": "function", "function": { "name": "g" } },
        ] })))
        .unwrap();
        assert_eq!((tools[0].name.as_str(), tools[0].strict), ("f", Some(true)));
        assert_eq!(tools[0].cache_control, Some(mark));
        assert!(tools[1].parameters.is_none() && tools[1].cache_control.is_none());
        for (given, expected) in [
            (json!("auto"), Choice::Auto),
            (json!("none"), Choice::None),
            (json!("required"), Choice::Required),
            (
                json!({ "type": "function", "function": { "name": "f" } }),
                Choice::Named("f".into()),
            ),
        ] {
            assert_eq!(
                choice(&mut ask(&json!({ "tool_choice": given }))).unwrap(),
                Some(expected)
            );
        }
    }

    #[test]
    fn what_is_no_function_is_refused() {
        for tool in [
            json!({ "type": "web_search" }),
            json!({ "type": "custom", "custom": {} }),
            json!(7),
        ] {
            assert!(tools(&mut ask(&json!({ "tools": [tool] }))).is_err(), "{tool}");
        }
        for given in [json!("any"), json!({ "type": "allowed_tools" }), json!(7)] {
            assert!(choice(&mut ask(&json!({ "tool_choice": given }))).is_err());
        }
        for given in [
            json!({ "type": "grammar" }),
            json!({ "type": "json_schema", "json_schema": 7 }),
            json!("json"),
        ] {
            assert!(format(&mut ask(&json!({ "response_format": given }))).is_err());
        }
    }

    #[test]
    fn a_schema_is_closed_all_the_way_down() {
        let open = json!({ "type": "object", "properties": {
            "a": { "type": "array", "items": { "type": "object", "properties": {} } },
            "b": { "anyOf": [{ "type": "object" }, { "type": "null" }] },
            "c": { "type": "object", "additionalProperties": { "type": "string" } },
            "type": { "type": "string" },
        }, "$defs": { "d": { "properties": {} } } });
        let expected = json!({ "type": "object", "additionalProperties": false, "properties": {
            "a": { "type": "array", "items": { "type": "object", "properties": {}, "additionalProperties": false } },
            "b": { "anyOf": [{ "type": "object", "additionalProperties": false }, { "type": "null" }] },
            "c": { "type": "object", "additionalProperties": { "type": "string" } },
            "type": { "type": "string" },
        }, "$defs": { "d": { "properties": {}, "additionalProperties": false } } });
        assert_eq!(closed(open), expected);
    }
}
