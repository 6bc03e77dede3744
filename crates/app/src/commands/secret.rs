//! `anteroom secret`

use std::process::ExitCode;

use secrecy::ExposeSecret as _;

use super::say;

/// Prints a fresh key.
pub(super) fn run() -> anyhow::Result<ExitCode> {
    say(anteroom_crypto::generate_secret()?.expose_secret());
    Ok(ExitCode::SUCCESS)
}
