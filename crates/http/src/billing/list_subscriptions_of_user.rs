//! `GET /v1/admin/users/{id}/subscriptions`

use std::sync::Arc;

use actix_web::{HttpRequest, web};
use anteroom_domain::Timestamp;
use anteroom_domain::billing::{Standing, SubscriptionChange};
use serde::Serialize;

use super::SubscriptionResponse;
use super::list_subscriptions::AdminSubscriptionResponse;
use crate::Api;
use crate::caller::Admin;
use crate::problem::{Problem, ProblemBody};
use crate::query;

/// How a subscription stood, as far as figures go.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = SubscriptionStanding)]
pub struct StandingResponse {
    /// The payment provider's word.
    #[schema(example = "active")]
    status: String,
    /// The plan.
    #[schema(example = "pro")]
    plan: String,
    /// Its version.
    plan_version: i32,
    /// What it paid for a month, in the currency's smallest unit; `null` if it paid and nobody knows what.
    #[schema(example = 1900)]
    monthly: Option<i64>,
    /// The currency of its price: ISO 4217, lower case.
    #[schema(example = "usd")]
    currency: Option<String>,
}

impl From<&Standing> for StandingResponse {
    fn from(standing: &Standing) -> Self {
        Self {
            status: standing.status.as_str().to_owned(),
            plan: standing.plan.clone(),
            plan_version: standing.plan_version,
            monthly: standing.monthly,
            currency: standing.currency.clone(),
        }
    }
}

/// What a subscription turned from and into.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = SubscriptionChange)]
pub struct ChangeResponse {
    /// When it was learned of.
    at: Timestamp,
    /// The payment provider.
    #[schema(example = "stripe")]
    provider: String,
    /// Which subscription, by the provider's identifier.
    #[schema(example = "sub_1")]
    provider_id: String,
    /// How it stood; `null` of its first.
    from: Option<StandingResponse>,
    /// How it stands since.
    into: StandingResponse,
}

impl From<&SubscriptionChange> for ChangeResponse {
    fn from(change: &SubscriptionChange) -> Self {
        Self {
            at: change.at,
            provider: change.provider.clone(),
            provider_id: change.provider_id.clone(),
            from: change.from.as_ref().map(Into::into),
            into: (&change.into).into(),
        }
    }
}

/// Everything about the subscriptions of a user.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SubscriptionsOfUser {
    /// What the user holds now, with what was granted.
    held: SubscriptionResponse,
    /// Their subscriptions, newest first, with those that are over.
    data: Vec<AdminSubscriptionResponse>,
    /// What changed of them, the latest first, at most 1000.
    changes: Vec<ChangeResponse>,
}

/// The subscriptions of a user, what changed of them, and what the user holds.
#[utoipa::path(get, path = "/v1/admin/users/{id}/subscriptions", tag = "admin",
    params(("id" = uuid::Uuid, Path, description = "The user.")), responses(
    (status = 200, description = "All of it.", body = SubscriptionsOfUser),
    (status = 404, description = "`not_found`", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    _caller: Admin,
    api: web::Data<Api>,
    request: HttpRequest,
) -> Result<web::Json<SubscriptionsOfUser>, Problem> {
    let user = query::id(&request, "user")?;
    let billing = Arc::clone(&api.billing);
    let history = api
        .run(async move { billing.list_subscriptions_of_user(user).await })
        .await?;
    let history = history.ok_or_else(|| Problem::not_found("user"))?;
    Ok(web::Json(SubscriptionsOfUser {
        held: SubscriptionResponse::new(&history.access, None),
        data: history.subscriptions.iter().map(Into::into).collect(),
        changes: history.changes.iter().map(Into::into).collect(),
    }))
}
