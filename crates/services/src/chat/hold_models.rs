//! A node holds the stored aliases of models in memory: from its start on, afresh as soon as it is told of a change, and
//! by itself while it cannot rely on being told.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anteroom_domain::chat::{Known, ModelAlias, StoredAlias, in_force};
use anteroom_ports::StoreResult;
use tracing::{info, warn};

use super::Chat;
use super::list_models::Offer;
use super::targets::Targets;
use crate::sessions::WATCH;

/// How often they are read again although nothing was heard of a change.
const READ_EVERY: Duration = Duration::from_secs(30);

/// What is offered with what is stored over what is configured.
#[derive(Clone)]
struct Merged {
    configured: Arc<[Arc<ModelAlias>]>,
    offered: Arc<[Arc<ModelAlias>]>,
}

struct State {
    stored: Arc<[StoredAlias]>,
    merged: Option<Merged>,
}

/// What a node knows of the stored aliases.
pub(super) struct HeldModels {
    state: Mutex<State>,
    /// Held while they are read, so that what was read first is not held last.
    reading: tokio::sync::Mutex<()>,
}

impl Default for HeldModels {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                stored: Arc::default(),
                merged: None,
            }),
            reading: tokio::sync::Mutex::default(),
        }
    }
}

impl HeldModels {
    /// Puts what is stored over an offer.
    pub(super) fn over(&self, mut offer: Offer, targets: &Targets) -> Offer {
        offer.aliases = self.over_configured(&offer.aliases, targets);
        offer
    }

    /// What is offered with what is stored over these.
    fn over_configured(&self, configured: &Arc<[Arc<ModelAlias>]>, targets: &Targets) -> Arc<[Arc<ModelAlias>]> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.stored.is_empty() {
            return Arc::clone(configured);
        }
        let known = state.merged.take();
        let known = known.filter(|merged| Arc::ptr_eq(&merged.configured, configured));
        let merged = known.unwrap_or_else(|| Merged {
            offered: in_force(configured, &state.stored, &targets.names()).into(),
            configured: Arc::clone(configured),
        });
        let offered = Arc::clone(&merged.offered);
        state.merged = Some(merged);
        offered
    }

    /// Holds these from now on. Answers whether they are others than before.
    fn hold(&self, stored: Vec<StoredAlias>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.stored[..] == stored[..] {
            return false;
        }
        *state = State {
            stored: stored.into(),
            merged: None,
        };
        true
    }
}

impl Chat {
    /// Reads the stored aliases. To be called before the first call is taken, since they may keep plans from models.
    /// Answers whether they are others than before.
    pub async fn load_models(&self) -> StoreResult<bool> {
        let _turn = self.held.reading.lock().await;
        let stored = self.store.read().await?.stored_aliases().await?;
        let problems: Vec<(String, String)> = stored
            .iter()
            .flat_map(|it| self.problems(it).into_iter().map(|problem| (it.name.clone(), problem)))
            .collect();
        let changed = self.held.hold(stored);
        if changed {
            for (model, reason) in problems {
                warn!(event = "chat.model.unusable", model, reason);
            }
        }
        let offered = self.held.over_configured(&self.options.models, &self.targets);
        for target in offered.iter().flat_map(|alias| &alias.targets) {
            if self.price(target).is_none() {
                self.warn_of_missing_price(&target.provider, &target.model);
            }
        }
        Ok(changed)
    }

    /// Keeps them up to date for as long as the process runs. What another node commits is in force here within a
    /// second, whether or not the link on which nodes are told stands.
    pub async fn follow_models(&self) {
        let sessions = self.access.sessions();
        let mut told = sessions.models_told();
        let (mut due, mut read, mut failing) = (true, Instant::now(), false);
        loop {
            if !due {
                let woken = tokio::time::timeout(WATCH, told.changed()).await.is_ok();
                due = woken || !sessions.hears() || read.elapsed() >= READ_EVERY;
                continue;
            }
            told.mark_unchanged();
            read = Instant::now();
            match self.load_models().await {
                Ok(changed) => {
                    (due, failing) = (false, false);
                    if changed {
                        info!(event = "chat.models.changed");
                    }
                }
                Err(e) => {
                    if !std::mem::replace(&mut failing, true) {
                        warn!(event = "job.failed", job = "chat.follow_models", reason = %e);
                    }
                    tokio::time::sleep(WATCH).await;
                }
            }
        }
    }

    /// The alias that is in force under a name, as far as nobody has to be asked for it: one that is configured or stored.
    pub(super) fn alias_in_force(&self, name: &str) -> Option<Arc<ModelAlias>> {
        let configured = &self.options.models;
        let offered = self.held.over_configured(configured, &self.targets);
        offered.iter().find(|alias| alias.name == name).map(Arc::clone)
    }

    /// What is wrong with a stored alias now.
    pub(super) fn problems(&self, stored: &StoredAlias) -> Vec<String> {
        let (providers, plans) = (self.targets.names(), self.plan_keys());
        stored.problems(Known {
            providers: &providers,
            plans: &plans,
        })
    }

    pub(super) fn plan_keys(&self) -> Vec<&str> {
        let plans = self.billing.catalogue().plans().iter();
        plans.map(|plan| plan.key.as_str()).collect()
    }
}
