//! Databases of earlier releases, with rows in them.
//!
//! Every migration stands for a release that ended with it. What such a release could have written is made from its
//! schema: two rows for each table, one with everything in it and one with as little as is allowed, which refer to each
//! other by numbers.
#![expect(clippy::panic, reason = "a suite fails by panicking; that is what it is for")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use anteroom_domain::accounts::Role;
use anteroom_domain::migrations::{Back, Dialect, Runner};
use anteroom_domain::{ConversationId, SessionId, UserId};
use anteroom_ports::Store;
use anteroom_services::migrations::{UpOptions, own};
use anteroom_testkit::FixedClock;
use uuid::Uuid;

use super::{TestDatabase, begin};

/// What a column of one word says, where any other would be no word of ours, or be refused.
const WORDS: &[(&str, &str)] = &[
    ("algorithm", "EdDSA"),
    ("currency", "usd"),
    ("definition", "{}"),
    ("details", "{}"),
    ("end_reason", "logout"),
    ("hold_owner_kind", "user"),
    ("locale", "en"),
    ("outcome", "succeeded"),
    ("owner_kind", "user"),
    ("payload", "{}"),
    ("price_currency", "usd"),
    ("price_interval", "month"),
    ("role", "user"),
    ("terms", "{}"),
    ("transport", "token"),
];

/// What taking a migration back loses or changes beside the tables and columns that it brought: where, and why.
const LOSSES: &[(&str, &str, &str)] = &[
    (
        "000016",
        "reservations",
        "a call made with a key is kept as one with a session, since nothing else can be said there",
    ),
    ("000016", "usage_events", "as above"),
    (
        "000023",
        "billing_events",
        "what was not carried out yet is sent again by Stripe, to a release that knows no such state",
    ),
];

struct Column {
    table: String,
    name: String,
    kind: String,
    required: bool,
}

/// A row, by its columns.
type Row = BTreeMap<String, String>;

/// Rows, by their tables.
type Rows = BTreeMap<String, Vec<Row>>;

/// Between a row's values, and between its table and them: in none of them.
const SEPARATOR: char = '\u{1f}';

struct Database<'a> {
    test: &'a dyn TestDatabase,
    dialect: Dialect,
}

