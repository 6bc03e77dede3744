//! `POST /v1/billing/change`

use std::sync::Arc;

use actix_web::web;
use anteroom_domain::billing::Owner;
use anteroom_ports::billing::When;
use anteroom_services::billing::ChangeAsk;
use serde::{Deserialize, Serialize};

use super::SubscriptionResponse;
use super::get_subscription::held;
use crate::Api;
use crate::body::Body;
use crate::caller::SignedIn;
use crate::problem::{Problem, ProblemBody};

/// From when on something holds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = When)]
pub enum WhenWord {
    /// At once.
    Now,
    /// With the next period.
    PeriodEnd,
}

impl From<WhenWord> for When {
    fn from(word: WhenWord) -> Self {
        match word {
            WhenWord::Now => Self::Now,
            WhenWord::PeriodEnd => Self::PeriodEnd,
        }
    }
}

impl From<When> for WhenWord {
    fn from(when: When) -> Self {
        match when {
            When::Now => Self::Now,
            When::PeriodEnd => Self::PeriodEnd,
        }
    }
}

/// What to change to.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeRequest {
    /// The plan's key.
    #[schema(example = "business")]
    plan: String,
    /// How often it is paid, `month` or `year`; without this as now.
    interval: Option<String>,
    /// For how many seats; without this as many as now. Where nothing else changes, the terms and the price of the version that is
    /// held stay.
    #[schema(example = 5)]
    seats: Option<i64>,
    /// Without this what is better, or for more seats, begins at once, and what is less with the next period.
    when: Option<WhenWord>,
}

impl From<ChangeRequest> for ChangeAsk {
    fn from(request: ChangeRequest) -> Self {
        Self {
            plan: request.plan,
            interval: request.interval,
            seats: request.seats,
            when: request.when.map(When::from),
        }
    }
}

/// Change what is paid for, or for how many seats. At once: what is left of the running period is settled in proportion and the difference is
/// paid at once; if that fails, nothing changes. What was used of a quota stays used.
#[utoipa::path(post, path = "/v1/billing/change", tag = "billing", request_body = ChangeRequest, responses(
    (status = 200, description = "The subscription as it stands now.", body = SubscriptionResponse),
    (status = 402, description = "`payment_declined`; nothing changed", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "`no_subscription`, `already_subscribed`, `subscription_not_changeable` or `subscription_elsewhere`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "`unknown_plan`, `plan_not_for_sale` or `invalid_seats` in `errors`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 502, description = "`payment_provider_failed`", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: SignedIn,
    api: web::Data<Api>,
    body: Body,
) -> Result<web::Json<SubscriptionResponse>, Problem> {
    let (ask, _) = body.json::<ChangeRequest>(api.options.max_json_bytes).await?;
    let (billing, user) = (Arc::clone(&api.billing), caller.live.user.id);
    api.run(async move { billing.change_plan(Owner::account(user), &ask.into()).await })
        .await?;
    held(&api, user).await
}
