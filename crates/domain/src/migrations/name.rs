//! What tables, columns and the like are called.

use std::fmt;

use super::token::{Dialect, Token, TokenKind};

/// A name as a statement writes it, which compares as the database does: PostgreSQL takes a name without quotes for one
/// in lower case, SQLite knows no case at all. A schema that is not named is `public`, or with SQLite `main`.
#[derive(Debug, Clone)]
pub struct Name {
    written: String,
    schema: Option<String>,
    local: String,
}

impl Name {
    /// From its parts, the last of which is its own. `None` without any.
    pub(super) fn from_parts(parts: &[&Token<'_>], dialect: Dialect) -> Option<Self> {
        let (last, before) = parts.split_last()?;
        let written: Vec<&str> = parts.iter().map(|part| part.text).collect();
        let default = match dialect {
            Dialect::Postgres => "public",
            Dialect::Sqlite => "main",
        };
        let schema = before.last().map(|token| fold(token, dialect));
        Some(Self {
            written: written.join("."),
            schema: schema.filter(|schema| schema != default),
            local: fold(last, dialect),
        })
    }

    /// Its own part, as the database compares it.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// Its schema's name as the database compares it, unless that is the usual one.
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// What it is called after `ALTER TABLE … RENAME TO`: in the schema that it was in.
    pub(super) fn renamed(&self, to: &Self) -> Self {
        Self {
            schema: self.schema.clone(),
            ..to.clone()
        }
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.local == other.local && self.schema == other.schema
    }
}

impl Eq for Name {}

/// As it is written.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// A name's part as the database compares it, without its quotes.
pub(super) fn fold(token: &Token<'_>, dialect: Dialect) -> String {
    if token.kind != TokenKind::Quoted {
        return token.text.to_ascii_lowercase();
    }
    let quotation = token.text.trim_start_matches(['U', 'u', '&']);
    let quote = quotation.get(..1).unwrap_or_default();
    let inside = quotation.get(1..quotation.len().saturating_sub(1)).unwrap_or_default();
    let plain = inside.replace(&quote.repeat(2), quote);
    match dialect {
        Dialect::Postgres => plain,
        Dialect::Sqlite => plain.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::cursor::Cursor;
    use super::super::token::tokens;
    use super::*;

    fn name(text: &str, dialect: Dialect) -> Name {
        let tokens = tokens(text, dialect).unwrap();
        Cursor::new(&tokens, dialect).name().unwrap()
    }

    #[test]
    fn names_compare_as_the_database_does() {
        for (dialect, one, two, same) in [
            (Dialect::Postgres, "Users", "users", true),
            (Dialect::Postgres, "\"Users\"", "users", false),
            (Dialect::Postgres, "\"users\"", "USERS", true),
            (Dialect::Postgres, "public.users", "users", true),
            (Dialect::Postgres, "app.users", "users", false),
            (Dialect::Postgres, "db.App.users", "app.users", true),
            (Dialect::Postgres, "\"a\"\"b\"", "\"a\"\"b\"", true),
            (Dialect::Sqlite, "\"Users\"", "[users]", true),
            (Dialect::Sqlite, "main.`Users`", "USERS", true),
            (Dialect::Sqlite, "temp.users", "users", false),
        ] {
            assert_eq!(name(one, dialect) == name(two, dialect), same, "{one} {two}");
        }
        let quoted = name("App.\"A\"\"b\"", Dialect::Postgres);
        assert_eq!((quoted.schema(), quoted.local()), (Some("app"), "A\"b"));
        assert_eq!(quoted.to_string(), "App.\"A\"\"b\"");
    }
}
