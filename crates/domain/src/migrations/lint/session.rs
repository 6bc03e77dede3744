//! What is set for the session.

use super::super::action::Action;
use super::super::effect::PRAGMAS_OUTSIDE;
use super::{At, Found, rules};

/// Settings of time and memory, which a migration may need for itself.
const HARMLESS: [&str; 10] = [
    "lock_timeout",
    "statement_timeout",
    "idle_in_transaction_session_timeout",
    "transaction_timeout",
    "deadlock_timeout",
    "work_mem",
    "maintenance_work_mem",
    "max_parallel_maintenance_workers",
    "client_min_messages",
    "application_name",
];

/// Settings that tell which table a name means, and who asks: within the transaction they hold for the history too.
const WHO_AND_WHERE: [&str; 3] = ["search_path", "role", "session_authorization"];

/// SQLite's pragmas that stay with the connection or the file.
const PRAGMAS: [&str; 18] = [
    "journal_mode",
    "synchronous",
    "locking_mode",
    "legacy_alter_table",
    "ignore_check_constraints",
    "recursive_triggers",
    "case_sensitive_like",
    "trusted_schema",
    "query_only",
    "read_uncommitted",
    "busy_timeout",
    "temp_store",
    "cache_size",
    "mmap_size",
    "auto_vacuum",
    "page_size",
    "encoding",
    "wal_autocheckpoint",
];

pub(super) fn check(at: &At<'_>, action: &Action, found: &mut Found) {
    match action {
        Action::Set { name, value, local } => set(name, value.as_deref(), *local, found),
        Action::Pragma {
            name,
            value: Some(value),
        } => pragma(at, name, value, found),
        _ => {}
    }
}

fn set(name: &str, value: Option<&str>, local: bool, found: &mut Found) {
    if name == "lock_timeout" && value.is_none_or(|value| value.trim_end_matches(char::is_alphabetic).trim() == "0") {
        found.add(
            rules::LOCK_TIMEOUT_OFF,
            "statements wait for their locks without an end".into(),
        );
    }
    // To reset it is to take back what was set; disabled triggers have a rule of their own.
    if value.is_none() || name == "session_replication_role" {
        return;
    }
    if WHO_AND_WHERE.contains(&name) || !(local || HARMLESS.contains(&name)) {
        found.add(rules::SESSION_SETTING, format!("{name} stays set after this statement"));
    }
}

fn pragma(at: &At<'_>, name: &str, value: &str, found: &mut Found) {
    match name {
        "foreign_keys" => {
            found.add(
                rules::PRAGMA_FOREIGN_KEYS,
                format!("foreign_keys = {value} does nothing here, or leaks"),
            );
        }
        "writable_schema" => found.add(rules::WRITABLE_SCHEMA, format!("writable_schema = {value}")),
        // Refused there, which is said already.
        name if at.look.in_transaction && PRAGMAS_OUTSIDE.contains(&name) => {}
        name if PRAGMAS.contains(&name) => {
            found.add(rules::SESSION_SETTING, format!("{name} stays set after this statement"));
        }
        _ => {}
    }
}
