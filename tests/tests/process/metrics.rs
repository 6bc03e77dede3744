//! What operators measure, on a listener of its own.

use anteroom_tests::app::http_client;
use anteroom_tests::process::Server;
use anteroom_tests::{Script, Setup, Upstream, eventually_asking, on_every_store};
use serde_json::json;

use super::{log_in, sign_up};

on_every_store![
    targets_of_models_are_counted,
    e61_metrics_are_on_a_listener_of_their_own_and_name_nobody
];

async fn e61_metrics_are_on_a_listener_of_their_own_and_name_nobody(setup: &Setup) {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
        .to_string();
    let settings = [("metrics.enabled", "true"), ("metrics.port", free.as_str())];
    let server = Server::start(setup.folder(), &setup.variables(&settings)).await;
    let client = http_client();
    sign_up(&server.url, "ada@example.com").await;
    for _ in 0..20 {
        assert_eq!(log_in(&client, &server.url, "ada@example.com").await, 200);
        assert_eq!(log_in(&client, &server.url, "nobody@example.com").await, 401);
    }
    // What the parser refuses counts too.
    let mut no_http = std::net::TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    std::io::Write::write_all(&mut no_http, b"hello\r\n\r\n").unwrap();
    let url = format!("http://127.0.0.1:{free}/metrics");
    let count = |text: &str, method: &str, status: &str| {
        let name = format!("anteroom_http_requests_total{{method=\"{method}\",status=\"{status}\"}} ");
        text.lines()
            .find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok())
    };
    let text = eventually_asking("every request is counted", async || {
        let text = client.get(&url).send().await.unwrap().text().await.unwrap();
        let posts = (count(&text, "POST", "2xx"), count(&text, "POST", "4xx"));
        (posts == (Some(21), Some(20)) && count(&text, "other", "4xx") == Some(1)).then_some(text)
    })
    .await;
    assert!(text.contains("anteroom_http_request_seconds_bucket"), "{text}");
    assert!(!text.contains("example.com") && !text.contains("/v1/"), "{text}");
    // They are not on the API's listener, nor the API on theirs.
    assert_eq!(
        client
            .get(format!("{}/metrics", server.url))
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
    assert_eq!(
        client
            .get(format!("http://127.0.0.1:{free}/health"))
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
}

async fn targets_of_models_are_counted(setup: &Setup) {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
        .to_string();
    let upstream = Upstream::start().await;
    upstream.on("broken", Script::answer(500, &[], ""));
    let providers = format!(
        r#"[{{ name = "far", kind = "openai", base_url = "{}" }}, {{ name = "near", kind = "echo" }}]"#,
        upstream.url
    );
    let aliases = r#"[{ name = "fast", targets = [{ provider = "far", model = "broken" }, { provider = "near", model = "echo" }] }]"#;
    let settings = [
        ("metrics.enabled", "true"),
        ("metrics.port", free.as_str()),
        ("ai.providers", &providers),
        ("ai.aliases", aliases),
        ("ai.breaker_failures", "0"),
    ];
    let server = Server::start(setup.folder(), &setup.variables(&settings)).await;
    let client = http_client();
    let token = sign_up(&server.url, "ada@example.com").await;
    let ask = async |model: &str, stream: bool| {
        let body = json!({ "model": model, "stream": stream, "messages": [{ "role": "user", "content": "Hello" }] });
        let ask = client
            .post(format!("{}/v1/chat/completions", server.url))
            .bearer_auth(&token);
        let ask = ask.header("content-type", "application/json").body(body.to_string());
        let answer = ask.send().await.unwrap();
        let status = answer.status();
        answer.text().await.unwrap();
        status
    };
    assert_eq!(ask("fast", true).await, 200);
    assert_eq!(ask("fast", false).await, 200);
    let embed = client
        .post(format!("{}/v1/embeddings", server.url))
        .bearer_auth(&token)
        .header("content-type", "application/json")
        .body(json!({ "model": "fast", "input": "Hello there" }).to_string());
    assert_eq!(embed.send().await.unwrap().status(), 200);
    // What a client makes up is no target.
    assert_eq!(ask("made up by a client", false).await, 403);
    let url = format!("http://127.0.0.1:{free}/metrics");
    let near = r#"provider="near",model="echo""#;
    let far = r#"provider="far",model="broken""#;
    let (chat, embeddings) = (
        r#"gen_ai_operation_name="chat""#,
        r#"gen_ai_operation_name="embeddings""#,
    );
    let echo = r#"gen_ai_provider_name="anteroom.echo",gen_ai_request_model="echo""#;
    let port = upstream.url.trim_end_matches("/v1").rsplit_once(':').unwrap().1;
    let there = format!(
        r#"gen_ai_provider_name="openai",gen_ai_request_model="broken",server_address="127.0.0.1",server_port="{port}""#
    );
    let lines = [
        format!(r#"anteroom_chat_target_calls_total{{{near},outcome="complete"}} 3"#),
        format!(r#"anteroom_chat_target_calls_total{{{far},outcome="failed"}} 3"#),
        format!(r#"anteroom_chat_target_errors_total{{{far},kind="upstream"}} 3"#),
        format!("anteroom_chat_target_seconds_count{{{near}}} 3"),
        format!("anteroom_chat_target_seconds_count{{{far}}} 3"),
        // Only a stream has a first token.
        format!("anteroom_chat_target_first_token_seconds_count{{{near}}} 1"),
        format!(r#"anteroom_chat_target_seconds_bucket{{{near},le="600"}} 3"#),
        // By the conventions of OpenTelemetry, with their bounds of buckets.
        format!("gen_ai_client_operation_duration_seconds_count{{{chat},{echo}}} 2"),
        format!("gen_ai_client_operation_duration_seconds_count{{{embeddings},{echo}}} 1"),
        format!(r#"gen_ai_client_operation_duration_seconds_count{{{chat},{there},error_type="upstream"}} 2"#),
        format!(r#"gen_ai_client_operation_duration_seconds_count{{{embeddings},{there},error_type="upstream"}} 1"#),
        format!(r#"gen_ai_client_operation_duration_seconds_bucket{{{chat},{echo},le="81.92"}} 2"#),
        format!("gen_ai_client_operation_time_to_first_chunk_seconds_count{{{chat},{echo}}} 1"),
        format!(r#"gen_ai_client_operation_time_to_first_chunk_seconds_bucket{{{chat},{echo},le="81.92"}} 1"#),
        format!(r#"gen_ai_client_token_usage_sum{{{chat},{echo},gen_ai_token_type="input"}} 2"#),
        format!(r#"gen_ai_client_token_usage_count{{{chat},{echo},gen_ai_token_type="output"}} 2"#),
        format!(r#"gen_ai_client_token_usage_bucket{{{chat},{echo},gen_ai_token_type="output",le="67108864"}} 2"#),
        format!(r#"gen_ai_client_token_usage_sum{{{embeddings},{echo},gen_ai_token_type="input"}} 2"#),
    ];
    let text = eventually_asking("every try is counted", async || {
        let text = client.get(&url).send().await.unwrap().text().await.unwrap();
        let counted = |line: &String| text.lines().any(|found| found == line);
        lines.iter().all(counted).then_some(text)
    })
    .await;
    assert!(!text.contains("made up"), "{text}");
    // Vectors are no tokens; and where the provider said nothing, nothing was used that anybody knows of.
    let tokens = |line: &&str| line.starts_with("gen_ai_client_token_usage");
    let unknown = |line: &&str| {
        let vectors = line.contains("embeddings") && line.contains("output");
        vectors || line.contains("broken")
    };
    assert_eq!(text.lines().filter(tokens).find(unknown), None);
    // What a provider calls the model that answered could be anything.
    assert!(!text.contains("response_model"), "{text}");
}
