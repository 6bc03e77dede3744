//! What the operator types.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use anteroom_tests::app::http_client;
use anteroom_tests::process::{Server, command, output};
use anteroom_tests::{Kind, PASSWORD, Setup, Upstream, on_every_empty_store};
use rustix::process::Signal;
use serde_json::Value;

use super::{log_in, sign_up};

on_every_empty_store![
    makes_the_first_admin,
    promotes_somebody_beside_a_running_server,
    unlocks_somebody_beside_a_running_server,
    brings_the_schema_up_and_shows_where_it_stands,
    takes_migrations_back_and_keeps_what_was_before_them,
    shows_the_configuration_without_secrets,
    writes_what_is_committed,
    keeps_its_files_to_itself,
    makes_keys_and_checks_health,
    says_which_models_have_no_price,
    starts_with_nothing_set,
    tells_people_what_it_is_and_how_to_change_that,
    reads_a_dotenv_file_below_the_variables,
];

fn run(setup: &Setup, set: &[(&str, &str)], arguments: &[&str], input: &str) -> (Output, String) {
    let output = output(command(setup.folder(), &setup.variables(set), arguments), input);
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output, said)
}

async fn admins_see_users(server: &Server, email: &str) -> Value {
    let ask = serde_json::json!({ "email": email, "password": PASSWORD });
    let (status, body) = super::post(&http_client(), &format!("{}/v1/auth/login", server.url), &ask)
        .await
        .unwrap();
    assert_eq!(status, 200, "{body}");
    let list = http_client().get(format!("{}/v1/admin/users", server.url));
    let list = list
        .bearer_auth(body["access_token"].as_str().unwrap())
        .send()
        .await
        .unwrap();
    list.json().await.unwrap()
}

async fn makes_the_first_admin(setup: &Setup) {
    let create = [
        "admin",
        "create",
        "--email",
        "root@example.com",
        "--name",
        "Root",
        "--password-stdin",
    ];
    let (output, said) = run(setup, &[], &create, &format!("{PASSWORD}\n"));
    assert!(
        output.status.success() && said.contains("created the admin root@example.com"),
        "{said}"
    );
    assert!(!said.contains(PASSWORD), "{said}");
    let server = Server::start(setup.folder(), &setup.variables(&[])).await;
    let users = admins_see_users(&server, "root@example.com").await;
    assert_eq!(
        (&users["data"][0]["role"], &users["data"][0]["name"]),
        (&"admin".into(), &"Root".into())
    );
    // Once more: it is there, and keeps its password.
    let (output, said) = run(setup, &[], &create, "quite another password\n");
    assert!(
        output.status.success() && said.contains("the password is unchanged"),
        "{said}"
    );
    admins_see_users(&server, "root@example.com").await;
    for (email, input, named) in [
        ("other@example.com", "short\n", "password"),
        ("other@example.com", "", "password"),
        ("not an address", "quiet-lantern-over-the-canal\n", "email"),
    ] {
        let (output, said) = run(
            setup,
            &[],
            &["admin", "create", "--email", email, "--password-stdin"],
            input,
        );
        assert!(!output.status.success() && said.contains(named), "{said}");
    }
    let (output, said) = run(setup, &[], &["admin", "create", "--email", "other@example.com"], "");
    assert!(!output.status.success() && said.contains("--password-stdin"), "{said}");
    assert_eq!(log_in(&http_client(), &server.url, "other@example.com").await, 401);
}

