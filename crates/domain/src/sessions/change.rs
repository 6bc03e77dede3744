//! What every node must hear of, because it keeps in memory what is no longer so, or runs what is wanted elsewhere.

use crate::{MessageId, SessionId, UserId};

/// A change that was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// A session has ended.
    SessionEnded(SessionId),
    /// What sessions show of a user has changed: the user, what they pay for, or one of their sessions.
    User(UserId),
    /// The stored aliases of models have changed.
    Models,
    /// An answer is not wanted any more: whoever writes it ends it.
    AnswerStopped(MessageId),
    /// An answer is read on another node than the one that writes it.
    AnswerFollowed(MessageId),
    /// Something that this version does not know; a newer one told of it. Anything may have changed.
    Unknown,
}

impl Change {
    /// The words that travel.
    pub fn to_text(self) -> String {
        match self {
            Self::SessionEnded(id) => format!("session_ended {id}"),
            Self::User(id) => format!("user {id}"),
            Self::Models => "models".to_owned(),
            Self::AnswerStopped(id) => format!("answer_stopped {id}"),
            Self::AnswerFollowed(id) => format!("answer_followed {id}"),
            Self::Unknown => "unknown".to_owned(),
        }
    }

    /// Reads them.
    pub fn parse(text: &str) -> Self {
        let known = match text.split_once(' ') {
            Some(("session_ended", id)) => id.parse().ok().map(Self::SessionEnded),
            Some(("user", id)) => id.parse().ok().map(Self::User),
            None if text == "models" => Some(Self::Models),
            Some(("answer_stopped", id)) => id.parse().ok().map(Self::AnswerStopped),
            Some(("answer_followed", id)) => id.parse().ok().map(Self::AnswerFollowed),
            _ => None,
        };
        known.unwrap_or(Self::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn changes_survive_their_way_and_unknown_ones_are_noticed() {
        let id = Uuid::from_u128(7);
        for change in [
            Change::SessionEnded(SessionId(id)),
            Change::User(UserId(id)),
            Change::Models,
            Change::AnswerStopped(MessageId(id)),
            Change::AnswerFollowed(MessageId(id)),
            Change::Unknown,
        ] {
            assert_eq!(Change::parse(&change.to_text()), change);
        }
        for text in ["", "user", "user x", "plan 7", "session_ended", "models 7"] {
            assert_eq!(Change::parse(text), Change::Unknown, "{text}");
        }
    }
}
