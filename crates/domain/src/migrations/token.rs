//! SQL's tokens, as far as they must be known to tell statements and comments apart.
//!
//! Rules: PostgreSQL 18, chapter 4.1 (Lexical Structure); SQLite, `tokenize.c`.

/// Whose SQL it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// PostgreSQL, with `standard_conforming_strings` on.
    Postgres,
    /// SQLite.
    Sqlite,
}

impl Dialect {
    /// As it is called in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::Sqlite => "SQLite",
        }
    }
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// White space, and a byte order mark.
    Space,
    /// `-- …` or `/* … */`.
    Comment,
    /// A keyword or a name without quotes.
    Word,
    /// A name in quotes: `"…"`, and with SQLite `` `…` `` and `[…]`.
    Quoted,
    /// A string, however it is written: `'…'`, `E'…'`, `X'…'`.
    Text,
    /// `$tag$…$tag$`.
    Dollar,
    /// A number.
    Number,
    /// A place for a value: `$1`, `?`, `:name`, `@name`.
    Parameter,
    /// Operators and punctuation.
    Symbol,
}

/// A piece of SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it is.
    pub kind: TokenKind,
    /// As it stands in the file.
    pub text: &'a str,
    /// Where it begins, in bytes.
    pub at: usize,
}

impl Token<'_> {
    /// Whether it is this word, in whatever case.
    pub fn is(&self, word: &str) -> bool {
        self.kind == TokenKind::Word && self.text.eq_ignore_ascii_case(word)
    }

    /// Whether it is this operator or sign.
    pub fn is_symbol(&self, symbol: &str) -> bool {
        self.kind == TokenKind::Symbol && self.text == symbol
    }

    /// Whether the server reads it.
    pub fn counts(&self) -> bool {
        !matches!(self.kind, TokenKind::Space | TokenKind::Comment)
    }
}

/// What was opened and not closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not closed")]
pub struct Unclosed {
    /// In words.
    pub what: &'static str,
    /// Where it was opened, in bytes.
    pub at: usize,
}

/// Every token of a text, white space and comments too: together they are the text.
pub fn tokens(text: &str, dialect: Dialect) -> Result<Vec<Token<'_>>, Unclosed> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let (kind, length) = first(rest, dialect).map_err(|what| Unclosed { what, at })?;
        let text = &rest[..length];
        found.push(Token { kind, text, at });
        at += length;
    }
    Ok(found)
}

type First = Result<(TokenKind, usize), &'static str>;

