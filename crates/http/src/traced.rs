//! What is told of a request to whoever follows traces: a span by the conventions of OpenTelemetry for HTTP. Neither the
//! path nor the query is: anything may stand there, keys included.

use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use tracing::field::Empty;
use tracing::{Span, info_span};

use crate::route::Matched;

/// A request's span, from its head to the end of its answer's body. Dropping it ends it.
pub(crate) struct Traced(pub(crate) Span);

impl Traced {
    pub(crate) fn new(request: &ServiceRequest, id: &str) -> Self {
        let traceparent = || request.headers().get("traceparent")?.to_str().ok();
        let method = known(request.method());
        Self(info_span!(
            target: "anteroom::trace", "http",
            otel.name = method, otel.kind = "server", traceparent = traceparent(), http.request.method = method,
            anteroom.request_id = id, http.route = Empty, http.response.status_code = Empty, error.type = Empty,
            ended = Empty,
        ))
    }

    /// Tells how it is answered.
    pub(crate) fn answered(&self, answer: &ServiceResponse) {
        if self.0.is_disabled() {
            return;
        }
        let (request, status) = (answer.request(), answer.status());
        if let Some(matched) = request.app_data::<Matched>() {
            let name = format!("{} {}", known(request.method()), matched.path);
            self.0.record("otel.name", name.as_str());
            self.0.record("http.route", matched.path);
        }
        self.0.record("http.response.status_code", status.as_u16());
        if status.is_server_error() {
            self.0.record("error.type", status.as_str());
        }
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        self.0.record("ended", true);
    }
}

/// A method that is none of HTTP's is `_OTHER`: clients may invent as many as they like.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::CONNECT => "CONNECT",
        _ => "_OTHER",
    }
}
