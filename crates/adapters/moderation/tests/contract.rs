//! Both moderators, held to what every moderator does.

#![expect(clippy::unwrap_used, reason = "this binary is tests from end to end")]

use std::collections::BTreeMap;
use std::time::Duration;

use anteroom_contract::moderator::{Bench, FORBIDDEN, KEY, Scene};
use anteroom_domain::chat::{Consequence, Direction};
use anteroom_moderation::{OpenAiModeration, OpenAiModerationOptions, Rule, Rules, Where};
use anteroom_ports::chat::Moderator;
use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

struct OwnRules;

#[async_trait]
impl Bench for OwnRules {
    async fn moderator(&self, _: Scene) -> Box<dyn Moderator> {
        let rule = Rule {
            name: "fish".into(),
            pattern: None,
            words: vec![FORBIDDEN.into()],
            at: Where::Both,
            consequence: Consequence::Refuse,
        };
        Box::new(Rules::new(&[rule]).unwrap())
    }
}

mod rules {
    anteroom_contract::moderator_contract!(super::OwnRules, judges);
}

struct Server;

fn options(base_url: &str) -> OpenAiModerationOptions {
    OpenAiModerationOptions {
        base_url: Url::parse(base_url).unwrap(),
        api_key: SecretString::from(KEY),
        model: "omni-moderation-latest".into(),
        thresholds: BTreeMap::new(),
        consequence: Consequence::Refuse,
        directions: vec![Direction::Input, Direction::Output],
        timeout: Duration::from_secs(1),
    }
}

#[async_trait]
impl Bench for Server {
    async fn moderator(&self, scene: Scene) -> Box<dyn Moderator> {
        let url = if scene == Scene::Away {
            // A port that somebody listened on a moment ago may be another test's by now.
            "http://127.0.0.1:1/v1".to_owned()
        } else {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/v1", listener.local_addr().unwrap());
            tokio::spawn(serve(listener, scene));
            url
        };
        // What judges may need longer than what never does on a busy machine.
        let timeout = Duration::from_secs(if scene == Scene::Silent { 1 } else { 20 });
        Box::new(
            OpenAiModeration::new(OpenAiModerationOptions {
                timeout,
                ..options(&url)
            })
            .unwrap(),
        )
    }
}

mod openai {
    anteroom_contract::moderator_contract!(super::Server, judges, failures);
}

async fn serve(listener: TcpListener, scene: Scene) {
    while let Ok((connection, _)) = listener.accept().await {
        tokio::spawn(answer(connection, scene));
    }
}

async fn answer(connection: TcpStream, scene: Scene) {
    let mut reader = BufReader::new(connection);
    loop {
        let (mut length, mut authorized, mut path) = (0, false, String::new());
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim();
            if line.is_empty() {
                break;
            }
            if path.is_empty() {
                line.clone_into(&mut path);
            }
            let line = line.to_lowercase();
            if let Some(number) = line.strip_prefix("content-length: ") {
                length = number.parse().unwrap();
            }
            authorized |= line == format!("authorization: bearer {KEY}");
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).await.unwrap();
        let asked: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(asked["model"], "omni-moderation-latest");
        let (status, text) = match scene {
            Scene::Silent => std::future::pending().await,
            Scene::Refuses(status) => (status, format!("{KEY} {asked}")),
            Scene::Garbage => (200, r#"{"results":[]}"#.to_owned()),
            Scene::Judge | Scene::Away => (200, judged(&asked).to_string()),
        };
        let status = if path.starts_with("POST /v1/moderations ") && authorized {
            status
        } else {
            404
        };
        let answer = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        if reader.get_mut().write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn judged(asked: &Value) -> Value {
    let of = |input: &Value| {
        let hit = input.as_str().unwrap().to_lowercase().contains(FORBIDDEN);
        json!({
            "flagged": hit,
            "categories": { "violence": hit, "hate": false },
            "category_scores": { "violence": if hit { 0.9 } else { 0.1 }, "hate": 0.3 },
        })
    };
    json!({ "results": asked["input"].as_array().unwrap().iter().map(of).collect::<Vec<_>>() })
}

#[tokio::test]
async fn a_threshold_counts_in_place_of_what_the_server_says() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/", listener.local_addr().unwrap());
    tokio::spawn(serve(listener, Scene::Judge));
    let moderator = |thresholds: &[(&str, f64)]| {
        let thresholds = thresholds.iter().map(|&(name, score)| (name.to_owned(), score));
        let options = OpenAiModerationOptions {
            thresholds: thresholds.collect(),
            timeout: Duration::from_secs(20),
            ..options(&url)
        };
        OpenAiModeration::new(options).unwrap()
    };
    let rules = async |moderator: OpenAiModeration, text: &str| {
        let verdict = moderator.judge(Direction::Input, text).await.unwrap();
        verdict.findings.into_iter().map(|it| it.rule).collect::<Vec<_>>()
    };
    assert_eq!(rules(moderator(&[("violence", 0.95)]), FORBIDDEN).await, [""; 0]);
    assert_eq!(rules(moderator(&[("violence", 0.05)]), "calm").await, ["violence"]);
    assert_eq!(
        rules(moderator(&[("hate", 0.3)]), FORBIDDEN).await,
        ["hate", "violence"]
    );
    assert_ne!(moderator(&[("hate", 0.3)]).version(), moderator(&[]).version());
}
