//! What has been done to a database: one entry for each time that a migration was run, taken back or vouched for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Version;
use crate::Timestamp;

/// Whose schema it is. Each scope has a lock, a history and files of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Anteroom's own.
    Own,
    /// The operator's application's.
    Application,
}

/// Which way a migration goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// It is applied.
    Up,
    /// It is taken back.
    Down,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It has not ended, or whoever ran it has ended without a word.
    Running,
    /// Everything was done.
    Succeeded,
    /// A statement failed.
    Failed,
    /// Nothing was run: the operator said that the database has it already (`baseline`).
    Baselined,
    /// Nothing was run: a changed file was found to say the same (`repair`).
    Repaired,
    /// Nothing was run: Diesel's table said that it was applied before there was a history.
    Adopted,
}

/// Why a word names nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is unknown here")]
pub struct UnknownWord(String);

impl Direction {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

impl FromStr for Direction {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        [Self::Up, Self::Down]
            .into_iter()
            .find(|direction| direction.as_str() == word)
            .ok_or_else(|| UnknownWord(word.into()))
    }
}

impl Outcome {
    const ALL: [Self; 6] = [
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Baselined,
        Self::Repaired,
        Self::Adopted,
    ];

    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Baselined => "baselined",
            Self::Repaired => "repaired",
            Self::Adopted => "adopted",
        }
    }

    /// Whether nothing of the run is left to do.
    pub fn complete(self) -> bool {
        !matches!(self, Self::Running | Self::Failed)
    }
}

impl FromStr for Outcome {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|outcome| outcome.as_str() == word)
            .ok_or_else(|| UnknownWord(word.into()))
    }
}

/// Who runs a migration, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runner {
    /// The account of Anteroom's, or the operating system's user.
    pub user: String,
    /// The machine.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// The version of Anteroom.
    pub tool_version: String,
}

impl fmt::Display for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}, process {}", self.user, self.host, self.pid)
    }
}

/// A statement that was run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementRun {
    /// SHA-256 of what the server read of it, by which it is known again when a run is resumed.
    pub checksum: String,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// How many rows it touched, as the server counts.
    pub rows: u64,
}

/// One entry of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its place in the history, from 1; 0 if it is not stored yet.
    pub id: i64,
    /// Which migration.
    pub version: Version,
    /// Its name then.
    pub name: String,
    /// Which way it went.
    pub direction: Direction,
    /// How it ended.
    pub outcome: Outcome,
    /// SHA-256 of the file; empty if it was not known.
    pub exact_checksum: String,
    /// SHA-256 of what the server reads of it; empty if it was not known.
    pub normal_checksum: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended, as far as is known.
    pub finished_at: Option<Timestamp>,
    /// Who ran it.
    pub runner: Runner,
    /// As whom the database knows them; empty where it knows nobody.
    pub role: String,
    /// How many statements it has.
    pub total: usize,
    /// Those that were done, in order.
    pub statements: Vec<StatementRun>,
    /// Which statement, from 1, was begun outside of a transaction and has not said that it ended.
    pub begun: Option<usize>,
    /// Of a backfill: the last key up to which it has walked, as an SQL literal.
    pub walked_to: Option<String>,
    /// The schema's fingerprint when it had succeeded.
    pub fingerprint: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
}

impl Run {
    /// How many rows its statements touched.
    pub fn rows(&self) -> u64 {
        self.statements.iter().map(|statement| statement.rows).sum()
    }

    /// How long its statements took, in milliseconds.
    pub fn ms(&self) -> u64 {
        self.statements.iter().map(|statement| statement.ms).sum()
    }

    /// Whether something of it stayed that is noted: statements, a walk, or one that was begun.
    pub fn left_something(&self) -> bool {
        !self.statements.is_empty() || self.walked_to.is_some() || self.begun.is_some()
    }

    /// Whether something of it was done that stayed, and something was not.
    pub fn partial(&self) -> bool {
        !self.outcome.complete() && (self.left_something() || self.outcome == Outcome::Running)
    }
}
