//! Security case G 69 (CVE-2026-42208, CVE-2026-42271): no statement for the database is built of what somebody sent, and no
//! program is started.

use std::collections::BTreeSet;

use super::{root, rust_files};

/// What takes SQL as text.
const TAKES_SQL: [&str; 12] = [
    "sql_query(",
    "sql(",
    "push_sql(",
    "batch_execute(",
    "execute_batch(",
    "simple_query(",
    ".query(",
    ".query_one(",
    ".query_opt(",
    ".query_raw(",
    ".execute_raw(",
    ".prepare(",
];

/// Texts that are no literals: file, how the argument begins, and why nothing of a caller's can be in it.
const BUILT: [(&str, &str, &str); 33] = [
    (
        "sql/migrations/source.rs",
        "&statement.sql",
        "a statement of a migration's file, which is part of the program",
    ),
    (
        "sql/sessions.rs",
        "query",
        "a count of seconds that the caller of `long_ago` writes",
    ),
    (
        "sql/billing/usage.rs",
        "&selection(",
        "names of columns, each by an enum's variant",
    ),
    (
        "sql/billing/usage.rs",
        "&grouping",
        "positions, and a limit that is a number",
    ),
    ("sql/billing/usage.rs", "&rebuilding()", "has no parameters"),
    ("sql/billing/revenue.rs", "STANDINGS", "a constant"),
    ("sql/billing/revenue.rs", "STANDINGS_FROM", "a constant"),
    ("sql/billing/revenue.rs", "CHANGES", "a constant"),
    (
        "sql/billing/revenue.rs",
        "&before",
        "names of columns, by the function before it",
    ),
    ("sql/billing/revenue.rs", "&after", "the same"),
    ("sql/billing/revenue.rs", "CONVERSIONS", "a constant"),
    ("sql/billing/revenue.rs", "TRIALS", "a constant"),
    ("sql/billing/revenue.rs", "MESSAGES", "a constant"),
    ("sql/billing/revenue.rs", "CONSUMED", "a constant"),
    (
        "postgres/src/migrator.rs",
        "sql",
        "literals of the callers in this file",
    ),
    (
        "postgres/src/migrator.rs",
        "&schema",
        "a schema's name, as the server has quoted it",
    ),
    ("postgres/src/migrator.rs", "&drop", "a name that was made up here"),
    ("postgres/src/migrator/session.rs", "statement, &[]", "a constant"),
    ("postgres/src/migrator/session.rs", "query", "a constant"),
    ("sqlite/src/migrator/session.rs", "&wait", "a number of milliseconds"),
    (
        "sqlite/src/migrator/session.rs",
        "&settings",
        "two words, and a number of milliseconds",
    ),
    ("postgres/src/listener.rs", "&name", "a constant"),
    (
        "postgres/src/listener.rs",
        "&listen",
        "what the database itself made of that constant: `anteroom_` and hexadecimal digits",
    ),
    (
        "postgres/src/connector.rs",
        "&settings",
        "timeouts of the configuration, which are numbers",
    ),
    (
        "postgres/src/backend.rs",
        "query",
        "hands on what it is given, with a time limit",
    ),
    (
        "postgres/src/backend.rs",
        "&sql",
        "the opening of a transaction, with the same timeouts",
    ),
    (
        "postgres/src/backend.rs",
        "format!( \"WITH seen",
        "a table and a column that the two functions before it name",
    ),
    ("postgres/src/backend.rs", "format!( \"WITH told", "a constant"),
    ("sqlite/src/migrator.rs", "sql", "the literal in the line before"),
    (
        "sqlite/src/backend.rs",
        "&format!(\"PRAGMA",
        "numbers and words of this file",
    ),
    ("sqlite/src/backend.rs", "settings", "one of the two literals before it"),
    ("sqlite/src/backend.rs", "found", "the literal in the line before"),
    ("sqlite/src/backend.rs", "&insert", "a count of seconds that is 0"),
];

/// What becomes part of the servers: no tests, and nothing that only tests and measurements use.
fn sources() -> Vec<(String, String)> {
    let files = rust_files(&root().join("crates")).into_iter().filter_map(|file| {
        let place = file.strip_prefix(root().join("crates")).unwrap().to_str()?.to_owned();
        let apart = ["/tests/", "/benches/", "/examples/"]
            .iter()
            .any(|part| place.contains(part));
        let apart = apart || ["contract/", "testkit/"].iter().any(|part| place.starts_with(part));
        let text = std::fs::read_to_string(&file).unwrap();
        let source = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned();
        (!apart && !place.ends_with("/tests.rs")).then_some((place, source))
    });
    files.collect()
}

