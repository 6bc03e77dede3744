//! `anteroom users import`

use std::fmt::Write as _;

use anteroom_tests::app::http_client;
use anteroom_tests::process::{Server, command, output};
use anteroom_tests::{Setup, on_every_store};
use serde_json::{Value, json};

on_every_store![
    people_log_in_with_the_passwords_they_had,
    bad_lines_are_named_and_the_rest_is_taken,
    it_can_be_run_again_and_from_a_line,
];

/// The password of each of the hashes.
const PASSWORD: &str = "correct horse bättery";

fn run(setup: &Setup, file: &str, more: &[&str]) -> (bool, String, String) {
    std::fs::write(setup.folder().join("users.jsonl"), file).unwrap();
    let arguments = [&["users", "import", "--file", "users.jsonl"], more].concat();
    let output = output(command(setup.folder(), &setup.variables(&[]), &arguments), "");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

async fn log_in(server: &Server, email: &str, password: &str) -> (u16, Value) {
    let ask = json!({ "email": email, "password": password });
    super::post(&http_client(), &format!("{}/v1/auth/login", server.url), &ask)
        .await
        .unwrap()
}

async fn people_log_in_with_the_passwords_they_had(setup: &Setup) {
    let hashes = [
        (
            "bcrypt",
            json!("$2y$04$abcdefghijklmnopqrstuu.re4/lWF.zqrrGnYy1AP3doZ95IIwKq"),
        ),
        (
            "argon2id",
            json!("$argon2id$v=19$m=256,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$SNb826Pn54psaLxIBhMuiS7HjWY1ZeN+diHohjOdUtk"),
        ),
        (
            "scrypt",
            json!("$scrypt$ln=8,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$WJzrt0lQKH5DghGzL5KJWPwr0yeCgccbmv5WMoIdAGU"),
        ),
        (
            "pbkdf2",
            json!({ "algorithm": "pbkdf2-sha256", "iterations": 1000, "salt": "AAECAwQFBgcICQoLDA0ODw==",
                "hash": "KNnI6qMWHAqAnT0mrq8B0juulbkyG7uC+HoDGNtkZlg=" }),
        ),
        (
            "django",
            json!("pbkdf2_sha256$1000$seasalt12345$hueVd0uzQzCNI3QXDORHV1Edc90AWhxY707xaqnhx5I="),
        ),
    ];
    let mut file = String::new();
    for (name, hash) in &hashes {
        let line = json!({ "email": format!("{name}@example.com"), "name": name, "locale": "de", "email_verified": true,
            "created_at": "2020-01-02T03:04:05Z", "password_hash": hash });
        writeln!(file, "{line}").unwrap();
    }
    // Firebase's own example.
    let firebase = json!({ "email": "firebase@example.com", "password_hash": { "algorithm": "firebase-scrypt",
        "salt": "42xEC+ixf3L2lw==", "salt_separator": "Bw==", "rounds": 8, "mem_cost": 14,
        "signer_key": "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==",
        "hash": "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==" } });
    writeln!(file, "{firebase}").unwrap();
    let (done, out, err) = run(setup, &file, &[]);
    assert!(done && out.contains("6 users added"), "{out}{err}");
    // Nobody looks at a terminal, so nothing is drawn.
    assert!(!err.contains('\r'), "{err}");

    let server = Server::start(setup.folder(), &setup.variables(&[])).await;
    for (name, _) in &hashes {
        let email = format!("{name}@example.com");
        assert_eq!(log_in(&server, &email, "a wrong password").await.0, 401, "{name}");
        // By what was brought along, and by what it was replaced with.
        for _ in 0..2 {
            let (status, body) = log_in(&server, &email, PASSWORD).await;
            assert_eq!(status, 200, "{name}: {body}");
            let user = &body["user"];
            assert_eq!(
                (&user["name"], &user["locale"], &user["role"]),
                (&json!(name), &json!("de"), &json!("user"))
            );
            assert_eq!(user["created_at"], "2020-01-02T03:04:05Z");
        }
    }
    for password in ["user1password", "user1password"] {
        assert_eq!(log_in(&server, "firebase@example.com", password).await.0, 200);
    }
    assert_eq!(log_in(&server, "firebase@example.com", "user2password").await.0, 401);
}

async fn bad_lines_are_named_and_the_rest_is_taken(setup: &Setup) {
    let secret = "c2VjcmV0c2VjcmV0";
    let file = format!(
        "{}\n\n{}\n{}\n{}\n{}\n{}\n",
        r#"{"email":"ada@example.com"}"#,
        r#"{"email":"not an address"}"#,
        r#"{"email":"root@example.com","role":"admin"}"#,
        r#"{"email":"x@example.com","password_hash":"$2b$31$abcdefghijklmnopqrstuu.re4/lWF.zqrrGnYy1AP3doZ95IIwKq"}"#,
        format_args!(r#"{{"email":"y@example.com","password_hash":"{secret}"}}"#),
        r#"{"email":"eve@example.com","#,
    );
    let tried = run(setup, &file, &["--dry-run"]);
    assert!(
        !tried.0 && tried.1.contains("1 users would be added"),
        "{}{}",
        tried.1,
        tried.2
    );
    let (done, out, err) = run(setup, &file, &[]);
    assert!(!done, "bad lines end it with 1");
    assert!(
        out.contains("1 users added, 0 had an account already, 5 lines were not taken"),
        "{out}"
    );
    for (line, reason) in [
        (3, "email"),
        (4, "admin create"),
        (5, "cost of 4 to 16"),
        (6, "password_hash"),
        (7, "JSON"),
    ] {
        let named = err.lines().find(|l| l.starts_with(&format!("line {line}: ")));
        assert!(named.is_some_and(|l| l.contains(reason)), "{line}: {err}");
    }
    assert!(!err.contains(secret), "{err}");
    // The bad ones alone, put right.
    let (done, out, _) = run(setup, r#"{"email":"eve@example.com"}"#, &[]);
    assert!(
        done && out.contains("1 users added, 0 had an account already, 0 lines"),
        "{out}"
    );
}

async fn it_can_be_run_again_and_from_a_line(setup: &Setup) {
    // More than a batch.
    let file: String = (0..1201).fold(String::new(), |mut file, number| {
        writeln!(file, r#"{{"email":"person{number}@example.com"}}"#).unwrap();
        file
    });
    let (done, out, err) = run(setup, &file, &["--from-line", "1001"]);
    assert!(done && out.contains("201 users added"), "{out}{err}");
    let (done, out, err) = run(setup, &file, &["--dry-run"]);
    assert!(
        done && out.contains("1000 users would be added, 201 had an account"),
        "{out}{err}"
    );
    let (done, out, err) = run(setup, &file, &[]);
    assert!(
        done && out.contains("1000 users added, 201 had an account"),
        "{out}{err}"
    );
    let (done, out, err) = run(setup, &file, &[]);
    assert!(done && out.contains("0 users added, 1201 had an account"), "{out}{err}");
    let (done, _, err) = run(setup, &file, &["--from-line", "5000"]);
    assert!(!done && err.contains("1201 lines"), "{err}");
    // Whoever is in twice is there once.
    let twice = "{\"email\":\"ada@example.com\"}\n{\"email\":\"ADA@example.com\"}\n";
    for more in [&["--dry-run"][..], &[]] {
        let (done, out, err) = run(setup, twice, more);
        assert!(
            done && out.starts_with("1 users") && out.contains("1 had an account"),
            "{out}{err}"
        );
    }
}
