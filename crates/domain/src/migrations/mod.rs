//! Changes of a database's schema: what the files say, what has been applied, and what may be done next. Nothing here
//! speaks to a database.

mod action;
mod catalogue;
#[cfg(test)]
mod corpus;
mod cursor;
mod effect;
mod folder;
mod history;
mod lint;
mod name;
mod state;
mod statement;
mod token;

pub use action::{
    Action, Column, Constraint, ConstraintKind, CreateIndex, CreateTable, DataType, DefaultValue, Generated,
    ObjectKind, TableChange, Write, WriteKind, actions,
};
pub use catalogue::{Catalogue, Change, Difference};
pub use effect::{Blocks, Effect, LockMode, Rewrites, Transaction, effect, effect_of, is_opaque, runs_in_transaction};
pub use folder::{
    FolderError, InvalidVersion, Migration, Options, Script, SourceFile, Version, Walk, backfill, folder_versions,
    read_folder,
};
pub use history::{Direction, Outcome, Run, Runner, Scope, StatementRun, UnknownWord};
pub use lint::{Accepted, File, Finding, Level, OWN_ACCEPTED, Rule, lint, lint_folder, lint_own, rules};
pub use name::Name;
pub use state::{Back, Entry, Past, Refusal, State, UpOptions, compare, resume_at, to_apply, to_take_back};
pub use statement::{SplitError, Statement, exact_checksum, normal_checksum, split};
pub use token::{Dialect, Token, TokenKind, Unclosed, line_of, tokens};
