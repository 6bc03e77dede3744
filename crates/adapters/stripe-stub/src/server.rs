//! HTTP: who may ask, what was asked, whether it was asked before, and Stripe's headers on the answer.

use std::sync::Arc;

use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::form::Params;
use crate::ids::random_id;
use crate::json::{int, some_text, text};
use crate::world::{Cause, IDEMPOTENCY, World};
use crate::{API_VERSION, Stub, api, control, pages};

/// The longest body.
const LONGEST: usize = 1 << 20;

/// An answer before it is one of actix's.
struct Answered {
    status: u16,
    body: Value,
    replayed: bool,
}

impl Answered {
    fn error(error: &ApiError) -> Self {
        Self {
            status: error.status,
            body: error.body(),
            replayed: false,
        }
    }
}

/// The routes.
pub(crate) fn configure(stub: &Arc<Stub>, config: &mut web::ServiceConfig) {
    config.app_data(web::PayloadConfig::new(LONGEST));
    let state = stub.clone();
    let api = move |request: HttpRequest, body: web::Bytes| {
        let state = state.clone();
        async move { serve_api(&state, &request, &body) }
    };
    config.service(web::resource("/v1/{path:.*}").to(api));
    let state = stub.clone();
    let control = move |request: HttpRequest, body: web::Bytes| {
        let state = state.clone();
        async move { serve_control(&state, &request, &body) }
    };
    config.service(web::resource("/_stub/{path:.*}").to(control));
    pages::configure(stub, config);
}

fn serve_api(stub: &Stub, request: &HttpRequest, body: &[u8]) -> HttpResponse {
    let request_id = random_id("req_");
    let answered = answer(stub, request, body, &request_id);
    let version = header_text(request, "stripe-version").unwrap_or_else(|| API_VERSION.to_owned());
    respond(
        &answered,
        &request_id,
        &version,
        header_text(request, "idempotency-key").as_deref(),
    )
}

