//! An admin, or the operator, changes what somebody may do: their role, and whether the account may be used.
//!
//! Neither sets a password, an address or whether it is proven: those are the owner's to change and to prove.

use anteroom_domain::accounts::{Role, User};
use anteroom_domain::audit::Actor;
use anteroom_domain::sessions::EndReason;
use anteroom_domain::{SessionId, UserId};
use anteroom_ports::{Durability, StoreError, StoreResult, UnitOfWork};
use tracing::info;

use super::change_profile::{Profile, check_profile};
use super::{Accounts, FieldFault};
use crate::Client;
use crate::audit::Act;

/// What is to change; what is absent stays.
#[derive(Debug, Default, Clone)]
pub struct ChangeUser {
    /// What the user may do.
    pub role: Option<Role>,
    /// Whether the account is closed.
    pub disabled: Option<bool>,
    /// A name, or `Some(None)` for none.
    pub name: Option<Option<String>>,
    /// A language tag.
    pub locale: Option<String>,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeUserError {
    /// There is no such account.
    #[error("there is no such user")]
    NotFound,
    /// Whoever asks is no admin any more.
    #[error("this is for admins")]
    Forbidden,
    /// Nobody could administer the place any more.
    #[error("this is the last admin who can log in: make somebody else an admin first")]
    LastAdmin,
    /// Fields were refused.
    #[error("some fields were refused")]
    Refused(Vec<FieldFault>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether this user counts among those who can administer the place, as `count_admins` counts them.
fn administers(user: &User) -> bool {
    user.role == Role::Admin && user.usable() && user.delete_after.is_none()
}

/// Whether an actor may (still) do what is for admins. What is known of a session may be old; what is done to others is
/// decided by what the store says now.
pub(crate) async fn may_still_act(unit: &mut dyn UnitOfWork, actor: Actor) -> StoreResult<bool> {
    let Actor::User(id) = actor else {
        return Ok(actor == Actor::Operator);
    };
    let user = unit.user(id).await?;
    Ok(user.is_some_and(|user| user.role == Role::Admin && user.usable()))
}

/// What a change comes to.
struct Changed {
    user: User,
    steps: Vec<Step>,
    ended: Vec<SessionId>,
}

/// One of its parts: how the audit log calls it, how the event that is logged is called, and what else is recorded.
struct Step {
    act: &'static str,
    event: &'static str,
    details: Vec<(&'static str, &'static str)>,
}

fn step(act: &'static str, event: &'static str) -> Step {
    Step {
        act,
        event,
        details: Vec::new(),
    }
}

impl Accounts {
    /// Changes a user. Closing an account ends its sessions in the same commit. What is so already is no change, and
    /// leaves no trace.
    pub async fn change_user(
        &self,
        id: UserId,
        change: ChangeUser,
        actor: Actor,
        client: &Client,
    ) -> Result<User, ChangeUserError> {
        let profile = check_profile(change.name.clone(), change.locale.clone()).map_err(ChangeUserError::Refused)?;
        let mut unit = self.store.begin(Durability::Full).await?;
        let changed = self.apply(&mut *unit, id, &change, profile, actor).await?;
        for step in &changed.steps {
            let mut act = Act::succeeded(step.act, actor, client).subject(id);
            for (name, value) in &step.details {
                act = act.detail(name, *value);
            }
            self.audit.record(&mut *unit, act).await?;
        }
        unit.commit().await?;
        self.sessions.ended_now(&changed.ended, id, EndReason::AccountDisabled);
        self.sessions.forget_cached_state();
        for step in &changed.steps {
            info!(event = step.event, user_id = %id, by = %actor, sessions_ended = changed.ended.len());
        }
        Ok(changed.user)
    }

    async fn apply(
        &self,
        unit: &mut dyn UnitOfWork,
        id: UserId,
        change: &ChangeUser,
        (name, locale): Profile,
        actor: Actor,
    ) -> Result<Changed, ChangeUserError> {
        let now = self.clock.now();
        // Before the user is locked, as everywhere: whoever counts admins waits for nobody who waits for them. Counting
        // takes turns, so that of admins who demote each other the last sees that they are the last.
        let may_demote = change.role == Some(Role::User) || change.disabled == Some(true);
        let admins = if may_demote { unit.count_admins().await? } else { 0 };
        let before = unit.lock_user(id).await?.ok_or(ChangeUserError::NotFound)?;
        let mut user = before.clone();
        user.role = change.role.unwrap_or(user.role);
        match change.disabled {
            Some(true) => user.disabled_at = user.disabled_at.or(Some(now)),
            Some(false) => user.disabled_at = None,
            None => {}
        }
        user.name = name.unwrap_or(user.name);
        user.locale = locale.unwrap_or(user.locale);

        let too_few = administers(&before) && !administers(&user) && admins < 2;
        if !may_still_act(unit, actor).await? {
            return Err(ChangeUserError::Forbidden);
        }
        if too_few {
            return Err(ChangeUserError::LastAdmin);
        }

        let mut steps = Vec::new();
        let mut ended = Vec::new();
        if user.role != before.role {
            steps.push(Step {
                details: vec![("from", before.role.as_str()), ("to", user.role.as_str())],
                ..step("account.role.change", "account.role.changed")
            });
        }
        if user.disabled_at != before.disabled_at {
            steps.push(if user.disabled_at.is_some() {
                ended = unit.end_sessions_of(id, None, now, EndReason::AccountDisabled).await?;
                step("account.disable", "account.disabled")
            } else {
                step("account.enable", "account.enabled")
            });
        }
        if user.name != before.name || user.locale != before.locale {
            steps.push(step("account.profile.change", "account.profile.changed"));
        }
        if !steps.is_empty() {
            user.updated_at = now;
            unit.update_user(&user).await?;
        }
        Ok(Changed { user, steps, ended })
    }
}
