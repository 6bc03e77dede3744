//! What changes rows: `INSERT`, `UPDATE`, `DELETE`, `MERGE`, `TRUNCATE`, and those within `WITH`.

use super::super::cursor::Cursor;
use super::super::token::{Token, TokenKind};
use super::{Action, Name, Write, WriteKind};

/// What begins with this word.
pub(super) fn read(first: &Token<'_>, mut cursor: Cursor<'_>) -> Vec<Action> {
    let mut found = Vec::new();
    let mut word = Some(first);
    if first.is("WITH") {
        word = None;
        while word.is_none() && !cursor.is_empty() {
            if let Some(mut inner) = cursor.group() {
                if let Some(first) = inner.take() {
                    found.extend(one(first, inner));
                }
            } else {
                word = cursor.take().filter(|token| {
                    ["INSERT", "REPLACE", "UPDATE", "DELETE", "MERGE"]
                        .iter()
                        .any(|word| token.is(word))
                });
            }
        }
    }
    found.extend(word.and_then(|word| one(word, cursor)));
    found
}

fn one(first: &Token<'_>, mut cursor: Cursor<'_>) -> Option<Action> {
    let all = cursor;
    let kind = match first.text.to_ascii_uppercase().as_str() {
        "INSERT" | "REPLACE" => WriteKind::Insert,
        "UPDATE" => WriteKind::Update,
        "DELETE" => WriteKind::Delete,
        "MERGE" => WriteKind::Merge,
        _ => return None,
    };
    // SQLite: what is done with conflicts.
    if cursor.eat("OR") {
        cursor.take();
    }
    if kind != WriteKind::Update && !cursor.eat_any(&["INTO", "FROM"]) {
        return None;
    }
    cursor.eat("ONLY");
    let table = cursor.name()?;
    let mut by_position = false;
    if kind == WriteKind::Insert {
        if cursor.eat("AS") {
            cursor.name();
        }
        let listed = cursor.group().is_some();
        let query = cursor.after("SELECT")?;
        // Values that stand there are few rows.
        if !query.has("FROM") {
            return None;
        }
        by_position = !listed && query.is_symbol("*");
    }
    let condition = cursor.after("WHERE");
    Some(Action::Write(Write {
        kind,
        table,
        has_where: condition.is_some(),
        narrow: condition.is_some_and(narrow),
        reads: reads(all),
        by_position,
    }))
}

/// Whether a condition compares something with a value that stands there, or says how many rows at most.
fn narrow(condition: Cursor<'_>) -> bool {
    let tokens = condition.rest();
    let value = |at: usize| {
        tokens
            .get(at)
            .is_some_and(|token| matches!(token.kind, TokenKind::Text | TokenKind::Number | TokenKind::Parameter))
    };
    (0..tokens.len()).any(|at| {
        let token = &tokens[at];
        let list = token.is("IN") && tokens.get(at + 1).is_some_and(|next| next.is_symbol("("));
        (token.is_symbol("=") && (value(at + 1) || at.checked_sub(1).is_some_and(value)))
            || (list && value(at + 2))
            || (token.is("BETWEEN") && value(at + 1))
            || token.is("LIMIT")
    })
}

/// The tables after `FROM` and `JOIN`, wherever they stand.
fn reads(mut cursor: Cursor<'_>) -> Vec<Name> {
    let mut found = Vec::new();
    while let Some(token) = cursor.take() {
        if token.is("FROM") || token.is("JOIN") || token.is("USING") {
            cursor.eat("ONLY");
            let mut ahead = cursor;
            found.extend(ahead.name());
        }
    }
    found
}

/// What follows `TRUNCATE`.
pub(super) fn truncate(mut cursor: Cursor<'_>) -> Option<Action> {
    cursor.eat("TABLE");
    let tables = cursor.names();
    (!tables.is_empty()).then(|| Action::Truncate {
        tables,
        cascade: cursor.has("CASCADE"),
    })
}
