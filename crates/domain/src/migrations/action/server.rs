//! What tends the server and the session rather than the schema.

use super::super::cursor::Cursor;
use super::super::effect::LockMode;
use super::super::token::{Token, TokenKind};
use super::create::moment;
use super::{Action, Name};

/// What begins with this word, in capitals.
pub(super) fn read(word: &str, cursor: Cursor<'_>) -> Option<Action> {
    match word {
        "VACUUM" => Some(vacuum(cursor)),
        "ANALYZE" | "ANALYSE" => Some(analyze(cursor)),
        "CLUSTER" => Some(cluster(cursor)),
        "REINDEX" => Some(reindex(cursor)),
        "REFRESH" => refresh(cursor),
        "LOCK" => lock(cursor),
        "SET" => set(cursor),
        "RESET" => reset(cursor),
        "PRAGMA" => pragma(cursor),
        "COMMENT" => comment(cursor),
        "DETACH" => Some(Action::OutsideTransaction { what: "DETACH" }),
        "DISCARD" if cursor.is("ALL") => Some(Action::OutsideTransaction { what: "DISCARD ALL" }),
        _ => None,
    }
}

/// Over options in parentheses or in words, and whether this one is among them.
fn option(cursor: &mut Cursor<'_>, words: &[&str], asked: &str) -> bool {
    let mut found = cursor
        .group()
        .is_some_and(|options| options.rest().iter().any(|token| token.is(asked)));
    while cursor.is_any(words) {
        found |= cursor.is(asked);
        cursor.take();
    }
    found
}

fn vacuum(mut cursor: Cursor<'_>) -> Action {
    let words = ["FULL", "FREEZE", "VERBOSE", "ANALYZE", "ANALYSE"];
    let full = option(&mut cursor, &words, "FULL");
    // SQLite's goes into a file.
    let tables = if cursor.is("INTO") { Vec::new() } else { cursor.names() };
    Action::Vacuum { tables, full }
}

fn analyze(mut cursor: Cursor<'_>) -> Action {
    option(&mut cursor, &["VERBOSE"], "VERBOSE");
    Action::Locks {
        tables: cursor.names(),
        mode: LockMode::ShareUpdateExclusive,
        explicit: false,
    }
}

fn cluster(mut cursor: Cursor<'_>) -> Action {
    option(&mut cursor, &["VERBOSE"], "VERBOSE");
    Action::Cluster { table: cursor.name() }
}

fn reindex(mut cursor: Cursor<'_>) -> Action {
    let mut concurrently = option(&mut cursor, &["VERBOSE"], "CONCURRENTLY");
    let kinds = ["INDEX", "TABLE", "SCHEMA", "DATABASE", "SYSTEM"];
    let kind = if cursor.is_any(&kinds) { cursor.take() } else { None };
    concurrently |= cursor.eat("CONCURRENTLY");
    Action::Reindex {
        kind: kind.map(|kind| kind.text.to_ascii_uppercase()).unwrap_or_default(),
        name: cursor.name(),
        concurrently,
    }
}

fn refresh(mut cursor: Cursor<'_>) -> Option<Action> {
    if !cursor.eat("MATERIALIZED VIEW") {
        return None;
    }
    let concurrently = cursor.eat("CONCURRENTLY");
    Some(Action::RefreshView {
        name: cursor.name()?,
        concurrently,
        empty: cursor.has("WITH NO DATA"),
    })
}

fn lock(mut cursor: Cursor<'_>) -> Option<Action> {
    cursor.eat("TABLE");
    let tables = cursor.names();
    let mode = match cursor.after("IN") {
        None => LockMode::AccessExclusive,
        Some(mut mode) => {
            let words = mode.until(&["MODE"]);
            let words: Vec<String> = words
                .rest()
                .iter()
                .map(|token| token.text.to_ascii_uppercase())
                .collect();
            LockMode::from_words(&words.join(" "))?
        }
    };
    (!tables.is_empty()).then_some(Action::Locks {
        tables,
        mode,
        explicit: true,
    })
}

/// A value without its quotes.
fn plain(token: &Token<'_>) -> String {
    token.text.trim_matches(['\'', '"']).to_owned()
}

/// A setting's name, with its prefix.
fn setting(cursor: &mut Cursor<'_>) -> Option<String> {
    let name = cursor.name()?;
    Some(name.to_string().replace('"', "").to_ascii_lowercase())
}

fn set(mut cursor: Cursor<'_>) -> Option<Action> {
    if cursor.is_any(&["CONSTRAINTS", "TRANSACTION"]) || cursor.eat("SESSION CHARACTERISTICS") {
        return None;
    }
    if cursor.eat("SESSION AUTHORIZATION") {
        let value = cursor.first().map(plain);
        let name = "session_authorization".into();
        return Some(Action::Set {
            name,
            value,
            local: false,
        });
    }
    let local = cursor.eat("LOCAL");
    if !local {
        cursor.eat("SESSION");
    }
    let name = if cursor.eat("TIME ZONE") {
        "timezone".into()
    } else {
        setting(&mut cursor)?
    };
    if !cursor.eat("TO") {
        cursor.eat_symbol("=");
    }
    let value = cursor.first().filter(|token| !token.is("DEFAULT")).map(plain);
    Some(Action::Set { name, value, local })
}

fn reset(mut cursor: Cursor<'_>) -> Option<Action> {
    let name = if cursor.eat("SESSION AUTHORIZATION") {
        "session_authorization".into()
    } else {
        setting(&mut cursor)?
    };
    Some(Action::Set {
        name,
        value: None,
        local: false,
    })
}

/// `SELECT set_config('search_path', '', false)`.
pub(super) fn select(mut cursor: Cursor<'_>) -> Option<Action> {
    let function = cursor.name()?;
    if function.local() != "set_config" {
        return None;
    }
    let arguments = cursor.group()?.items();
    let text = |at: usize| {
        arguments
            .get(at)
            .and_then(Cursor::first)
            .filter(|token| token.kind == TokenKind::Text)
    };
    Some(Action::Set {
        name: plain(text(0)?).to_ascii_lowercase(),
        value: text(1).map(plain),
        local: arguments.get(2).is_some_and(|argument| argument.is("TRUE")),
    })
}

fn pragma(mut cursor: Cursor<'_>) -> Option<Action> {
    let name = cursor.name()?;
    let value = if cursor.eat_symbol("=") {
        Some(cursor)
    } else {
        cursor.group()
    };
    let value = value.map(|value| value.rest().iter().map(plain).collect::<String>().to_ascii_lowercase());
    Some(Action::Pragma {
        name: name.local().to_owned(),
        value,
    })
}

/// `COMMENT ON TABLE` and `COLUMN`.
fn comment(mut cursor: Cursor<'_>) -> Option<Action> {
    if cursor.eat("ON TABLE") {
        return Some(moment(cursor.name()?, LockMode::ShareUpdateExclusive));
    }
    if !cursor.eat("ON COLUMN") {
        return None;
    }
    let dialect = cursor.dialect;
    let path = cursor.until(&["IS"]);
    let mut parts: Vec<&Token<'_>> = path.rest().iter().filter(|token| !token.is_symbol(".")).collect();
    parts.pop();
    Some(moment(
        Name::from_parts(&parts, dialect)?,
        LockMode::ShareUpdateExclusive,
    ))
}
