//! Passwords, tokens, cookies and keys are in no line of the log, however much is logged, and in no trace.

use anteroom_stripe_stub::sign;
use anteroom_testkit::Collector;
use anteroom_tests::app::http_client;
use anteroom_tests::process::{Server, command, output};
use anteroom_tests::upstream::{KEY, chunk, sse};
use anteroom_tests::{Script, Setup, Step, StripeSubscription, Upstream, User, WEBHOOK_SECRET, now, on_every_store};
use reqwest::Response;
use secrecy::SecretString;
use serde_json::{Value, json};

on_every_store![g70_secrets_are_in_no_line_of_the_log];

const SECRET_KEY: &str = "canary-Secret-key-of-the-deployment-0123456789";
const FIRST: &str = "canary password of the first one";
const WRONG: &str = "canary wrong guess of somebody";
const SECOND: &str = "canary Second secret of the first one";
const THIRD: &str = "canary Third lantern of the first one";
const PROMPT: &str = "canary question nobody else should read";

/// What other systems had stored of passwords, with what it is found by.
const FOREIGN: [(&str, &str); 4] = [
    (
        r#""$2y$04$abcdefghijklmnopqrstuu.re4/lWF.zqrrGnYy1AP3doZ95IIwKq""#,
        "re4/lWF.zqrrGnYy1AP3doZ95IIwKq",
    ),
    (
        r#""$argon2id$v=19$m=256,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$SNb826Pn54psaLxIBhMuiS7HjWY1ZeN+diHohjOdUtk""#,
        "SNb826Pn54psaLxIBhMuiS7HjWY1ZeN+diHohjOdUtk",
    ),
    (
        r#"{"algorithm":"pbkdf2-sha256","iterations":1000,"salt":"AAECAwQFBgcICQoLDA0ODw==","hash":"KNnI6qMWHAqAnT0mrq8B0juulbkyG7uC+HoDGNtkZlg="}"#,
        "KNnI6qMWHAqAnT0mrq8B0juulbkyG7uC+HoDGNtkZlg",
    ),
    // One that cannot be read, and is named as such.
    (
        r#""$2y$04$abcdefghijklmnopqrstuu.CanaryThatIsTooShort""#,
        "CanaryThatIsTooShort",
    ),
];
/// The password of the readable ones.
const IMPORTED: &str = "correct horse bättery";

/// The mailed tokens that are found at a page's address in the mails to somebody, oldest first.
fn mailed(setup: &Setup, to: &str, page: &str) -> Vec<String> {
    let Ok(folder) = std::fs::read_dir(setup.data().join("mail")) else {
        return Vec::new();
    };
    let mut files: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "eml"));
    files.sort();
    let texts = files.iter().map(|file| std::fs::read_to_string(file).unwrap());
    let token = |text: String| {
        let rest = text.split_once(&format!("/{page}#token="))?.1.to_owned();
        let token: String = rest
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect();
        text.contains(&format!("To: {to}")).then_some(token)
    };
    texts.filter_map(token).collect()
}

/// The newest of them, once there are so many.
async fn token(setup: &Setup, to: &str, page: &str, number: usize) -> String {
    anteroom_tests::eventually(&format!("mail {number} to {to} with {page}"), || {
        let tokens = mailed(setup, to, page);
        tokens.into_iter().nth(number - 1)
    })
    .await
}

struct Client {
    http: reqwest::Client,
    url: String,
}

impl Client {
    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let mut request = self
            .http
            .request(method.parse().unwrap(), format!("{}{path}", self.url));
        request = request
            .header("content-type", "application/json")
            .header("origin", anteroom_tests::FRONTEND);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body.to_owned()).send().await.unwrap()
    }

    async fn json(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Value {
        let response = self.send(method, path, headers, &body.to_string()).await;
        assert!(
            response.status().as_u16() < 300,
            "{path}: {}",
            response.text().await.unwrap()
        );
        serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default()
    }
}

