//! Types that are better chosen otherwise, what cannot be added to rows that are there, and foreign keys without an index.

use super::super::action::{Action, Column, Constraint, ConstraintKind, TableChange};
use super::super::name::Name;
use super::super::token::Dialect;
use super::schema::Schema;
use super::{At, Found, Look, rules};

pub(super) fn check(at: &At<'_>, action: &Action, found: &mut Found) {
    if at.look.dialect == Dialect::Postgres {
        types(at, action, found);
    }
    rows_and_names(at, action, found);
}

fn types(at: &At<'_>, action: &Action, found: &mut Found) {
    let (table, columns, constraints) = match action {
        Action::CreateTable(made) => (&made.name, made.columns.iter().collect(), made.constraints.as_slice()),
        Action::AlterTable {
            table,
            change: TableChange::AddColumn {
                column, constraints, ..
            },
        } => (table, vec![column], constraints.as_slice()),
        _ => return,
    };
    for column in columns {
        data_type(table, column, found);
        let serial = column.data_type.is_serial() && !column.data_type.array;
        if serial && (matches!(action, Action::CreateTable(_)) || at.is_new(table)) {
            let message = format!("{} of {table} has a sequence that is a thing by itself", column.name);
            found.add(rules::SERIAL_NOT_IDENTITY, message);
        }
        let key = constraints.iter().any(|constraint| {
            matches!(constraint.kind, ConstraintKind::PrimaryKey { .. }) && constraint.columns == [column.name.clone()]
        });
        if key
            && matches!(
                &*column.data_type.base,
                "integer" | "smallint" | "serial" | "smallserial"
            )
        {
            let message = format!("{table} is full when {} runs out", column.name);
            found.add(rules::INT_PRIMARY_KEY, message);
        }
    }
}

fn data_type(table: &Name, column: &Column, found: &mut Found) {
    let rule = match &*column.data_type.base {
        "timestamp" => rules::TIMESTAMP_WITHOUT_ZONE,
        // `"char"` in quotes is a type of one byte.
        "char" if !column.data_type.written.contains('"') => rules::CHAR_TYPE,
        "json" => rules::JSON_NOT_JSONB,
        _ => return,
    };
    found.add(rule, format!("{} of {table} is {}", column.name, column.data_type));
}

/// What is passed over because it is there, and what is refused because rows are.
fn rows_and_names(at: &At<'_>, action: &Action, found: &mut Found) {
    match action {
        Action::CreateTable(made) if made.if_not_exists && !made.temporary => {
            found.add(
                rules::IF_NOT_EXISTS,
                format!("a table {} is left as it is, however it looks", made.name),
            );
        }
        Action::AlterTable {
            table,
            change:
                TableChange::AddColumn {
                    column,
                    constraints,
                    if_not_exists,
                },
        } => {
            let name = &column.name;
            if *if_not_exists {
                let message = format!("a column {name} of {table} is left as it is, however it looks");
                found.add(rules::IF_NOT_EXISTS, message);
            }
            // SQLite refuses these anyway.
            let key = constraints
                .iter()
                .any(|constraint| matches!(constraint.kind, ConstraintKind::PrimaryKey { .. }));
            let refused = key && at.look.dialect == Dialect::Sqlite;
            if column.not_null && !column.has_value() && !at.is_new(table) && !refused {
                let message = format!("{name} is refused if {table} has rows: they have no value for it");
                found.add(rules::ADD_NOT_NULL_COLUMN, message);
            }
        }
        Action::CreateIndex(index) if index.if_not_exists && !index.concurrently => {
            let message = format!(
                "an index of that name is left as it is, even on another table than {}",
                index.table
            );
            found.add(rules::IF_NOT_EXISTS, message);
        }
        _ => {}
    }
}

/// Foreign keys without an index, neither after the file nor after the folder's last.
pub(super) fn check_keys(look: &Look<'_>, after: &Schema, last: Option<&Schema>, found: &mut Found) {
    for (index, action) in look.actions() {
        let (table, constraints, new_columns): (&Name, Vec<&Constraint>, bool) = match action {
            Action::CreateTable(made) => (&made.name, made.constraints.iter().collect(), true),
            Action::AlterTable { table, change } => match change {
                TableChange::AddColumn { constraints, .. } => (table, constraints.iter().collect(), true),
                TableChange::AddConstraint(constraint) => (table, vec![constraint], false),
                _ => continue,
            },
            _ => continue,
        };
        for constraint in constraints {
            let ConstraintKind::ForeignKey { references } = &constraint.kind else {
                continue;
            };
            let schemas = [Some(after), last];
            let mut tables = schemas.into_iter().flatten().filter_map(|schema| schema.table(table));
            // Of a table that the files have not made, an index may be there that they do not tell of.
            let known = new_columns || after.table(table).is_some_and(|table| table.whole);
            let gone = after.table(table).is_none();
            if known && !gone && !tables.any(|table| table.has_key(&constraint.columns)) {
                let columns: Vec<String> = constraint.columns.iter().map(ToString::to_string).collect();
                let message = format!(
                    "no index of {table} begins with {}, for {references}",
                    columns.join(", ")
                );
                found.add_at(index, rules::FOREIGN_KEY_WITHOUT_INDEX, message);
            }
        }
    }
}