fn respond(answered: &Answered, request_id: &str, version: &str, key: Option<&str>) -> HttpResponse {
    let status = StatusCode::from_u16(answered.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    response
        .insert_header((header::CACHE_CONTROL, "no-cache, no-store"))
        .insert_header(("request-id", request_id))
        .insert_header(("stripe-version", version));
    if answered.status >= 400 {
        response.insert_header(("stripe-should-retry", "false"));
    }
    if let Some(key) = key {
        response.insert_header(("idempotency-key", key));
    }
    if answered.replayed {
        response.insert_header(("idempotent-replayed", "true"));
    }
    response.json(&answered.body)
}

fn answer(stub: &Stub, request: &HttpRequest, body: &[u8], request_id: &str) -> Answered {
    if let Err(error) = authorize(stub, request) {
        return Answered::error(&error);
    }
    let path = request.match_info().get("path").unwrap_or_default().to_owned();
    let Ok(body) = std::str::from_utf8(body) else {
        return Answered::error(&ApiError::refused("The body is not UTF-8."));
    };
    let params = match Params::parse(&[request.query_string(), body]) {
        Ok(params) => params,
        Err(error) => return Answered::error(&error),
    };
    let key = header_text(request, "idempotency-key").filter(|_| request.method() == Method::POST);
    if key.as_ref().is_some_and(|key| key.len() > 255) {
        return Answered::error(&ApiError::idempotency("Idempotency keys have at most 255 characters."));
    }
    let cause = Cause {
        id: Some(request_id.to_owned()),
        key: key.clone(),
    };
    let method = request.method().as_str();
    let work = |world: &mut World| once(world, method, &path, params, key.as_deref());
    stub.change(cause, work).unwrap_or_else(|error| Answered::error(&error))
}

/// Does what is asked, unless the key says that it is done. Never refuses by itself: whatever was answered is kept.
fn once(world: &mut World, method: &str, path: &str, params: Params, key: Option<&str>) -> Result<Answered, ApiError> {
    let Some(key) = key else {
        let done = api::dispatch(world, method, path, params);
        return Ok(finish(world, done));
    };
    let id = format!("{IDEMPOTENCY}_{key}");
    let asked = fingerprint(method, path, &params);
    if let Some(kept) = world.get(&id) {
        if text(kept, "asked") != asked {
            let message = format!(
                "Keys for idempotent requests can only be used with the same parameters they were first used with. Try \
                 using a key other than '{key}' if you meant to execute a different request."
            );
            return Err(ApiError::idempotency(message));
        }
        return Ok(Answered {
            status: u16::try_from(int(kept, "status")).unwrap_or(500),
            body: some_text(kept, "answer")
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default(),
            replayed: true,
        });
    }
    let done = api::dispatch(world, method, path, params);
    // A request that was refused for its form did not begin: the caller may mend it under the same key.
    let keeps = done
        .as_ref()
        .map_or_else(|error| !error.form && error.status < 500, |_| true);
    let answered = finish(world, done);
    if keeps {
        world.put(json!({
            "id": id, "object": IDEMPOTENCY, "asked": asked, "status": answered.status,
            "answer": answered.body.to_string(), "created": world.at,
        }));
    }
    Ok(answered)
}

fn finish(world: &mut World, done: Result<Value, ApiError>) -> Answered {
    match done {
        Ok(body) => Answered {
            status: 200,
            body,
            replayed: false,
        },
        Err(error) => {
            if !error.keep {
                world.roll_back();
            }
            Answered::error(&error)
        }
    }
}

fn fingerprint(method: &str, path: &str, params: &Params) -> String {
    let text = format!("{method} {path}\n{}", params.canonical());
    hex::encode(digest::digest(&digest::SHA256, text.as_bytes()))
}

fn serve_control(stub: &Stub, request: &HttpRequest, body: &[u8]) -> HttpResponse {
    let path = request.match_info().get("path").unwrap_or_default();
    let done = authorize(stub, request).and_then(|()| control::dispatch(stub, request.method().as_str(), path, body));
    let answered = match done {
        Ok(body) => Answered {
            status: 200,
            body,
            replayed: false,
        },
        Err(error) => Answered::error(&error),
    };
    respond(&answered, &random_id("req_"), API_VERSION, None)
}

/// Bearer, or Basic with the key as the user.
fn authorize(stub: &Stub, request: &HttpRequest) -> Result<(), ApiError> {
    let given = header_text(request, "authorization").and_then(|header| {
        let (scheme, credentials) = header.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(credentials.trim().to_owned());
        }
        let decoded = STANDARD.decode(credentials.trim()).ok()?;
        let decoded = String::from_utf8(decoded).ok()?;
        Some(decoded.split(':').next().unwrap_or_default().to_owned())
    });
    let Some(given) = given else {
        return Err(ApiError::unauthorized(
            "You did not provide an API key. Use Bearer auth, with stripe-stub's secret key as the token.",
        ));
    };
    if given.starts_with("sk_live_") || given.starts_with("rk_live_") {
        return Err(ApiError::unauthorized(
            "This is stripe-stub, which takes no money: do not send it a live key. Roll the key, it has travelled.",
        ));
    }
    if is_key(&given, stub.key.expose_secret()) {
        return Ok(());
    }
    let message = "Invalid API Key provided: it is not the one stripe-stub was started with.";
    Err(ApiError::unauthorized(message))
}

/// Two keys are the same if their tags are, which are compared in constant time.
fn is_key(given: &str, key: &str) -> bool {
    let signs = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let tag = hmac::sign(&signs, key.as_bytes());
    hmac::verify(&signs, given.as_bytes(), tag.as_ref()).is_ok()
}

fn header_text(request: &HttpRequest, name: &str) -> Option<String> {
    let value = request.headers().get(name)?.to_str().ok()?;
    Some(value.to_owned()).filter(|value| !value.is_empty())
}
