//! `anteroom users …`, `anteroom audit …` and `anteroom admin usage …`, beside a running server.

use anteroom_tests::app::http_client;
use anteroom_tests::process::{Server, command, output};
use anteroom_tests::{Kind, PASSWORD, Setup, eventually_asking, on_every_empty_store};
use serde_json::Value;

use super::{log_in, sign_up};

on_every_empty_store![
    accounts_are_listed_and_shown,
    accounts_are_closed_and_opened_beside_a_server,
    the_last_admin_stays_one,
    the_log_is_listed_and_verified,
    usage_is_added_up_anew,
    models_are_changed_beside_a_server,
];

/// Runs a command; whether it succeeded, and what it wrote to standard output and standard error.
fn run(setup: &Setup, line: &str) -> (bool, String, String) {
    let words: Vec<&str> = line.split(' ').collect();
    let output = output(command(setup.folder(), &setup.variables(&[]), &words), "");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

#[track_caller]
fn done(setup: &Setup, line: &str) -> String {
    let (good, said, errors) = run(setup, line);
    assert!(good, "{line}: {said}{errors}");
    said
}

async fn me(server: &Server, token: &str) -> u16 {
    let ask = http_client().get(format!("{}/v1/me", server.url)).bearer_auth(token);
    ask.send().await.unwrap().status().as_u16()
}

async fn usage_is_added_up_anew(setup: &Setup) {
    let server = Server::start(setup.folder(), &setup.variables(&[])).await;
    let token = sign_up(&server.url, "ada@example.com").await;
    let client = http_client();
    let ask = serde_json::json!({ "model": "echo", "messages": [{ "role": "user", "content": "Hello there" }] });
    let call = client
        .post(format!("{}/v1/chat/completions", server.url))
        .bearer_auth(&token);
    let call = call.header("content-type", "application/json").body(ask.to_string());
    assert_eq!(call.send().await.unwrap().status(), 200);
    let usage = async || -> Value {
        let ask = client.get(format!("{}/v1/me/usage", server.url)).bearer_auth(&token);
        ask.send().await.unwrap().json().await.unwrap()
    };
    let booked = eventually_asking("the call is booked", async || {
        let usage = usage().await;
        (usage["data"][0]["calls"] == 1).then_some(usage)
    })
    .await;
    setup.execute("UPDATE usage_days SET calls = 7, cost = 7").await;
    assert_eq!(usage().await["data"][0]["calls"], 7);
    let said = done(setup, "admin usage rebuild");
    assert!(said.contains("what 1 accounts used"), "{said}");
    assert_eq!(usage().await, booked);
}

async fn accounts_are_listed_and_shown(setup: &Setup) {
    let server = Server::start(setup.folder(), &setup.variables(&[])).await;
    for email in ["ada@example.com", "grace@example.com"] {
        sign_up(&server.url, email).await;
    }
    done(setup, "users set-role --email grace@example.com --role admin");
    let said = done(setup, "users list");
    assert!(
        said.contains("ada@example.com") && said.contains("2 accounts"),
        "{said}"
    );
    let said = done(setup, "users list --role admin");
    assert!(
        said.contains("grace@example.com") && said.contains("admin, unverified"),
        "{said}"
    );
    assert!(!said.contains("ada@example.com"), "{said}");
    let said = done(setup, "users list --query ADA --json");
    let user: Value = serde_json::from_str(said.trim()).unwrap();
    assert_eq!(
        (&user["email"], &user["role"]),
        (&"ada@example.com".into(), &"user".into())
    );
    let said = done(setup, "users list --limit 1");
    assert!(said.contains("there are more"), "{said}");
    let said = done(setup, "users show --email ADA@example.com");
    assert!(
        said.contains("open sessions   1") && said.contains("unverified"),
        "{said}"
    );
    let shown = format!("users show --json --email {}", user["id"].as_str().unwrap());
    let shown: Value = serde_json::from_str(&done(setup, &shown)).unwrap();
    assert_eq!(
        (&shown["email"], &shown["sessions"]),
        (&"ada@example.com".into(), &1.into())
    );
    let (good, said, errors) = run(setup, "users show --email nobody@example.com");
    assert!(
        !good && said.is_empty() && errors.contains("no account is nobody@example.com"),
        "{errors}"
    );
}

async fn accounts_are_closed_and_opened_beside_a_server(setup: &Setup) {
    let server = Server::start(setup.folder(), &setup.variables(&[])).await;
    let token = sign_up(&server.url, "ada@example.com").await;
    assert_eq!(me(&server, &token).await, 200);
    let said = done(setup, "users disable --email ada@example.com");
    assert!(said.contains("its sessions have ended"), "{said}");
    anteroom_tests::eventually_asking("the server notices", async || {
        (me(&server, &token).await == 401).then_some(())
    })
    .await;
    assert_eq!(log_in(&http_client(), &server.url, "ada@example.com").await, 403);
    done(setup, "users enable --email ada@example.com");
    assert_eq!(log_in(&http_client(), &server.url, "ada@example.com").await, 200);
    let said = done(setup, "users revoke-sessions --email ada@example.com");
    assert!(said.contains("1 sessions have ended"), "{said}");
    let mails = || std::fs::read_dir(setup.folder().join("data/mail")).map_or(0, Iterator::count);
    let before = mails();
    let said = done(setup, "users reset-mail --email ada@example.com");
    assert!(said.contains("the running server mails it"), "{said}");
    anteroom_tests::eventually_asking("the server mails it", async || (mails() > before).then_some(())).await;
}

async fn the_last_admin_stays_one(setup: &Setup) {
    let create = ["admin", "create", "--email", "root@example.com", "--password-stdin"];
    let created = output(
        command(setup.folder(), &setup.variables(&[]), &create),
        &format!("{PASSWORD}\n"),
    );
    assert!(created.status.success());
    for line in [
        "users set-role --email root@example.com --role user",
        "users disable --email root@example.com",
    ] {
        let (good, _, errors) = run(setup, line);
        assert!(!good && errors.contains("last admin"), "{errors}");
    }
    let said = done(setup, "users set-role --email root@example.com --role admin --json");
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["role"], "admin");
}

