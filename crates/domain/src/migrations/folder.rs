//! A folder of migrations: `<version>_<name>/up.sql`, `down.sql`, and `migration.toml` or Diesel's `metadata.toml`.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::statement::{Statement, exact_checksum, normal_checksum, split};
use super::token::{Dialect, TokenKind};

/// What a migration is known by: the digits before the first `_` of its folder's name, without hyphens, as Diesel has it.
/// Ordered as numbers, so that 10 comes after 9.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(String);

/// Why a text is no [`Version`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a version is made of digits, as `anteroom migrate status` shows it")]
pub struct InvalidVersion;

impl Version {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn number(&self) -> &str {
        self.0.trim_start_matches('0')
    }
}

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        let so = !digits.is_empty() && digits.len() <= 50 && digits.bytes().all(|byte| byte.is_ascii_digit());
        if so { Ok(Self(digits)) } else { Err(InvalidVersion) }
    }
}

impl TryFrom<String> for Version {
    type Error = InvalidVersion;

    fn try_from(text: String) -> Result<Self, InvalidVersion> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let (one, two) = (self.number(), other.number());
        // The last keeps `01` and `1` apart, which are the same number and therefore never in one folder.
        one.len()
            .cmp(&two.len())
            .then_with(|| one.cmp(two))
            .then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// How a migration is run: what its `migration.toml` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Whether all of it is one transaction.
    pub transaction: bool,
    /// Why it cannot be taken back, if it cannot.
    pub irreversible: Option<String>,
    /// How long a statement waits for a lock before it gives way to others and is tried again.
    pub lock_timeout: Option<Duration>,
    /// How many rows at once, if it is a backfill: its one statement is run for one range of keys after another.
    pub batch: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            transaction: true,
            irreversible: None,
            lock_timeout: None,
            batch: None,
        }
    }
}

/// One direction of a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// What is run, in order.
    pub statements: Vec<Statement>,
    /// SHA-256 of the file, in hexadecimal.
    pub exact_checksum: String,
    /// SHA-256 of what the server reads of it, in hexadecimal; see [`normal_checksum`].
    pub normal_checksum: String,
}

impl Script {
    /// Reads a file.
    pub fn read(text: &str, dialect: Dialect) -> Result<Self, super::SplitError> {
        let statements = split(text, dialect)?;
        Ok(Self {
            exact_checksum: exact_checksum(text),
            normal_checksum: normal_checksum(&statements, dialect),
            statements,
        })
    }
}

/// One change of the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// What it is known by.
    pub version: Version,
    /// The rest of its folder's name.
    pub name: String,
    /// Its folder's name.
    pub folder: String,
    /// How it is run.
    pub options: Options,
    /// What it does.
    pub up: Script,
    /// How it is taken back, if that can be done.
    pub down: Option<Script>,
}

/// A file of a folder of migrations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Below the folder, with `/` between its parts.
    pub path: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// What is wrong with a file, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct FolderError {
    /// Which.
    pub path: String,
    /// In words.
    pub reason: String,
}

