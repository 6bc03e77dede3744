//! What the API answers when it refuses: Stripe's error envelope, <https://docs.stripe.com/api/errors>.

use serde_json::{Map, Value, json};

/// What a request is answered with: an object, or why not.
pub(crate) type Answer = Result<Value, ApiError>;

/// A refusal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ApiError {
    /// The HTTP status.
    pub(crate) status: u16,
    /// Stripe's `type`.
    pub(crate) kind: &'static str,
    /// Stripe's `code`.
    pub(crate) code: Option<&'static str>,
    /// Why a card was refused.
    pub(crate) decline_code: Option<&'static str>,
    /// For people.
    pub(crate) message: String,
    /// The parameter at fault.
    pub(crate) param: Option<String>,
    /// Whether what was done before the refusal stays done: an attempt to pay leaves its traces.
    pub(crate) keep: bool,
    /// Whether the request was refused for its form: such an answer is not kept for its idempotency key.
    pub(crate) form: bool,
}

impl ApiError {
    fn new(status: u16, kind: &'static str, code: Option<&'static str>, message: String) -> Self {
        Self {
            status,
            kind,
            code,
            decline_code: None,
            message,
            param: None,
            keep: false,
            form: false,
        }
    }

    /// 400: the request cannot be served as things are.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request_error", None, message.into())
    }

    /// The same with Stripe's code.
    pub(crate) fn coded(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request_error", Some(code), message.into())
    }

    /// 400: a parameter is not what it has to be.
    pub(crate) fn invalid(param: &str, code: &'static str, message: impl Into<String>) -> Self {
        let mut error = Self::coded(code, message).about(param);
        error.form = true;
        error
    }

    /// 400: a parameter is missing.
    pub(crate) fn missing(param: &str) -> Self {
        Self::invalid(param, "parameter_missing", format!("Missing required param: {param}."))
    }

    /// 400: nobody knows this parameter here.
    pub(crate) fn unknown(param: &str) -> Self {
        Self::invalid(
            param,
            "parameter_unknown",
            format!("Received unknown parameter: {param}"),
        )
    }

    /// 404: there is no such thing. `noun` is Stripe's: `customer`, `price`.
    pub(crate) fn not_found(noun: &str, id: &str, param: &str) -> Self {
        let message = format!("No such {noun}: '{id}'");
        Self::new(404, "invalid_request_error", Some("resource_missing"), message).about(param)
    }

    /// 404: there is no such address.
    pub(crate) fn no_route(method: &str, path: &str) -> Self {
        let message =
            format!("Unrecognized request URL ({method}: {path}). stripe-stub serves a part of Stripe's API.");
        Self::new(404, "invalid_request_error", None, message)
    }

    /// 401: the key is missing or wrong.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(401, "invalid_request_error", None, message.into())
    }

    /// 402: the card was refused.
    pub(crate) fn card(code: &'static str, decline_code: Option<&'static str>, message: &str) -> Self {
        let mut error = Self::new(402, "card_error", Some(code), message.to_owned());
        error.decline_code = decline_code;
        error
    }

    /// 400: the key was used for another request.
    pub(crate) fn idempotency(message: impl Into<String>) -> Self {
        Self::new(400, "idempotency_error", None, message.into())
    }

    /// 500: the stub failed; its log says more.
    pub(crate) fn internal() -> Self {
        Self::new(
            500,
            "api_error",
            None,
            "stripe-stub could not keep what it did; its log says why.".into(),
        )
    }

    /// With the parameter at fault.
    pub(crate) fn about(mut self, param: &str) -> Self {
        self.param = Some(param.to_owned());
        self
    }

    /// What was done before stays done.
    pub(crate) fn keeping(mut self) -> Self {
        self.keep = true;
        self
    }

    /// The body.
    pub(crate) fn body(&self) -> Value {
        let mut error = Map::new();
        let mut put = |key: &str, value: Value| error.insert(key.to_owned(), value);
        put("message", self.message.clone().into());
        put("type", self.kind.into());
        if let Some(code) = self.code {
            put("code", code.into());
            let page = code.replace('_', "-");
            put("doc_url", format!("https://docs.stripe.com/error-codes/{page}").into());
        }
        if let Some(code) = self.decline_code {
            put("decline_code", code.into());
        }
        if let Some(param) = &self.param {
            put("param", param.clone().into());
        }
        json!({ "error": error })
    }
}