impl Database<'_> {
    /// Every table's columns; tables in the order in which they were made.
    async fn columns(&self) -> Vec<Column> {
        let sql = match self.dialect {
            Dialect::Sqlite => {
                r#"SELECT t.name || ' ' || p.name || ' ' || p."notnull" || ' ' || p.type AS text FROM sqlite_schema t JOIN
                   pragma_table_info(t.name) p WHERE t.type = 'table' AND t.name NOT LIKE '\_\_%' ESCAPE '\'
                   ORDER BY t.rowid, p.cid"#
            }
            Dialect::Postgres => {
                r"SELECT c.relname || ' ' || a.attname || ' ' || a.attnotnull::int || ' ' || format_type(a.atttypid, NULL)
                  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                  WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND c.relname NOT LIKE '\_\_%'
                  ORDER BY c.oid, a.attnum"
            }
        };
        let lines = self.test.texts(sql).await;
        let columns = lines.iter().map(|line| {
            let mut parts = line.splitn(4, ' ').map(ToOwned::to_owned);
            let mut part = || parts.next().unwrap();
            Column {
                table: part(),
                name: part(),
                required: part() == "1",
                kind: part(),
            }
        });
        columns.collect()
    }

    /// Everything in every table.
    async fn rows(&self) -> Rows {
        let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for column in self.columns().await {
            tables.entry(column.table).or_default().push(column.name);
        }
        let between = match self.dialect {
            Dialect::Sqlite => " || char(31) || ",
            Dialect::Postgres => " || chr(31) || ",
        };
        let queries = tables.iter().map(|(table, columns)| {
            let values = columns.iter().map(|column| match self.dialect {
                Dialect::Sqlite => format!("quote(\"{column}\")"),
                Dialect::Postgres => format!("quote_nullable(\"{column}\"::text)"),
            });
            let values: Vec<String> = values.collect();
            format!("SELECT '{table}'{between}{} AS text FROM {table}", values.join(between))
        });
        let queries: Vec<String> = queries.collect();
        let mut rows: Rows = tables.keys().map(|table| (table.clone(), Vec::new())).collect();
        if queries.is_empty() {
            return rows;
        }
        for line in self.test.texts(&queries.join(" UNION ALL ")).await {
            let (table, values) = line.split_once(SEPARATOR).unwrap();
            let row = tables[table]
                .iter()
                .cloned()
                .zip(values.split(SEPARATOR).map(ToOwned::to_owned))
                .collect();
            rows.get_mut(table).unwrap().push(row);
        }
        rows
    }

    /// Writes the row of each table that has this number, with what may be absent only if it is to be whole.
    async fn fill(&self, number: u32, whole: bool) {
        let mut tables: Vec<(String, Vec<Column>)> = Vec::new();
        for column in self.columns().await {
            match tables.last_mut() {
                Some((table, columns)) if *table == column.table => columns.push(column),
                _ => tables.push((column.table.clone(), vec![column])),
            }
        }
        let mut sql = String::new();
        for (table, columns) in &tables {
            let written: Vec<&Column> = columns.iter().filter(|column| whole || column.required).collect();
            let names: Vec<String> = written.iter().map(|column| format!("\"{}\"", column.name)).collect();
            let values: Vec<String> = written.iter().map(|column| self.value(column, number)).collect();
            let _ = write!(
                sql,
                "INSERT INTO {table} ({}) VALUES ({}); ",
                names.join(", "),
                values.join(", ")
            );
        }
        self.test.execute(&sql).await;
    }

    /// What a column says in the row of this number. All that refers to something does so to what has the same number.
    fn value(&self, column: &Column, number: u32) -> String {
        let bytes = |length: usize| {
            let mut hex = format!("{number:032x}").repeat(length / 16);
            hex.truncate(length * 2);
            match self.dialect {
                Dialect::Sqlite => format!("X'{hex}'"),
                Dialect::Postgres => format!("'\\x{hex}'"),
            }
        };
        let is_digest = ["digest", "fingerprint", "sealed"]
            .iter()
            .any(|word| column.name.contains(word))
            || (column.table == "login_failures" && column.name == "key");
        match column.kind.as_str() {
            "BLOB" if is_digest => bytes(32),
            "bytea" => bytes(32),
            "BLOB" => bytes(16),
            "uuid" => format!("'{}'", uuid(number)),
            "boolean" => "true".into(),
            "timestamp with time zone" => format!("timestamptz '2026-01-01T00:00:00Z' + interval '{number} hours'"),
            "INTEGER" | "bigint" | "integer" => match (self.dialect, column.name.ends_with("_at")) {
                (Dialect::Sqlite, true) => (1_767_225_600_000_000 + i64::from(number) * 3_600_000_000).to_string(),
                _ => number.to_string(),
            },
            "TEXT" | "text" => {
                let word = WORDS.iter().find(|(name, _)| *name == column.name);
                word.map_or_else(
                    || match column.name.as_str() {
                        "email" | "email_folded" => format!("'u{number}@example.com'"),
                        name => format!("'{name} {number}'"),
                    },
                    |(_, word)| format!("'{word}'"),
                )
            }
            kind => panic!("{}.{} is of the kind {kind}", column.table, column.name),
        }
    }
}

fn uuid(number: u32) -> Uuid {
    Uuid::from_u128(u128::from(number))
}

