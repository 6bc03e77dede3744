//! The audit log, as admins see it, and as each user sees what concerns them.

pub mod list_activity;
pub mod list_audit;

use std::collections::BTreeMap;

use anteroom_domain::Timestamp;
use anteroom_domain::audit::{Actor, AuditEntry};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// Who did something.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Actor)]
pub struct ActorResponse {
    /// `anonymous`, `user`, `operator` (the command line) or `system` (in the background).
    #[schema(example = "user")]
    pub kind: &'static str,
    /// Which user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
}

impl From<Actor> for ActorResponse {
    fn from(actor: Actor) -> Self {
        Self {
            kind: actor.kind(),
            id: actor.id().map(|id| id.0),
        }
    }
}

/// A row of the audit log.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AuditEntry)]
pub struct AuditEntryResponse {
    /// UUIDv7.
    pub id: Uuid,
    /// When.
    pub at: Timestamp,
    /// What, as a dotted name.
    #[schema(example = "account.login")]
    pub act: String,
    /// `succeeded` or `failed`.
    #[schema(example = "succeeded")]
    pub outcome: &'static str,
    /// Who did it.
    pub actor: ActorResponse,
    /// Whose account it was done to.
    pub subject_id: Option<Uuid>,
    /// In, or to, which session.
    pub session_id: Option<Uuid>,
    /// From which network address.
    pub address: Option<String>,
    /// With which `User-Agent`.
    pub user_agent: Option<String>,
    /// In which request.
    pub request_id: Option<Uuid>,
    /// What else is worth knowing, by act.
    #[schema(value_type = Object)]
    pub details: BTreeMap<String, Value>,
}

impl From<AuditEntry> for AuditEntryResponse {
    fn from(entry: AuditEntry) -> Self {
        Self {
            id: entry.id.0,
            at: entry.at,
            act: entry.act,
            outcome: entry.outcome.as_str(),
            actor: entry.actor.into(),
            subject_id: entry.subject.map(|id| id.0),
            session_id: entry.session_id.map(|id| id.0),
            address: entry.address,
            user_agent: entry.user_agent,
            request_id: entry.request_id.map(|id| id.0),
            details: entry.details,
        }
    }
}
