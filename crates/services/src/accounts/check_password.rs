//! Whether a new password is accepted: one rule for signing up, for an admin, for a change and for a reset.

use std::fmt;
use std::sync::Arc;

use anteroom_domain::accounts::{PasswordLists, PasswordPolicy, Personal};
use anteroom_ports::PasswordList;
use secrecy::{ExposeSecret as _, SecretString};

use super::{Accounts, FieldFault};

/// Which passwords are accepted.
#[derive(Clone)]
pub struct PasswordRules {
    /// What the operator can set.
    pub policy: PasswordPolicy,
    /// The most common ones, in small letters.
    pub common: Arc<dyn PasswordList>,
    /// Breached ones, where the operator has a list.
    pub breached: Option<Arc<dyn PasswordList>>,
}

impl fmt::Debug for PasswordRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let breached = self.breached.is_some();
        write!(f, "PasswordRules({:?}, breached: {breached})", self.policy)
    }
}

impl Accounts {
    /// Checks a new password of somebody with this address and name. The fault is the `password` field's; whose field
    /// is called something else says so: `FieldFault { field: "new_password", ..fault }`.
    pub(crate) fn password_faults(
        &self,
        password: &SecretString,
        email: &str,
        name: Option<&str>,
    ) -> Option<FieldFault> {
        let rules = &self.options.passwords;
        let lists = PasswordLists {
            common: &|password| rules.common.contains(password),
            breached: &|password| rules.breached.as_ref().is_some_and(|list| list.contains(password)),
        };
        let personal = Personal { email, name };
        let refused = rules.policy.check(password.expose_secret(), personal, lists).err()?;
        Some(FieldFault {
            field: "password",
            code: refused.code(),
            detail: refused.to_string(),
        })
    }
}
