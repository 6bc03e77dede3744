//! What is missing in the folder.

use super::super::folder::Migration;
use super::{File, Finding, Look, Rule, rules, suppression};

/// Files without a statement have no comments that are kept, so that `up.sql` alone can allow these.
pub(super) fn check(migration: &Migration, up: &Look<'_>, findings: &mut Vec<Finding>) {
    let allowed: Vec<_> = up
        .steps
        .iter()
        .flat_map(|step| suppression::allowed(step.statement).0)
        .collect();
    let mut add = |rule: Rule, file: File, message: &str| {
        let allowed = allowed
            .iter()
            .find(|allowed| allowed.everywhere && allowed.rule == rule.name);
        findings.push(Finding {
            rule: rule.name,
            level: rule.level,
            file,
            line: 1,
            message: message.into(),
            safe_way: rule.safe_way,
            suppressed: allowed.map(|allowed| allowed.reason.clone()),
        });
    };
    if migration.up.statements.is_empty() {
        add(rules::EMPTY_UP, File::Up, "up.sql has no statement");
    }
    match &migration.down {
        Some(down) if down.statements.is_empty() => add(rules::EMPTY_DOWN, File::Down, "down.sql has no statement"),
        None if migration.options.irreversible.is_none() => {
            add(rules::NO_DOWN, File::Down, "there is no down.sql, and no reason for it");
        }
        _ => {}
    }
}
