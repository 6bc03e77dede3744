//! `anteroom passwords build-filter`

use std::fs::File;
use std::io::{BufRead, BufReader, stdin};
use std::process::ExitCode;

use anteroom_password_filter::{Added, Builder};
use anyhow::Context as _;

use super::say;
use crate::cli::{BuildFilterArgs, PasswordsCommand};

/// Needs no configuration and no store.
pub(super) fn run(what: PasswordsCommand) -> anyhow::Result<ExitCode> {
    let PasswordsCommand::BuildFilter(args) = what;
    build_filter(&args)
}

fn build_filter(args: &BuildFilterArgs) -> anyhow::Result<ExitCode> {
    let named = || args.input.display().to_string();
    let mut list: Box<dyn BufRead> = if args.input.as_os_str() == "-" {
        Box::new(stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(&args.input).with_context(named)?))
    };
    let mut builder = Builder::new(args.min_count);
    let (mut line, mut skipped) = (Vec::new(), 0_u64);
    while list.read_until(b'\n', &mut line).with_context(named)? > 0 {
        if builder.add_line(&line) == Added::Skipped {
            skipped += 1;
        }
        line.clear();
    }
    let filter = builder.build().with_context(named)?;
    let target = args.output.display();
    filter
        .save(&args.output)
        .with_context(|| format!("{target} cannot be written"))?;
    say(&format!(
        "{target}: {} passwords; {skipped} lines were left out as too short or too seldom",
        filter.entries()
    ));
    Ok(ExitCode::SUCCESS)
}
