//! `GET /v1/admin/audit`

use std::sync::Arc;

use actix_web::{HttpRequest, web};
use anteroom_domain::audit::Outcome;
use anteroom_domain::{Timestamp, UserId};
use anteroom_ports::audit::AuditFilter;
use serde::Deserialize;
use uuid::Uuid;

use super::AuditEntryResponse;
use crate::Api;
use crate::caller::Admin;
use crate::problem::Problem;
use crate::query::{self, List, PageQuery};

/// How something ended.
#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeFilter {
    /// It was done.
    Succeeded,
    /// It was tried and not done.
    Failed,
}

/// Which rows are asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Rows about this user: done by them, or to their account.
    user: Option<Uuid>,
    /// Rows about what this user did.
    actor: Option<Uuid>,
    /// Rows about what was done to this user's account.
    subject: Option<Uuid>,
    /// This act, or all below it: `account` finds `account.login`.
    act: Option<String>,
    /// How it ended.
    #[param(inline)]
    outcome: Option<OutcomeFilter>,
    /// From this time on (RFC 3339).
    from: Option<Timestamp>,
    /// Before this time (RFC 3339).
    until: Option<Timestamp>,
    /// How many things at most: 1 to 100, 20 if absent.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<i64>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What was done, by whom and to whom, newest first.
#[utoipa::path(get, path = "/v1/admin/audit", tag = "admin", params(AuditQuery), responses((status = 200, description = "A page of the audit log.", body = List<AuditEntryResponse>)))]
pub async fn handle(
    _caller: Admin,
    api: web::Data<Api>,
    request: HttpRequest,
) -> Result<web::Json<List<AuditEntryResponse>>, Problem> {
    let ask: AuditQuery = query::read(&request)?;
    let page = PageQuery::of(ask.limit, ask.cursor);
    let (before, limit) = (page.after()?, page.limit()?);
    let filter = AuditFilter {
        user: ask.user.map(UserId),
        actor: ask.actor.map(UserId),
        subject: ask.subject.map(UserId),
        act: ask.act,
        outcome: ask.outcome.map(|outcome| match outcome {
            OutcomeFilter::Succeeded => Outcome::Succeeded,
            OutcomeFilter::Failed => Outcome::Failed,
        }),
        from: ask.from,
        until: ask.until,
    };
    let audit = Arc::clone(&api.audit);
    let page = api
        .run(async move { audit.list_audit(&filter, before, limit).await })
        .await?;
    let next_cursor = page.items.last().filter(|_| page.more).map(|e| e.id.to_string());
    Ok(web::Json(List {
        data: page.items.into_iter().map(Into::into).collect(),
        next_cursor,
    }))
}
