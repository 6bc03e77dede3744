//! `POST /v1/billing/cancel`

use std::sync::Arc;

use actix_web::web;
use anteroom_domain::billing::Owner;
use anteroom_ports::billing::When;
use serde::Deserialize;

use super::SubscriptionResponse;
use super::change_plan::WhenWord;
use super::get_subscription::held;
use crate::Api;
use crate::body::Body;
use crate::caller::SignedIn;
use crate::problem::{Problem, ProblemBody};

/// When it is to end.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// Without this, with the running period. At once gives nothing back of what was paid.
    when: Option<WhenWord>,
}

/// Cancel the subscription. Until the period's end it can be taken back at `/v1/billing/resume`.
#[utoipa::path(post, path = "/v1/billing/cancel", tag = "billing", request_body = CancelRequest, responses(
    (status = 200, description = "The subscription as it stands now.", body = SubscriptionResponse),
    (status = 409, description = "`no_subscription` or `subscription_elsewhere`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 502, description = "`payment_provider_failed`", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: SignedIn,
    api: web::Data<Api>,
    body: Body,
) -> Result<web::Json<SubscriptionResponse>, Problem> {
    let (ask, _) = body.json::<CancelRequest>(api.options.max_json_bytes).await?;
    let when = ask.when.map_or(When::PeriodEnd, When::from);
    let (billing, user) = (Arc::clone(&api.billing), caller.live.user.id);
    api.run(async move { billing.cancel_subscription(Owner::account(user), when).await })
        .await?;
    held(&api, user).await
}
