//! What the answers of `anteroom migrate` look like, to people and to programs.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use anteroom_domain::migrations::{Change, Difference, Entry, Finding, Level, Outcome, Refusal, Run, State, Version};
use anteroom_http::migrations::{MigrationResponse, PlannedMigrationResponse, RunResponse};
use anteroom_ports::migrations::{Holder, MigrationFault};
use anteroom_services::migrations::{Drift, MigrateError, PlannedMigration, Repaired};
use serde_json::{Value, json};

use super::super::say;

const RED: &str = "\u{1b}[31m";
const GREEN: &str = "\u{1b}[32m";
const YELLOW: &str = "\u{1b}[33m";
const DIM: &str = "\u{1b}[2m";

/// What a command has to show.
pub(super) enum Shown {
    Status {
        database: String,
        entries: Vec<Entry>,
        /// How many migrations Diesel has applied that nobody has taken over.
        diesel: usize,
    },
    Verified(Vec<Entry>),
    Runs(Vec<Run>),
    History(Vec<Run>),
    Drift(Box<Drift>),
    Repaired(Vec<Repaired>),
    Plan(Vec<PlannedMigration>),
    Findings(Vec<(Version, Finding)>),
    New {
        version: String,
        folder: PathBuf,
    },
}

impl Shown {
    pub(super) fn print(&self, as_json: bool) {
        if as_json {
            say(&self.json().to_string());
        } else {
            for line in self.lines() {
                say(&line);
            }
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Status { database, entries, .. } => {
                let pending = entries.iter().filter(|entry| entry.state.pending()).count();
                json!({ "database": database, "pending": pending, "data": entries.iter().map(MigrationResponse::from).collect::<Vec<_>>() })
            }
            Self::Verified(entries) => {
                let applied = entries.iter().filter(|entry| !entry.state.pending());
                json!({ "data": applied.map(MigrationResponse::from).collect::<Vec<_>>() })
            }
            Self::Runs(runs) | Self::History(runs) => json!({ "data": runs.iter().map(run_json).collect::<Vec<_>>() }),
            Self::Drift(drift) => json!({
                "since": run_json(&drift.since),
                "data": drift.differences,
            }),
            Self::Repaired(repaired) => {
                let one = |repaired: &Repaired| {
                    let mut json = run_json(&repaired.run);
                    json["reason"] = repaired.reason.into();
                    json
                };
                json!({ "data": repaired.iter().map(one).collect::<Vec<_>>() })
            }
            Self::Plan(planned) => {
                json!({ "data": planned.iter().map(PlannedMigrationResponse::from).collect::<Vec<_>>() })
            }
            Self::Findings(found) => {
                let one = |(version, finding): &(Version, Finding)| {
                    json!({
                        "version": version,
                        "rule": finding.rule,
                        "level": finding.level.word(),
                        "file": finding.file.name(),
                        "line": finding.line,
                        "message": finding.message,
                        "safe_way": finding.safe_way,
                        "suppressed": finding.suppressed,
                    })
                };
                json!({ "data": found.iter().map(one).collect::<Vec<_>>() })
            }
            Self::New { version, folder } => json!({ "version": version, "folder": folder }),
        }
    }