/// What a text, which is not empty, begins with, and how long that is.
fn first(text: &str, dialect: Dialect) -> First {
    let mut chars = text.chars();
    let (c, next) = (chars.next().unwrap_or(' '), chars.next().unwrap_or(' '));
    let postgres = dialect == Dialect::Postgres;
    match c {
        c if is_space(c) => Ok((TokenKind::Space, run(text, is_space))),
        '-' if next == '-' => Ok((TokenKind::Comment, line_comment(text, dialect))),
        '/' if next == '*' => block_comment(text, dialect),
        '\'' => string(text, 0),
        'e' | 'E' if postgres && next == '\'' => escaped(text),
        'b' | 'B' | 'n' | 'N' if postgres && next == '\'' => string(text, 1),
        'x' | 'X' if next == '\'' => string(text, 1),
        'u' | 'U' if postgres && text[1..].starts_with("&'") => string(text, 2),
        'u' | 'U' if postgres && text[1..].starts_with("&\"") => quoted(text, 2, '"'),
        '"' => quoted(text, 0, '"'),
        '`' if !postgres => quoted(text, 0, '`'),
        '[' if !postgres => {
            let end = text.find(']').ok_or("a name in brackets")?;
            Ok((TokenKind::Quoted, end + 1))
        }
        '$' if postgres => dollar(text),
        c if begins_word(c) => Ok((TokenKind::Word, run(text, in_word))),
        c if c.is_ascii_digit() || (c == '.' && next.is_ascii_digit()) => Ok((TokenKind::Number, number(text))),
        '?' if !postgres => Ok((TokenKind::Parameter, 1 + run(&text[1..], |c| c.is_ascii_digit()))),
        '$' | '@' | ':' | '#' if !postgres && in_word(next) => Ok((TokenKind::Parameter, 1 + run(&text[1..], in_word))),
        // `:name` is no SQL of PostgreSQL's, but what a backfill's statement is written with. An array's `[a:b]` reads
        // the same; in `[a:E'b']` a string begins.
        ':' if postgres && begins_word(next) => {
            let length = 1 + run(&text[1..], in_word);
            let is_prefix = text[length..].starts_with(['\'', '"', '&']);
            Ok(if is_prefix {
                (TokenKind::Symbol, 1)
            } else {
                (TokenKind::Parameter, length)
            })
        }
        ':' if matches!(next, ':' | '=') => Ok((TokenKind::Symbol, 2)),
        c if is_operator(c) && postgres => Ok((TokenKind::Symbol, postgres_operator(text))),
        c if is_operator(c) => Ok((TokenKind::Symbol, sqlite_operator(text))),
        c => Ok((TokenKind::Symbol, c.len_utf8())),
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' | '\u{feff}')
}

fn begins_word(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic() || (!c.is_ascii() && c != '\u{feff}')
}

/// A byte order mark is space only where a token may begin.
fn in_word(c: char) -> bool {
    c == '_' || c == '$' || c.is_ascii_alphanumeric() || !c.is_ascii()
}

fn is_operator(c: char) -> bool {
    "+-*/<>=~!@#%^&|`?".contains(c)
}

/// How long the part is whose characters all are so.
fn run(text: &str, so: impl Fn(char) -> bool) -> usize {
    text.find(|c| !so(c)).unwrap_or(text.len())
}

/// Signs that stand together, up to where a comment begins: `> =` is not `>=`. One that is made of the standard's signs
/// alone does not end in `+` or `-`: `a=-1` is `a = -1` (4.1.3, Operators).
fn postgres_operator(text: &str) -> usize {
    let mut signs = &text[..run(text, is_operator)];
    for comment in ["--", "/*"] {
        signs = signs.split_once(comment).map_or(signs, |(before, _)| before);
    }
    if !signs.contains(|c| "~!@#%^&|`?".contains(c)) {
        signs = signs.trim_end_matches(['+', '-']);
    }
    signs.len().max(1)
}

fn sqlite_operator(text: &str) -> usize {
    let known = ["->>", "->", "||", "<=", "<>", "<<", ">=", ">>", "==", "!="];
    known
        .iter()
        .find(|known| text.starts_with(**known))
        .map_or(1, |known| known.len())
}

/// To the end of the line, which PostgreSQL sees at a carriage return as well.
fn line_comment(text: &str, dialect: Dialect) -> usize {
    let ends = |c| c == '\n' || (c == '\r' && dialect == Dialect::Postgres);
    text.find(ends).unwrap_or(text.len())
}

/// Those of PostgreSQL's may hold comments.
fn block_comment(text: &str, dialect: Dialect) -> First {
    let (mut depth, mut at) = (0_usize, 0);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"/*") if depth == 0 || dialect == Dialect::Postgres => {
                depth += 1;
                at += 2;
            }
            Some(b"*/") => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return Ok((TokenKind::Comment, at));
                }
            }
            _ => at += 1,
        }
    }
    match dialect {
        Dialect::Postgres => Err("a comment"),
        // SQLite takes the end of the text for the end of the comment.
        Dialect::Sqlite => Ok((TokenKind::Comment, text.len())),
    }
}

/// A string whose quote stands after `prefix` bytes.
fn string(text: &str, prefix: usize) -> First {
    let length = until(text, prefix, '\'', false).ok_or("a string")?;
    Ok((TokenKind::Text, length))
}

/// A string with escapes, all parts of it: the next line may go on with it, as `'…'`, in which a backslash still escapes.
/// Without escapes each part reads by itself.
fn escaped(text: &str) -> First {
    let mut length = until(text, 1, '\'', true).ok_or("a string")?;
    while let Some(gap) = to_next_part(&text[length..]) {
        length += gap;
        length += until(&text[length..], 0, '\'', true).ok_or("a string")?;
    }
    Ok((TokenKind::Text, length))
}

/// How far it is to the next part of a string: white space with a line end in it, and comments up to line ends.
fn to_next_part(text: &str) -> Option<usize> {
    let (mut at, mut next_line) = (0, false);
    loop {
        let space = run(&text[at..], is_space);
        next_line |= text[at..at + space].contains(['\n', '\r']);
        at += space;
        if !text[at..].starts_with("--") {
            return (next_line && text[at..].starts_with('\'')).then_some(at);
        }
        at += line_comment(&text[at..], Dialect::Postgres);
    }
}

