//! What is no HTTP is refused like everything else: by a problem that says where the fault is, with an id that the log
//! knows.

use std::time::{Duration, Instant};

use anteroom_tests::client::raw;
use anteroom_tests::{Setup, TestApp, logs, on_every_store};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

on_every_store![
    what_is_no_request_gets_a_problem,
    a_request_before_it_is_answered_first,
    a_head_in_pieces_is_one,
    streams_to_old_clients_are_not_chunked,
];

/// An answer as it came: its head, with names in lower case, and its body.
fn parts(answer: &str) -> (String, String) {
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no head: {answer}"));
    (head.to_lowercase(), body.to_owned())
}

fn header(head: &str, name: &str) -> String {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let found = lines.find(|(n, _)| *n == name);
    found.unwrap_or_else(|| panic!("no {name} in {head}")).1.to_owned()
}

/// Checks that an answer refuses as answers do, and gives the problem.
fn refused(answer: &str, status: u16, code: &str) -> Value {
    let (head, body) = parts(answer);
    assert!(head.starts_with(&format!("http/1.1 {status} ")), "{answer}");
    let problem: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {answer}"));
    assert_eq!(
        (&problem["status"], &problem["code"]),
        (&status.into(), &code.into()),
        "{answer}"
    );
    for (name, value) in [
        ("content-type", "application/problem+json"),
        ("content-length", body.len().to_string().as_str()),
        ("connection", "close"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "deny"),
        ("cache-control", "no-store"),
        ("vary", "origin"),
    ] {
        assert_eq!(header(&head, name), value, "{name}: {answer}");
    }
    assert!(header(&head, "content-security-policy").contains("default-src 'none'"));
    assert!(header(&head, "date").ends_with("gmt"));
    let id = header(&head, "x-request-id");
    assert_eq!(problem["request_id"], id);
    let line = logs::request_line(&id).expect("a line in the log");
    assert_eq!(
        (line.fields["status"].as_str(), line.fields["code"].as_str()),
        (status.to_string().as_str(), code)
    );
    problem
}

async fn what_is_no_request_gets_a_problem(setup: &Setup) {
    let app = setup.app().await;
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let head = "POST /v1/auth/login HTTP/1.1\r\nhost: x\r\n";
    let table = [
        ("hello\r\n\r\n".to_owned(), 400, "malformed_request", "request line"),
        (
            "GET / HTTP/9.9\r\n\r\n".to_owned(),
            400,
            "malformed_request",
            "request line",
        ),
        (
            "GET /\u{7f} HTTP/1.1\r\n\r\n".to_owned(),
            400,
            "malformed_request",
            "request line",
        ),
        (
            format!("{head}bad header\r\n\r\n"),
            400,
            "malformed_request",
            "header 2",
        ),
        (
            format!("{head}x-odd: a\0b\r\n\r\n"),
            400,
            "malformed_request",
            "header x-odd",
        ),
        (
            format!("{head}content-length: x\r\n\r\n"),
            400,
            "malformed_request",
            "header content-length",
        ),
        (
            format!("{head}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{{}}"),
            400,
            "malformed_request",
            "header transfer-encoding",
        ),
        (format!("{head}{many}\r\n"), 431, "headers_too_large", ""),
        (
            format!("{head}x: {}\r\n\r\n", "y".repeat(140_000)),
            431,
            "headers_too_large",
            "",
        ),
        (
            format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(70_000)),
            414,
            "uri_too_long",
            "",
        ),
        (
            format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(400_000)),
            414,
            "uri_too_long",
            "",
        ),
    ];
    for (request, status, code, at) in table {
        let begun = Instant::now();
        let answer = raw(&app, request.as_bytes()).await;
        // The helper waits as long for more; a closed connection ends it at once.
        assert!(begun.elapsed() < Duration::from_millis(650), "the connection is closed");
        let problem = refused(&answer, status, code);
        assert_eq!(problem["at"].as_str().unwrap_or_default(), at, "{problem}");
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
    app.get("/health").await.is(200);
}

async fn a_request_before_it_is_answered_first(setup: &Setup) {
    let app = setup.app().await;
    let good = "GET /health HTTP/1.1\r\nhost: x\r\n\r\n";
    let answer = raw(&app, format!("{good}{good}bad\r\n\r\n").as_bytes()).await;
    let last = answer.rfind("HTTP/1.1 4").unwrap();
    assert_eq!(answer[..last].matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
    assert!(!answer[..last].contains("HTTP/1.1 4"), "{answer}");
    refused(&answer[last..], 400, "malformed_request");
    // What looks like a bare refusal in what a client sends is no refusal.
    let bare = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
    let ask = app
        .post("/v1/auth/login")
        .header("content-type", "application/json")
        .body(bare);
    ask.await.refused(400, "malformed_json");
}

async fn connect(app: &TestApp) -> TcpStream {
    TcpStream::connect(app.url().strip_prefix("http://").unwrap())
        .await
        .unwrap()
}

async fn a_head_in_pieces_is_one(setup: &Setup) {
    let app = setup.app().await;
    let mut stream = connect(&app).await;
    let mut answers = String::new();
    for _ in 0..2 {
        for piece in ["GET /hea", "lth HTTP/1.1\r\nho", "st: x\r\n", "\r\n"] {
            stream.write_all(piece.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut buffer = [0; 4096];
        let n = stream.read(&mut buffer).await.unwrap();
        answers.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
    }
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    for piece in ["GET /health HTTP/1.1\r\n", "host: x\r\nbro", "ken\r\n", "\r\n"] {
        // It may have refused before the last piece.
        let _ = stream.write_all(piece.as_bytes()).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    let problem = refused(std::str::from_utf8(&rest).unwrap(), 400, "malformed_request");
    assert_eq!(problem["at"], "header 2");
}

/// RFC 9112 section 6.1: a client of HTTP/1.0 is sent no transfer coding; the end of the connection ends its body.
async fn streams_to_old_clients_are_not_chunked(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let body = r#"{"model":"echo","messages":[{"role":"user","content":"hi there"}],"stream":true}"#;
    for connection in ["close", "keep-alive"] {
        let request = format!(
            "POST /v1/chat/completions HTTP/1.0\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: {connection}\r\n\r\n{body}",
            user.access_token,
            body.len()
        );
        let mut stream = connect(&app).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(3), stream.read_to_end(&mut read)).await;
        assert!(ended.is_ok(), "the connection is closed at the end");
        let (head, body) = parts(std::str::from_utf8(&read).unwrap());
        assert!(
            head.contains(" 200 ") && head.contains("content-type: text/event-stream"),
            "{head}"
        );
        assert!(
            !head.contains("transfer-encoding") && !head.contains("content-length"),
            "{head}"
        );
        assert!(!head.contains("keep-alive"), "{head}");
        assert!(
            body.starts_with("data: {") && body.ends_with("data: [DONE]\n\n"),
            "{body}"
        );
    }
    // Others still get chunks.
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        user.access_token,
        body.len()
    );
    let answer = raw(&app, request.as_bytes()).await;
    assert!(
        answer.contains("transfer-encoding: chunked") && answer.ends_with("0\r\n\r\n"),
        "{answer}"
    );
}
