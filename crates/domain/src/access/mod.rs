//! Who is asking, and with what: API keys, and what they may do.

mod key_text;

pub use key_text::{API_KEY_PATTERN, API_KEY_PREFIX, api_key_hint, api_key_text, is_api_key};

use jiff::tz::TimeZone;
use jiff::{RoundMode, Unit, ZonedRound};
use serde::{Deserialize, Serialize};

use crate::billing::{NanoUsd, day_of};
use crate::{ApiKeyId, SessionId, Timestamp, UserId};

/// What an account was used with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UsedWith {
    /// A session.
    Session(SessionId),
    /// An API key.
    ApiKey(ApiKeyId),
}

impl UsedWith {
    /// The session, if it was one.
    pub fn session(self) -> Option<SessionId> {
        match self {
            Self::Session(id) => Some(id),
            Self::ApiKey(_) => None,
        }
    }

    /// The key, if it was one.
    pub fn api_key(self) -> Option<ApiKeyId> {
        match self {
            Self::ApiKey(id) => Some(id),
            Self::Session(_) => None,
        }
    }
}

/// What a key may be used for. Whatever no scope names is for sessions alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Listing models.
    Models,
    /// Asking models, statelessly.
    Chat,
    /// Embeddings.
    Embeddings,
    /// Conversations, and what is said in them.
    Conversations,
    /// Reading what was used.
    UsageRead,
    /// Reading the account, its subscription and what that grants.
    AccountRead,
    /// Asking what entitlements allow, and using them up; an admin's key, for every account.
    Entitlements,
}

impl Scope {
    /// All there are.
    pub const ALL: [Self; 7] = [
        Self::Models,
        Self::Chat,
        Self::Embeddings,
        Self::Conversations,
        Self::UsageRead,
        Self::AccountRead,
        Self::Entitlements,
    ];

    /// Those of a key for which none are named.
    pub const DEFAULT: [Self; 3] = [Self::Models, Self::Chat, Self::Embeddings];

    /// The word that is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Models => "models",
            Self::Chat => "chat",
            Self::Embeddings => "embeddings",
            Self::Conversations => "conversations",
            Self::UsageRead => "usage:read",
            Self::AccountRead => "account:read",
            Self::Entitlements => "entitlements",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }
}

/// How long a key's budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetWindow {
    /// A day in UTC.
    Day,
    /// A calendar month in UTC.
    Month,
    /// The key's life.
    Total,
}

impl BudgetWindow {
    /// The word that is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
            Self::Total => "total",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Day, Self::Month, Self::Total]
            .into_iter()
            .find(|window| window.as_str() == word)
    }

    /// When the window that `now` lies in began.
    pub fn start(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Day => day_of(now).start,
            Self::Month => month(now).map_or(now, |first| first.timestamp()),
            Self::Total => Timestamp::UNIX_EPOCH,
        }
    }

    /// When the window that `now` lies in ends, if it does.
    pub fn end(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Day => Some(day_of(now).end),
            Self::Month => {
                let next = month(now).and_then(|first| first.checked_add(jiff::Span::new().months(1)));
                next.ok().map(|first| first.timestamp())
            }
            Self::Total => None,
        }
    }
}

/// The first moment of a month in UTC.
fn month(now: Timestamp) -> Result<jiff::Zoned, jiff::Error> {
    let day = ZonedRound::new().smallest(Unit::Day).mode(RoundMode::Floor);
    now.to_zoned(TimeZone::UTC).round(day)?.first_of_month()
}

/// What may be spent with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyBudget {
    /// The most.
    pub limit: NanoUsd,
    /// In which time.
    pub window: BudgetWindow,
}

/// What a program uses an account with. Its secrets are kept apart and only as hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Identifier; stays the same when the key is rotated.
    pub id: ApiKeyId,
    /// Whose it is.
    pub user_id: UserId,
    /// For the list.
    pub name: String,
    /// The last four characters of its newest secret.
    pub hint: String,
    /// What it may be used for, in order, none twice.
    pub scopes: Vec<Scope>,
    /// The models it may be used with, of those that its owner's plan has; `None` for all of them.
    pub models: Option<Vec<String>>,
    /// What may be spent with it.
    pub budget: Option<KeyBudget>,
    /// How often it may be used in a minute, beside what limits its owner.
    pub requests_per_minute: Option<u32>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was last used; written in batches, so up to two minutes old.
    pub last_used_at: Option<Timestamp>,
    /// When its secret was last exchanged, and until when the one before works.
    pub rotated: Option<(Timestamp, Timestamp)>,
}

impl ApiKey {
    /// Whether the key opens doors at this time, as far as it itself decides.
    pub fn live_at(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether it may be used for this.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether it may be used with this model, if its owner may.
    pub fn allows(&self, model: &str) -> bool {
        self.models
            .as_ref()
            .is_none_or(|models| models.iter().any(|m| m == model))
    }
}

/// How many secrets of one key may work at a time: the newest, and those whose time to be exchanged is not over.
pub const MAX_LIVE_SECRETS: usize = 8;

/// One secret of a key, without the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySecret {
    /// Until when it works; the newest one until it is exchanged.
    pub ends_at: Option<Timestamp>,
}

impl KeySecret {
    /// Whether it works at this time.
    pub fn live_at(&self, now: Timestamp) -> bool {
        self.ends_at.is_none_or(|end| now < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_words_survive_a_round_trip() {
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.as_str()), Some(scope));
        }
        for window in [BudgetWindow::Day, BudgetWindow::Month, BudgetWindow::Total] {
            assert_eq!(BudgetWindow::parse(window.as_str()), Some(window));
        }
        assert_eq!((Scope::parse("admin"), BudgetWindow::parse("week")), (None, None));
        assert_eq!((Scope::parse("*"), Scope::parse("chat ")), (None, None));
    }

    #[test]
    fn a_budget_counts_by_days_and_months_in_utc_or_for_ever() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-12-31T23:59:59.999999Z");
        assert_eq!(BudgetWindow::Day.start(now), at("2026-12-31T00:00:00Z"));
        assert_eq!(BudgetWindow::Month.start(now), at("2026-12-01T00:00:00Z"));
        assert_eq!(BudgetWindow::Month.end(now), Some(at("2027-01-01T00:00:00Z")));
        assert_eq!(
            BudgetWindow::Month.start(at("2027-01-01T00:00:00Z")),
            at("2027-01-01T00:00:00Z")
        );
        assert_eq!(
            BudgetWindow::Month.end(at("2028-02-29T12:00:00Z")),
            Some(at("2028-03-01T00:00:00Z"))
        );
        assert_eq!(BudgetWindow::Total.end(now), None);
        assert_eq!(
            BudgetWindow::Total.start(now),
            BudgetWindow::Total.start(at("2027-01-01T00:00:00Z"))
        );
    }
}
