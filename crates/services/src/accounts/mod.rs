//! Users: signing up, logging in, reading and changing oneself.

mod change_email;
mod change_password;
mod change_profile;
mod change_user;
mod check_password;
mod delete_account;
mod find_user;
mod get_user;
mod import_users;
mod list_users;
mod log_in_with_password;
mod mail_token;
mod make_admin;
mod prove_password;
mod reauthenticate;
mod request_password_reset;
mod resend_verification;
mod reset_password;
mod run_errands;
mod send_reset_mail;
mod show_user;
mod sign_up;
mod verify_email;

pub use change_email::ChangeEmailError;
pub use change_password::ChangePasswordError;
pub use change_profile::{ChangeProfile, ChangeProfileError};
pub use change_user::{ChangeUser, ChangeUserError};
pub use check_password::PasswordRules;
pub use delete_account::DeleteAccountError;
pub use import_users::{ImportError, ImportUser, Imported};
pub use log_in_with_password::{LogIn, LogInError, LoggedIn};
pub use mail_token::TokenError;
pub use make_admin::{MadeAdmin, MakeAdminError};
pub use reauthenticate::{ReauthenticateError, SessionOver, TooLongAgo};
pub use reset_password::ResetPasswordError;
pub use send_reset_mail::SendResetMailError;
pub use show_user::UserDetails;
pub use sign_up::{FieldFault, SignUp, SignUpError, SignedUp};

pub(crate) use change_user::may_still_act;
pub(crate) use reauthenticate::RECENT;

use std::sync::{Arc, Weak};

use anteroom_ports::{Clock, Ids, PasswordHasher, Store};

use jiff::SignedDuration;

use crate::webhooks::Errand;
use crate::{Audit, Billing, Protection, Sessions, Webhooks};

/// What the operator can set.
#[derive(Debug, Clone)]
pub struct AccountsOptions {
    /// Whether strangers may sign up.
    pub signup_open: bool,
    /// Whether an address has to be proven before anyone is signed in with it. Then nobody is told whether an address
    /// has an account.
    pub require_verified_email: bool,
    /// How long an account waits to be erased after its owner has asked for it.
    pub deletion_grace: SignedDuration,
    /// Which passwords are accepted.
    pub passwords: PasswordRules,
}

/// The use cases of accounts.
pub struct Accounts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) hasher: Arc<dyn PasswordHasher>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) billing: Arc<Billing>,
    pub(crate) webhooks: Arc<Webhooks>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) protection: Arc<Protection>,
    pub(crate) options: AccountsOptions,
}

impl Accounts {
    /// Puts the context together. It does its own errands in the outbox for as long as it lives.
    #[expect(clippy::too_many_arguments, reason = "the wiring names each once")]
    pub fn new(
        store: Arc<dyn Store>,
        hasher: Arc<dyn PasswordHasher>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        sessions: Arc<Sessions>,
        billing: Arc<Billing>,
        webhooks: Arc<Webhooks>,
        audit: Arc<Audit>,
        protection: Arc<Protection>,
        options: AccountsOptions,
    ) -> Arc<Self> {
        let accounts = Arc::new(Self {
            store,
            hasher,
            clock,
            ids,
            sessions,
            billing,
            webhooks,
            audit,
            protection,
            options,
        });
        let errand: Weak<dyn Errand> = Arc::<Self>::downgrade(&accounts);
        accounts.webhooks.register(&run_errands::TOPICS, &errand);
        accounts
    }
}
