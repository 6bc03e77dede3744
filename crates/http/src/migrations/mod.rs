//! Anteroom's own schema.

pub mod apply_migrations;
pub mod list_migrations;
pub mod plan_migrations;
pub mod show_migration;
pub mod take_back_migrations;

use actix_web::http::StatusCode;
use anteroom_domain::Timestamp;
use anteroom_domain::migrations::{Entry, Refusal, Run, State};
use anteroom_ports::MigrationFault;
use anteroom_services::migrations::{AdministerError, MigrateError, PlannedMigration};
use serde::Serialize;

use crate::problem::Problem;

/// How a migration stands.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Migration)]
pub struct MigrationResponse {
    /// What it is known by.
    version: String,
    /// What it does, in a few words.
    name: String,
    /// `applied`, `pending`, `reformatted` (comments or white space of its file were changed), `changed` (its file says
    /// something else now), `out_of_order`, `unknown` (a newer version has applied it), `partly_up`, `partly_down`.
    state: &'static str,
    /// When it was applied.
    applied_at: Option<Timestamp>,
    /// How many of its statements are done, where it was run in part.
    #[serde(skip_serializing_if = "Option::is_none")]
    statements_done: Option<usize>,
}

impl From<&Entry> for MigrationResponse {
    fn from(entry: &Entry) -> Self {
        let run = entry.run.as_ref().filter(|_| !entry.state.pending());
        Self {
            version: entry.version.to_string(),
            name: entry.name.clone(),
            state: entry.state.as_str(),
            applied_at: run.and_then(|run| run.finished_at),
            statements_done: match entry.state {
                State::PartlyUp { done, .. } | State::PartlyDown { done, .. } => Some(done),
                _ => None,
            },
        }
    }
}

/// A statement that was run.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = MigrationStatementRun)]
pub struct StatementRunResponse {
    /// How long it took, in milliseconds.
    ms: u64,
    /// How many rows it touched.
    rows: u64,
}

/// One time that a migration was run, taken back or vouched for.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = MigrationRun)]
pub struct RunResponse {
    /// Which.
    version: String,
    /// Its name then.
    name: String,
    /// `up` or `down`.
    direction: &'static str,
    /// `succeeded`, `failed`, `running` (or cut off), `baselined`, `repaired`, `adopted`.
    outcome: &'static str,
    /// SHA-256 of its file, in hexadecimal.
    exact_checksum: String,
    /// SHA-256 of what the server reads of it, in hexadecimal.
    normal_checksum: String,
    /// When it began.
    started_at: Timestamp,
    /// When it ended.
    finished_at: Option<Timestamp>,
    /// Who ran it: an account of Anteroom's, or the operating system's user.
    user: String,
    /// As whom the database knew them.
    database_role: String,
    /// On which machine.
    host: String,
    /// In which process.
    pid: u32,
    /// With which version of Anteroom.
    tool_version: String,
    /// How long its statements took, in milliseconds.
    ms: u64,
    /// How many rows they touched.
    rows: u64,
    /// How many statements it has.
    statements_total: usize,
    /// Those that were done, in order.
    statements: Vec<StatementRunResponse>,
    /// The schema's fingerprint when it had succeeded.
    fingerprint: Option<String>,
    /// Why it failed.
    error: Option<String>,
}

impl From<&Run> for RunResponse {
    fn from(run: &Run) -> Self {
        let statement = |statement: &anteroom_domain::migrations::StatementRun| StatementRunResponse {
            ms: statement.ms,
            rows: statement.rows,
        };
        Self {
            version: run.version.to_string(),
            name: run.name.clone(),
            direction: run.direction.as_str(),
            outcome: run.outcome.as_str(),
            exact_checksum: run.exact_checksum.clone(),
            normal_checksum: run.normal_checksum.clone(),
            started_at: run.started_at,
            finished_at: run.finished_at,
            user: run.runner.user.clone(),
            database_role: run.role.clone(),
            host: run.runner.host.clone(),
            pid: run.runner.pid,
            tool_version: run.runner.tool_version.clone(),
            ms: run.ms(),
            rows: run.rows(),
            statements_total: run.total,
            statements: run.statements.iter().map(statement).collect(),
            fingerprint: run.fingerprint.clone(),
            error: run.error.clone(),
        }
    }
}

