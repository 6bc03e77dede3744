//! `POST /v1/entitlements/release`

use std::sync::Arc;

use actix_web::{HttpRequest, web};
use anteroom_services::billing::EntitlementAsk;

use super::check_entitlement::{EntitlementAnswer, EntitlementRequest};
use crate::Api;
use crate::body::Body;
use crate::caller::Known;
use crate::idempotency;
use crate::problem::{Problem, ProblemBody};

/// Give back an amount of what counts for good (`always`): a user that was removed, a document that was deleted. For admins,
/// and for keys of admins. With an `Idempotency-Key` the same again counts once, for a month.
#[utoipa::path(post, path = "/v1/entitlements/release", tag = "billing", request_body = EntitlementRequest, responses(
    (status = 200, description = "It is given back; how it stands now.", body = EntitlementAnswer),
    (status = 403, description = "`forbidden`: for admins", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such user", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "`idempotency_key_reused`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "A refused field; `errors` says which: more than is in use, or what begins anew by itself.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: Known,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<web::Json<EntitlementAnswer>, Problem> {
    let id = idempotency::key(&request)?;
    let (ask, _) = body.json::<EntitlementRequest>(api.options.max_json_bytes).await?;
    let (billing, ask) = (Arc::clone(&api.billing), EntitlementAsk::from(ask));
    let key = ask.key.clone();
    let checked = api
        .run(async move { billing.release_entitlement(caller.who.user(), &ask, id).await })
        .await?;
    Ok(web::Json(EntitlementAnswer::new(key, checked)))
}
