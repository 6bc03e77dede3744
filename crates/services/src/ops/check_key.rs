//! Is this the secret key that the store was filled under?

use anteroom_ports::{Durability, StoreError};
use tracing::error;

use super::Ops;

/// Why the node must not serve.
#[derive(Debug, thiserror::Error)]
pub enum CheckKeyError {
    /// The store was filled under another key.
    #[error(
        "SECRET_KEY is not the key this store was filled under: no password would match and no token would verify. \
         Start with the former key (in development it stands in `secret.key` in the data folder), or with an empty store"
    )]
    AnotherKey,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Ops {
    /// Compares the key's check value with the one the store keeps, and keeps it if there is none yet.
    pub async fn check_key(&self) -> Result<(), CheckKeyError> {
        let value = hex::encode(self.secrets.keyed("secret-key-check", b"anteroom"));
        let mut unit = self.store.begin(Durability::Full).await?;
        let kept = unit.deployment_value("secret_key_check", &value).await?;
        unit.commit().await?;
        if kept == value {
            return Ok(());
        }
        error!(event = "deployment.key.refused");
        Err(CheckKeyError::AnotherKey)
    }
}
