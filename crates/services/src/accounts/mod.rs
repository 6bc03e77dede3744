//! Users: signing up, logging in, reading and changing oneself.

mod change_profile;
mod change_user;
mod check_password;
mod find_user;
mod get_user;
mod import_users;
mod list_users;
mod log_in_with_password;
mod make_admin;
mod prove_password;
mod show_user;
mod sign_up;

pub use change_profile::{ChangeProfile, ChangeProfileError};
pub use change_user::{ChangeUser, ChangeUserError};
pub use check_password::PasswordRules;
pub use import_users::{ImportError, ImportUser, Imported};
pub use log_in_with_password::{LogIn, LogInError};
pub use make_admin::{MadeAdmin, MakeAdminError};
pub use show_user::UserDetails;
pub use sign_up::{FieldFault, SignUp, SignUpError};

pub(crate) use change_user::may_still_act;

use std::sync::Arc;

use anteroom_ports::{Clock, Ids, PasswordHasher, Store};

use crate::{Audit, Protection, Sessions, Webhooks};

/// What the operator can set.
#[derive(Debug, Clone)]
pub struct AccountsOptions {
    /// Whether strangers may sign up.
    pub signup_open: bool,
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
    pub(crate) webhooks: Arc<Webhooks>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) protection: Arc<Protection>,
    pub(crate) options: AccountsOptions,
}

impl Accounts {
    /// Puts the context together.
    #[expect(clippy::too_many_arguments, reason = "the wiring names each once")]
    pub fn new(
        store: Arc<dyn Store>,
        hasher: Arc<dyn PasswordHasher>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        sessions: Arc<Sessions>,
        webhooks: Arc<Webhooks>,
        audit: Arc<Audit>,
        protection: Arc<Protection>,
        options: AccountsOptions,
    ) -> Self {
        Self {
            store,
            hasher,
            clock,
            ids,
            sessions,
            webhooks,
            audit,
            protection,
            options,
        }
    }
}
