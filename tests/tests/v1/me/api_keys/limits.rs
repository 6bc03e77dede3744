//! What a key opens, and where its limits are.

use std::collections::BTreeSet;

use anteroom_domain::access::Scope;
use anteroom_http::routes;
use anteroom_tests::logs::request_line;
use anteroom_tests::{
    Answer, Ask, Script, Setup, Step, TestApp, Upstream, eventually, eventually_asking, on_every_store,
};
use serde_json::{Value, json};

use super::{listed, made, models, path, secret};

on_every_store![
    opens_what_its_scope_says_on_every_route,
    costs_no_query_once_it_is_known,
    a4_a_key_never_exceeds_its_owner,
    asks_the_models_that_it_names,
    talks_in_conversations,
    spends_what_its_budget_says_at_64_at_once,
    has_a_budget_of_its_own,
    keeps_to_its_own_rate,
    counts_for_its_owner,
    c47_no_part_of_a_key_opens_anything,
    g69_no_text_in_place_of_a_key_reaches_the_store,
];

fn question(model: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": "What is an anteroom?" }] })
}

fn ask(app: &TestApp, key: &Value, body: &Value) -> Ask {
    app.post("/v1/chat/completions").bearer(secret(key)).json(body)
}

/// Every route that is not for everybody, with an identifier of something of the user's where it wants one.
async fn opens_what_its_scope_says_on_every_route(setup: &Setup) {
    let app = setup.app().await;
    // Of an admin, so that not even theirs opens what is for admins.
    let admin = app.admin().await;
    let mut keys = Vec::new();
    for scope in Scope::ALL {
        let key = made(&app, &admin, &json!({ "name": "x", "scopes": [scope.as_str()] })).await;
        keys.push((vec![scope], key));
    }
    let words: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
    let all = made(&app, &admin, &json!({ "name": "all", "scopes": words })).await;
    keys.push((Scope::ALL.to_vec(), all));
    let (mut opened, mut closed) = (BTreeSet::new(), BTreeSet::new());
    for route in routes() {
        if format!("{:?}", route.who) == "Anonymous" {
            assert_eq!(route.scope, None, "{}", route.path);
            continue;
        }
        let method = route.method.to_string();
        let at = route
            .path
            .replace("{id}", "01890000-0000-7000-8000-000000000000")
            .replace("{key}", "01890000-0000-7000-8000-000000000001");
        for (scopes, key) in &keys {
            let mut ask = app.ask(&method, &at).bearer(secret(key));
            if method != "GET" {
                ask = ask.header("content-type", "application/json").body("{}");
            }
            let answer: Answer = ask.await;
            if route.scope.is_some_and(|scope| scopes.contains(&scope)) {
                assert!(![401, 403].contains(&answer.status), "{answer:?}");
                opened.insert(format!("{method} {}", route.path));
                continue;
            }
            let named = route
                .scope
                .map_or_else(String::new, |s| format!(", scope=\"{}\"", s.as_str()));
            assert_eq!(answer.told(), (403, "insufficient_scope".to_owned()), "{answer:?}");
            let challenge = format!("Bearer error=\"insufficient_scope\"{named}");
            assert_eq!(answer.header("www-authenticate"), Some(challenge), "{answer:?}");
            if route.scope.is_none() {
                closed.insert(format!("{method} {}", route.path));
            }
        }
    }
    for open in [
        "GET /v1/models",
        "POST /v1/chat/completions",
        "GET /v1/me",
        "POST /v1/conversations/{id}/messages",
    ] {
        assert!(opened.contains(open), "{open}: {opened:?}");
    }
    for shut in [
        "POST /v1/me/api-keys",
        "POST /v1/me/api-keys/{id}/rotate",
        "POST /v1/me/password",
        "POST /v1/auth/reauthenticate",
        "GET /v1/me/sessions",
        "POST /v1/billing/checkout",
        "GET /v1/admin/users",
        "PATCH /v1/me",
        "DELETE /v1/me",
        "GET /v1/me/activity",
    ] {
        assert!(closed.contains(shut), "{shut}: {closed:?}");
    }
    // Whoever may ask, a key is no session's cookie, and no refresh token.
    let (_, all) = keys.last().unwrap();
    let cookie = format!("anteroom={}", secret(all));
    let ask = app
        .get("/v1/me")
        .header("cookie", &cookie)
        .header("sec-fetch-site", "same-origin");
    ask.await.refused(401, "unauthenticated");
    let refresh = json!({ "refresh_token": secret(all) });
    app.post("/v1/auth/refresh")
        .json(&refresh)
        .await
        .refused(401, "invalid_refresh_token");
    assert_eq!(listed(&app, &admin).await.len(), Scope::ALL.len() + 1);
}

