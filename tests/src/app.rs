//! A running server, and the people who use it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use anteroom_app::{Running, Services};
use anteroom_stripe_stub::Stub;
use serde_json::{Value, json};

use crate::client::Ask;
use crate::openapi::Contract;
use crate::{FRONTEND, PASSWORD, eventually};

/// A running server.
#[derive(Clone)]
pub struct TestApp(Arc<Inner>);

struct Inner {
    url: String,
    data: PathBuf,
    http: reqwest::Client,
    contract: Arc<Contract>,
    services: Arc<Services>,
    stub: Option<Arc<Stub>>,
    running: tokio::sync::Mutex<Option<Running>>,
    mails: Arc<Mutex<Vec<String>>>,
}

/// Somebody with an access token.
#[derive(Debug, Clone)]
pub struct User {
    /// Identifier.
    pub id: String,
    /// Address.
    pub email: String,
    /// JWT.
    pub access_token: String,
    /// Opaque.
    pub refresh_token: String,
    /// The session.
    pub session_id: String,
}

/// Somebody on the frontend's pages, with a cookie.
#[derive(Debug, Clone)]
pub struct Browser {
    /// Identifier of the user.
    pub id: String,
    /// Address.
    pub email: String,
    /// Name and value, as they are sent.
    pub cookie: String,
}

/// A client without proxies, redirects, and trust in authorities: all it talks to is on this machine.
pub fn http_client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(60))
        .build()
        .unwrap()
}

/// An address that nobody has.
pub fn fresh_email() -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    format!("person{}@example.com", NUMBER.fetch_add(1, Ordering::Relaxed))
}

impl TestApp {
    pub(crate) fn new(running: Running, data: PathBuf, mails: Arc<Mutex<Vec<String>>>) -> Self {
        let url = format!("http://{}", running.address);
        let http = http_client();
        let contract = contract();
        Self(Arc::new(Inner {
            url,
            data,
            http,
            contract,
            services: Arc::clone(running.services()),
            stub: running.stub().cloned(),
            running: tokio::sync::Mutex::new(Some(running)),
            mails,
        }))
    }

    /// Where it is: `http://127.0.0.1:4711`.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// The HTTP client, for what [`Ask`] cannot do.
    pub fn http(&self) -> &reqwest::Client {
        &self.0.http
    }

    /// What answers are held against.
    pub fn contract(&self) -> &Contract {
        &self.0.contract
    }

    /// The use cases, for what no endpoint does.
    pub fn services(&self) -> &Services {
        &self.0.services
    }

    pub(crate) fn own_stub(&self) -> Option<Arc<Stub>> {
        self.0.stub.clone()
    }

    /// Ends it, as SIGTERM would. Nothing happens to one that has ended.
    pub async fn stop(&self) {
        if let Some(running) = self.0.running.lock().await.take() {
            running.stop().await.unwrap();
        }
    }

    /// `GET`
    pub fn get(&self, path: &str) -> Ask {
        Ask::new(self, "GET", path)
    }

    /// `POST`
    pub fn post(&self, path: &str) -> Ask {
        Ask::new(self, "POST", path)
    }

    /// `PATCH`
    pub fn patch(&self, path: &str) -> Ask {
        Ask::new(self, "PATCH", path)
    }

    /// `DELETE`
    pub fn delete(&self, path: &str) -> Ask {
        Ask::new(self, "DELETE", path)
    }

    /// Any other method.
    pub fn ask(&self, method: &str, path: &str) -> Ask {
        Ask::new(self, method, path)
    }

    /// Somebody new, by token.
    pub async fn user(&self) -> User {
        let email = fresh_email();
        let answer = self
            .post("/v1/auth/signup")
            .json(&json!({ "email": email, "password": PASSWORD }))
            .await
            .is(201);
        self.expect_mails(std::slice::from_ref(&email));
        User::of(&answer.json())
    }

    /// Somebody new who runs the place.
    pub async fn admin(&self) -> User {
        let user = self.user().await;
        let made = self.services().accounts.make_admin(&user.email, None, None).await;
        assert!(made.is_ok(), "{made:?}");
        self.log_in(&user.email).await
    }

    /// Another session of somebody.
    pub async fn log_in(&self, email: &str) -> User {
        let answer = self
            .post("/v1/auth/login")
            .json(&json!({ "email": email, "password": PASSWORD }))
            .await
            .is(200);
        User::of(&answer.json())
    }

    /// Somebody new, by cookie.
    pub async fn browser(&self) -> Browser {
        let email = fresh_email();
        let answer = self
            .post("/v1/auth/signup")
            .header("origin", FRONTEND)
            .json(&json!({ "email": email, "password": PASSWORD, "transport": "cookie" }))
            .await
            .is(201);
        self.expect_mails(std::slice::from_ref(&email));
        Browser {
            id: answer.json()["user"]["id"].as_str().unwrap().to_owned(),
            cookie: answer.cookie().expect("a cookie was set"),
            email,
        }
    }

