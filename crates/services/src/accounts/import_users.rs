//! The operator brings users along from another system, with the hashes of their passwords.

use anteroom_domain::accounts::{
    DEFAULT_LOCALE, Email, ForeignHash, MAX_NAME_CHARS, Role, User, valid_locale, valid_name,
};
use anteroom_domain::audit::Actor;
use anteroom_domain::{Timestamp, UserId};
use anteroom_ports::{Durability, HashError, StoreError, UnitOfWork};
use tracing::info;

use super::Accounts;
use crate::Client;
use crate::audit::Act;

/// A user as another system had them.
#[derive(Debug, Clone)]
pub struct ImportUser {
    /// Address.
    pub email: String,
    /// Whether the other system had it proven.
    pub email_verified: bool,
    /// Name to show.
    pub name: Option<String>,
    /// BCP 47 language tag.
    pub locale: Option<String>,
    /// The hash of the password; without one the user resets it.
    pub password: Option<ForeignHash>,
    /// When the account was made there.
    pub created_at: Option<Timestamp>,
}

/// What became of one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Imported {
    /// The account is there now.
    Added,
    /// The address had an account, which stays as it is.
    Known,
    /// It is not taken, for these reasons.
    Refused(Vec<String>),
}

/// Why a batch was not imported. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A hash could not be brought into the form in which it is stored.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A user whose every field is right.
struct Checked {
    user: User,
    hash: Option<String>,
}

impl Accounts {
    /// Adds a batch of users in one commit and answers what became of each, in order. Who is there already stays as
    /// they are, so that importing the same again changes nothing. No mail leaves, and nobody becomes an admin. With
    /// `dry_run` everything is done but the commit.
    pub async fn import_users(&self, batch: Vec<ImportUser>, dry_run: bool) -> Result<Vec<Imported>, ImportError> {
        let mut checked = Vec::with_capacity(batch.len());
        for ask in batch {
            checked.push(match self.check_import(ask) {
                Ok((user, foreign)) => Ok(Checked {
                    hash: foreign.map(|hash| self.hasher.adopt(&hash)).transpose()?,
                    user,
                }),
                Err(reasons) => Err(reasons),
            });
        }
        let mut outcomes = self.insert_imported(&checked, dry_run).await;
        if matches!(outcomes, Err(StoreError::Conflict { .. })) {
            // Somebody signed up with one of the addresses meanwhile; the second time they are found.
            outcomes = self.insert_imported(&checked, dry_run).await;
        }
        let outcomes = outcomes?;
        let added = outcomes.iter().filter(|outcome| **outcome == Imported::Added).count();
        if !dry_run {
            info!(event = "account.import.committed", added, of = outcomes.len());
        }
        Ok(outcomes)
    }

    async fn insert_imported(
        &self,
        batch: &[Result<Checked, Vec<String>>],
        dry_run: bool,
    ) -> Result<Vec<Imported>, StoreError> {
        let mut unit = self.store.begin(Durability::Full).await?;
        let mut outcomes = Vec::with_capacity(batch.len());
        for checked in batch {
            outcomes.push(match checked {
                Ok(checked) => self.insert_if_new(&mut *unit, checked).await?,
                Err(reasons) => Imported::Refused(reasons.clone()),
            });
        }
        if !dry_run {
            unit.commit().await?;
        }
        Ok(outcomes)
    }

    fn check_import(&self, ask: ImportUser) -> Result<(User, Option<ForeignHash>), Vec<String>> {
        let now = self.clock.now();
        let mut reasons = Vec::new();
        let email = Email::parse(&ask.email)
            .inspect_err(|e| reasons.push(format!("email: {e}")))
            .ok();
        let name = ask.name.as_deref().map(valid_name);
        if name == Some(None) {
            reasons.push(format!(
                "name: it has 1 to {MAX_NAME_CHARS} characters and no control characters"
            ));
        }
        let locale = ask.locale.unwrap_or_else(|| DEFAULT_LOCALE.to_owned());
        if !valid_locale(&locale) {
            reasons.push("locale: it is a BCP 47 language tag such as `en` or `de-AT`".to_owned());
        }
        let created_at = anteroom_domain::micros(ask.created_at.unwrap_or(now));
        if created_at > now {
            reasons.push("created_at: it is in the future".to_owned());
        }
        let Some(email) = email.filter(|_| reasons.is_empty()) else {
            return Err(reasons);
        };
        let user = User {
            id: UserId(self.ids.uuid()),
            email,
            email_verified: ask.email_verified,
            name: name.flatten(),
            locale,
            role: Role::User,
            created_at,
            updated_at: now,
            disabled_at: None,
            delete_after: None,
        };
        Ok((user, ask.password))
    }

    async fn insert_if_new(&self, unit: &mut dyn UnitOfWork, checked: &Checked) -> Result<Imported, StoreError> {
        let user = &checked.user;
        if unit.user_by_email(user.email.folded()).await?.is_some() {
            return Ok(Imported::Known);
        }
        unit.insert_user(user).await?;
        // Asked after the row is there, as when somebody signs up.
        let reserved = unit.address_is_reserved(user.email.folded(), Some(user.id), user.updated_at);
        if reserved.await? {
            unit.delete_user(user.id).await?;
            let reason = "email: an account had this address and may go back to it for 72 hours";
            return Ok(Imported::Refused(vec![reason.to_owned()]));
        }
        if let Some(hash) = &checked.hash {
            unit.put_password_hash(user.id, hash, user.updated_at).await?;
        }
        let host = Client::default();
        let act = Act::succeeded("account.import", Actor::Operator, &host).subject(user.id);
        self.audit.record(unit, act).await?;
        Ok(Imported::Added)
    }
}
