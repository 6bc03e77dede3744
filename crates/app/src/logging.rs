//! Logs: lines of text for people, JSON for machines.

use std::io::{IsTerminal as _, stderr, stdout};

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::config::{LogFormat, Settings};

/// Where lines go: a server's to its output, a command's beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error, so that what a command prints can be piped.
    Stderr,
}

/// Starts logging for the whole process; a second call changes nothing.
pub fn start(settings: &Settings, output: Output) -> anyhow::Result<()> {
    // What the web server says of its own threads is for those who ask for it.
    let directives = format!("actix_server=warn,{}", settings.log.level);
    let filter = EnvFilter::try_new(directives).with_context(|| {
        format!(
            "log.level `{}` is none; use error, warn, info, debug or trace, or directives per module",
            settings.log.level
        )
    })?;
    let (writer, colours) = match output {
        Output::Stdout => (BoxMakeWriter::new(stdout), stdout().is_terminal()),
        Output::Stderr => (BoxMakeWriter::new(stderr), stderr().is_terminal()),
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let started = match settings.log.format {
        LogFormat::Text => lines.with_ansi(colours).with_target(false).try_init(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .with_current_span(true)
            .try_init(),
    };
    // Tests start more than one server in a process; the first one's choice stands.
    drop(started);
    Ok(())
}
