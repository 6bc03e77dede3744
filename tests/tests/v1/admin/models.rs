//! `/v1/admin/models`: names of models that are changed while the place runs.

use std::time::{Duration, Instant};

use anteroom_tests::upstream::completion;
use anteroom_tests::{Answer, Script, Setup, TestApp, Upstream, User, eventually_asking, on_every_store};
use futures_util::future::join_all;
use serde_json::{Value, json};

on_every_store![
    are_changed_on_every_node_at_once,
    are_shown_as_they_are,
    are_refused_with_all_that_is_wrong,
    are_not_written_over_unseen,
    can_be_withheld_and_come_back,
    can_be_an_assistants,
    are_kept_when_their_provider_goes,
    of_64_changes_at_once_one_stands_everywhere,
];

/// What is promised, and what a busy machine may take besides.
const SOON: Duration = Duration::from_millis(1000 + 500);

const ALIASES: &str = r#"[{ name = "fast", targets = [{ provider = "first", model = "m1", weight = 3 }] }, { name = "slow", targets = [{ provider = "first", model = "m9" }] }]"#;

/// Everybody has all models.
const OPEN: &str = r#"[{ key = "free", name = "Free", version = 1, models = "all", entitlements = [{ key = "messages", kind = "metered", window = "day" }] }]"#;

/// Two providers, and what is offered by the configuration.
fn settings(first: &Upstream, second: &Upstream) -> Vec<(&'static str, String)> {
    let providers = format!(
        r#"[{{ name = "first", kind = "openai", base_url = "{}" }}, {{ name = "second", kind = "openai", base_url = "{}" }}]"#,
        first.url, second.url
    );
    vec![
        ("ai.providers", providers),
        ("ai.aliases", ALIASES.to_owned()),
        ("ai.retries", "0".to_owned()),
        (
            "ai.prices",
            r#"[{ model = "m2", input_usd_per_million = 0.5, output_usd_per_million = 1.0 }]"#.to_owned(),
        ),
        ("server.public_url", "http://anteroom.example.test".to_owned()),
    ]
}

