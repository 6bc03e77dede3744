//! Splitting SQL, whatever the text: nothing is lost, nothing is split twice, and what the server does not read makes
//! no difference.
#![no_main]

use anteroom_domain::migrations::{Dialect, Statement, Token, TokenKind, normal_checksum, split, tokens};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for dialect in [Dialect::Postgres, Dialect::Sqlite] {
        let Ok(found) = tokens(text, dialect) else {
            assert!(split(text, dialect).is_err(), "split what has no tokens");
            continue;
        };
        let together: String = found.iter().map(|token| token.text).collect();
        assert_eq!(together, text, "the tokens are not the text");
        let Ok(statements) = split(text, dialect) else { continue };
        nothing_is_lost(&found, &statements, dialect);
        for statement in &statements {
            let again = split(&statement.sql, dialect).expect("what was split can be split");
            let again: Vec<&str> = again.iter().map(|statement| &*statement.sql).collect();
            assert_eq!(again, [&statement.sql], "a statement is not itself");
        }
        let spaced = spaced(&found);
        let again = split(&spaced, dialect).unwrap_or_else(|error| panic!("{error}, once spaced: {spaced:?}"));
        let hash = |statements: &[Statement]| normal_checksum(statements, dialect);
        assert_eq!(hash(&statements), hash(&again), "white space counts: {spaced:?}");
    }
});

/// The statements' tokens are the text's, in order; what is left out is space, comments, and semicolons between
/// statements.
fn nothing_is_lost(found: &[Token<'_>], statements: &[Statement], dialect: Dialect) {
    let mut rest = found.iter().filter(|token| token.counts()).peekable();
    for statement in statements {
        while rest.next_if(|token| token.is_symbol(";")).is_some() {}
        for token in statement.tokens(dialect) {
            let next = rest.next().map(|next| (next.kind, next.text));
            assert_eq!(next, Some((token.kind, token.text)), "another token");
        }
    }
    assert!(rest.all(|token| token.is_symbol(";")), "tokens are lost");
}

/// The text with other space, and a comment, wherever it has space. A line comment keeps its line end.
fn spaced(found: &[Token<'_>]) -> String {
    let mut text = String::new();
    let mut line_comment = false;
    for token in found {
        match token.kind {
            TokenKind::Space if line_comment => text.push_str("\n /* c */ "),
            TokenKind::Space => text.push_str(" /* c */ "),
            _ => text.push_str(token.text),
        }
        line_comment = token.kind == TokenKind::Comment && token.text.starts_with("--");
    }
    text
}
