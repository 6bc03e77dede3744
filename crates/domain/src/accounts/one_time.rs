//! Tokens that are mailed as links: each opens one thing, once, within its time.

use crate::{OneTimeTokenId, SessionId, Timestamp, UserId};

/// What a mailed token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Proves the address that an account has.
    VerifyEmail,
    /// Sets a new password.
    ResetPassword,
    /// Proves the address that an account is to have.
    ConfirmNewEmail,
    /// Goes back to the address that an account had.
    UndoEmailChange,
    /// Ends one session.
    RevokeSession,
}

impl Purpose {
    const ALL: [Self; 5] = [
        Self::VerifyEmail,
        Self::ResetPassword,
        Self::ConfirmNewEmail,
        Self::UndoEmailChange,
        Self::RevokeSession,
    ];

    /// The word that is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
            Self::ConfirmNewEmail => "confirm_new_email",
            Self::UndoEmailChange => "undo_email_change",
            Self::RevokeSession => "revoke_session",
        }
    }

    /// Reads the stored word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == word)
    }

    /// For how long a token of this kind works. A reset is short, since whoever reads the mail gets the account; going
    /// back is long, since its owner may not read mail every day.
    pub fn lifetime(self) -> jiff::SignedDuration {
        match self {
            Self::ResetPassword => jiff::SignedDuration::from_mins(30),
            Self::VerifyEmail | Self::ConfirmNewEmail => jiff::SignedDuration::from_hours(24),
            Self::UndoEmailChange => jiff::SignedDuration::from_hours(72),
            Self::RevokeSession => jiff::SignedDuration::from_hours(24 * 7),
        }
    }
}

/// A token that was mailed. The token itself is in the mail only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneTimeToken {
    /// Identifier.
    pub id: OneTimeTokenId,
    /// Whose account it is about.
    pub user_id: UserId,
    /// What it opens.
    pub purpose: Purpose,
    /// The address it is about, as it was written: the one to be proven, or the one to go back to.
    pub email: Option<String>,
    /// The session it ends.
    pub session_id: Option<SessionId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it no longer works.
    pub expires_at: Timestamp,
    /// When it was used, or made void.
    pub used_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_words_survive_a_round_trip() {
        for purpose in Purpose::ALL {
            assert_eq!(Purpose::parse(purpose.as_str()), Some(purpose));
        }
        assert_eq!(Purpose::parse("x"), None);
    }

    #[test]
    fn a_reset_is_the_shortest() {
        for purpose in Purpose::ALL {
            assert!(Purpose::ResetPassword.lifetime() <= purpose.lifetime());
        }
    }
}
