//! The command line: what there is to say to `anteroom`, and its help. What the commands do is elsewhere.

#![expect(
    clippy::doc_markdown,
    reason = "these comments are the help texts, read on a terminal"
)]

mod admin;
mod billing;
mod migrate;

pub use migrate::{
    MigrateArgs, MigrateBaselineArgs, MigrateCommand, MigrateDownArgs, MigrateHistoryArgs, MigrateLintArgs,
    MigrateNewArgs, MigratePendingArgs, MigratePlace, MigratePlanArgs, MigrateRepairArgs, MigrateUpArgs,
    MigrateYesArgs,
};

use std::path::PathBuf;

use anteroom_domain::Timestamp;
use anteroom_domain::accounts::Role;
use anteroom_domain::audit::Outcome;
use anteroom_services::audit::Head;
use clap::{Args, Parser, Subcommand, ValueEnum};
use url::Url;

pub use admin::{
    AdminCommand, AdminCreateArgs, AdminModelsCommand, AdminModelsDeleteArgs, AdminModelsListArgs, AdminModelsPutArgs,
    AdminUsageCommand,
};
pub use billing::{BillingCommand, PlansCommand, ReplayArgs, StripeStubArgs};

/// The room every request passes before it reaches an AI model: accounts, sessions, subscriptions and a relay
/// to the models, in one server.
///
/// Without a command it serves. It starts with nothing set, on http://127.0.0.1:7860, with an embedded
/// database in ./data and a built-in model that repeats what it is told.
#[derive(Debug, Parser)]
#[command(name = "anteroom", version, propagate_version = true)]
pub struct Cli {
    /// Configuration file to read besides the defaults and the variables [default: ./anteroom.toml, if there is one]
    #[arg(long, global = true, value_name = "PATH")]
    pub config: Option<PathBuf>,

    /// What to do; `serve` if nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl Cli {
    /// The command that was given, or the one that is meant by none.
    pub fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Serve)
    }
}

/// What `anteroom` can be told to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Serve the API until SIGTERM or Ctrl-C
    Serve,
    /// Change the schema of Anteroom's own database, or of your application's: plan, apply, take back, check
    Migrate(MigrateArgs),
    /// Manage administrators
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Manage accounts
    #[command(subcommand)]
    Users(UsersCommand),
    /// Read and check the audit log
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Manage the list of breached passwords
    #[command(subcommand)]
    Passwords(PasswordsCommand),
    /// List, rotate and revoke the keys that access tokens are signed with
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Check, compare and publish the plans
    #[command(subcommand)]
    Plans(PlansCommand),
    /// Compare subscriptions with the payment provider, and have its events' effects again
    #[command(subcommand)]
    Billing(BillingCommand),
    /// Run the built-in payment provider by itself: a small Stripe for trying and tests
    ///
    /// Stripe's own SDKs can drive it, and several servers can share it (stripe_stub.url). It takes no money.
    StripeStub(StripeStubArgs),
    /// Print a fresh secret key for SECRET_KEY
    ///
    /// Passwords and encrypted values depend on it: set it once, keep it, and give every node the same one.
    Secret,
    /// Check or show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the API's description (OpenAPI 3.1, JSON)
    Openapi,
    /// Check everything a start needs: configuration, data folder, database and its schema, model provider
    Doctor,
    /// Ask a running server whether it is healthy; ends with 0 if it is, else with 1
    ///
    /// For container health checks: no other program is needed.
    #[command(hide = true)]
    Health(HealthArgs),
}

/// `anteroom users …`
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum UsersCommand {
    /// Forget the failed logins of an account, so that its owner can log in at once
    Unlock(UsersUnlockArgs),
    /// Bring users along from another system, with the hashes of their passwords
    ///
    /// The file has one JSON object a line: email, and perhaps email_verified, name, locale, created_at and
    /// password_hash. Who has an account already is left as they are, so it can be run again. Lines that are not taken
    /// are named on standard error, and it ends with 1 then. docs/guides/import-users.md has the formats.
    Import(UsersImportArgs),
    /// List accounts, newest first
    List(UsersListArgs),
    /// Show an account
    Show(UserArgs),
    /// Close an account: its sessions end, and it cannot be logged in to
    Disable(UserArgs),
    /// Open an account that was closed
    Enable(UserArgs),
    /// Make somebody an administrator, or a user like others
    SetRole(UsersSetRoleArgs),
    /// End all sessions of an account
    RevokeSessions(UserArgs),
    /// Mail an account's owner a link that sets a new password; a running server sends it
    ResetMail(UserArgs),
}