/// What somebody does who forgets a password, moves to another address and sees a login that they do not know. Answers
/// the secrets that this took.
async fn recovery(setup: &Setup, client: &Client) -> Vec<String> {
    let bob = "bob@example.com";
    let account = |password: &str| json!({ "email": bob, "password": password });
    let user = User::of(&client.json("POST", "/v1/auth/signup", &[], &account(FIRST)).await);
    let mut canaries = vec![user.access_token, user.refresh_token];
    let spent = async |path: &str, body: Value| {
        let wrong = json!({ "token": body["token"].as_str().unwrap().to_uppercase(), "password": WRONG });
        for body in [&wrong, &json!({ "token": [body["token"]], "x": body["token"] })] {
            let status = client.send("POST", path, &[], &body.to_string()).await.status();
            assert!(status.is_client_error(), "{path}");
        }
        client.json("POST", path, &[], &body).await;
        let again = client.send("POST", path, &[], &body.to_string()).await;
        assert_eq!(again.status(), 400, "{path}");
    };
    let verify = token(setup, bob, "verify-email", 1).await;
    spent("/v1/auth/email/verify", json!({ "token": verify })).await;
    let forgot = json!({ "email": bob });
    client.json("POST", "/v1/auth/password/forgot", &[], &forgot).await;
    let reset = token(setup, bob, "reset-password", 1).await;
    spent("/v1/auth/password/reset", json!({ "token": reset, "password": SECOND })).await;

    // A device of their own first, so that the next is a new one.
    let user = User::of(&client.json("POST", "/v1/auth/login", &[], &account(SECOND)).await);
    let from = [(
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
    )];
    let stranger = User::of(&client.json("POST", "/v1/auth/login", &from, &account(SECOND)).await);
    let revoke = token(setup, bob, "revoke-session", 1).await;
    spent("/v1/auth/sessions/revoke", json!({ "token": revoke })).await;
    canaries.extend([stranger.access_token, stranger.refresh_token]);

    let bearer = format!("Bearer {}", user.access_token);
    let by = [("authorization", bearer.as_str())];
    for (path, right, wrong) in [
        (
            "/v1/auth/reauthenticate",
            json!({ "password": SECOND }),
            json!({ "password": WRONG }),
        ),
        (
            "/v1/me/password",
            json!({ "current_password": SECOND, "new_password": THIRD }),
            json!({ "current_password": WRONG, "new_password": THIRD }),
        ),
    ] {
        let refused = client.send("POST", path, &by, &wrong.to_string()).await.status();
        assert!(refused.is_client_error(), "{path}");
        client.json("POST", path, &by, &right).await;
    }
    let new = json!({ "email": "bobby@example.com" });
    client.json("POST", "/v1/me/email", &by, &new).await;
    let confirm = token(setup, "bobby@example.com", "confirm-email", 1).await;
    spent("/v1/auth/email/verify", json!({ "token": confirm })).await;
    let undo = token(setup, bob, "undo-email-change", 2).await;
    canaries.push(token(setup, bob, "undo-email-change", 1).await);
    spent("/v1/auth/email/undo", json!({ "token": undo })).await;
    canaries.push(token(setup, bob, "reset-password", 2).await);
    canaries.extend([
        user.access_token,
        user.refresh_token,
        verify,
        reset,
        revoke,
        confirm,
        undo,
    ]);
    canaries
}

