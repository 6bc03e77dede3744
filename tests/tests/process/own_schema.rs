//! Migrations of Anteroom's own schema, as its operators run them.

use std::collections::BTreeMap;
use std::process::{Child, Command, Output};

use anteroom_tests::process::{Server, command, output};
use anteroom_tests::{Kind, Setup, on_every_empty_store};
use serde_json::Value;
use tokio_postgres::NoTls;

use super::migrate::{END_BACKENDS, disturbed, kill, text};

on_every_empty_store![
    is_another_matter_than_an_applications,
    a_killed_runner_is_gone_on_with,
    a_killed_backend_is_gone_on_with,
    production_on_postgresql_only_looks,
    what_was_done_is_in_the_audit_log,
    a_direct_url_is_for_migrations_alone,
];

/// Runs a command of the operator's.
fn own(setup: &Setup, words: &str) -> Output {
    output(own_command(setup, words), "")
}

fn own_command(setup: &Setup, words: &str) -> Command {
    let words: Vec<&str> = words.split(' ').collect();
    command(setup.folder(), &setup.variables(&[]), &words)
}

/// With files, a history and a lock of its own.
async fn is_another_matter_than_an_applications(setup: &Setup) {
    let own = |words: &str| own(setup, words);
    let done = own("migrate up --json");
    assert!(done.status.success(), "{}", text(&done.stderr));
    let done: Value = serde_json::from_str(&text(&done.stdout)).unwrap();
    assert!(done["data"].as_array().unwrap().len() > 20);
    assert_eq!(own("migrate status --exit-code").status.code(), Some(0));
    assert_eq!(
        own("migrate lint --all").status.code(),
        Some(0),
        "no false alarms on our own history"
    );
    assert_eq!(own("migrate up --dir x").status.code(), Some(2));

    // The application's migrations cannot be run where Anteroom's own tables are.
    let variables = setup.variables(&[]);
    let url = variables.get("ANTEROOM__DATABASE__URL").cloned();
    let url = url.unwrap_or_else(|| format!("sqlite://{}", setup.data().join("anteroom.db").display()));
    std::fs::create_dir_all(setup.folder().join("migrations/1_a")).unwrap();
    std::fs::write(setup.folder().join("migrations/1_a/up.sql"), "DROP TABLE users").unwrap();
    let words = ["migrate", "up", "--database", url.as_str()];
    let refused = output(command(setup.folder(), &variables, &words), "");
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stderr).contains("Anteroom's own tables lie there"),
        "{}",
        text(&refused.stderr)
    );
    assert_eq!(setup.number("SELECT count(*) AS n FROM users").await, 0);
}

/// The catalogue's fingerprint after each version, by the direction in which it was reached; and how often each was.
fn fingerprints(setup: &Setup) -> (BTreeMap<(String, String), String>, i64) {
    let history = own(setup, "migrate history --limit 1000 --json");
    let history: Value = serde_json::from_str(&text(&history.stdout)).unwrap();
    let runs = history["data"].as_array().unwrap();
    let succeeded = runs.iter().filter(|run| run["outcome"] == "succeeded");
    let of = |run: &Value, key: &str| run[key].as_str().unwrap().to_owned();
    let mut found = BTreeMap::new();
    let mut count = 0;
    for run in succeeded {
        count += 1;
        let before = found.insert((of(run, "version"), of(run, "direction")), of(run, "fingerprint"));
        assert!(before.is_none_or(|before| before == run["fingerprint"]), "{run}");
    }
    (found, count)
}

/// How many runs of migrations have succeeded.
async fn succeeded(setup: &Setup) -> i64 {
    let runs = "SELECT count(*) AS n FROM __anteroom_schema_history WHERE outcome = 'succeeded'";
    setup.number(runs).await
}

/// Disturbs it at the first statement of each migration, at its second, and so on, up and down. What a run that is cut
/// short has of a migration is taken back, so that each run begins with the migration in which the one before it ended.
/// What comes too late hits the next one: the contract cuts the connection at each statement exactly.
async fn converges(setup: &Setup, how: &dyn Fn(&Child)) {
    for words in ["migrate up", "migrate down --to 0"] {
        assert!(own(setup, words).status.success());
    }
    let (whole, runs) = fingerprints(setup);
    for words in ["migrate up --verbose", "migrate down --to 0 --verbose"] {
        let (mut at, mut done, mut cut_short) = (1, succeeded(setup).await, 0);
        loop {
            let (begun, ended_well) = disturbed(own_command(setup, words), at, how);
            let now = succeeded(setup).await;
            if begun < at {
                assert!(ended_well, "{words} fails by itself");
                break;
            }
            cut_short += usize::from(!ended_well);
            at = if now == done { at + 1 } else { 1 };
            done = now;
        }
        assert!(cut_short > 10, "{words}: {cut_short}");
        if setup.kind() == Kind::Postgres {
            let broken = "SELECT count(*) AS n FROM pg_index WHERE NOT indisvalid";
            assert_eq!(setup.number(broken).await, 0);
        }
    }
    let (found, twice) = fingerprints(setup);
    assert_eq!(found, whole);
    // Up and down, undisturbed and disturbed: none ran twice.
    assert_eq!(twice, 2 * runs);
    assert!(own(setup, "migrate up").status.success());
    assert_eq!(own(setup, "migrate drift").status.code(), Some(0));
    assert_eq!(own(setup, "migrate verify").status.code(), Some(0));
}

