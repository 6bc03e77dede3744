//! How the history of migrations is stored, in SQL that both databases read alike: what differs, each says in its
//! `migrator`. Written with literals, since it runs on bare connections, beside whatever a migration may have done to them.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use anteroom_domain::Timestamp;
use anteroom_domain::migrations::{Catalogue, Past, Run, Runner, Scope, SourceFile, Version, Walk};
use anteroom_ports::migrations::{MigrationFault, MigrationResult, Range, SqlFault};
use include_dir::Dir;
use serde::Deserialize;

use crate::migrator::{micros_of, row_of, time};

#[path = "migrations/source.rs"]
mod source;

pub use source::DieselMigrations;

/// The first migration of Anteroom's own, by which its schema is known.
const FIRST_OWN: &str = "20261120000001";

/// The tables that a scope's history is kept in.
#[derive(Debug, Clone)]
pub(crate) struct Tables {
    /// With the schema it lies in, where there are such.
    pub(crate) versions: String,
    pub(crate) history: String,
    pub(crate) scope: Scope,
}

/// Columns of the history, but for its identifier and the catalogue.
const COLUMNS: [&str; 21] = [
    "version",
    "name",
    "direction",
    "outcome",
    "exact_checksum",
    "normal_checksum",
    "started_at",
    "finished_at",
    "by_user",
    "host",
    "pid",
    "tool_version",
    "db_role",
    "total",
    "statements",
    "begun",
    "walked_to",
    "fingerprint",
    "error",
    "row_count",
    "ms",
];

impl Tables {
    /// Those of a scope; `schema` is quoted, where there are such.
    pub(crate) fn new(scope: Scope, schema: Option<&str>) -> Self {
        let prefix = schema.map_or_else(String::new, |schema| format!("{schema}."));
        let (versions, history) = match scope {
            // Diesel's own, as it was before there was a history: an older release finds what it knows.
            Scope::Own => ("__diesel_schema_migrations", "__anteroom_schema_history"),
            Scope::Application => ("__anteroom_app_versions", "__anteroom_app_history"),
        };
        Self {
            versions: format!("{prefix}{versions}"),
            history: format!("{prefix}{history}"),
            scope,
        }
    }

    /// Makes both tables, if they are not there. `id`, `integer` and `moment` are types.
    pub(crate) fn create(&self, id: &str, integer: &str, moment: &str) -> [String; 2] {
        let Self { versions, history, .. } = self;
        [
            format!(
                "CREATE TABLE IF NOT EXISTS {versions} (version VARCHAR(50) PRIMARY KEY NOT NULL, run_on TIMESTAMP NOT \
                 NULL DEFAULT CURRENT_TIMESTAMP)"
            ),
            format!(
                "CREATE TABLE IF NOT EXISTS {history} (id {id}, version text NOT NULL, name text NOT NULL, direction text \
                 NOT NULL, outcome text NOT NULL, exact_checksum text NOT NULL, normal_checksum text NOT NULL, started_at {moment} \
                 NOT NULL, finished_at {moment}, by_user text NOT NULL, host text NOT NULL, pid {integer} NOT NULL, \
                 tool_version text NOT NULL, db_role text NOT NULL, total {integer} NOT NULL, row_count {integer} NOT \
                 NULL, ms {integer} NOT NULL, statements text NOT NULL, begun {integer}, walked_to text, fingerprint text, catalogue text, \
                 error text)"
            ),
        ]
    }

    /// One text for each version that is applied.
    pub(crate) fn select_versions(&self) -> String {
        format!("SELECT version FROM {}", self.versions)
    }

    /// One JSON object for each run, oldest first.
    pub(crate) fn select_runs(&self) -> String {
        let fields: Vec<String> = COLUMNS
            .iter()
            .filter(|column| !["row_count", "ms"].contains(column))
            .map(|column| match *column {
                "started_at" | "finished_at" => format!("'{column}', {}", micros_of(column)),
                column => format!("'{column}', {column}"),
            })
            .collect();
        format!(
            "SELECT {} FROM {} ORDER BY id",
            row_of(&fields.join(", ")),
            self.history
        )
    }

    /// The catalogue as the last run found it.
    pub(crate) fn select_catalogue(&self) -> String {
        let history = &self.history;
        format!("SELECT catalogue FROM {history} WHERE catalogue IS NOT NULL ORDER BY id DESC LIMIT 1")
    }

