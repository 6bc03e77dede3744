//! Password hashing on its own pool, token signing with the keys in the store, and the keys derived from the deployment's secret.

mod foreign;
mod hashing_pool;
mod keys;
mod password_hasher;
mod signing_keys;
mod token_signer;

pub use hashing_pool::PoolStats;
pub use keys::{DeploymentKeys, KeyError, MIN_SECRET_BYTES, PasswordPepper, constant_time_eq, generate_secret};
pub use password_hasher::{BcryptHasher, BcryptOptions, MAX_COST, MIN_COST};
pub use token_signer::{KeyRing, KeyRingOptions, install_crypto};
