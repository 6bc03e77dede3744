//! Security case G 68 (CVE-2024-6587, CVE-2026-55671, CVE-2026-45400): nothing that anybody says, and nothing that a server
//! answers, has Anteroom ask another server than the operator's, or show a key to one that it is not for.

use anteroom_tests::upstream::Call;
use anteroom_tests::{Answer, Script, Setup, TestApp, Upstream, User, on_every_store};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

on_every_store![
    g68_no_provider_is_asked_anywhere_else,
    g68_no_redirect_takes_a_key_along,
    g68_what_is_moderated_is_sent_to_the_moderator_only,
];

/// A kind of provider, the model that only it answers, and the header in which it is shown its key.
struct Kind {
    name: &'static str,
    key: &'static str,
    header: &'static str,
    /// Whether it makes vectors.
    embeds: bool,
}

const KINDS: [Kind; 5] = [
    Kind {
        name: "openai",
        key: "key-of-openai-0123456789abcdef",
        header: "authorization",
        embeds: true,
    },
    Kind {
        name: "azure",
        key: "key-of-azure-0123456789abcdef",
        header: "api-key",
        embeds: true,
    },
    // Its older addresses, which name the model.
    Kind {
        name: "deployed",
        key: "key-of-deployed-0123456789abcdef",
        header: "api-key",
        embeds: true,
    },
    Kind {
        name: "anthropic",
        key: "key-of-anthropic-0123456789abcdef",
        header: "x-api-key",
        embeds: false,
    },
    Kind {
        name: "gemini",
        key: "key-of-gemini-0123456789abcdef",
        header: "x-goog-api-key",
        embeds: true,
    },
];

const OPEN: &str = r#"[{ key = "free", name = "Free", version = 1, models = "all", allowed_parameters = ["provider"], entitlements = [{ key = "messages", kind = "metered", window = "day" }] }]"#;

