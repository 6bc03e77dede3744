//! The architecture, checked: who may know whom, what modules are called, how long files are, what lies at the top.
//! `docs/ARCHITECTURE.md` explains the rules; when one of these fails, it is right more often than the change.
#![expect(clippy::disallowed_methods, reason = "tests start programs")]

#[path = "house/injection.rs"]
mod injection;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// The bounded contexts: the names a module may have on every floor.
const CONTEXTS: [&str; 14] = [
    "accounts",
    "sessions",
    "access",
    "organizations",
    "federation",
    "oauth",
    "chat",
    "knowledge",
    "billing",
    "protection",
    "audit",
    "webhooks",
    "migrations",
    "ops",
];

/// The floors whose modules are called after contexts, each with the few other names it has.
const FLOORS: [(&str, &[&str]); 5] = [
    // The typed ids that all contexts share.
    ("crates/domain/src", &["id"]),
    // The store as a whole: units of work and errors; and how many statements it is sent.
    ("crates/ports/src", &["queries", "store"]),
    ("crates/services/src", &[]),
    // The web's own matters, which belong to no context: how a request is read, let in and answered.
    (
        "crates/http/src",
        &[
            "body",
            "caller",
            "connection",
            "edge",
            "idempotency",
            "openapi",
            "origin",
            "problem",
            "query",
            "refusal",
            "route",
            "routes",
            "server",
            "sse",
            "traced",
        ],
    ),
    // The two databases' common ground; `kept` is how its statements stay prepared.
    ("crates/adapters/sql", &["kept", "pool", "schema", "types", "unit"]),
];

/// Lines a source file has at most, its tests aside.
const LONGEST: usize = 600;

/// What may lie at the top of the repository.
const TOP: [&str; 24] = [
    ".ci",
    ".dockerignore",
    ".env.example",
    ".github",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "Dockerfile",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "clippy.toml",
    "config",
    "crates",
    "deploy",
    "docs",
    "migrations",
    "rustfmt.toml",
    "scripts",
    "target",
    "tests",
];

/// What is never linked into the binary: second implementations of what it has, what is written in C without need,
/// what its licence forbids, what is known to be unsafe.
const BANNED: [&str; 8] = [
    "openssl-sys",
    "native-tls",
    "ring",
    "pq-sys",
    "sqlx",
    "sqlx-core",
    "rusqlite",
    // GPL-3.0-or-later.
    "actix-governor",
];

/// h2 before this version accepts endless empty frames: RUSTSEC-2026-0258.
const H2_FROM: [u64; 3] = [0, 4, 16];

/// A floor of the house, by the folder its crate lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Floor {
    Domain,
    Ports,
    Services,
    Http,
    Adapter,
    App,
    /// Fakes and contract suites; and the end-to-end tests.
    Testing,
}

/// Adapters that are servers of their own.
const SERVERS: [&str; 1] = ["anteroom-stripe-stub"];

impl Floor {
    /// Of a crate in this folder.
    fn of(folder: &str) -> Option<Self> {
        Some(match folder {
            "crates/domain" => Self::Domain,
            "crates/ports" => Self::Ports,
            "crates/services" => Self::Services,
            "crates/http" => Self::Http,
            "crates/app" => Self::App,
            "crates/testkit" | "crates/contract" | "tests" => Self::Testing,
            other => return other.starts_with("crates/adapters/").then_some(Self::Adapter),
        })
    }