fn quoted(text: &str, prefix: usize, quote: char) -> First {
    let length = until(text, prefix, quote, false).ok_or("a name in quotes")?;
    Ok((TokenKind::Quoted, length))
}

/// Where a quotation ends. A quote that is written twice is part of it; with `escapes`, so is one after a backslash.
fn until(text: &str, prefix: usize, quote: char, escapes: bool) -> Option<usize> {
    let mut chars = text.char_indices().skip(prefix + 1).peekable();
    while let Some((at, c)) = chars.next() {
        if escapes && c == '\\' {
            chars.next();
        } else if c == quote {
            match chars.peek() {
                Some((_, again)) if *again == quote => chars.next(),
                _ => return Some(at + 1),
            };
        }
    }
    None
}

/// `$1`, `$tag$…$tag$`, or the sign by itself.
fn dollar(text: &str) -> First {
    let tag = 1 + run(&text[1..], |c| in_word(c) && c != '$');
    let begins_with_digit = text[1..].starts_with(|c: char| c.is_ascii_digit());
    if begins_with_digit {
        return Ok((TokenKind::Parameter, 1 + run(&text[1..], |c| c.is_ascii_digit())));
    }
    if !text[tag..].starts_with('$') {
        return Ok((TokenKind::Symbol, 1));
    }
    let tag = &text[..=tag];
    let end = text[tag.len()..].find(tag).ok_or("a string between dollar signs")?;
    Ok((TokenKind::Dollar, tag.len() + end + tag.len()))
}

/// With an exponent's sign, so that `1e-5` is not `1e - 5`.
fn number(text: &str) -> usize {
    let mut length = run(text, |c| (in_word(c) && c != '$') || c == '.');
    // `1..9` is two numbers.
    if let Some(dots) = text[..length].find("..").filter(|dots| *dots > 0) {
        return dots;
    }
    let exponent = text[..length].ends_with(['e', 'E']) && !text.starts_with("0x") && !text.starts_with("0X");
    if exponent && text[length..].starts_with(['+', '-']) {
        let digits = run(&text[length + 1..], |c| c.is_ascii_digit());
        if digits > 0 {
            length += 1 + digits;
        }
    }
    length
}