/// Every migration of a folder, oldest first. Hidden files are left out. Of all files that are wrong each is named, since
/// nothing runs while one is: a file that is passed over is a change that some databases miss.
///
/// # Errors
/// Everything that is wrong.
pub fn read_folder(files: &[SourceFile], dialect: Dialect) -> Result<Vec<Migration>, Vec<FolderError>> {
    let mut errors = Vec::new();
    let mut folders: BTreeMap<&str, BTreeMap<&str, &[u8]>> = BTreeMap::new();
    for file in files {
        if file.path.split('/').any(|part| part.starts_with('.')) {
            continue;
        }
        match file.path.split_once('/') {
            Some((folder, name)) => {
                folders.entry(folder).or_default().insert(name, &file.bytes);
            }
            None => errors.push(FolderError {
                path: file.path.clone(),
                reason:
                    "is no migration, and would be passed over: migrations are folders called <version>_<name>, with \
                         an up.sql in each. Move it elsewhere, or begin its name with a dot"
                        .into(),
            }),
        }
    }
    let mut found: Vec<Migration> = Vec::new();
    for (folder, files) in folders {
        match read_migration(folder, &files, dialect) {
            Ok(migration) => found.push(migration),
            Err(mut wrong) => errors.append(&mut wrong),
        }
    }
    found.sort_by(|one, two| one.version.cmp(&two.version));
    for pair in found.windows(2) {
        if let [one, two] = pair
            && one.version.number() == two.version.number()
        {
            errors.push(FolderError {
                path: two.folder.clone(),
                reason: format!("has the version of {}: give the newer one a later version", one.folder),
            });
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// The version and the name of a folder, if it is called as one of a migration is.
fn named(folder: &str) -> Option<(Version, String)> {
    let (version, name) = folder.split_once('_')?;
    let simple = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let version = version.parse().ok()?;
    (!name.is_empty() && name.chars().all(simple)).then(|| (version, name.to_owned()))
}

/// The versions of a folder that is known to be right, oldest first, without a look into its files.
pub fn folder_versions(files: &[SourceFile]) -> Vec<Version> {
    let folders = files.iter().filter_map(|file| file.path.split_once('/'));
    let found: BTreeSet<Version> = folders.filter_map(|(folder, _)| Some(named(folder)?.0)).collect();
    found.into_iter().collect()
}

fn read_migration(
    folder: &str,
    files: &BTreeMap<&str, &[u8]>,
    dialect: Dialect,
) -> Result<Migration, Vec<FolderError>> {
    let mut errors = Vec::new();
    let mut wrong = |name: &str, reason: String| {
        let path = if name.is_empty() {
            folder.to_owned()
        } else {
            format!("{folder}/{name}")
        };
        errors.push(FolderError { path, reason });
    };
    let named = named(folder);
    if named.is_none() {
        wrong(
            "",
            "is not called <version>_<name>, such as 20261128120000_add_orders".into(),
        );
    }
    for name in files.keys() {
        if !["up.sql", "down.sql", "migration.toml", "metadata.toml"].contains(name) {
            wrong(
                name,
                "is not a file of a migration's: up.sql, down.sql, migration.toml".into(),
            );
        }
    }
    let mut script = |name: &str| {
        let bytes = files.get(name)?;
        let read = std::str::from_utf8(bytes)
            .map_err(|_| "is not UTF-8".to_owned())
            .and_then(|text| Script::read(text, dialect).map_err(|e| e.to_string()));
        read.map_err(|reason| wrong(name, reason)).ok()
    };
    let (up, down) = (script("up.sql"), script("down.sql"));
    let options = match read_options(files) {
        Ok(options) => options,
        Err((name, reason)) => {
            wrong(name, reason);
            Options::default()
        }
    };
    if !files.contains_key("up.sql") {
        wrong("", "has no up.sql".into());
    }
    if options.irreversible.is_some() && files.contains_key("down.sql") {
        wrong(
            "migration.toml",
            "says that it is irreversible, and there is a down.sql: keep one of them".into(),
        );
    }
    if let (Some(_), Some(up)) = (options.batch, &up)
        && let Err(reason) = backfill(up, dialect)
    {
        wrong("up.sql", reason);
    }
    match (errors.is_empty(), named, up) {
        (true, Some((version, name)), Some(up)) => Ok(Migration {
            version,
            name,
            folder: folder.to_owned(),
            options,
            up,
            down,
        }),
        _ => Err(errors),
    }
}

/// What a `migration.toml` may say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OptionsFile {
    transaction: Option<bool>,
    irreversible: Option<String>,
    lock_timeout: Option<String>,
    batch: Option<u32>,
}

/// Diesel's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DieselFile {
    run_in_transaction: Option<bool>,
}

fn read_options(files: &BTreeMap<&str, &[u8]>) -> Result<Options, (&'static str, String)> {
    let text = |name: &'static str| {
        let bytes = files.get(name)?;
        Some(std::str::from_utf8(bytes).map_err(|_| (name, "is not UTF-8".to_owned())))
    };
    let mut options = Options::default();
    match (text("migration.toml").transpose()?, text("metadata.toml").transpose()?) {
        (Some(_), Some(_)) => {
            let reason = "and metadata.toml are both there: write `transaction` into this one, and remove that";
            return Err(("migration.toml", reason.into()));
        }
        (None, None) => {}
        (None, Some(diesel)) => {
            let file: DieselFile = toml::from_str(diesel).map_err(|e| ("metadata.toml", e.to_string()))?;
            options.transaction = file.run_in_transaction.unwrap_or(true);
        }
        (Some(own), None) => {
            let wrong = |reason: String| ("migration.toml", reason);
            let file: OptionsFile = toml::from_str(own).map_err(|e| wrong(e.to_string()))?;
            options.transaction = file.transaction.unwrap_or(true);
            options.batch = file.batch;
            if file.batch == Some(0) {
                return Err(wrong("batch: how many rows at once, 1 at least".into()));
            }
            if let Some(reason) = file.irreversible {
                if reason.trim().is_empty() {
                    return Err(wrong("irreversible: say why".into()));
                }
                options.irreversible = Some(reason);
            }
            if let Some(text) = file.lock_timeout {
                options.lock_timeout = Some(duration(&text).ok_or_else(|| {
                    wrong(format!(
                        "lock_timeout: \"{text}\" is no duration, such as \"500ms\", \"5s\" or \"1m\""
                    ))
                })?);
            }
        }
    }
    Ok(options)
}

