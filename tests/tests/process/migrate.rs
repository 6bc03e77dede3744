//! Migrations of an application, as its developers and their scripts run them.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};

use anteroom_tests::process::{command, output};
use anteroom_tests::setup::{execute_in, number_in};
use anteroom_tests::{Kind, Setup, eventually_asking, on_every_empty_store};
use serde_json::Value;
use tokio_postgres::NoTls;

on_every_empty_store![
    from_the_first_file_to_the_last,
    scripts_read_codes_and_json,
    what_changed_is_4_and_what_is_locked_is_5,
    a_killed_runner_is_gone_on_with,
    a_killed_backend_is_gone_on_with,
    a_killed_repair_leaves_nothing_to_the_next,
    many_at_once_through_a_pooler,
];

/// An application's database and folder.
struct Application<'a> {
    setup: &'a Setup,
    url: String,
    /// The server, and the database on it that is the test's own.
    server: Option<(String, String)>,
}

impl<'a> Application<'a> {
    async fn new(setup: &'a Setup) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        if setup.kind() == Kind::Sqlite {
            return Self {
                setup,
                url: "sqlite://app.db".into(),
                server: None,
            };
        }
        let server = std::env::var("TEST_DATABASE_URL").unwrap();
        let name = format!(
            "migrate_{}_{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        postgres(&server, &format!("CREATE DATABASE {name}")).await;
        let (before, _) = server.split_once('?').unwrap_or((&server, ""));
        let (host, _) = before.rsplit_once('/').unwrap();
        Self {
            setup,
            url: format!("{host}/{name}"),
            server: Some((server, name)),
        }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn folder(&self) -> PathBuf {
        self.setup.folder().join("migrations")
    }

    fn command(&self, words: &str) -> std::process::Command {
        let mut arguments = vec!["migrate", "--database", "env:APP_DATABASE"];
        arguments.extend(words.split(' '));
        // Nothing of Anteroom's is set, nor needed.
        let variables = [("APP_DATABASE".to_owned(), self.url.clone())].into();
        command(self.setup.folder(), &variables, &arguments)
    }

    fn run(&self, words: &str) -> Output {
        output(self.command(words), "")
    }

    /// Its standard output, if it ended so.
    fn said(&self, words: &str, code: i32) -> String {
        let output = self.run(words);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{words}:\n{out}\n{err}");
        out
    }

    fn json(&self, words: &str, code: i32) -> Value {
        serde_json::from_str(&self.said(&format!("{words} --json"), code)).unwrap()
    }

    async fn number(&self, sql: &str) -> i64 {
        match self.server {
            Some(_) => postgres(&self.url, &format!("SELECT ({sql})::text"))
                .await
                .unwrap()
                .parse()
                .unwrap(),
            None => number_in(&self.setup.folder().join("app.db"), &format!("SELECT ({sql}) AS n")),
        }
    }

    async fn remove(self) {
        if let Some((server, name)) = self.server {
            postgres(&server, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
        }
    }
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The first value of the last row, if there is one.
async fn postgres(url: &str, sql: &str) -> Option<String> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let messages = client.simple_query(sql).await.unwrap();
    drop(client);
    let _ = connection.await.unwrap();
    messages.iter().rev().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(ToOwned::to_owned),
        _ => None,
    })
}

