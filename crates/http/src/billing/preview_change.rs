//! `POST /v1/billing/preview`

use std::sync::Arc;

use actix_web::web;
use anteroom_domain::Timestamp;
use anteroom_domain::billing::Owner;
use anteroom_services::billing::Previewed;
use serde::Serialize;

use super::change_plan::{ChangeRequest, WhenWord};
use crate::Api;
use crate::body::Body;
use crate::caller::SignedIn;
use crate::problem::{Problem, ProblemBody};

/// What a change would come to.
#[derive(Serialize, utoipa::ToSchema)]
pub struct PreviewResponse {
    /// From when on it would hold.
    when: WhenWord,
    /// To be paid at once, in the currency's smallest unit.
    #[schema(example = 3000)]
    amount_due: i64,
    /// Left over for later invoices, in the same unit.
    #[schema(example = 0)]
    credit: i64,
    /// ISO 4217, lower case; absent where nothing is paid at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<String>,
    /// When the next regular payment follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_payment_at: Option<Timestamp>,
}

impl From<Previewed> for PreviewResponse {
    fn from(previewed: Previewed) -> Self {
        let cost = previewed.cost.as_ref();
        Self {
            when: previewed.when.into(),
            amount_due: cost.map_or(0, |cost| cost.amount_due),
            credit: cost.map_or(0, |cost| cost.credit),
            currency: cost.map(|cost| cost.currency.clone()),
            next_payment_at: cost.and_then(|cost| cost.next_payment_at),
        }
    }
}

/// Say what a change would cost, without changing anything.
#[utoipa::path(post, path = "/v1/billing/preview", tag = "billing", request_body = ChangeRequest, responses(
    (status = 200, description = "What it would come to.", body = PreviewResponse),
    (status = 409, description = "As of `/v1/billing/change`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "`unknown_plan`, `plan_not_for_sale` or `invalid_seats` in `errors`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 502, description = "`payment_provider_failed`", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(caller: SignedIn, api: web::Data<Api>, body: Body) -> Result<web::Json<PreviewResponse>, Problem> {
    let (ask, _) = body.json::<ChangeRequest>(api.options.max_json_bytes).await?;
    let (billing, owner) = (Arc::clone(&api.billing), Owner::account(caller.live.user.id));
    let previewed = api
        .run(async move { billing.preview_change(owner, &ask.into()).await })
        .await?;
    Ok(web::Json(previewed.into()))
}
