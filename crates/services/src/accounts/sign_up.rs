//! A stranger makes an account and is signed in.

use anteroom_domain::UserId;
use anteroom_domain::accounts::{DEFAULT_LOCALE, Email, Purpose, Role, User, valid_locale, valid_name};
use anteroom_domain::audit::Actor;
use anteroom_domain::sessions::Transport;
use anteroom_ports::accounts::EMAIL_TAKEN;
use anteroom_ports::{Durability, HashError, StoreError, UnitOfWork};
use secrecy::SecretString;
use tracing::info;

use super::Accounts;
use crate::Client;
use crate::audit::Act;
use crate::sessions::{Grant, StartError};
use crate::webhooks::Letter;

/// What the stranger says.
#[derive(Debug)]
pub struct SignUp {
    /// Address, as written.
    pub email: String,
    /// Password.
    pub password: SecretString,
    /// Name to show.
    pub name: Option<String>,
    /// BCP 47 language tag.
    pub locale: Option<String>,
    /// How the session is to be carried.
    pub transport: Transport,
    /// From where.
    pub client: Client,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFault {
    /// The field.
    pub field: &'static str,
    /// Stable code of the rule that failed.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub detail: String,
}

/// What came of it.
#[derive(Debug)]
pub enum SignedUp {
    /// There is an account, and its owner is signed in.
    In(Box<Grant>),
    /// Whoever reads the address has mail. Nobody is told whether there is a new account.
    VerifyEmail,
}

/// Why nobody was signed up.
#[derive(Debug, thiserror::Error)]
pub enum SignUpError {
    /// The operator takes no new accounts.
    #[error("signing up is closed")]
    Closed,
    /// Fields were refused.
    #[error("some fields were refused")]
    Refused(Vec<FieldFault>),
    /// The address has an account.
    #[error("this address has an account already")]
    EmailTaken,
    /// The session was refused.
    #[error(transparent)]
    Session(StartError),
    /// Hashing failed or is too busy.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<StartError> for SignUpError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Store(e) => e.into(),
            refused => Self::Session(refused),
        }
    }
}

impl Accounts {
    /// Makes an account, with a session unless the address has to be proven first. All or nothing: user, password,
    /// session and mail are one commit.
    pub async fn sign_up(&self, ask: SignUp) -> Result<SignedUp, SignUpError> {
        let outcome = self.try_sign_up(ask).await;
        match &outcome {
            Ok(SignedUp::In(grant)) => {
                info!(event = "account.signup.succeeded", user_id = %grant.user.id, session_id = %grant.session.id);
            }
            Ok(SignedUp::VerifyEmail) => info!(event = "account.signup.mailed"),
            Err(e) => info!(event = "account.signup.failed", reason = %e),
        }
        outcome
    }

    async fn try_sign_up(&self, ask: SignUp) -> Result<SignedUp, SignUpError> {
        if !self.options.signup_open {
            return Err(SignUpError::Closed);
        }
        let (name, locale) = (ask.name.as_deref(), ask.locale.as_deref());
        let user = self.check_new_user(&ask.email, &ask.password, name, locale, Role::User)?;
        let quiet = self.options.require_verified_email;
        if !quiet && self.is_taken(&user.email).await? {
            return self.refuse_taken(&user.email, &ask.client).await;
        }
        // Hashed for a taken address as well, where the time it takes would tell.
        let hash = self.hasher.hash(&ask.password).await?;
        if quiet {
            return self.sign_up_quietly(&user, &hash, &ask.client).await;
        }

        let mut unit = self.store.begin(Durability::Full).await?;
        match self.insert(&mut *unit, &user, &hash).await {
            Err(SignUpError::EmailTaken) => {
                drop(unit);
                return self.refuse_taken(&user.email, &ask.client).await;
            }
            inserted => inserted?,
        }
        let grant = self
            .sessions
            .start(&mut *unit, &user, ask.transport, &ask.client)
            .await?;
        self.queue_verification(&mut *unit, &user).await?;
        let act = Act::succeeded("account.signup", Actor::User(user.id), &ask.client)
            .subject(user.id)
            .session(grant.session.id);
        self.audit.record(&mut *unit, act).await?;
        unit.commit().await?;
        self.sessions.started(&grant);
        Ok(SignedUp::In(Box::new(grant)))
    }

    /// Answers the same for a new address and for a taken one: either way the address's owner has mail.
    async fn sign_up_quietly(&self, user: &User, hash: &str, client: &Client) -> Result<SignedUp, SignUpError> {
        let mut unit = self.store.begin(Durability::Full).await?;
        match self.insert(&mut *unit, user, hash).await {
            Ok(()) => {
                self.queue_verification(&mut *unit, user).await?;
                let act = Act::succeeded("account.signup", Actor::User(user.id), client).subject(user.id);
                self.audit.record(&mut *unit, act).await?;
                unit.commit().await?;
            }
            Err(SignUpError::EmailTaken) => {
                drop(unit);
                self.tell_taken(&user.email, client).await?;
            }
            Err(e) => return Err(e),
        }
        Ok(SignedUp::VerifyEmail)
    }