async fn promotes_somebody_beside_a_running_server(setup: &Setup) {
    let server = Server::start(setup.folder(), &setup.variables(&[])).await;
    let token = sign_up(&server.url, "ada@example.com").await;
    let list = || {
        http_client()
            .get(format!("{}/v1/admin/users", server.url))
            .bearer_auth(&token)
            .send()
    };
    // It is asked for a while, so that the server knows the session and keeps it.
    for _ in 0..10 {
        assert_eq!(list().await.unwrap().status(), 403);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let (output, said) = run(setup, &[], &["admin", "create", "--email", "ADA@example.com"], "");
    assert!(output.status.success() && said.contains("is an admin now"), "{said}");
    // The running server notices within the second, sessions that are open included.
    let begun = std::time::Instant::now();
    anteroom_tests::eventually_asking("the role is known", async || {
        (list().await.unwrap().status() == 200).then_some(())
    })
    .await;
    assert!(
        begun.elapsed() < std::time::Duration::from_millis(1500),
        "{:?}",
        begun.elapsed()
    );
}

async fn unlocks_somebody_beside_a_running_server(setup: &Setup) {
    let set = [
        ("protection.enabled", "true"),
        ("protection.lockout_free_failures", "0"),
        ("protection.lockout_first_delay_seconds", "900"),
    ];
    let server = Server::start(setup.folder(), &setup.variables(&set)).await;
    sign_up(&server.url, "ada@example.com").await;
    let wrong = serde_json::json!({ "email": "ada@example.com", "password": "a wrong password" });
    let login = format!("{}/v1/auth/login", server.url);
    let (status, _) = super::post(&http_client(), &login, &wrong).await.unwrap();
    assert_eq!(status, 401);
    assert_eq!(log_in(&http_client(), &server.url, "ada@example.com").await, 429);
    let unlock = |email| run(setup, &set, &["users", "unlock", "--email", email], "");
    let (output, said) = unlock("ADA@example.com");
    assert!(output.status.success() && said.contains("are forgotten"), "{said}");
    assert_eq!(log_in(&http_client(), &server.url, "ada@example.com").await, 200);
    let (output, said) = unlock("nobody@example.com");
    assert!(
        output.status.success() && said.contains("no failed logins") && said.contains("no account"),
        "{said}"
    );
}

async fn brings_the_schema_up_and_shows_where_it_stands(setup: &Setup) {
    let (output, said) = run(setup, &[], &["migrate", "status"], "");
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("pending") && !said.contains("applied"), "{said}");
    let (output, said) = run(setup, &[], &["migrate", "up"], "");
    let applied = said.lines().filter(|line| line.starts_with("applied")).count();
    assert!(output.status.success() && applied >= 6, "{said}");
    let (output, said) = run(setup, &[], &["migrate", "status"], "");
    assert!(output.status.success() && !said.contains("pending"), "{said}");
    let (output, said) = run(setup, &[], &["migrate", "up"], "");
    assert!(output.status.success() && said.contains("nothing to do"), "{said}");
}

/// The versions on lines that begin so, in their order.
fn versions<'a>(said: &'a str, state: &str) -> Vec<&'a str> {
    said.lines()
        .filter_map(|line| line.strip_prefix(state)?.trim_start().split('_').next())
        .collect()
}

async fn takes_migrations_back_and_keeps_what_was_before_them(setup: &Setup) {
    // The last one of 0.1.
    const OLD: &str = "20261120000006";
    let down = |how: &str, what: &str| run(setup, &[], &["migrate", "down", how, what], "");
    let status = || run(setup, &[], &["migrate", "status"], "").1;

    let (output, said) = down("--to", OLD);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("{OLD} is not applied")), "{said}");

    let mut server = Server::start(setup.folder(), &setup.variables(&[])).await;
    sign_up(&server.url, "ada@example.com").await;
    server.signal(Signal::TERM);
    assert!(server.ended().await.success());
    let before = status();
    let applied = versions(&before, "applied");
    let (newest, at) = (applied.last().unwrap(), applied.iter().position(|v| *v == OLD).unwrap());

    for (how, what, named) in [
        ("--to", "20261120000099", "20261120000099 is not applied"),
        ("--steps", "9999", "are applied"),
    ] {
        let (output, said) = down(how, what);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(named) && said.contains("migrate status"), "{said}");
        assert!(!said.contains("reverted"), "{said}");
    }
    assert_eq!(status(), before, "what is refused changes nothing");
    let (output, said) = down("--to", newest);
    assert!(output.status.success() && said.contains("nothing to do"), "{said}");

    let (output, said) = down("--steps", "1");
    assert!(output.status.success(), "{said}");
    assert_eq!(versions(&said, "reverted"), [*newest]);
    let (output, said) = down("--to", OLD);
    assert!(output.status.success(), "{said}");
    let mut reverted = versions(&said, "reverted");
    reverted.reverse();
    assert_eq!(reverted, applied[at + 1..applied.len() - 1], "newest first: {said}");
    let after = status();
    assert_eq!(versions(&after, "applied"), applied[..=at]);
    assert_eq!(versions(&after, "pending"), applied[at + 1..]);
    let (output, said) = down("--to", newest);
    assert!(!output.status.success() && said.contains("is not applied"), "{said}");

    let server = Server::start(setup.folder(), &setup.variables(&[])).await;
    assert_eq!(versions(&status(), "applied"), applied, "a start brings it up again");
    assert_eq!(log_in(&http_client(), &server.url, "ada@example.com").await, 200);
}

