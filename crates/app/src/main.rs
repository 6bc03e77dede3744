//! The binary `anteroom`.

use std::process::ExitCode;

use anteroom_app::cli::Cli;
use anteroom_app::commands;
use clap::Parser as _;
use mimalloc::MiMalloc;

/// A request makes many small allocations, most of them freed by the thread that made them.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    commands::run(Cli::parse())
}
