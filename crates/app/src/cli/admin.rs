//! What there is to say to `anteroom admin`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `anteroom admin …`
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum AdminCommand {
    /// Create an administrator, or make an existing account one
    ///
    /// Asks for a password, unless the account exists (which keeps its own) or --password-stdin is given.
    Create(AdminCreateArgs),
    /// Look after what is known of everybody's usage
    #[command(subcommand)]
    Usage(AdminUsageCommand),
    /// List, store and delete the names under which models are offered
    #[command(subcommand)]
    Models(AdminModelsCommand),
}

/// `anteroom admin models …`
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum AdminModelsCommand {
    /// List those of the configuration and those that are stored, in the order in which they are offered
    List(AdminModelsListArgs),
    /// Store one, in the place of the one of its name if there is one
    ///
    /// Running servers offer it within a second. The JSON is what PUT /v1/admin/models/{name} takes.
    Put(AdminModelsPutArgs),
    /// Delete a stored one; the configuration's of its name comes back
    Delete(AdminModelsDeleteArgs),
}

/// `anteroom admin models list …`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct AdminModelsListArgs {
    /// One JSON object a line, as GET /v1/admin/models has them
    #[arg(long)]
    pub json: bool,
}

/// `anteroom admin models put …`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct AdminModelsPutArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,

    /// File with its JSON [default: standard input]
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// `anteroom admin models delete …`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct AdminModelsDeleteArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// `anteroom admin usage …`
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum AdminUsageCommand {
    /// Add the calls that are booked up anew
    ///
    /// Beside a running server, an account at a time; what is booked meanwhile is counted.
    Rebuild,
}

/// `anteroom admin create …`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct AdminCreateArgs {
    /// E-mail address of the account
    #[arg(long, value_name = "EMAIL")]
    pub email: String,

    /// Name shown for the account
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Read the password from standard input (one line) instead of asking for it
    #[arg(long)]
    pub password_stdin: bool,
}
