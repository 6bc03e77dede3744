//! Errors as clients see them: RFC 9457 problem details, and OpenAI's or Anthropic's error object where their SDKs read it.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use anteroom_ports::{HashError, StoreError};
use anteroom_services::accounts::FieldFault;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// What is wrong with one part of a request.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// Where, as a JSON Pointer (RFC 6901) into the body.
    #[schema(example = "/email")]
    pub pointer: String,
    /// Stable code of the rule that failed.
    #[schema(example = "invalid_email")]
    pub code: String,
    /// What is wrong and what to do.
    pub detail: String,
}

/// In which shape a path's errors come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// RFC 9457.
    Problem,
    /// What OpenAI's SDKs read.
    OpenAi,
    /// What Anthropic's SDKs read.
    Anthropic,
}

impl Shape {
    const PATHS: [(&'static str, Self); 6] = [
        ("/v1/chat/completions", Self::OpenAi),
        ("/v1/completions", Self::OpenAi),
        ("/v1/responses", Self::OpenAi),
        ("/v1/embeddings", Self::OpenAi),
        ("/v1/models", Self::OpenAi),
        ("/v1/messages", Self::Anthropic),
    ];

    /// Of a path, and of everything below it.
    pub(crate) fn of(path: &str) -> Self {
        let below = |known: &str| path == known || path.strip_prefix(known).is_some_and(|rest| rest.starts_with('/'));
        let found = Self::PATHS.iter().find(|(known, _)| below(known));
        found.map_or(Self::Problem, |(_, shape)| *shape)
    }
}

/// An error on its way to the client. Boxed: every endpoint's answer carries room for one.
#[derive(Debug, Clone)]
pub struct Problem(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    status: StatusCode,
    code: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    extra: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// OpenAI's `param`.
    param: Option<String>,
    /// An upstream's own error object, to be passed on where OpenAI's shape is spoken.
    upstream: Option<Value>,
    /// What only the log is told.
    log: Option<String>,
}

impl Problem {
    /// A problem with a stable code and what to do about it.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            status,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            extra: Map::new(),
            headers: Vec::new(),
            param: None,
            upstream: None,
            log: None,
        }))
    }

    /// A defect or a broken store: the body says nothing, the log everything.
    pub fn internal(log: impl Into<String>) -> Self {
        let detail = "something went wrong on the server; the log has it under this request id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", detail).logged(log)
    }

    /// 401 with the scheme a client should use.
    pub fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "sign in first: the session is missing, expired or ended",
        )
        .header(header::WWW_AUTHENTICATE, "Bearer")
    }

    /// 401 for an API key that opens nothing.
    pub fn no_such_key() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "this API key is mistyped, unknown, expired or deleted",
        )
        .header(header::WWW_AUTHENTICATE, "Bearer")
    }

    /// 403 for an account that may not be used, where its owner has proven themselves.
    pub fn account_disabled() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "account_disabled",
            "this account is closed; ask whoever runs this place",
        )
    }

    /// 409 for a login beyond the number of sessions that an account may have.
    pub fn too_many_sessions(limit: usize) -> Self {
        let detail =
            format!("the account is signed in at {limit} places, and may be at no more; log out at one of them");
        Self::new(StatusCode::CONFLICT, "too_many_sessions", detail).with("limit", limit)
    }

    /// 404 for a thing that is not there, or is somebody else's.
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what}"))
    }

    /// 404 for a path that no route has.
    pub fn no_route() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no_such_route",
            "there is nothing at this path; /docs lists what there is",
        )
    }

    /// 422 with what is wrong, field by field.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = errors
            .first()
            .map_or_else(|| "the request is invalid".to_owned(), |e| e.detail.clone());
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "validation_failed", detail);
        problem.0.errors = errors;
        problem
    }

    /// 422 for one field, at a JSON pointer.
    pub fn invalid_field(pointer: &str, code: &str, detail: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError {
            pointer: pointer.into(),
            code: code.into(),
            detail: detail.into(),
        }])
    }

    /// 422 for fields that a use case refused.
    pub fn refused(faults: Vec<FieldFault>) -> Self {
        let error = |f: FieldFault| FieldError {
            pointer: format!("/{}", f.field),
            code: f.code.to_owned(),
            detail: f.detail,
        };
        Self::invalid(faults.into_iter().map(error).collect())
    }

    /// 400 for a mailed token that opens nothing.
    pub fn invalid_token() -> Self {
        let detail = "this link is unknown, was used before, or has expired; ask for a new one";
        Self::new(StatusCode::BAD_REQUEST, "invalid_token", detail)
    }

    /// 409 where the deployment would be left without an admin.
    pub fn last_admin() -> Self {
        let detail = "this is the last admin; make somebody else one first";
        Self::new(StatusCode::CONFLICT, "last_admin", detail)
    }

    /// 429 for too many failed logins. The same whatever the address and whichever of the counters it was.
    pub fn login_blocked(retry_after_seconds: u64) -> Self {
        let wait = match retry_after_seconds {
            0..=1 => "1 second".to_owned(),
            seconds @ 2..=119 => format!("{seconds} seconds"),
            seconds => format!("{} minutes", seconds.div_ceil(60)),
        };
        let detail = format!("too many logins have failed; try again in {wait}");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "login_blocked", detail).retry_after(retry_after_seconds)
    }

    /// 503 with when to come back.
    pub fn unavailable(code: &'static str, detail: impl Into<String>, retry_after: u64) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(retry_after)
    }

    /// Adds `Retry-After`, in seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(header::RETRY_AFTER, &seconds.max(1).to_string())
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers.push((name, value));
        }
        self
    }

    /// Adds a member of its own to the problem.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.extra.insert(key.to_owned(), value.into());
        self
    }

    /// Names the parameter at fault, for OpenAI's shape.
    #[must_use]
    pub fn param(mut self, param: Option<&str>) -> Self {
        self.0.param = param.map(str::to_owned);
        self
    }

    /// Passes an upstream's own error object on, where OpenAI's shape is spoken.
    #[must_use]
    pub fn upstream(mut self, error: Option<Value>) -> Self {
        self.0.upstream = error;
        self
    }

    /// Adds what only the log is told.
    #[must_use]
    pub fn logged(mut self, log: impl Into<String>) -> Self {
        self.0.log = Some(log.into());
        self
    }

    /// What the log is told beyond status and code.
    pub fn log(&self) -> Option<&str> {
        self.0.log.as_deref()
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// The body as RFC 9457 wants it.
    pub fn body(&self, request_id: &str) -> Value {
        let mut body = json!({
            "type": "about:blank",
            "title": self.0.status.canonical_reason().unwrap_or("Error"),
            "status": self.0.status.as_u16(),
            "detail": self.0.detail,
            "code": self.0.code,
            "request_id": request_id,
        });
        if !self.0.errors.is_empty() {
            body["errors"] = json!(self.0.errors);
        }
        self.told(body, None)
    }

    /// A body with this problem's own members, and those of the provider's error where that is passed on: what it says of
    /// a refused request helps its caller more than our own words.
    fn told(&self, mut body: Value, upstream: Option<&Value>) -> Value {
        if let Value::Object(members) = &mut body {
            members.extend(self.0.extra.clone());
            let theirs = upstream.and_then(Value::as_object).into_iter().flatten();
            let said = theirs.filter(|(_, value)| !value.is_null());
            members.extend(said.map(|(key, value)| (key.clone(), value.clone())));
        }
        body
    }

    /// The body as OpenAI's SDKs read it.
    pub fn openai_body(&self, request_id: &str) -> Value {
        let kind = match self.0.status.as_u16() {
            401 => "authentication_error",
            402 => "insufficient_quota",
            403 => "permission_error",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        };
        let error = json!({
            "message": self.0.detail, "type": kind, "param": self.0.param, "code": self.0.code, "request_id": request_id,
        });
        json!({ "error": self.told(error, self.0.upstream.as_ref()) })
    }

    /// The body as Anthropic's SDKs read it, with our own code and details beside (<https://docs.anthropic.com/en/api/errors>).
    pub(crate) fn anthropic_body(&self, request_id: &str) -> Value {
        let kind = match self.0.status.as_u16() {
            401 => "authentication_error",
            402 => "billing_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            503 | 529 => "overloaded_error",
            504 => "timeout_error",
            500.. => "api_error",
            _ => "invalid_request_error",
        };
        let mut error = json!({ "message": self.0.detail, "code": self.0.code });
        if let Some(param) = &self.0.param {
            error["param"] = param.as_str().into();
        }
        let mut error = self.told(error, self.0.upstream.as_ref());
        // Last: a provider's own word for the kind is none of Anthropic's.
        error["type"] = kind.into();
        json!({ "type": "error", "error": error, "request_id": request_id })
    }

    /// The body in this shape, and its content type.
    pub(crate) fn shaped(&self, request_id: &str, shape: Shape) -> (&'static str, String) {
        match shape {
            Shape::Problem => ("application/problem+json", self.body(request_id).to_string()),
            Shape::OpenAi => ("application/json", self.openai_body(request_id).to_string()),
            Shape::Anthropic => ("application/json", self.anthropic_body(request_id).to_string()),
        }
    }

    /// The whole answer.
    pub(crate) fn response(&self, request_id: &str, shape: Shape) -> HttpResponse {
        let mut builder = HttpResponse::build(self.0.status);
        for (name, value) in &self.0.headers {
            builder.append_header((name.clone(), value.clone()));
        }
        let (kind, body) = self.shaped(request_id, shape);
        builder.content_type(kind).body(body)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.status.as_u16(), self.0.code)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.0.status
    }

    /// Only a fallback: the middleware `Edge` renders problems, since it knows the request id and the shape.
    fn error_response(&self) -> HttpResponse {
        self.response("", Shape::Problem)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Unavailable { .. } => {
                Self::unavailable("store_unavailable", "the store is not available right now", 2)
                    .logged(error.to_string())
            }
            StoreError::Stale => Self::unavailable("conflict", "something else was changed at the same moment", 1)
                .logged(error.to_string()),
            StoreError::SchemaNotCurrent { .. } => Self::unavailable(
                "schema_not_current",
                "the store's schema is not the one that this version is for",
                5,
            )
            .logged(error.to_string()),
            StoreError::Conflict { .. } | StoreError::Corrupt { .. } => Self::internal(error.to_string()),
        }
    }
}