/// As a session's check: it is answered from memory.
async fn costs_no_query_once_it_is_known(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let key = made(&app, &user, &json!({ "name": "x" })).await;
    // The link has to stand for what is known to be relied on for more than a moment.
    eventually_asking("what is known is relied on", async || {
        models(&app, secret(&key)).await.is(200);
        tokio::time::sleep(std::time::Duration::from_millis(700)).await;
        let answer = models(&app, secret(&key)).await.is(200);
        let line = eventually("its line", || request_line(&answer.request_id())).await;
        assert_eq!(line.fields["api_key_id"], key["id"].as_str().unwrap());
        (line.fields["queries"] == "0").then_some(())
    })
    .await;
}

/// Security case A 4 (CVE-2026-47101): there, a key kept whatever its maker had claimed for it.
async fn a4_a_key_never_exceeds_its_owner(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("small,large")).await;
    let (user, admin) = (app.user().await, app.admin().await);
    for claimed in ["admin", "*", "/*", "models ", "account:write", "admin:read", "keys"] {
        let said = json!({ "name": "x", "scopes": ["models", claimed] });
        let ask = app.post("/v1/me/api-keys").by(&user).json(&said);
        ask.expect(422).errors(&[("/scopes", "invalid_scopes")]).await;
    }
    for claimed in ["role", "allowed_routes", "permissions", "plan", "admin"] {
        let ask = app.post("/v1/me/api-keys").by(&user);
        let ask = ask.json(&json!({ "name": "x", claimed: ["/*"] }));
        ask.expect(422)
            .errors(&[(&format!("/{claimed}"), "unknown_field")])
            .await;
    }
    // A model that the plan does not have, whatever the key says.
    let key = made(&app, &user, &json!({ "name": "x", "models": ["large", "small"] })).await;
    ask(&app, &key, &question("large"))
        .expect(403)
        .code("model_not_in_plan")
        .await;
    let list = models(&app, secret(&key)).await.is(200).json();
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    app.buy(&user, "pro").await;
    ask(&app, &key, &question("large"))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    // The key of an admin, and of one who was.
    let key = made(
        &app,
        &admin,
        &json!({ "name": "x", "scopes": Scope::ALL.map(Scope::as_str) }),
    )
    .await;
    let admins = || app.get("/v1/admin/users").bearer(secret(&key));
    admins().expect(403).code("insufficient_scope").await;
    let other = app.admin().await;
    app.patch(&format!("/v1/admin/users/{}", admin.id))
        .by(&other)
        .json(&json!({ "role": "user" }))
        .await
        .is(200);
    admins().expect(403).code("insufficient_scope").await;
    let me = app.get("/v1/me").bearer(secret(&key)).await.is(200).json();
    assert_eq!(me["role"], "user");
}

async fn asks_the_models_that_it_names(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("a,b,c")).await;
    let user = app.user().await;
    app.buy(&user, "pro").await;
    let key = made(&app, &user, &json!({ "name": "x", "models": ["b", "zebra"] })).await;
    let list = models(&app, secret(&key)).expect(200).await.json();
    let ids: Vec<&str> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["b"]);
    ask(&app, &key, &question("b"))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    for stream in [false, true] {
        let mut body = question("a");
        body["stream"] = stream.into();
        let answer = ask(&app, &key, &body).expect(403).code("model_not_in_key").await.json();
        let error = &answer["error"];
        assert_eq!(
            (&error["param"], &error["type"]),
            (&json!("model"), &json!("permission_error"))
        );
    }
    assert_eq!(upstream.calls().len(), 1);
    // A key without the scope is told so in OpenAI's shape, whatever the body.
    let reader = made(&app, &user, &json!({ "name": "x", "scopes": ["account:read"] })).await;
    let answer = ask(&app, &reader, &question("b"))
        .expect(403)
        .code("insufficient_scope")
        .await;
    assert_eq!(answer.json()["error"]["type"], "permission_error");
    assert_eq!(
        app.get("/v1/me").bearer(secret(&reader)).await.is(200).json()["id"],
        user.id
    );
    for at in ["/v1/me/subscription", "/v1/me/entitlements"] {
        app.get(at).bearer(secret(&reader)).expect(200).await;
    }
    // The usage says which key it was.
    let once = "CREATE TABLE proof (n INTEGER NOT NULL CHECK (n = 1)); \
                INSERT INTO proof SELECT count(*) FROM usage_events \
                WHERE api_key_id IS NOT NULL AND session_id IS NULL; DROP TABLE proof";
    setup.execute(once).await;
}

