//! `anteroom openapi`

use std::process::ExitCode;

use super::say;

/// Prints the API's description.
pub(super) fn run() -> anyhow::Result<ExitCode> {
    say(&serde_json::to_string_pretty(&anteroom_http::openapi())?);
    Ok(ExitCode::SUCCESS)
}