/// Whom a command is about.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct UserArgs {
    /// E-mail address of the account, or its identifier
    #[arg(long, value_name = "EMAIL")]
    pub email: String,

    /// Print the account as JSON, as GET /v1/admin/users/{id} has it
    #[arg(long)]
    pub json: bool,
}

/// `anteroom users set-role …`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct UsersSetRoleArgs {
    /// Whom
    #[command(flatten)]
    pub user: UserArgs,

    /// What they may do
    #[arg(long, value_enum)]
    pub role: RoleName,
}

/// `anteroom users list …`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct UsersListArgs {
    /// Only those with this in their address or name
    #[arg(long, short, value_name = "TEXT")]
    pub query: Option<String>,

    /// Only those with this role
    #[arg(long, value_enum)]
    pub role: Option<RoleName>,

    /// Only accounts that are closed (true) or not (false)
    #[arg(long, value_name = "true|false")]
    pub disabled: Option<bool>,

    /// Only those whose address has been proven (true) or not (false)
    #[arg(long, value_name = "true|false")]
    pub verified: Option<bool>,

    /// How many accounts at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..))]
    pub limit: i64,

    /// One JSON object a line, as GET /v1/admin/users has them
    #[arg(long)]
    pub json: bool,
}

/// What somebody may do, on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleName {
    /// Own things only
    User,
    /// Everything under /v1/admin
    Admin,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::User => Self::User,
            RoleName::Admin => Self::Admin,
        }
    }
}

/// `anteroom users import …`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct UsersImportArgs {
    /// File to read
    #[arg(long, value_name = "FILE")]
    pub file: PathBuf,

    /// Begin at this line
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub from_line: u64,

    /// Check every line, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `anteroom users unlock …`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct UsersUnlockArgs {
    /// E-mail address of the account
    #[arg(long, value_name = "EMAIL")]
    pub email: String,
}

/// `anteroom audit …`
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum AuditCommand {
    /// Check that nothing in the audit log was edited, deleted or moved; ends with 1 if something was
    ///
    /// Walks the chain of seals from its beginning. That its end was cut off shows only against a head that was noted
    /// elsewhere: the event audit.sealed in the server's log, or the last line of an earlier check.
    Verify(AuditVerifyArgs),
    /// Print the audit log, newest first
    List(AuditListArgs),
}

/// `anteroom audit verify …`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct AuditVerifyArgs {
    /// A head that the chain has had
    #[arg(long, value_name = "SEQ:DIGEST")]
    pub head: Option<Head>,
}

/// `anteroom audit list …`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct AuditListArgs {
    /// Only what this user did, or what was done to their account; an address or an identifier
    #[arg(long, value_name = "WHO")]
    pub user: Option<String>,

    /// Only what this user did
    #[arg(long, value_name = "WHO")]
    pub actor: Option<String>,

    /// Only what was done to this user's account
    #[arg(long, value_name = "WHO")]
    pub subject: Option<String>,

    /// Only this act, or those below it: account finds account.login
    #[arg(long, value_name = "NAME")]
    pub act: Option<String>,

    /// Only what ended like this
    #[arg(long, value_enum)]
    pub outcome: Option<OutcomeName>,

    /// Only from this time on, as 2026-11-25T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub from: Option<Timestamp>,

    /// Only before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<Timestamp>,

    /// How many rows at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..))]
    pub limit: i64,

    /// One JSON object a line, as GET /v1/admin/audit has them
    #[arg(long)]
    pub json: bool,
}

/// How something ended, on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutcomeName {
    /// It was done
    Succeeded,
    /// It was tried and not done
    Failed,
}

impl From<OutcomeName> for Outcome {
    fn from(name: OutcomeName) -> Self {
        match name {
            OutcomeName::Succeeded => Self::Succeeded,
            OutcomeName::Failed => Self::Failed,
        }
    }
}

/// `anteroom passwords …`
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum PasswordsCommand {
    /// Build the file for passwords.breached_filter out of a list
    ///
    /// Each line is a password, or its SHA-1 as 40 hexadecimal digits, perhaps with `:` and how often it was seen,
    /// as Have I Been Pwned publishes them. Needs about 40 bytes of memory for each line while it builds.
    BuildFilter(BuildFilterArgs),
}