async fn talks_in_conversations(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("a,b")).await;
    let user = app.user().await;
    app.buy(&user, "pro").await;
    let said = json!({ "name": "x", "scopes": ["conversations"], "models": ["b"] });
    let key = made(&app, &user, &said).await;
    let ask = app
        .post("/v1/conversations")
        .bearer(secret(&key))
        .json(&json!({ "title": "By a program" }));
    let conversation = ask.header("idempotency-key", "one").expect(201);
    let conversation = conversation.events(&["chat.conversation.created"]).await.json();
    let at = format!("/v1/conversations/{}", conversation["id"].as_str().unwrap());
    // It is its owner's, and the first model of the plan is the first that the key has.
    assert_eq!(app.get(&at).by(&user).await.is(200).json(), conversation);
    let say = |words: &str| {
        let ask = app.post(&format!("{at}/messages")).bearer(secret(&key));
        ask.json(&json!({ "content": words }))
    };
    let answer = say("Hi").expect(201).events(&["chat.call.ended"]).await.json();
    assert_eq!(answer["model"], "b");
    app.patch(&at)
        .bearer(secret(&key))
        .json(&json!({ "model": "a" }))
        .await
        .is(200);
    say("Hi").expect(403).code("model_not_in_key").await;
    let list = app
        .get(&format!("{at}/messages"))
        .bearer(secret(&key))
        .await
        .is(200)
        .json();
    assert_eq!(list["data"].as_array().unwrap().len(), 2, "{list}");
    // A stranger's are not there.
    let other = app.user().await;
    let theirs = app
        .post("/v1/conversations")
        .by(&other)
        .json(&json!({}))
        .await
        .is(201)
        .json();
    let theirs = format!("/v1/conversations/{}", theirs["id"].as_str().unwrap());
    app.get(&theirs).bearer(secret(&key)).await.refused(404, "not_found");
    app.delete(&at)
        .bearer(secret(&key))
        .expect(204)
        .events(&["chat.conversation.deleted"])
        .await;
}

/// Settings under which a call of 100 tokens costs a cent at most.
fn priced<'a>(upstream: &Upstream, settings: &mut Vec<(&'a str, &'a str)>) {
    settings.push((
        "ai.prices",
        r#"[{ model = "m", input_usd_per_million = 0.0, output_usd_per_million = 100.0 }, { model = "gift", input_usd_per_million = 0.0, output_usd_per_million = 0.0 }]"#,
    ));
    settings.push(("ai.daily_spend_cap_usd", "100"));
    upstream.on(
        "m",
        Script::json(r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":40}}"#),
    );
}

fn cent() -> Value {
    let mut body = question("m");
    body["max_completion_tokens"] = 100.into();
    body
}

async fn spends_what_its_budget_says_at_64_at_once(setup: &Setup) {
    let upstream = Upstream::start().await;
    let mut settings = upstream.settings("m,gift").to_vec();
    priced(&upstream, &mut settings);
    settings.push(("server.public_url", "http://anteroom.example.test"));
    let nodes = [setup.app_with(&settings).await, setup.app_with(&settings).await];
    let user = nodes[0].user().await;
    let budget = json!({ "name": "x", "budget": { "limit_usd": 0.055, "window": "total" } });
    let key = made(&nodes[0], &user, &budget).await;
    // While they run they hold what they may cost at most.
    upstream.on("m", Script::new(vec![Step::Hang]));
    let tries: Vec<_> = (0..64)
        .map(|number| tokio::spawn(ask(&nodes[number % 2], &key, &cent()).into_future()))
        .collect();
    upstream.called(5).await;
    eventually_asking("the others are refused", async || {
        (tries.iter().filter(|t| t.is_finished()).count() >= 59).then_some(())
    })
    .await;
    assert_eq!(upstream.calls().len(), 5);
    let shown = nodes[1].get(&path(&key)).by(&user).await.is(200).json();
    assert_eq!(shown["budget"]["used_usd"], json!(0.05));
    let mut refused = 0;
    for one in tries {
        if !one.is_finished() {
            one.abort();
            continue;
        }
        let answer = one.await.unwrap();
        let error = &answer.json()["error"];
        assert_eq!(
            (
                &error["meter"],
                &error["limit_usd"],
                &error["used_usd"],
                &error["resets_at"]
            ),
            (&json!("key_budget"), &json!(0.055), &json!(0.05), &Value::Null)
        );
        assert_eq!(error["type"], "insufficient_quota");
        answer.refused(402, "quota_exceeded");
        refused += 1;
    }
    assert_eq!(refused, 59);
}

