//! Somebody proves with a password that an account is theirs: what logging in and every other path with a password has
//! in common.

use anteroom_domain::accounts::{Email, User};
use anteroom_ports::{HashError, StoreError, StoreResult, UnitOfWork};
use secrecy::{ExposeSecret as _, SecretString};
use tracing::warn;

use super::Accounts;
use crate::Client;
use crate::protection::{Attempt, AttemptError};

/// The longest password worth hashing; none longer was ever accepted.
const MAX_PASSWORD_BYTES: usize = 1024;

/// The password was right.
#[derive(Debug)]
pub(crate) struct Proven {
    /// Whose account it is.
    pub(crate) user: User,
    /// What the password was compared with. It takes a while to compare: ask [`Proven::still_holds`] before acting.
    compared_with: String,
    /// Whether the stored hash should be replaced.
    pub(crate) outdated: bool,
    /// To be handed to `Protection::attempt_succeeded` in the unit of work that acts on the proof.
    pub(crate) attempt: Attempt,
}

impl Proven {
    /// Whether the password is still the account's, for whoever has locked the user: one that was reset meanwhile
    /// opens nothing, and is not written back.
    pub(crate) async fn still_holds(&self, unit: &mut dyn UnitOfWork) -> StoreResult<bool> {
        let now = unit.password_hash(self.user.id).await?;
        Ok(now.is_some_and(|now| now == self.compared_with))
    }
}

/// Why nothing was proven.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProveError {
    /// The address is unknown or the password wrong.
    #[error("the address or the password is wrong")]
    Wrong,
    /// Too many have failed; nothing was compared.
    #[error("too many failed logins; again in {retry_after_seconds} s")]
    Blocked {
        /// When an attempt is possible again.
        retry_after_seconds: u64,
    },
    /// Hashing failed or is too busy.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AttemptError> for ProveError {
    fn from(error: AttemptError) -> Self {
        match error {
            AttemptError::Blocked { retry_after_seconds } => Self::Blocked { retry_after_seconds },
            AttemptError::Store(e) => e.into(),
        }
    }
}

impl Accounts {
    /// Compares a password, under the lockout's counters. An unknown address costs and answers the same as a wrong
    /// password. Beside the outcome, for the log: the user whose account it is about, where there is one.
    pub(crate) async fn prove_password(
        &self,
        typed: &str,
        password: &SecretString,
        client: &Client,
    ) -> (Option<User>, Result<Proven, ProveError>) {
        let booked = self.protection.book_attempt(typed, client.address.as_deref()).await;
        let attempt = match booked {
            Ok(attempt) => attempt,
            Err(e) => return (None, Err(e.into())),
        };
        match self.compare(typed, password).await {
            Err(e) => {
                settle(self.protection.attempt_void(attempt).await);
                (None, Err(e))
            }
            Ok((Some(user), Some((hash, outdated)))) => {
                let proven = Proven {
                    user: user.clone(),
                    compared_with: hash,
                    outdated,
                    attempt,
                };
                (Some(user), Ok(proven))
            }
            Ok((user, _)) => {
                settle(self.protection.attempt_failed(attempt, user.as_ref(), client).await);
                (user, Err(ProveError::Wrong))
            }
        }
    }

    /// The proof came too late: the password was replaced while it was compared. It counts as a wrong one.
    pub(crate) async fn proven_too_late(&self, proven: Proven, client: &Client) {
        let settled = self
            .protection
            .attempt_failed(proven.attempt, Some(&proven.user), client)
            .await;
        settle(settled);
    }

    /// The user, where there is one; and where the password is theirs, its hash, and whether that is outdated.
    async fn compare(
        &self,
        typed: &str,
        password: &SecretString,
    ) -> Result<(Option<User>, Option<(String, bool)>), ProveError> {
        let (user, hash) = self.find_credentials(typed).await?.unzip();
        if password.expose_secret().len() > MAX_PASSWORD_BYTES {
            return Ok((user, None));
        }
        let hash = hash.flatten();
        let verified = self.hasher.verify(password, hash.as_deref()).await?;
        let proven = hash.filter(|_| verified.matches).map(|hash| (hash, verified.outdated));
        Ok((user, proven))
    }

    async fn find_credentials(&self, typed: &str) -> Result<Option<(User, Option<String>)>, StoreError> {
        // What is no address belongs to nobody, and may hold what a store cannot even look for.
        let Ok(email) = Email::parse(typed) else {
            return Ok(None);
        };
        self.store.read().await?.user_by_email(email.folded()).await
    }

    /// A hash with today's parameters, where the stored one has weaker ones; nothing fails for want of it.
    pub(crate) async fn rehash(&self, password: &SecretString) -> Option<String> {
        self.hasher
            .hash(password)
            .await
            .inspect_err(|e| warn!(event = "account.password.rehash_failed", reason = %e))
            .ok()
    }
}

/// The answer does not depend on whether a booking could be settled.
fn settle(settled: Result<(), StoreError>) {
    if let Err(e) = settled {
        warn!(event = "account.lockout.not_settled", reason = %e);
    }
}