/// `anteroom passwords build-filter …`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct BuildFilterArgs {
    /// List to read; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,

    /// Filter to write
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,

    /// Leave out what was seen less often, where the list says how often
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub min_count: u64,
}

/// `anteroom keys …`
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum KeysCommand {
    /// List the signing keys, oldest first, with what each is good for
    List,
    /// Make a new signing key, which takes over in ten minutes
    ///
    /// It is published at /.well-known/jwks.json at once. The former key verifies until the last token that it
    /// signed has expired, so that nobody notices anything. Running servers need no restart.
    Rotate(KeysRotateArgs),
    /// Take a signing key out of use: every token that it signed is refused within seconds
    ///
    /// For a key that somebody else may have. Sessions live on: clients get a new access token with their refresh
    /// token. If the key was needed, a new one takes its place at once.
    Revoke(KeysRevokeArgs),
}

/// `anteroom keys rotate …`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct KeysRotateArgs {
    /// Let it sign at once. Services that check tokens by themselves refuse its tokens until they fetch the public
    /// keys again, which may be five minutes
    #[arg(long)]
    pub now: bool,

    /// How it signs [default: sessions.signing_algorithm]
    #[arg(long, value_enum, value_name = "ALGORITHM")]
    pub algorithm: Option<KeyAlgorithm>,
}

/// `--algorithm`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeyAlgorithm {
    /// Ed25519
    #[value(name = "eddsa")]
    EdDsa,
    /// ECDSA on P-256, for services whose libraries know no Ed25519
    #[value(name = "es256")]
    Es256,
}

/// `anteroom keys revoke …`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct KeysRevokeArgs {
    /// Which, as `anteroom keys list` shows it
    #[arg(value_name = "KID", allow_hyphen_values = true)]
    pub kid: String,
}

/// `anteroom config …`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum ConfigCommand {
    /// Read the configuration and report everything that is wrong with it; ends with 1 if anything is
    Check,
    /// Print the effective configuration as TOML, with who set what; secrets are not shown
    Dump,
    /// Print .env.example: the variables most deployments set, with their meaning
    EnvExample,
}

