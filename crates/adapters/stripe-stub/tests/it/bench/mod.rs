//! A running stub, a client of it, and a webhook that keeps what it is sent.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, Response, redirect};
use secrecy::SecretString;
use serde_json::Value;
use url::Url;

use anteroom_stripe_stub::{SIGNATURE_HEADER, Stub, StubOptions, WebhookTarget, sign};

pub const KEY: &str = "sk_test_stub";
pub const SECRET: &str = "whsec_test";
pub const DAY: i64 = 86_400;

/// What a webhook got: signature and body.
type Letters = Arc<Mutex<Vec<(String, String)>>>;

/// A webhook, which refuses as many events at first as it is told.
pub struct Webhook {
    pub url: Url,
    letters: Letters,
    refuse: Arc<AtomicUsize>,
}

impl Webhook {
    pub fn start() -> Self {
        let (letters, refuse) = (Letters::default(), Arc::new(AtomicUsize::new(0)));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/webhook", listener.local_addr().unwrap());
        let (kept, left) = (letters.clone(), refuse.clone());
        std::thread::spawn(move || {
            let app = move || {
                let (kept, left) = (kept.clone(), left.clone());
                let receive = move |request: HttpRequest, body: String| {
                    let (kept, left) = (kept.clone(), left.clone());
                    async move {
                        let refused = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
                        if refused.is_ok() {
                            return HttpResponse::InternalServerError().finish();
                        }
                        let signature = request.headers().get(SIGNATURE_HEADER).unwrap();
                        kept.lock()
                            .unwrap()
                            .push((signature.to_str().unwrap().to_owned(), body));
                        HttpResponse::Ok().finish()
                    }
                };
                App::new().route("/webhook", web::post().to(receive))
            };
            let server = HttpServer::new(app)
                .workers(1)
                .disable_signals()
                .listen(listener)
                .unwrap();
            actix_web::rt::System::new().block_on(server.run()).unwrap();
        });
        Self {
            url: Url::parse(&url).unwrap(),
            letters,
            refuse,
        }
    }

    pub fn refuse(&self, next: usize) {
        self.refuse.store(next, Ordering::SeqCst);
    }

    /// What came since the last call, its signatures checked against how old they may be.
    pub fn take(&self) -> Vec<Value> {
        let letters = std::mem::take(&mut *self.letters.lock().unwrap());
        letters.iter().map(|(signature, body)| read(signature, body)).collect()
    }

    /// The same without a look at the signatures.
    pub fn take_letters(&self) -> Vec<(String, String)> {
        std::mem::take(&mut *self.letters.lock().unwrap())
    }
}

fn read(signature: &str, body: &str) -> Value {
    let seconds: i64 = signature
        .strip_prefix("t=")
        .unwrap()
        .split(',')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let right = sign(
        &SECRET.into(),
        body.as_bytes(),
        Timestamp::from_second(seconds).unwrap(),
    );
    assert_eq!(signature, right);
    assert!(
        (Timestamp::now().as_second() - seconds).abs() < 60,
        "signed when it is sent"
    );
    serde_json::from_str(body).unwrap()
}

/// The running stub and its client.
pub struct Bench {
    pub stub: Arc<Stub>,
    pub base: String,
    pub client: Client,
    pub webhook: Webhook,
}

impl Bench {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}/stripe-stub", listener.local_addr().unwrap());
        let webhook = Webhook::start();
        let stub = Stub::open(StubOptions {
            public_url: Url::parse(&base).unwrap(),
            secret_key: SecretString::from(KEY),
            webhook: Some(WebhookTarget {
                url: webhook.url.clone(),
                secret: SecretString::from(SECRET),
            }),
            frame_ancestors: Vec::new(),
            journal: None,
        })
        .unwrap();
        let served = stub.clone();
        std::thread::spawn(move || {
            let app = move || {
                let served = served.clone();
                App::new().service(web::scope("/stripe-stub").configure(move |config| served.configure(config)))
            };
            let server = HttpServer::new(app)
                .workers(2)
                .disable_signals()
                .listen(listener)
                .unwrap();
            actix_web::rt::System::new().block_on(server.run()).unwrap();
        });
        Self {
            stub,
            base,
            client: client(),
            webhook,
        }
    }

    pub async fn send(&self, method: &str, path: &str, form: &[(&str, &str)]) -> Response {
        send(&self.client, &self.base, method, path, form, None).await
    }

    /// What is answered with 200.
    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Value {
        ok(self.send("POST", path, form).await).await
    }

    pub async fn get(&self, path: &str) -> Value {
        ok(self.send("GET", path, &[]).await).await
    }

    pub async fn delete(&self, path: &str) -> Value {
        ok(self.send("DELETE", path, &[]).await).await
    }

    /// What is refused: the status and the error.
    pub async fn refused(&self, method: &str, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let answer = self.send(method, path, form).await;
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap();
        assert!(status >= 400, "{body}");
        (status, body["error"].clone())
    }

    pub async fn price(&self, amount: &str, interval: &str) -> String {
        let form = [
            ("currency", "usd"),
            ("unit_amount", amount),
            ("recurring[interval]", interval),
            ("product_data[name]", "Plan"),
        ];
        id(&self.post("prices", &form).await)
    }

    pub async fn customer(&self, card: Option<&str>) -> String {
        let mut form = vec![("email", "ada@example.com")];
        if let Some(card) = card {
            form.push(("payment_method", card));
            form.push(("invoice_settings[default_payment_method]", card));
        }
        id(&self.post("customers", &form).await)
    }

    pub async fn subscribe(&self, customer: &str, price: &str, more: &[(&str, &str)]) -> Value {
        let form = [&[("customer", customer), ("items[0][price]", price)], more].concat();
        self.post("subscriptions", &form).await
    }

    pub async fn subscription(&self, id: &str) -> Value {
        self.get(&format!("subscriptions/{id}?expand[]=latest_invoice")).await
    }

    pub async fn days(&self, days: i64) {
        self.stub.advance(SignedDuration::from_secs(days * DAY)).await;
    }

    /// Sends a page's form.
    pub async fn submit(&self, url: &str, form: &[(&str, &str)]) -> Response {
        let body: String = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        self.client.post(url).body(body).send().await.unwrap()
    }

    /// The kinds of the events since so many, in their order.
    pub fn kinds_from(&self, first: usize) -> Vec<String> {
        let events = self.stub.events();
        events[first..]
            .iter()
            .map(|event| event["type"].as_str().unwrap().to_owned())
            .collect()
    }

    pub fn count(&self) -> usize {
        self.stub.events().len()
    }
}

pub fn client() -> Client {
    Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .build()
        .unwrap()
}

pub async fn send(
    client: &Client,
    base: &str,
    method: &str,
    path: &str,
    form: &[(&str, &str)],
    key: Option<&str>,
) -> Response {
    let body: String = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let mut request = client
        .request(method.parse().unwrap(), format!("{base}/v1/{path}"))
        .bearer_auth(KEY)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    request.send().await.unwrap()
}

pub async fn ok(answer: Response) -> Value {
    let status = answer.status();
    let body: Value = answer.json().await.unwrap();
    assert_eq!(status, 200, "{body}");
    body
}

pub fn id(object: &Value) -> String {
    object["id"].as_str().unwrap().to_owned()
}

/// The running period of a subscription.
pub fn period(subscription: &Value) -> (i64, i64) {
    let item = &subscription["items"]["data"][0];
    (
        item["current_period_start"].as_i64().unwrap(),
        item["current_period_end"].as_i64().unwrap(),
    )
}
