//! `GET /v1/me/activity`

use std::sync::Arc;

use actix_web::{HttpRequest, web};
use anteroom_domain::Timestamp;
use anteroom_services::audit::Activity;
use serde::Serialize;
use uuid::Uuid;

use crate::Api;
use crate::caller::SignedIn;
use crate::problem::Problem;
use crate::query::{self, List, PageQuery};

/// Something that was done to one's account, or by oneself.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Activity)]
pub struct ActivityResponse {
    /// UUIDv7.
    id: Uuid,
    /// When.
    at: Timestamp,
    /// What, as a dotted name.
    #[schema(example = "account.login")]
    act: String,
    /// `succeeded` or `failed`.
    #[schema(example = "succeeded")]
    outcome: &'static str,
    /// `you`, `somebody` (not signed in), `admin`, `operator` or `system`.
    #[schema(example = "you")]
    by: &'static str,
    /// From which network address; not told of admins.
    address: Option<String>,
    /// With which `User-Agent`; not told of admins.
    user_agent: Option<String>,
    /// In, or to, which session.
    session_id: Option<Uuid>,
}

impl From<Activity> for ActivityResponse {
    fn from(Activity { entry, by }: Activity) -> Self {
        Self {
            id: entry.id.0,
            at: entry.at,
            act: entry.act,
            outcome: entry.outcome.as_str(),
            by: by.as_str(),
            address: entry.address,
            user_agent: entry.user_agent,
            session_id: entry.session_id.map(|id| id.0),
        }
    }
}

/// What was done to one's account and what one did, newest first.
#[utoipa::path(get, path = "/v1/me/activity", tag = "accounts", params(PageQuery), responses((status = 200, description = "A page of one's own rows of the audit log.", body = List<ActivityResponse>)))]
pub async fn handle(
    caller: SignedIn,
    api: web::Data<Api>,
    request: HttpRequest,
) -> Result<web::Json<List<ActivityResponse>>, Problem> {
    let page: PageQuery = query::read(&request)?;
    let (before, limit) = (page.after()?, page.limit()?);
    let (audit, user) = (Arc::clone(&api.audit), caller.live.user.id);
    let page = api
        .run(async move { audit.list_activity(user, before, limit).await })
        .await?;
    let next_cursor = page.items.last().filter(|_| page.more).map(|a| a.entry.id.to_string());
    Ok(web::Json(List {
        data: page.items.into_iter().map(Into::into).collect(),
        next_cursor,
    }))
}
