//! Reading everything a plan grants, with what is left of it, so that a frontend never guesses.

use std::sync::Arc;

use anteroom_domain::Timestamp;
use anteroom_domain::accounts::User;
use anteroom_domain::billing::{EntitlementKind, METER_CREDITS, Overage, Owner, Window};
use anteroom_domain::chat::ModelAlias;
use anteroom_ports::StoreResult;
use serde_json::Value;

use super::Billing;
use super::use_entitlement::used_of;

/// One entitlement as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct EntitlementState {
    /// Its name.
    pub key: String,
    /// What is granted.
    pub grant: GrantState,
}

/// What is granted, as it stands.
#[derive(Debug, Clone, PartialEq)]
pub enum GrantState {
    /// On or off.
    Boolean(bool),
    /// A fixed value.
    Static(Value),
    /// So many a window.
    Metered {
        /// What is included in one window; `None` is unlimited.
        limit: Option<i64>,
        /// What may be used beyond it, for money.
        overage: Option<Overage>,
        /// What is used up, calls that run included.
        used: i64,
        /// How long a window is.
        window: Window,
        /// When the next one begins, unless it is for good.
        resets_at: Option<Timestamp>,
    },
}

impl Billing {
    /// Everything the user's plan grants. `models` are those it includes, as a value of its own.
    pub async fn list_entitlements(
        &self,
        user: &User,
        offered: Option<&[Arc<ModelAlias>]>,
    ) -> StoreResult<Vec<EntitlementState>> {
        let mut reads = self.store.read().await?;
        let owner = Owner::account(user.id);
        let now = self.clock.now();
        let holdings = reads.holdings_of(owner, now).await?;
        let access = self.access_at(&holdings, now);
        let anchor = access.anchor(user.created_at);
        let included = access.plan.credits(now, anchor);
        let models = offered.map_or(Value::Null, |offered| {
            let models = access.plan.models_of(offered).into_iter();
            models.map(|alias| Value::from(alias.name.as_str())).collect()
        });
        let mut states = vec![EntitlementState {
            key: "models".into(),
            grant: GrantState::Static(models),
        }];
        for entitlement in &access.plan.entitlements {
            let grant = match &entitlement.kind {
                EntitlementKind::Boolean(on) => GrantState::Boolean(*on),
                EntitlementKind::Static(value) => GrantState::Static(value.clone()),
                EntitlementKind::Metered {
                    limit, window, overage, ..
                } => {
                    let (limit, window) = (*limit, *window);
                    let span = window.at(now, anchor);
                    let used = match included.filter(|_| entitlement.key == METER_CREDITS) {
                        Some(included) => {
                            let account = reads.credit_account(owner).await?;
                            account.included_spent(included).whole_up()
                        }
                        None => used_of(&mut *reads, owner, &entitlement.key, window, span.start).await?,
                    };
                    GrantState::Metered {
                        limit,
                        overage: overage.clone(),
                        used,
                        window,
                        resets_at: span.resets_at(),
                    }
                }
            };
            states.push(EntitlementState {
                key: entitlement.key.clone(),
                grant,
            });
        }
        Ok(states)
    }
}
