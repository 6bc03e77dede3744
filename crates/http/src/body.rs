//! Reading bodies: bounded, JSON only, with the place of every fault.

use std::future::{Ready, ready};

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
        while let Some(chunk) = self.payload.next().await {
            let chunk =
                chunk.map_err(|e| bad_request("unreadable_body", format!("the body could not be read: {e}")))?;
            if read.len() + chunk.len() > limit {
                return Err(too_large(limit));
            }
            read.extend_from_slice(&chunk);
        }
        Ok(read.freeze())
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
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|e| fault(&pointer(e.path()), e.inner()))?;
    reader.end().map_err(|e| fault("", &e))?;
    Ok(value)
}

fn fault(pointer: &str, error: &serde_json::Error) -> Problem {
    if !error.is_data() {
        return bad_request("malformed_json", format!("the body is not valid JSON: {error}"))
            .with("line", error.line())
            .with("column", error.column());
    }
    let text = error.to_string();
    // The place is told by the pointer; line and column of a well-formed body help nobody.
    let detail = text.split(" at line ").next().unwrap_or(&text).to_owned();
    let named = |prefix: &str| detail.strip_prefix(prefix).and_then(|rest| rest.split('`').next());
    let (code, member) = match (named("unknown field `"), named("missing field `")) {
        (Some(name), _) => ("unknown_field", Some(name)),
        (_, Some(name)) => ("required", Some(name)),
        _ => ("invalid_type", None),
    };
    let at = match member {
        Some(name) if !pointer.ends_with(&format!("/{name}")) => format!("{pointer}/{}", escape(name)),
        _ => pointer.to_owned(),
    };
    Problem::invalid(vec![FieldError {
        pointer: at,
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
        assert_eq!(told(b"{}"), of(422, "required", "/email"));
        assert_eq!(told(b"{\"email\":1}"), of(422, "invalid_type", "/email"));
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
