//! Identifiers: UUIDv7 (RFC 9562), each of its own type so that one cannot be passed for another.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    )+};
}

ids! {
    /// A person with credentials.
    UserId,
    /// One login, whichever transport carries it; the `sid` of its access tokens.
    SessionId,
    /// What a program uses an account with; its secrets may be exchanged.
    ApiKeyId,
    /// One link of a refresh-token family; the family is the session.
    RefreshTokenId,
    /// A conversation.
    ConversationId,
    /// A message of a conversation.
    MessageId,
    /// A token that was mailed and works once.
    OneTimeTokenId,
    /// A row of the audit log.
    AuditId,
    /// One HTTP request, or one call to a model: the key under which its usage is booked once.
    RequestId,
    /// Quota held for a call that has not been settled yet.
    ReservationId,
    /// Something that was granted to somebody beside their subscription.
    OverrideId,
    /// Credits that were granted at once.
    CreditGrantId,
    /// One state of a model's stored alias.
    AliasVersion,
}
