//! Sessions: one login, carried by a cookie or by tokens.

mod change;
mod device;
mod signing_keys;

pub use change::Change;
pub use device::device_name;
pub use signing_keys::{
    JWKS_MAX_AGE_SECONDS, KeyState, PUBLISHED_BEFORE, RETIRED_LEEWAY, SigningAlgorithm, SigningKey, Succession,
    next_is_due, replacement_needed, signs_at, states_at, succession,
};

use serde::{Deserialize, Serialize};

use crate::{SessionId, Timestamp, UserId};

/// How a client carries its session; it chooses at signup and login, and never gets both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// Access and refresh tokens in the body.
    Token,
    /// An opaque cookie.
    Cookie,
}

impl Transport {
    /// The word that is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Cookie => "cookie",
        }
    }

    /// Reads the stored word.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "token" => Some(Self::Token),
            "cookie" => Some(Self::Cookie),
            _ => None,
        }
    }
}

/// One login of one user. Its secret is kept apart and only as a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Identifier; `sid` in access tokens.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// What carries it.
    pub transport: Transport,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ends whatever happens (absolute lifetime).
    pub expires_at: Timestamp,
    /// When it was last used; written in batches, so up to a minute old.
    pub last_seen_at: Timestamp,
    /// The client's network address at login.
    pub address: Option<String>,
    /// The client's `User-Agent` at login, cut to 512 bytes.
    pub user_agent: Option<String>,
    /// The country that a trusted proxy named at login: two capital letters (ISO 3166-1).
    pub country: Option<String>,
    /// When the user last proved who they are within it: at login, or since.
    pub authenticated_at: Timestamp,
    /// When it was ended before its time, and why.
    pub ended: Option<(Timestamp, EndReason)>,
}

impl Session {
    /// Whether its user has proven who they are no longer than `within` ago: what is sensitive asks for that.
    pub fn authenticated_within(&self, now: Timestamp, within: jiff::SignedDuration) -> bool {
        now.duration_since(self.authenticated_at) <= within
    }

    /// Whether the session opens doors at this time, as far as its absolute end decides.
    pub fn live_at(&self, now: Timestamp) -> bool {
        self.ended.is_none() && now < self.expires_at
    }

    /// Whether it has lain unused for longer than sessions may, where there is such a limit. `last_seen_at` lags behind,
    /// and nobody who is at work is to be put out for that, so it is taken for later than it is by [`SEEN_LAG`].
    pub fn idle_at(&self, now: Timestamp, idle: Option<jiff::SignedDuration>) -> bool {
        idle.is_some_and(|idle| now.duration_since(self.last_seen_at) >= idle + SEEN_LAG)
    }
}

/// How far `last_seen_at` may lag behind: uses are noted once a minute, written every half minute, and looked at only
/// when what is known of the session is read afresh.
pub const SEEN_LAG: jiff::SignedDuration = jiff::SignedDuration::from_secs(120);

/// How many sessions a user may have at once, and what happens to one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimit {
    /// At most, at least one.
    pub most: usize,
    /// What happens to one more.
    pub when_full: WhenFull,
}

/// What happens to a login beyond the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// It ends the session that began first.
    EvictOldest,
    /// It is refused.
    Refuse,
}

impl SessionLimit {
    /// How many of `live` sessions, the oldest first, have to end for one more; `None` if it is to be refused.
    pub fn to_evict(self, live: usize) -> Option<usize> {
        let over = (live + 1).saturating_sub(self.most.max(1));
        (over == 0 || self.when_full == WhenFull::EvictOldest).then_some(over)
    }
}

/// Why a session ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The user logged out.
    Logout,
    /// A refresh token was presented after its successor had long been in use: somebody has a copy.
    RefreshTokenReuse,
    /// Its user ended it from another session, or by the link in a mail.
    Revoked,
    /// An admin ended it.
    AdminRevoked,
    /// The password was changed in another session.
    PasswordChanged,
    /// The password was reset.
    PasswordReset,
    /// The address was changed back by its former owner.
    EmailChangeUndone,
    /// The account was disabled.
    AccountDisabled,
    /// The account is to be deleted.
    AccountDeleted,
    /// A newer session took its place: more than the limit at once.
    Evicted,
}

impl EndReason {
    const ALL: [Self; 10] = [
        Self::Logout,
        Self::RefreshTokenReuse,
        Self::Revoked,
        Self::AdminRevoked,
        Self::PasswordChanged,
        Self::PasswordReset,
        Self::EmailChangeUndone,
        Self::AccountDisabled,
        Self::AccountDeleted,
        Self::Evicted,
    ];

    /// The word that is stored and logged.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::RefreshTokenReuse => "refresh_token_reuse",
            Self::Revoked => "revoked",
            Self::AdminRevoked => "admin_revoked",
            Self::PasswordChanged => "password_changed",
            Self::PasswordReset => "password_reset",
            Self::EmailChangeUndone => "email_change_undone",
            Self::AccountDisabled => "account_disabled",
            Self::AccountDeleted => "account_deleted",
            Self::Evicted => "evicted",
        }
    }

    /// Reads the stored word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