async fn the_log_is_listed_and_verified(setup: &Setup) {
    let server = Server::start(setup.folder(), &setup.variables(&[])).await;
    for email in ["ada@example.com", "grace@example.com", "emmy@example.com"] {
        sign_up(&server.url, email).await;
    }
    done(setup, "users set-role --email ada@example.com --role admin");
    let said = done(setup, "audit list --user ada@example.com");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(
        lines[0].contains("account.role.change") && lines[0].contains("by operator to"),
        "{said}"
    );
    assert!(
        lines[1].contains("account.signup") && lines[1].contains("from 127.0.0.1"),
        "{said}"
    );
    let said = done(setup, "audit list --act account.role --outcome succeeded --json");
    let row: Value = serde_json::from_str(said.trim()).unwrap();
    assert_eq!(
        (&row["actor"]["kind"], &row["details"]["to"]),
        (&"operator".into(), &"admin".into())
    );
    let head = anteroom_tests::eventually("all is sealed", || {
        let said = done(setup, "audit verify");
        let sealed = said.contains("intact: 6 rows") && !said.contains("no seal");
        sealed.then(|| said.trim().rsplit(' ').next().unwrap().to_owned())
    })
    .await;
    assert!(head.starts_with("6:"), "{head}");
    anteroom_tests::eventually("the head is in the log, whose lines come a moment later", || {
        server.said().contains("audit.sealed").then_some(())
    })
    .await;
    done(setup, &format!("audit verify --head {head}"));
    let (good, said, _) = run(setup, &format!("audit verify --head 9{}", &head[1..]));
    assert!(!good && said.contains("its end was cut off"), "{said}");
    let (good, _, errors) = run(setup, "audit verify --head 9");
    assert!(!good && errors.contains("SEQ:DIGEST"), "{errors}");
    drop(server);
    setup
        .execute(match setup.kind() {
            Kind::Sqlite => "DROP TRIGGER audit_log_is_not_updated",
            Kind::Postgres => "DROP TRIGGER audit_log_is_append_only ON audit_log",
        })
        .await;
    setup
        .execute("UPDATE audit_log SET outcome = 'failed' WHERE act = 'account.role.change'")
        .await;
    let (good, said, _) = run(setup, "audit verify");
    assert!(!good && said.contains("BROKEN  link 6: row"), "{said}");
}

async fn models_are_changed_beside_a_server(setup: &Setup) {
    let server = Server::start(setup.folder(), &setup.variables(&[])).await;
    let token = sign_up(&server.url, "ada@example.com").await;
    let client = http_client();
    let offered = async |model: &str| {
        let ask = client
            .get(format!("{}/v1/models/{model}", server.url))
            .bearer_auth(&token);
        ask.send().await.unwrap().status() == 200
    };
    assert!(offered("echo").await);
    assert!(done(setup, "admin models list").starts_with("echo  offered  (config)  echo/echo"));
    let file = setup.folder().join("model.json");
    let put = format!("admin models put echo --file {}", file.display());
    std::fs::write(
        &file,
        r#"{ "targets": [{ "provider": "nowhere", "model": "m" }], "plans": ["gold"] }"#,
    )
    .unwrap();
    let (good, _, errors) = run(setup, &put);
    assert!(!good, "{errors}");
    for wrong in ["/targets/0/provider: ", "/plans/0: "] {
        assert!(errors.contains(wrong), "{errors}");
    }
    std::fs::write(
        &file,
        r#"{ "targets": [{ "provider": "echo", "model": "echo" }], "enabled": false }"#,
    )
    .unwrap();
    let said = done(setup, &put);
    assert!(said.contains("withheld  (store, over the configuration's)"), "{said}");
    eventually_asking("the server withholds it", async || {
        (!offered("echo").await).then_some(())
    })
    .await;
    let said = done(setup, "admin models list --json");
    let listed: Value = serde_json::from_str(said.trim()).unwrap();
    assert_eq!((&listed["name"], &listed["source"]), (&"echo".into(), &"store".into()));
    let said = done(setup, "admin models delete echo");
    assert!(said.contains("the configuration's is back"), "{said}");
    eventually_asking("the server offers it again", async || {
        offered("echo").await.then_some(())
    })
    .await;
    let (good, _, errors) = run(setup, "admin models delete echo");
    assert!(!good && errors.contains("is in the configuration"), "{errors}");
    // From standard input, with a slash in its name.
    let words = ["admin", "models", "put", "team/echo"];
    let input = r#"{ "targets": [{ "provider": "echo", "model": "echo" }] }"#;
    let put = output(command(setup.folder(), &setup.variables(&[]), &words), input);
    assert!(put.status.success(), "{put:?}");
    assert!(done(setup, "admin models list").contains("team/echo  offered  (store)"));
    let log = done(setup, "audit list --act model");
    assert!(log.contains("model.put") && log.contains("model.delete"), "{log}");
}
