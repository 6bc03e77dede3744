//! What is taken away from whoever uses it: drops, renames, tables that are made anew.

use super::super::action::{Action, ObjectKind, TableChange};
use super::super::name::Name;
use super::super::token::Dialect;
use super::schema::{Schema, Table, named};
use super::{At, Found, Look, rules};

pub(super) fn check(at: &At<'_>, action: &Action, found: &mut Found) {
    match action {
        Action::Drop { kind, names, cascade } => {
            if *cascade {
                found.add(
                    rules::DROP_CASCADE,
                    format!("whatever depends on {} goes with it", list(names)),
                );
            }
            for name in names.iter().filter(|name| !at.is_new(name) && !at.comes_back(name)) {
                drop(*kind, name, found);
            }
        }
        Action::Truncate { tables, cascade } => {
            for table in tables.iter().filter(|table| !at.is_new(table)) {
                found.add(rules::TRUNCATE, format!("all rows of {table} are lost"));
            }
            if *cascade {
                let message = format!("all rows of every table that refers to {} are lost", list(tables));
                found.add(rules::TRUNCATE_CASCADE, message);
            }
        }
        Action::AlterTable { table, change } if !at.is_new(table) => alter(at, table, change, found),
        _ => {}
    }
}

fn list(names: &[Name]) -> String {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    names.join(", ")
}

fn drop(kind: ObjectKind, name: &Name, found: &mut Found) {
    match kind {
        ObjectKind::Table => found.add(rules::DROP_TABLE, format!("{name} and its rows are lost")),
        ObjectKind::View | ObjectKind::MaterializedView => {
            found.add(rules::DROP_VIEW, format!("whoever reads {name} fails"));
        }
        ObjectKind::Schema => found.add(rules::DROP_SCHEMA, format!("{name} goes with all that is in it")),
        ObjectKind::Trigger | ObjectKind::Type | ObjectKind::Other => {}
    }
}

fn alter(at: &At<'_>, table: &Name, change: &TableChange, found: &mut Found) {
    match change {
        TableChange::DropColumn { column, cascade } => {
            let rewrites = match at.look.dialect {
                Dialect::Postgres => "",
                Dialect::Sqlite => ", and every row is written anew",
            };
            found.add(rules::DROP_COLUMN, format!("{column} of {table} is lost{rewrites}"));
            if *cascade {
                let message = format!("whatever depends on {column} of {table} goes with it");
                found.add(rules::DROP_CASCADE, message);
            }
        }
        TableChange::DropConstraint { name, cascade: true } => {
            found.add(
                rules::DROP_CASCADE,
                format!("whatever depends on {name} of {table} goes with it"),
            );
        }
        TableChange::RenameColumn { from, to } => {
            let message = format!("whoever uses {from} of {table} fails: it is {to} from now on");
            found.add(rules::RENAME_COLUMN, message);
        }
        TableChange::RenameTable { to } if !at.comes_back(table) => {
            let message = format!("whoever uses {table} fails: it is {to} from now on");
            found.add(rules::RENAME_TABLE, message);
        }
        TableChange::SetSchema => {
            found.add(rules::RENAME_TABLE, format!("whoever uses {table} by its schema fails"));
        }
        _ => {}
    }
}

/// Tables that are made anew, and lack what the old ones had: of those that the migration found, by `origin`.
pub(super) fn check_file(look: &Look<'_>, origin: &Schema, after: &Schema, found: &mut Found) {
    for (index, action) in look.actions() {
        let Action::Drop {
            kind: ObjectKind::Table,
            names,
            ..
        } = action
        else {
            continue;
        };
        for name in names {
            if let (Some(old), Some(before), Some(new)) =
                (look.before.table(name), origin.table(name), after.table(name))
            {
                for lost in lost(look, [old, before], new) {
                    let message = format!("{name} is made anew without {lost}");
                    found.add_at(index, rules::REBUILD_LOSES_OBJECTS, message);
                }
            }
        }
    }
}

/// The indexes and triggers that both of the old table's states had and the new one has not, but for those that were
/// dropped by name, or whose columns are gone.
fn lost(look: &Look<'_>, [old, before]: [&Table; 2], new: &Table) -> Vec<String> {
    let dropped = |name: &Name| {
        look.actions().any(|(_, action)| match action {
            Action::DropIndex { names, .. }
            | Action::Drop {
                kind: ObjectKind::Trigger,
                names,
                ..
            } => named(names, name),
            _ => false,
        })
    };
    let indexes = |table: &Table| -> Vec<(Name, Vec<Name>)> {
        let keys = table.keys.iter().filter(|key| key.index);
        keys.filter_map(|key| Some((key.name.clone()?, key.columns.clone())))
            .collect()
    };
    let first = |pairs: Vec<(Name, Vec<Name>)>| -> Vec<Name> { pairs.into_iter().map(|(name, _)| name).collect() };
    let triggers = |table: &Table| -> Vec<Name> { table.triggers.iter().map(|trigger| trigger.name.clone()).collect() };
    let still_there = |columns: &[Name]| columns.iter().all(|column| new.data_type(column).is_some());

    let mut lost = Vec::new();
    let (known, now) = (first(indexes(before)), indexes(new));
    for (name, columns) in indexes(old) {
        let same = now
            .iter()
            .any(|(one, indexed)| one.local() == name.local() || *indexed == columns);
        if named(&known, &name) && !same && !dropped(&name) && still_there(&columns) {
            lost.push(format!("the index {name}"));
        }
    }
    let (known, now) = (triggers(before), triggers(new));
    for name in triggers(old) {
        if named(&known, &name) && !named(&now, &name) && !dropped(&name) {
            lost.push(format!("the trigger {name}"));
        }
    }
    lost
}
