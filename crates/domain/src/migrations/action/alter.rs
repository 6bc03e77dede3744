//! `ALTER`.

use super::super::cursor::Cursor;
use super::super::effect::LockMode;
use super::super::token::TokenKind;
use super::create::moment;
use super::table::{column, constraint, data_type};
use super::{Action, Name, TableChange};

/// What follows `ALTER`.
pub(super) fn read(mut cursor: Cursor<'_>) -> Vec<Action> {
    if cursor.eat("TABLE") {
        return table(cursor);
    }
    other(cursor).into_iter().collect()
}

fn other(mut cursor: Cursor<'_>) -> Option<Action> {
    if cursor.eat("INDEX") {
        cursor.eat("IF EXISTS");
        let from = cursor.name()?;
        if cursor.eat("RENAME TO") {
            let to = cursor.name()?;
            return Some(Action::RenameIndex { from, to });
        }
        let change = if cursor.is("SET") { change(cursor)? } else { return None };
        return Some(Action::AlterTable { table: from, change });
    }
    if cursor.eat("VIEW") || cursor.eat("MATERIALIZED VIEW") {
        cursor.eat("IF EXISTS");
        let table = cursor.name()?;
        let change = change(cursor)?;
        return Some(Action::AlterTable { table, change });
    }
    if cursor.eat("TYPE") {
        let name = cursor.name()?;
        if cursor.eat("ADD VALUE") {
            cursor.eat("IF NOT EXISTS");
            let value = cursor.first().filter(|token| token.kind == TokenKind::Text)?;
            let value = value.text.to_owned();
            return Some(Action::AddEnumValue { name, value });
        }
        return None;
    }
    if cursor.eat("DOMAIN") {
        let name = cursor.name()?;
        let demands = cursor.eat("ADD") || cursor.eat("SET NOT NULL");
        let not_valid = cursor.has("NOT VALID");
        return demands.then_some(Action::DomainConstraint { name, not_valid });
    }
    if cursor.eat_any(&["POLICY", "TRIGGER", "RULE"]) {
        return Some(moment(cursor.after("ON")?.name()?, LockMode::AccessExclusive));
    }
    if cursor.eat("SYSTEM") {
        return Some(Action::OutsideTransaction { what: "ALTER SYSTEM" });
    }
    let moves = cursor.eat("DATABASE") && cursor.has("SET TABLESPACE");
    moves.then_some(Action::OutsideTransaction {
        what: "ALTER DATABASE … SET TABLESPACE",
    })
}

fn table(mut cursor: Cursor<'_>) -> Vec<Action> {
    cursor.eat("IF EXISTS");
    cursor.eat("ONLY");
    if cursor.is("ALL") {
        return Vec::new();
    }
    let Some(table) = cursor.name() else { return Vec::new() };
    cursor.eat_symbol("*");
    let changes = cursor.items().into_iter().filter_map(change);
    changes
        .map(|change| Action::AlterTable {
            table: table.clone(),
            change,
        })
        .collect()
}

/// One of the changes between commas.
fn change(mut cursor: Cursor<'_>) -> Option<TableChange> {
    let words = cursor.rest().iter().take_while(|token| token.kind == TokenKind::Word);
    let words: Vec<String> = words.take(3).map(|token| token.text.to_ascii_uppercase()).collect();
    let other = || Some(TableChange::Other { what: words.join(" ") });
    let first = cursor.take()?;
    match first.text.to_ascii_uppercase().as_str() {
        "ADD" => add(cursor),
        "DROP" => drop(cursor),
        "ALTER" if cursor.is("CONSTRAINT") => other(),
        "ALTER" => {
            cursor.eat("COLUMN");
            let column = cursor.name()?;
            alter_column(cursor, column).or_else(other)
        }
        "VALIDATE" if cursor.eat("CONSTRAINT") => Some(TableChange::ValidateConstraint { name: cursor.name()? }),
        "RENAME" => rename(cursor).or_else(other),
        "SET" => set(cursor).or_else(other),
        "RESET" | "CLUSTER" => Some(TableChange::Options),
        "ATTACH" if cursor.eat("PARTITION") => Some(TableChange::AttachPartition {
            partition: cursor.name()?,
        }),
        "DETACH" if cursor.eat("PARTITION") => {
            let partition = cursor.name()?;
            let concurrently = cursor.eat("CONCURRENTLY") || cursor.eat("FINALIZE");
            Some(TableChange::DetachPartition {
                partition,
                concurrently,
            })
        }
        "ENABLE" | "DISABLE" if cursor.has("TRIGGER") => {
            let disabled = first.is("DISABLE");
            Some(TableChange::Triggers { disabled })
        }
        _ => other(),
    }
}

