//! Mails from the whole server: through a real mail server, and whatever a request says of its host.

use std::time::{Duration, Instant};

use anteroom_testkit::smtp::SmtpServer;
use anteroom_tests::{Ask, FRONTEND, Mail, PASSWORD, Setup, TestApp, User, on_every_store, skipped};
use serde_json::{Value, json};

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

/// What attackers have sent along to have links built from it.
const HOSTILE: [&[(&str, &str)]; 5] = [
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

/// A mail but for its identifier, its token, its time, and the addresses that it is to and about.
fn shape(mail: &Mail, addresses: &[&str]) -> String {
    let name = mail.path.file_stem().unwrap().to_str().unwrap();
    let id = name.split_once('-').unwrap().1;
    let mut text = mail.text.replace(id, "ID").replace(&id.replace('-', ""), "ID");
    for address in addresses {
        text = text.replace(address, "ADDRESS");
    }
    let (_, rest) = text.split_once("#token=").unwrap();
    let token: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
    assert_eq!(token.len(), 64, "{text}");
    let text = text.replace(&token, "TOKEN");
    let lines = text.lines().filter(|line| !line.starts_with("Date: "));
    lines.collect::<Vec<_>>().join("\n")
}

/// Security case F 64 (GHSA-3529-5m8x-rpv3): what a mail says and links to comes from the configuration alone, in every
/// mail that a request can cause.
async fn f64_hostile_host_headers_leave_mails_byte_identical(setup: &Setup) {
    let app = setup.app().await;
    let mut shapes: Vec<Vec<String>> = Vec::new();
    for (number, headers) in HOSTILE.iter().enumerate() {
        let (email, new) = (
            format!("person{number}@example.com"),
            format!("changed{number}@example.com"),
        );
        let post = |path: &str, body: &Value| {
            let with = |ask: Ask, (name, value): &(&str, &str)| ask.header(name, value);
            headers.iter().fold(app.post(path), with).json(body)
        };
        let before = app.mails().len();
        let account = json!({ "email": email, "password": PASSWORD });
        let user = post("/v1/auth/signup", &account).expect(201);
        let user = user.events(&["account.signup.succeeded"]).mails(&[&email]).await;
        let user = User::of(&user.json());
        let only = json!({ "email": email });
        for (path, event) in [
            ("/v1/auth/email/resend", "account.email.verification_requested"),
            ("/v1/auth/password/forgot", "account.password.reset_requested"),
        ] {
            post(path, &only).expect(202).events(&[event]).mails(&[&email]).await;
        }
        post("/v1/me/email", &json!({ "email": new }))
            .by(&user)
            .expect(202)
            .events(&["account.email.change_requested"])
            .mails(&[&email, &new])
            .await;
        let (confirm, undo) = (app.mailed_token(&new).await, app.mailed_token(&email).await);
        post("/v1/auth/email/verify", &json!({ "token": confirm }))
            .expect(204)
            .events(&["account.email.changed"])
            .mails(&[&email])
            .await;
        post("/v1/auth/email/undo", &json!({ "token": undo }))
            .expect(204)
            .events(&["account.email.change_undone", "session.ended"])
            .mails(&[&email])
            .await;
        let mails = app.mails().split_off(before);
        assert!(mails.iter().all(|mail| !mail.text.contains("evil")), "{mails:#?}");
        let mut own: Vec<_> = mails.iter().map(|mail| shape(mail, &[&email, &new])).collect();
        own.sort();
        shapes.push(own);
    }
    // Signup, another link, a new password, two about the change, its confirmation, and what undoing it brings.
    assert_eq!(shapes[0].len(), 7, "{:#?}", shapes[0]);
    for (number, own) in shapes.iter().enumerate() {
        assert_eq!(own, &shapes[0], "with {:?}", HOSTILE[number]);
    }
}
