//! What changes rows.

use super::super::action::{Action, TableChange, Write, WriteKind};
use super::super::effect::Blocks;
use super::super::token::{Dialect, TokenKind};
use super::{At, Found, Look, rules};

pub(super) fn check(at: &At<'_>, action: &Action, found: &mut Found) {
    match action {
        Action::Write(write) => rows(at, write, found),
        Action::AlterTable {
            table,
            change: TableChange::Triggers { disabled: true },
        } if !at.is_new(table) => {
            found.add(
                rules::DISABLED_TRIGGERS,
                format!("triggers of {table} do not see what happens"),
            );
        }
        Action::Set {
            name,
            value: Some(value),
            ..
        } if name == "session_replication_role" && value.eq_ignore_ascii_case("replica") => {
            found.add(rules::DISABLED_TRIGGERS, "no trigger sees what happens".into());
        }
        Action::AddEnumValue { name, value } if at.look.in_transaction => {
            let later = at.look.steps[at.index + 1..].iter();
            let used = later.flat_map(|step| &step.tokens);
            if used
                .into_iter()
                .any(|token| token.kind == TokenKind::Text && token.text == value)
            {
                let message = format!("{value} of {name} cannot be used before the transaction is over");
                found.add(rules::ENUM_VALUE_USED, message);
            }
        }
        _ => {}
    }
}

fn rows(at: &At<'_>, write: &Write, found: &mut Found) {
    let (table, word) = (&write.table, write.kind.word());
    if write.by_position {
        let message = format!("the columns of {table} are filled by their order");
        found.add(rules::COPY_BY_POSITION, message);
    }
    if at.is_new(table) {
        return;
    }
    match (write.kind, write.has_where) {
        (WriteKind::Update, false) => {
            found.add(
                rules::UPDATE_WITHOUT_WHERE,
                format!("every row of {table} is changed at once"),
            );
        }
        (WriteKind::Delete, false) => {
            found.add(rules::DELETE_WITHOUT_WHERE, format!("every row of {table} is lost"));
        }
        (WriteKind::Update | WriteKind::Delete, true) if !write.narrow && at.look.migration.options.batch.is_none() => {
            let message = format!("{word} changes as many rows of {table} as there are, in one transaction");
            found.add(rules::UNBATCHED_UPDATE, message);
        }
        _ => {}
    }
}

/// Rows that are changed while a lock is held that keeps others out.
pub(super) fn check_file(look: &Look<'_>, found: &mut Found) {
    if look.dialect != Dialect::Postgres || !look.in_transaction {
        return;
    }
    let locked = look.steps.iter().find_map(|step| {
        let dropped = step
            .actions
            .iter()
            .any(|action| matches!(action, Action::Drop { .. } | Action::Truncate { .. }));
        let mut existing = step.existing.iter();
        let lock = existing.find(|(_, mode)| !dropped && mode.blocks() != Blocks::Nothing)?;
        Some(&lock.0)
    });
    let Some(locked) = locked else { return };
    let mut schema = look.before.clone();
    for (index, step) in look.steps.iter().enumerate() {
        for action in &step.actions {
            if let Action::Write(write) = action {
                let mut tables = write.reads.iter().chain([&write.table]);
                if tables.any(|table| !schema.is_new(table)) {
                    let message = format!(
                        "{} of {} and a lock of {locked} are in one transaction",
                        write.kind.word(),
                        write.table
                    );
                    found.add_at(index, rules::MIXED_CHANGES, message);
                    return;
                }
            }
            schema.apply(action);
        }
    }
}