/// The same rows with these columns only, sorted.
fn narrowed(rows: &[Row], columns: &BTreeSet<&String>) -> Vec<Row> {
    let narrow = |row: &Row| -> Row {
        row.iter()
            .filter(|(name, _)| columns.contains(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    let mut rows: Vec<Row> = rows.iter().map(narrow).collect();
    rows.sort_unstable();
    rows
}

fn names(rows: &[Row]) -> BTreeSet<&String> {
    rows.first().map(|row| row.keys().collect()).unwrap_or_default()
}

fn migrations(store: &Arc<dyn Store>) -> anteroom_services::Migrations {
    let runner = Runner {
        user: "ada".into(),
        host: "here".into(),
        pid: 1,
        tool_version: "1".into(),
    };
    own(&**store, Arc::new(FixedClock::new()), runner).unwrap()
}

/// Every release writes two rows into every table it has. Each row comes through all migrations after it as it was, up to
/// the newest, and is read there. Then each migration is taken back and applied anew, and nothing but what it had brought
/// is lost, nor what is declared.
pub async fn what_every_earlier_release_wrote_stays(test: &dyn TestDatabase) {
    let store = test.open(std::time::Duration::from_secs(20)).await;
    let database = Database {
        test,
        dialect: store.schema().dialect(),
    };
    let migrations = migrations(&store);
    let versions: Vec<_> = migrations.files().iter().map(|file| file.version.clone()).collect();

    let mut number = 0;
    let mut written: Rows = Rows::new();
    for version in &versions {
        let options = UpOptions {
            to: Some(version.clone()),
            ..UpOptions::default()
        };
        migrations.up(&options).await.unwrap();
        let rows = database.rows().await;
        for (table, before) in &written {
            let there = rows.get(table).unwrap_or_else(|| panic!("{version} drops {table}"));
            let columns = names(before);
            let there: BTreeSet<Row> = narrowed(there, &columns).into_iter().collect();
            for row in narrowed(before, &columns) {
                assert!(
                    there.contains(&row),
                    "{version} changes {table}: {row:?} became {there:#?}"
                );
            }
        }
        for whole in [true, false] {
            number += 1;
            database.fill(number, whole).await;
        }
        written = database.rows().await;
    }
    let empty: Vec<&String> = written
        .iter()
        .filter(|(_, rows)| rows.is_empty())
        .map(|(table, _)| table)
        .collect();
    assert!(empty.is_empty() && written.len() > 30, "{empty:?} of {}", written.len());
    assert!(written["users"].len() == versions.len() * 2, "{:?}", written["users"]);
    // What migrations fill in of old rows.
    for row in &written["sessions"] {
        assert_eq!(row["authenticated_at"], row["created_at"], "{row:?}");
    }
    let folds = versions
        .iter()
        .position(|version| version.as_str().ends_with("000014"))
        .unwrap();
    let folded = written["users"].iter().filter(|row| row["name_folded"] == row["name"]);
    assert_eq!(folded.count(), folds, "{:#?}", written["users"]);
    is_read(&store, number).await;
    take_back_each(&database, &migrations, &versions).await;
}

/// The newest release reads what the others wrote.
async fn is_read(store: &Arc<dyn Store>, rows: u32) {
    let mut unit = begin(store).await;
    for number in 1..=rows {
        let id = UserId(uuid(number));
        let user = unit.user(id).await.unwrap().unwrap();
        assert_eq!(
            (user.email.as_str(), user.role),
            (&*format!("u{number}@example.com"), Role::User)
        );
        // The second and later releases have sessions, the third and later conversations.
        if number > 2 {
            let (session, of) = unit.session(SessionId(uuid(number))).await.unwrap().unwrap();
            assert_eq!((session.user_id, of.id), (id, id));
        }
        if number > 4 {
            let conversation = unit.conversation(id, ConversationId(uuid(number))).await.unwrap();
            assert_eq!(conversation.map(|found| found.user_id), Some(id));
        }
    }
}

async fn take_back_each(
    database: &Database<'_>,
    migrations: &anteroom_services::Migrations,
    versions: &[anteroom_domain::migrations::Version],
) {
    let mut declared: BTreeSet<(&str, &str)> = LOSSES.iter().map(|(version, table, _)| (*version, *table)).collect();
    for (place, version) in versions.iter().enumerate().rev() {
        let back = place
            .checked_sub(1)
            .map_or(Back::All, |place| Back::To(versions[place].clone()));
        let before = database.rows().await;
        migrations.down(&back).await.unwrap();
        let between = database.columns().await;
        let options = UpOptions {
            to: Some(version.clone()),
            ..UpOptions::default()
        };
        migrations.up(&options).await.unwrap();
        let after = database.rows().await;
        for (table, rows) in &before {
            let kept: BTreeSet<&String> = between
                .iter()
                .filter(|column| column.table == *table)
                .map(|column| &column.name)
                .collect();
            let same = narrowed(rows, &kept) == narrowed(&after[table], &kept);
            let lossy = declared
                .iter()
                .find(|(of, what)| version.as_str().ends_with(of) && what == table)
                .copied();
            match lossy {
                Some(lossy) => {
                    assert!(!same, "{version} loses nothing of {table}, though it is declared");
                    declared.remove(&lossy);
                }
                None => assert!(
                    kept.is_empty() || same,
                    "{version}, taken back and applied anew, changes {table}: {rows:#?} became {:#?}",
                    after[table]
                ),
            }
        }
        migrations.down(&back).await.unwrap();
    }
    assert!(declared.is_empty(), "{declared:?}");
    assert!(database.columns().await.is_empty());
}
