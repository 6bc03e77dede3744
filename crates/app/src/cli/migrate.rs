//! `anteroom migrate …`: Anteroom's own schema, and with `--database` the operator's application's.

use std::path::PathBuf;

use anteroom_domain::migrations::Version;
use clap::{Args, Subcommand};

/// `anteroom migrate …`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct MigrateArgs {
    /// Which database, and how to answer
    #[command(flatten)]
    pub place: MigratePlace,

    /// What to do
    #[command(subcommand)]
    pub what: MigrateCommand,
}

/// Which database and which files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct MigratePlace {
    /// An application's database instead of Anteroom's own: postgres://…, sqlite://…, or env:NAME for a variable that
    /// holds such a URL
    #[arg(long, global = true, value_name = "URL")]
    pub database: Option<String>,

    /// Folder of the application's migrations [default: ./migrations]
    #[arg(long, global = true, value_name = "PATH")]
    pub dir: Option<PathBuf>,

    /// Answer in JSON, alone on standard output; messages go to standard error
    #[arg(long, global = true)]
    pub json: bool,

    /// Say every statement on standard error as it begins
    #[arg(long, short, global = true)]
    pub verbose: bool,

    /// Seconds to wait for somebody else who migrates the same database
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 120)]
    pub lock_wait: u64,
}

/// What to do with migrations.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum MigrateCommand {
    /// Make the folder of a new migration, with files to fill in
    New(MigrateNewArgs),
    /// List the migrations with how each stands
    Status(MigratePendingArgs),
    /// Show what `up` would run: every statement as it is sent, with the locks it takes and what it costs
    Plan(MigratePlanArgs),
    /// Apply the migrations that are missing, oldest first; safe while several nodes do so at once
    Up(MigrateUpArgs),
    /// Take the newest migrations back, newest first
    ///
    /// What is in the tables and columns that they brought is lost: take a backup first. On Anteroom's own schema stop all
    /// servers before, and run it with the version that applied them, since an older one does not know them.
    Down(MigrateDownArgs),
    /// Take the newest migration back and apply it anew, while it is being written
    Redo(MigrateYesArgs),
    /// Check that the files are what was applied; ends with 4 if they are not
    Verify,
    /// Compare the schema with what the migrations made of it; ends with 4 if somebody changed it
    Drift,
    /// Note migrations as applied without running them, on a database that has its schema already
    Baseline(MigrateBaselineArgs),
    /// Vouch for files that were changed after they were applied, if the schema proves them
    Repair(MigrateRepairArgs),
    /// Point out what is dangerous in files, each with the safe way
    Lint(MigrateLintArgs),
    /// List everything that was done, oldest first
    History(MigrateHistoryArgs),
}

/// `anteroom migrate new …`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct MigrateNewArgs {
    /// What it does, in a few words: add_orders
    pub name: String,
}

/// `anteroom migrate status …`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub struct MigratePendingArgs {
    /// End with 3 if a migration is to be applied
    #[arg(long)]
    pub exit_code: bool,
}

/// `anteroom migrate plan …`
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct MigratePlanArgs {
    /// Up to and including this one
    #[arg(long, value_name = "VERSION")]
    pub to: Option<Version>,

    /// Also what is older than the newest that is applied
    #[arg(long)]
    pub out_of_order: bool,

    /// End with 3 if a migration is to be applied
    #[arg(long)]
    pub exit_code: bool,
}

/// `anteroom migrate up …`
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct MigrateUpArgs {
    /// Up to and including this one
    #[arg(long, value_name = "VERSION")]
    pub to: Option<Version>,

    /// Also what is older than the newest that is applied
    #[arg(long)]
    pub out_of_order: bool,

    /// Run nothing if `lint` has something to say
    #[arg(long)]
    pub strict: bool,
}

/// `anteroom migrate down …`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[group(id = "how_far", required = true, multiple = false, args = ["to", "steps"])]
pub struct MigrateDownArgs {
    /// Until this one is the newest that is applied; 0 takes all of them back
    #[arg(long, value_name = "VERSION")]
    pub to: Option<Version>,

    /// So many of them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub steps: Option<u32>,

    /// Whether to ask
    #[command(flatten)]
    pub sure: MigrateYesArgs,
}

/// Whether to ask before something is lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub struct MigrateYesArgs {
    /// Do not ask; nothing is asked where there is no terminal
    #[arg(long, short)]
    pub yes: bool,
}

/// `anteroom migrate baseline …`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[group(id = "what", required = true, multiple = false, args = ["to", "from_diesel"])]
pub struct MigrateBaselineArgs {
    /// Everything up to and including this one
    // Not called `version`, which `--version` is.
    #[arg(value_name = "VERSION")]
    pub to: Option<Version>,

    /// What Diesel's own table says is applied
    #[arg(long)]
    pub from_diesel: bool,
}

/// `anteroom migrate repair …`
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[group(id = "partial", multiple = false, args = ["applied", "not_applied"])]
pub struct MigrateRepairArgs {
    /// Instead: this one was run in part, and you have finished it by hand
    #[arg(long, value_name = "VERSION")]
    pub applied: Option<Version>,

    /// Instead: this one was run in part, and you have taken it back by hand
    #[arg(long, value_name = "VERSION")]
    pub not_applied: Option<Version>,
}

/// `anteroom migrate lint …`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub struct MigrateLintArgs {
    /// Look at every file, not only at those that are to be applied
    #[arg(long)]
    pub all: bool,
}

/// `anteroom migrate history …`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub struct MigrateHistoryArgs {
    /// Only the newest so many
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}