    /// Says openly that an address is taken. Its owner finds the attempt in their activity.
    async fn refuse_taken(&self, email: &Email, client: &Client) -> Result<SignedUp, SignUpError> {
        let owner = self.store.read().await?.user_by_email(email.folded()).await?;
        let act = Act::failed("account.signup", Actor::Anonymous, client, "email_taken")
            .subject(owner.map(|(owner, _)| owner.id));
        self.audit.record_alone(act).await?;
        Err(SignUpError::EmailTaken)
    }

    /// Tells the owner of a taken address that somebody has tried to sign up with it.
    ///
    /// Where nobody has proven the address, two have now chosen a password for it, and one of them may be a stranger
    /// who waits for the owner to prove the address for them. So neither password counts: whoever reads the address
    /// is mailed a link that sets one.
    async fn tell_taken(&self, email: &Email, client: &Client) -> Result<(), SignUpError> {
        let mut unit = self.store.begin(Durability::Full).await?;
        let owner = unit.user_by_email(email.folded()).await?.map(|(owner, _)| owner);
        let owner = match owner {
            Some(owner) => unit.lock_user(owner.id).await?,
            None => None,
        };
        if let Some(owner) = &owner {
            let purpose = if owner.email_verified {
                Purpose::VerifyEmail
            } else {
                unit.delete_password_hash(owner.id).await?;
                let now = self.clock.now();
                unit.void_one_time_tokens(owner.id, Purpose::VerifyEmail, now).await?;
                Purpose::ResetPassword
            };
            if !self.may_mail_token(&mut *unit, owner.id, purpose).await? {
                // Nobody's mailbox is flooded.
            } else if owner.email_verified {
                // Opens nothing; it is counted.
                self.issue_token(&mut *unit, owner.id, purpose, owner.email.as_str())
                    .await?;
                self.webhooks
                    .tell(&mut *unit, owner, Letter::SignUpWithTakenEmail)
                    .await?;
            } else {
                self.queue_reset(&mut *unit, owner).await?;
            }
        }
        let act =
            Act::failed("account.signup", Actor::Anonymous, client, "email_taken").subject(owner.map(|owner| owner.id));
        self.audit.record(&mut *unit, act).await?;
        unit.commit().await?;
        Ok(())
    }

    async fn is_taken(&self, email: &Email) -> Result<bool, StoreError> {
        let mut read = self.store.read().await?;
        Ok(read.user_by_email(email.folded()).await?.is_some()
            || read.address_is_reserved(email.folded(), None, self.clock.now()).await?)
    }

    /// Adds a user with a password, unless somebody has the address or may go back to it. After a refusal the unit of
    /// work must not be committed.
    pub(super) async fn insert(&self, unit: &mut dyn UnitOfWork, user: &User, hash: &str) -> Result<(), SignUpError> {
        unit.insert_user(user).await.map_err(|e| {
            if e.conflicts_on(EMAIL_TAKEN) {
                SignUpError::EmailTaken
            } else {
                e.into()
            }
        })?;
        // Asked after the row is there: whoever gives the address up meanwhile, to go back to it perhaps, was waited for.
        let reserved = unit.address_is_reserved(user.email.folded(), Some(user.id), user.created_at);
        if reserved.await? {
            return Err(SignUpError::EmailTaken);
        }
        unit.put_password_hash(user.id, hash, user.created_at).await?;
        Ok(())
    }

    /// A new user, if all fields are right; otherwise all faults at once.
    pub(super) fn check_new_user(
        &self,
        email: &str,
        password: &SecretString,
        name: Option<&str>,
        locale: Option<&str>,
        role: Role,
    ) -> Result<User, SignUpError> {
        let mut faults = Vec::new();
        let checked = Email::parse(email);
        if let Err(e) = &checked {
            faults.push(FieldFault {
                field: "email",
                code: "invalid_email",
                detail: e.to_string(),
            });
        }
        faults.extend(self.password_faults(password, email, name));
        let named = name.map(valid_name);
        if named == Some(None) {
            faults.push(super::change_profile::name_fault());
        }
        let locale = locale.unwrap_or(DEFAULT_LOCALE);
        if !valid_locale(locale) {
            faults.push(super::change_profile::locale_fault());
        }
        let Some(email) = checked.ok().filter(|_| faults.is_empty()) else {
            return Err(SignUpError::Refused(faults));
        };
        let now = self.clock.now();
        Ok(User {
            id: UserId(self.ids.uuid()),
            email,
            email_verified: false,
            name: named.flatten(),
            locale: locale.to_owned(),
            role,
            created_at: now,
            updated_at: now,
            disabled_at: None,
            delete_after: None,
        })
    }
}