    /// The floors that it may know. An adapter knows no other adapter; nobody but the tests knows the app.
    fn may_know(self) -> &'static [Self] {
        match self {
            Self::Domain => &[],
            Self::Ports => &[Self::Domain],
            Self::Services | Self::Adapter => &[Self::Domain, Self::Ports],
            Self::Http => &[Self::Domain, Self::Ports, Self::Services],
            Self::App => &[Self::Domain, Self::Ports, Self::Services, Self::Http, Self::Adapter],
            Self::Testing => &[
                Self::Domain,
                Self::Ports,
                Self::Services,
                Self::Http,
                Self::Adapter,
                Self::App,
                Self::Testing,
            ],
        }
    }

    /// The beginnings of names of foreign crates that it never reaches, not even through another.
    fn never(self) -> &'static [&'static str] {
        match self {
            Self::Domain => &[
                "tokio",
                "actix",
                "diesel",
                "reqwest",
                "hyper",
                "mio",
                "async-openai",
                "libsqlite3-sys",
            ],
            Self::Ports | Self::Services => &["actix", "diesel", "reqwest", "hyper", "async-openai", "libsqlite3-sys"],
            Self::Http => &["diesel", "libsqlite3-sys", "tokio-postgres", "reqwest", "async-openai"],
            Self::Adapter => &["actix"],
            Self::App | Self::Testing => &[],
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .canonicalize()
        .unwrap()
}

/// The workspace's own packages, as their manifests say.
fn metadata() -> Metadata {
    let mut command = MetadataCommand::new();
    command.manifest_path(root().join("Cargo.toml")).no_deps();
    command.exec().unwrap()
}

/// Where a package of the workspace lies, from the top.
fn folder(package: &Package) -> String {
    let folder = package.manifest_path.parent().unwrap();
    folder.strip_prefix(root().to_str().unwrap()).unwrap().to_string()
}

/// What a crate of the workspace is built from, itself included, as name and version; `edges` as `cargo tree` has
/// them. The resolution in the metadata is no help here: it lists optional dependencies that nobody switches on.
fn reached(package: &str, edges: &str) -> BTreeSet<(String, String)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = [
        "tree",
        "--locked",
        "--prefix=none",
        "--format={p}",
        "--edges",
        edges,
        "--package",
        package,
    ];
    let output = Command::new(cargo)
        .current_dir(root())
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    // A line is `name v1.2.3`, perhaps with a path or a mark behind it.
    let read = |line: &str| {
        let mut words = line.split(' ');
        Some((
            words.next()?.to_owned(),
            words.next()?.trim_start_matches('v').to_owned(),
        ))
    };
    text.lines().filter_map(read).collect()
}

/// Every Rust file below a folder.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The names of the modules directly in a folder.
fn modules(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_module = |path: &PathBuf| path.is_dir() || path.extension().is_some_and(|extension| extension == "rs");
    let names = entries
        .filter(is_module)
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned());
    names.filter(|name| name != "lib" && name != "mod").collect()
}

