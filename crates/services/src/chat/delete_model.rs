//! An admin, or the operator, deletes a stored alias of a model; the configuration's of its name comes back.

use anteroom_domain::audit::Actor;
use anteroom_ports::{Durability, StoreError};
use tracing::info;

use super::{Chat, Expected};
use crate::Client;
use crate::accounts::may_still_act;
use crate::audit::Act;

/// Why nothing was deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteModelError {
    /// Whoever asks is no admin any more.
    #[error("this is for admins")]
    Forbidden,
    /// There is none of that name.
    #[error("there is no such model")]
    NotFound,
    /// Only the configuration has it.
    #[error(
        "`{0}` is in the configuration, so it cannot be deleted here; store it with `enabled` = false to withhold it"
    )]
    Configured(String),
    /// Something else is stored than the deletion was meant for.
    #[error("the model was changed meanwhile; look at it again")]
    Changed,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Chat {
    /// Deletes a stored alias. In force on this node when it returns, on the others within a second.
    pub async fn delete_model(
        &self,
        name: &str,
        expected: Expected,
        actor: Actor,
        client: &Client,
    ) -> Result<(), DeleteModelError> {
        let mut unit = self.store.begin(Durability::Full).await?;
        if !may_still_act(&mut *unit, actor).await? {
            return Err(DeleteModelError::Forbidden);
        }
        let all = unit.lock_stored_aliases().await?;
        let stored = all.iter().find(|it| it.name == name);
        let is_configured = self.is_configured(name);
        if stored.is_none() && is_configured {
            return Err(DeleteModelError::Configured(name.to_owned()));
        }
        if stored.is_none() {
            return Err(DeleteModelError::NotFound);
        }
        if !expected.holds(stored) {
            return Err(DeleteModelError::Changed);
        }
        unit.delete_stored_alias(name).await?;
        let act = Act::succeeded("model.delete", actor, client)
            .detail("model", name)
            .detail("configured", is_configured);
        self.audit.record(&mut *unit, act).await?;
        unit.commit().await?;
        info!(event = "chat.model.deleted", model = name, by = %actor);
        self.take_up_models().await;
        Ok(())
    }
}