/// The argument that begins there, with single spaces: up to the bracket that closes the call's.
fn argument(text: &str) -> String {
    let (mut depth, mut quoted, mut escaped) = (1, false, false);
    let end = text.char_indices().find(|(_, c)| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    let argument = end.map_or(text, |(at, _)| &text[..at]);
    argument.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether all of it is one literal.
fn is_literal(argument: &str) -> bool {
    let argument = argument.trim_end_matches(',');
    let inner = argument.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.is_some_and(|inner| !inner.replace("\\\\", "").replace("\\\"", "").contains('"'))
}

/// The arguments of everything in a line of code, or the lines after it, that takes SQL as text.
fn statements(source: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    // The type that the result has stands between the name and the bracket.
    let mut plain = source.to_owned();
    while let Some(at) = plain.find("sql::<") {
        let end = plain[at..].find(">(").map_or(plain.len(), |end| at + end + 1);
        plain.replace_range(at + "sql".len()..end, "");
    }
    for name in TAKES_SQL {
        for (at, _) in plain.match_indices(name) {
            let before = &plain[..at];
            let line = before.rsplit('\n').next().unwrap_or_default();
            let whole_word = name.starts_with('.') || !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
            if whole_word && !line.contains("//") && !before.ends_with("fn ") {
                let number = before.lines().count();
                found.push((number, argument(&plain[at + name.len()..])));
            }
        }
    }
    found
}

#[test]
fn g69_no_statement_is_built_of_what_somebody_sent() {
    let mut wrong = Vec::new();
    let mut excused = BTreeSet::new();
    // Nobody else knows the database, which `house` sees to.
    for (place, source) in sources()
        .into_iter()
        .filter(|(place, _)| place.starts_with("adapters/"))
    {
        for (number, argument) in statements(&source) {
            if argument.is_empty() || is_literal(&argument) {
                continue;
            }
            let known = BUILT.iter().position(|(file, begins, _)| {
                place == format!("adapters/{file}") && {
                    let rest = argument.strip_prefix(begins);
                    rest.is_some_and(|rest| rest.is_empty() || begins.contains('('))
                }
            });
            match known {
                Some(known) => _ = excused.insert(known),
                None => wrong.push(format!("crates/{place}:{number}: `{argument}` is no literal")),
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "bind it, or say in `BUILT` why not:\n{}",
        wrong.join("\n")
    );
    let unneeded: Vec<_> = (0..BUILT.len())
        .filter(|number| !excused.contains(number))
        .map(|n| BUILT[n])
        .collect();
    assert!(unneeded.is_empty(), "excuses that nothing needs any more: {unneeded:?}");
}

/// clippy's `disallowed-methods` say the same of what it can see.
#[test]
fn g69_no_program_is_started() {
    let names = [
        "process::Command",
        "CommandExt",
        "libc::",
        "fork(",
        "posix_spawn",
        "execv",
    ];
    let sources = sources();
    assert!(sources.len() > 100);
    let wrong: Vec<String> = sources
        .iter()
        .filter_map(|(place, source)| {
            let name = names.iter().find(|name| source.contains(*name))?;
            Some(format!("crates/{place}: {name}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_statement_that_is_built_is_seen_however_it_is_written() {
    for source in [
        "diesel::sql_query(format!(\"SELECT {x}\"))",
        "sql_query(\n    query,\n)",
        "dsl::sql::<Nullable<Text>>(&text)",
        "q.sql(&format!(\"x\"))",
        "conn.batch_execute(&(\"a\".to_owned() + b))",
        "conn.batch_execute(\"a\" + b + \"c\")",
        "client.simple_query(name)",
    ] {
        let found = statements(source);
        assert!(found.len() == 1 && !is_literal(&found[0].1), "{source}: {found:?}");
    }
    for source in [
        "sql_query(\"SELECT (1), \\\"a\\\"\")",
        "dsl::sql::<Bool>(\n  \"id IN (SELECT\",\n)",
        "q.sql(\")\")",
        "fn batch_execute(&mut self, query: &str)",
        "// sql_query(x)",
        "to_sql(x)",
    ] {
        let found = statements(source);
        assert!(
            found.iter().all(|(_, argument)| is_literal(argument)),
            "{source}: {found:?}"
        );
    }
}