async fn g70_secrets_are_in_no_line_of_the_log(setup: &Setup) {
    let (upstream, collector) = (Upstream::start().await, Collector::start());
    let mut settings = upstream.settings("m").to_vec();
    settings.extend([
        ("telemetry.otlp_endpoint", collector.url.as_str()),
        ("log.level", "trace"),
        ("secret.key", SECRET_KEY),
        ("metrics.enabled", "true"),
        ("metrics.port", "0"),
    ]);
    // Brought along from elsewhere, before there is a server.
    let mut lines = String::new();
    for (number, (hash, _)) in FOREIGN.iter().enumerate() {
        lines.push_str(&format!(
            "{{\"email\":\"imported{number}@example.com\",\"password_hash\":{hash}}}\n"
        ));
    }
    std::fs::write(setup.folder().join("users.jsonl"), lines).unwrap();
    let import = ["users", "import", "--file", "users.jsonl"];
    let imported = output(command(setup.folder(), &setup.variables(&settings), &import), "");
    let imported = [imported.stdout, imported.stderr].concat();
    let imported = String::from_utf8(imported).unwrap();
    assert!(
        imported.contains("3 users added") && imported.contains("line 4"),
        "{imported}"
    );
    let server = Server::start(setup.folder(), &setup.variables(&settings)).await;
    let client = Client {
        http: http_client(),
        url: server.url.clone(),
    };
    let mut canaries: Vec<String> = [
        SECRET_KEY,
        FIRST,
        WRONG,
        SECOND,
        THIRD,
        IMPORTED,
        PROMPT,
        KEY,
        WEBHOOK_SECRET,
    ]
    .map(str::to_owned)
    .to_vec();
    canaries.extend(FOREIGN.map(|(_, canary)| canary.to_owned()));
    for number in 0..3 {
        let email = format!("imported{number}@example.com");
        for (password, status) in [(WRONG, 401), (IMPORTED, 200)] {
            let ask = json!({ "email": email, "password": password });
            let answer = client.send("POST", "/v1/auth/login", &[], &ask.to_string()).await;
            assert_eq!(answer.status(), status, "{email}");
        }
    }

    // Accounts and sessions, by token and by cookie, with everything that can go wrong.
    let ada = json!({ "email": "ada@example.com", "password": FIRST });
    let body = client.json("POST", "/v1/auth/signup", &[], &ada).await;
    let user = User::of(&body);
    let bearer = format!("Bearer {}", user.access_token);
    let by = [("authorization", bearer.as_str())];
    canaries.extend([user.access_token.clone(), user.refresh_token.clone()]);
    for body in [
        json!({ "email": "ada@example.com", "password": WRONG }),
        json!({ "email": "nobody@localhost", "password": WRONG }),
        json!({ "email": "ada@example.com", "password": WRONG, "x": WRONG }),
        json!({ "email": "ada@example.com", "password": [WRONG] }),
        json!({ "email": { "password": WRONG }, "password": FIRST }),
    ] {
        for path in ["/v1/auth/login", "/v1/auth/signup"] {
            assert!(
                client
                    .send("POST", path, &[], &body.to_string())
                    .await
                    .status()
                    .as_u16()
                    >= 400
            );
        }
    }
    client
        .send(
            "POST",
            "/v1/auth/login",
            &[],
            &format!("{{\"email\":\"ada@example.com\",\"password\":\"{WRONG}"),
        )
        .await;
    let refreshed = client
        .json(
            "POST",
            "/v1/auth/refresh",
            &[],
            &json!({ "refresh_token": user.refresh_token }),
        )
        .await;
    let refreshed = User::of(&refreshed);
    canaries.extend([refreshed.access_token, refreshed.refresh_token.clone()]);
    let mut cookie_ask = ada.clone();
    cookie_ask["transport"] = "cookie".into();
    let cookie = client
        .send("POST", "/v1/auth/login", &[], &cookie_ask.to_string())
        .await;
    let cookie = cookie.headers()["set-cookie"]
        .to_str()
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    canaries.push(cookie.split_once('=').unwrap().1.to_owned());
    client
        .json("GET", "/v1/auth/session", &[("cookie", &cookie)], &json!({}))
        .await;
    client
        .json("PATCH", "/v1/me", &[("cookie", &cookie)], &json!({ "name": "Ada" }))
        .await;
    client
        .send("GET", &format!("/v1/me?access_token={}", user.access_token), &by, "")
        .await;
    client
        .send(
            "GET",
            "/v1/me",
            &[("authorization", &format!("Basic {}", user.access_token))],
            "",
        )
        .await;

    // Everything that is mailed, used; once more, when it is used up; and as what it is not.
    canaries.extend(recovery(setup, &client).await);

    // Money.
    let checkout = client
        .json("POST", "/v1/billing/checkout", &by, &json!({ "plan": "pro" }))
        .await;
    let page = checkout["url"].as_str().unwrap().strip_prefix(&server.url).unwrap();
    client.send("GET", page, &[], "").await;
    let own = [("sec-fetch-site", "same-origin")];
    assert_eq!(client.send("POST", page, &own, "").await.status(), 303);
    let event = StripeSubscription::new(&user, "sub_1", "active").event("customer.subscription.updated", "evt_1");
    let signature = sign(&SecretString::from(WEBHOOK_SECRET), &event, now());
    let event = String::from_utf8(event).unwrap();
    for signature in [signature.as_str(), "t=1,v1=00"] {
        client
            .send(
                "POST",
                "/v1/billing/webhooks/stripe-stub",
                &[("stripe-signature", signature)],
                &event,
            )
            .await;
    }
    canaries.push(signature.split("v1=").nth(1).unwrap().to_owned());

    // Models, with an upstream that says the key back in every way it can.
    let error = json!({ "error": { "message": format!("bad key {KEY}, asked {PROMPT}"), "type": KEY, "code": KEY } })
        .to_string();
    let ask =
        |stream: bool| json!({ "model": "m", "messages": [{ "role": "user", "content": PROMPT }], "stream": stream });
    for status in [200, 400, 401, 403, 404, 429, 500] {
        let headers = [("content-type", "application/json"), ("x-echo", KEY)];
        upstream.on("m", Script::answer(status, &headers, &error));
        for stream in [false, true] {
            let answer = client
                .send("POST", "/v1/chat/completions", &by, &ask(stream).to_string())
                .await;
            assert!(!answer.text().await.unwrap().contains(KEY));
        }
    }
    for end in [Step::Cut, sse(&error)] {
        upstream.on("m", Script::stream(vec![sse(&chunk("fine")), end, Step::End]));
        client
            .send("POST", "/v1/chat/completions", &by, &ask(true).to_string())
            .await
            .text()
            .await
            .unwrap();
    }
    upstream.on("m", Script::data(&[&chunk("fine"), "[DONE]"]));
    let conversation = client
        .json("POST", "/v1/conversations", &by, &json!({ "instructions": PROMPT }))
        .await;
    let messages = format!("/v1/conversations/{}/messages", conversation["id"].as_str().unwrap());
    client.json("POST", &messages, &by, &json!({ "content": PROMPT })).await;
    client.json("GET", &messages, &by, &json!({})).await;

    // API keys: made, exchanged, used, mistyped and as what they are not.
    let said = json!({ "name": "canary", "budget": { "limit_usd": 0.000_001, "window": "day" } });
    let key = client.json("POST", "/v1/me/api-keys", &by, &said).await;
    let at = format!("/v1/me/api-keys/{}", key["id"].as_str().unwrap());
    let next = client.json("POST", &format!("{at}/rotate"), &by, &json!({})).await;
    for key in [&key, &next] {
        let text = key["key"].as_str().unwrap().to_owned();
        for credential in [
            format!("Bearer {text}"),
            format!("Bearer {text}x"),
            format!("Bearer {}", &text[..51]),
            format!("Basic {text}"),
            text.clone(),
        ] {
            let with = [("authorization", credential.as_str())];
            for at in ["/v1/models", "/v1/me", at.as_str()] {
                client.send("GET", &format!("{at}?key={text}"), &with, "").await;
            }
            client
                .send("POST", "/v1/chat/completions", &with, &ask(true).to_string())
                .await;
        }
        let refresh = json!({ "refresh_token": text });
        client.send("POST", "/v1/auth/refresh", &[], &refresh.to_string()).await;
        canaries.push(text[..43].to_owned());
    }
    client.send("DELETE", &at, &by, "").await;

    client.send("POST", "/v1/auth/logout", &[("cookie", &cookie)], "").await;
    client.send("POST", "/v1/auth/logout", &by, "").await;
    client
        .send(
            "POST",
            "/v1/auth/refresh",
            &[],
            &json!({ "refresh_token": refreshed.refresh_token }).to_string(),
        )
        .await;
    anteroom_tests::eventually("a mail leaves", || {
        server.said().contains("\"mail.sent\"").then_some(())
    })
    .await;

    // bcrypt's hashes are secrets as well.
    canaries.extend(["$2b$", "$2y$"].map(str::to_owned));
    let said = format!("{imported}{}", server.said());
    assert!(
        said.contains("\"TRACE\"") || said.contains("\"DEBUG\""),
        "it was to be verbose:\n{said:.2000}"
    );
    assert!(
        said.contains("api_key.rotated")
            && said.contains("account.login.failed")
            && said.contains("chat.call.failed")
            && said.contains("session.ended")
    );
    // Nor does a collector of traces learn them.
    anteroom_tests::eventually("calls are traced", || {
        let spans = collector.spans();
        spans.iter().any(|span| span.name == "chat m").then_some(())
    })
    .await;
    for canary in canaries {
        assert!(!collector.was_sent(&canary), "{canary} is in what was traced");
        let found: Vec<&str> = said.lines().filter(|line| line.contains(&canary)).collect();
        assert!(
            found.is_empty(),
            "{canary} stands in {} lines:\n{:.3000}",
            found.len(),
            found.join("\n")
        );
    }
}
