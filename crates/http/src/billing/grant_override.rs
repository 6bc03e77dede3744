//! `POST /v1/admin/users/{id}/overrides`

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_domain::audit::Actor;
use anteroom_domain::billing::{Entitlement, EntitlementKind, Grant, Override, Window};
use anteroom_domain::{Timestamp, UserId};
use anteroom_services::billing::GrantAsk;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Api;
use crate::body::Body;
use crate::caller::{Admin, client};
use crate::idempotency;
use crate::problem::{Problem, ProblemBody};
use crate::query;

/// What to grant: a plan or an entitlement.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OverrideRequest {
    /// A plan's key.
    #[schema(example = "business")]
    plan: Option<String>,
    /// In place of a plan: an entitlement.
    entitlement: Option<GrantedEntitlement>,
    /// Why, for those who look it up later; 1 to 500 characters.
    #[schema(example = "Three months for the outage in May")]
    reason: String,
    /// Until when; without this, until it is taken back.
    expires_at: Option<Timestamp>,
}

/// An entitlement that stands in the place of the plan's own of the same key (and window).
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantedEntitlement {
    /// Its name.
    #[schema(example = "messages")]
    key: String,
    /// `boolean`, `static` or `metered`.
    #[schema(example = "metered")]
    kind: String,
    /// What is granted, of a `boolean` or `static` one.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
    /// How many in a window, of a `metered` one; without this, without limit. Of `cost` in nano-dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<i64>,
    /// `minute`, `day`, `month` or `always` (so many at once), of a `metered` one.
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<String>,
}

/// Something that was granted.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Override)]
pub struct OverrideResponse {
    /// Identifier.
    id: uuid::Uuid,
    /// The plan, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<String>,
    /// The entitlement, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    entitlement: Option<GrantedEntitlement>,
    /// Why.
    reason: String,
    /// Which admin granted it; `null`: the command line.
    granted_by: Option<uuid::Uuid>,
    /// When.
    created_at: Timestamp,
    /// Until when.
    expires_at: Option<Timestamp>,
    /// When it was taken back.
    revoked_at: Option<Timestamp>,
}

fn refused(pointer: &str, detail: &str) -> Problem {
    Problem::invalid_field(pointer, "refused", detail)
}

impl TryFrom<GrantedEntitlement> for Entitlement {
    type Error = Problem;

    fn try_from(asked: GrantedEntitlement) -> Result<Self, Problem> {
        let kind = match (asked.kind.as_str(), asked.value) {
            ("boolean", Some(Value::Bool(on))) => EntitlementKind::Boolean(on),
            ("boolean", _) => return Err(refused("/entitlement/value", "true or false")),
            ("static", Some(value)) => EntitlementKind::Static(value),
            ("static", None) => return Err(refused("/entitlement/value", "what is granted")),
            ("metered", None) => {
                let word = asked.window.unwrap_or_default();
                let window = Window::parse(&word);
                let window =
                    window.ok_or_else(|| refused("/entitlement/window", "one of: minute, day, month, always"))?;
                EntitlementKind::metered(asked.limit, window)
            }
            ("metered", Some(_)) => return Err(refused("/entitlement/value", "a metered one has a `limit`")),
            _ => return Err(refused("/entitlement/kind", "one of: boolean, static, metered")),
        };
        Ok(Self { key: asked.key, kind })
    }
}

impl From<Entitlement> for GrantedEntitlement {
    fn from(granted: Entitlement) -> Self {
        let (kind, value, limit, window) = match granted.kind {
            EntitlementKind::Boolean(on) => ("boolean", Some(on.into()), None, None),
            EntitlementKind::Static(value) => ("static", Some(value), None, None),
            EntitlementKind::Metered { limit, window, .. } => {
                ("metered", None, limit, Some(window.as_str().to_owned()))
            }
        };
        Self {
            key: granted.key,
            kind: kind.to_owned(),
            value,
            limit,
            window,
        }
    }
}

impl OverrideResponse {
    /// What was granted, and when it was taken back.
    pub(super) fn new(granted: Override, revoked_at: Option<Timestamp>) -> Self {
        let (plan, entitlement) = match granted.grant {
            Grant::Plan(plan) => (Some(plan), None),
            Grant::Entitlement(entitlement) => (None, Some(entitlement.into())),
        };
        Self {
            id: granted.id.0,
            plan,
            entitlement,
            reason: granted.reason,
            granted_by: granted.granted_by.map(|user| user.0),
            created_at: granted.created_at,
            expires_at: granted.expires_at,
            revoked_at,
        }
    }
}

/// Grant a user a plan or an entitlement beside their subscription. It holds on every node within a second.
#[utoipa::path(post, path = "/v1/admin/users/{id}/overrides", tag = "admin", request_body = OverrideRequest,
    params(("id" = uuid::Uuid, Path, description = "The user.")), responses(
    (status = 201, description = "Granted.", body = OverrideResponse),
    (status = 404, description = "`not_found`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "A refused field; `errors` says which.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: Admin,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let user_id: UserId = query::id(&request, "user")?;
    let (ask, bytes) = body.json::<OverrideRequest>(api.options.max_json_bytes).await?;
    let grant = match (ask.plan, ask.entitlement) {
        (Some(plan), None) => Grant::Plan(plan),
        (None, Some(entitlement)) => Grant::Entitlement(entitlement.try_into()?),
        _ => return Err(refused("", "name either `plan` or `entitlement`")),
    };
    let ask = GrantAsk {
        user_id,
        grant,
        reason: ask.reason,
        expires_at: ask.expires_at,
    };
    let (actor, client) = (Actor::User(caller.live.user.id), client(&request));
    let make = async |_| {
        let billing = Arc::clone(&api.billing);
        let granted = api
            .run(async move { billing.grant_override(ask, actor, &client).await })
            .await?;
        Ok(OverrideResponse::new(granted, None))
    };
    idempotency::create(&api, &request, caller.live.user.id, &bytes, make).await
}
