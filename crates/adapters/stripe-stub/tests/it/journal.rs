//! Objects across restarts.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use reqwest::Client;
use secrecy::SecretString;
use serde_json::Value;
use url::Url;

use anteroom_stripe_stub::{Stub, StubError, StubOptions, WebhookTarget};

use crate::bench::{KEY, SECRET, Webhook, client, id, send};

fn open(journal: &Path, webhook: Option<&Webhook>) -> Result<Arc<Stub>, StubError> {
    Stub::open(StubOptions {
        public_url: Url::parse("http://127.0.0.1:1/").unwrap(),
        secret_key: SecretString::from(KEY),
        webhook: webhook.map(|webhook| WebhookTarget {
            url: webhook.url.clone(),
            secret: SecretString::from(SECRET),
        }),
        frame_ancestors: Vec::new(),
        journal: Some(journal.to_owned()),
    })
}

const ADDRESS: &str = "STRIPE_STUB_TEST_ADDRESS";
const JOURNAL: &str = "STRIPE_STUB_TEST_JOURNAL";

/// Not a test: what the next one starts as a process of its own, to kill it.
#[test]
fn serve_to_be_killed() {
    let (Ok(address), Ok(journal)) = (std::env::var(ADDRESS), std::env::var(JOURNAL)) else {
        return;
    };
    let stub = open(Path::new(&journal), None).unwrap();
    let listener = TcpListener::bind(address).unwrap();
    actix_web::rt::System::new().block_on(stub.serve(listener)).unwrap();
}

/// A process that serves, until it is dropped.
struct Served(Child);

impl Served {
    async fn start(address: &str, journal: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "journal::serve_to_be_killed", "--nocapture"])
            .env(ADDRESS, address)
            .env(JOURNAL, journal)
            .spawn()
            .unwrap();
        let served = Self(child);
        for _ in 0..400 {
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        served
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Makes customers until the process is gone; answers those that it was told of.
async fn make(client: &Client, base: &str) -> Vec<String> {
    let mut known = Vec::new();
    loop {
        let request = client
            .post(format!("{base}/v1/customers"))
            .bearer_auth(KEY)
            .body("name=x")
            .send();
        let Ok(answer) = request.await else { return known };
        let Ok(customer) = answer.json::<Value>().await else {
            return known;
        };
        known.push(id(&customer));
    }
}

#[tokio::test]
async fn nothing_that_was_answered_is_lost_when_the_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let base = format!("http://{address}");
    let mut known = Vec::new();
    for round in 0..3 {
        let served = Served::start(&address, &journal).await;
        let client = client();
        let form = [("email", "once@example.com")];
        let answer = send(&client, &base, "POST", "customers", &form, Some("key")).await;
        assert_eq!(answer.headers().contains_key("idempotent-replayed"), round > 0);
        let makers = futures_util::future::join_all((0..4).map(|_| make(&client, &base)));
        let kill = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            drop(served);
        };
        let (made, ()) = tokio::join!(makers, kill);
        known.extend(made.into_iter().flatten());
    }
    assert!(known.len() > 10, "{}", known.len());
    let stub = open(&journal, None).unwrap();
    for id in &known {
        assert!(stub.object(id).is_some(), "{id}");
    }
    let once = stub
        .events()
        .iter()
        .filter(|e| e["data"]["object"]["email"] == "once@example.com")
        .count();
    assert_eq!(once, 1);
}

#[tokio::test]
async fn the_clock_stays_and_deliveries_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let webhook = Webhook::start();
    webhook.refuse(1000);
    let stub = open(&journal, Some(&webhook)).unwrap();
    let before = stub.now();
    stub.put(serde_json::json!({"id": "prod_1", "object": "product", "name": "x"}));
    stub.advance(SignedDuration::from_hours(1000)).await;
    // A trial that is short is told of as soon as somebody looks.
    let now = stub.now().as_second();
    stub.put(serde_json::json!({
        "id": "sub_1", "object": "subscription", "status": "trialing", "created": now, "trial_end": now + 86_400,
    }));
    stub.advance(SignedDuration::from_secs(1)).await;
    assert_eq!(stub.events().len(), 1);
    let weak = Arc::downgrade(&stub);
    assert!(matches!(open(&journal, None), Err(StubError::Locked(_))));
    drop(stub);
    while weak.strong_count() > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(webhook.take_letters().is_empty());
    webhook.refuse(0);
    let stub = open(&journal, Some(&webhook)).unwrap();
    assert!(stub.now().duration_since(before) > SignedDuration::from_hours(999));
    assert_eq!(stub.object("prod_1").unwrap()["name"], "x");
    stub.settled().await;
    let came = webhook.take();
    assert_eq!(
        (came.len(), &came[0]["data"]["object"]["id"]),
        (1, &serde_json::json!("sub_1"))
    );
}

#[test]
fn a_torn_last_line_was_never_answered_and_a_damaged_one_is_no_journal() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    drop(
        open(&journal, None)
            .unwrap()
            .tap(|stub| stub.put(serde_json::json!({"id": "a", "object": "product"}))),
    );
    wait_for_lock(&journal);
    let mode = std::fs::metadata(&journal).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut file = std::fs::OpenOptions::new().append(true).open(&journal).unwrap();
    file.write_all(br#"{"put":[{"id":"b","obj"#).unwrap();
    let stub = open(&journal, None).unwrap();
    assert!(stub.object("a").is_some() && stub.object("b").is_none());
    drop(stub);
    wait_for_lock(&journal);
    let mut file = std::fs::OpenOptions::new().append(true).open(&journal).unwrap();
    file.write_all(b"{nonsense}\n").unwrap();
    assert!(matches!(open(&journal, None), Err(StubError::Damaged { .. })));
}

/// The thread of deliveries may hold the stub for a moment longer.
fn wait_for_lock(journal: &Path) {
    for _ in 0..100 {
        if !matches!(open(journal, None), Err(StubError::Locked(_))) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(50));
}

trait Tap: Sized {
    fn tap(self, work: impl FnOnce(&Self)) -> Self {
        work(&self);
        self
    }
}

impl Tap for Arc<Stub> {}

#[test]
fn no_live_key_is_taken() {
    let opened = Stub::open(StubOptions {
        public_url: Url::parse("http://127.0.0.1:1/").unwrap(),
        secret_key: SecretString::from("sk_live_x"),
        webhook: None,
        frame_ancestors: Vec::new(),
        journal: None,
    });
    assert!(matches!(opened, Err(StubError::LiveKey)));
}
