//! How identifiers and times are stored. One SQL type names both databases' types, so that one row struct serves
//! both; each store's `backend` says how the bytes look.

use anteroom_domain::Timestamp;
use anteroom_ports::StoreError;
use diesel::deserialize::FromSqlRow;
use diesel::expression::AsExpression;
use diesel::query_builder::QueryId;
use diesel::sql_types::SqlType;
use uuid::Uuid;

/// `uuid` on PostgreSQL, a blob of 16 bytes on SQLite; both sort by bytes, so UUIDv7 sorts by time.
#[derive(Debug, Clone, Copy, QueryId, SqlType)]
#[diesel(postgres_type(oid = 2950, array_oid = 2951), sqlite_type(name = "Binary"))]
pub struct SqlId;

/// `timestamptz` on PostgreSQL, microseconds since 1970 on SQLite.
#[derive(Debug, Clone, Copy, QueryId, SqlType)]
#[diesel(postgres_type(oid = 1184, array_oid = 1185), sqlite_type(name = "Long"))]
pub struct SqlTime;

/// An identifier of any kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, AsExpression, FromSqlRow)]
#[diesel(sql_type = SqlId)]
pub(crate) struct Id(pub(crate) Uuid);

/// A time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, AsExpression, FromSqlRow)]
#[diesel(sql_type = SqlTime)]
pub(crate) struct At(pub(crate) Timestamp);

/// People's text as it is stored: U+0000, which PostgreSQL cannot hold, becomes U+FFFD on both databases.
pub(crate) fn text(written: &str) -> String {
    written.replace('\0', "\u{FFFD}")
}

/// A word in the store that no version of Anteroom writes.
pub(crate) fn unknown_word(column: &str, word: &str) -> StoreError {
    StoreError::Corrupt {
        reason: format!("{column} holds the unknown word {word:?}"),
    }
}
