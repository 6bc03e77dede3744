//! `anteroom migrate`

mod ask;
mod place;
mod show;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anteroom_domain::migrations::{Back, Difference, File, Finding, Outcome, Run, State, Version};
use anteroom_services::Migrations;
use anteroom_services::migrations::{Baseline, DriftError, MigrateError, Repair, RepairError, UpOptions, stops};
use serde_json::{Value, json};

use self::place::Place;
use self::show::Shown;
use self::watch::Terminal;
use super::{runtime, say_error};
use crate::cli::{
    MigrateArgs, MigrateBaselineArgs, MigrateCommand, MigrateDownArgs, MigrateHistoryArgs, MigrateLintArgs,
    MigratePendingArgs, MigratePlanArgs, MigrateRepairArgs, MigrateUpArgs,
};

/// How a command ended, for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// Something failed.
    Failed = 1,
    /// The command was not understood.
    Usage = 2,
    /// A migration is to be applied (`--exit-code`).
    Pending = 3,
    /// A file is not what was applied, or the schema is not what migrations made.
    Changed = 4,
    /// Somebody else held a lock for too long.
    Locked = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What a command came to: what is shown of it, and how it ended.
struct Answer {
    shown: Shown,
    exit: Exit,
}

/// What a command did not come to.
struct Problem {
    /// In words.
    message: String,
    exit: Exit,
    /// What is known of it, as JSON.
    details: Value,
    /// What differs, if that is what is wrong.
    differences: Vec<Difference>,
}

impl Problem {
    fn usage(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            exit: Exit::Usage,
            details: Value::Null,
            differences: Vec::new(),
        }
    }

    fn failed(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Failed,
            ..Self::usage(message)
        }
    }
}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        Self::failed(format!("{error:#}"))
    }
}

impl From<MigrateError> for Problem {
    fn from(error: MigrateError) -> Self {
        use anteroom_domain::migrations::Refusal;
        let (exit, details) = match &error {
            MigrateError::Refused(Refusal::Changed(versions)) => (Exit::Changed, json!({ "versions": versions })),
            MigrateError::Refused(Refusal::EditedSince { version, .. }) => {
                (Exit::Changed, json!({ "versions": [version] }))
            }
            MigrateError::Begun { version, statement, .. } => {
                (Exit::Failed, json!({ "version": version, "statement": statement }))
            }
            MigrateError::Failed(failure) => {
                let exit = if failure.fault.is_lock() {
                    Exit::Locked
                } else {
                    Exit::Failed
                };
                let details = json!({
                    "version": failure.version,
                    "name": failure.name,
                    "direction": failure.direction,
                    "statement": failure.at.map(|(statement, _)| statement),
                    "line": failure.at.map(|(_, line)| line),
                    "sql": failure.sql,
                    "sqlstate": show::sqlstate(&failure.fault),
                });
                (exit, details)
            }
            MigrateError::Fault(fault) if fault.is_lock() => (Exit::Locked, Value::Null),
            MigrateError::Refused(_) | MigrateError::Files(_) | MigrateError::Fault(_) => (Exit::Failed, Value::Null),
        };
        Self {
            message: show::error(&error),
            exit,
            details,
            differences: Vec::new(),
        }
    }
}

impl From<RepairError> for Problem {
    fn from(error: RepairError) -> Self {
        match error {
            RepairError::Migrate(error) => error.into(),
            RepairError::NotPartial(_) | RepairError::NotTried { .. } => Self::failed(error.to_string()),
            RepairError::Differs(ref differences) => Self {
                message: error.to_string(),
                exit: Exit::Changed,
                details: Value::Null,
                differences: differences.clone(),
            },
        }
    }
}

impl From<DriftError> for Problem {
    fn from(error: DriftError) -> Self {
        match error {
            DriftError::Migrate(error) => error.into(),
            DriftError::NothingRecorded => Self::failed(error.to_string()),
        }
    }
}