#[test]
fn every_crate_lies_on_a_floor_and_knows_only_the_floors_below() {
    let metadata = metadata();
    let members: BTreeMap<String, &Package> = metadata
        .workspace_packages()
        .into_iter()
        .map(|package| (package.name.to_string(), package))
        .collect();
    let mut wrong = Vec::new();
    for (name, package) in &members {
        let Some(floor) = Floor::of(&folder(package)) else {
            wrong.push(format!("{name} lies on no floor: {}", folder(package)));
            continue;
        };
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind == DependencyKind::Normal)
        {
            let Some(other) = members
                .get(&dependency.name)
                .and_then(|other| Floor::of(&folder(other)))
            else {
                continue;
            };
            if !floor.may_know().contains(&other) {
                wrong.push(format!("{name} ({floor:?}) depends on {} ({other:?})", dependency.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_floor_reaches_what_is_not_its_own() {
    let mut wrong = Vec::new();
    for package in metadata().workspace_packages() {
        let never = Floor::of(&folder(package)).map_or(&[][..], Floor::never);
        if never.is_empty() {
            continue;
        }
        for (name, _) in reached(&package.name, "normal") {
            if SERVERS.contains(&package.name.as_str()) && name.starts_with("actix") {
                continue;
            }
            if never
                .iter()
                .any(|never| name == *never || name.starts_with(&format!("{never}-")))
            {
                wrong.push(format!("{} reaches {name}", package.name));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\n(see: cargo tree -e normal -p CRATE -i NAME)",
        wrong.join("\n")
    );
}

#[test]
fn the_binary_is_built_without_what_is_banned() {
    let tree = reached("anteroom-app", "normal,build");
    assert!(
        tree.iter().any(|(name, _)| name == "actix-web"),
        "the tree is not the binary's"
    );
    let is_banned = |(name, version): &&(String, String)| BANNED.contains(&name.as_str()) || is_old_h2(name, version);
    let found: Vec<String> = tree
        .iter()
        .filter(is_banned)
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    assert!(
        found.is_empty(),
        "{}\n(see: cargo tree -e normal,build -p anteroom-app -i NAME)",
        found.join("\n")
    );
}

fn is_old_h2(name: &str, version: &str) -> bool {
    let numbers: Vec<u64> = version
        .split(['.', '-', '+'])
        .map_while(|number| number.parse().ok())
        .collect();
    name == "h2" && numbers < H2_FROM.to_vec()
}

#[test]
fn modules_are_called_after_contexts_on_every_floor() {
    let mut wrong = Vec::new();
    for (floor, others) in FLOORS {
        let found = modules(&root().join(floor));
        for name in &found {
            if !CONTEXTS.contains(&name.as_str()) && !others.contains(&name.as_str()) {
                wrong.push(format!("{floor}/{name} is no context and not on the short list"));
            }
        }
        for name in others.iter().filter(|name| !found.contains(**name)) {
            wrong.push(format!("{floor}/{name} is on the short list and does not exist"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_source_file_is_long() {
    let mut wrong = Vec::new();
    for file in rust_files(&root().join("crates")) {
        let place = file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        if place.contains("/tests/") || place.ends_with("/tests.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let source = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = source.lines().count();
        if lines > LONGEST {
            wrong.push(format!("{place} has {lines} lines without its tests"));
        }
    }
    assert!(wrong.is_empty(), "over {LONGEST} lines:\n{}", wrong.join("\n"));
}

/// The cases that `SECURITY.md` has to list, each with at least one test.
const CASES: [&str; 26] = [
    "A 1", "A 2", "A 3", "A 4", "A 5", "A 12", "A 14", "B 20", "B 21", "B 23", "B 24", "B 25", "B 31", "B 32", "C 38",
    "C 47", "E 58", "E 59", "E 60", "E 61", "F 64", "F 65", "F 66", "G 68", "G 69", "G 70",
];

#[test]
fn every_security_case_has_tests_and_every_such_test_its_case() {
    let text = std::fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let mut listed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let names = cells
            .get(3)
            .map(|cell| cell.split('`').skip(1).step_by(2))
            .into_iter()
            .flatten();
        if CASES.contains(&cells[1]) {
            listed
                .entry(cells[1].to_owned())
                .or_default()
                .extend(names.map(str::to_owned));
        }
    }
    let mut written = BTreeSet::new();
    for folder in ["crates", "tests"] {
        for file in rust_files(&root().join(folder)) {
            let text = std::fs::read_to_string(file).unwrap();
            let names = text.lines().filter_map(|line| {
                line.trim_start()
                    .strip_prefix("async fn ")
                    .or(line.trim_start().strip_prefix("fn "))
            });
            written.extend(names.filter_map(|rest| Some(rest.split_once('(')?.0.to_owned())));
        }
    }
    let mut wrong = Vec::new();
    for case in CASES {
        let prefix = format!("{}_", case.replace(' ', "").to_lowercase());
        let listed = listed.remove(case).unwrap_or_default();
        let of_case: BTreeSet<String> = written
            .iter()
            .filter(|name| name.starts_with(&prefix))
            .cloned()
            .collect();
        if listed.is_empty() || listed != of_case {
            wrong.push(format!("{case}: SECURITY.md has {listed:?}, the tests are {of_case:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is nobody's to know, by the last word of its name.
const SECRETS: [&str; 11] = [
    "expose_secret",
    "secret",
    "digest",
    "signature",
    "mac",
    "tag",
    "hash",
    "password",
    "pepper",
    "cookie",
    "token",
];

/// Comparisons that may take as long as they like: file, last word of the operand, why.
const COMPARED: [(&str, &str, &str); 4] = [
    (
        "crates/services/src/audit/verify.rs",
        "digest",
        "a command of whoever has the database; nobody waits for its answer from outside",
    ),
    ("crates/testkit/", "expose_secret", "a fake, in no binary"),
    (
        "crates/app/src/commands/admin.rs",
        "prompt_password",
        "what one person typed twice, at their own terminal",
    ),
    ("crates/http/src/caller.rs", "cookie", "its name"),
];

/// The operands of `==` and `!=` in a line of code, without brackets and borrows: `a.digest()` is `a.digest`.
fn compared(line: &str) -> Vec<String> {
    let part_of_one = |c: char| c.is_alphanumeric() || "_.:()&*".contains(c);
    let plain = |text: String| {
        let text = text.replace("()", "");
        let text = text.trim_matches(['&', '*', '(', ')', '.']);
        text.split('(').next().unwrap_or_default().to_owned()
    };
    let mut operands = Vec::new();
    for (at, _) in line.match_indices("==").chain(line.match_indices("!=")) {
        let (left, right) = (line[..at].trim_end(), line[at + 2..].trim_start());
        let left: String = left.chars().rev().take_while(|c| part_of_one(*c)).collect();
        operands.push(plain(left.chars().rev().collect()));
        operands.push(plain(right.chars().take_while(|c| part_of_one(*c)).collect()));
    }
    operands
}

fn is_secret(operand: &str) -> bool {
    let name = operand.rsplit(['.', ':']).next().unwrap_or_default();
    SECRETS
        .iter()
        .any(|secret| name == *secret || name.ends_with(&format!("_{secret}")))
}

/// Security case E 61 (CVE-2024-52307): how long `==` takes tells how far it came. Secrets and their digests are looked up
/// by the digest, verified by the algorithm that made them, or compared with `anteroom_crypto::constant_time_eq`.
#[test]
fn e61_secrets_are_compared_in_constant_time() {
    let mut wrong = Vec::new();
    let mut excused = BTreeSet::new();
    for file in rust_files(&root().join("crates")) {
        let place = file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        if place.contains("/tests/") || place.contains("/benches/") || place.ends_with("/tests.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let source = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for (number, line) in source.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for operand in compared(code).into_iter().filter(|operand| is_secret(operand)) {
                let known = COMPARED.iter().position(|(path, name, _)| {
                    place.starts_with(path) && operand.rsplit(['.', ':']).next() == Some(name)
                });
                match known {
                    Some(known) => _ = excused.insert(known),
                    None => wrong.push(format!(
                        "{place}:{}: `{operand}` is compared: {}",
                        number + 1,
                        line.trim()
                    )),
                }
            }
            // The one place that compares bytes in constant time; everybody else calls it.
            if code.contains("verify_slices_are_equal") && place != "crates/adapters/crypto/src/keys.rs" {
                wrong.push(format!(
                    "{place}:{}: call anteroom_crypto::constant_time_eq",
                    number + 1
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(excused.len(), COMPARED.len(), "an excuse that nothing needs any more");
}

#[test]
fn a_comparison_of_secrets_is_seen_however_it_is_written() {
    for line in [
        "if a.expose_secret() == b {",
        "if b != *a.expose_secret()",
        "known == self.digest(&x)",
        "x.stored_hash==y",
        "matches!(t, Some(t) if &t.token == given)",
        "(signature != expected)",
        "if given == secrets::SECRET.digest {",
    ] {
        assert!(
            compared(line).iter().any(|operand| is_secret(operand)),
            "{line}: {:?}",
            compared(line)
        );
    }
    for line in [
        "a.len() == b.len()",
        "tokens.len() != 2",
        "kind == Kind::Secret",
        "let digest = x;",
        "hashes == 3",
        "x => password",
    ] {
        assert!(
            !compared(line).iter().any(|operand| is_secret(operand)),
            "{line}: {:?}",
            compared(line)
        );
    }
}

#[test]
fn only_what_belongs_there_lies_at_the_top() {
    // What git tracks: a developer's own notes are nobody's business. Without git, as in an archive, all there is.
    let output = Command::new("git").arg("-C").arg(root()).arg("ls-files").output();
    let tracked = output
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    let mut names: BTreeSet<String> = tracked
        .lines()
        .filter_map(|path| path.split('/').next())
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        let ignored = std::fs::read_to_string(root().join(".gitignore")).unwrap();
        let entries = std::fs::read_dir(root()).unwrap();
        names = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.retain(|name| name != ".git" && ignored.lines().all(|line| line.trim_matches('/') != name));
    }
    names.retain(|name| !TOP.contains(&name.as_str()));
    assert!(
        names.is_empty(),
        "does not belong at the top of the repository: {names:?}"
    );
}

#[test]
fn an_old_h2_is_known_by_its_number_not_its_spelling() {
    assert!(is_old_h2("h2", "0.3.27") && is_old_h2("h2", "0.4.9") && is_old_h2("h2", "0.4.15"));
    assert!(!is_old_h2("h2", "0.4.16") && !is_old_h2("h2", "1.0.0") && !is_old_h2("h3", "0.1.0"));
}
