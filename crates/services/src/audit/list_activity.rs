//! What was done to one's account, and what one did: shown to oneself.

use anteroom_domain::audit::{Actor, AuditEntry};
use anteroom_domain::{AuditId, UserId};
use anteroom_ports::StoreResult;
use anteroom_ports::audit::AuditFilter;

use super::Audit;
use crate::Page;

/// Who did something, from the point of view of the user it is shown to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoneBy {
    /// They themselves.
    You,
    /// Somebody who was not signed in: a login that failed.
    Somebody,
    /// An admin.
    Admin,
    /// Whoever runs the place, from the command line.
    Operator,
    /// Anteroom itself.
    System,
}

impl DoneBy {
    /// The word that is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::You => "you",
            Self::Somebody => "somebody",
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::System => "system",
        }
    }
}

/// A row of the log, as the user whom it concerns sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Activity {
    /// The row; from where an admin acted is left out.
    pub entry: AuditEntry,
    /// Who did it.
    pub by: DoneBy,
}

impl Activity {
    fn of(mut entry: AuditEntry, user: UserId) -> Self {
        let by = match entry.actor {
            Actor::User(actor) if actor == user => DoneBy::You,
            Actor::User(_) => DoneBy::Admin,
            Actor::Anonymous => DoneBy::Somebody,
            Actor::Operator => DoneBy::Operator,
            Actor::System => DoneBy::System,
        };
        if by == DoneBy::Admin {
            entry.address = None;
            entry.user_agent = None;
            entry.session_id = None;
        }
        Self { entry, by }
    }
}

impl Audit {
    /// A page of what concerns a user, newest first, older than `before`.
    pub async fn list_activity(
        &self,
        user: UserId,
        before: Option<AuditId>,
        limit: i64,
    ) -> StoreResult<Page<Activity>> {
        let filter = AuditFilter {
            user: Some(user),
            ..AuditFilter::default()
        };
        let page = self.list_audit(&filter, before, limit).await?;
        Ok(Page {
            items: page.items.into_iter().map(|entry| Activity::of(entry, user)).collect(),
            more: page.more,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use anteroom_domain::audit::Outcome;
    use anteroom_domain::{SessionId, Timestamp};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn from_where_an_admin_acted_is_nobody_elses_affair() {
        let (me, admin) = (UserId(Uuid::from_u128(1)), UserId(Uuid::from_u128(2)));
        let seen = |actor| {
            let entry = AuditEntry {
                id: AuditId(Uuid::from_u128(3)),
                at: Timestamp::UNIX_EPOCH,
                act: "account.disable".into(),
                outcome: Outcome::Succeeded,
                actor,
                subject: Some(me),
                session_id: Some(SessionId(Uuid::from_u128(4))),
                address: Some("192.0.2.1".into()),
                user_agent: Some("curl".into()),
                request_id: None,
                details: BTreeMap::new(),
            };
            let seen = Activity::of(entry, me);
            (
                seen.by.as_str(),
                seen.entry.address.is_some() && seen.entry.user_agent.is_some(),
            )
        };
        assert_eq!(seen(Actor::User(me)), ("you", true));
        assert_eq!(seen(Actor::User(admin)), ("admin", false));
        assert_eq!(seen(Actor::Anonymous), ("somebody", true));
        assert_eq!(seen(Actor::Operator), ("operator", true));
        assert_eq!(seen(Actor::System), ("system", true));
    }
}
