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

/// Under which name the store keeps it.
const KEPT_AS: &str = "secret_key_check";

impl Ops {
    /// Compares the key's check value with the one the store keeps, whatever its schema, and changes nothing. `false`
    /// if it keeps none yet. To be asked before the schema is brought up: one of another deployment's is left alone.
    pub async fn compare_key(&self) -> Result<bool, CheckKeyError> {
        let kept = self.store.read().await?.kept_deployment_value(KEPT_AS).await?;
        kept.map_or(Ok(false), |kept| judge(&kept, &self.key_value()).map(|()| true))
    }

    /// Compares the key's check value with the one the store keeps, and keeps it if there is none yet.
    pub async fn check_key(&self) -> Result<(), CheckKeyError> {
        let value = self.key_value();
        let mut unit = self.store.begin(Durability::Full).await?;
        let kept = unit.deployment_value(KEPT_AS, &value).await?;
        unit.commit().await?;
        judge(&kept, &value)
    }

    /// Tells two secrets apart without telling anything else about them.
    fn key_value(&self) -> String {
        hex::encode(self.secrets.keyed("secret-key-check", b"anteroom"))
    }
}

fn judge(kept: &str, value: &str) -> Result<(), CheckKeyError> {
    if kept == value {
        return Ok(());
    }
    error!(event = "deployment.key.refused");
    Err(CheckKeyError::AnotherKey)
}