/// Carries out `anteroom migrate …`. Answers go to standard output, everything else to standard error.
pub(super) fn run(args: MigrateArgs, config: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    runtime()?.block_on(async {
        let json = args.place.json;
        let watch = Arc::new(Terminal::new(json, args.place.verbose));
        let done = carry_out(args, config, &watch).await;
        watch.finish();
        let exit = match done {
            Ok(Answer { shown, exit }) => {
                shown.print(json);
                exit
            }
            Err(problem) => {
                if json {
                    let data: Vec<Value> = watch.ended().iter().map(show::run_json).collect();
                    let error = json!({ "message": problem.message, "details": problem.details });
                    let mut answer = json!({ "data": data, "error": error });
                    if !problem.differences.is_empty() {
                        answer["differences"] = json!(problem.differences);
                    }
                    super::say(&answer.to_string());
                }
                say_error(&format!("anteroom: {}", problem.message));
                for line in show::differences(&problem.differences) {
                    say_error(&line);
                }
                problem.exit
            }
        };
        Ok(exit.into())
    })
}

async fn carry_out(args: MigrateArgs, config: Option<PathBuf>, watch: &Arc<Terminal>) -> Result<Answer, Problem> {
    let MigrateArgs { place, what } = args;
    if let MigrateCommand::New(new) = &what {
        return place::new_migration(&place, &new.name);
    }
    let place = Place::open(&place, config, watch).await?;
    let done = carry_out_at(&place, what).await;
    // What failed is recorded as well.
    place.record(&watch.ended()).await;
    done
}

async fn carry_out_at(place: &Place, what: MigrateCommand) -> Result<Answer, Problem> {
    let migrations = &place.migrations;
    match what {
        MigrateCommand::New(_) => Err(Problem::usage("a new migration needs no database")),
        MigrateCommand::Status(args) => status(migrations, args).await,
        MigrateCommand::Plan(args) => plan(migrations, args).await,
        MigrateCommand::Up(args) => up(migrations, args).await,
        MigrateCommand::Down(args) => down(place, args).await,
        MigrateCommand::Redo(sure) => {
            place.ask(
                sure.yes,
                "Taking it back loses what is in the tables and columns that it brought.",
            )?;
            Ok(runs(migrations.redo().await?))
        }
        MigrateCommand::Verify => verify(migrations).await,
        MigrateCommand::Drift => drift(migrations).await,
        MigrateCommand::Baseline(args) => baseline(migrations, args).await,
        MigrateCommand::Repair(args) => repair(migrations, args).await,
        MigrateCommand::Lint(args) => lint(migrations, args).await,
        MigrateCommand::History(args) => history(migrations, args).await,
    }
}

fn runs(runs: Vec<Run>) -> Answer {
    Answer {
        shown: Shown::Runs(runs),
        exit: Exit::Done,
    }
}

async fn status(migrations: &Migrations, args: MigratePendingArgs) -> Result<Answer, Problem> {
    let entries = migrations.status().await?;
    let pending = entries.iter().any(|entry| entry.state.pending());
    // Applied versions that this one does not know, and files that changed, are no state to go on from.
    let bad = entries
        .iter()
        .any(|entry| matches!(entry.state, State::Unknown | State::Changed));
    let diesel = migrations
        .database()
        .diesel_versions()
        .await
        .map_err(MigrateError::Fault)?;
    let untaken = entries.iter().all(|entry| entry.state.pending()) && !diesel.is_empty();
    let exit = match (bad, pending && args.exit_code) {
        (true, _) => Exit::Changed,
        (_, true) => Exit::Pending,
        _ => Exit::Done,
    };
    Ok(Answer {
        shown: Shown::Status {
            database: migrations.database().describe(),
            entries,
            diesel: if untaken { diesel.len() } else { 0 },
        },
        exit: if exit == Exit::Changed && !args.exit_code {
            Exit::Done
        } else {
            exit
        },
    })
}

async fn up(migrations: &Migrations, args: MigrateUpArgs) -> Result<Answer, Problem> {
    let diesel = migrations
        .database()
        .diesel_versions()
        .await
        .map_err(MigrateError::Fault)?;
    if !diesel.is_empty() && migrations.status().await?.iter().all(|entry| entry.state.pending()) {
        let said = format!(
            "Diesel has applied {} migrations here, which this history knows nothing of: `anteroom migrate baseline \
             --from-diesel` takes them over",
            diesel.len()
        );
        return Err(Problem::failed(said));
    }
    let options = UpOptions {
        to: args.to,
        out_of_order: args.out_of_order,
    };
    let planned: Vec<Version> = migrations
        .plan(&options)
        .await?
        .into_iter()
        .map(|plan| plan.version)
        .collect();
    let dangers: Vec<(Version, Finding)> = migrations
        .lint(Some(&planned))
        .into_iter()
        .filter(|(_, f)| f.file == File::Up && stops(f))
        .collect();
    for (version, finding) in &dangers {
        say_error(&show::finding_line(version, finding));
    }
    if args.strict && !dangers.is_empty() {
        let said = format!(
            "nothing was run: {} findings, and --strict. Write what is said to be safe, or accept one in the file: \
             -- lint:allow <rule>: <reason>",
            dangers.len()
        );
        return Err(Problem::failed(said));
    }
    Ok(runs(migrations.up(&options).await?))
}

