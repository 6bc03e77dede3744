//! `GET /v1/auth/session`

use actix_web::web;
use serde::Serialize;

use super::SessionResponse;
use crate::Api;
use crate::accounts::UserResponse;
use crate::billing::SubscriptionResponse;
use crate::caller::SignedIn;

/// Who is signed in, and what they hold.
#[derive(Serialize, utoipa::ToSchema)]
pub struct CurrentSessionResponse {
    /// Who it is.
    user: UserResponse,
    /// The session that asks.
    session: SessionResponse,
    /// What the user holds.
    subscription: SubscriptionResponse,
}

/// Who is asking? Cheap enough for every page view.
#[utoipa::path(get, path = "/v1/auth/session", tag = "sessions", responses((status = 200, description = "Signed in.", body = CurrentSessionResponse)))]
pub async fn handle(caller: SignedIn, api: web::Data<Api>) -> web::Json<CurrentSessionResponse> {
    let live = &caller.live;
    web::Json(CurrentSessionResponse {
        user: (&live.user).into(),
        session: SessionResponse::current(&live.session),
        subscription: SubscriptionResponse::new(
            &api.billing.access(&live.holdings),
            live.holdings.subscription.as_ref(),
        ),
    })
}
