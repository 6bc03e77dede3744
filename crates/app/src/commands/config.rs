//! `anteroom config`

use std::path::PathBuf;
use std::process::ExitCode;

use super::{read, say, say_error};
use crate::cli::ConfigCommand;
use crate::config::env_example;

/// Checks or shows the configuration.
pub(super) fn run(what: ConfigCommand, path: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    match what {
        ConfigCommand::Check => {
            let loaded = read(path)?;
            for warning in &loaded.warnings {
                say_error(&format!("warning: {warning}"));
            }
            say("the configuration is good");
        }
        ConfigCommand::Dump => say(read(path)?.dump().trim_end()),
        ConfigCommand::EnvExample => say(env_example()?.trim_end()),
    }
    Ok(ExitCode::SUCCESS)
}
