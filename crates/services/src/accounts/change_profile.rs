//! A user changes what others may see of them.

use anteroom_domain::UserId;
use anteroom_domain::accounts::{MAX_NAME_CHARS, User, valid_locale, valid_name};
use anteroom_domain::audit::Actor;
use anteroom_ports::{Durability, StoreError};
use tracing::info;

use super::{Accounts, FieldFault};
use crate::Client;
use crate::audit::Act;

/// What is to change; what is absent stays.
#[derive(Debug, Default)]
pub struct ChangeProfile {
    /// A name, or `Some(None)` for none.
    pub name: Option<Option<String>>,
    /// A language tag.
    pub locale: Option<String>,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeProfileError {
    /// The account is gone.
    #[error("there is no such user")]
    NotFound,
    /// Fields were refused.
    #[error("some fields were refused")]
    Refused(Vec<FieldFault>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub(super) fn name_fault() -> FieldFault {
    let detail = format!("a name has 1 to {MAX_NAME_CHARS} characters and no control characters");
    FieldFault {
        field: "name",
        code: "invalid_name",
        detail,
    }
}

/// The fields of a profile, each with whether it is to change: a name of `Some(None)` is taken away.
pub(super) type Profile = (Option<Option<String>>, Option<String>);

/// Checks a name and a language and reports all faults at once.
pub(super) fn check_profile(name: Option<Option<String>>, locale: Option<String>) -> Result<Profile, Vec<FieldFault>> {
    let mut faults = Vec::new();
    let name = name.map(|name| name.map(|name| valid_name(&name)));
    if name == Some(Some(None)) {
        faults.push(name_fault());
    }
    if locale.as_deref().is_some_and(|tag| !valid_locale(tag)) {
        faults.push(locale_fault());
    }
    if faults.is_empty() {
        Ok((name.map(Option::flatten), locale))
    } else {
        Err(faults)
    }
}

impl Accounts {
    /// Changes the user's name and language. Where nothing is named nothing is written, told or recorded.
    pub async fn change_profile(
        &self,
        id: UserId,
        change: ChangeProfile,
        client: &Client,
    ) -> Result<User, ChangeProfileError> {
        let (name, locale) = check_profile(change.name, change.locale).map_err(ChangeProfileError::Refused)?;
        if name.is_none() && locale.is_none() {
            let found = self.store.read().await?.user(id).await?;
            return found.ok_or(ChangeProfileError::NotFound);
        }
        let mut unit = self.store.begin(Durability::Full).await?;
        let mut user = unit.lock_user(id).await?.ok_or(ChangeProfileError::NotFound)?;
        if let Some(name) = name {
            user.name = name;
        }
        if let Some(locale) = locale {
            user.locale = locale;
        }
        user.updated_at = self.clock.now();
        if !unit.update_user(&user).await? {
            return Err(ChangeProfileError::NotFound);
        }
        let act = Act::succeeded("account.profile.change", Actor::User(id), client).subject(id);
        self.audit.record(&mut *unit, act).await?;
        unit.commit().await?;
        self.sessions.forget_user(id);
        info!(event = "account.profile.changed", user_id = %id);
        Ok(user)
    }
}

pub(super) fn locale_fault() -> FieldFault {
    FieldFault {
        field: "locale",
        code: "invalid_locale",
        detail: "a locale is a BCP 47 language tag such as `en` or `de-AT`".to_owned(),
    }
}
