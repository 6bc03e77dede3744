//! Reading keys, with what was spent of their budgets.

use anteroom_domain::access::ApiKey;
use anteroom_domain::billing::{METER_KEY_BUDGET, NanoUsd, Owner, QuotaKey};
use anteroom_domain::{ApiKeyId, Timestamp, UserId};
use anteroom_ports::{BillingRead, StoreError, StoreResult};

use super::Access;
use crate::Page;

/// A key as it stands.
#[derive(Debug, Clone)]
pub struct KeyState {
    /// The key.
    pub key: ApiKey,
    /// What is spent of its budget in the window that runs, calls under way included; nothing where there is none.
    pub spent: NanoUsd,
    /// When that window ends, if it does.
    pub resets_at: Option<Timestamp>,
}

/// Why none are shown.
#[derive(Debug, thiserror::Error)]
pub enum ListKeysError {
    /// There is no such account.
    #[error("there is no such user")]
    NoSuchUser,
    /// It has no such key.
    #[error("there is no such API key")]
    NotFound,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Access {
    /// A page of a user's keys, newest first, older than `before`; expired ones too, until they are purged.
    pub async fn list_api_keys(
        &self,
        user: UserId,
        before: Option<ApiKeyId>,
        limit: i64,
    ) -> Result<Page<KeyState>, ListKeysError> {
        let now = self.clock.now();
        let mut reads = self.store.read().await?;
        reads.user(user).await?.ok_or(ListKeysError::NoSuchUser)?;
        let page = Page::cut(reads.page_api_keys(user, before, limit + 1).await?, limit);
        let mut items = Vec::with_capacity(page.items.len());
        for key in page.items {
            items.push(self.state_of(&mut *reads, key, now).await?);
        }
        Ok(Page { items, more: page.more })
    }

    /// One key of a user.
    pub async fn get_api_key(&self, user: UserId, id: ApiKeyId) -> Result<KeyState, ListKeysError> {
        let mut reads = self.store.read().await?;
        let key = reads.api_key(user, id).await?.ok_or(ListKeysError::NotFound)?;
        Ok(self.state_of(&mut *reads, key, self.clock.now()).await?)
    }

    pub(super) async fn state_of(
        &self,
        reads: &mut (impl BillingRead + ?Sized),
        key: ApiKey,
        now: Timestamp,
    ) -> StoreResult<KeyState> {
        let key = self.as_last_used(key);
        let Some(budget) = key.budget else {
            return Ok(KeyState {
                key,
                spent: NanoUsd(0),
                resets_at: None,
            });
        };
        let counter = QuotaKey {
            owner: Owner::api_key(key.id),
            meter: METER_KEY_BUDGET,
            window_start: budget.window.start(now),
        };
        let level = reads.quota_level(&counter).await?;
        Ok(KeyState {
            key,
            spent: NanoUsd(level.used + level.reserved),
            resets_at: budget.window.end(now),
        })
    }
}
