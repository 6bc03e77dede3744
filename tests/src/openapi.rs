//! The served OpenAPI document, as a judge of answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use jsonschema::Validator;
use serde_json::{Value, json};

/// The document, read strictly, and the schemas that were compiled from it so far.
pub struct Contract {
    document: Value,
    compiled: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Contract {
    /// The document, its schemas closed.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Of this document.
    pub fn new(mut document: Value) -> Self {
        // Errors may say more than is documented, and providers do.
        let open = [
            "Problem",
            "OpenAiErrorBody",
            "OpenAiError",
            "ChatCompletion",
            "ChatChoice",
            "ChatCompletionChunk",
            "ChatChunkChoice",
            "ChatUsage",
            "AnthropicErrorBody",
            "AnthropicError",
            "AnthropicMessage",
            "AnthropicUsage",
            "AnthropicBlock",
            "AnthropicDelta",
            "AnthropicEnding",
            "AnthropicEvent",
        ];
        if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
            for (_, schema) in schemas.iter_mut().filter(|(name, _)| !open.contains(&name.as_str())) {
                close(schema);
            }
        }
        Self {
            document,
            compiled: Mutex::new(HashMap::new()),
        }
    }

    /// Says what about an answer is not as the document has it. A path or a method that is not in it must be answered
    /// by a problem; a streamed body is taken as it is.
    pub fn check(
        &self,
        method: &str,
        path: &str,
        status: u16,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<(), String> {
        let path = path.split('?').next().unwrap_or_default();
        let kind = content_type
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default()
            .trim();
        let Some((pointer, answer)) = self.answer(method, path, status) else {
            // The stub of Stripe is no part of the API.
            if path.starts_with("/stripe-stub/") || path.starts_with("/docs/") && status == 200 {
                return Ok(());
            }
            return if status >= 400 && kind == "application/problem+json" {
                self.check_body("/components/schemas/Problem", body)
            } else if status >= 400 && kind == "application/json" && path.starts_with("/v1/messages") {
                self.check_body("/components/schemas/AnthropicErrorBody", body)
            } else if status >= 400 && kind == "application/json" {
                self.check_body("/components/schemas/OpenAiErrorBody", body)
            } else {
                Err(format!(
                    "{method} {path} is not in the document, and {status} is no error"
                ))
            };
        };
        let Some(content) = answer["content"].as_object().filter(|c| !c.is_empty()) else {
            return match body.len() {
                0 => Ok(()),
                n => Err(format!(
                    "{status} has no body in the document, but one of {n} bytes came"
                )),
            };
        };
        let Some(documented) = content.get(kind) else {
            let kinds: Vec<&String> = content.keys().collect();
            return Err(format!("{status} came as `{kind}`, documented are {kinds:?}"));
        };
        if !kind.ends_with("json") || documented["schema"].is_null() {
            return Ok(());
        }
        self.check_body(&format!("{pointer}/content/{}/schema", escape(kind)), body)
    }

    /// Says what about the data of an event with a name is not as the document has it.
    pub fn check_event(&self, name: &str, data: &[u8]) -> Result<(), String> {
        let schema = match name {
            "message.started" | "message.completed" | "message.cancelled" => "MessageEventData",
            "message.delta" => "MessageDeltaEventData",
            "error" => "ErrorEventData",
            other => return Err(format!("the event {other} is not documented")),
        };
        self.check_body(&format!("/components/schemas/{schema}"), data)
    }

    /// Says what about an event of another dialect's stream is not as the document has it. It is named like its type.
    pub fn check_dialect(&self, schema: &str, name: Option<&str>, data: &[u8]) -> Result<(), String> {
        let said: Value = serde_json::from_slice(data).map_err(|e| format!("the data is not JSON: {e}"))?;
        if said["type"].as_str() != name {
            return Err(format!(
                "the event {name:?} brings something of the type {}",
                said["type"]
            ));
        }
        self.check_body(&format!("/components/schemas/{schema}"), data)
    }

    /// Says what about the data of an event without a name is not as the document has it: they are the relay's, and
    /// OpenAI's clients read them.
    pub fn check_data(&self, data: &[u8]) -> Result<(), String> {
        if data == b"[DONE]" {
            return Ok(());
        }
        let failed = serde_json::from_slice(data).is_ok_and(|data: Value| data.get("error").is_some());
        let schema = if failed {
            "OpenAiErrorBody"
        } else {
            "ChatCompletionChunk"
        };
        self.check_body(&format!("/components/schemas/{schema}"), data)
    }

    /// The documented answer and where it stands.
    fn answer(&self, method: &str, path: &str, status: u16) -> Option<(String, &Value)> {
        let paths = self.document["paths"].as_object()?;
        // What is spelt out goes before what has a parameter.
        let template = paths
            .keys()
            .filter(|template| fits(template, path))
            .min_by_key(|template| template.matches('{').count())?;
        let method = if method == "HEAD" {
            "get"
        } else {
            &method.to_lowercase()
        };
        let answers = &paths[template][method]["responses"];
        let key = [status.to_string(), "default".to_owned()]
            .into_iter()
            .find(|key| answers.get(key).is_some())?;
        if key == "default" && status < 400 {
            return None;
        }
        let pointer = format!("/paths/{}/{method}/responses/{key}", escape(template));
        Some((pointer, &answers[&key]))
    }

    fn check_body(&self, pointer: &str, body: &[u8]) -> Result<(), String> {
        let body: Value = serde_json::from_slice(body).map_err(|e| format!("the body is not JSON: {e}"))?;
        let validator = self.validator(pointer);
        let faults: Vec<String> = validator
            .iter_errors(&body)
            .map(|e| format!("{} at `{}`", e, e.instance_path()))
            .collect();
        if faults.is_empty() {
            Ok(())
        } else {
            Err(format!("{}\nin {body}", faults.join("; ")))
        }
    }

    fn validator(&self, pointer: &str) -> Arc<Validator> {
        let mut compiled = self.compiled.lock().unwrap();
        let make = || {
            let schema = json!({
                "$ref": format!("#{pointer}"),
                "components": self.document["components"],
                "paths": self.document["paths"],
            });
            let options = jsonschema::options().should_validate_formats(true);
            Arc::new(options.build(&schema).expect("the document's schemas compile"))
        };
        Arc::clone(compiled.entry(pointer.to_owned()).or_insert_with(make))
    }
}

/// Lets a schema take no members but those it names: answers are documented whole, though errors may say more.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.get("properties").is_some_and(Value::is_object) {
                members.entry("additionalProperties").or_insert(false.into());
            }
            members.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

fn escape(text: &str) -> String {
    text.replace('~', "~0")
        .replace('/', "~1")
        .replace('{', "%7B")
        .replace('}', "%7D")
}

/// The paths whose last name may have slashes in it, and what stands before it.
const MODELS: [(&str, &str); 2] = [
    ("/v1/models/{id}", "/v1/models/"),
    ("/v1/admin/models/{name}", "/v1/admin/models/"),
];

fn fits(template: &str, path: &str) -> bool {
    if let Some((_, before)) = MODELS.iter().find(|(known, _)| template == *known) {
        let name = path.strip_prefix(before);
        return name.is_some_and(|name| !name.is_empty());
    }
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template
            .iter()
            .zip(&path)
            .all(|(t, p)| t == p || (t.starts_with('{') && !p.is_empty()))
}
