//! Tokens that are mailed: making one, and what all that present one have in common.

use anteroom_domain::accounts::{OneTimeToken, Purpose};
use anteroom_domain::{OneTimeTokenId, UserId};
use anteroom_ports::{Digest, Durability, StoreError, StoreResult, UnitOfWork};
use secrecy::{ExposeSecret as _, SecretString};

use super::Accounts;
use crate::later;

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
