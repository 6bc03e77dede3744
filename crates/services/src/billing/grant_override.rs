//! The operator grants somebody something beside their subscription, or takes it back.

use anteroom_domain::audit::Actor;
use anteroom_domain::billing::{Credits, EntitlementKind, Grant, METER_CREDITS, Meter, Override, Owner, Window};
use anteroom_domain::{OverrideId, Timestamp, UserId};
use anteroom_ports::{Durability, StoreError};
use tracing::info;

use super::Billing;
use crate::Client;
use crate::accounts::may_still_act;
use crate::audit::Act;

/// The longest reason.
pub const MAX_REASON_CHARS: usize = 500;

/// The longest key of an entitlement.
const MAX_KEY_CHARS: usize = 100;

/// What is to be granted.
#[derive(Debug, Clone)]
pub struct GrantAsk {
    /// To whom.
    pub user_id: UserId,
    /// What.
    pub grant: Grant,
    /// Why.
    pub reason: String,
    /// Until when; `None`: until it is taken back.
    pub expires_at: Option<Timestamp>,
}

/// Why nothing was granted or taken back.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// There is no such account.
    #[error("there is no such user")]
    NoSuchUser,
    /// There is no such grant, or it was taken back already.
    #[error("there is no such override")]
    NoSuchOverride,
    /// No such credits were granted, or they are written off.
    #[error("there is no such grant of credits, or nothing is left of it")]
    NoSuchCredits,
    /// Whoever asks is no admin any more.
    #[error("this is for admins")]
    Forbidden,
    /// A field was refused.
    #[error("{message}")]
    Refused {
        /// Where it stands in the request, as a JSON pointer.
        pointer: &'static str,
        /// Why.
        message: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn refused(pointer: &'static str, message: impl Into<String>) -> GrantError {
    GrantError::Refused {
        pointer,
        message: message.into(),
    }
}

impl Billing {
    /// Grants a plan or an entitlement. It holds on every node with this answer.
    pub async fn grant_override(&self, ask: GrantAsk, actor: Actor, client: &Client) -> Result<Override, GrantError> {
        let now = self.clock.now();
        self.check_grant(&ask, now)?;
        let granted = Override {
            id: OverrideId(self.ids.uuid()),
            owner: Owner::account(ask.user_id),
            grant: ask.grant,
            reason: ask.reason.trim().to_owned(),
            granted_by: match actor {
                Actor::User(id) => Some(id),
                _ => None,
            },
            created_at: now,
            expires_at: ask.expires_at,
        };
        let mut unit = self.store.begin(Durability::Full).await?;
        if unit.lock_user(ask.user_id).await?.is_none() {
            return Err(GrantError::NoSuchUser);
        }
        if !may_still_act(&mut *unit, actor).await? {
            return Err(GrantError::Forbidden);
        }
        unit.insert_override(&granted).await?;
        let act = Act::succeeded("billing.override.grant", actor, client)
            .subject(ask.user_id)
            .detail("override_id", granted.id.to_string())
            .detail("grant", serde_json::to_value(&granted.grant).unwrap_or_default())
            .detail("reason", granted.reason.as_str())
            .detail("expires_at", granted.expires_at.map(|at| at.to_string()));
        self.audit.record(&mut *unit, act).await?;
        unit.commit().await?;
        self.forget(granted.owner);
        info!(event = "billing.override.granted", user_id = %ask.user_id, override_id = %granted.id, by = %actor);
        Ok(granted)
    }

    fn check_grant(&self, ask: &GrantAsk, now: Timestamp) -> Result<(), GrantError> {
        let reason = ask.reason.trim().chars().count();
        if reason == 0 || reason > MAX_REASON_CHARS {
            return Err(refused(
                "/reason",
                format!("say why, in 1 to {MAX_REASON_CHARS} characters"),
            ));
        }
        if ask.expires_at.is_some_and(|end| end <= now) {
            return Err(refused("/expires_at", "this is over already"));
        }
        match &ask.grant {
            Grant::Plan(key) if self.catalogue().plan(key).is_none() => {
                Err(refused("/plan", format!("there is no plan `{key}`")))
            }
            Grant::Plan(_) => Ok(()),
            Grant::Entitlement(entitlement) => {
                let length = entitlement.key.chars().count();
                if length == 0 || length > MAX_KEY_CHARS {
                    return Err(refused("/entitlement/key", format!("1 to {MAX_KEY_CHARS} characters")));
                }
                let always = entitlement
                    .metered()
                    .is_some_and(|(_, window)| window == Window::Always);
                let own = Meter::parse(&entitlement.key).is_some() || entitlement.key == METER_CREDITS;
                if always && own {
                    let message = format!("`{}` begins anew: by the minute, the day or the month", entitlement.key);
                    return Err(refused("/entitlement/window", message));
                }
                let most = Credits::MOST.whole_down();
                match entitlement.kind {
                    EntitlementKind::Metered { limit: Some(limit), .. }
                        if entitlement.key == METER_CREDITS && limit > most =>
                    {
                        Err(refused("/entitlement/limit", format!("at most {most} credits")))
                    }
                    EntitlementKind::Metered { limit: Some(limit), .. } if limit < 0 => {
                        Err(refused("/entitlement/limit", "not below zero"))
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    /// Takes something back that was granted. It holds nowhere any more with this answer.
    pub async fn revoke_override(
        &self,
        user_id: UserId,
        id: OverrideId,
        actor: Actor,
        client: &Client,
    ) -> Result<(), GrantError> {
        let owner = Owner::account(user_id);
        let mut unit = self.store.begin(Durability::Full).await?;
        if !may_still_act(&mut *unit, actor).await? {
            return Err(GrantError::Forbidden);
        }
        if !unit.revoke_override(owner, id, self.clock.now()).await? {
            return Err(GrantError::NoSuchOverride);
        }
        let act = Act::succeeded("billing.override.revoke", actor, client)
            .subject(user_id)
            .detail("override_id", id.to_string());
        self.audit.record(&mut *unit, act).await?;
        unit.commit().await?;
        self.forget(owner);
        info!(event = "billing.override.revoked", %user_id, override_id = %id, by = %actor);
        Ok(())
    }

    /// What was granted to a user, newest first, with what no longer holds (and when it was taken back).
    pub async fn list_overrides(&self, user_id: UserId) -> Result<Vec<(Override, Option<Timestamp>)>, GrantError> {
        let mut reads = self.store.read().await?;
        if reads.user(user_id).await?.is_none() {
            return Err(GrantError::NoSuchUser);
        }
        Ok(reads.overrides_of(Owner::account(user_id)).await?)
    }
}
