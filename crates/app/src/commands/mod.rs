//! What the binary does, one file per command.

mod admin;
mod audit;
mod billing;
mod config;
mod doctor;
mod health;
mod keys;
mod migrate;
mod openapi;
mod passwords;
mod plans;
mod secret;
mod serve;
mod stripe_stub;
mod users;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anteroom_otlp::Exporter;
use anyhow::bail;

use crate::cli::{Cli, Command};
use crate::config::{LoadInput, Loaded, load};
use crate::log_output;
use crate::logging::{self, Output};
use crate::telemetry;

/// Carries out a command. Errors go to standard error in one line each, with their causes.
pub fn run(cli: Cli) -> ExitCode {
    let path = cli.config.clone();
    let ended = carry_out(cli.into_command(), path);
    log_output::flush();
    match ended {
        Ok(code) => code,
        Err(e) => {
            say_error(&format!("anteroom: {e:#}"));
            ExitCode::FAILURE
        }
    }
}

fn carry_out(command: Command, path: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve => {
            let (loaded, exporter) = settings_and_traces(path, Output::Stdout)?;
            serve::run(&loaded, exporter)
        }
        Command::Migrate(args) => migrate::run(args, path),
        Command::Admin(what) => admin::run(what, &settings(path, Output::Stderr)?),
        Command::Users(what) => users::run(what, &settings(path, Output::Stderr)?),
        Command::Audit(what) => audit::run(what, &settings(path, Output::Stderr)?),
        Command::Passwords(what) => passwords::run(what),
        Command::Keys(what) => keys::run(what, &settings(path, Output::Stderr)?),
        Command::Plans(what) => plans::run(&what, &settings(path, Output::Stderr)?),
        Command::Billing(what) => billing::run(what, &settings(path, Output::Stderr)?),
        Command::StripeStub(args) => stripe_stub::run(args),
        Command::Secret => secret::run(),
        Command::Config(what) => config::run(what, path),
        Command::Openapi => openapi::run(),
        Command::Doctor => doctor::run(path),
        Command::Health(args) => health::run(args, path),
    }
}

/// Reads the configuration, starts the log, and says what should be looked at.
fn settings(path: Option<PathBuf>, output: Output) -> anyhow::Result<Loaded> {
    let loaded = read(path)?;
    logging::start(&loaded.settings, output)?;
    warn_of(&loaded);
    Ok(loaded)
}

/// The same for a server, whose requests may be traced.
fn settings_and_traces(path: Option<PathBuf>, output: Output) -> anyhow::Result<(Loaded, Option<Exporter>)> {
    let loaded = read(path)?;
    let (spans, exporter) = telemetry::open(&loaded.settings)?.unzip();
    logging::start_with(&loaded.settings, output, spans)?;
    warn_of(&loaded);
    Ok((loaded, exporter))
}

fn warn_of(loaded: &Loaded) {
    for warning in &loaded.warnings {
        tracing::warn!(event = "config.warning", "{warning}");
    }
}

fn read(path: Option<PathBuf>) -> anyhow::Result<Loaded> {
    match load(LoadInput::from_process(path)) {
        Ok(loaded) => Ok(loaded),
        Err(errors) => bail!("the configuration cannot be used:\n{errors}"),
    }
}

/// The runtime that use cases run on. Actix's workers have small ones of their own.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Writes to standard output; a reader that has gone is nobody's error.
fn say(text: &str) {
    log_output::flush();
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

fn say_error(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