/// One provider of each kind, all at the same server; the model has the kind's name.
async fn house(setup: &Setup, upstream: &Upstream) -> (TestApp, User) {
    let base = upstream.url.trim_end_matches("/v1");
    let providers = KINDS.iter().map(|Kind { name, .. }| {
        let (kind, more) = match *name {
            "deployed" => ("azure", r#", api_version = "2024-10-21""#),
            kind => (kind, ""),
        };
        let variable = variable(name);
        format!(r#"{{ name = "{name}", kind = "{kind}", base_url = "{base}/{name}", api_key_variable = "{variable}"{more} }}"#)
    });
    let providers = format!("[{}]", providers.collect::<Vec<_>>().join(", "));
    let aliases = KINDS.iter().map(|Kind { name, .. }| {
        format!(r#"{{ name = "{name}", targets = [{{ provider = "{name}", model = "up/{name}" }}] }}"#)
    });
    let aliases = format!("[{}]", aliases.collect::<Vec<_>>().join(", "));
    upstream.judge(|call| Some(answer(call)));
    let variables: Vec<(String, &str)> = KINDS.iter().map(|kind| (variable(kind.name), kind.key)).collect();
    let mut settings = vec![
        ("ai.providers", providers.as_str()),
        ("ai.aliases", &aliases),
        ("ai.retries", "0"),
        ("ai.breaker_failures", "0"),
        ("billing.plans", OPEN),
        ("protection.default_per_minute", "1000000"),
    ];
    settings.extend(variables.iter().map(|(name, key)| (name.as_str(), *key)));
    let app = setup.app_with(&settings).await;
    let user = app.user().await;
    (app, user)
}

/// In which a provider's key is.
fn variable(name: &str) -> String {
    format!("{}_KEY", name.to_uppercase())
}

/// What each kind of server answers.
fn answer(call: &Call) -> Script {
    let path = call.path.split('?').next().unwrap_or_default();
    let own = if path.ends_with(":generateContent") || path.ends_with(":streamGenerateContent") {
        json!({ "candidates": [{ "content": { "role": "model", "parts": [{ "text": "here" }] }, "finishReason": "STOP" }],
            "usageMetadata": { "promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2 } })
    } else if path.ends_with(":batchEmbedContents") {
        json!({ "embeddings": [{ "values": [1.0] }] })
    } else if path.ends_with("/messages") {
        json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
            "content": [{ "type": "text", "text": "here" }], "usage": { "input_tokens": 1, "output_tokens": 1 } })
    } else if path.ends_with("/embeddings") {
        json!({ "object": "list", "data": [{ "object": "embedding", "index": 0, "embedding": [1.0] }], "usage": { "prompt_tokens": 1, "total_tokens": 1 } })
    } else if path.ends_with("/moderations") {
        json!({ "results": [{ "flagged": false, "categories": {}, "category_scores": {} }] })
    } else {
        json!({ "id": "c", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{ "index": 0, "message": { "role": "assistant", "content": "here" }, "finish_reason": "stop" }],
            "usage": { "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2 } })
    };
    Script::json(&own.to_string())
}

/// A server's address, and others, as anybody might write them who wants them to be asked: every spelling of the host,
/// scheme, user and path that some parser has fallen for.
fn spellings(server: &Upstream) -> Vec<String> {
    let address = server.url.trim_start_matches("http://").trim_end_matches("/v1");
    let port = address.rsplit(':').next().unwrap();
    let hosts = [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "0x7f.1",
        "0x7f000001",
        "0177.0.0.1",
        "017700000001",
        "2130706433",
        "127.0.0.1.",
        "0.0.0.0",
        "0",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "[::]",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "127%2e0%2e0%2e1",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
    ];
    let mut all: Vec<String> = hosts.iter().map(|host| format!("http://{host}:{port}")).collect();
    let forms = [
        "http://{}/v1",
        "https://{}/v1",
        "//{}/v1",
        "///{}/v1",
        "{}",
        "http:{}/v1",
        "http:/{}/v1",
        "http:///{}/v1",
        "http:\\\\{}\\v1",
        "/\\{}/v1",
        "HTTP://{}/v1",
        " http://{}/v1",
        "\thttp://{}/v1\n",
        "http://\n{}/v1",
        "http://user:pass@{}/v1",
        "http://api.openai.com@{}/v1",
        "http://api.openai.com:443@{}/v1",
        "http://api.openai.com%40{}/v1",
        "http://{}#@api.openai.com/v1",
        "http://{}?@api.openai.com/v1",
        "http://{}\\@api.openai.com/v1",
        "http://{};@api.openai.com/v1",
        "http://{}%00.api.openai.com/v1",
        "http://{}/../../v1",
        "http://{}/%2e%2e/%2e%2e/v1",
        "http://{}\r\nHost: {}",
        "x HTTP/1.1\r\nHost: {}\r\n\r\nGET /",
        "../../../{}",
        "..%2f..%2f{}",
        "@{}",
        ":@{}",
        "ws://{}/v1",
        "ftp://{}/v1",
        "gopher://{}/_GET",
        "dict://{}/d",
        "jar:http://{}!/",
        "url:http://{}",
        "view-source:http://{}",
        "http+unix://{}/v1",
        "data:text/html,<img src=http://{}>",
    ];
    all.extend(forms.iter().map(|form| form.replace("{}", address)));
    all.extend(
        [
            "file:///etc/passwd",
            "http://169.254.169.254/latest/meta-data/",
            "http://[fd00:ec2::254]/latest/meta-data/",
            "http://metadata.google.internal/computeMetadata/v1/",
        ]
        .map(str::to_owned),
    );
    all
}

/// Members by which some SDK, gateway or server chooses where it asks, all of them naming this place.
fn led_astray(mut body: Value, place: &str) -> Value {
    for name in [
        "api_base",
        "base_url",
        "baseURL",
        "api_url",
        "url",
        "uri",
        "endpoint",
        "azure_endpoint",
        "api_version",
        "deployment_id",
        "organization",
        "host",
        "proxy",
        "proxies",
        "callback_url",
        "webhook",
        "provider",
        "region",
        "custom_llm_provider",
    ] {
        body[name] = json!(place);
    }
    body["api_key"] = json!("mine");
    body["headers"] = json!({ "authorization": "Bearer mine", "host": place });
    body["extra_headers"] = body["headers"].clone();
    body["litellm_params"] = json!({ "api_base": place });
    body["anteroom"] = json!({ "base_url": place, "provider": place });
    body["metadata"] = json!({ "url": place });
    body
}

/// What can be asked of a model, with the place wherever a place may stand.
fn asked(kind: &Kind, place: &str) -> Vec<(&'static str, Value)> {
    let (model, said) = (kind.name, json!([{ "role": "user", "content": place }]));
    let shown = json!([{ "role": "user", "content": [{ "type": "text", "text": "look" }, { "type": "image_url", "image_url": { "url": place } }] }]);
    let seen = json!([{ "role": "user", "content": [{ "type": "image", "source": { "type": "url", "url": place } }] }]);
    let tool = json!([{ "type": "function", "function": { "name": "f", "parameters": { "$ref": place } } }]);
    let mut all = vec![
        (
            "/v1/chat/completions",
            led_astray(json!({ "model": model, "messages": said }), place),
        ),
        (
            "/v1/chat/completions",
            json!({ "model": model, "messages": shown, "stream": true }),
        ),
        (
            "/v1/chat/completions",
            json!({ "model": model, "messages": said, "tools": tool }),
        ),
        (
            "/v1/messages",
            led_astray(json!({ "model": model, "max_tokens": 9, "messages": seen }), place),
        ),
        (
            "/v1/responses",
            led_astray(json!({ "model": model, "input": place }), place),
        ),
        (
            "/v1/completions",
            led_astray(json!({ "model": model, "prompt": place }), place),
        ),
    ];
    if kind.embeds {
        all.push((
            "/v1/embeddings",
            led_astray(json!({ "model": model, "input": place }), place),
        ));
    }
    all
}

/// Fails unless every call was for the operator's server, with that kind's key in its own header and no other.
fn told_their_own_only(upstream: &Upstream, kind: &Kind, from: usize) {
    let address = upstream.url.trim_start_matches("http://").trim_end_matches("/v1");
    for call in &upstream.calls()[from..] {
        assert_eq!(call.headers["host"], address);
        assert!(call.path.starts_with(&format!("/{}/", kind.name)), "{}", call.path);
        let shown: Vec<(&String, &String)> = call
            .headers
            .iter()
            .filter(|(_, value)| value.contains("key-of-") || value.contains("mine"))
            .collect();
        let (name, value) = shown[0];
        assert_eq!((shown.len(), name.as_str()), (1, kind.header), "{shown:?}");
        assert_eq!(value.trim_start_matches("Bearer "), kind.key);
        let body = String::from_utf8_lossy(&call.body);
        assert!(!body.contains("key-of-"), "{body}");
    }
}

async fn g68_no_provider_is_asked_anywhere_else(setup: &Setup) {
    let (upstream, canary) = (Upstream::start().await, Upstream::start().await);
    let (app, user) = house(setup, &upstream).await;
    let places = spellings(&canary);
    assert!(places.len() >= 60, "{}", places.len());
    for kind in &KINDS {
        let from = upstream.calls().len();
        // Each place on every surface.
        let asks = places.iter().flat_map(|place| asked(kind, place));
        let asks = asks.map(|(path, body)| app.post(path).by(&user).json(&body).into_future());
        let answers: Vec<Answer> = stream::iter(asks).buffer_unordered(16).collect().await;
        // Some are refused, as what they say cannot be said to such a server; most are answered.
        let answered = answers.iter().filter(|answer| answer.status == 200).count();
        let count = answers.len();
        assert!(2 * answered > count, "{}: {answered} of {count}", kind.name);
        told_their_own_only(&upstream, kind, from);
    }
    // A place is no model, and none that an admin stores.
    let admin = app.admin().await;
    let before = upstream.calls().len();
    for place in &places {
        for body in [
            json!({ "model": place, "messages": [{ "role": "user", "content": "hi" }] }),
            json!({ "model": format!("openai/{place}"), "messages": [{ "role": "user", "content": "hi" }] }),
        ] {
            let status = app.post("/v1/chat/completions").by(&user).json(&body).await.status;
            assert!(status == 403 || status == 400, "{place:?}: {status}");
        }
    }
    let place = &places[0];
    for body in [
        json!({ "targets": [{ "provider": place, "model": "m" }] }),
        json!({ "targets": [{ "provider": "openai", "model": "m", "base_url": place }] }),
        json!({ "targets": [{ "provider": "openai", "model": "m" }], "base_url": place }),
    ] {
        let status = app.ask("PUT", "/v1/admin/models/x").by(&admin).json(&body).await.status;
        assert!(status == 422 || status == 400, "{body}: {status}");
    }
    assert_eq!(upstream.calls().len(), before);
    assert_eq!(canary.connections(), 0, "nobody so much as knocked");
}

/// A provider, or whoever answers in its place, must not be able to have the key sent on.
async fn g68_no_redirect_takes_a_key_along(setup: &Setup) {
    let (upstream, canary) = (Upstream::start().await, Upstream::start().await);
    let (app, user) = house(setup, &upstream).await;
    for status in [300, 301, 302, 303, 307, 308] {
        for place in [format!("{}/x", canary.url), canary.url.replace("http:", "")] {
            let (refresh, link) = (format!("0; url={place}"), format!("<{place}>; rel=preload"));
            let headers = [
                ("location", place.as_str()),
                ("refresh", refresh.as_str()),
                ("link", link.as_str()),
                ("content-location", place.as_str()),
            ];
            let script = Script::answer(status, &headers, "");
            upstream.judge(move |_| Some(script.clone()));
            for kind in &KINDS {
                let from = upstream.calls().len();
                for (path, body) in asked(kind, "hi") {
                    let answer = app.post(path).by(&user).json(&body).await;
                    assert!(answer.status == 502 || answer.status == 400, "{path}: {answer:?}");
                }
                told_their_own_only(&upstream, kind, from);
            }
        }
    }
    assert_eq!(canary.connections(), 0, "nobody so much as knocked");
}

async fn g68_what_is_moderated_is_sent_to_the_moderator_only(setup: &Setup) {
    let (upstream, canary) = (Upstream::start().await, Upstream::start().await);
    let judge = Upstream::start().await;
    judge.judge(|call| Some(answer(call)));
    let key = "key-of-the-judge-0123456789";
    let mut set = upstream.settings("m").to_vec();
    set.extend([
        ("moderation.adapter", "openai"),
        ("moderation.openai_base_url", judge.url.as_str()),
        ("moderation.openai_api_key", key),
        ("moderation.openai_where", "both"),
        ("protection.default_per_minute", "1000000"),
        ("billing.plans", OPEN),
        ("billing.default_plan", "free"),
    ]);
    let app = setup.app_with(&set).await;
    let user = app.user().await;
    let address = judge.url.trim_start_matches("http://").trim_end_matches("/v1");
    let mut judged = 0;
    for place in spellings(&canary) {
        let body = json!({ "model": "m", "messages": [{ "role": "user", "content": place }] });
        let body = led_astray(body, &place);
        app.post("/v1/chat/completions").by(&user).json(&body).await.is(200);
        let calls = judge.calls();
        // The question and the answer.
        assert_eq!(calls.len(), judged + 2, "{place:?}");
        judged = calls.len();
        for call in &calls[judged - 2..] {
            assert_eq!(
                (call.path.as_str(), call.headers["host"].as_str()),
                ("/v1/moderations", address)
            );
            assert_eq!(call.headers["authorization"], format!("Bearer {key}"));
        }
    }
    for status in [301, 302, 303, 307, 308] {
        let script = Script::answer(status, &[("location", canary.url.as_str())], "");
        judge.judge(move |_| Some(script.clone()));
        let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
        let closed = app.post("/v1/chat/completions").by(&user).json(&body).await;
        assert_eq!(closed.status, 503, "{status}");
    }
    assert_eq!(canary.connections(), 0, "nobody so much as knocked");
}