/// A lock that a statement takes.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = PlannedLock)]
pub struct PlannedLockResponse {
    /// On what.
    table: String,
    /// Which, as PostgreSQL calls it: `ACCESS EXCLUSIVE`.
    mode: &'static str,
    /// About how many rows it has, where that is known.
    estimated_rows: Option<u64>,
}

/// A statement that is to be run.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = PlannedStatement)]
pub struct PlannedStatementResponse {
    /// As it is sent.
    sql: String,
    /// The line of its file that it begins on.
    line: usize,
    /// Whether it is run in a transaction.
    in_transaction: bool,
    /// What it locks.
    locks: Vec<PlannedLockResponse>,
    /// Whom it keeps waiting: `nobody`, `writers`, `everybody`, or `unknown` of what it calls.
    blocks: &'static str,
    /// What it costs: `no`, `rows`, `index`, `scan`, `perhaps`, `rewrite`, or `unknown`.
    rewrites: &'static str,
}

/// A migration that is to be run.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = PlannedMigration)]
pub struct PlannedMigrationResponse {
    /// Which.
    version: String,
    /// Its name.
    name: String,
    /// `up`.
    direction: &'static str,
    /// Whether all of it is one transaction.
    transaction: bool,
    /// How many rows at once, if it is a backfill.
    batch: Option<u32>,
    /// How many of its statements an earlier run has done; the rest follows.
    statements_done: usize,
    /// What is still to be run, in order.
    statements: Vec<PlannedStatementResponse>,
}

impl From<&PlannedMigration> for PlannedMigrationResponse {
    fn from(planned: &PlannedMigration) -> Self {
        let lock = |lock: &anteroom_services::migrations::PlannedLock| PlannedLockResponse {
            table: lock.table.clone(),
            mode: lock.mode.words(),
            estimated_rows: lock.rows,
        };
        let statement = |statement: &anteroom_services::migrations::PlannedStatement| PlannedStatementResponse {
            sql: statement.sql.clone(),
            line: statement.line,
            in_transaction: statement.in_transaction,
            locks: statement.locks.iter().map(lock).collect(),
            blocks: statement.blocks,
            rewrites: statement.rewrites,
        };
        Self {
            version: planned.version.to_string(),
            name: planned.name.clone(),
            direction: "up",
            transaction: planned.transaction,
            batch: planned.batch,
            statements_done: planned.done,
            statements: planned.statements.iter().map(statement).collect(),
        }
    }
}

impl From<MigrateError> for Problem {
    fn from(error: MigrateError) -> Self {
        let text = error.to_string();
        let conflict = |code: &'static str| Self::new(StatusCode::CONFLICT, code, text.clone());
        match &error {
            MigrateError::Refused(Refusal::NoSuchVersion(_)) => Self::not_found("migration"),
            MigrateError::Refused(Refusal::Changed(_)) => conflict("migration_changed"),
            MigrateError::Refused(_) | MigrateError::Begun { .. } | MigrateError::Files(_) => {
                conflict("migration_refused")
            }
            MigrateError::Failed(failure) if failure.fault.is_lock() => locked(text),
            MigrateError::Failed(_) => conflict("migration_failed"),
            MigrateError::Fault(fault) if fault.is_lock() => locked(text),
            MigrateError::Fault(MigrationFault::Away { reason }) => {
                anteroom_ports::StoreError::Unavailable { reason: reason.clone() }.into()
            }
            MigrateError::Fault(_) => Self::internal(text),
        }
    }
}

fn locked(text: String) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "migration_locked", text).retry_after(5)
}

impl From<AdministerError> for Problem {
    fn from(error: AdministerError) -> Self {
        match error {
            AdministerError::Off => Self::new(StatusCode::FORBIDDEN, "migrations_disabled", error.to_string()),
            AdministerError::TooLongAgo(e) => e.into(),
            AdministerError::Migrate(e) => e.into(),
        }
    }
}