async fn node(setup: &Setup, settings: &[(&'static str, String)]) -> TestApp {
    let pairs: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    setup.app_with(&pairs).await
}

fn to_second() -> Value {
    json!({ "targets": [{ "provider": "second", "model": "m2" }] })
}

/// The same, and everybody has all models.
fn open(first: &Upstream, second: &Upstream) -> Vec<(&'static str, String)> {
    let mut settings = settings(first, second);
    settings.push(("billing.plans", OPEN.to_owned()));
    settings
}

async fn put(app: &TestApp, admin: &User, name: &str, body: &Value) -> Answer {
    app.ask("PUT", &format!("/v1/admin/models/{name}"))
        .by(admin)
        .json(body)
        .await
}

async fn all(app: &TestApp, admin: &User) -> Vec<Value> {
    let list = app.get("/v1/admin/models").by(admin).await.is(200).json();
    list["data"].as_array().unwrap().clone()
}

/// The models that somebody is offered.
async fn offered(app: &TestApp, user: &User) -> Vec<String> {
    let list = app.get("/v1/models").by(user).await.is(200).json();
    let models = list["data"].as_array().unwrap().iter();
    models.map(|model| model["id"].as_str().unwrap().to_owned()).collect()
}

/// Waits until a node offers this, and fails if that takes longer than is promised.
async fn offers(app: &TestApp, user: &User, models: &[&str], since: Instant) {
    eventually_asking("the node has heard of it", async || {
        (offered(app, user).await == models).then_some(())
    })
    .await;
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
}

async fn said(app: &TestApp, user: &User, model: &str) -> String {
    let ask = json!({ "model": model, "messages": [{ "role": "user", "content": "Hi" }] });
    let answer = app
        .post("/v1/chat/completions")
        .by(user)
        .json(&ask)
        .await
        .is(200)
        .json();
    answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

async fn are_changed_on_every_node_at_once(setup: &Setup) {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    first.on("m1", Script::json(&completion("from the first")));
    second.on("m2", Script::json(&completion("from the second")));
    let set = open(&first, &second);
    let (here, there) = (node(setup, &set).await, node(setup, &set).await);
    let (admin, user) = (here.admin().await, here.user().await);
    assert_eq!(offered(&there, &user).await, ["fast", "slow"]);
    assert_eq!(said(&there, &user, "fast").await, "from the first");

    // A new one, with a slash in its name.
    let begun = Instant::now();
    here.ask("PUT", "/v1/admin/models/team/new")
        .by(&admin)
        .json(&to_second())
        .expect(201)
        .events(&["chat.model.stored"])
        .audit(&["model.put succeeded"])
        .await;
    assert_eq!(
        offered(&here, &user).await,
        ["fast", "slow", "team/new"],
        "here at once"
    );
    offers(&there, &user, &["fast", "slow", "team/new"], begun).await;
    assert_eq!(said(&there, &user, "team/new").await, "from the second");

    // Over the configuration's, in its place.
    let begun = Instant::now();
    put(&there, &admin, "fast", &to_second()).await.is(201);
    eventually_asking("the other node asks the second", async || {
        (said(&here, &user, "fast").await == "from the second").then_some(())
    })
    .await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());

    let begun = Instant::now();
    here.delete("/v1/admin/models/team/new")
        .by(&admin)
        .expect(204)
        .events(&["chat.model.deleted"])
        .audit(&["model.delete succeeded"])
        .await;
    offers(&there, &user, &["fast", "slow"], begun).await;
    here.delete("/v1/admin/models/fast").by(&admin).await.is(204);
    assert_eq!(said(&here, &user, "fast").await, "from the first");
    here.delete("/v1/admin/models/fast")
        .by(&admin)
        .expect(409)
        .code("model_configured")
        .audit(&[])
        .await;
    here.delete("/v1/admin/models/team/new")
        .by(&admin)
        .await
        .refused(404, "not_found");

    // What was done is in the log, with what came of it and no more.
    let log = here.get("/v1/admin/audit?act=model").by(&admin).await.is(200).json();
    let puts: Vec<&Value> = log["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["details"])
        .collect();
    assert_eq!(puts.len(), 4);
    assert_eq!(
        puts[3],
        &json!({ "model": "team/new", "targets": ["second/m2"], "enabled": true, "replaced": false })
    );
}

async fn are_shown_as_they_are(setup: &Setup) {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let app = node(setup, &settings(&first, &second)).await;
    let admin = app.admin().await;
    let whole = json!({
        "targets": [
            { "provider": "second", "model": "m2", "weight": 7 },
            { "provider": "first", "model": "m3",
              "price": { "input_usd_per_million": 1.25, "output_usd_per_million": 10.0 } },
            { "provider": "first", "model": "m4" },
        ],
        "plans": ["pro"], "context_window": 1000, "max_output_tokens": 100, "max_tokens_parameter": "max_completion_tokens",
    });
    let stored = put(&app, &admin, "team/new", &whole).await.is(201);
    let shown = app.get("/v1/admin/models/team/new").by(&admin).await.is(200);
    assert_eq!(
        (shown.header("etag"), shown.json()),
        (stored.header("etag"), stored.json())
    );
    let model = shown.json();
    for member in ["plans", "context_window", "max_output_tokens", "max_tokens_parameter"] {
        assert_eq!(model[member], whole[member], "{member}");
    }
    assert_eq!(
        (
            &model["source"],
            &model["enabled"],
            &model["offered"],
            &model["problems"]
        ),
        (&json!("store"), &json!(true), &json!(true), &json!([]))
    );
    let price = |input: f64, cached: f64, output: f64| json!({ "input_usd_per_million": input, "cached_input_usd_per_million": cached, "output_usd_per_million": output });
    let targets = model["targets"].as_array().unwrap();
    assert_eq!(
        (&targets[0]["weight"], &targets[1]["weight"]),
        (&json!(7), &Value::Null)
    );
    // A price that nobody has stated is not nothing.
    assert_eq!(
        (&targets[0]["price"], &targets[0]["effective_price"]),
        (&Value::Null, &price(0.5, 0.5, 1.0))
    );
    assert_eq!(targets[1]["price"], price(1.25, 1.25, 10.0));
    assert_eq!(
        (&targets[2]["price"], &targets[2]["effective_price"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(
        (&targets[0]["provider_known"], &targets[0]["state"]),
        (&json!(true), &json!("closed"))
    );
    let models = all(&app, &admin).await;
    let names: Vec<&Value> = models.iter().map(|model| &model["name"]).collect();
    assert_eq!(names, ["fast", "slow", "team/new"]);
    assert_eq!(
        (&models[0]["source"], &models[0]["version"]),
        (&json!("config"), &Value::Null)
    );
    assert_eq!(models[0]["targets"][0]["weight"], 3);
    app.get("/v1/admin/models/none")
        .by(&admin)
        .await
        .refused(404, "not_found");
}

async fn are_refused_with_all_that_is_wrong(setup: &Setup) {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let app = node(setup, &settings(&first, &second)).await;
    let admin = app.admin().await;
    let refused = |name: &str, body: Value| {
        app.ask("PUT", &format!("/v1/admin/models/{name}"))
            .by(&admin)
            .json(&body)
            .expect(422)
            .audit(&[])
    };
    let target = |provider: &str, model: &str| json!({ "provider": provider, "model": model });
    refused(
        "new",
        json!({
            "targets": [target("third", "m"), target("first", " "), { "provider": "first", "model": "m", "weight": 1_000_001 },
                { "provider": "first", "model": "n", "price": { "input_usd_per_million": -1.0, "output_usd_per_million": 1.0 } }],
            "plans": ["free", "gold"], "context_window": 0, "max_output_tokens": -5,
        }),
    )
    .errors(&[
        ("/targets/0/provider", "unknown_provider"),
        ("/targets/1/model", "invalid_model"),
        ("/targets/2/weight", "invalid_weight"),
        ("/targets/3/price", "invalid_price"),
        ("/plans/1", "unknown_plan"),
        ("/context_window", "invalid_limit"),
        ("/max_output_tokens", "invalid_limit"),
    ])
    .await;
    refused("new", json!({ "targets": [] }))
        .errors(&[("/targets", "invalid_targets")])
        .await;
    refused("a%0Ab", to_second()).errors(&[("/name", "invalid_name")]).await;
    let one = |target: Value| json!({ "targets": [target] });
    for (body, pointer, code) in [
        (json!({}), "/targets", "required"),
        (one(json!({ "provider": "first" })), "/targets/0/model", "required"),
        (
            one(json!({ "provider": "first", "model": "m", "weight": -1 })),
            "/targets/0/weight",
            "invalid_type",
        ),
        (
            one(json!({ "provider": "first", "model": "m", "price": { "input_usd_per_million": 1.0 } })),
            "/targets/0/price/output_usd_per_million",
            "required",
        ),
        (
            one(json!({ "provider": "first", "model": "m", "base_url": "http://evil.example" })),
            "/targets/0/base_url",
            "unknown_field",
        ),
    ] {
        refused("new", body).errors(&[(pointer, code)]).await;
    }
    assert_eq!(all(&app, &admin).await.len(), 2);
}

async fn are_not_written_over_unseen(setup: &Setup) {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let app = node(setup, &settings(&first, &second)).await;
    let admin = app.admin().await;
    let put = |header: &'static str, value: String, model: &'static str| {
        let body = json!({ "targets": [{ "provider": "second", "model": model }] });
        let ask = app.ask("PUT", "/v1/admin/models/new").by(&admin);
        ask.header(header, &value).json(&body)
    };
    put("if-match", "*".into(), "a").await.refused(412, "model_changed");
    let made = put("if-none-match", "*".into(), "a").await.is(201);
    put("if-none-match", "*".into(), "b")
        .await
        .refused(412, "model_changed");
    let tag = made.header("etag").unwrap();
    assert_eq!(tag, format!("\"{}\"", made.json()["version"].as_str().unwrap()));
    let changed = put("if-match", tag.clone(), "b").await.is(200);
    assert_ne!(changed.header("etag").unwrap(), tag);
    put("if-match", tag.clone(), "c")
        .expect(412)
        .code("model_changed")
        .audit(&[])
        .await;
    let same = put("if-match", "*".into(), "b").expect(200).audit(&[]).await;
    assert_eq!(same.json(), changed.json(), "what is so already is no change");
    for wrong in ["1", "\"1\"", &format!("{tag}, {tag}")] {
        put("if-match", (*wrong).to_owned(), "d")
            .await
            .refused(400, "invalid_precondition");
    }
    let delete = |tag: &str| app.delete("/v1/admin/models/new").by(&admin).header("if-match", tag);
    delete(&tag).await.refused(412, "model_changed");
    delete(&changed.header("etag").unwrap()).await.is(204);
}

async fn can_be_withheld_and_come_back(setup: &Setup) {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let app = node(setup, &settings(&first, &second)).await;
    let (admin, user) = (app.admin().await, app.user().await);
    // Who has the first model has the next when that is withheld.
    assert_eq!(offered(&app, &user).await, ["fast"]);
    let mut withheld = to_second();
    withheld["enabled"] = false.into();
    let shown = put(&app, &admin, "fast", &withheld).await.is(201).json();
    assert_eq!(
        (&shown["enabled"], &shown["offered"], &shown["overrides_config"]),
        (&json!(false), &json!(false), &json!(true))
    );
    assert_eq!(offered(&app, &user).await, ["slow"]);
    let ask = json!({ "model": "fast", "messages": [{ "role": "user", "content": "Hi" }] });
    let asked = app.post("/v1/chat/completions").by(&user).json(&ask).await;
    asked.refused(403, "model_not_in_plan");
    app.delete("/v1/admin/models/fast").by(&admin).await.is(204);
    assert_eq!(offered(&app, &user).await, ["fast"]);
}

/// The configuration knows the assistant, and the store its model.
async fn can_be_an_assistants(setup: &Setup) {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let mut settings = open(&first, &second);
    let butler = r#"[{ name = "butler", model = "grand", instructions = "Be grand." }]"#;
    settings.push(("ai.assistants", butler.to_owned()));
    let app = node(setup, &settings).await;
    let (admin, user) = (app.admin().await, app.user().await);
    let assistants = async || app.get("/v1/assistants").by(&user).await.is(200).json()["data"].clone();
    let body = json!({ "model": "assistant:butler", "messages": [{ "role": "user", "content": "hi" }] });
    let ask = || app.post("/v1/chat/completions").by(&user).json(&body);
    assert_eq!(assistants().await, json!([]));
    ask().expect(403).code("model_not_in_plan").await;

    put(&app, &admin, "grand", &to_second()).await.is(201);
    second.on("m2", Script::json(&completion("Good evening.")));
    assert_eq!(assistants().await[0]["id"], "butler");
    let answer = ask().expect(200).events(&["chat.call.ended"]).await.json();
    assert_eq!(answer["choices"][0]["message"]["content"], "Good evening.");
    assert_eq!(second.last().json()["messages"][0]["content"], "Be grand.");
}

async fn are_kept_when_their_provider_goes(setup: &Setup) {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let mut set = open(&first, &second);
    let app = node(setup, &set).await;
    let (admin, user) = (app.admin().await, app.user().await);
    put(&app, &admin, "slow", &to_second()).await.is(201);
    put(&app, &admin, "other", &to_second()).await.is(201);
    app.stop().await;
    let both = set[0].1.clone();
    set[0].1 = format!(r#"[{{ name = "first", kind = "openai", base_url = "{}" }}]"#, first.url);
    let without = node(setup, &set).await;
    assert_eq!(offered(&without, &user).await, ["fast"], "before anything is told");
    let models = all(&without, &admin).await;
    assert_eq!(models.len(), 3);
    for model in &models[1..] {
        assert_eq!((&model["offered"], &model["enabled"]), (&json!(false), &json!(true)));
        let problem = model["problems"][0].as_str().unwrap();
        assert!(problem.contains("`second`, which is not configured"), "{problem}");
        assert_eq!(model["targets"][0]["provider_known"], false);
    }
    without.stop().await;
    set[0].1 = both;
    let again = node(setup, &set).await;
    assert_eq!(offered(&again, &user).await, ["fast", "slow", "other"]);
}

async fn of_64_changes_at_once_one_stands_everywhere(setup: &Setup) {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let set = open(&first, &second);
    let nodes = [node(setup, &set).await, node(setup, &set).await];
    let (admin, user) = (nodes[0].admin().await, nodes[0].user().await);
    let body = |number: usize| json!({ "targets": [{ "provider": "second", "model": format!("m{number}") }] });
    let puts = (0..64).map(|number| {
        let ask = nodes[number % 2].ask("PUT", "/v1/admin/models/fast").by(&admin);
        ask.json(&body(number)).into_future()
    });
    let answers = join_all(puts).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 1, "one of them was the first");
    assert!(
        answers.iter().all(|answer| [200, 201].contains(&answer.status)),
        "{answers:?}"
    );
    let shown = nodes[0].get("/v1/admin/models/fast").by(&admin).await.is(200).json();
    let stands = shown["targets"][0]["model"].as_str().unwrap().to_owned();
    let begun = Instant::now();
    second.on(&stands, Script::json(&completion("the last one")));
    for node in &nodes {
        eventually_asking("the node has heard of the last", async || {
            (said(node, &user, "fast").await == "the last one").then_some(())
        })
        .await;
    }
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    // Against one state one change is made.
    let tag = format!("\"{}\"", shown["version"].as_str().unwrap());
    let puts = (0..64).map(|number| {
        let ask = nodes[number % 2].ask("PUT", "/v1/admin/models/fast").by(&admin);
        ask.header("if-match", &tag).json(&body(100 + number)).into_future()
    });
    let answers = join_all(puts).await;
    let made = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers.iter().filter(|answer| answer.status == 412).count();
    assert_eq!((made, refused), (1, 63));
}