    fn lines(&self) -> Vec<String> {
        match self {
            Self::Status { database, entries, diesel } => {
                let mut lines = vec![colour(database, DIM)];
                lines.extend(entries.iter().map(entry_line));
                let pending = entries.iter().filter(|entry| entry.state.pending()).count();
                lines.push(match (entries.len(), pending) {
                    (0, _) => "no migrations".into(),
                    (_, 0) => "nothing to apply".into(),
                    (_, pending) => format!("{pending} to apply: anteroom migrate up"),
                });
                if *diesel > 0 {
                    lines.push(format!(
                        "Diesel has applied {diesel} migrations here: `anteroom migrate baseline --from-diesel` takes \
                         them over"
                    ));
                }
                lines
            }
            Self::Verified(entries) => {
                let odd = |entry: &&Entry| matches!(entry.state, State::Changed | State::Reformatted | State::Unknown);
                let mut lines: Vec<String> = entries.iter().filter(odd).map(entry_line).collect();
                let applied = entries.iter().filter(|entry| !entry.state.pending()).count();
                let in_state = |state: State| {
                    let found = entries.iter().filter(move |entry| entry.state == state);
                    found.map(|entry| entry.version.clone()).collect::<Vec<Version>>()
                };
                let (changed, unknown) = (in_state(State::Changed), in_state(State::Unknown));
                if changed.is_empty() && unknown.is_empty() {
                    lines.push(format!("{applied} applied migrations are what their files say"));
                }
                if !changed.is_empty() {
                    lines.push(Refusal::Changed(changed).to_string());
                }
                if !unknown.is_empty() {
                    lines.push(Refusal::Unknown(unknown).to_string());
                }
                lines
            }
            Self::Runs(runs) if runs.is_empty() => vec!["nothing to do".into()],
            // Each was said when it ended; what was not run was not.
            Self::Runs(runs) => runs
                .iter()
                .filter(|run| run.outcome != Outcome::Succeeded)
                .map(|run| format!("{}  {}_{}", run.outcome.as_str(), run.version, run.name))
                .collect(),
            Self::History(runs) if runs.is_empty() => vec!["nothing has been done yet".into()],
            Self::History(runs) => runs.iter().map(run_line).collect(),
            Self::Drift(drift) if drift.differences.is_empty() => {
                vec![format!("the schema is as {} left it", named(&drift.since))]
            }
            Self::Drift(drift) => {
                let mut lines = vec![format!("changed since {}, past all migrations:", named(&drift.since))];
                lines.extend(differences(&drift.differences));
                lines
            }
            Self::Repaired(repaired) if repaired.is_empty() => vec!["nothing to repair".into()],
            Self::Repaired(repaired) => {
                let line = |r: &Repaired| format!("repaired  {}_{}: {}", r.run.version, r.run.name, r.reason);
                repaired.iter().map(line).collect()
            }
            Self::Plan(planned) if planned.is_empty() => vec!["nothing to apply".into()],
            Self::Plan(planned) => planned.iter().flat_map(planned_lines).collect(),
            Self::Findings(found) => {
                let open: Vec<_> = found.iter().filter(|(_, finding)| finding.suppressed.is_none()).collect();
                let mut lines: Vec<String> = open.iter().map(|(version, finding)| finding_line(version, finding)).collect();
                let accepted = found.len() - open.len();
                let accepted = if accepted > 0 { format!(", {accepted} accepted") } else { String::new() };
                lines.push(format!("{} findings{accepted}", open.len()));
                lines
            }
            Self::New { folder, .. } => vec![
                format!("made {}", folder.display()),
                "Write what it does into up.sql, and what takes it back into down.sql; or remove down.sql, and say in a \
                 migration.toml why there is none: irreversible = \"…\""
                    .into(),
            ],
        }
    }
}

/// A finding: where, what, and the safe way.
pub(super) fn finding_line(version: &Version, finding: &Finding) -> String {
    let sign = if finding.level == Level::Advice { DIM } else { YELLOW };
    format!(
        "{}  {version} {} line {}: {}: {}\n    {}",
        colour(finding.level.word(), sign),
        finding.file.name(),
        finding.line,
        finding.rule,
        finding.message,
        finding.safe_way
    )
}

/// A migration as `plan` shows it: what is run stands as it is sent, what is said of it after `--`.
fn planned_lines(planned: &PlannedMigration) -> Vec<String> {
    let how = match (planned.batch, planned.transaction) {
        (Some(batch), _) => format!("a backfill, {batch} rows at once"),
        (None, true) => "one transaction".into(),
        (None, false) => "no transaction: each statement by itself".into(),
    };
    let mut lines = vec![format!("-- {}_{}: {how}", planned.version, planned.name)];
    if planned.done > 0 {
        lines.push(format!("-- {} of its statements are done already", planned.done));
    }
    for statement in &planned.statements {
        let mut said = vec![
            format!("keeps waiting: {}", statement.blocks),
            format!("rewrites: {}", statement.rewrites),
        ];
        said.extend(statement.locks.iter().map(|lock| {
            let rows = lock
                .rows
                .map_or_else(String::new, |rows| format!(" (about {rows} rows)"));
            format!("{} on {}{rows}", lock.mode.words(), lock.table)
        }));
        if !statement.in_transaction {
            said.push("outside of a transaction".into());
        }
        lines.push(colour(&format!("-- {}", said.join(", ")), DIM));
        lines.push(format!("{};", statement.sql));
    }
    lines.push(String::new());
    lines
}

