//! Tables, columns, indexes and foreign keys, in words that both databases share.

use anteroom_contract::store::migrations::{column_line, index_line, reference_line};
use tokio_postgres::{Client, Row};

const COLUMNS: &str = "
    SELECT t.relname::text, a.attname::text, format_type(a.atttypid, NULL), NOT a.attnotnull,
        array_position(k.conkey, a.attnum)::bigint
    FROM pg_class t
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_constraint k ON k.conrelid = t.oid AND k.contype = 'p'
    WHERE t.relnamespace = $1::text::regnamespace AND t.relkind = 'r' AND t.relname NOT LIKE '\\_\\_%'";

const INDEXES: &str = "
    SELECT t.relname::text, i.indisunique,
        (SELECT string_agg(a.attname, ', ' ORDER BY k.place)
            FROM unnest(i.indkey) WITH ORDINALITY k(number, place)
            JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.number)
    FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid
    WHERE t.relnamespace = $1::text::regnamespace AND NOT i.indisprimary AND t.relname NOT LIKE '\\_\\_%'";

const REFERENCES: &str = "
    SELECT t.relname::text, a.attname::text, r.relname || '.' || b.attname, c.confdeltype = 'c'
    FROM pg_constraint c
    JOIN pg_class t ON t.oid = c.conrelid
    JOIN pg_class r ON r.oid = c.confrelid
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = c.conkey[1]
    JOIN pg_attribute b ON b.attrelid = r.oid AND b.attnum = c.confkey[1]
    WHERE t.relnamespace = $1::text::regnamespace AND c.contype = 'f'";

/// What a schema holds, sorted.
pub async fn of(client: &Client, schema: &str) -> Vec<String> {
    let column = |row: &Row| {
        let kind = match row.get(2) {
            "uuid" | "bytea" => "bytes",
            "timestamp with time zone" | "bigint" | "integer" | "boolean" => "integer",
            other => other,
        };
        column_line(row.get(0), row.get(1), kind, row.get(3), row.get(4))
    };
    let index = |row: &Row| index_line(row.get(0), row.get(2), row.get(1));
    let reference = |row: &Row| reference_line(row.get(0), row.get(1), row.get(2), row.get(3));
    let mut lines = Vec::new();
    lines.extend(client.query(COLUMNS, &[&schema]).await.unwrap().iter().map(column));
    lines.extend(client.query(INDEXES, &[&schema]).await.unwrap().iter().map(index));
    lines.extend(
        client
            .query(REFERENCES, &[&schema])
            .await
            .unwrap()
            .iter()
            .map(reference),
    );
    lines.sort_unstable();
    lines
}