    /// Somebody whose address is proven, so that mails about money go there.
    pub async fn proven_user(&self) -> User {
        let user = self.user().await;
        let token = self.mailed_token(&user.email).await;
        let verified = self.post("/v1/auth/email/verify").json(&json!({ "token": token }));
        verified.await.is(204);
        user
    }

    /// One more mail leaves for somebody, with this subject; its text, in one line.
    pub async fn mailed(&self, user: &User, subject: &str) -> String {
        self.expect_mails(std::slice::from_ref(&user.email));
        self.mails_have_left().await;
        let mails = self.mails();
        let newest = mails.iter().rfind(|mail| mail.to == user.email).unwrap();
        assert!(
            newest.text.contains(&format!("Subject: {subject}\r\n")),
            "{subject}: {}",
            newest.text
        );
        newest.text.lines().collect::<Vec<_>>().join(" ")
    }

    /// Lets somebody buy a plan at the stub.
    pub async fn buy(&self, user: &User, plan: &str) {
        let opened = self
            .post("/v1/billing/checkout")
            .by(user)
            .json(&json!({ "plan": plan }))
            .await
            .is(201);
        let url = opened.json()["url"].as_str().unwrap().to_owned();
        self.post(url.strip_prefix(self.url()).unwrap()).await.is(303);
    }

    /// Notes that mails to these addresses are to leave.
    pub fn expect_mails(&self, to: &[String]) {
        self.0.mails.lock().unwrap().extend_from_slice(to);
    }

    /// Waits until all mails that were to leave have left.
    pub async fn mails_have_left(&self) {
        let expected = self.0.mails.lock().unwrap().len();
        eventually("mails leave", || (self.mails().len() >= expected).then_some(())).await;
    }

    /// Does what waits in the outbox now, rather than in a moment; what the server is about to do itself it does not wait
    /// for ([`Setup::errands_are_done`](crate::Setup::errands_are_done) does).
    pub async fn errands_are_run(&self) {
        while !matches!(self.services().webhooks.deliver_outbox().await, Ok(0) | Err(_)) {}
    }

    /// Fails if other mails have left than were to. A server that has ended cannot say: `false`.
    pub(crate) async fn mails_are_all(&self) -> bool {
        if self.0.running.lock().await.is_none() {
            return false;
        }
        self.errands_are_run().await;
        self.mails_have_left().await;
        let mut left: Vec<String> = self.mails().into_iter().map(|mail| mail.to).collect();
        let mut expected = self.0.mails.lock().unwrap().clone();
        left.sort();
        expected.sort();
        assert_eq!(left, expected, "mails that left, and those that were to");
        true
    }

    /// The token of the newest link that was mailed to an address, once all mails that were to leave have left.
    pub async fn mailed_token(&self, to: &str) -> String {
        self.mails_have_left().await;
        let mails = self.mails();
        let mut newest = mails.iter().rev().filter(|mail| mail.to == to);
        let token = newest.find_map(|mail| mail.text.split_once("#token="));
        let (_, rest) = token.unwrap_or_else(|| panic!("no link was mailed to {to}: {mails:#?}"));
        rest.chars().take_while(char::is_ascii_alphanumeric).collect()
    }

    /// The mails that have left, oldest first.
    pub fn mails(&self) -> Vec<Mail> {
        let Ok(entries) = std::fs::read_dir(self.0.data.join("mail")) else {
            return Vec::new();
        };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|e| e == "eml"));
        paths.sort();
        paths.into_iter().map(Mail::read).collect()
    }
}

impl User {
    /// Out of what signup, login and refresh answer.
    pub fn of(body: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{body}")).to_owned();
        Self {
            id: text(&body["user"]["id"]),
            email: text(&body["user"]["email"]),
            access_token: text(&body["access_token"]),
            refresh_token: text(&body["refresh_token"]),
            session_id: text(&body["session"]["id"]),
        }
    }
}

/// A mail that has left, as its file has it.
#[derive(Debug, Clone)]
pub struct Mail {
    /// The file.
    pub path: PathBuf,
    /// To whom.
    pub to: String,
    /// The whole text, headers included.
    pub text: String,
}

impl Mail {
    fn read(path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path).unwrap();
        let to = text
            .lines()
            .find_map(|line| line.strip_prefix("To: "))
            .unwrap_or_default();
        Self {
            to: to.trim().trim_matches(['<', '>']).to_owned(),
            path,
            text,
        }
    }
}

/// The document that every server serves, as the file has it: asking one for it would be a request that its limits count.
fn contract() -> Arc<Contract> {
    static SERVED: LazyLock<Arc<Contract>> = LazyLock::new(|| {
        let document = include_str!("../../docs/openapi.json");
        Arc::new(Contract::new(serde_json::from_str(document).unwrap()))
    });
    Arc::clone(&SERVED)
}