async fn shows_the_configuration_without_secrets(setup: &Setup) {
    let secrets = [
        ("secret.key", "a-Secret-key-of-the-tests-0123456789-abcdef"),
        ("ai.openai_api_key", "sk-a-key-of-the-tests"),
        ("stripe_stub.webhook_secret", "whsec_shown_nowhere"),
    ];
    let mut set = secrets.to_vec();
    if setup.kind() == Kind::Postgres {
        set.push((
            "database.url",
            "postgres://user:hunter2-of-the-tests@db.example.test/anteroom?password=hunter3",
        ));
    }
    let (output, said) = run(setup, &set, &["config", "dump"], "");
    assert!(output.status.success(), "{said}");
    for secret in secrets
        .map(|(_, value)| value)
        .into_iter()
        .chain(["hunter2", "hunter3"])
    {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
    assert!(
        said.contains("bcrypt_cost = 4") && said.contains("ANTEROOM__PASSWORDS__BCRYPT_COST"),
        "{said}"
    );
    let (output, said) = run(setup, &set, &["config", "check"], "");
    assert!(
        output.status.success() && said.contains("the configuration is good"),
        "{said}"
    );
    let (output, said) = run(setup, &[("secret.key", "short-secret")], &["config", "check"], "");
    assert!(
        !output.status.success() && said.contains("secret.key") && !said.contains("short-secret"),
        "{said}"
    );
}

async fn writes_what_is_committed(setup: &Setup) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for (arguments, file) in [
        (&["openapi"][..], "docs/openapi.json"),
        (&["config", "env-example"], ".env.example"),
    ] {
        let (output, said) = run(setup, &[], arguments, "");
        assert!(output.status.success(), "{said}");
        let committed = std::fs::read_to_string(root.join(file)).unwrap();
        assert!(
            String::from_utf8(output.stdout).unwrap().trim() == committed.trim(),
            "{file} is not current"
        );
    }
}

/// Everything below a folder, with its mode.
fn modes(folder: &Path, found: &mut Vec<(String, u32)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        found.push((path.display().to_string(), mode));
        if path.is_dir() {
            modes(&path, found);
        }
    }
}

async fn keeps_its_files_to_itself(setup: &Setup) {
    // Whatever the umask lets through.
    let server = Server::start(setup.folder(), &setup.variables(&[])).await;
    sign_up(&server.url, "ada@example.com").await;
    let mail = setup.data().join("mail");
    anteroom_tests::eventually("a mail leaves", || mail.exists().then_some(())).await;
    let mut found = Vec::new();
    modes(setup.folder(), &mut found);
    let is_there = |name: &str| found.iter().any(|(path, _)| path.ends_with(name));
    assert!(is_there("/data/secret.key"), "{found:?}");
    assert_eq!(is_there("/data/anteroom.db"), setup.kind() == Kind::Sqlite, "{found:?}");
    for (path, mode) in found {
        // Folders can be entered by their owner alone, files read by them alone.
        let expected = if Path::new(&path).is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{path} has {mode:o}");
    }
}

async fn makes_keys_and_checks_health(setup: &Setup) {
    let (output, first) = run(setup, &[], &["secret"], "");
    let (_, second) = run(setup, &[], &["secret"], "");
    assert!(
        output.status.success() && first.trim().len() >= 32 && first != second,
        "{first}"
    );
    assert!(!setup.data().exists(), "nothing was made for it");
    let key = [("secret.key", first.trim())];
    let (output, said) = run(setup, &key, &["config", "check"], "");
    assert!(output.status.success(), "{said}");
    let server = Server::start(setup.folder(), &setup.variables(&key)).await;
    let (output, said) = run(setup, &key, &["health", "--url", &server.url], "");
    assert!(output.status.success() && said.contains("healthy"), "{said}");
    let (output, said) = run(setup, &key, &["doctor"], "");
    assert!(output.status.success() && said.contains("schema current"), "{said}");
    let url = server.url.clone();
    drop(server);
    let (output, said) = run(setup, &key, &["health", "--url", &url], "");
    assert!(!output.status.success(), "{said}");
}

