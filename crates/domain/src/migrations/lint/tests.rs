//! The corpus: dangerous changes with the rules that must find them, and beside each the safe form. A section begins with
//! `--- <rules>`, `--- before`, `--- after` or `--- safe`, and what is said of the migration after a `|`.

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;

use super::super::{Options, SourceFile, actions, effect, read_folder};
use super::*;

/// A migration from its statements. Its way back does nothing, unless there is another.
fn migration(version: usize, up: &str, words: &str, dialect: Dialect) -> Migration {
    let script = |text: &str| Script::read(text, dialect).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let batch = words.contains("batch").then_some(100);
    Migration {
        version: version.to_string().parse().unwrap(),
        name: "case".into(),
        folder: format!("{version}_case"),
        options: Options {
            transaction: !words.contains("no transaction"),
            batch,
            ..Options::default()
        },
        up: script(up),
        down: Some(script("SELECT 1")),
    }
}

/// What is found in the first migration that is no `before`, and not allowed there.
fn found(sections: &[(&str, &str, &str)], dialect: Dialect) -> Vec<&'static str> {
    let made = sections.iter().enumerate();
    let made: Vec<Migration> = made
        .map(|(at, (_, words, up))| migration(at + 1, up, words, dialect))
        .collect();
    let place = sections.iter().take_while(|(head, ..)| *head == "before").count();
    let findings: Vec<Finding> = match &*made {
        [alone] => lint(alone, dialect),
        all => {
            let found = lint_folder(all, dialect).into_iter();
            found
                .filter(|(version, _)| *version == made[place].version)
                .map(|(_, finding)| finding)
                .collect()
        }
    };
    let open = findings.iter().filter(|finding| finding.suppressed.is_none());
    open.map(|finding| finding.rule).collect()
}

/// The corpus's cases: each is the sections up to its own, and those after it that are called `after`.
fn cases(text: &str) -> Vec<Vec<(&str, &str, &str)>> {
    let mut cases: Vec<Vec<(&str, &str, &str)>> = Vec::new();
    let mut open: Vec<(&str, &str, &str)> = Vec::new();
    for section in text.split("--- ").skip(1) {
        let (head, up) = section.split_once('\n').unwrap();
        let (head, words) = head.split_once('|').unwrap_or((head, ""));
        let section = (head.trim(), words, up);
        match section.0 {
            "before" => open.push(section),
            "after" => cases.last_mut().unwrap().push(section),
            _ => {
                open.push(section);
                cases.push(std::mem::take(&mut open));
            }
        }
    }
    cases
}

const CORPUS: [(Dialect, &str); 2] = [
    (Dialect::Postgres, include_str!("tests/postgres.sql")),
    (Dialect::Sqlite, include_str!("tests/sqlite.sql")),
];

