//! Where one statement ends and the next begins.

use sha2::{Digest as _, Sha256};

use super::token::{Dialect, Token, TokenKind, line_of, tokens};

/// One statement of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// What is sent to the server, byte by byte as in the file, without the semicolon and the comments before it.
    pub sql: String,
    /// The line of the file that it begins on, from 1.
    pub line: usize,
    /// The comments before it and within, without their marks.
    pub comments: Vec<String>,
}

impl Statement {
    /// Its tokens, without white space and comments.
    pub fn tokens(&self, dialect: Dialect) -> Vec<Token<'_>> {
        // What was split can be split again.
        let mut found = tokens(&self.sql, dialect).unwrap_or_default();
        found.retain(Token::counts);
        found
    }

    /// Whether it sets something on the connection that it is run on, for longer than a transaction.
    pub fn sets(&self, dialect: Dialect) -> bool {
        let tokens = self.tokens(dialect);
        let is = |place: usize, word: &str| tokens.get(place).is_some_and(|token| token.is(word));
        match dialect {
            Dialect::Sqlite => is(0, "PRAGMA"),
            Dialect::Postgres => {
                let calls = is(0, "SELECT") && tokens.iter().any(|token| token.is("set_config"));
                (is(0, "SET") && !is(1, "LOCAL")) || is(0, "RESET") || calls
            }
        }
    }

    /// Its first words, in capitals, for messages: `CREATE UNIQUE INDEX`. Parentheses before them are left out.
    pub fn title(&self, dialect: Dialect) -> String {
        let tokens = self.tokens(dialect);
        let words = tokens.iter().skip_while(|token| token.is_symbol("("));
        let words = words.take_while(|token| token.kind == TokenKind::Word);
        let words: Vec<String> = words.take(3).map(|token| token.text.to_ascii_uppercase()).collect();
        words.join(" ")
    }
}

/// Why a file cannot be split.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct SplitError {
    /// From 1.
    pub line: usize,
    /// What is wrong, and what to do.
    pub reason: String,
}

/// Splits a file into its statements. What cannot be run statement by statement is refused: `psql`'s own commands,
/// `COPY … FROM STDIN`, and `BEGIN` and `COMMIT`, since the transaction is the engine's.
pub fn split(text: &str, dialect: Dialect) -> Result<Vec<Statement>, SplitError> {
    let error = |at: usize, reason: String| SplitError {
        line: line_of(text, at),
        reason,
    };
    if let Some(at) = text.find('\0') {
        return Err(error(at, "a NUL byte: is the file UTF-16? Save it as UTF-8".into()));
    }
    let tokens = tokens(text, dialect).map_err(|unclosed| error(unclosed.at, unclosed.to_string()))?;
    let mut statements = Vec::new();
    let mut open = Open::default();
    for token in &tokens {
        if open
            .ends_with(token, dialect)
            .map_err(|reason| error(token.at, reason))?
        {
            open.finish(text, dialect, &mut statements)?;
        }
    }
    open.finish(text, dialect, &mut statements)?;
    Ok(statements)
}

/// A statement that has not ended yet.
#[derive(Default)]
struct Open<'a> {
    /// What the server reads of it.
    tokens: Vec<Token<'a>>,
    comments: Vec<String>,
    /// Where parentheses were opened.
    parentheses: Vec<usize>,
    /// Within its body, how many tokens stand before that.
    body: Option<usize>,
}

impl<'a> Open<'a> {
    /// Takes the next token. Whether the statement ends with it.
    fn ends_with(&mut self, token: &Token<'a>, dialect: Dialect) -> Result<bool, String> {
        match token.kind {
            TokenKind::Space => return Ok(false),
            TokenKind::Comment => {
                self.comments.push(inside(token.text).to_owned());
                return Ok(false);
            }
            TokenKind::Symbol => match token.text {
                ";" if self.parentheses.is_empty() && self.body.is_none() => return Ok(true),
                "(" => self.parentheses.push(token.at),
                ")" if self.parentheses.pop().is_none() => {
                    return Err("a closing parenthesis without an opening one".into());
                }
                "\\" => {
                    return Err("a command of psql's, which no server knows: write it in SQL, or take it out".into());
                }
                _ => {}
            },
            TokenKind::Word => self.nest(token, dialect),
            _ => {}
        }
        self.tokens.push(*token);
        Ok(false)
    }

