//! What keeps others waiting on PostgreSQL: indexes, rewrites, locks.

use super::super::action::{Action, Column, DefaultValue, Generated, TableChange};
use super::super::effect::{Blocks, LockMode, Transaction};
use super::super::name::Name;
use super::schema::named;
use super::{At, Found, Look, rules};

pub(super) fn check(at: &At<'_>, action: &Action, found: &mut Found) {
    indexes(at, action, found);
    tables(action, found);
    if let Action::AlterTable { table, change } = action
        && !at.is_new(table)
    {
        alter(at, table, change, found);
    }
}

fn indexes(at: &At<'_>, action: &Action, found: &mut Found) {
    let concurrently = match action {
        Action::CreateIndex(index) => {
            let table = &index.table;
            if !index.concurrently && !index.only && !at.is_new(table) {
                let message = format!("CREATE INDEX keeps writers of {table} waiting until it is built");
                found.add(rules::INDEX_NOT_CONCURRENT, message);
            }
            if let Some(name) = index
                .name
                .as_ref()
                .filter(|_| index.concurrently && index.if_not_exists)
            {
                let dropped = |action: &Action| matches!(action, Action::DropIndex { names, .. } if named(names, name));
                let dropped = at.earlier().any(dropped);
                if !dropped {
                    let message = format!("if a build of {name} was broken off, IF NOT EXISTS leaves it invalid");
                    found.add(rules::CONCURRENT_INDEX_IF_NOT_EXISTS, message);
                }
            }
            index.concurrently
        }
        Action::DropIndex { names, concurrently } => {
            let on_new = |name: &Name| at.schema.table_of_index(name).is_some_and(|table| table.new);
            for name in names.iter().filter(|name| !concurrently && !on_new(name)) {
                let message = format!("DROP INDEX {name} locks its table against everybody");
                found.add(rules::DROP_INDEX_NOT_CONCURRENT, message);
            }
            *concurrently
        }
        Action::Reindex { name, concurrently, .. } => {
            let is_new = name.as_ref().is_some_and(|name| at.is_new(name));
            if !concurrently && !is_new {
                let what = name.as_ref().map_or_else(|| "all indexes".into(), ToString::to_string);
                let message = format!("REINDEX of {what} keeps readers and writers waiting until it is built");
                found.add(rules::REINDEX_NOT_CONCURRENT, message);
            }
            *concurrently
        }
        Action::AlterTable {
            change: TableChange::DetachPartition { concurrently, .. },
            ..
        } => *concurrently,
        _ => false,
    };
    if concurrently && at.look.in_transaction {
        let title = at.step.statement.title(at.look.dialect);
        found.add(
            rules::CONCURRENTLY_IN_TRANSACTION,
            format!("{title} is refused in a transaction"),
        );
    }
}

fn tables(action: &Action, found: &mut Found) {
    match action {
        Action::Vacuum { tables, full: true } => {
            let message = format!("VACUUM FULL writes {} anew, locked against everybody", list(tables));
            found.add(rules::VACUUM_FULL, message);
        }
        Action::Cluster { table } => {
            let tables: Vec<Name> = table.iter().cloned().collect();
            let message = format!("CLUSTER writes {} anew, locked against everybody", list(&tables));
            found.add(rules::CLUSTER, message);
        }
        Action::RefreshView {
            name,
            concurrently: false,
            empty: false,
        } => {
            let message = format!("readers of {name} wait until its query is done");
            found.add(rules::REFRESH_NOT_CONCURRENT, message);
        }
        Action::Locks {
            tables,
            mode,
            explicit: true,
        } if mode.blocks() != Blocks::Nothing => {
            let message = format!(
                "{} is locked against {} until the migration is over",
                list(tables),
                mode.blocks().word()
            );
            found.add(rules::LOCK_TABLE, message);
        }
        _ => {}
    }
}

fn list(tables: &[Name]) -> String {
    let names: Vec<String> = tables.iter().map(ToString::to_string).collect();
    if names.is_empty() {
        "every table".into()
    } else {
        names.join(", ")
    }
}

