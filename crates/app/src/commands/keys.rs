//! `anteroom keys`

use std::process::ExitCode;

use anteroom_domain::sessions::SigningAlgorithm;
use anteroom_services::sessions::RotateKeys;

use super::{runtime, say};
use crate::cli::{KeyAlgorithm, KeysCommand};
use crate::config::{Loaded, Settings};
use crate::migrations::prepare_schema;
use crate::wiring::{Adapters, Services};

/// Shows and changes the signing keys in the store. Works beside a running server, which notices within seconds.
pub(super) fn run(what: KeysCommand, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(carry_out(what, &loaded.settings))
}

async fn carry_out(what: KeysCommand, settings: &Settings) -> anyhow::Result<ExitCode> {
    let adapters = Adapters::new(settings).await?;
    let services = Services::new(settings, &adapters)?;
    // A key that is sealed under another secret would be of no use to the servers.
    prepare_schema(settings, &adapters, &services).await?;
    let sessions = &services.sessions;
    match what {
        KeysCommand::List => {
            for (key, state) in sessions.list_signing_keys().await? {
                let retired = key
                    .retired_at
                    .map_or_else(String::new, |at| format!("  retired {at:.0}"));
                say(&format!(
                    "{}  {:<5}  {:<9}  signs from {:.0}{retired}",
                    key.kid,
                    key.algorithm.as_str(),
                    state.as_str(),
                    key.active_from
                ));
            }
        }
        KeysCommand::Rotate(args) => {
            let ask = RotateKeys {
                algorithm: args.algorithm.map(|algorithm| match algorithm {
                    KeyAlgorithm::EdDsa => SigningAlgorithm::EdDsa,
                    KeyAlgorithm::Es256 => SigningAlgorithm::Es256,
                }),
                at_once: args.now,
            };
            let key = sessions.rotate_signing_key(ask).await?;
            say(&format!(
                "made the key {} ({}), which signs from {:.0}",
                key.kid,
                key.algorithm.as_str(),
                key.active_from
            ));
        }
        KeysCommand::Revoke(args) => {
            let replacement = sessions.revoke_signing_key(&args.kid).await?;
            say(&format!("revoked the key {}", args.kid));
            if let Some(key) = replacement {
                say(&format!(
                    "made the key {} ({}), which signs now",
                    key.kid,
                    key.algorithm.as_str()
                ));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
