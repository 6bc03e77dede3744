//! The audit log: what was done, by whom, to whom, from where, and how it ended.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;
use uuid::Uuid;

use crate::{AuditId, RequestId, SessionId, Timestamp, UserId};

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// Somebody who is not signed in, or could not prove who they are.
    Anonymous,
    /// A user, in their own affairs or as an admin.
    User(UserId),
    /// Whoever may run commands on the host.
    Operator,
    /// Anteroom itself, in the background.
    System,
}

impl Actor {
    /// The word that is stored and shown.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::User(_) => "user",
            Self::Operator => "operator",
            Self::System => "system",
        }
    }

    /// Which one.
    pub fn id(self) -> Option<UserId> {
        match self {
            Self::User(id) => Some(id),
            _ => None,
        }
    }

    /// Reads what was stored.
    pub fn parse(kind: &str, id: Option<Uuid>) -> Option<Self> {
        match (kind, id) {
            ("anonymous", None) => Some(Self::Anonymous),
            ("user", Some(id)) => Some(Self::User(UserId(id))),
            ("operator", None) => Some(Self::Operator),
            ("system", None) => Some(Self::System),
            _ => None,
        }
    }
}

/// As logs name them: a user by their identifier, everybody else by the word.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => id.fmt(f),
            other => f.write_str(other.kind()),
        }
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Succeeded,
    /// It was tried and not done.
    Failed,
}

impl Outcome {
    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }

    /// Reads the stored word.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "succeeded" => Some(Self::Succeeded),
            "failed" => Some(Self::Failed),
            _ => None,
        }
    }
}

/// A row of the audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Identifier; sorts by time.
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// What, as a dotted name: `account.login`, `session.revoke`.
    pub act: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Who did it.
    pub actor: Actor,
    /// Whose account it was done to.
    pub subject: Option<UserId>,
    /// In, or to, which session.
    pub session_id: Option<SessionId>,
    /// From which network address.
    pub address: Option<String>,
    /// With which `User-Agent`, cut to 512 bytes.
    pub user_agent: Option<String>,
    /// In which request.
    pub request_id: Option<RequestId>,
    /// What else is worth knowing. No secret and no person's address.
    pub details: BTreeMap<String, Value>,
}

/// The first link of the chain has this before it.
pub const GENESIS: [u8; 32] = [0; 32];

/// A link of the chain over the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// Its place: 1, 2, 3 … without a gap.
    pub seq: i64,
    /// The row it seals.
    pub audit_id: AuditId,
    /// A keyed digest over the link before it, the place and the row.
    pub digest: [u8; 32],
}

impl AuditEntry {
    /// The details as they are stored: a JSON object with its names in order.
    pub fn details_text(&self) -> String {
        Value::Object(self.details.clone().into_iter().collect()).to_string()
    }

    /// The bytes that a seal covers: every field, each with its length, in one form on every database.
    pub fn sealed_bytes(&self, seq: i64, before: &[u8; 32]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        let mut field = |part: &[u8]| {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        };
        // What is absent is told from what is empty.
        let optional = |part: Option<&[u8]>| part.map_or_else(Vec::new, |part| [&[1], part].concat());
        field(before);
        field(&seq.to_be_bytes());
        field(self.id.0.as_bytes());
        field(&self.at.as_microsecond().to_be_bytes());
        field(self.act.as_bytes());
        field(self.outcome.as_str().as_bytes());
        field(self.actor.kind().as_bytes());
        field(&optional(self.actor.id().as_ref().map(|id| id.0.as_bytes().as_slice())));
        field(&optional(self.subject.as_ref().map(|id| id.0.as_bytes().as_slice())));
        field(&optional(self.session_id.as_ref().map(|id| id.0.as_bytes().as_slice())));
        field(&optional(self.address.as_deref().map(str::as_bytes)));
        field(&optional(self.user_agent.as_deref().map(str::as_bytes)));
        field(&optional(self.request_id.as_ref().map(|id| id.0.as_bytes().as_slice())));
        field(self.details_text().as_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> AuditEntry {
        AuditEntry {
            id: AuditId(Uuid::from_u128(1)),
            at: Timestamp::from_microsecond(1_800_000_000_123_456).unwrap(),
            act: "account.login".into(),
            outcome: Outcome::Failed,
            actor: Actor::Anonymous,
            subject: Some(UserId(Uuid::from_u128(2))),
            session_id: None,
            address: Some("192.0.2.1".into()),
            user_agent: None,
            request_id: Some(RequestId(Uuid::from_u128(3))),
            details: BTreeMap::new(),
        }
    }

    #[test]
    fn stored_words_survive_a_round_trip() {
        let id = Uuid::from_u128(7);
        for actor in [
            Actor::Anonymous,
            Actor::User(UserId(id)),
            Actor::Operator,
            Actor::System,
        ] {
            assert_eq!(Actor::parse(actor.kind(), actor.id().map(|id| id.0)), Some(actor));
        }
        assert_eq!(Actor::parse("user", None), None);
        assert_eq!(Actor::parse("system", Some(id)), None);
        for outcome in [Outcome::Succeeded, Outcome::Failed] {
            assert_eq!(Outcome::parse(outcome.as_str()), Some(outcome));
        }
    }

    #[test]
    fn whatever_changes_changes_what_is_sealed() {
        type Change = fn(&mut AuditEntry);
        let before = entry().sealed_bytes(1, &GENESIS);
        let changes: [Change; 11] = [
            |e| e.id = AuditId(Uuid::from_u128(9)),
            |e| e.at = Timestamp::from_microsecond(1_800_000_000_123_457).unwrap(),
            |e| e.act = "account.logi".into(),
            |e| e.outcome = Outcome::Succeeded,
            |e| e.actor = Actor::System,
            |e| e.subject = None,
            |e| e.session_id = Some(SessionId(Uuid::from_u128(2))),
            |e| e.address = None,
            |e| e.user_agent = Some(String::new()),
            |e| e.request_id = None,
            |e| {
                e.details.insert("a".into(), Value::Null);
            },
        ];
        for change in changes {
            let mut changed = entry();
            change(&mut changed);
            assert_ne!(changed.sealed_bytes(1, &GENESIS), before, "{changed:?}");
        }
        assert_ne!(entry().sealed_bytes(2, &GENESIS), before);
        assert_ne!(entry().sealed_bytes(1, &[1; 32]), before);
    }
}
