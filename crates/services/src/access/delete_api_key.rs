//! A key ends for good: its owner, or an admin, deletes it.

use anteroom_domain::accounts::User;
use anteroom_domain::audit::Actor;
use anteroom_domain::{ApiKeyId, SessionId, UserId};
use anteroom_ports::{Durability, StoreError, UnitOfWork};
use tracing::info;

use super::Access;
use crate::Client;
use crate::accounts::{SessionOver, may_still_act};
use crate::audit::Act;
use crate::sessions::LiveSession;
use crate::webhooks::{KeyAct, Letter};

/// Why nothing was deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteKeyError {
    /// There is no such key, or it is somebody else's.
    #[error("there is no such API key")]
    NotFound,
    /// Whoever asks is no admin any more.
    #[error("this is for admins")]
    Forbidden,
    /// The session has ended meanwhile.
    #[error(transparent)]
    SessionOver(#[from] SessionOver),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Access {
    /// Deletes a key of one's own, with all its secrets.
    pub async fn delete_api_key(
        &self,
        live: &LiveSession,
        id: ApiKeyId,
        client: &Client,
    ) -> Result<(), DeleteKeyError> {
        let mut unit = self.store.begin(Durability::Full).await?;
        let owner = self.lock_owner::<DeleteKeyError>(&mut *unit, live).await?;
        let by = (Actor::User(owner.id), Some(live.session.id));
        self.delete(unit, owner, id, by, client).await
    }

    /// Deletes a key of somebody else.
    pub async fn delete_api_key_of(
        &self,
        user: UserId,
        id: ApiKeyId,
        actor: Actor,
        client: &Client,
    ) -> Result<(), DeleteKeyError> {
        let mut unit = self.store.begin(Durability::Full).await?;
        let owner = unit.lock_user(user).await?.ok_or(DeleteKeyError::NotFound)?;
        if !may_still_act(&mut *unit, actor).await? {
            return Err(DeleteKeyError::Forbidden);
        }
        self.delete(unit, owner, id, (actor, None), client).await
    }

    async fn delete(
        &self,
        mut unit: Box<dyn UnitOfWork>,
        owner: User,
        id: ApiKeyId,
        (actor, session): (Actor, Option<SessionId>),
        client: &Client,
    ) -> Result<(), DeleteKeyError> {
        let key = unit.api_key(owner.id, id).await?.ok_or(DeleteKeyError::NotFound)?;
        if !unit.delete_api_key(owner.id, id).await? {
            return Err(DeleteKeyError::NotFound);
        }
        let by_owner = actor == Actor::User(owner.id);
        let did = if by_owner {
            KeyAct::Deleted
        } else {
            KeyAct::DeletedByAdmin
        };
        let letter = Letter::of_api_key(did, &key, client, self.clock.now());
        self.webhooks.tell(&mut *unit, &owner, letter).await?;
        let act = Act::succeeded("api_key.delete", actor, client)
            .subject(owner.id)
            .session(session)
            .detail("key_id", id.to_string());
        self.audit.record(&mut *unit, act).await?;
        unit.commit().await?;
        self.sessions.forget_user(owner.id);
        info!(event = "api_key.deleted", user_id = %owner.id, api_key_id = %id, by = %actor);
        Ok(())
    }
}
