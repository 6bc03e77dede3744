//! `DO`: the statements of its body. What `EXECUTE` makes of strings is not seen.

use super::super::cursor::Cursor;
use super::super::token::{Token, TokenKind, tokens};
use super::{Action, read as read_statement};

/// What follows `DO`.
pub(super) fn read(cursor: Cursor<'_>) -> Vec<Action> {
    let Some(body) = cursor.rest().iter().find(|token| token.kind == TokenKind::Dollar) else {
        return Vec::new();
    };
    let mut found = tokens(inside(body.text), cursor.dialect).unwrap_or_default();
    found.retain(Token::counts);
    let mut actions = Vec::new();
    for statement in Cursor::new(&found, cursor.dialect).statements() {
        let statement = beyond_control(statement);
        // A body in a body would be a string.
        if !statement.is("DO") {
            actions.extend(read_statement(statement));
        }
    }
    actions
}

/// What follows PL/pgSQL's own words: `BEGIN IF … THEN ALTER TABLE …`.
fn beyond_control(mut statement: Cursor<'_>) -> Cursor<'_> {
    loop {
        let after = if statement.eat_any(&["BEGIN", "DECLARE", "ELSE", "LOOP", "EXCEPTION"]) {
            Some(statement)
        } else if statement.is_any(&["IF", "ELSIF", "ELSEIF", "WHEN", "CASE"]) {
            statement.after("THEN")
        } else if statement.is_any(&["FOR", "FOREACH", "WHILE"]) {
            statement.after("LOOP")
        } else {
            None
        };
        match after {
            Some(after) => statement = after,
            None => return statement,
        }
    }
}

/// A string between dollar signs, without them.
fn inside(text: &str) -> &str {
    let tag = text.get(1..).and_then(|rest| rest.find('$')).map_or(0, |end| end + 2);
    text.get(tag..text.len().saturating_sub(tag)).unwrap_or_default()
}
