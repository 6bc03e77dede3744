//! Constraints that read the table, or build their index, under a lock of PostgreSQL's.

use super::super::action::{Action, Column, Constraint, ConstraintKind, TableChange};
use super::super::effect::Blocks;
use super::super::name::Name;
use super::{At, Found, Rule, rules};

pub(super) fn check(at: &At<'_>, action: &Action, found: &mut Found) {
    match action {
        Action::AlterTable { table, change } if !at.is_new(table) => alter(at, table, change, found),
        Action::DomainConstraint { name, not_valid: false } => {
            let message = format!("every table with a column of {name} is read");
            found.add(rules::DOMAIN_VALIDATES, message);
        }
        _ => {}
    }
}

fn alter(at: &At<'_>, table: &Name, change: &TableChange, found: &mut Found) {
    match change {
        TableChange::AddConstraint(constraint) => add(table, constraint, None, found),
        TableChange::AddColumn {
            column, constraints, ..
        } => {
            for constraint in constraints {
                add(table, constraint, Some(column), found);
            }
        }
        TableChange::ValidateConstraint { name } => {
            let same_statement = at
                .step
                .effect
                .lock_of(table)
                .is_some_and(|mode| mode.blocks() != Blocks::Nothing);
            let steps = &at.look.steps[..at.index];
            let earlier = at.look.in_transaction && steps.iter().any(|step| step.blocks(table));
            if same_statement || earlier {
                let message = format!("{table} is read for {name} while an earlier change keeps it locked");
                found.add(rules::VALIDATE_UNDER_LOCK, message);
            }
        }
        TableChange::SetNotNull { column } => {
            let known = at.schema.table(table);
            let proven = known.is_some_and(|known| {
                let mut checks = known.checks.iter();
                checks.any(|check| check.valid && check.never_null.contains(column))
            });
            let whole = known.is_some_and(|known| known.whole);
            if !proven && (whole || !at.has_proof(table)) {
                let message = format!("{table} is read, locked against everybody, to see that {column} is never NULL");
                found.add(rules::SET_NOT_NULL_SCANS, message);
            }
        }
        _ => {}
    }
}

/// A constraint that is added, by itself or with its column.
fn add(table: &Name, constraint: &Constraint, column: Option<&Column>, found: &mut Found) {
    if let Some(rule) = builds_index(&constraint.kind) {
        found.add(
            rule,
            format!("its index on {table} is built while the table is locked against everybody"),
        );
        return;
    }
    if constraint.not_valid {
        return;
    }
    match &constraint.kind {
        ConstraintKind::ForeignKey { references } if column.is_none_or(Column::has_value) => {
            let message = format!("{table} is read while it and {references} are locked against writers");
            found.add(rules::FOREIGN_KEY_VALIDATES, message);
        }
        ConstraintKind::Check | ConstraintKind::NotNull => {
            let message = format!("{table} is read while it is locked against everybody");
            found.add(rules::CHECK_VALIDATES, message);
        }
        _ => {}
    }
}

/// Constraints whose index is built by them.
fn builds_index(kind: &ConstraintKind) -> Option<Rule> {
    match kind {
        ConstraintKind::Unique { using_index: false } => Some(rules::UNIQUE_BUILDS_INDEX),
        ConstraintKind::PrimaryKey { using_index: false } => Some(rules::PRIMARY_KEY_BUILDS_INDEX),
        ConstraintKind::Exclude => Some(rules::EXCLUDE_BUILDS_INDEX),
        _ => None,
    }
}