    /// Finds the body that holds semicolons of its own. It ends with the `END` that follows a semicolon; any other, of a
    /// `CASE` or a name, is part of a statement (SQLite, `complete.c`; PostgreSQL, `routine_body_stmt_list` in `gram.y`).
    fn nest(&mut self, token: &Token<'a>, dialect: Dialect) {
        let last = self.tokens.last();
        if let Some(before) = self.body {
            let is_empty = self.tokens.len() == before;
            if token.is("END") && (is_empty || last.is_some_and(|last| last.is_symbol(";"))) {
                self.body = None;
            }
            return;
        }
        let begins = match dialect {
            Dialect::Sqlite => token.is("BEGIN") && self.creates(&["TRIGGER"]),
            // Neither word is reserved: a parameter may be called so.
            Dialect::Postgres => {
                token.is("ATOMIC")
                    && last.is_some_and(|last| last.is("BEGIN"))
                    && self.parentheses.is_empty()
                    && self.creates(&["FUNCTION", "PROCEDURE"])
            }
        };
        if begins {
            self.body = Some(self.tokens.len() + 1);
        }
    }

    /// Whether it is `CREATE … <kind>`.
    fn creates(&self, kinds: &[&str]) -> bool {
        let mut words = self.tokens.iter();
        words.next().is_some_and(|first| first.is("CREATE"))
            && words
                .find(|word| !["OR", "REPLACE", "TEMP", "TEMPORARY"].iter().any(|skip| word.is(skip)))
                .is_some_and(|word| kinds.iter().any(|kind| word.is(kind)))
    }

    fn finish(&mut self, text: &str, dialect: Dialect, into: &mut Vec<Statement>) -> Result<(), SplitError> {
        let Self {
            tokens,
            comments,
            parentheses,
            body,
            ..
        } = std::mem::take(self);
        let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
            // Comments after the last statement belong to it.
            if let Some(statement) = into.last_mut() {
                statement.comments.extend(comments);
            }
            return Ok(());
        };
        let line = line_of(text, first.at);
        let refused = |line: usize, reason: &str| {
            Err(SplitError {
                line,
                reason: reason.into(),
            })
        };
        if let Some(at) = parentheses.last() {
            return refused(line_of(text, *at), "a parenthesis is not closed");
        }
        if body.is_some() {
            return refused(line, "the body that begins here has no END");
        }
        if let Some(reason) = not_ours(&tokens, dialect) {
            return refused(line, &reason);
        }
        into.push(Statement {
            sql: text[first.at..last.at + last.text.len()].to_owned(),
            line,
            comments,
        });
        Ok(())
    }
}

