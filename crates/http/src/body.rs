//! Reading bodies: bounded, JSON only, with the place of every fault.

use std::future::{Ready, ready};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::{StatusCode, header};
use actix_web::{FromRequest, HttpRequest};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;

use crate::problem::{FieldError, Problem};

/// A request's body, not read yet: an endpoint reads it after it knows who calls.
pub struct Body {
    request: HttpRequest,
    payload: Payload,
}

impl FromRequest for Body {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        ready(Ok(Self {
            request: request.clone(),
            payload: payload.take(),
        }))
    }
}

impl Body {
    /// All bytes, at most `limit`.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, Problem> {
        let announced = self
            .request
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|n| n > limit) {
            return Err(too_large(limit));
        }
        let mut read = BytesMut::with_capacity(announced.unwrap_or(0).min(limit));
        let all = async {
            while let Some(chunk) = self.payload.next().await {
                let chunk =
                    chunk.map_err(|e| bad_request("unreadable_body", format!("the body could not be read: {e}")))?;
                if read.len() + chunk.len() > limit {
                    return Err(too_large(limit));
                }
                read.extend_from_slice(&chunk);
            }
            Ok(())
        };
        match tokio::time::timeout(patience(limit), all).await {
            Ok(outcome) => outcome?,
            Err(_) => return Err(too_slow()),
        }
        Ok(read.freeze())
    }

    /// Fails unless there is no body, or one that says nothing: an empty object.
    pub async fn nothing(self) -> Result<(), Problem> {
        let unwanted = || bad_request("body_not_wanted", "this takes no body; send none, or an empty object");
        match self.bytes(MOST_OF_NOTHING).await {
            Ok(bytes) if matches!(bytes.trim_ascii(), b"") => Ok(()),
            Ok(bytes) => match bytes
                .trim_ascii()
                .strip_prefix(b"{")
                .and_then(|rest| rest.strip_suffix(b"}"))
            {
                Some(inside) if inside.trim_ascii().is_empty() => Ok(()),
                _ => Err(unwanted()),
            },
            Err(problem) if problem.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(unwanted()),
            Err(problem) => Err(problem),
        }
    }

    /// All bytes of a JSON body.
    pub async fn json_bytes(self, limit: usize) -> Result<Bytes, Problem> {
        check_json(&self.request)?;
        self.bytes(limit).await
    }

    /// A JSON body read as `T`, with its bytes.
    pub async fn json<T: DeserializeOwned>(self, limit: usize) -> Result<(T, Bytes), Problem> {
        let bytes = self.json_bytes(limit).await?;
        Ok((parse(&bytes)?, bytes))
    }

    /// Like [`Body::json`]; `None` if there is no body.
    pub async fn optional_json<T: DeserializeOwned>(self, limit: usize) -> Result<Option<T>, Problem> {
        let request = self.request.clone();
        let bytes = self.bytes(limit).await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        check_json(&request)?;
        parse(&bytes).map(Some)
    }
}

/// The longest body that still says nothing, in bytes: `{}` with white space round it.
const MOST_OF_NOTHING: usize = 64;

/// How long a body may take: ten seconds, and a second more for each 256 KiB it may have.
fn patience(limit: usize) -> Duration {
    Duration::from_secs(10 + u64::try_from(limit / (256 * 1024)).unwrap_or(0))
}

fn too_slow() -> Problem {
    let problem = Problem::new(
        StatusCode::REQUEST_TIMEOUT,
        "body_too_slow",
        "the body did not come in time",
    );
    problem.header(header::CONNECTION, "close")
}

fn bad_request(code: &'static str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, code, detail)
}

fn too_large(limit: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!("the body has at most {limit} bytes here"),
    )
}

fn check_json(request: &HttpRequest) -> Result<(), Problem> {
    let unsupported = |detail: &str| Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail);
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(unsupported(
            "send the body as JSON with the header `Content-Type: application/json`",
        ));
    }
    match request.headers().get(header::CONTENT_ENCODING) {
        Some(coding) if !coding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            Err(unsupported("send the body without a Content-Encoding"))
        }
        _ => Ok(()),
    }
}

/// Reads JSON. A syntax error is 400 and says where in the text, a wrong or unknown member 422 and points to it.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        // Derived readers would take a list for an object, member by member.
        return Err(match serde_json::from_slice::<serde_json::Value>(bytes) {
            Ok(_) => invalid_member(
                "",
                "invalid_type",
                "invalid type: sequence, expected an object".to_owned(),
            ),
            Err(e) => malformed(&e),
        });
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value =
        serde_path_to_error::deserialize(&mut reader).map_err(|e| fault(&pointer(e.path()), e.inner(), bytes))?;
    reader.end().map_err(|e| fault("", &e, bytes))?;
    Ok(value)
}

