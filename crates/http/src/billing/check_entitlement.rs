//! `POST /v1/entitlements/check`

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web;
use anteroom_domain::{Timestamp, UserId};
use anteroom_services::billing::{Checked, EntitlementAsk, EntitlementError, NotAllowed};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Api;
use crate::body::Body;
use crate::caller::Known;
use crate::problem::{Problem, ProblemBody};

/// What is asked about.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EntitlementRequest {
    /// The entitlement's key.
    #[schema(example = "exports")]
    key: String,
    /// How much of it, of what is metered; without this, 1.
    #[schema(example = 1)]
    amount: Option<i64>,
    /// Whose; without this, the caller's own. Others are for admins, and for keys of admins.
    user_id: Option<uuid::Uuid>,
}

/// What the gate says. Of what is metered in several windows it is the one with the least room.
#[derive(Serialize, utoipa::ToSchema)]
pub struct EntitlementAnswer {
    /// Whose it is.
    user_id: uuid::Uuid,
    /// The entitlement's key.
    #[schema(example = "exports")]
    key: String,
    /// Whether it is allowed now. What nobody has heard of is not.
    allowed: bool,
    /// Why not: `feature_not_in_plan`, `feature_off`, `quota_exceeded`, `insufficient_credits` or `account_disabled`.
    #[schema(example = "quota_exceeded")]
    reason: Option<&'static str>,
    /// The plan in force.
    #[schema(example = "pro")]
    plan: String,
    /// The value, of a `static` one.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
    /// The most in the window, of a `metered` one; `null`: without limit. Of `cost` in nano-dollars, as everything here. Of
    /// `credits` what there is of them in whole credits, and `used` is what calls that run hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    limit: Option<Option<i64>>,
    /// What is used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<i64>,
    /// What is left; `null`: without limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    remaining: Option<Option<i64>>,
    /// How long the window is; `always`: for good, until it is given back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "day")]
    window: Option<&'static str>,
    /// When the next one begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    resets_at: Option<Timestamp>,
}

impl From<EntitlementRequest> for EntitlementAsk {
    fn from(request: EntitlementRequest) -> Self {
        Self {
            user_id: request.user_id.map(UserId),
            key: request.key,
            amount: request.amount.unwrap_or(1),
        }
    }
}

impl EntitlementAnswer {
    /// What the gate says of a key.
    pub(super) fn new(key: String, checked: Checked) -> Self {
        let level = checked.level;
        Self {
            user_id: checked.user_id.0,
            key,
            allowed: checked.refused.is_none(),
            reason: checked.refused.map(NotAllowed::as_str),
            plan: checked.plan,
            value: checked.value,
            limit: level.map(|level| level.limit),
            used: level.map(|level| level.used),
            remaining: level.map(|level| level.remaining()),
            window: level.map(|level| level.window.as_str()),
            resets_at: level.and_then(|level| level.resets_at),
        }
    }
}

impl From<EntitlementError> for Problem {
    fn from(error: EntitlementError) -> Self {
        let detail = error.to_string();
        match error {
            EntitlementError::NoSuchUser => Self::not_found("user"),
            EntitlementError::Forbidden => Self::new(StatusCode::FORBIDDEN, "forbidden", detail),
            EntitlementError::Refused { pointer, message } => Self::invalid_field(pointer, "refused", message),
            EntitlementError::OtherUse => Self::new(StatusCode::CONFLICT, "idempotency_key_reused", detail),
            EntitlementError::NotAllowed { key, checked } => match (checked.refused, checked.level) {
                (Some(NotAllowed::QuotaExceeded), Some(level)) => {
                    Self::new(StatusCode::PAYMENT_REQUIRED, "quota_exceeded", detail)
                        .with("meter", key)
                        .with("limit", json!(level.limit))
                        .with("used", level.used)
                        .with("resets_at", level.resets_at.map(|at| at.to_string()))
                }
                (Some(NotAllowed::InsufficientCredits), level) => {
                    Self::new(StatusCode::PAYMENT_REQUIRED, "insufficient_credits", detail)
                        .with(
                            "available",
                            level.and_then(|level| level.remaining()).unwrap_or_default(),
                        )
                        .with(
                            "resets_at",
                            level.and_then(|level| level.resets_at).map(|at| at.to_string()),
                        )
                }
                (Some(NotAllowed::AccountDisabled), _) => Self::new(StatusCode::FORBIDDEN, "account_disabled", detail),
                _ => Self::new(StatusCode::FORBIDDEN, "feature_not_in_plan", detail).with("feature", key),
            },
            EntitlementError::Store(e) => e.into(),
        }
    }
}

/// Say whether somebody may do something now, without using it up. For your own product: its features are entitlements of
/// the plans.
#[utoipa::path(post, path = "/v1/entitlements/check", tag = "billing", request_body = EntitlementRequest, responses(
    (status = 200, description = "What the gate says.", body = EntitlementAnswer),
    (status = 403, description = "`forbidden`: other users are for admins", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such user", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "A refused field; `errors` says which.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(caller: Known, api: web::Data<Api>, body: Body) -> Result<web::Json<EntitlementAnswer>, Problem> {
    let (ask, _) = body.json::<EntitlementRequest>(api.options.max_json_bytes).await?;
    let (billing, ask) = (Arc::clone(&api.billing), EntitlementAsk::from(ask));
    let key = ask.key.clone();
    let checked = api
        .run(async move { billing.check_entitlement(caller.who.user(), &ask).await })
        .await?;
    Ok(web::Json(EntitlementAnswer::new(key, checked)))
}
