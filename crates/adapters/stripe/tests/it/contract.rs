//! The contract of every payment provider, with stripe-stub in Stripe's place.

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::{App, HttpServer, web};
use anteroom_contract::payment_provider::{Bench, Bill, COUPON, Card, Headers, METER};
use anteroom_domain::Timestamp;
use anteroom_ports::PaymentProvider;
use anteroom_ports::billing::{Checkout, CheckoutOrder};
use anteroom_stripe::{SIGNATURE_HEADER, Stripe, StripeOptions};
use anteroom_stripe_stub::{Stub, StubOptions, WebhookTarget, sign};
use async_trait::async_trait;
use jiff::SignedDuration;
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

use crate::inbox::Inbox;
use crate::{KEY, options, owner, sale};

const SECRETS: [&str; 3] = ["whsec_old", "whsec_new", "whsec_foreign"];

/// The adapter, a stub of its own, and a place for what the stub sends.
struct Stage {
    stripe: Stripe,
    stub: Arc<Stub>,
    inbox: Inbox,
    http: reqwest::Client,
    base: String,
}

impl Stage {
    async fn new() -> Self {
        Self::with(false).await
    }

    async fn with(publish_on_demand: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // As Anteroom has it: below a path of its own server.
        let base = format!("http://{}/stripe-stub", listener.local_addr().unwrap());
        let inbox = Inbox::open().await;
        let target = WebhookTarget {
            url: Url::parse(&inbox.url).unwrap(),
            secret: SecretString::from(SECRETS[1]),
        };
        let stub = Stub::open(StubOptions {
            public_url: Url::parse(&base).unwrap(),
            secret_key: SecretString::from(KEY),
            webhook: Some(target),
            frame_ancestors: Vec::new(),
            journal: None,
        })
        .unwrap();
        serve(Arc::clone(&stub), listener);
        let stripe = Stripe::new(StripeOptions {
            name: "stripe-stub",
            publish_on_demand,
            webhook_secrets: SECRETS[..2].iter().map(|&secret| SecretString::from(secret)).collect(),
            ..options(&base)
        });
        let stage = Self {
            stripe: stripe.unwrap(),
            stub,
            inbox,
            http: reqwest::Client::builder()
                .no_proxy()
                // The stub closes what is idle, and this client tries nothing again.
                .pool_max_idle_per_host(0)
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap(),
            base,
        };
        let coupon = [("id", COUPON), ("percent_off", "50"), ("duration", "once")];
        stage.post("coupons", &coupon).await;
        let meter = [
            ("event_name", &*format!("anteroom_{METER}")),
            ("display_name", METER),
            ("default_aggregation[formula]", "sum"),
        ];
        stage.post("billing/meters", &meter).await;
        stage
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Value {
        let answer = request.bearer_auth(KEY).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{status}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Value {
        let request = self.http.post(format!("{}/v1/{path}", self.base));
        self.send(form_of(request, form)).await
    }

    async fn get(&self, path: &str) -> Value {
        self.send(self.http.get(format!("{}/v1/{path}", self.base))).await
    }

    /// Sends the page's form.
    async fn leave_checkout(&self, checkout: &Checkout, outcome: &str, status: u16) {
        let request = self.http.post(&checkout.url);
        let answer = form_of(request, &[("outcome", outcome)]).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{}", answer.text().await.unwrap());
    }

    async fn payment_of(&self, purchase: &str) -> String {
        let session = self.get(&format!("checkout/sessions/{purchase}")).await;
        session["payment_intent"].as_str().unwrap().to_owned()
    }
}

fn serve(stub: Arc<Stub>, listener: TcpListener) {
    let app = move || {
        let below = web::scope("/stripe-stub").configure(|config| stub.configure(config));
        App::new().service(below)
    };
    let server = HttpServer::new(app).workers(1).disable_signals();
    let server = server.listen(listener).unwrap().run();
    std::thread::spawn(move || actix_web::rt::System::new().block_on(server));
}

fn form_of(request: reqwest::RequestBuilder, form: &[(&str, &str)]) -> reqwest::RequestBuilder {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    request
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
}

fn event(id: &str, kind: &str, created: Timestamp, object: &Value) -> Vec<u8> {
    let event = json!({
        "id": id, "object": "event", "type": kind, "created": created.as_second(), "livemode": false,
        "data": {"object": object},
    });
    event.to_string().into_bytes()
}

#[async_trait]
impl Bench for Stage {
    fn provider(&self) -> &dyn PaymentProvider {
        &self.stripe
    }

    fn headers(&self, secret: usize, body: &[u8], now: Timestamp) -> Headers {
        let signature = sign(&SecretString::from(SECRETS[secret]), body, now);
        vec![(SIGNATURE_HEADER.to_owned(), signature)]
    }

    fn body(&self, event_id: &str, subscription: Option<&str>, created: Timestamp) -> Vec<u8> {
        match subscription {
            Some(id) => {
                let object = json!({"id": id, "object": "subscription", "customer": "cus_1"});
                event(event_id, "customer.subscription.updated", created, &object)
            }
            None => event(
                event_id,
                "product.created",
                created,
                &json!({"id": "prod_1", "object": "product"}),
            ),
        }
    }

    fn now(&self) -> Timestamp {
        self.stub.now()
    }

    async fn advance(&self, by: SignedDuration) {
        self.stub.advance(by).await;
    }

    async fn pay(&self, checkout: &Checkout, card: Card) {
        let outcome = match card {
            Card::Good => "paid",
            Card::FailsLater => "fails_at_renewal",
            Card::None => "without_card",
            Card::Debit => "debit",
            Card::DebitFails => "debit_fails",
            Card::Disputed => "disputed",
            Card::Fails => panic!("nobody can pay with it"),
        };
        self.leave_checkout(checkout, outcome, 303).await;
    }

    async fn pay_in_vain(&self, checkout: &Checkout) {
        self.leave_checkout(checkout, "declined", 402).await;
    }

    async fn refund(&self, purchase: &str, amount: Option<i64>) {
        let payment = self.payment_of(purchase).await;
        let amount = amount.map(|amount| amount.to_string());
        let mut form = vec![("payment_intent", payment.as_str())];
        form.extend(amount.as_deref().map(|amount| ("amount", amount)));
        self.post("refunds", &form).await;
    }

    async fn decide(&self, purchase: &str, won: bool) {
        let payment = self.payment_of(purchase).await;
        let disputes = self.get(&format!("disputes?payment_intent={payment}")).await;
        let path = format!("disputes/{}", disputes["data"][0]["id"].as_str().unwrap());
        let evidence = if won { "winning_evidence" } else { "losing_evidence" };
        self.post(&path, &[("evidence[uncategorized_text]", evidence)]).await;
    }

    async fn put_card(&self, customer: &str, card: Card) {
        let name = match card {
            Card::Good => "pm_card_visa",
            Card::FailsLater => "pm_card_failsAtRenewal",
            Card::Fails => "pm_card_chargeCustomerFail",
            Card::None => panic!("a card is not put away"),
            Card::Debit | Card::DebitFails | Card::Disputed => panic!("it is not put on file"),
        };
        let path = format!("payment_methods/{name}/attach");
        let method = self.post(&path, &[("customer", customer)]).await;
        let method = method["id"].as_str().unwrap();
        let default = [("invoice_settings[default_payment_method]", method)];
        self.post(&format!("customers/{customer}"), &default).await;
        let all = self.get(&format!("subscriptions?customer={customer}&limit=100")).await;
        for subscription in all["data"].as_array().unwrap() {
            let path = format!("subscriptions/{}", subscription["id"].as_str().unwrap());
            self.post(&path, &[("default_payment_method", method)]).await;
        }
    }

    async fn take_sent(&self) -> Vec<(Headers, Vec<u8>)> {
        self.stub.settled().await;
        self.inbox.take()
    }

    async fn bills(&self, subscription: &str) -> Vec<Bill> {
        let all = self
            .get(&format!("invoices?subscription={subscription}&limit=100"))
            .await;
        let bills = all["data"].as_array().unwrap().iter().map(|invoice| Bill {
            total: invoice["total"].as_i64().unwrap(),
            paid: invoice["amount_paid"].as_i64().unwrap(),
            settled: invoice["status"] == "paid",
        });
        bills.collect()
    }

    async fn used(&self, customer: &str) -> i64 {
        let meters = self.get("billing/meters").await;
        let meter = meters["data"][0]["id"].as_str().unwrap();
        let minute = self.now().as_second() / 60 * 60;
        let (start, end) = (minute - 3600, minute + 3600);
        let span = format!("customer={customer}&start_time={start}&end_time={end}");
        let sums = self
            .get(&format!("billing/meters/{meter}/event_summaries?{span}"))
            .await;
        let sums = sums["data"].as_array().unwrap().iter();
        sums.map(|sum| sum["aggregated_value"].as_i64().unwrap()).sum()
    }
}

anteroom_contract::payment_provider_contract!(Stage::new());

#[tokio::test]
async fn e60_webhooks_keep_the_contract() {
    let stage = Stage::new().await;
    anteroom_contract::payment_provider::webhooks::signatures(&stage).await;
    anteroom_contract::payment_provider::webhooks::ages(&stage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_buy_at_once_what_is_not_published_make_one_price() {
    let stage = Stage::with(true).await;
    let customer = stage
        .stripe
        .create_customer(owner(), "a@example.com", "customer")
        .await
        .unwrap();
    let order = CheckoutOrder {
        owner: owner(),
        customer,
        sale: sale("pro", 1900),
        quantity: 1,
        trial: None,
        coupon: None,
        success_url: "https://app.example/done".to_owned(),
        cancel_url: "https://app.example/".to_owned(),
    };
    let keys: Vec<_> = (0..64).map(|number| format!("checkout-{number}")).collect();
    let opened = keys.iter().map(|key| stage.stripe.checkout(&order, key));
    for checkout in futures_util::future::join_all(opened).await {
        checkout.unwrap();
    }
    let prices = stage.get("prices?limit=100").await;
    assert_eq!(prices["data"].as_array().unwrap().len(), 1, "{prices}");
    assert_eq!(prices["data"][0]["product"], "anteroom_pro");
}
