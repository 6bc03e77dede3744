//! `POST /v1/admin/users/{id}/credits`

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_domain::audit::Actor;
use anteroom_domain::billing::Credits;
use anteroom_domain::{Timestamp, UserId};
use anteroom_services::billing::CreditsAsk;
use serde::Deserialize;

use super::credits::CreditGrantResponse;
use crate::Api;
use crate::body::Body;
use crate::caller::{Admin, client};
use crate::idempotency;
use crate::problem::{Problem, ProblemBody};
use crate::query;

/// Credits to grant.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreditsRequest {
    /// How many, with at most six digits behind the point.
    #[schema(example = 100.0)]
    credits: f64,
    /// Why, for those who look it up later; 1 to 500 characters.
    #[schema(example = "For the outage in May")]
    reason: String,
    /// When they are taken: lower ones first, 0 to 100; without this 30, after what the plan includes and before what was
    /// bought.
    priority: Option<i32>,
    /// Until when they last; without this they do not end.
    expires_at: Option<Timestamp>,
}

/// Grant a user credits. With an `Idempotency-Key` the same again grants them once.
#[utoipa::path(post, path = "/v1/admin/users/{id}/credits", tag = "admin", request_body = CreditsRequest,
    params(("id" = uuid::Uuid, Path, description = "The user.")), responses(
    (status = 201, description = "Granted.", body = CreditGrantResponse),
    (status = 404, description = "`not_found`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "A refused field; `errors` says which.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: Admin,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let user_id: UserId = query::id(&request, "user")?;
    let (ask, bytes) = body.json::<CreditsRequest>(api.options.max_json_bytes).await?;
    let credits = Credits::from_number(ask.credits).ok_or_else(|| {
        let detail = format!(
            "a number up to {}, with at most six digits behind the point",
            Credits::MOST.number()
        );
        Problem::invalid_field("/credits", "refused", detail)
    })?;
    let ask = CreditsAsk {
        user_id,
        credits,
        reason: ask.reason,
        priority: ask.priority,
        expires_at: ask.expires_at,
    };
    let (actor, client) = (Actor::User(caller.live.user.id), client(&request));
    let make = async |_| {
        let billing = Arc::clone(&api.billing);
        let granted = api
            .run(async move { billing.grant_credits(ask, actor, &client).await })
            .await?;
        Ok(CreditGrantResponse::new(&granted, granted.created_at))
    };
    idempotency::create(&api, &request, caller.live.user.id, &bytes, make).await
}