async fn has_a_budget_of_its_own(setup: &Setup) {
    let upstream = Upstream::start().await;
    let mut settings = upstream.settings("m,gift").to_vec();
    priced(&upstream, &mut settings);
    let app = setup.app_with(&settings).await;
    let user = app.user().await;
    app.buy(&user, "pro").await;
    let budget = |limit: f64, window: &str| json!({ "name": "x", "budget": { "limit_usd": limit, "window": window } });
    let (key, other) = (
        made(&app, &user, &budget(0.012, "day")).await,
        made(&app, &user, &budget(0.02, "month")).await,
    );
    // 40 tokens are 0.4 cents; what was held beyond is given back when the call is booked.
    let used = async |key: &Value| app.get(&path(key)).by(&user).await.is(200).json()["budget"]["used_usd"].clone();
    ask(&app, &key, &cent()).expect(200).events(&["chat.call.ended"]).await;
    assert_eq!(used(&key).await, json!(0.004));
    let answer = ask(&app, &key, &cent())
        .expect(402)
        .code("quota_exceeded")
        .events(&["quota.denied"])
        .await
        .json();
    let resets: jiff::Timestamp = answer["error"]["resets_at"].as_str().unwrap().parse().unwrap();
    assert!(resets.as_second() % 86_400 == 0, "{answer}");
    // A shorter answer fits, and what costs nothing is always there.
    let mut shorter = cent();
    shorter["max_completion_tokens"] = 50.into();
    ask(&app, &key, &shorter).expect(200).events(&["chat.call.ended"]).await;
    ask(&app, &key, &question("gift"))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    // Neither another key nor the owner's session stands still for it.
    ask(&app, &other, &cent())
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    let session = app.post("/v1/chat/completions").by(&user).json(&cent());
    session.expect(200).events(&["chat.call.ended"]).await;
    assert_eq!((used(&key).await, used(&other).await), (json!(0.008), json!(0.004)));
    // A budget that is raised counts on.
    let raised = json!({ "budget": { "limit_usd": 1, "window": "day" } });
    let raised = app.patch(&path(&key)).by(&user).json(&raised).await.is(200).json();
    app.expect_mails(std::slice::from_ref(&user.email));
    assert_eq!(raised["budget"]["used_usd"], json!(0.008));
    ask(&app, &key, &cent()).expect(200).events(&["chat.call.ended"]).await;
    // Of a call that fails nothing stays.
    upstream.on("m", Script::answer(500, &[], ""));
    ask(&app, &other, &cent()).await.refused(502, "upstream_error");
    eventually_asking("it is given back", async || {
        (used(&other).await == json!(0.004)).then_some(())
    })
    .await;
}

async fn keeps_to_its_own_rate(setup: &Setup) {
    let limits = [("protection.enabled", "true"), ("protection.default_per_minute", "20")];
    let app = setup.app_with(&limits).await;
    let user = app.user().await;
    let key = made(&app, &user, &json!({ "name": "x", "requests_per_minute": 3 })).await;
    let other = made(&app, &user, &json!({ "name": "x" })).await;
    for left in [2, 1, 0] {
        let answer = models(&app, secret(&key)).await.is(200);
        assert_eq!(
            answer.header("ratelimit-policy").as_deref(),
            Some("\"api_key\";q=3;w=60")
        );
        let said = answer.header("ratelimit").unwrap();
        assert!(said.starts_with(&format!("\"api_key\";r={left};t=")), "{said}");
    }
    for _ in 0..2 {
        let answer = models(&app, secret(&key)).await;
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        assert!(answer.header("ratelimit").unwrap().starts_with("\"api_key\";r=0"));
        answer.refused(429, "rate_limited");
    }
    // The other one has its owner's, of which ours has used some.
    let answer = models(&app, secret(&other)).await.is(200);
    assert_eq!(
        answer.header("ratelimit-policy").as_deref(),
        Some("\"default\";q=20;w=60")
    );
    let mut passed = 0;
    while models(&app, secret(&other)).await.status == 200 {
        passed += 1;
        assert!(passed < 20);
    }
    let answer = models(&app, secret(&key)).await;
    assert_eq!(
        answer.header("ratelimit-policy").as_deref(),
        Some("\"default\";q=20;w=60")
    );
    answer.refused(429, "rate_limited");
    // Guesses are counted where they come from.
    let mut guesses = 0;
    while models(&app, "ar_nonsense").await.status == 401 {
        guesses += 1;
        assert!(guesses <= 20);
    }
    assert!(guesses > 0);
}

