//! `POST /v1/billing/resume`

use std::sync::Arc;

use actix_web::web;
use anteroom_domain::billing::Owner;

use super::SubscriptionResponse;
use super::get_subscription::held;
use crate::Api;
use crate::caller::SignedIn;
use crate::problem::{Problem, ProblemBody};

/// Take back what has not come yet: the end of the subscription, and a change with the next period. A subscription that is
/// `paused`, because its trial ended without a means of payment, begins anew and is paid at once.
#[utoipa::path(post, path = "/v1/billing/resume", tag = "billing", responses(
    (status = 200, description = "The subscription as it stands now.", body = SubscriptionResponse),
    (status = 402, description = "`payment_declined`: it stays paused", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "`no_subscription`, `nothing_to_resume` or `subscription_elsewhere`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 502, description = "`payment_provider_failed`", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(caller: SignedIn, api: web::Data<Api>) -> Result<web::Json<SubscriptionResponse>, Problem> {
    let (billing, user) = (Arc::clone(&api.billing), caller.live.user.id);
    api.run(async move { billing.resume_subscription(Owner::account(user)).await })
        .await?;
    held(&api, user).await
}