impl From<HashError> for Problem {
    fn from(error: HashError) -> Self {
        match &error {
            HashError::Busy { retry_after_seconds } => Self::unavailable(
                "too_busy",
                "too many passwords are being checked right now",
                *retry_after_seconds,
            ),
            HashError::Failed(_) => Self::internal(error.to_string()),
        }
    }
}

/// The shape of every error outside the routes that speak OpenAI's or Anthropic's dialect (RFC 9457).
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Always `about:blank`: `code` tells problems apart.
    #[schema(example = "about:blank")]
    pub r#type: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong and what to do.
    pub detail: String,
    /// Stable, for programs.
    #[schema(example = "unauthenticated")]
    pub code: String,
    /// Under which the log has it.
    pub request_id: String,
    /// For refused bodies: what is wrong, field by field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Vec<FieldError>>,
}

/// OpenAI's error object.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct OpenAiErrorBody {
    /// The error.
    pub error: OpenAiError,
}

/// What OpenAI's SDKs read of an error.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct OpenAiError {
    /// What is wrong and what to do.
    pub message: String,
    /// OpenAI's kind of error.
    pub r#type: String,
    /// The parameter at fault.
    pub param: Option<String>,
    /// Stable, for programs.
    pub code: Option<String>,
}

/// Anthropic's error object.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AnthropicErrorBody {
    /// Always `error`.
    #[schema(example = "error")]
    pub r#type: String,
    /// The error.
    pub error: AnthropicError,
    /// Under which the log has it.
    pub request_id: String,
}