async fn counts_for_its_owner(setup: &Setup) {
    let upstream = Upstream::start().await;
    let plans = r#"[{ key = "free", name = "Free", version = 1, models = "first", entitlements = [{ key = "messages", kind = "metered", limit = 3, window = "day" }] }]"#;
    let mut settings = upstream.settings("m").to_vec();
    settings.push(("billing.plans", plans));
    let app = setup.app_with(&settings).await;
    let user = app.user().await;
    let (one, two) = (
        made(&app, &user, &json!({ "name": "1" })).await,
        made(&app, &user, &json!({ "name": "2" })).await,
    );
    for key in [&one, &two] {
        ask(&app, key, &question("m"))
            .expect(200)
            .events(&["chat.call.ended"])
            .await;
    }
    let session = || app.post("/v1/chat/completions").by(&user).json(&question("m"));
    session().expect(200).events(&["chat.call.ended"]).await;
    for asking in [
        ask(&app, &one, &question("m")),
        ask(&app, &two, &question("m")),
        session(),
    ] {
        let asking = asking.expect(402).code("quota_exceeded").events(&["quota.denied"]);
        assert_eq!(asking.await.json()["error"]["meter"], "messages");
    }
    assert_eq!(upstream.calls().len(), 3);
}

/// GHSA-6mq3-xmgp-pjm5: a truncated token was accepted.
async fn c47_no_part_of_a_key_opens_anything(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let key = made(&app, &user, &json!({ "name": "x" })).await;
    let text = secret(&key);
    let mut tried: Vec<String> = (0..text.len()).map(|length| text[..length].to_owned()).collect();
    tried.extend((1..text.len()).map(|from| text[from..].to_owned()));
    for at in 0..text.len() {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] ^= 1;
        tried.push(String::from_utf8(bytes).unwrap());
    }
    tried.extend([
        format!("{text}0"),
        text.to_uppercase(),
        text.replace("ar_", "AR_"),
        format!("{text},{text}"),
    ]);
    for wrong in tried {
        let answer = models(&app, wrong.trim()).await;
        assert_eq!(
            answer.told(),
            (401, "unauthenticated".to_owned()),
            "{wrong}: {answer:?}"
        );
    }
    models(&app, text).expect(200).await;
}

/// Security case G 69 (CVE-2026-42208): there, the error path of a key's lookup put the header into a query.
async fn g69_no_text_in_place_of_a_key_reaches_the_store(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let key = made(&app, &user, &json!({ "name": "x" })).await;
    let text = secret(&key);
    for end in [
        "' OR '1'='1",
        "'; DROP TABLE api_keys; --",
        "\" OR \"\"=\"",
        "\\",
        "%",
        "_",
        "') UNION SELECT 1 --",
        "${jndi:ldap://x}",
        "{{7*7}}",
    ] {
        for begin in ["ar_", text, &text[..20]] {
            let answer = models(&app, &format!("{begin}{end}")).await;
            let request_id = answer.request_id();
            answer.refused(401, "unauthenticated");
            // What is no key is told from one without a query.
            let line = eventually("the line of the request", || request_line(&request_id)).await;
            assert_eq!(line.fields["queries"], "0", "{begin}{end}");
        }
    }
    for bytes in [b"Bearer ar_\xff\xfe".as_slice(), b"Bearer ar_\xc3\xa9"] {
        let ask = app.get("/v1/models").raw_header("authorization", bytes);
        ask.await.refused(401, "unauthenticated");
    }
    models(&app, text).expect(200).await;
    assert_eq!(listed(&app, &user).await.len(), 1);
}
