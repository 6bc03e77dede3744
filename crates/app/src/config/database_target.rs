//! Which database a `database.url` means.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, de};

/// The database to use.
#[derive(Debug, Clone)]
pub enum DatabaseTarget {
    /// An embedded SQLite database: the path of its file, absolute or relative to the working directory.
    Sqlite(PathBuf),
    /// A PostgreSQL server: the whole URL, which may hold a password.
    Postgres(SecretString),
}

/// What is accepted, for error messages.
pub(super) const EXPECTED: &str = "postgres://user:password@host/name, postgresql://…, \
    sqlite://relative/path or sqlite:///absolute/path";

impl DatabaseTarget {
    /// Reads a database URL; `None` if it is none of the accepted forms.
    pub fn parse(url: &str) -> Option<Self> {
        if let Some(path) = url.strip_prefix("sqlite://") {
            // Parameters would silently become part of the file's name.
            let is_path = !path.is_empty() && !path.ends_with('/') && !path.contains(['?', '#']);
            return is_path.then(|| Self::Sqlite(PathBuf::from(path)));
        }
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))?;
        (!rest.is_empty()).then(|| Self::Postgres(SecretString::from(url)))
    }

    /// The URL without anything secret: a PostgreSQL URL loses its user, password and parameters.
    pub fn redacted(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite://{}", path.display()),
            Self::Postgres(url) => {
                let url = url.expose_secret();
                let rest = url.split_once("://").map_or("", |(_, rest)| rest);
                // A password may hold '/', '?' and '#' unescaped; what follows the last '@' does not.
                let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
                let host = host.split(['?', '#']).next().unwrap_or_default();
                format!("postgres://***@{host}")
            }
        }
    }
}

impl<'de> Deserialize<'de> for DatabaseTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let url = String::deserialize(deserializer)?;
        Self::parse(&url).ok_or_else(|| de::Error::custom(format!("expected {EXPECTED}")))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn sqlite(url: &str) -> Option<PathBuf> {
        match DatabaseTarget::parse(url)? {
            DatabaseTarget::Sqlite(path) => Some(path),
            DatabaseTarget::Postgres(_) => None,
        }
    }

    #[test]
    fn a_sqlite_path_is_relative_with_two_slashes_and_absolute_with_three() {
        assert_eq!(sqlite("sqlite://data/a.db").as_deref(), Some(Path::new("data/a.db")));
        assert_eq!(sqlite("sqlite:///data/a.db").as_deref(), Some(Path::new("/data/a.db")));
    }

    #[test]
    fn both_names_of_postgresql_are_taken_with_their_parameters() {
        for url in [
            "postgres://u:p@h/db",
            "postgresql://u:p@h:5432/db?sslmode=require&channel_binding=require",
            "postgres:///db?host=/run/postgresql",
        ] {
            let target = DatabaseTarget::parse(url).unwrap();
            assert!(matches!(&target, DatabaseTarget::Postgres(kept) if kept.expose_secret() == url));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for url in [
            "",
            "mysql://u@h/db",
            "data/a.db",
            "sqlite:a.db",
            "sqlite://",
            "sqlite://dir/",
            "sqlite://a.db?mode=rwc",
            "postgres://",
            "postgres",
        ] {
            assert!(DatabaseTarget::parse(url).is_none(), "{url}");
        }
    }

    #[test]
    fn the_redacted_form_keeps_host_and_name_only() {
        let target = DatabaseTarget::parse("postgresql://me:p@ss/w?rd@db.example:5432/app?password=x").unwrap();
        assert_eq!(target.redacted(), "postgres://***@db.example:5432/app");
        assert!(!format!("{target:?}").contains("p@ss"));
        assert_eq!(
            DatabaseTarget::parse("sqlite:///x.db").unwrap().redacted(),
            "sqlite:///x.db"
        );
    }
}