/// Why a statement cannot be part of a migration, if it cannot.
fn not_ours(tokens: &[Token<'_>], dialect: Dialect) -> Option<String> {
    let is = |place: usize, word: &str| tokens.get(place).is_some_and(|token| token.is(word));
    let any = |word: &str| tokens.iter().any(|token| token.is(word));
    let to_savepoint = is(0, "ROLLBACK") && any("TO");
    let transaction = ["BEGIN", "COMMIT", "END", "ABORT", "ROLLBACK"]
        .iter()
        .any(|word| is(0, word))
        || (is(0, "START") && is(1, "TRANSACTION"))
        || (is(0, "PREPARE") && is(1, "TRANSACTION"));
    if transaction && !to_savepoint {
        let word = tokens[0].text.to_ascii_uppercase();
        return Some(format!(
            "{word}: each migration has a transaction already. Take it out; if the migration must not have one, write \
             `transaction = false` into migration.toml"
        ));
    }
    if dialect == Dialect::Postgres && is(0, "SET") && any("standard_conforming_strings") && !any("on") {
        return Some(
            "standard_conforming_strings: without it a backslash in a string means something else, and where the next \
             statement begins cannot be told. Write such strings as E'…'"
                .into(),
        );
    }
    if dialect == Dialect::Postgres && is(0, "COPY") && any("STDIN") {
        return Some("COPY … FROM STDIN: its rows are no SQL. Write them as INSERT".into());
    }
    None
}

/// A comment's text.
fn inside(comment: &str) -> &str {
    match comment.strip_prefix("--") {
        Some(text) => text.trim(),
        None => comment.trim_start_matches("/*").trim_end_matches("*/").trim(),
    }
}

/// SHA-256 of a file's bytes, in hexadecimal.
pub fn exact_checksum(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// SHA-256 of what the server reads of statements: comments, white space, line ends and semicolons after the last make no
/// difference. Within strings everything counts, but for the line ends of those between dollar signs, which hold code.
pub fn normal_checksum(statements: &[Statement], dialect: Dialect) -> String {
    let mut hash = Sha256::new();
    for statement in statements {
        for token in statement.tokens(dialect) {
            if token.kind == TokenKind::Dollar {
                hash.update(token.text.replace("\r\n", "\n"));
            } else {
                hash.update(token.text);
            }
            // No token holds a NUL.
            hash.update(b"\0");
        }
        hash.update(b"\0;");
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sql(text: &str, dialect: Dialect) -> Vec<String> {
        split(text, dialect)
            .unwrap()
            .into_iter()
            .map(|statement| statement.sql)
            .collect()
    }

    #[test]
    fn bodies_keep_their_semicolons() {
        for (text, expected) in [
            ("a; b ;; c", vec!["a", "b", "c"]),
            ("DO $$ BEGIN a; END $$; b", vec!["DO $$ BEGIN a; END $$", "b"]),
            (
                "CREATE RULE r AS ON INSERT TO t DO (a; b); c",
                vec!["CREATE RULE r AS ON INSERT TO t DO (a; b)", "c"],
            ),
            (
                "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT x.end AS \
                 end; END; b",
                vec![
                    "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT x.end \
                     AS end; END",
                    "b",
                ],
            ),
            (
                "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC END; b",
                vec!["CREATE FUNCTION f() RETURNS int BEGIN ATOMIC END", "b"],
            ),
            (
                "CREATE FUNCTION f(begin atomic) RETURNS int RETURN 1; b",
                vec!["CREATE FUNCTION f(begin atomic) RETURNS int RETURN 1", "b"],
            ),
            (
                "CREATE PROCEDURE f() BEGIN ATOMIC SELECT 1 end; SELECT CASE WHEN a THEN atomic END; ; END; b",
                vec![
                    "CREATE PROCEDURE f() BEGIN ATOMIC SELECT 1 end; SELECT CASE WHEN a THEN atomic END; ; END",
                    "b",
                ],
            ),
            ("SELECT 1 -- a;\n+ 1; -- b\n", vec!["SELECT 1 -- a;\n+ 1"]),
            ("-- a\rb;\rc", vec!["b", "c"]),
        ] {
            assert_eq!(sql(text, Dialect::Postgres), expected, "{text}");
        }
        for (text, expected) in [
            (
                "CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN UPDATE b SET c = CASE WHEN d THEN 1 END; DELETE FROM e; \
                 END; f",
                vec![
                    "CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN UPDATE b SET c = CASE WHEN d THEN 1 END; DELETE FROM \
                     e; END",
                    "f",
                ],
            ),
            // Neither BEGIN nor END is reserved.
            (
                "CREATE TRIGGER begin AFTER UPDATE OF end ON a WHEN new.begin < end BEGIN UPDATE a SET end = 1; SELECT end, \
                 CASE end WHEN 1 THEN 2 END end FROM a; END; b",
                vec![
                    "CREATE TRIGGER begin AFTER UPDATE OF end ON a WHEN new.begin < end BEGIN UPDATE a SET end = 1; SELECT \
                     end, CASE end WHEN 1 THEN 2 END end FROM a; END",
                    "b",
                ],
            ),
            (
                "CREATE TABLE trigger_log (a); b",
                vec!["CREATE TABLE trigger_log (a)", "b"],
            ),
        ] {
            assert_eq!(sql(text, Dialect::Sqlite), expected, "{text}");
        }
    }

    #[test]
    fn lines_and_comments_are_kept() {
        let text = "\u{feff}-- first\r\n/* second */\r\nCREATE /* third */ TABLE a (b);\n-- fourth\n";
        let found = split(text, Dialect::Postgres).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].line, &*found[0].sql), (3, "CREATE /* third */ TABLE a (b)"));
        assert_eq!(found[0].comments, ["first", "second", "third", "fourth"]);
        assert_eq!(found[0].title(Dialect::Postgres), "CREATE TABLE A");
        let found = split("((SELECT 1) UNION SELECT 2)", Dialect::Postgres).unwrap();
        assert_eq!(found[0].title(Dialect::Postgres), "SELECT");
    }

    #[test]
    fn what_cannot_be_run_is_refused_with_its_line() {
        for (text, named) in [
            ("a;\n\\connect x", "line 2: a command of psql's"),
            ("a\n\\gexec", "line 2: a command of psql's"),
            ("a;\nBEGIN; b; COMMIT;", "line 2: BEGIN"),
            ("start transaction", "line 1: START"),
            (
                "SET standard_conforming_strings = off",
                "line 1: standard_conforming_strings",
            ),
            ("COPY t FROM stdin;\n1\n\\.\n", "line 1: COPY"),
            ("a;\n(b", "line 2: a parenthesis"),
            ("a)", "line 1: a closing"),
            ("\n'a", "line 2: a string is not closed"),
            ("C\0R\0", "line 1: a NUL byte"),
            ("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1;", "has no END"),
        ] {
            let error = split(text, Dialect::Postgres).unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
        let kept = "SAVEPOINT a; ROLLBACK TO SAVEPOINT a; RELEASE a";
        assert_eq!(sql(kept, Dialect::Postgres).len(), 3);
    }

    #[test]
    fn comments_white_space_and_line_ends_do_not_change_the_normal_checksum() {
        let hash = |text: &str| normal_checksum(&split(text, Dialect::Postgres).unwrap(), Dialect::Postgres);
        let one = "CREATE TABLE a (b int DEFAULT 1e-5 CHECK (b >= 0));\nSELECT $$x\ny$$;\n";
        for same in [
            "-- licence\r\nCREATE TABLE a(b int DEFAULT 1e-5 CHECK(b>=0));SELECT $$x\ny$$",
            &one.replace('\n', "\r\n"),
            &one.replace(' ', "\t/* why */ "),
        ] {
            assert_eq!(hash(one), hash(same), "{same}");
            assert_ne!(exact_checksum(one), exact_checksum(same), "{same}");
        }
        for other in [
            one.replace(">=", "> ="),
            one.replace("1e-5", "1e - 5"),
            one.replace(" int", " text"),
            one.replace("SELECT", "; SELECT 1; SELECT"),
            one.replace("x\ny", "x\n y"),
        ] {
            assert_ne!(hash(one), hash(&other), "{other}");
        }
        // A string is data.
        assert_ne!(hash("SELECT 'a\nb'"), hash("SELECT 'a\r\nb'"));
    }

    proptest! {
        /// Whatever a file holds, what the server reads of it is in exactly one statement, in order.
        #[test]
        fn nothing_is_lost(text in r"(CREATE |TRIGGER |FUNCTION |BEGIN |ATOMIC |END|CASE |a|;|\(|\)|'|--|\n|/\*|\*/|\$\$| ){0,24}") {
            for dialect in [Dialect::Postgres, Dialect::Sqlite] {
                let Ok(statements) = split(&text, dialect) else { continue };
                let all: Vec<String> = tokens(&text, dialect).unwrap().iter()
                    .filter(|token| token.counts()).map(|token| token.text.to_owned()).collect();
                let all: Vec<String> = all.into_iter().filter(|text| text != ";").collect();
                let split: Vec<String> = statements.iter()
                    .flat_map(|statement| statement.tokens(dialect).into_iter().map(|token| token.text.to_owned()).collect::<Vec<_>>())
                    .filter(|text| text != ";").collect();
                prop_assert_eq!(all, split);
            }
        }
    }
}