/// The line that a byte lies on, from 1.
pub fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())]
        .split(|byte| *byte == b'\n')
        .count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds(text: &str, dialect: Dialect) -> Vec<(TokenKind, &str)> {
        let found = tokens(text, dialect).unwrap();
        found
            .iter()
            .filter(|t| t.kind != TokenKind::Space)
            .map(|t| (t.kind, t.text))
            .collect()
    }

    #[test]
    fn strings_names_and_comments_are_told_apart() {
        use TokenKind::*;
        for (text, expected) in [
            ("'it''s'", vec![(Text, "'it''s'")]),
            (r"E'it\'s' x", vec![(Text, r"E'it\'s'"), (Word, "x")]),
            (r"'\' x", vec![(Text, r"'\'"), (Word, "x")]),
            ("u&'a' U&\"b\"", vec![(Text, "u&'a'"), (Quoted, "U&\"b\"")]),
            ("X'00' b'1'", vec![(Text, "X'00'"), (Text, "b'1'")]),
            ("\"a\"\"b\"", vec![(Quoted, "\"a\"\"b\"")]),
            ("/* a /* b */ c */ d", vec![(Comment, "/* a /* b */ c */"), (Word, "d")]),
            ("-- a;'\nb", vec![(Comment, "-- a;'"), (Word, "b")]),
            ("$$ ; ' $$", vec![(Dollar, "$$ ; ' $$")]),
            ("$a$ $$ $b$ $a$", vec![(Dollar, "$a$ $$ $b$ $a$")]),
            ("$1 a$b$", vec![(Parameter, "$1"), (Word, "a$b$")]),
            (
                "1e-5 1.5 .5 1-5",
                vec![
                    (Number, "1e-5"),
                    (Number, "1.5"),
                    (Number, ".5"),
                    (Number, "1"),
                    (Symbol, "-"),
                    (Number, "5"),
                ],
            ),
            ("1..9", vec![(Number, "1"), (Symbol, "."), (Number, ".9")]),
            ("a>=b", vec![(Word, "a"), (Symbol, ">="), (Word, "b")]),
            ("a> =b", vec![(Word, "a"), (Symbol, ">"), (Symbol, "="), (Word, "b")]),
            (
                "a+--b\n1",
                vec![(Word, "a"), (Symbol, "+"), (Comment, "--b"), (Number, "1")],
            ),
            (
                "a::int a[1]",
                vec![
                    (Word, "a"),
                    (Symbol, "::"),
                    (Word, "int"),
                    (Word, "a"),
                    (Symbol, "["),
                    (Number, "1"),
                    (Symbol, "]"),
                ],
            ),
            ("BETWEEN :first", vec![(Word, "BETWEEN"), (Parameter, ":first")]),
            (
                r":E'\';' :U&'a'",
                vec![(Symbol, ":"), (Text, r"E'\';'"), (Symbol, ":"), (Text, "U&'a'")],
            ),
            ("größe", vec![(Word, "größe")]),
            ("-- a\rb", vec![(Comment, "-- a"), (Word, "b")]),
            (
                "a=-1 b||-c @-d",
                vec![
                    (Word, "a"),
                    (Symbol, "="),
                    (Symbol, "-"),
                    (Number, "1"),
                    (Word, "b"),
                    (Symbol, "||-"),
                    (Word, "c"),
                    (Symbol, "@-"),
                    (Word, "d"),
                ],
            ),
            ("1$$;$$", vec![(Number, "1"), (Dollar, "$$;$$")]),
            (
                "E'a' -- ;'\n'b\\';' -- c\r'd'",
                vec![(Text, "E'a' -- ;'\n'b\\';' -- c\r'd'")],
            ),
            (r"E'a' '\' b", vec![(Text, "E'a'"), (Text, r"'\'"), (Word, "b")]),
        ] {
            assert_eq!(kinds(text, Dialect::Postgres), expected, "{text}");
        }
        for (text, expected) in [
            ("[a;b] `c``d`", vec![(Quoted, "[a;b]"), (Quoted, "`c``d`")]),
            ("/* a /* b */ c", vec![(Comment, "/* a /* b */"), (Word, "c")]),
            (
                "?1 :a @b $c ?",
                vec![
                    (Parameter, "?1"),
                    (Parameter, ":a"),
                    (Parameter, "@b"),
                    (Parameter, "$c"),
                    (Parameter, "?"),
                ],
            ),
            ("x /* to the end", vec![(Word, "x"), (Comment, "/* to the end")]),
            (r"E'a\'", vec![(Word, "E"), (Text, r"'a\'")]),
            ("-- a\rb", vec![(Comment, "-- a\rb")]),
            (
                "a->>-1||~b?2c",
                vec![
                    (Word, "a"),
                    (Symbol, "->>"),
                    (Symbol, "-"),
                    (Number, "1"),
                    (Symbol, "||"),
                    (Symbol, "~"),
                    (Word, "b"),
                    (Parameter, "?2"),
                    (Word, "c"),
                ],
            ),
            ("\u{feff}a\u{feff}", vec![(Word, "a\u{feff}")]),
        ] {
            assert_eq!(kinds(text, Dialect::Sqlite), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_closed_is_said_with_its_place() {
        for (text, what, at) in [
            ("a 'b", "a string", 2),
            ("a \"b", "a name in quotes", 2),
            ("a /* b /* c */", "a comment", 2),
            ("a $x$ b $y$", "a string between dollar signs", 2),
        ] {
            assert_eq!(tokens(text, Dialect::Postgres), Err(Unclosed { what, at }), "{text}");
        }
        assert_eq!(tokens("a [b", Dialect::Sqlite).unwrap_err().what, "a name in brackets");
        assert_eq!(line_of("a\nb\r\nc", 5), 3);
    }

    proptest! {
        #[test]
        fn tokens_together_are_the_text(text in r"[-a-z0-9'\x22$/* \n;:.\\\[\]`?@éE]{0,40}") {
            for dialect in [Dialect::Postgres, Dialect::Sqlite] {
                if let Ok(found) = tokens(&text, dialect) {
                    let together: String = found.iter().map(|token| token.text).collect();
                    prop_assert_eq!(&together, &text);
                    prop_assert!(found.iter().all(|token| !token.text.is_empty()));
                }
            }
        }
    }
}