fn fault(pointer: &str, error: &serde_json::Error, bytes: &[u8]) -> Problem {
    // A number where one of some words is expected counts as bad syntax with serde_json, so look at the text itself.
    if !error.is_data() && serde_json::from_slice::<serde_json::Value>(bytes).is_err() {
        return malformed(error);
    }
    let text = error.to_string();
    // The place is told by the pointer; line and column of a well-formed body help nobody.
    let detail = text.split(" at line ").next().unwrap_or(&text).to_owned();
    let detail = match detail.rsplit_once(", expected ") {
        _ if detail == "expected value" => "a value of the wrong type".to_owned(),
        // What was found may be a secret in the wrong place; what kind of thing it was says enough.
        Some((found, expected)) if found.starts_with("invalid ") => {
            let kind = found.split(['`', '"']).next().unwrap_or_default().trim_end();
            format!("{kind}, expected {expected}")
        }
        _ => detail,
    };
    // The path names a member that is there, known or not; one that is missing only the message names.
    let missing = detail
        .strip_prefix("missing field `")
        .and_then(|rest| rest.strip_suffix('`'));
    let (code, at) = match missing {
        Some(name) => ("required", format!("{pointer}/{}", escape(name))),
        None if detail.starts_with("unknown field `") => ("unknown_field", pointer.to_owned()),
        None => ("invalid_type", pointer.to_owned()),
    };
    invalid_member(&at, code, detail)
}

fn malformed(error: &serde_json::Error) -> Problem {
    bad_request("malformed_json", format!("the body is not valid JSON: {error}"))
        .with("line", error.line())
        .with("column", error.column())
}

fn invalid_member(pointer: &str, code: &str, detail: String) -> Problem {
    Problem::invalid(vec![FieldError {
        pointer: pointer.to_owned(),
        code: code.to_owned(),
        detail,
    }])
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// A path of serde's as a JSON Pointer (RFC 6901).
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer = format!("{pointer}/{index}"),
            Segment::Map { key } => pointer = format!("{pointer}/{}", escape(key)),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

/// For PATCH bodies: tells a member that is `null` from one that is absent.
pub(crate) fn present<'de, T: serde::Deserialize<'de>, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::Value;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Ask {
        email: String,
        #[serde(default)]
        tags: Vec<Tag>,
        #[serde(default)]
        size: Option<Size>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Size {
        Large,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Tag {
        name: String,
    }

    fn told(text: &[u8]) -> (u16, String, String) {
        let body = parse::<Ask>(text).unwrap_err().body("r");
        let first = &body["errors"][0];
        let word = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let code = if first.is_null() {
            word(&body["code"])
        } else {
            word(&first["code"])
        };
        (
            u16::try_from(body["status"].as_u64().unwrap()).unwrap(),
            code,
            word(&first["pointer"]),
        )
    }

    #[test]
    fn a_fault_is_pointed_to() {
        let of = |status, code: &str, pointer: &str| (status, code.to_owned(), pointer.to_owned());
        assert_eq!(told(b"{"), of(400, "malformed_json", ""));
        assert_eq!(told(b""), of(400, "malformed_json", ""));
        assert_eq!(told(b"{\"email\":\"\xff\"}"), of(400, "malformed_json", ""));
        assert_eq!(told(b"{\"email\":\"a\"} x"), of(400, "malformed_json", ""));
        assert_eq!(told(b"[]"), of(422, "invalid_type", ""));
        assert_eq!(told(b" [\"a\"]"), of(422, "invalid_type", ""));
        assert_eq!(told(b"[\"a\""), of(400, "malformed_json", ""));
        assert_eq!(told(b"{}"), of(422, "required", "/email"));
        assert_eq!(told(b"{\"email\":1}"), of(422, "invalid_type", "/email"));
        for size in ["1", "true", "[]", "\"small\"", "{}"] {
            let body = format!("{{\"email\":\"a\",\"size\":{size}}}");
            assert_eq!(told(body.as_bytes()), of(422, "invalid_type", "/size"), "{body}");
        }
        for (body, detail) in [
            ("{\"email\":7531902468}", "invalid type: integer, expected a string"),
            ("{\"email\":[\"hunter2\"]}", "invalid type: sequence, expected a string"),
            (
                "{\"email\":\"a\",\"tags\":\"hunter2, expected 3\"}",
                "invalid type: string, expected a sequence",
            ),
        ] {
            let problem = parse::<Ask>(body.as_bytes()).unwrap_err().body("r");
            assert_eq!(problem["detail"], detail, "what was sent is not repeated");
        }
        assert_eq!(told(b"{\"a/b`~\":1}"), of(422, "unknown_field", "/a~1b`~0"));
        assert_eq!(
            told(b"{\"email\":\"a\",\"role\":\"admin\"}"),
            of(422, "unknown_field", "/role")
        );
        assert_eq!(
            told(b"{\"email\":\"a\",\"tags\":[{\"name\":\"x\"},{\"name\":2}]}"),
            of(422, "invalid_type", "/tags/1/name")
        );
        assert_eq!(
            told(b"{\"email\":\"a\",\"tags\":[{}]}"),
            of(422, "required", "/tags/0/name")
        );
        assert_eq!(told(b"{\"email\":\"a\",\"email\":\"b\"}").0, 422);
    }
}