async fn a_killed_runner_is_gone_on_with(setup: &Setup) {
    converges(setup, &kill).await;
}

async fn a_killed_backend_is_gone_on_with(setup: &Setup) {
    // An embedded database has none.
    if setup.kind() == Kind::Sqlite {
        return;
    }
    // Made before: whoever connects first comes late.
    let url = &setup.variables(&[])["ANTEROOM__DATABASE__URL"];
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let handle = tokio::runtime::Handle::current();
    converges(setup, &|_| {
        tokio::task::block_in_place(|| handle.block_on(client.batch_execute(END_BACKENDS))).unwrap();
    })
    .await;
}

/// Unless it is told otherwise.
async fn production_on_postgresql_only_looks(setup: &Setup) {
    let production = |migrate: &'static str| {
        setup.variables(&[
            ("ANTEROOM_ENV", "production"),
            ("secret.key", "one-long-enough-Key-4711-of-the-tests-abcdef"),
            ("passwords.bcrypt_cost", "10"),
            ("server.public_url", "https://a.example"),
            ("protection.enabled", "true"),
            ("database.migrate", migrate),
        ])
    };
    if setup.kind() == Kind::Postgres {
        let said = Server::try_start(setup.folder(), &production("auto"))
            .await
            .err()
            .unwrap();
        assert!(
            said.contains("are to be applied") && said.contains("anteroom migrate up"),
            "{said}"
        );
        assert!(!said.contains("migration.applied"), "{said}");
        let doctor = output(command(setup.folder(), &production("auto"), &["doctor"]), "");
        assert!(
            text(&doctor.stdout).contains("anteroom migrate up"),
            "{}",
            text(&doctor.stdout)
        );
        let up = output(command(setup.folder(), &production("auto"), &["migrate", "up"]), "");
        assert!(up.status.success(), "{}", text(&up.stderr));
    } else {
        let said = Server::try_start(setup.folder(), &production("never"))
            .await
            .err()
            .unwrap();
        assert!(said.contains("anteroom migrate up"), "{said}");
    }
    drop(Server::start(setup.folder(), &production("auto")).await);
}

async fn what_was_done_is_in_the_audit_log(setup: &Setup) {
    let own = |words: &str| own(setup, words);
    assert!(own("migrate up").status.success());
    let up = "SELECT count(*) AS n FROM audit_log WHERE act = 'migration.up' AND outcome = 'succeeded' AND actor_kind = 'operator'";
    assert_eq!(setup.number(up).await, 1);
    assert!(own("migrate down --steps 2").status.success());
    assert_eq!(
        setup
            .number("SELECT count(*) AS n FROM audit_log WHERE act = 'migration.down'")
            .await,
        1
    );
    drop(Server::start(setup.folder(), &setup.variables(&[])).await);
    let by_server = "SELECT count(*) AS n FROM audit_log WHERE act = 'migration.up' AND actor_kind = 'system'";
    assert_eq!(setup.number(by_server).await, 1);
}

/// With a user of its own, who may change the schema; the server's may not.
async fn a_direct_url_is_for_migrations_alone(setup: &Setup) {
    if setup.kind() == Kind::Sqlite {
        let mut variables = setup.variables(&[]);
        variables.insert("MIGRATE_DATABASE_URL".into(), "postgres://nobody@localhost/x".into());
        let refused = output(command(setup.folder(), &variables, &["migrate", "status"]), "");
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains("MIGRATE_DATABASE_URL"));
        return;
    }
    let role = format!("migrator_{}", std::process::id());
    setup
        .execute(&format!("CREATE ROLE {role} SUPERUSER LOGIN PASSWORD 'of-a-test'"))
        .await;
    let mut variables = setup.variables(&[]);
    let url = variables["ANTEROOM__DATABASE__URL"].clone();
    let (_, place) = url.split_once('@').unwrap();
    variables.insert(
        "MIGRATE_DATABASE_URL".into(),
        format!("postgres://{role}:of-a-test@{place}"),
    );
    let up = output(command(setup.folder(), &variables, &["migrate", "up", "--json"]), "");
    let said = text(&up.stdout);
    assert!(up.status.success(), "{}", text(&up.stderr));
    let runs: Value = serde_json::from_str(&said).unwrap();
    assert!(
        runs["data"]
            .as_array()
            .unwrap()
            .iter()
            .all(|run| run["database_role"] == role.as_str()),
        "{said}"
    );
    drop(Server::start(setup.folder(), &variables).await);
    assert!(!text(&up.stderr).contains("of-a-test"));
    setup
        .execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"))
        .await;
}
