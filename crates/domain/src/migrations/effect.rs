//! What a statement does to others while it runs: which locks it takes, what it costs, whether it may stand in a
//! transaction.
//!
//! Rules: PostgreSQL 18, chapter 13.3 (Explicit Locking), ALTER TABLE and the pages of the other commands; SQLite, "Isolation
//! In SQLite" and `alter.c`. Locks and rewrites were compared with what PostgreSQL 15 does.

use super::action::{
    Action, Column, Constraint, ConstraintKind, DefaultValue, Generated, ObjectKind, TableChange, actions,
};
use super::name::Name;
use super::statement::Statement;
use super::token::{Dialect, Token};

/// PostgreSQL's locks of tables, the weakest first (chapter 13.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockMode {
    /// Of `SELECT`.
    AccessShare,
    /// Of `SELECT … FOR UPDATE`.
    RowShare,
    /// Of `INSERT`, `UPDATE` and `DELETE`.
    RowExclusive,
    /// Of `VACUUM`, and of what is done `CONCURRENTLY`: keeps other changes of the schema out.
    ShareUpdateExclusive,
    /// Of `CREATE INDEX`: keeps writers out.
    Share,
    /// Of `CREATE TRIGGER` and `ADD FOREIGN KEY`: keeps writers out.
    ShareRowExclusive,
    /// Of `REFRESH … CONCURRENTLY`: keeps writers out.
    Exclusive,
    /// Of most of `ALTER TABLE`: keeps everybody out.
    AccessExclusive,
}

impl LockMode {
    const ALL: [(Self, &'static str); 8] = [
        (Self::AccessShare, "ACCESS SHARE"),
        (Self::RowShare, "ROW SHARE"),
        (Self::RowExclusive, "ROW EXCLUSIVE"),
        (Self::ShareUpdateExclusive, "SHARE UPDATE EXCLUSIVE"),
        (Self::Share, "SHARE"),
        (Self::ShareRowExclusive, "SHARE ROW EXCLUSIVE"),
        (Self::Exclusive, "EXCLUSIVE"),
        (Self::AccessExclusive, "ACCESS EXCLUSIVE"),
    ];

    /// As `LOCK TABLE` calls it.
    pub fn words(self) -> &'static str {
        let found = Self::ALL.iter().find(|(mode, _)| *mode == self);
        found.map_or("", |(_, words)| *words)
    }

    /// The other way round, in capitals.
    pub fn from_words(words: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(_, known)| *known == words);
        found.map(|(mode, _)| *mode)
    }

    /// Whom it keeps out.
    pub fn blocks(self) -> Blocks {
        match self {
            Self::AccessShare | Self::RowShare | Self::RowExclusive | Self::ShareUpdateExclusive => Blocks::Nothing,
            Self::Share | Self::ShareRowExclusive | Self::Exclusive => Blocks::Writers,
            Self::AccessExclusive => Blocks::ReadersAndWriters,
        }
    }
}

/// Whom a statement keeps waiting while it runs, and until its transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blocks {
    /// Nobody, but for other changes of the schema, and of the same rows.
    Nothing,
    /// Whoever writes to the table; with SQLite, to the file.
    Writers,
    /// Everybody.
    ReadersAndWriters,
}

impl Blocks {
    /// For display.
    pub fn word(self) -> &'static str {
        match self {
            Self::Nothing => "nobody",
            Self::Writers => "writers",
            Self::ReadersAndWriters => "everybody",
        }
    }
}

/// What a statement costs, the cheapest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rewrites {
    /// As much with a large table as with a small one.
    No,
    /// Changes rows, as many as its condition is true for.
    Rows,
    /// Reads the table, and writes an index.
    BuildsIndex,
    /// Reads the table.
    Scans,
    /// Rewrites the table, unless the type before was a shorter one of the same kind.
    Perhaps,
    /// Writes the table anew, and its indexes.
    Rewrites,
}

impl Rewrites {
    /// For display.
    pub fn word(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Rows => "rows",
            Self::BuildsIndex => "index",
            Self::Scans => "scan",
            Self::Perhaps => "perhaps",
            Self::Rewrites => "rewrite",
        }
    }
}

/// Whether a statement may stand in a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transaction {
    /// It may.
    Either,
    /// The server refuses it there, or it does nothing there.
    Never,
}