/// One link of a refresh-token family. Only the hash of the token is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshToken {
    /// Identifier.
    pub id: crate::RefreshTokenId,
    /// The family.
    pub session_id: SessionId,
    /// When it was handed out.
    pub created_at: Timestamp,
    /// When it was exchanged for its successor.
    pub used_at: Option<Timestamp>,
}

/// What presenting a refresh token leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presented {
    /// First use: make the successor.
    Rotate,
    /// Used moments ago (a lost answer, a second tab): hand out the same successor again.
    SameSuccessor,
    /// Used long ago: somebody has a copy. Revoke the family (RFC 9700 section 4.14.2).
    Reuse,
}

impl RefreshToken {
    /// Decides what presenting the token leads to.
    pub fn presented(&self, now: Timestamp, grace: jiff::SignedDuration) -> Presented {
        match self.used_at {
            None => Presented::Rotate,
            Some(used) if now.duration_since(used) <= grace => Presented::SameSuccessor,
            Some(_) => Presented::Reuse,
        }
    }
}

/// What an access token says (RFC 9068).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessClaims {
    /// `sub`.
    pub user_id: UserId,
    /// `sid`.
    pub session_id: SessionId,
    /// `exp`.
    pub expires_at: Timestamp,
}

/// Cuts a user agent to 512 bytes on a character boundary and drops control characters.
pub fn clip_user_agent(text: &str) -> String {
    let clean: String = text.chars().filter(|c| !c.is_control()).collect();
    let mut end = clean.len().min(512);
    while !clean.is_char_boundary(end) {
        end -= 1;
    }
    clean[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use uuid::Uuid;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn token(used_at: Option<Timestamp>) -> RefreshToken {
        RefreshToken {
            id: crate::RefreshTokenId(Uuid::nil()),
            session_id: SessionId(Uuid::nil()),
            created_at: at(0),
            used_at,
        }
    }

    #[test]
    fn a_refresh_token_rotates_once_then_has_ten_seconds_of_grace() {
        let grace = SignedDuration::from_secs(10);
        assert_eq!(token(None).presented(at(100), grace), Presented::Rotate);
        assert_eq!(token(Some(at(100))).presented(at(110), grace), Presented::SameSuccessor);
        assert_eq!(token(Some(at(100))).presented(at(111), grace), Presented::Reuse);
        // A clock that stepped back is no reuse.
        assert_eq!(token(Some(at(100))).presented(at(90), grace), Presented::SameSuccessor);
    }

    #[test]
    fn a_session_lives_until_it_ends_or_expires() {
        let mut session = Session {
            id: SessionId(Uuid::nil()),
            user_id: UserId(Uuid::nil()),
            transport: Transport::Cookie,
            created_at: at(0),
            expires_at: at(10),
            last_seen_at: at(0),
            address: None,
            user_agent: None,
            country: None,
            authenticated_at: at(0),
            ended: None,
        };
        assert!(session.live_at(at(9)));
        assert!(!session.live_at(at(10)));
        session.ended = Some((at(1), EndReason::Logout));
        assert!(!session.live_at(at(2)));
    }

    #[test]
    fn a_session_lies_idle_from_its_last_use_and_what_that_may_lag() {
        let session = Session {
            id: SessionId(Uuid::nil()),
            user_id: UserId(Uuid::nil()),
            transport: Transport::Cookie,
            created_at: at(0),
            expires_at: at(1_000_000),
            last_seen_at: at(100),
            address: None,
            user_agent: None,
            country: None,
            authenticated_at: at(0),
            ended: None,
        };
        let idle = Some(SignedDuration::from_mins(10));
        assert!(!session.idle_at(at(100 + 600 + 119), idle));
        assert!(session.idle_at(at(100 + 600 + 120), idle));
        assert!(!session.idle_at(at(900_000), None));
    }

    #[test]
    fn a_full_account_evicts_or_refuses() {
        let limit = |most, when_full| SessionLimit { most, when_full };
        for (live, evicted) in [(0, 0), (1, 0), (2, 1), (5, 4)] {
            assert_eq!(limit(2, WhenFull::EvictOldest).to_evict(live), Some(evicted));
        }
        assert_eq!(limit(2, WhenFull::Refuse).to_evict(1), Some(0));
        assert_eq!(limit(2, WhenFull::Refuse).to_evict(2), None);
    }

    #[test]
    fn user_agents_are_cut_between_characters() {
        let cut = clip_user_agent(&"é".repeat(300));
        assert_eq!(cut.len(), 512);
        assert_eq!(clip_user_agent("a\r\nb"), "ab");
        let odd = clip_user_agent(&format!("a{}", "é".repeat(300)));
        assert_eq!(odd.len(), 511);
    }

    #[test]
    fn stored_words_survive_a_round_trip() {
        for reason in EndReason::ALL {
            assert_eq!(EndReason::parse(reason.as_str()), Some(reason));
        }
        for transport in [Transport::Token, Transport::Cookie] {
            assert_eq!(Transport::parse(transport.as_str()), Some(transport));
        }
        assert_eq!(EndReason::parse("x"), None);
        assert_eq!(Transport::parse("x"), None);
    }
}
