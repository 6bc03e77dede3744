//! The binary `anteroom`.

use std::process::ExitCode;

use anteroom_app::cli::Cli;
use anteroom_app::commands;
use clap::Parser as _;

fn main() -> ExitCode {
    commands::run(Cli::parse())
}