    /// Writes a run; answers its identifier.
    pub(crate) fn write_run(&self, run: &Run, catalogue: Option<&Catalogue>) -> MigrationResult<String> {
        let values = values(run)?;
        let history = &self.history;
        let catalogue = catalogue
            .map(|catalogue| serde_json::to_string(catalogue).map(|json| literal(&json)))
            .transpose()
            .map_err(|e| unreadable(&e))?;
        if run.id == 0 {
            return Ok(format!(
                "INSERT INTO {history} ({}, catalogue) VALUES ({}, {}) RETURNING {}",
                COLUMNS.join(", "),
                values.join(", "),
                catalogue.as_deref().unwrap_or("NULL"),
                crate::migrator::ID_AS_TEXT
            ));
        }
        let set: Vec<String> = COLUMNS
            .iter()
            .zip(&values)
            .map(|(column, value)| format!("{column} = {value}"))
            .collect();
        let catalogue = catalogue.map_or_else(String::new, |catalogue| format!(", catalogue = {catalogue}"));
        Ok(format!(
            "UPDATE {history} SET {}{catalogue} WHERE id = {} RETURNING {}",
            set.join(", "),
            run.id,
            crate::migrator::ID_AS_TEXT
        ))
    }

    /// Forgets the catalogues of runs before one: only the last is ever compared with.
    pub(crate) fn forget_catalogues(&self, before: i64) -> String {
        let history = &self.history;
        format!("UPDATE {history} SET catalogue = NULL WHERE id < {before} AND catalogue IS NOT NULL")
    }

    /// Notes a version, or takes the note back.
    pub(crate) fn mark(&self, version: &Version, applied: bool) -> String {
        let versions = &self.versions;
        if applied {
            format!("INSERT INTO {versions} (version) VALUES ('{version}')")
        } else {
            format!("DELETE FROM {versions} WHERE version = '{version}'")
        }
    }

    /// Why an application's migrations are not run where Anteroom's own tables lie.
    pub(crate) fn refuse_own(&self, diesel_versions: &[String], way_out: &str) -> MigrationResult<()> {
        if self.scope == Scope::Application && diesel_versions.iter().any(|version| version == FIRST_OWN) {
            return Err(MigrationFault::Sql(SqlFault::new(format!(
                "Anteroom's own tables lie there, and an application's migrations could change them: {way_out}"
            ))));
        }
        Ok(())
    }
}

/// A run's columns, in the order of [`COLUMNS`].
fn values(run: &Run) -> MigrationResult<[String; 21]> {
    let number = |number: usize| number.to_string();
    let optional = |text: &Option<String>| text.as_deref().map_or_else(|| "NULL".into(), literal);
    let statements = serde_json::to_string(&run.statements).map_err(|e| unreadable(&e))?;
    Ok([
        literal(run.version.as_str()),
        literal(&run.name),
        literal(run.direction.as_str()),
        literal(run.outcome.as_str()),
        literal(&run.exact_checksum),
        literal(&run.normal_checksum),
        time(run.started_at),
        run.finished_at.map_or_else(|| "NULL".into(), time),
        literal(&run.runner.user),
        literal(&run.runner.host),
        run.runner.pid.to_string(),
        literal(&run.runner.tool_version),
        literal(&run.role),
        number(run.total),
        literal(&statements),
        run.begun.map_or_else(|| "NULL".into(), number),
        optional(&run.walked_to),
        optional(&run.fingerprint),
        optional(&run.error),
        run.rows().to_string(),
        run.ms().to_string(),
    ])
}

/// A run as [`Tables::select_runs`] answers it.
#[derive(Deserialize)]
struct RunRow {
    id: i64,
    version: String,
    name: String,
    direction: String,
    outcome: String,
    exact_checksum: String,
    normal_checksum: String,
    started_at: i64,
    finished_at: Option<i64>,
    by_user: String,
    host: String,
    pid: u32,
    tool_version: String,
    db_role: String,
    total: usize,
    statements: String,
    begun: Option<usize>,
    walked_to: Option<String>,
    fingerprint: Option<String>,
    error: Option<String>,
}

