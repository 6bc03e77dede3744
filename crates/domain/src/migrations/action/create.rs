//! `CREATE`.

use super::super::cursor::Cursor;
use super::super::effect::LockMode;
use super::super::token::Dialect;
use super::table::{column, constraint, never_null};
use super::{Action, CreateIndex, CreateTable};

/// What stands between `CREATE` and the kind of thing, but for `UNIQUE` and `TEMP`.
const BETWEEN: [&str; 9] = [
    "OR REPLACE",
    "GLOBAL",
    "LOCAL",
    "UNLOGGED",
    "RECURSIVE",
    "MATERIALIZED",
    "CONSTRAINT",
    "FOREIGN",
    "VIRTUAL",
];

/// What follows `CREATE`.
pub(super) fn read(mut cursor: Cursor<'_>) -> Option<Action> {
    let (mut unique, mut temporary) = (false, false);
    loop {
        if cursor.eat("UNIQUE") {
            unique = true;
        } else if cursor.eat_any(&["TEMP", "TEMPORARY"]) {
            temporary = true;
        } else if !cursor.eat_any(&BETWEEN) {
            break;
        }
    }
    let kind = cursor.take()?.text.to_ascii_uppercase();
    match kind.as_str() {
        "TABLE" => table(cursor, temporary),
        "INDEX" => index(cursor, unique),
        "VIEW" => view(cursor),
        "TRIGGER" => trigger(cursor),
        "POLICY" => Some(moment(cursor.after("ON")?.name()?, LockMode::AccessExclusive)),
        "RULE" => Some(moment(cursor.after("TO")?.name()?, LockMode::AccessExclusive)),
        "STATISTICS" => Some(moment(cursor.after("FROM")?.name()?, LockMode::ShareUpdateExclusive)),
        "DATABASE" => Some(Action::OutsideTransaction {
            what: "CREATE DATABASE",
        }),
        "TABLESPACE" => Some(Action::OutsideTransaction {
            what: "CREATE TABLESPACE",
        }),
        // One that makes no slot may stand in a transaction.
        "SUBSCRIPTION" if !cursor.mentions_any(&["create_slot", "connect", "slot_name"]) => {
            Some(Action::OutsideTransaction {
                what: "CREATE SUBSCRIPTION",
            })
        }
        _ => None,
    }
}

/// A lock that is held for as long as the catalogue is written.
pub(super) fn moment(table: super::Name, mode: LockMode) -> Action {
    Action::Locks {
        tables: vec![table],
        mode,
        explicit: false,
    }
}

fn table(mut cursor: Cursor<'_>, temporary: bool) -> Option<Action> {
    let if_not_exists = cursor.eat("IF NOT EXISTS");
    let mut made = CreateTable {
        name: cursor.name()?,
        columns: Vec::new(),
        constraints: Vec::new(),
        if_not_exists,
        temporary,
        partition_of: None,
        without_rowid: cursor.has("WITHOUT ROWID"),
    };
    if cursor.eat("PARTITION OF") {
        made.partition_of = cursor.name();
    }
    if cursor.eat("OF") {
        cursor.name();
    }
    for item in cursor.group().map(Cursor::items).unwrap_or_default() {
        if item.is("LIKE") {
            continue;
        }
        if let Some(found) = constraint(item) {
            made.constraints.push(found);
        } else if let Some((column, constraints)) = column(item) {
            made.columns.push(column);
            made.constraints.extend(constraints);
        }
    }
    Some(Action::CreateTable(made))
}

fn index(mut cursor: Cursor<'_>, unique: bool) -> Option<Action> {
    let concurrently = cursor.dialect == Dialect::Postgres && cursor.eat("CONCURRENTLY");
    let if_not_exists = cursor.eat("IF NOT EXISTS");
    let name = if cursor.is("ON") { None } else { Some(cursor.name()?) };
    if !cursor.eat("ON") {
        return None;
    }
    let only = cursor.eat("ONLY");
    let table = cursor.name()?;
    if cursor.eat("USING") {
        cursor.take();
    }
    let mentions = cursor.mentions();
    let columns = cursor.group()?.columns();
    let partial = match cursor.after("WHERE") {
        None => Some(Vec::new()),
        Some(condition) => Some(never_null(condition)).filter(|columns| !columns.is_empty()),
    };
    Some(Action::CreateIndex(CreateIndex {
        name,
        table,
        columns,
        mentions,
        partial,
        unique,
        concurrently,
        if_not_exists,
        only,
    }))
}

fn view(mut cursor: Cursor<'_>) -> Option<Action> {
    cursor.eat("IF NOT EXISTS");
    let name = cursor.name()?;
    Some(Action::CreateView {
        name,
        mentions: cursor.mentions(),
    })
}

fn trigger(mut cursor: Cursor<'_>) -> Option<Action> {
    cursor.eat("IF NOT EXISTS");
    let name = cursor.name()?;
    let table = cursor.after("ON")?.name()?;
    Some(Action::CreateTrigger {
        name,
        table,
        mentions: cursor.mentions(),
    })
}