async fn from_the_first_file_to_the_last(setup: &Setup) {
    let app = Application::new(setup).await;
    let made = app.said("new Add.Goods!", 0);
    let folder = std::fs::read_dir(app.folder())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .file_name();
    let folder = folder.to_str().unwrap().to_owned();
    assert!(folder.ends_with("_add_goods") && made.contains(&folder), "{made}");
    // Two within a second are two versions.
    let (one, two) = (app.json("new one", 0), app.json("new two", 0));
    assert_ne!(one["version"], two["version"]);
    for more in [one, two] {
        std::fs::remove_dir_all(app.setup.folder().join(more["folder"].as_str().unwrap())).unwrap();
    }
    app.write(
        &format!("{folder}/up.sql"),
        "CREATE TABLE goods (id INTEGER PRIMARY KEY, name TEXT NOT NULL);\n",
    );
    app.write(&format!("{folder}/down.sql"), "DROP TABLE goods;\n");
    assert!(app.said("status", 0).contains("1 to apply: anteroom migrate up"));
    let plan = app.said("plan", 0);
    assert!(
        plan.contains("CREATE TABLE goods (id INTEGER PRIMARY KEY, name TEXT NOT NULL);"),
        "{plan}"
    );
    let said = app.said("up", 0);
    assert!(said.starts_with("applied  ") && said.contains(&folder), "{said}");
    assert!(!said.contains('\u{1b}'), "colours in a pipe: {said}");
    assert_eq!(app.said("up", 0), "nothing to do\n");
    assert!(app.said("status", 0).contains("nothing to apply"));
    assert!(app.said("history", 0).contains("succeeded  up"));
    assert!(
        app.said("verify", 0)
            .contains("1 applied migrations are what their files say")
    );
    assert!(app.said("drift", 0).contains("the schema is as up"));
    assert!(app.said("down --steps 1", 0).starts_with("reverted  "));
    assert!(app.said("redo", 1).is_empty(), "there is nothing to redo");
    app.remove().await;
}

