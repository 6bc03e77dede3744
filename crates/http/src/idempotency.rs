//! `Idempotency-Key`: a creating request that is repeated has its effect once.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_domain::UserId;
use anteroom_services::ops::{Claimed, Repeat, RepeatError};
use serde::Serialize;
use tracing::warn;
use uuid::Uuid;

use crate::Api;
use crate::problem::Problem;

impl From<RepeatError> for Problem {
    fn from(error: RepeatError) -> Self {
        match error {
            RepeatError::Mismatch => Self::new(
                StatusCode::CONFLICT,
                "idempotency_key_reused",
                "this Idempotency-Key was used with another request",
            ),
            RepeatError::Running => Self::new(
                StatusCode::CONFLICT,
                "idempotency_key_in_use",
                "the same request is still running",
            )
            .retry_after(1),
            RepeatError::Store(e) => e.into(),
        }
    }
}

/// The request's key, if it has one.
pub(crate) fn key(request: &HttpRequest) -> Result<Option<String>, Problem> {
    let Some(value) = request.headers().get("idempotency-key") else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default();
    let fits = (1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    let refused = || {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "invalid_idempotency_key",
            "an Idempotency-Key has 1 to 255 visible ASCII characters",
        )
    };
    if fits { Ok(Some(key.to_owned())) } else { Err(refused()) }
}

fn created(body: String, replayed: bool, status: u16) -> HttpResponse {
    let mut answer = HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::CREATED));
    if replayed {
        answer.insert_header(("idempotency-replayed", "true"));
    }
    answer.content_type("application/json").body(body)
}

/// Carries out a creating request, once per key: 201 with what it made. A failure gives the key back. `make` is told
/// the identifier to make it under, if there is a key: a try whose process died may have made it already.
pub(crate) async fn create<T: Serialize>(
    api: &web::Data<Api>,
    request: &HttpRequest,
    user_id: UserId,
    body: &[u8],
    make: impl AsyncFnOnce(Option<Uuid>) -> Result<T, Problem>,
) -> Result<HttpResponse, Problem> {
    let text = |made: &T| serde_json::to_string(made).map_err(|e| Problem::internal(e.to_string()));
    let Some(key) = key(request)? else {
        return Ok(created(text(&make(None).await?)?, false, 201));
    };

    let mut whole = format!("{} {}\n", request.method(), request.path()).into_bytes();
    whole.extend_from_slice(body);
    let ops = Arc::clone(&api.ops);
    let claimed = api
        .run(async move {
            ops.claim_request(&Repeat {
                user_id,
                key: &key,
                request: &whole,
            })
            .await
        })
        .await?;
    let held = match claimed {
        Claimed::Fresh(held) => held,
        Claimed::Answered { status, body } => return Ok(created(body, true, status)),
    };
    let ops = Arc::clone(&api.ops);
    let made = match make(Some(held.made_id)).await {
        Ok(made) => text(&made)?,
        Err(problem) => {
            if let Err(e) = api.run(async move { ops.forget_request(&held).await }).await {
                warn!(event = "idempotency.key.kept", reason = %e);
            }
            return Err(problem);
        }
    };
    let kept = made.clone();
    // What was made stands, so the client is told of it; only a repeat would not be recognised.
    match api.run(async move { ops.keep_answer(&held, 201, &kept).await }).await {
        Ok(true) => {}
        Ok(false) => warn!(
            event = "idempotency.answer.lost",
            reason = "another try holds the key by now"
        ),
        Err(e) => warn!(event = "idempotency.answer.lost", reason = %e),
    }
    Ok(created(made, false, 201))
}