fn alter(at: &At<'_>, table: &Name, change: &TableChange, found: &mut Found) {
    match change {
        TableChange::AddColumn { column, .. } => add_column(table, column, found),
        TableChange::SetType { column, to, using } => {
            let known = at.schema.table(table).and_then(|table| table.data_type(column));
            if !using && known.is_some_and(|from| from.widens_to(to)) {
                return;
            }
            let message = match known {
                Some(from) => format!("to make {column} of {table} {to} that was {from} writes the table anew"),
                None => format!("to make {column} of {table} {to} writes the table anew, unless it only widens"),
            };
            found.add(rules::CHANGE_TYPE, message);
        }
        TableChange::SetExpression { column } => {
            let message = format!("another expression of {column} writes {table} anew");
            found.add(rules::REWRITES_TABLE, message);
        }
        TableChange::Rewrite { what } => found.add(rules::REWRITES_TABLE, format!("{what} writes {table} anew")),
        TableChange::SetTablespace => {
            found.add(
                rules::SET_TABLESPACE,
                format!("{table} is copied, locked against everybody"),
            );
        }
        TableChange::AttachPartition { partition } => {
            let known = at.schema.table(partition);
            let proven = known.is_some_and(|known| known.new || known.checks.iter().any(|check| check.valid));
            let whole = known.is_some_and(|known| known.whole);
            if !proven && (whole || !at.has_proof(partition)) {
                let message = format!("{partition} is read as a whole to see whether its rows belong into {table}");
                found.add(rules::ATTACH_PARTITION_SCANS, message);
            }
        }
        TableChange::DetachPartition {
            partition,
            concurrently: false,
        } => {
            let message = format!("to take {partition} out locks {table} against everybody");
            found.add(rules::DETACH_PARTITION_LOCKS, message);
        }
        _ => {}
    }
}

fn add_column(table: &Name, column: &Column, found: &mut Found) {
    let name = &column.name;
    if let Some(DefaultValue::Volatile { function }) = &column.default {
        let message =
            format!("{function}() is not known to be the same for all rows: {table} is written anew for {name}");
        found.add(rules::VOLATILE_DEFAULT, message);
    }
    if column.generated == Some(Generated::Stored) {
        let message = format!("{table} is written anew to compute {name}");
        found.add(rules::STORED_GENERATED_COLUMN, message);
    }
    if column.identity || column.data_type.is_serial() {
        let message = format!("{table} is written anew to number its rows in {name}");
        found.add(rules::ADD_SERIAL_COLUMN, message);
    }
}

/// Locks that are held together.
pub(super) fn check_file(look: &Look<'_>, found: &mut Found) {
    let mut held: Vec<&Name> = Vec::new();
    for (index, step) in look.steps.iter().enumerate() {
        if step.effect.transaction == Transaction::Never && look.in_transaction {
            refused(look, index, found);
        }
        // What is dropped nobody should use any more.
        for action in &step.actions {
            let Action::AlterTable { table, .. } = action else {
                continue;
            };
            let exclusive = (table.clone(), LockMode::AccessExclusive);
            if !step.existing.contains(&exclusive) {
                continue;
            }
            if held.contains(&table) {
                continue;
            }
            if let [first] = *held
                && look.in_transaction
            {
                let message = format!("{first} is locked against everybody while the migration waits for {table}");
                found.add_at(index, rules::MANY_EXCLUSIVE_LOCKS, message);
            }
            held.push(table);
        }
    }
}

fn refused(look: &Look<'_>, index: usize, found: &mut Found) {
    let step = &look.steps[index];
    let concurrently = step.actions.iter().any(|action| match action {
        Action::CreateIndex(index) => index.concurrently,
        Action::DropIndex { concurrently, .. } | Action::Reindex { concurrently, .. } => *concurrently,
        Action::AlterTable { change, .. } => matches!(change, TableChange::DetachPartition { .. }),
        // Has a rule of its own.
        Action::Pragma { name, .. } => name == "foreign_keys",
        _ => false,
    });
    if !concurrently {
        let title = step.statement.title(look.dialect);
        found.add_at(
            index,
            rules::REFUSED_IN_TRANSACTION,
            format!("{title} is refused in a transaction"),
        );
    }
}