async fn scripts_read_codes_and_json(setup: &Setup) {
    let app = Application::new(setup).await;
    app.write("1_goods/up.sql", "CREATE TABLE goods (id INTEGER PRIMARY KEY);\n");
    app.write("1_goods/down.sql", "DROP TABLE goods");
    app.write(
        "2_wrong/up.sql",
        "CREATE TABLE more (id INTEGER PRIMARY KEY);\nINSERT INTO nowhere VALUES (1);\n",
    );
    app.write("2_wrong/migration.toml", "irreversible = \"a test\"\n");
    for (words, code) in [
        ("status", 0),
        ("status --exit-code", 3),
        ("plan", 0),
        ("plan --exit-code", 3),
        ("down", 2),
        ("up --no-such-flag", 2),
        ("up --dir nowhere", 2),
        ("up --to 9", 1),
        ("lint", 0),
    ] {
        app.said(words, code);
    }
    let plan = app.json("plan", 0);
    assert_eq!(
        plan["data"][1]["statements"][1]["sql"],
        "INSERT INTO nowhere VALUES (1)"
    );
    assert_eq!(plan["data"][1]["statements"][1]["line"], 2);

    let failed = app.json("up", 1);
    assert_eq!(
        (&failed["data"][0]["version"], &failed["data"][0]["outcome"]),
        (&"1".into(), &"succeeded".into())
    );
    assert_eq!(
        (
            &failed["error"]["details"]["version"],
            &failed["error"]["details"]["statement"]
        ),
        (&"2".into(), &2.into())
    );
    let history = app.json("history", 0);
    let runs = history["data"].as_array().unwrap();
    let words: Vec<String> = runs
        .iter()
        .map(|run| {
            format!(
                "{} {} {}",
                run["version"].as_str().unwrap(),
                run["direction"].as_str().unwrap(),
                run["outcome"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(words, ["1 up succeeded", "2 up failed"]);
    assert_eq!(app.json("history --limit 1", 0)["data"].as_array().unwrap().len(), 1);
    let status = app.json("status", 0);
    assert_eq!(
        (&status["pending"], &status["data"][0]["state"]),
        (&1.into(), &"applied".into())
    );
    let same = app.run("up --json");
    assert!(text(&same.stderr).contains("nowhere"), "messages go elsewhere");
    assert_eq!(app.json("down --to 0", 0)["data"][0]["direction"], "down");

    app.write("README.md", "");
    let output = app.run("up");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("README.md: is no migration"));
    let mut elsewhere = app.command("status");
    elsewhere.env("APP_DATABASE", "mysql://root:hunter2@h/x");
    let output = anteroom_tests::process::output(elsewhere, "");
    assert_eq!(output.status.code(), Some(2));
    assert!(!text(&output.stderr).contains("hunter2"));
    app.remove().await;
}

async fn what_changed_is_4_and_what_is_locked_is_5(setup: &Setup) {
    let app = Application::new(setup).await;
    app.write("1_goods/up.sql", "CREATE TABLE goods (id INTEGER PRIMARY KEY);\n");
    app.said("up", 0);
    app.write(
        "1_goods/up.sql",
        "-- its number\r\nCREATE TABLE goods\r\n  (id INTEGER PRIMARY KEY)\r\n",
    );
    assert!(app.said("verify", 0).contains("reformatted"));
    assert!(
        app.said("repair", 0)
            .contains("only comments, white space or line ends were changed")
    );
    app.write(
        "1_goods/up.sql",
        "CREATE TABLE goods (id INTEGER PRIMARY KEY, name TEXT);\n",
    );
    for words in ["verify", "up", "repair", "status --exit-code"] {
        app.said(words, 4);
    }
    assert_eq!(app.json("repair", 4)["differences"][0]["object"], "table goods");
    app.write("1_goods/up.sql", "CREATE TABLE goods (id INTEGER PRIMARY KEY);\n");
    app.write("2_late/up.sql", "CREATE TABLE late (id INTEGER PRIMARY KEY);\n");
    match &app.server {
        Some(_) => {
            postgres(&app.url, "ALTER TABLE goods ADD COLUMN extra INTEGER").await;
        }
        None => execute_in(
            &setup.folder().join("app.db"),
            "ALTER TABLE goods ADD COLUMN extra INTEGER",
        ),
    }
    let drift = app.said("drift", 4);
    assert!(
        drift.contains("changed  table goods") && drift.contains("+ ") && drift.contains("extra"),
        "{drift}"
    );

    let (mut client, mut file) = (None, None);
    if app.server.is_some() {
        let (held, connection) = tokio_postgres::connect(&app.url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let lock = "SELECT pg_advisory_lock(hashtextextended('anteroom application migrations public', 0))";
        held.batch_execute(lock).await.unwrap();
        client = Some(held);
    } else {
        let held = std::fs::File::open(setup.folder().join("app.db.app-migrate-lock")).unwrap();
        held.lock().unwrap();
        file = Some(held);
    }
    let output = app.run("up --lock-wait 1");
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("waited for too long for"),
        "{}",
        text(&output.stderr)
    );
    drop((client, file));
    let up = app.run("up");
    assert_eq!(up.status.code(), Some(0));
    let warned = text(&up.stderr);
    assert!(
        warned.contains("changed past all migrations") && warned.contains("extra"),
        "{warned}"
    );
    app.said("drift", 0);
    std::fs::remove_dir_all(app.folder().join("2_late")).unwrap();
    assert!(app.said("verify", 4).contains("applied, and unknown here: 2"));
    app.remove().await;
}

/// Statements of both kinds, in and out of transactions.
fn write_many(app: &Application<'_>) {
    let concurrently = if app.server.is_some() { "CONCURRENTLY" } else { "" };
    app.write(
        "1_goods/up.sql",
        "CREATE TABLE goods (id INTEGER PRIMARY KEY, name TEXT);\nINSERT INTO goods VALUES (1, 'tea');\nINSERT INTO goods \
         VALUES (2, 'cups');\nCREATE INDEX goods_name ON goods (name);\n",
    );
    app.write(
        "1_goods/down.sql",
        "DROP INDEX goods_name;\nDELETE FROM goods;\nDROP TABLE goods;\n",
    );
    app.write("2_more/migration.toml", "transaction = false\n");
    app.write(
        "2_more/up.sql",
        &format!(
            "INSERT INTO goods VALUES (3, 'pots');\nCREATE INDEX {concurrently} goods_both ON goods (id, name);\nINSERT INTO \
             goods VALUES (4, 'jugs');\nCREATE UNIQUE INDEX {concurrently} goods_once ON goods (name);\n"
        ),
    );
    app.write(
        "2_more/down.sql",
        &format!(
            "DROP INDEX {concurrently} goods_once;\nDELETE FROM goods WHERE id = 4;\nDROP INDEX {concurrently} \
             goods_both;\nDELETE FROM goods WHERE id = 3;\n"
        ),
    );
    app.write("3_fill/migration.toml", "batch = 1\n");
    app.write(
        "3_fill/up.sql",
        "UPDATE goods SET name = name || '!' WHERE id BETWEEN :first AND :last;\n",
    );
    app.write("3_fill/down.sql", "UPDATE goods SET name = replace(name, '!', '');\n");
}

/// Runs `migrate up` or `down` with `--verbose` and does something when so many statements have begun. Answers how many
/// had when it ended, and whether it ended well.
pub(super) fn disturbed(
    mut command: std::process::Command,
    at: usize,
    how: &dyn Fn(&std::process::Child),
) -> (usize, bool) {
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut begun = 0;
    for line in lines.map_while(Result::ok) {
        // `2 of 4: INSERT …`, and `3 of about 4 rows` of a backfill.
        let begins = line.split(' ').nth(1) == Some("of") && line.starts_with(|first: char| first.is_ascii_digit());
        begun += usize::from(begins);
        if begins && begun == at {
            how(&child);
        }
    }
    (begun, child.wait().unwrap().success())
}

pub(super) fn kill(child: &std::process::Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// SQL that ends the processes of PostgreSQL that migrate its own database.
pub(super) const END_BACKENDS: &str = "SELECT count(pg_terminate_backend(pid)) AS n FROM pg_stat_activity \
    WHERE datname = current_database() AND application_name LIKE 'anteroom migrate%'";

/// Disturbs it after every statement, up and down, and finishes it each time.
async fn converges(app: &Application<'_>, how: &dyn Fn(&std::process::Child)) {
    write_many(app);
    app.said("up", 0);
    let history = app.json("history --limit 1", 0);
    let whole = history["data"][0]["fingerprint"].clone();
    app.said("down --to 0", 0);
    for at in 1.. {
        let (up, _) = disturbed(app.command("up --verbose"), at, how);
        app.said("up", 0);
        app.said("drift", 0);
        let last = app.json("history --limit 1", 0);
        assert_eq!(last["data"][0]["fingerprint"], whole, "after statement {at} up");
        assert_eq!(
            app.number("SELECT count(*) FROM goods WHERE name LIKE '%_!'").await,
            4,
            "{at}"
        );
        assert_eq!(
            app.number("SELECT count(*) FROM goods WHERE name LIKE '%!!'").await,
            0,
            "{at}"
        );
        if app.server.is_some() {
            assert_eq!(
                app.number("SELECT count(*) FROM pg_index WHERE NOT indisvalid").await,
                0,
                "{at}"
            );
        }
        let (down, _) = disturbed(app.command("down --to 0 --verbose"), at, how);
        let left = app.json("status", 0);
        if left["data"]
            .as_array()
            .unwrap()
            .iter()
            .any(|entry| entry["applied_at"].is_string())
        {
            app.said("down --to 0", 0);
        }
        assert_eq!(app.json("status", 0)["pending"], 3);
        if up < at && down < at {
            assert!(at > 8, "only {at}");
            break;
        }
    }
}

async fn a_killed_runner_is_gone_on_with(setup: &Setup) {
    let app = Application::new(setup).await;
    converges(&app, &kill).await;
    app.remove().await;
}

async fn a_killed_backend_is_gone_on_with(setup: &Setup) {
    // An embedded database has none.
    if setup.kind() == Kind::Sqlite {
        return;
    }
    let app = Application::new(setup).await;
    let handle = tokio::runtime::Handle::current();
    converges(&app, &|_| {
        tokio::task::block_in_place(|| handle.block_on(postgres(&app.url, END_BACKENDS)));
    })
    .await;
    app.remove().await;
}

/// The database on which it tries the files is the same each time.
async fn a_killed_repair_leaves_nothing_to_the_next(setup: &Setup) {
    // An embedded one is a file in a folder for temporary ones.
    if setup.kind() == Kind::Sqlite {
        return;
    }
    let app = Application::new(setup).await;
    app.write(
        "1_goods/up.sql",
        "CREATE TABLE goods (id INTEGER);\nSELECT pg_sleep(0);\n",
    );
    app.said("up", 0);
    app.write(
        "1_goods/up.sql",
        "CREATE TABLE goods (id INTEGER);\nSELECT pg_sleep(3);\n",
    );
    app.said("verify", 4);
    let left = "SELECT count(*) FROM pg_database JOIN pg_database o ON starts_with(pg_database.datname, 'anteroom_scratch_' \
                || o.oid || '_') WHERE o.datname = current_database()";
    let tried = "SELECT count(*) FROM pg_stat_activity JOIN pg_database o ON starts_with(pg_stat_activity.datname, \
                 'anteroom_scratch_' || o.oid || '_') WHERE o.datname = current_database() AND query LIKE '%pg_sleep%'";
    let mut child = app.command("repair").spawn().unwrap();
    eventually_asking("the files are tried", async || {
        (app.number(tried).await == 1).then_some(())
    })
    .await;
    kill(&child);
    child.wait().unwrap();
    assert_eq!(app.number(left).await, 1);
    app.said("repair", 0);
    assert_eq!(app.number(left).await, 0);
    app.said("verify", 0);
    app.remove().await;
}

/// PgBouncer in transaction mode before a server, which ends when it is dropped.
struct Pooler {
    child: std::process::Child,
    file: PathBuf,
    url: String,
}

impl Pooler {
    /// `None` where it is not installed.
    #[expect(clippy::disallowed_methods, reason = "tests start programs")]
    fn start(server: &str) -> Option<Self> {
        let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"]
            .into_iter()
            .find(|path| std::path::Path::new(path).exists())?;
        let server: tokio_postgres::Config = server.parse().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let user = server.get_user().unwrap();
        let password = server.get_password().map_or(String::new(), |password| {
            format!("password={}", String::from_utf8_lossy(password))
        });
        // Fewer connections than runners: who waits keeps none of them.
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user={user} {password}\n[pgbouncer]\nlisten_addr = \
             127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = \
             transaction\nmax_client_conn = 200\ndefault_pool_size = \
             5\nserver_round_robin = 1\n",
            server.get_ports().first().copied().unwrap_or(5432)
        );
        let file = std::env::temp_dir().join(format!("anteroom-pgbouncer-{}-{port}.ini", std::process::id()));
        std::fs::write(&file, text).unwrap();
        // It refuses to run as root.
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = std::process::Command::new("setpriv");
            command.args(["--reuid", "nobody", "--clear-groups", program]);
            command
        } else {
            std::process::Command::new(program)
        };
        let child = command.arg("--quiet").arg(&file).spawn().unwrap();
        let pooler = Self {
            child,
            file,
            url: format!("postgres://{user}@127.0.0.1:{port}"),
        };
        for _ in 0..200 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(pooler);
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("PgBouncer does not listen");
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.file);
    }
}

/// As if nobody had told them that it is there.
async fn many_at_once_through_a_pooler(setup: &Setup) {
    if setup.kind() == Kind::Sqlite {
        return;
    }
    let mut app = Application::new(setup).await;
    let (server, name) = app.server.clone().unwrap();
    let Some(pooler) = Pooler::start(&server) else {
        anteroom_tests::tell("skipped: there is no pgbouncer");
        return app.remove().await;
    };
    let direct = std::mem::replace(&mut app.url, format!("{}/{name}", pooler.url));
    write_many(&app);
    app.write(
        "4_setting/up.sql",
        "SET statement_timeout = '7s';\nSET search_path = pg_catalog;\nCREATE TABLE public.later (id bigint PRIMARY KEY);\n",
    );
    app.write("4_setting/down.sql", "DROP TABLE later;\n");
    for round in 0..2 {
        let runners: Vec<_> = (0..16)
            .map(|_| {
                let mut command = app.command("up");
                std::thread::spawn(move || command.output().unwrap())
            })
            .collect();
        for runner in runners {
            let output = runner.join().unwrap();
            assert!(output.status.success(), "{}", text(&output.stderr));
        }
        let runs = app.json("history", 0);
        let (up, down): (Vec<_>, Vec<_>) = runs["data"]
            .as_array()
            .unwrap()
            .iter()
            .partition(|run| run["direction"] == "up");
        assert_eq!((up.len(), down.len()), (4 * (round + 1), 4 * round), "{runs:#}");
        app.said("drift", 0);
        // Nothing that was set or locked is left to whoever has the server's connections next.
        for _ in 0..5 {
            let left = postgres(
                &app.url,
                "SELECT current_setting('statement_timeout') || ' ' || current_setting('lock_timeout') || ' ' || \
                 current_setting('search_path') || ' ' || current_setting('jit') || ' ' || (SELECT count(*) FROM pg_locks \
                 WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = \
                 current_database()))",
            );
            assert_eq!(left.await.unwrap(), "0 0 \"$user\", public on 0");
        }
        app.said(if round == 0 { "down --to 0" } else { "verify" }, 0);
    }
    drop(pooler);
    app.url = direct;
    app.said("drift", 0);
    app.remove().await;
}