/// `anteroom health …`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct HealthArgs {
    /// Address of the server [default: http on this machine, at the configured port]
    #[arg(long, value_name = "URL")]
    pub url: Option<Url>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn migrate(what: MigrateCommand) -> Command {
        let place = MigratePlace {
            lock_wait: 120,
            ..MigratePlace::default()
        };
        Command::Migrate(MigrateArgs { place, what })
    }

    fn down(to: Option<&str>, steps: Option<u32>) -> MigrateCommand {
        MigrateCommand::Down(MigrateDownArgs {
            to: to.map(|version| version.parse().unwrap()),
            steps,
            sure: MigrateYesArgs::default(),
        })
    }

    #[test]
    fn the_applications_database_may_be_named_before_or_after_what_to_do() {
        for words in [
            "anteroom migrate --database sqlite://a.db --dir b --json up",
            "anteroom migrate up --database sqlite://a.db --dir b --json",
        ] {
            let Command::Migrate(args) = parse(words).unwrap() else {
                panic!("{words}");
            };
            assert_eq!(args.place.database.as_deref(), Some("sqlite://a.db"));
            assert!(args.place.json && args.place.dir.is_some());
        }
    }

    fn parse(words: &str) -> Result<Command, clap::Error> {
        Cli::try_parse_from(words.split(' ')).map(Cli::into_command)
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_serves() {
        assert_eq!(parse("anteroom").unwrap(), Command::Serve);
        assert_eq!(parse("anteroom serve").unwrap(), Command::Serve);
    }

    #[test]
    fn every_command_parses() {
        let create = AdminCreateArgs {
            email: "a@b.example".to_owned(),
            name: None,
            password_stdin: true,
        };
        let health = HealthArgs {
            url: Some("http://127.0.0.1:1".parse().unwrap()),
        };
        for (words, command) in [
            (
                "anteroom migrate up",
                migrate(MigrateCommand::Up(MigrateUpArgs::default())),
            ),
            (
                "anteroom migrate status --exit-code",
                migrate(MigrateCommand::Status(MigratePendingArgs { exit_code: true })),
            ),
            (
                "anteroom migrate down --to 2026-11-20-000006",
                migrate(down(Some("20261120000006"), None)),
            ),
            ("anteroom migrate down --steps 2", migrate(down(None, Some(2)))),
            (
                "anteroom admin create --email a@b.example --password-stdin",
                Command::Admin(AdminCommand::Create(create)),
            ),
            (
                "anteroom admin usage rebuild",
                Command::Admin(AdminCommand::Usage(AdminUsageCommand::Rebuild)),
            ),
            (
                "anteroom users unlock --email a@b.example",
                Command::Users(UsersCommand::Unlock(UsersUnlockArgs {
                    email: "a@b.example".to_owned(),
                })),
            ),
            (
                "anteroom passwords build-filter --input a --output b --min-count 10",
                Command::Passwords(PasswordsCommand::BuildFilter(BuildFilterArgs {
                    input: "a".into(),
                    output: "b".into(),
                    min_count: 10,
                })),
            ),
            (
                "anteroom users import --file users.jsonl --from-line 7 --dry-run",
                Command::Users(UsersCommand::Import(UsersImportArgs {
                    file: "users.jsonl".into(),
                    from_line: 7,
                    dry_run: true,
                })),
            ),
            (
                "anteroom users set-role --email a@b.example --role admin --json",
                Command::Users(UsersCommand::SetRole(UsersSetRoleArgs {
                    user: UserArgs {
                        email: "a@b.example".to_owned(),
                        json: true,
                    },
                    role: RoleName::Admin,
                })),
            ),
            (
                "anteroom audit verify",
                Command::Audit(AuditCommand::Verify(AuditVerifyArgs { head: None })),
            ),
            ("anteroom keys list", Command::Keys(KeysCommand::List)),
            (
                "anteroom keys rotate",
                Command::Keys(KeysCommand::Rotate(KeysRotateArgs {
                    now: false,
                    algorithm: None,
                })),
            ),
            (
                "anteroom keys rotate --now --algorithm es256",
                Command::Keys(KeysCommand::Rotate(KeysRotateArgs {
                    now: true,
                    algorithm: Some(KeyAlgorithm::Es256),
                })),
            ),
            // A thumbprint may begin with a hyphen.
            (
                "anteroom keys revoke -abc_",
                Command::Keys(KeysCommand::Revoke(KeysRevokeArgs {
                    kid: "-abc_".to_owned(),
                })),
            ),
            ("anteroom secret", Command::Secret),
            ("anteroom config check", Command::Config(ConfigCommand::Check)),
            ("anteroom config dump", Command::Config(ConfigCommand::Dump)),
            (
                "anteroom config env-example",
                Command::Config(ConfigCommand::EnvExample),
            ),
            ("anteroom openapi", Command::Openapi),
            ("anteroom doctor", Command::Doctor),
            ("anteroom health --url http://127.0.0.1:1", Command::Health(health)),
        ] {
            assert_eq!(parse(words).unwrap(), command, "{words}");
        }
    }

    #[test]
    fn the_configuration_file_may_be_named_before_or_after_the_command() {
        for words in [
            "anteroom --config a.toml config check",
            "anteroom config check --config a.toml",
        ] {
            let cli = Cli::try_parse_from(words.split(' ')).unwrap();
            assert_eq!(cli.config.as_deref(), Some(std::path::Path::new("a.toml")));
        }
    }

    #[test]
    fn what_is_unfinished_is_refused() {
        for words in [
            "anteroom migrate",
            "anteroom migrate down",
            "anteroom migrate down --steps 0",
            "anteroom migrate down --to 20261120000006 --steps 1",
            "anteroom migrate down --to newest",
            "anteroom migrate new",
            "anteroom migrate baseline",
            "anteroom migrate baseline 1 --from-diesel",
            "anteroom migrate repair --applied 1 --not-applied 2",
            "anteroom admin create",
            "anteroom admin usage",
            "anteroom users",
            "anteroom passwords build-filter --input a",
            "anteroom users unlock",
            "anteroom config",
            "anteroom keys",
            "anteroom keys revoke",
            "anteroom keys rotate --algorithm none",
            "anteroom health --url x",
            "anteroom up",
            "anteroom audit",
            "anteroom users disable",
            "anteroom users set-role --email a@b.example --role root",
            "anteroom audit verify --head 7",
            "anteroom audit list --outcome perhaps",
            "anteroom audit list --limit 0",
        ] {
            assert!(parse(words).is_err(), "{words}");
        }
    }
}