/// What Anthropic's SDKs read of an error, and what Anteroom says beside.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AnthropicError {
    /// Anthropic's kind of error.
    #[schema(example = "permission_error")]
    pub r#type: String,
    /// What is wrong and what to do.
    pub message: String,
    /// Stable, for programs.
    #[schema(example = "model_not_in_plan")]
    pub code: Option<String>,
    /// The parameter at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_their_shape() {
        for (path, shape) in [
            ("/v1/chat/completions", Shape::OpenAi),
            ("/v1/models/gpt", Shape::OpenAi),
            ("/v1/completions", Shape::OpenAi),
            ("/v1/responses", Shape::OpenAi),
            ("/v1/responses/resp_1", Shape::OpenAi),
            ("/v1/messages", Shape::Anthropic),
            ("/v1/messages/count_tokens", Shape::Anthropic),
            ("/v1/messagesx", Shape::Problem),
            ("/v1/modelsx", Shape::Problem),
            ("/v1/conversations", Shape::Problem),
            ("/v1/conversations/x/messages", Shape::Problem),
        ] {
            assert_eq!(Shape::of(path), shape, "{path}");
        }
    }

    #[test]
    fn anthropics_errors_have_its_kinds_and_our_codes() {
        let kind = |status: u16| {
            let problem = Problem::new(StatusCode::from_u16(status).unwrap(), "a_code", "why");
            problem.anthropic_body("r")["error"]["type"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        for (status, expected) in [
            (400, "invalid_request_error"),
            (401, "authentication_error"),
            (402, "billing_error"),
            (403, "permission_error"),
            (404, "not_found_error"),
            (409, "invalid_request_error"),
            (413, "request_too_large"),
            (415, "invalid_request_error"),
            (429, "rate_limit_error"),
            (500, "api_error"),
            (502, "api_error"),
            (503, "overloaded_error"),
            (504, "timeout_error"),
        ] {
            assert_eq!(kind(status), expected, "{status}");
        }
        let problem = Problem::new(StatusCode::BAD_REQUEST, "upstream_refused", "refused")
            .with("limit", 3)
            .upstream(Some(
                json!({ "message": "too hot", "type": "bad", "code": "c", "param": null, "x": 1 }),
            ));
        assert_eq!(
            problem.anthropic_body("r"),
            json!({
                "type": "error", "request_id": "r",
                "error": { "type": "invalid_request_error", "message": "too hot", "code": "c", "limit": 3, "x": 1 },
            })
        );
    }
}