/// What a statement does to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// What it locks and how, each once, as far as the statement names it. Never the tables that it makes. With SQLite none:
    /// whatever writes has the one lock of the file.
    pub locks: Vec<(Name, LockMode)>,
    /// What it costs.
    pub rewrites: Rewrites,
    /// Whether it may stand in a transaction.
    pub transaction: Transaction,
    /// Whom it keeps waiting.
    pub blocks: Blocks,
}

impl Effect {
    /// Of nothing.
    fn none() -> Self {
        Self {
            locks: Vec::new(),
            rewrites: Rewrites::No,
            transaction: Transaction::Either,
            blocks: Blocks::Nothing,
        }
    }

    fn lock(&mut self, name: &Name, mode: LockMode) {
        self.blocks = self.blocks.max(mode.blocks());
        match self.locks.iter_mut().find(|(locked, _)| locked == name) {
            Some((_, held)) => *held = mode.max(*held),
            None => self.locks.push((name.clone(), mode)),
        }
    }

    fn lock_all<'n>(&mut self, names: impl IntoIterator<Item = &'n Name>, mode: LockMode) {
        for name in names {
            self.lock(name, mode);
        }
    }

    fn costs(&mut self, rewrites: Rewrites) {
        self.rewrites = self.rewrites.max(rewrites);
    }

    /// How it holds a table.
    pub fn lock_of(&self, table: &Name) -> Option<LockMode> {
        let found = self.locks.iter().find(|(locked, _)| locked == table);
        found.map(|(_, mode)| *mode)
    }
}

/// What a statement does to others.
pub fn effect(statement: &Statement, dialect: Dialect) -> Effect {
    effect_of(&actions(statement, dialect), dialect)
}

/// Whether a statement is run in a transaction, where its migration as a whole is not.
pub fn runs_in_transaction(statement: &Statement, dialect: Dialect) -> bool {
    // A pragma may do nothing there, and say nothing.
    let pragma = dialect == Dialect::Sqlite
        && statement
            .tokens(dialect)
            .first()
            .is_some_and(|first| first.is("PRAGMA"));
    !pragma && effect(statement, dialect).transaction == Transaction::Either
}

/// Whether only the server knows what a statement does: it calls something, or is a block that is not read here.
pub fn is_opaque(statement: &Statement, dialect: Dialect) -> bool {
    let found: Vec<Token<'_>> = statement.tokens(dialect).into_iter().filter(Token::counts).collect();
    let first = |words: &[&str]| {
        found
            .first()
            .is_some_and(|token| words.iter().any(|word| token.is(word)))
    };
    let calls = found.iter().any(|token| token.text == "(");
    let may = first(&["CALL", "DO", "EXECUTE"]) || (first(&["SELECT", "WITH"]) && calls);
    may && actions(statement, dialect).contains(&Action::Other)
}

/// What actions do to others.
pub fn effect_of(actions: &[Action], dialect: Dialect) -> Effect {
    let mut effect = Effect::none();
    for action in actions {
        match dialect {
            Dialect::Postgres => postgres(action, &mut effect),
            Dialect::Sqlite => sqlite(action, &mut effect),
        }
    }
    effect
}