async fn plan(migrations: &Migrations, args: MigratePlanArgs) -> Result<Answer, Problem> {
    let options = UpOptions {
        to: args.to,
        out_of_order: args.out_of_order,
    };
    let planned = migrations.plan(&options).await?;
    let pending = args.exit_code && !planned.is_empty();
    Ok(Answer {
        shown: Shown::Plan(planned),
        exit: if pending { Exit::Pending } else { Exit::Done },
    })
}

async fn lint(migrations: &Migrations, args: MigrateLintArgs) -> Result<Answer, Problem> {
    let findings = if args.all {
        migrations.lint(None)
    } else {
        let entries = migrations.status().await?;
        let pending = entries
            .into_iter()
            .filter(|entry| entry.state.pending())
            .map(|entry| entry.version);
        migrations.lint(Some(&pending.collect::<Vec<_>>()))
    };
    let bad = findings.iter().any(|(_, finding)| stops(finding));
    Ok(Answer {
        shown: Shown::Findings(findings),
        exit: if bad { Exit::Failed } else { Exit::Done },
    })
}

async fn down(place: &Place, args: MigrateDownArgs) -> Result<Answer, Problem> {
    let back = match (args.to, args.steps) {
        (Some(version), _) if version.as_str().trim_matches('0').is_empty() => Back::All,
        (Some(version), _) => Back::To(version),
        (None, steps) => Back::Steps(usize::try_from(steps.unwrap_or_default()).unwrap_or(usize::MAX)),
    };
    let gone = place.migrations.to_take_back(&back).await?;
    if gone.is_empty() {
        return Ok(runs(Vec::new()));
    }
    let names: Vec<&str> = gone.iter().map(|migration| migration.folder.as_str()).collect();
    let what = format!(
        "{} will be taken back, and what is in the tables and columns that they brought is lost.",
        names.join(", ")
    );
    place.ask(args.sure.yes, &what)?;
    Ok(runs(place.migrations.down(&back).await?))
}

async fn verify(migrations: &Migrations) -> Result<Answer, Problem> {
    let entries = migrations.status().await?;
    migrations.check_parts(&entries)?;
    let changed = entries
        .iter()
        .any(|entry| matches!(entry.state, State::Changed | State::Unknown));
    Ok(Answer {
        shown: Shown::Verified(entries),
        exit: if changed { Exit::Changed } else { Exit::Done },
    })
}

async fn drift(migrations: &Migrations) -> Result<Answer, Problem> {
    let drift = migrations.drift().await?;
    let exit = if drift.differences.is_empty() {
        Exit::Done
    } else {
        Exit::Changed
    };
    Ok(Answer {
        shown: Shown::Drift(Box::new(drift)),
        exit,
    })
}

async fn baseline(migrations: &Migrations, args: MigrateBaselineArgs) -> Result<Answer, Problem> {
    let what = match args.to {
        Some(version) => Baseline::To(version),
        None => Baseline::Diesel,
    };
    Ok(runs(migrations.baseline(&what).await?))
}

async fn repair(migrations: &Migrations, args: MigrateRepairArgs) -> Result<Answer, Problem> {
    let what = match (args.applied, args.not_applied) {
        (Some(version), _) => Repair::Applied(version),
        (_, Some(version)) => Repair::NotApplied(version),
        _ => Repair::Files,
    };
    Ok(Answer {
        shown: Shown::Repaired(migrations.repair(&what).await?),
        exit: Exit::Done,
    })
}

async fn history(migrations: &Migrations, args: MigrateHistoryArgs) -> Result<Answer, Problem> {
    let mut runs = migrations.history().await?;
    if let Some(limit) = args.limit {
        runs.drain(..runs.len().saturating_sub(limit));
    }
    Ok(Answer {
        shown: Shown::History(runs),
        exit: Exit::Done,
    })
}

/// Whether a run changed the database, and should be recorded.
fn did_something(run: &Run) -> bool {
    !matches!(run.outcome, Outcome::Running)
}