fn named(run: &Run) -> String {
    format!(
        "{} {}_{} ({:.0})",
        run.direction.as_str(),
        run.version,
        run.name,
        run.started_at
    )
}

fn entry_line(entry: &Entry) -> String {
    let walking = entry.run.as_ref().filter(|run| run.walked_to.is_some());
    let (word, sign) = match entry.state {
        State::PartlyUp { .. } if walking.is_some() => ("under way".to_owned(), YELLOW),
        State::Applied => ("applied".to_owned(), GREEN),
        State::Reformatted => ("reformatted".into(), YELLOW),
        State::Pending => ("pending".into(), YELLOW),
        State::OutOfOrder => ("out of order".into(), RED),
        State::Changed => ("changed".into(), RED),
        State::Unknown => ("unknown".into(), RED),
        State::PartlyUp { done, total } => (format!("{done} of {total} done"), RED),
        State::PartlyDown { done, total } => (format!("{done} of {total} undone"), RED),
    };
    let applied = entry
        .run
        .as_ref()
        .filter(|_| !entry.state.pending())
        .and_then(|run| run.finished_at);
    let at = match (applied, entry.state, walking) {
        (Some(at), ..) => colour(&format!("  {at:.0}"), DIM),
        (None, State::PartlyUp { .. }, Some(run)) => colour(&format!("  {} rows so far", run.rows()), DIM),
        _ => String::new(),
    };
    format!(
        "{}  {}_{}{at}",
        colour(&format!("{word:<12}"), sign),
        entry.version,
        entry.name
    )
}

fn run_line(run: &Run) -> String {
    let sign = match run.outcome {
        Outcome::Failed => RED,
        Outcome::Running => YELLOW,
        _ => GREEN,
    };
    let mut line = format!(
        "{:.0}  {}  {:<4}  {}_{}  {} ms  {} rows  {}",
        run.started_at,
        colour(&format!("{:<9}", run.outcome.as_str()), sign),
        run.direction.as_str(),
        run.version,
        run.name,
        run.ms(),
        run.rows(),
        colour(&run.runner.to_string(), DIM)
    );
    if let Some(error) = &run.error {
        line.push_str("\n    ");
        line.push_str(error);
    }
    line
}

/// As `GET /v1/admin/migrations/{version}` has it.
pub(super) fn run_json(run: &Run) -> Value {
    json!(RunResponse::from(run))
}

/// What differs, as lines that begin with `-` for what is missing and `+` for what is too much.
pub(super) fn differences(found: &[Difference]) -> Vec<String> {
    let mut lines = Vec::new();
    for difference in found {
        let what = match difference.change {
            Change::Missing => colour("missing", RED),
            Change::Unexpected => colour("unexpected", RED),
            Change::Changed => colour("changed", YELLOW),
        };
        lines.push(format!("{what}  {}", difference.object));
        for (sign, shade, texts) in [("-", RED, &difference.missing), ("+", GREEN, &difference.unexpected)] {
            for text in texts {
                lines.extend(text.lines().map(|line| colour(&format!("  {sign} {line}"), shade)));
            }
        }
    }
    lines
}

/// An error, with who is in the way where that is known.
pub(super) fn error(error: &MigrateError) -> String {
    match error {
        MigrateError::Fault(MigrationFault::Locked(Some(holder))) => {
            let Holder { who, since, statement } = holder;
            let since = since.map_or_else(String::new, |at| format!(", since {at:.0}"));
            let statement = statement
                .as_deref()
                .map_or_else(String::new, |sql| format!(", running:\n  {sql}"));
            format!("waited for too long for {who}{since}{statement}")
        }
        other => other.to_string(),
    }
}

/// Five characters, if the database gave any.
pub(super) fn sqlstate(fault: &MigrationFault) -> Option<&str> {
    match fault {
        MigrationFault::Sql(said) | MigrationFault::LockTimeout(said) | MigrationFault::NeedsNoTransaction(said) => {
            Some(&*said.sqlstate).filter(|code| !code.is_empty())
        }
        _ => None,
    }
}

/// Text in a colour, where standard output is a terminal that wants colours (no-color.org).
pub(super) fn colour(text: &str, sign: &str) -> String {
    let wanted = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if wanted {
        format!("{sign}{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}