fn postgres(action: &Action, effect: &mut Effect) {
    use LockMode::{AccessExclusive, Exclusive, RowExclusive, Share, ShareRowExclusive, ShareUpdateExclusive};
    let concurrent = |concurrently: bool, otherwise: LockMode| {
        if concurrently { ShareUpdateExclusive } else { otherwise }
    };
    let never = |effect: &mut Effect, so: bool| {
        if so {
            effect.transaction = Transaction::Never;
        }
    };
    match action {
        Action::CreateTable(made) => {
            effect.lock_all(&made.partition_of, AccessExclusive);
            references(&made.constraints, effect);
        }
        Action::CreateIndex(index) => {
            effect.lock(&index.table, concurrent(index.concurrently, Share));
            never(effect, index.concurrently);
            effect.costs(if index.only {
                Rewrites::No
            } else {
                Rewrites::BuildsIndex
            });
        }
        Action::AlterTable { table, change } => alter(table, change, effect),
        Action::DropIndex { names, concurrently } => {
            let mode = concurrent(*concurrently, AccessExclusive);
            effect.lock_all(names, mode);
            never(effect, *concurrently);
        }
        Action::RenameIndex { from, .. } => effect.lock(from, ShareUpdateExclusive),
        Action::Reindex {
            kind,
            name,
            concurrently,
        } => {
            let all = matches!(&**kind, "SCHEMA" | "DATABASE" | "SYSTEM");
            if let Some(name) = name.as_ref().filter(|_| !all) {
                let mode = if kind == "TABLE" { Share } else { AccessExclusive };
                effect.lock(name, concurrent(*concurrently, mode));
            }
            if !concurrently {
                // Each of a table's indexes is ACCESS EXCLUSIVE, and every query must lock them.
                effect.blocks = Blocks::ReadersAndWriters;
            }
            never(effect, *concurrently || all);
            effect.costs(Rewrites::BuildsIndex);
        }
        Action::Drop { kind, names, .. } => {
            if matches!(
                kind,
                ObjectKind::Table | ObjectKind::View | ObjectKind::MaterializedView
            ) {
                effect.lock_all(names, AccessExclusive);
            }
        }
        Action::Truncate { tables, .. } => effect.lock_all(tables, AccessExclusive),
        Action::Write(write) => {
            effect.lock(&write.table, RowExclusive);
            effect.costs(Rewrites::Rows);
        }
        Action::CreateTrigger { table, .. } => effect.lock(table, ShareRowExclusive),
        Action::DomainConstraint { not_valid, .. } => {
            if !not_valid {
                effect.costs(Rewrites::Scans);
                effect.blocks = effect.blocks.max(Blocks::Writers);
            }
        }
        Action::Vacuum { tables, full } => {
            let mode = if *full { AccessExclusive } else { ShareUpdateExclusive };
            effect.lock_all(tables, mode);
            effect.costs(if *full { Rewrites::Rewrites } else { Rewrites::Scans });
            if *full {
                effect.blocks = Blocks::ReadersAndWriters;
            }
            never(effect, true);
        }
        Action::Cluster { table } => {
            effect.lock_all(table, AccessExclusive);
            effect.blocks = Blocks::ReadersAndWriters;
            effect.costs(Rewrites::Rewrites);
            never(effect, table.is_none());
        }
        Action::RefreshView { name, concurrently, .. } => {
            effect.lock(name, if *concurrently { Exclusive } else { AccessExclusive });
            effect.costs(Rewrites::Rewrites);
        }
        Action::Locks { tables, mode, .. } => effect.lock_all(tables, *mode),
        Action::OutsideTransaction { .. } => never(effect, true),
        Action::CreateView { .. }
        | Action::AddEnumValue { .. }
        | Action::Set { .. }
        | Action::Pragma { .. }
        | Action::Other => {}
    }
}

/// A foreign key keeps writers out of the table that it refers to, for triggers are made there.
fn references(constraints: &[Constraint], effect: &mut Effect) {
    for constraint in constraints {
        if let ConstraintKind::ForeignKey { references } = &constraint.kind {
            effect.lock(references, LockMode::ShareRowExclusive);
        }
    }
}

fn alter(table: &Name, change: &TableChange, effect: &mut Effect) {
    use LockMode::{AccessExclusive, ShareRowExclusive, ShareUpdateExclusive};
    let mut mode = AccessExclusive;
    match change {
        TableChange::AddColumn {
            column, constraints, ..
        } => {
            references(constraints, effect);
            effect.costs(column_cost(column, constraints));
        }
        TableChange::SetType { to, using, .. } => {
            let widest = !using && matches!(&*to.base, "text" | "varchar" | "numeric") && !to.array;
            effect.costs(if widest { Rewrites::Perhaps } else { Rewrites::Rewrites });
        }
        TableChange::SetNotNull { .. } => effect.costs(Rewrites::Scans),
        TableChange::AddConstraint(constraint) => {
            references(std::slice::from_ref(constraint), effect);
            if matches!(constraint.kind, ConstraintKind::ForeignKey { .. }) {
                mode = ShareRowExclusive;
            }
            effect.costs(constraint_cost(constraint));
        }
        TableChange::ValidateConstraint { .. } => {
            mode = ShareUpdateExclusive;
            effect.costs(Rewrites::Scans);
        }
        TableChange::AttachPartition { partition } => {
            mode = ShareUpdateExclusive;
            effect.lock(partition, AccessExclusive);
            effect.costs(Rewrites::Scans);
        }
        TableChange::DetachPartition {
            partition,
            concurrently,
        } => {
            effect.lock(partition, AccessExclusive);
            if *concurrently {
                mode = ShareUpdateExclusive;
                effect.transaction = Transaction::Never;
            }
        }
        TableChange::SetTablespace | TableChange::Rewrite { .. } | TableChange::SetExpression { .. } => {
            effect.costs(Rewrites::Rewrites);
        }
        TableChange::Triggers { .. } => mode = ShareRowExclusive,
        TableChange::Options => mode = ShareUpdateExclusive,
        TableChange::DropColumn { .. }
        | TableChange::DropNotNull { .. }
        | TableChange::Default { .. }
        | TableChange::DropConstraint { .. }
        | TableChange::RenameColumn { .. }
        | TableChange::RenameTable { .. }
        | TableChange::SetSchema
        | TableChange::Other { .. } => {}
    }
    effect.lock(table, mode);
}