#[test]
fn every_danger_of_the_corpus_is_found_and_no_safe_form() {
    let (mut dangers, mut safe) = (0, 0);
    let mut wrong = Vec::new();
    for (dialect, text) in CORPUS {
        for case in cases(text) {
            let (head, _, up) = case
                .iter()
                .find(|(head, ..)| !["before", "after"].contains(head))
                .unwrap();
            let mut expected: Vec<&str> = head.split(", ").collect();
            if *head == "safe" {
                expected.clear();
                safe += 1;
            } else {
                dangers += 1;
            }
            let mut found = found(&case, dialect);
            found.sort_unstable();
            expected.sort_unstable();
            if found != expected {
                wrong.push(format!(
                    "{}: expected {expected:?}, found {found:?}\n{up}",
                    dialect.name()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        dangers >= 110 && safe == dangers,
        "{dangers} dangers, {safe} safe forms"
    );
}

#[test]
fn every_rule_is_in_the_corpus_of_each_of_its_databases() {
    // These are about files rather than statements.
    let files = ["no-down", "empty-down", "empty-up"];
    // Those that hold of both, and say the same of both.
    let once = ["bad-suppression", "rebuild-loses-objects"];
    let mut names = BTreeSet::new();
    for rule in rules() {
        assert!(names.insert(rule.name), "{} is there twice", rule.name);
        for dialect in rule.dialects {
            let text = CORPUS
                .iter()
                .filter(|(of, _)| of == dialect || once.contains(&rule.name));
            let mut heads = text.flat_map(|(_, text)| cases(text)).flatten();
            let there = heads.any(|(head, ..)| head.split(", ").any(|name| name == rule.name));
            assert!(
                there || files.contains(&rule.name),
                "{} of {}",
                rule.name,
                dialect.name()
            );
        }
    }
    assert!(names.len() >= 37, "{} rules", names.len());
}

/// Anteroom's own migrations for a database.
fn own(dialect: Dialect) -> Vec<Migration> {
    let folder = match dialect {
        Dialect::Postgres => "postgres",
        Dialect::Sqlite => "sqlite",
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../migrations")
        .join(folder);
    let mut files = Vec::new();
    for migration in std::fs::read_dir(&root).unwrap() {
        let migration = migration.unwrap();
        for file in std::fs::read_dir(migration.path()).unwrap() {
            let file = file.unwrap();
            let path = file.path().strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            let bytes = std::fs::read(file.path()).unwrap();
            files.push(SourceFile { path, bytes });
        }
    }
    read_folder(&files, dialect).unwrap()
}

#[test]
fn nothing_is_found_in_the_own_history() {
    let mut needed = BTreeSet::new();
    let mut open = Vec::new();
    for dialect in [Dialect::Postgres, Dialect::Sqlite] {
        let migrations = own(dialect);
        assert!(migrations.len() >= 26);
        for (version, finding) in lint_own(&migrations, dialect) {
            needed.insert((version.to_string(), finding.rule));
            if finding.suppressed.is_none() {
                let place = format!(
                    "{} {version} {} line {}",
                    dialect.name(),
                    finding.file.name(),
                    finding.line
                );
                open.push(format!("{place}: {} ({})", finding.message, finding.rule));
            }
        }
    }
    assert!(open.is_empty(), "{}", open.join("\n"));
    for accepted in OWN_ACCEPTED {
        let there = needed.contains(&(accepted.version.to_owned(), accepted.rule));
        assert!(
            there,
            "{} of {} is accepted, and nothing was found",
            accepted.rule, accepted.version
        );
    }
}

fn rules_of(findings: &[Finding]) -> Vec<(&'static str, File, usize)> {
    let open = findings.iter().filter(|finding| finding.suppressed.is_none());
    open.map(|finding| (finding.rule, finding.file, finding.line)).collect()
}

#[test]
fn files_that_are_missing_or_empty_are_found() {
    let mut made = migration(1, "SELECT 1", "", Dialect::Postgres);
    made.down = None;
    assert_eq!(rules_of(&lint(&made, Dialect::Postgres)), [("no-down", File::Down, 1)]);
    made.options.irreversible = Some("what was there is not kept".into());
    assert_eq!(rules_of(&lint(&made, Dialect::Postgres)), []);

    let mut made = migration(1, "-- Nothing yet.", "", Dialect::Sqlite);
    assert_eq!(rules_of(&lint(&made, Dialect::Sqlite)), [("empty-up", File::Up, 1)]);
    made = migration(
        1,
        "-- lint:allow-file empty-down: what it adds may stay\nSELECT 1",
        "",
        Dialect::Sqlite,
    );
    made.down = Some(Script::read("-- Nothing to do.", Dialect::Sqlite).unwrap());
    let findings = lint(&made, Dialect::Sqlite);
    assert_eq!(findings[0].rule, "empty-down");
    assert_eq!(findings[0].suppressed.as_deref(), Some("what it adds may stay"));
}

#[test]
fn down_may_drop_what_up_has_made_but_keeps_nobody_waiting() {
    let mut made = migration(1, "ALTER TABLE orders ADD COLUMN note text", "", Dialect::Postgres);
    let down = "ALTER TABLE orders DROP COLUMN note;\n\nCREATE INDEX orders_at ON orders (at);";
    made.down = Some(Script::read(down, Dialect::Postgres).unwrap());
    let findings = lint(&made, Dialect::Postgres);
    assert_eq!(rules_of(&findings), [("index-not-concurrent", File::Down, 3)]);
}

#[test]
fn what_down_makes_anew_need_not_have_what_up_has_made() {
    let first = migration(
        1,
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, at INTEGER); CREATE INDEX orders_at ON orders (at)",
        "",
        Dialect::Sqlite,
    );
    let mut second = migration(2, "CREATE INDEX orders_by ON orders (id, at)", "", Dialect::Sqlite);
    let anew =
        "CREATE TABLE anew (id INTEGER PRIMARY KEY, at INTEGER); DROP TABLE orders; ALTER TABLE anew RENAME TO orders";
    let again = format!("{anew}; CREATE INDEX orders_at ON orders (at)");
    for (down, expected) in [(anew, 1), (again.as_str(), 0)] {
        second.down = Some(Script::read(down, Dialect::Sqlite).unwrap());
        let found = lint_folder(&[first.clone(), second.clone()], Dialect::Sqlite);
        assert_eq!(found.len(), expected, "{found:?}");
    }
    second.down = Some(Script::read(anew, Dialect::Sqlite).unwrap());
    let found = lint_folder(&[first, second], Dialect::Sqlite);
    assert!(found[0].1.message.contains("orders_at"), "{found:?}");
}

#[test]
fn a_finding_says_where_what_and_what_to_write_and_why_it_is_accepted() {
    let up = "SELECT 1;\n\n-- The list of the newest.\n-- lint:allow index-not-concurrent, drop-table: both are small\n\
              CREATE INDEX orders_at\n    ON shop.orders (at);\nDROP TABLE old;\n";
    let findings = lint(&migration(1, up, "", Dialect::Postgres), Dialect::Postgres);
    let [index, table] = &*findings else {
        panic!("{findings:?}")
    };
    assert_eq!(
        (index.rule, index.level, index.file, index.line),
        ("index-not-concurrent", Level::Danger, File::Up, 5)
    );
    assert!(index.message.contains("shop.orders"));
    assert!(index.safe_way.contains("CONCURRENTLY"));
    assert_eq!(index.suppressed.as_deref(), Some("both are small"));
    // What is allowed for one statement is not allowed for the next.
    assert_eq!((table.rule, table.line, &table.suppressed), ("drop-table", 7, &None));
}

#[test]
fn the_guide_has_every_rule_as_it_is_and_no_other() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides/migrations.md");
    let guide = std::fs::read_to_string(path).unwrap();
    let written: Vec<&str> = guide.lines().skip_while(|line| *line != "## The lint").collect();
    let written: Vec<&str> = written.into_iter().filter(|line| line.starts_with("| `")).collect();
    let row = |rule: &Rule| {
        let place = match rule.dialects {
            [Dialect::Postgres] => "PostgreSQL",
            [Dialect::Sqlite] => "SQLite",
            _ => "both",
        };
        let (name, level) = (rule.name, rule.level.word());
        format!("| `{name}` | {place} | {level} | {} | {} |", rule.what, rule.safe_way)
    };
    let meant: Vec<String> = rules().iter().map(row).collect();
    for row in &meant {
        assert!(
            written.contains(&&**row),
            "docs/guides/migrations.md has no line\n{row}"
        );
    }
    // `database.migrate` has a table too, further down.
    assert_eq!(
        written.iter().filter(|row| row.matches('|').count() == 6).count(),
        meant.len()
    );
}

/// Pieces of statements, put together at random.
fn soup() -> impl Strategy<Value = String> {
    let words: Vec<&str> = "CREATE ALTER DROP TABLE INDEX VIEW TRIGGER TYPE UNIQUE CONCURRENTLY IF NOT EXISTS ON ONLY t a.b \"C\" ( \
         ) , ; [ ] . :: = * $$ $1 'x' 1 ADD COLUMN CONSTRAINT CHECK PRIMARY KEY FOREIGN REFERENCES DEFAULT NULL GENERATED ALWAYS AS \
         IDENTITY STORED SET DATA TYPE USING VALIDATE VALID ATTACH PARTITION DETACH RENAME TO INSERT INTO SELECT FROM WHERE UPDATE \
         DELETE WITH VALUES TRUNCATE CASCADE DO BEGIN THEN LOOP IN MODE LOCK VACUUM FULL CLUSTER REINDEX REFRESH MATERIALIZED \
         COMMENT IS PRAGMA ROLE LOCAL RESET now numeric [x] DOMAIN ENUM VALUE -- /* lint:allow : \n"
        .split(' ')
        .collect();
    proptest::collection::vec(proptest::sample::select(words), 0..24).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn nothing_panics_whatever_the_statement(text in soup(), transaction: bool) {
        for dialect in [Dialect::Postgres, Dialect::Sqlite] {
            // As it would never come out of a file, and as it would.
            let statement = Statement { sql: text.clone(), line: 1, comments: vec![text.clone()] };
            prop_assert!(!actions(&statement, dialect).is_empty());
            effect(&statement, dialect);
            let script = Script { statements: vec![statement], exact_checksum: String::new(), normal_checksum: String::new() };
            let mut made = migration(1, "SELECT 1", if transaction { "" } else { "no transaction" }, dialect);
            made.up = Script::read(&text, dialect).unwrap_or_else(|_| script.clone());
            made.down = Some(script);
            let twice = [made.clone(), made];
            for (_, finding) in lint_folder(&twice, dialect) {
                prop_assert!(rules().iter().any(|rule| rule.name == finding.rule));
            }
        }
    }
}
