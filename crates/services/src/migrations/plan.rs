//! What `up` would do, and what is dangerous in it.

use std::collections::HashMap;

use anteroom_domain::migrations::{
    Action, Blocks, Finding, Level, LockMode, Migration, Name, Past, Run, Scope, Version, actions, compare, effect,
    is_opaque, lint_folder, lint_own, resume_at, runs_in_transaction, to_apply,
};

use super::{MigrateError, Migrations, UpOptions};

/// A statement that is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStatement {
    /// As it is sent, byte by byte; of a backfill with `:first` and `:last` in it, which are filled in for each batch.
    pub sql: String,
    /// The line of up.sql that it begins on, from 1.
    pub line: usize,
    /// Whether it is run in a transaction.
    pub in_transaction: bool,
    /// What it locks, but for the tables that its own migration has made.
    pub locks: Vec<PlannedLock>,
    /// Whom it keeps waiting: `nobody`, `writers`, `everybody`, or `unknown` of what it calls.
    pub blocks: &'static str,
    /// Whether it rewrites, or reads, the table: `no`, `rows`, `index`, `scan`, `perhaps`, `rewrite`, or `unknown`.
    pub rewrites: &'static str,
}

/// Of what a statement calls.
const UNKNOWN: &str = "unknown";

/// A lock that a statement takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedLock {
    /// On what.
    pub table: String,
    /// Which.
    pub mode: LockMode,
    /// About how many rows it has; `None` where nothing is known of it.
    pub rows: Option<u64>,
}

/// A migration that is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedMigration {
    /// Which.
    pub version: Version,
    /// Its name.
    pub name: String,
    /// Whether all of it is one transaction.
    pub transaction: bool,
    /// How many rows at once, if it is a backfill.
    pub batch: Option<u32>,
    /// How many of its statements an earlier run has done: those are not among what follows.
    pub done: usize,
    /// What is still to be run, in order.
    pub statements: Vec<PlannedStatement>,
}

impl Migrations {
    /// What [`up`](Self::up) would run, statement by statement.
    pub async fn plan(&self, options: &UpOptions) -> Result<Vec<PlannedMigration>, MigrateError> {
        let past = self.database.past().await?;
        let entries = compare(&self.files, &past);
        let mut rows = HashMap::new();
        let mut planned = Vec::new();
        for migration in to_apply(&self.files, &entries, options)? {
            planned.push(self.planned(migration, &past, &mut rows).await?);
        }
        Ok(planned)
    }

    async fn planned(
        &self,
        migration: &Migration,
        past: &Past,
        known: &mut HashMap<String, Option<u64>>,
    ) -> Result<PlannedMigration, MigrateError> {
        let dialect = self.database.dialect();
        let last = past.runs.iter().rev().find(|run| run.version == migration.version);
        let part = last.filter(|run| run.partial() && migration.options.batch.is_none());
        let done = part.map_or(Ok(0), |run: &Run| resume_at(&migration.up, run, dialect))?;
        let mut statements = Vec::new();
        let mut made: Vec<Name> = Vec::new();
        for statement in migration.up.statements.iter().skip(done) {
            let effect = effect(statement, dialect);
            let mut locks = Vec::new();
            let mut blocks = effect.blocks;
            if effect.locks.iter().any(|(name, _)| made.contains(name)) {
                // Nobody else sees yet what this migration has made.
                let others = effect.locks.iter().filter(|(name, _)| !made.contains(name));
                blocks = others.map(|(_, mode)| mode.blocks()).max().unwrap_or(Blocks::Nothing);
            }
            made.extend(
                actions(statement, dialect)
                    .into_iter()
                    .filter_map(|action| match action {
                        Action::CreateTable(table) if !table.if_not_exists && migration.options.transaction => {
                            Some(table.name)
                        }
                        _ => None,
                    }),
            );
            for (name, mode) in effect.locks.iter().filter(|(name, _)| !made.contains(name)) {
                let table = name.to_string();
                let rows = match known.get(&table) {
                    Some(rows) => *rows,
                    None => self.database.estimated_rows(&table).await?,
                };
                known.insert(table.clone(), rows);
                locks.push(PlannedLock {
                    table,
                    mode: *mode,
                    rows,
                });
            }
            let opaque = is_opaque(statement, dialect);
            statements.push(PlannedStatement {
                sql: statement.sql.clone(),
                line: statement.line,
                in_transaction: migration.options.transaction || runs_in_transaction(statement, dialect),
                locks,
                blocks: if opaque { UNKNOWN } else { blocks.word() },
                rewrites: if opaque { UNKNOWN } else { effect.rewrites.word() },
            });
        }
        Ok(PlannedMigration {
            version: migration.version.clone(),
            name: migration.name.clone(),
            transaction: migration.options.transaction && migration.options.batch.is_none(),
            batch: migration.options.batch,
            done,
            statements,
        })
    }

    /// What is dangerous in the files, oldest first: in all of them, or in those that are named.
    pub fn lint(&self, only: Option<&[Version]>) -> Vec<(Version, Finding)> {
        let dialect = self.database.dialect();
        let mut found = match self.scope {
            Scope::Own => lint_own(&self.files, dialect),
            Scope::Application => lint_folder(&self.files, dialect),
        };
        if let Some(only) = only {
            found.retain(|(version, _)| only.contains(version));
        }
        found
    }
}

/// Whether a finding should stop a migration: it is more than advice, and nobody has accepted it.
pub fn stops(finding: &Finding) -> bool {
    finding.suppressed.is_none() && finding.level > Level::Advice
}
