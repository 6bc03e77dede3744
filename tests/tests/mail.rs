//! Mails from the whole server: through a real mail server, and whatever a request says of its host.

use std::time::{Duration, Instant};

use anteroom_testkit::smtp::SmtpServer;
use anteroom_tests::{FRONTEND, PASSWORD, Setup, TestApp, on_every_store, skipped};
use serde_json::json;

on_every_store![
    a_dead_mail_server_loses_no_mail_and_slows_no_request,
    a_mail_server_gets_text_and_html,
    f64_hostile_host_headers_leave_mails_byte_identical,
];

async fn sign_up(app: &TestApp, email: &str) {
    app.post("/v1/auth/signup")
        .json(&json!({ "email": email, "password": PASSWORD }))
        .await
        .is(201);
}

async fn a_dead_mail_server_loses_no_mail_and_slows_no_request(setup: &Setup) {
    if !SmtpServer::is_there() {
        return skipped("TEST_SMTP_PYTHON names no Python with aiosmtpd");
    }
    // A server that takes connections and says nothing: the worst kind of dead.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = format!("smtp://127.0.0.1:{port}");
    let app = setup
        .app_with(&[("mail.smtp_url", &url), ("mail.timeout_ms", "500")])
        .await;
    let mut slowest = Duration::ZERO;
    for number in 0..12 {
        let begun = Instant::now();
        sign_up(&app, &format!("person{number}@example.com")).await;
        slowest = slowest.max(begun.elapsed());
    }
    // Each of them would have waited for half a second, and then the next ones for those before.
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    drop(silent);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let server = SmtpServer::start(&["--port", &port.to_string()]);
    let taken = server.taken(12).await;
    let mut to: Vec<_> = taken
        .iter()
        .map(|mail| mail["to"].as_str().unwrap().to_owned())
        .collect();
    to.sort();
    to.dedup();
    assert_eq!(to.len(), 12, "{to:?}");
}

async fn a_mail_server_gets_text_and_html(setup: &Setup) {
    if !SmtpServer::is_there() {
        return skipped("TEST_SMTP_PYTHON names no Python with aiosmtpd");
    }
    let server = SmtpServer::start(&[]);
    let url = format!("smtp://127.0.0.1:{}", server.port);
    let app = setup.app_with(&[("mail.smtp_url", &url)]).await;
    sign_up(&app, "ada@example.com").await;
    sign_up(&app, "later@example.com").await;
    sign_up(&app, "never@example.com").await;
    let taken = server.taken(2).await;
    let mut to: Vec<_> = taken.iter().map(|mail| mail["to"].as_str().unwrap()).collect();
    to.sort_unstable();
    assert_eq!(to, ["ada@example.com", "later@example.com"]);
}

/// Security case F64 (GHSA-3529-5m8x-rpv3): what a mail says and links to comes from the configuration alone.
async fn f64_hostile_host_headers_leave_mails_byte_identical(setup: &Setup) {
    let app = setup.app().await;
    let hostile: [&[(&str, &str)]; 5] = [
        &[],
        &[("host", "evil.example")],
        &[
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-port", "444"),
        ],
        &[("forwarded", "for=192.0.2.1;host=evil.example;proto=https")],
        &[
            ("x-original-host", "evil.example"),
            ("x-host", "evil.example"),
            ("x-forwarded-server", "evil.example"),
            ("x-forwarded-prefix", "/evil"),
            ("x-original-url", "http://evil.example/"),
            ("origin", FRONTEND),
        ],
    ];
    for (number, headers) in hostile.iter().enumerate() {
        let email = format!("person{number}@example.com");
        let mut ask = app.post("/v1/auth/signup");
        for (name, value) in *headers {
            ask = ask.header(name, value);
        }
        ask.json(&json!({ "email": email, "password": PASSWORD })).await.is(201);
        app.expect_mails(std::slice::from_ref(&email));
    }
    app.mails_have_left().await;
    let mails = app.mails();
    assert_eq!(mails.len(), hostile.len());
    // But for the recipient, the identifier, the token and the time.
    let same = |mail: &anteroom_tests::app::Mail| {
        let id = mail
            .path
            .file_stem()
            .unwrap()
            .to_str()
            .unwrap()
            .split_once('-')
            .unwrap()
            .1
            .to_owned();
        let text = mail
            .text
            .replace(&id, "ID")
            .replace(&id.replace('-', ""), "ID")
            .replace(&mail.to, "TO");
        let (_, rest) = text.split_once("#token=").unwrap();
        let token: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
        let text = text.replace(&token, "TOKEN");
        let lines = text.lines().filter(|line| !line.starts_with("Date: "));
        lines.collect::<Vec<_>>().join("\n")
    };
    let first = same(&mails[0]);
    assert!(first.contains("ID") && first.contains("TO"));
    for mail in &mails {
        assert_eq!(same(mail), first);
        assert!(!mail.text.contains("evil"), "{}", mail.text);
    }
}
