//! `GET /v1/admin/users`

use std::sync::Arc;

use actix_web::{HttpRequest, web};
use anteroom_ports::accounts::UserFilter;
use serde::Deserialize;

use super::{AdminUserResponse, RoleChoice};
use crate::Api;
use crate::caller::Admin;
use crate::problem::Problem;
use crate::query::{self, List, PageQuery};

/// The longest text that is searched for, in characters.
const MAX_SEARCH_CHARS: usize = 100;

/// Which users are asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsersQuery {
    /// Those with this role.
    #[param(inline)]
    role: Option<RoleChoice>,
    /// Those whose account is closed, or is not.
    disabled: Option<bool>,
    /// Those whose address has been proven, or has not.
    verified: Option<bool>,
    /// Those with this in their address or name, in upper or lower case: 1 to 100 characters.
    #[param(min_length = 1, max_length = 100)]
    q: Option<String>,
    /// How many things at most: 1 to 100, 20 if absent.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<i64>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// All users, or some, newest first.
#[utoipa::path(get, path = "/v1/admin/users", tag = "admin", params(UsersQuery), responses((status = 200, description = "A page of users.", body = List<AdminUserResponse>)))]
pub async fn handle(
    _caller: Admin,
    api: web::Data<Api>,
    request: HttpRequest,
) -> Result<web::Json<List<AdminUserResponse>>, Problem> {
    let ask: UsersQuery = query::read(&request)?;
    let page = PageQuery::of(ask.limit, ask.cursor);
    let (before, limit) = (page.after()?, page.limit()?);
    if let Some(text) = &ask.q
        && (text.trim().is_empty() || text.chars().count() > MAX_SEARCH_CHARS)
    {
        return Err(query::invalid("`q` has 1 to 100 characters".to_owned()));
    }
    let filter = UserFilter {
        role: ask.role.map(Into::into),
        disabled: ask.disabled,
        verified: ask.verified,
        text: ask.q,
    };
    let accounts = Arc::clone(&api.accounts);
    let users = api
        .run(async move { accounts.list_users(&filter, before, limit).await })
        .await?;
    let next_cursor = users.items.last().filter(|_| users.more).map(|u| u.id.to_string());
    Ok(web::Json(List {
        data: users.items.iter().map(Into::into).collect(),
        next_cursor,
    }))
}
