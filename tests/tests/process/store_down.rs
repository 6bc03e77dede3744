//! PostgreSQL goes away while Anteroom serves, and comes back.

use std::time::{Duration, Instant};

use anteroom_tests::cluster::Cluster;
use anteroom_tests::process::Server;
use anteroom_tests::{Kind, PASSWORD, Setup, eventually_asking, run};
use serde_json::json;

use super::sign_up;

/// How long it stays away: `STORE_DOWN_SECONDS`, 30 in CI.
fn away() -> Duration {
    let seconds = std::env::var("STORE_DOWN_SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(seconds.unwrap_or(8))
}

/// What is promised for the first refusal and for the recovery.
const PROMISED: Duration = Duration::from_secs(5);

#[test]
fn a_store_that_is_stopped_is_borne() {
    run(Kind::Sqlite, async |setup: &Setup| {
        bear(setup, Cluster::down, Cluster::up).await;
    });
}

#[test]
fn a_store_that_is_silent_is_borne() {
    run(Kind::Sqlite, async |setup: &Setup| {
        bear(setup, Cluster::freeze, Cluster::thaw).await;
    });
}

async fn bear(setup: &Setup, go: fn(&Cluster), come: fn(&Cluster)) {
    // Where only SQLite is tested, PostgreSQL may be there and yet not wanted.
    let wanted = std::env::var("TEST_DATABASE_URL").is_ok_and(|url| !url.is_empty());
    let Some(cluster) = wanted.then(Cluster::start).flatten() else {
        return anteroom_tests::skipped(
            "TEST_DATABASE_URL is not set, or no PostgreSQL is installed to start and stop",
        );
    };
    let url = cluster.url();
    let settings = [
        ("database.url", url.as_str()),
        ("database.acquire_timeout_ms", "2000"),
        ("passwords.max_wait_ms", "2000"),
    ];
    let server = Server::start(setup.folder(), &setup.variables(&settings)).await;
    let token = sign_up(&server.url, "ada@example.com").await;
    let asker = Asker {
        http: anteroom_tests::app::http_client(),
        url: server.url.clone(),
        token,
    };
    asker.well().await;

    go(&cluster);
    let begun = Instant::now();
    while begun.elapsed() < away() {
        let fresh = begun.elapsed() < Duration::from_secs(1);
        let session = asker.session().await;
        // A session that was looked up moments ago is known for another half a second.
        if !(fresh && session.status == 200) {
            session.is_refused("session");
        }
        asker.login().await.is_refused("login");
        if !fresh {
            asker.put_model().await.is_refused("a change of models");
            // What is not known is not spent.
            asker.consume().await.is_refused("the gate");
            asker.call().await.is_refused("a call to a model");
        }
        asker.ready().await.is_refused("ready");
        assert_eq!(asker.get("/health").await.status, 200, "the process itself is well");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    come(&cluster);
    let back = Instant::now();
    eventually_asking("everything works again", async || {
        let told = [asker.session().await, asker.login().await, asker.ready().await];
        told.iter().all(|told| told.status == 200).then_some(())
    })
    .await;
    assert!(back.elapsed() < PROMISED, "{:?}", back.elapsed());
    sign_up(&server.url, "bob@example.com").await;
    asker.well().await;
    // Nothing of what was refused was counted, also later.
    assert_eq!((asker.used("users").await, asker.used("messages").await), (0, 0));
    for (told, what) in [(asker.consume().await, "users"), (asker.call().await, "messages")] {
        assert_eq!(told.status, 200, "{what}: {}", told.code);
        assert_eq!(asker.used(what).await, 1);
    }
    anteroom_tests::eventually("both are logged", || {
        let said = server.said();
        (said.contains("\"store.unavailable\"") && said.contains("\"store.available\"")).then_some(())
    })
    .await;
}

struct Asker {
    http: reqwest::Client,
    url: String,
    token: String,
}

struct Told {
    status: u16,
    retry_after: bool,
    code: String,
    took: Duration,
}

impl Told {
    fn is_refused(&self, what: &str) {
        assert_eq!((self.status, self.code.as_str()), (503, "store_unavailable"), "{what}");
        assert!(self.retry_after, "{what} says when to come again");
        assert!(self.took < PROMISED, "{what} took {:?}", self.took);
    }
}

impl Asker {
    async fn told(&self, request: reqwest::RequestBuilder) -> Told {
        let begun = Instant::now();
        let response = request.send().await.unwrap();
        let (status, retry_after) = (
            response.status().as_u16(),
            response.headers().contains_key("retry-after"),
        );
        let body: serde_json::Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        // The relay's refusals are of OpenAI's form.
        let code = body.pointer("/error/code").unwrap_or(&body["code"]);
        Told {
            status,
            retry_after,
            code: code.as_str().unwrap_or_default().to_owned(),
            took: begun.elapsed(),
        }
    }

    async fn get(&self, path: &str) -> Told {
        self.told(self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.token))
            .await
    }

    async fn session(&self) -> Told {
        self.get("/v1/auth/session").await
    }

    async fn put_model(&self) -> Told {
        let body = r#"{ "targets": [{ "provider": "echo", "model": "echo" }] }"#;
        let request = self.http.put(format!("{}/v1/admin/models/new", self.url));
        let request = request
            .bearer_auth(&self.token)
            .header("content-type", "application/json");
        self.told(request.body(body)).await
    }

    async fn post(&self, path: &str, body: serde_json::Value) -> Told {
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.token);
        let request = request.header("content-type", "application/json");
        self.told(request.body(body.to_string())).await
    }

    async fn consume(&self) -> Told {
        self.post("/v1/entitlements/consume", json!({ "key": "users" })).await
    }

    async fn call(&self) -> Told {
        let call = json!({ "model": "echo", "messages": [{ "role": "user", "content": "hi" }] });
        self.post("/v1/chat/completions", call).await
    }

    /// What is used up of an entitlement.
    async fn used(&self, key: &str) -> i64 {
        let request = self.http.get(format!("{}/v1/me/entitlements", self.url));
        let answer = request.bearer_auth(&self.token).send().await.unwrap();
        let all: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let found = all["data"].as_array().unwrap().iter().find(|it| it["key"] == key);
        found.unwrap()["used"].as_i64().unwrap()
    }

    async fn ready(&self) -> Told {
        self.get("/health/ready").await
    }

    async fn login(&self) -> Told {
        let body = json!({ "email": "ada@example.com", "password": PASSWORD }).to_string();
        let request = self.http.post(format!("{}/v1/auth/login", self.url));
        self.told(request.header("content-type", "application/json").body(body))
            .await
    }

    async fn well(&self) {
        for told in [self.session().await, self.ready().await, self.login().await] {
            assert_eq!(told.status, 200, "{}", told.code);
        }
    }
}