fn add(mut cursor: Cursor<'_>) -> Option<TableChange> {
    if let Some(constraint) = constraint(cursor) {
        return Some(TableChange::AddConstraint(constraint));
    }
    cursor.eat("COLUMN");
    let if_not_exists = cursor.eat("IF NOT EXISTS");
    let (column, constraints) = column(cursor)?;
    Some(TableChange::AddColumn {
        column,
        constraints,
        if_not_exists,
    })
}

fn drop(mut cursor: Cursor<'_>) -> Option<TableChange> {
    let constraint = cursor.eat("CONSTRAINT");
    if !constraint {
        cursor.eat("COLUMN");
    }
    cursor.eat("IF EXISTS");
    let name = cursor.name()?;
    let cascade = cursor.eat("CASCADE");
    Some(if constraint {
        TableChange::DropConstraint { name, cascade }
    } else {
        TableChange::DropColumn { column: name, cascade }
    })
}

fn alter_column(mut cursor: Cursor<'_>, column: Name) -> Option<TableChange> {
    if cursor.eat("TYPE") || cursor.eat("SET DATA TYPE") {
        let to = data_type(&mut cursor);
        let using = cursor.after("USING").is_some_and(|value| !is_cast(value, &column));
        return Some(TableChange::SetType { column, to, using });
    }
    if cursor.eat("SET NOT NULL") {
        return Some(TableChange::SetNotNull { column });
    }
    if cursor.eat("DROP NOT NULL") {
        return Some(TableChange::DropNotNull { column });
    }
    if cursor.eat_any(&["SET DEFAULT", "DROP DEFAULT"]) {
        return Some(TableChange::Default { column });
    }
    if cursor.eat("SET EXPRESSION") {
        return Some(TableChange::SetExpression { column });
    }
    let options = cursor.eat("SET STATISTICS") || (cursor.eat_any(&["SET", "RESET"]) && cursor.is_symbol("("));
    options.then_some(TableChange::Options)
}

/// Whether it is no more than the column itself, or a cast of it: what there would be without `USING`.
fn is_cast(mut value: Cursor<'_>, column: &Name) -> bool {
    value.name().as_ref() == Some(column) && (value.is_empty() || value.is_symbol("::"))
}

fn rename(mut cursor: Cursor<'_>) -> Option<TableChange> {
    if cursor.eat("TO") {
        return Some(TableChange::RenameTable { to: cursor.name()? });
    }
    if cursor.is("CONSTRAINT") {
        return None;
    }
    cursor.eat("COLUMN");
    let from = cursor.name()?;
    cursor.eat("TO");
    let to = cursor.name()?;
    Some(TableChange::RenameColumn { from, to })
}

/// Storage parameters that are set under a lock that keeps nobody out are all but a few, which only indexes and catalogues
/// have.
fn set(mut cursor: Cursor<'_>) -> Option<TableChange> {
    if cursor.is_symbol("(") || cursor.eat("WITHOUT CLUSTER") {
        return Some(TableChange::Options);
    }
    if cursor.eat("SCHEMA") {
        return Some(TableChange::SetSchema);
    }
    if cursor.eat("TABLESPACE") {
        return Some(TableChange::SetTablespace);
    }
    let rewrites = [
        ("LOGGED", "SET LOGGED"),
        ("UNLOGGED", "SET UNLOGGED"),
        ("ACCESS METHOD", "SET ACCESS METHOD"),
    ];
    let (_, what) = rewrites.into_iter().find(|(words, _)| cursor.eat(words))?;
    Some(TableChange::Rewrite { what })
}