/// What a new column costs on PostgreSQL: nothing with a default that is the same for all rows.
pub(super) fn column_cost(column: &Column, constraints: &[Constraint]) -> Rewrites {
    let volatile = matches!(column.default, Some(DefaultValue::Volatile { .. }));
    let stored = column.generated == Some(Generated::Stored);
    if volatile || stored || column.identity || column.data_type.is_serial() {
        return Rewrites::Rewrites;
    }
    let costs = constraints.iter().map(|constraint| match constraint.kind {
        // No row has a value yet.
        ConstraintKind::ForeignKey { .. } if !column.has_value() => Rewrites::No,
        _ => constraint_cost(constraint),
    });
    costs.max().unwrap_or(Rewrites::No)
}

fn constraint_cost(constraint: &Constraint) -> Rewrites {
    match constraint.kind {
        ConstraintKind::Unique { using_index } | ConstraintKind::PrimaryKey { using_index } => {
            if using_index {
                Rewrites::No
            } else {
                Rewrites::BuildsIndex
            }
        }
        ConstraintKind::Exclude => Rewrites::BuildsIndex,
        ConstraintKind::Check | ConstraintKind::ForeignKey { .. } | ConstraintKind::NotNull => {
            if constraint.not_valid {
                Rewrites::No
            } else {
                Rewrites::Scans
            }
        }
    }
}

/// Pragmas that SQLite refuses in a transaction, or passes over there.
pub(super) const PRAGMAS_OUTSIDE: [&str; 3] = ["foreign_keys", "journal_mode", "synchronous"];

/// With SQLite whatever writes keeps other writers waiting.
fn sqlite(action: &Action, effect: &mut Effect) {
    effect.blocks = match action {
        Action::Set { .. } | Action::Pragma { .. } | Action::Other | Action::OutsideTransaction { .. } => effect.blocks,
        _ => Blocks::Writers,
    };
    match action {
        Action::CreateIndex(_) | Action::Reindex { .. } => effect.costs(Rewrites::BuildsIndex),
        Action::Write(_) => effect.costs(Rewrites::Rows),
        Action::Vacuum { .. } => {
            effect.costs(Rewrites::Rewrites);
            effect.transaction = Transaction::Never;
        }
        Action::OutsideTransaction { .. } => effect.transaction = Transaction::Never,
        Action::Pragma { name, value: Some(_) } if PRAGMAS_OUTSIDE.contains(&&**name) => {
            effect.transaction = Transaction::Never;
        }
        Action::AlterTable { change, .. } => match change {
            TableChange::DropColumn { .. } => effect.costs(Rewrites::Rewrites),
            TableChange::SetNotNull { .. } | TableChange::AddConstraint(_) => effect.costs(Rewrites::Scans),
            TableChange::AddColumn {
                column, constraints, ..
            } => {
                let check = constraints
                    .iter()
                    .any(|constraint| constraint.kind == ConstraintKind::Check);
                let computed = column.generated.is_some() && column.not_null;
                if check || computed {
                    effect.costs(Rewrites::Scans);
                }
            }
            _ => {}
        },
        _ => {}
    }
}

#[cfg(test)]
mod tests;
