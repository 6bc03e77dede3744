//! `DROP`.

use super::super::cursor::Cursor;
use super::super::effect::LockMode;
use super::create::moment;
use super::{Action, ObjectKind};

/// What follows `DROP`.
pub(super) fn read(cursor: Cursor<'_>) -> Vec<Action> {
    let cascade = cursor.has("CASCADE");
    one(cursor, cascade).unwrap_or_default()
}

fn one(mut cursor: Cursor<'_>, cascade: bool) -> Option<Vec<Action>> {
    if cursor.eat("INDEX") {
        let concurrently = cursor.eat("CONCURRENTLY");
        cursor.eat("IF EXISTS");
        let names = cursor.names();
        return Some(vec![Action::DropIndex { names, concurrently }]);
    }
    for (kind, what) in [
        ("DATABASE", "DROP DATABASE"),
        ("TABLESPACE", "DROP TABLESPACE"),
        ("SUBSCRIPTION", "DROP SUBSCRIPTION"),
    ] {
        if cursor.eat(kind) {
            return Some(vec![Action::OutsideTransaction { what }]);
        }
    }
    let kinds = [
        ("TABLE", ObjectKind::Table),
        ("FOREIGN TABLE", ObjectKind::Table),
        ("VIEW", ObjectKind::View),
        ("MATERIALIZED VIEW", ObjectKind::MaterializedView),
        ("SCHEMA", ObjectKind::Schema),
        ("TRIGGER", ObjectKind::Trigger),
        ("TYPE", ObjectKind::Type),
        ("DOMAIN", ObjectKind::Type),
        ("POLICY", ObjectKind::Other),
        ("RULE", ObjectKind::Other),
        ("SEQUENCE", ObjectKind::Other),
        ("FUNCTION", ObjectKind::Other),
        ("EXTENSION", ObjectKind::Other),
    ];
    let (_, kind) = kinds.into_iter().find(|(words, _)| cursor.eat(words))?;
    cursor.eat("IF EXISTS");
    let names = cursor.names();
    let mut found = vec![Action::Drop { kind, names, cascade }];
    // Triggers, policies and rules are a table's.
    if cursor.eat("ON")
        && let Some(table) = cursor.name()
    {
        found.push(moment(table, LockMode::AccessExclusive));
    }
    Some(found)
}