fn run(json: &str) -> Result<Run, Box<dyn std::error::Error>> {
    let row: RunRow = serde_json::from_str(json)?;
    Ok(Run {
        id: row.id,
        version: row.version.parse()?,
        name: row.name,
        direction: row.direction.parse()?,
        outcome: row.outcome.parse()?,
        exact_checksum: row.exact_checksum,
        normal_checksum: row.normal_checksum,
        started_at: Timestamp::from_microsecond(row.started_at)?,
        finished_at: row.finished_at.map(Timestamp::from_microsecond).transpose()?,
        runner: Runner {
            user: row.by_user,
            host: row.host,
            pid: row.pid,
            tool_version: row.tool_version,
        },
        role: row.db_role,
        total: row.total,
        statements: serde_json::from_str(&row.statements)?,
        begun: row.begun,
        walked_to: row.walked_to,
        fingerprint: row.fingerprint,
        error: row.error,
    })
}

/// What [`Tables::select_versions`] and [`Tables::select_runs`] answered.
pub(crate) fn past(versions: &[String], runs: &[String]) -> MigrationResult<Past> {
    Ok(Past {
        applied: parsed(versions)?,
        runs: runs
            .iter()
            .map(|json| run(json).map_err(|e| unreadable(&*e)))
            .collect::<Result<_, _>>()?,
    })
}

/// Versions as they are stored.
pub(crate) fn parsed(versions: &[String]) -> MigrationResult<Vec<Version>> {
    let parse = |text: &String| {
        text.parse().map_err(|_| MigrationFault::Corrupt {
            reason: format!("{text:?} is no version"),
        })
    };
    versions.iter().map(parse).collect()
}

/// What [`Tables::select_catalogue`] answered.
pub(crate) fn catalogue(json: Option<&String>) -> MigrationResult<Option<Catalogue>> {
    json.map(|json| serde_json::from_str(json).map_err(|e| unreadable(&e)))
        .transpose()
}

fn unreadable(error: &(dyn std::error::Error + 'static)) -> MigrationFault {
    MigrationFault::Corrupt {
        reason: error.to_string(),
    }
}

/// Asks for the smallest and the greatest of the next keys, as a JSON array of literals. `quote` makes a literal of a
/// value, `array` an array of texts.
pub(crate) fn walk_query(walk: &Walk, after: Option<&str>, batch: u32, quote: &str, array: &str) -> String {
    let Walk { table, key } = walk;
    // A row without a key is in no range; one that came first or last would end the walk.
    let after = after.map_or_else(String::new, |after| format!(" AND {key} > {after}"));
    // Not min and max, which not every type of key has.
    let keys = format!(
        "(SELECT {key} AS k FROM {table} WHERE {key} IS NOT NULL{after} ORDER BY {key} LIMIT {batch}) keys ORDER BY k"
    );
    format!(
        "SELECT {array}((SELECT {quote}(k) FROM {keys} LIMIT 1), (SELECT {quote}(k) FROM {keys} DESC LIMIT 1)) AS text"
    )
}

/// What [`walk_query`] answered.
pub(crate) fn range(json: Option<&str>) -> MigrationResult<Option<Range>> {
    let ends: (Option<String>, Option<String>) =
        serde_json::from_str(json.unwrap_or("[null, null]")).map_err(|e| unreadable(&e))?;
    let (Some(first), Some(last)) = ends else {
        return Ok(None);
    };
    Ok(Some(Range { first, last }))
}

/// A string as SQL. No database keeps a NUL in one.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\0', "\u{fffd}").replace('\'', "''"))
}

/// The files of a folder that was compiled in.
pub(crate) fn files(folder: &'static Dir<'static>) -> Vec<SourceFile> {
    folder
        .dirs()
        .flat_map(Dir::files)
        .filter_map(|file| {
            Some(SourceFile {
                path: file.path().to_str()?.to_owned(),
                bytes: file.contents().to_vec(),
            })
        })
        .collect()
}

/// How long to wait before asking for the lock again: a few milliseconds at first, at most 120, and never the same, so that
/// those who start together do not ask together.
pub(crate) fn pause(asked: u32) -> Duration {
    let at_most = (4_u64 << asked.min(5)).min(100);
    Duration::from_millis(at_most + RandomState::new().hash_one(asked) % at_most.max(20))
}