async fn says_which_models_have_no_price(setup: &Setup) {
    let upstream = Upstream::start().await;
    let settings = [
        ("ai.openai_base_url", upstream.url.as_str()),
        ("ai.models", "dear,listed-1,priced"),
        (
            "ai.prices",
            "[{ model = 'priced', input_usd_per_million = 1.0, output_usd_per_million = 1.0 }]",
        ),
    ];
    let (_, said) = run(setup, &settings, &["doctor"], "");
    assert!(
        said.contains("warn  prices: none stated for dear, listed-1: their calls have no cost"),
        "{said}"
    );
    let (_, said) = run(setup, &[], &["doctor"], "");
    assert!(!said.contains("prices"), "{said}");
}

async fn starts_with_nothing_set(setup: &Setup) {
    if setup.kind() == Kind::Postgres {
        return;
    }
    // But for the ports, which others may have.
    let variables = [("PORT", "0"), ("METRICS_PORT", "0"), ("ANTEROOM__LOG__FORMAT", "json")];
    let variables = variables
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let server = Server::start(setup.folder(), &variables).await;
    let token = sign_up(&server.url, "ada@example.com").await;
    let ask = serde_json::json!({ "model": "echo", "messages": [{ "role": "user", "content": "Hello there" }] });
    let said = http_client()
        .post(format!("{}/v1/chat/completions", server.url))
        .bearer_auth(&token);
    let said: Value = said
        .header("content-type", "application/json")
        .body(ask.to_string())
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(said["choices"][0]["message"]["content"], "Hello there");
    for path in ["data/anteroom.db", "data/secret.key"] {
        assert!(setup.folder().join(path).exists(), "{path}");
    }
}

async fn tells_people_what_it_is_and_how_to_change_that(setup: &Setup) {
    let server = Server::start(setup.folder(), &setup.variables(&[("log.format", "text")])).await;
    anteroom_tests::eventually("the greeting ends", || {
        server.said().contains("The first admin").then_some(())
    })
    .await;
    let said = server.said();
    let store = match setup.kind() {
        Kind::Sqlite => "sqlite://",
        Kind::Postgres => "postgres://***@",
    };
    let docs = format!("{}/docs", server.url);
    for part in [
        &docs,
        store,
        "echo",
        "stripe-stub",
        "mail",
        "DATABASE_URL",
        "OPENAI_API_KEY",
        "PORT",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(!said.contains("search_path"), "parameters may hold a password: {said}");
    assert_eq!(http_client().get(docs).send().await.unwrap().status(), 200);
    let set = [
        ("log.format", "text"),
        ("ai.openai_base_url", "http://127.0.0.1:9/v1"),
        ("ai.models", "small,large"),
    ];
    let server = Server::start(setup.folder(), &setup.variables(&set)).await;
    anteroom_tests::eventually("the provider is named", || {
        server
            .said()
            .contains("small, large, at http://127.0.0.1:9/v1")
            .then_some(())
    })
    .await;
    drop(server);
    // What the configuration names is not changed by variables.
    let set = [
        ("log.format", "text"),
        ("ai.providers", r#"[{ name = "mine", kind = "echo" }]"#),
    ];
    let server = Server::start(setup.folder(), &setup.variables(&set)).await;
    anteroom_tests::eventually("it is told where the provider stands", || {
        let said = server.said();
        (said.contains("set ai.providers") && !said.contains("set OPENAI_API_KEY")).then_some(())
    })
    .await;
}

async fn reads_a_dotenv_file_below_the_variables(setup: &Setup) {
    let file = "ANTEROOM__ACCOUNTS__SIGNUP=closed\nANTEROOM__PASSWORDS__BCRYPT_COST=16\nSECRET_KEY='a-Secret-key-in-a-file-0123456789-abcdef'\n";
    std::fs::write(setup.folder().join(".env"), file).unwrap();
    let (output, said) = run(setup, &[], &["config", "dump"], "");
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("signup = \"closed\"") && said.contains("bcrypt_cost = 4"),
        "{said}"
    );
    assert!(!said.contains("a-Secret-key-in-a-file"), "{said}");
    let server = Server::start(setup.folder(), &setup.variables(&[])).await;
    let ask = serde_json::json!({ "email": "ada@example.com", "password": PASSWORD });
    let (status, body) = super::post(&http_client(), &format!("{}/v1/auth/signup", server.url), &ask)
        .await
        .unwrap();
    assert_eq!((status, &body["code"]), (403, &"signup_closed".into()));
    assert!(!setup.data().join("secret.key").exists(), "it has a key and makes none");
}
