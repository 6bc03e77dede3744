//! A password hasher that hashes nothing, and a list of passwords.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Notify;

use anteroom_domain::accounts::ForeignHash;
use anteroom_ports::{HashError, PasswordHasher, PasswordList, Verified};

use crate::lock;
use crate::store::assert_no_open_unit;

/// How often a hasher was asked for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HasherCalls {
    /// Hashes made.
    pub hashed: usize,
    /// Comparisons with a stored hash.
    pub verified: usize,
    /// Comparisons with the decoy, for an unknown address.
    pub decoys: usize,
    /// Calls refused as busy.
    pub refused: usize,
}

#[derive(Debug, Default)]
struct State {
    calls: HasherCalls,
    busy: Option<u64>,
    hold: Option<Arc<Hold>>,
}

/// A comparison that has its outcome and is kept from telling it.
#[derive(Debug, Default)]
pub struct Hold {
    reached: Notify,
    released: Notify,
}

impl Hold {
    /// Waits until a comparison is held.
    pub async fn reached(&self) {
        self.reached.notified().await;
    }

    /// Lets it go on.
    pub fn release(&self) {
        self.released.notify_one();
    }
}

/// Keeps passwords in plain text, `plain$<number>$<password>`: fast, and wrong anywhere but in a test.
#[derive(Debug, Default)]
pub struct PlainHasher {
    state: Mutex<State>,
}

impl PlainHasher {
    /// A hasher that was never asked.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on answers [`HashError::Busy`] with these seconds; `None` ends that.
    pub fn set_busy(&self, retry_after_seconds: Option<u64>) {
        lock(&self.state).busy = retry_after_seconds;
    }

    /// Holds the next comparison with a stored hash after it was made.
    pub fn hold_next(&self) -> Arc<Hold> {
        let hold = Arc::new(Hold::default());
        lock(&self.state).hold = Some(Arc::clone(&hold));
        hold
    }

    /// How often it was asked.
    pub fn calls(&self) -> HasherCalls {
        lock(&self.state).calls
    }

    /// A stored hash of this password with weaker parameters than today's.
    pub fn outdated_hash(password: &str) -> String {
        format!("plain$old${password}")
    }

    fn admit(&self, what: &str, count: impl FnOnce(&mut HasherCalls) -> &mut usize) -> Result<usize, HashError> {
        assert_no_open_unit(what);
        let mut state = lock(&self.state);
        if let Some(retry_after_seconds) = state.busy {
            state.calls.refused += 1;
            return Err(HashError::Busy { retry_after_seconds });
        }
        let count = count(&mut state.calls);
        *count += 1;
        Ok(*count)
    }
}

#[async_trait]
impl PasswordHasher for PlainHasher {
    async fn hash(&self, password: &SecretString) -> Result<String, HashError> {
        let number = self.admit("hashing a password", |calls| &mut calls.hashed)?;
        Ok(format!("plain${number}${}", password.expose_secret()))
    }

    /// A foreign digest is the password itself.
    fn adopt(&self, foreign: &ForeignHash) -> Result<String, HashError> {
        let password = String::from_utf8(foreign.digest.clone()).map_err(|e| HashError::Failed(e.to_string()))?;
        Ok(Self::outdated_hash(&password))
    }

    async fn verify(&self, password: &SecretString, stored: Option<&str>) -> Result<Verified, HashError> {
        let Some(stored) = stored else {
            self.admit("checking a password", |calls| &mut calls.decoys)?;
            return Ok(Verified {
                matches: false,
                outdated: false,
            });
        };
        self.admit("checking a password", |calls| &mut calls.verified)?;
        let mut parts = stored.splitn(3, '$');
        let (Some("plain"), Some(number), Some(known)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(HashError::Failed("not a stored hash".to_owned()));
        };
        let held = lock(&self.state).hold.take();
        if let Some(hold) = held {
            hold.reached.notify_one();
            hold.released.notified().await;
        }
        Ok(Verified {
            matches: known == password.expose_secret(),
            outdated: number == "old",
        })
    }
}

/// A list that holds what it was made of, and nothing else.
#[derive(Debug, Default)]
pub struct ListedPasswords(HashSet<String>);

impl ListedPasswords {
    /// Holds these.
    pub fn of(passwords: &[&str]) -> Self {
        Self(passwords.iter().map(|&password| password.to_owned()).collect())
    }
}

impl PasswordList for ListedPasswords {
    fn contains(&self, password: &str) -> bool {
        self.0.contains(password)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_counts_and_refuses() {
        let hasher = PlainHasher::new();
        let password = SecretString::from("with$dollar");
        let hash = hasher.hash(&password).await.unwrap();
        assert_ne!(hash, hasher.hash(&password).await.unwrap());
        assert!(hasher.verify(&password, Some(&hash)).await.unwrap().matches);
        let old = PlainHasher::outdated_hash("with$dollar");
        let verified = hasher.verify(&password, Some(&old)).await.unwrap();
        assert!(verified.matches && verified.outdated);
        assert!(!hasher.verify(&password, None).await.unwrap().matches);
        assert!(hasher.verify(&password, Some("x")).await.is_err());
        hasher.set_busy(Some(3));
        let busy = hasher.hash(&password).await.unwrap_err();
        assert_eq!(busy, HashError::Busy { retry_after_seconds: 3 });
        let calls = hasher.calls();
        assert_eq!(
            (calls.hashed, calls.verified, calls.decoys, calls.refused),
            (2, 3, 1, 1)
        );
    }
}