/// `500ms`, `5s` or `1m`: at least a millisecond, at most a day.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let ms = match text[digits..].trim() {
        "ms" => number,
        "s" => number.checked_mul(1_000)?,
        "m" => number.checked_mul(60_000)?,
        _ => return None,
    };
    (1..=86_400_000).contains(&ms).then(|| Duration::from_millis(ms))
}

/// A backfill's walk: over which table, by which column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    /// As the statement names it.
    pub table: String,
    /// The column before `BETWEEN :first AND :last`.
    pub key: String,
}

/// Reads the one statement of a backfill: `UPDATE <table> SET … WHERE <key> BETWEEN :first AND :last …`, or `DELETE`.
///
/// # Errors
/// What is wrong with it, and what to do.
pub fn backfill(up: &Script, dialect: Dialect) -> Result<Walk, String> {
    let wrong = || {
        "a migration with `batch` is one statement, UPDATE or DELETE, with `WHERE <key> BETWEEN :first AND :last`, <key> \
         being a unique column of its table"
            .to_owned()
    };
    let [statement] = &*up.statements else {
        return Err(wrong());
    };
    let tokens = statement.tokens(dialect);
    let is = |place: usize, word: &str| tokens.get(place).is_some_and(|token| token.is(word));
    let mut at = match () {
        () if is(0, "UPDATE") => 1,
        () if is(0, "DELETE") && is(1, "FROM") => 2,
        () => return Err(wrong()),
    };
    if is(at, "ONLY") {
        at += 1;
    }
    let name = |place: usize| {
        tokens
            .get(place)
            .filter(|token| matches!(token.kind, TokenKind::Word | TokenKind::Quoted))
    };
    let mut table = name(at).ok_or_else(wrong)?.text.to_owned();
    if tokens.get(at + 1).is_some_and(|token| token.is_symbol(".")) {
        table = format!("{table}.{}", name(at + 2).ok_or_else(wrong)?.text);
    }
    let parameter = |place: usize, name: &str| {
        tokens
            .get(place)
            .is_some_and(|token| token.kind == TokenKind::Parameter && token.text == name)
    };
    let places: Vec<usize> = (1..tokens.len())
        .filter(|at| {
            is(*at, "BETWEEN") && parameter(at + 1, ":first") && is(at + 2, "AND") && parameter(at + 3, ":last")
        })
        .collect();
    let parameters = tokens.iter().filter(|token| token.kind == TokenKind::Parameter).count();
    match *places {
        [between] if parameters == 2 => Ok(Walk {
            table,
            key: name(between - 1).ok_or_else(wrong)?.text.to_owned(),
        }),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[(&str, &str)]) -> Vec<SourceFile> {
        let file = |(path, text): &(&str, &str)| SourceFile {
            path: (*path).into(),
            bytes: text.as_bytes().to_vec(),
        };
        files.iter().map(file).collect()
    }

    fn read(list: &[(&str, &str)]) -> Result<Vec<Migration>, String> {
        read_folder(&files(list), Dialect::Postgres).map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            lines.join("\n")
        })
    }

    #[test]
    fn migrations_are_ordered_as_numbers() {
        let found = read(&[
            ("10_c/up.sql", "SELECT 1"),
            ("9_b/up.sql", "SELECT 1"),
            ("2026-11-28-000001_d/up.sql", "SELECT 1"),
            ("001_a/up.sql", "SELECT 1"),
            (".git/x", ""),
            ("9_b/.up.sql.swp", ""),
            (".gitkeep", ""),
        ])
        .unwrap();
        let versions: Vec<&str> = found.iter().map(|m| m.version.as_str()).collect();
        assert_eq!(versions, ["001", "9", "10", "20261128000001"]);
        let names = [
            ("9_b/up.sql", ""),
            ("9_b/down.sql", ""),
            ("2026-11-28-000001_d/up.sql", ""),
        ];
        let alone = folder_versions(&files(&names));
        assert_eq!(
            alone.iter().map(Version::as_str).collect::<Vec<_>>(),
            ["9", "20261128000001"]
        );
        assert_eq!((&*found[3].name, &*found[3].folder), ("d", "2026-11-28-000001_d"));
    }

    #[test]
    fn options_are_read_in_both_formats() {
        let found = read(&[
            ("1_a/up.sql", "SELECT 1"),
            ("1_a/metadata.toml", "run_in_transaction = false"),
            ("2_b/up.sql", "SELECT 1"),
            ("2_b/down.sql", "SELECT 2"),
            ("2_b/migration.toml", "transaction = false\nlock_timeout = \"500ms\""),
            (
                "3_c/up.sql",
                "UPDATE a.\"B\" SET c = 1 WHERE id BETWEEN :first AND :last AND c IS NULL",
            ),
            (
                "3_c/migration.toml",
                "batch = 500\nirreversible = \"what was there is not kept\"",
            ),
        ])
        .unwrap();
        assert_eq!(
            found[0].options,
            Options {
                transaction: false,
                ..Options::default()
            }
        );
        assert_eq!(found[1].options.lock_timeout, Some(Duration::from_millis(500)));
        assert!(found[1].down.is_some() && found[0].down.is_none());
        assert_eq!(found[2].options.batch, Some(500));
        assert_eq!(
            backfill(&found[2].up, Dialect::Postgres),
            Ok(Walk {
                table: "a.\"B\"".into(),
                key: "id".into()
            })
        );
    }

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        let errors = read(&[
            ("README.md", ""),
            ("v24__users/up.sql", "SELECT 1"),
            ("1_a/up.sql", "SELECT 'x"),
            ("1_a/notes.txt", ""),
            ("2_b/down.sql", "SELECT 1"),
            ("3_c/up.sql", "SELECT 1"),
            ("3_c/migration.toml", "transacton = false"),
            ("4_d/up.sql", "SELECT 1"),
            ("4_d/metadata.toml", "run_in_transaction = \"no\""),
            ("5_e/up.sql", "SELECT 1"),
            ("5_e/down.sql", "SELECT 1"),
            ("5_e/migration.toml", "irreversible = \"no\""),
            ("6_f/up.sql", "SELECT 1"),
            ("6_f/migration.toml", "lock_timeout = \"5\""),
            ("7_g/up.sql", "UPDATE a SET b = 1"),
            ("7_g/migration.toml", "batch = 10"),
            ("8_h/up.sql", "SELECT 1"),
            ("08_i/up.sql", "SELECT 1"),
            ("9_/up.sql", "SELECT 1"),
        ])
        .unwrap_err();
        for named in [
            "README.md: is no migration",
            "v24__users: is not called",
            "1_a/up.sql: line 1: a string is not closed",
            "1_a/notes.txt: is not a file of",
            "2_b: has no up.sql",
            "3_c/migration.toml: ",
            "unknown field `transacton`",
            "4_d/metadata.toml: ",
            "5_e/migration.toml: says that it is irreversible",
            "6_f/migration.toml: lock_timeout",
            "7_g/up.sql: a migration with `batch`",
            "08_i",
            "9_: is not called",
        ] {
            assert!(errors.contains(named), "{named} is not in\n{errors}");
        }
    }
}
