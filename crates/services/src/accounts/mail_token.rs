//! Tokens that are mailed: making one, and what all that present one have in common.

use anteroom_domain::accounts::{OneTimeToken, Purpose, User};
use anteroom_domain::audit::Actor;
use anteroom_domain::{OneTimeTokenId, UserId};
use anteroom_ports::{Digest, Durability, StoreError, StoreResult, UnitOfWork};
use secrecy::{ExposeSecret as _, SecretString};

use super::Accounts;
use crate::audit::Act;
use crate::{Client, later};

/// A presented token opened nothing.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// There is none such, or it was used, made void, or has expired; nobody is told which.
    #[error("the token is unknown, used or expired")]
    Invalid,
    /// The address that it would give to the account has one already.
    #[error("this address has an account already")]
    EmailTaken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Tokens of one purpose that one account is mailed within an hour, at most: more would be somebody flooding its owner.
const PER_HOUR: i64 = 5;

impl Accounts {
    /// Makes a token as part of a unit of work. The text is in the answer only; the store gets its digest.
    pub(super) async fn issue_token(
        &self,
        unit: &mut dyn UnitOfWork,
        user_id: UserId,
        purpose: Purpose,
        email: &str,
    ) -> StoreResult<SecretString> {
        let now = self.clock.now();
        let text = hex::encode(self.ids.secret());
        let token = OneTimeToken {
            id: OneTimeTokenId(self.ids.uuid()),
            user_id,
            purpose,
            email: Some(email.to_owned()),
            session_id: None,
            created_at: now,
            expires_at: later(now, purpose.lifetime()),
            used_at: None,
        };
        let text = SecretString::from(text);
        unit.insert_one_time_token(&token, &self.token_digest(&text)).await?;
        Ok(text)
    }

    /// Uses a presented token up, and locks the user whose it is. The user comes first: whoever uses another of their
    /// tokens up meanwhile waits for the same, and not for this token while this waits for theirs.
    pub(super) async fn take_token(
        &self,
        unit: &mut dyn UnitOfWork,
        purpose: Purpose,
        text: &SecretString,
    ) -> StoreResult<Option<(OneTimeToken, User)>> {
        let (digest, now) = (self.token_digest(text), self.clock.now());
        let Some(found) = unit.one_time_token(purpose, &digest, now).await? else {
            return Ok(None);
        };
        let Some(user) = unit.lock_user(found.user_id).await? else {
            return Ok(None);
        };
        let taken = unit.take_one_time_token(purpose, &digest, now).await?;
        Ok(taken.map(|token| (token, user)))
    }

    /// Records that a presented token did nothing. Whose it was nobody knows.
    pub(super) async fn record_refused_token(
        &self,
        act: &'static str,
        error: &TokenError,
        client: &Client,
    ) -> StoreResult<()> {
        let reason = match error {
            TokenError::Invalid => "invalid_token",
            TokenError::EmailTaken => "email_taken",
            TokenError::Store(_) => return Ok(()),
        };
        let act = Act::failed(act, Actor::Anonymous, client, reason);
        self.audit.record_alone(act).await
    }

    /// Whether one more token of this purpose may be mailed to this account now.
    pub(super) async fn may_mail_token(
        &self,
        unit: &mut dyn UnitOfWork,
        user_id: UserId,
        purpose: Purpose,
    ) -> StoreResult<bool> {
        let since = later(self.clock.now(), -jiff::SignedDuration::from_hours(1));
        Ok(unit.count_one_time_tokens(user_id, purpose, since).await? < PER_HOUR)
    }

    /// Deletes tokens that have been over for a day, a batch at a time. Answers how many.
    pub async fn purge_tokens(&self) -> StoreResult<usize> {
        let before = later(self.clock.now(), -jiff::SignedDuration::from_hours(24));
        let mut unit = self.store.begin(Durability::Full).await?;
        let purged = unit.purge_one_time_tokens(before, 500).await?;
        unit.commit().await?;
        Ok(purged)
    }

    /// What the store knows a token by.
    pub(super) fn token_digest(&self, text: &SecretString) -> Digest {
        self.sessions.secrets.digest(text.expose_secret().as_bytes())
    }
}
