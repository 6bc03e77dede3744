//! A client that holds every answer against the served OpenAPI document.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::app::{Browser, TestApp, User};
use crate::scenario::Scenario;

/// A request that is being put together; `.await` sends it.
#[must_use]
pub struct Ask {
    pub(crate) app: TestApp,
    pub(crate) method: Method,
    pub(crate) path: String,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
    judged: bool,
}

impl Ask {
    pub(crate) fn new(app: &TestApp, method: &str, path: &str) -> Self {
        Self {
            app: app.clone(),
            method: method.parse().unwrap(),
            path: path.to_owned(),
            headers: HeaderMap::new(),
            body: None,
            judged: true,
        }
    }

    /// Adds a header.
    pub fn header(self, name: &str, value: &str) -> Self {
        self.raw_header(name, value.as_bytes())
    }

    /// Adds a header that need not be text.
    pub fn raw_header(mut self, name: &str, value: &[u8]) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.headers.append(name, HeaderValue::from_bytes(value).unwrap());
        self
    }

    /// With an access token.
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// As a user, by access token.
    pub fn by(self, user: &User) -> Self {
        self.bearer(&user.access_token)
    }

    /// As a browser on the frontend's pages: with its cookie and its origin.
    pub fn from(self, browser: &Browser) -> Self {
        self.header("cookie", &browser.cookie).header("origin", crate::FRONTEND)
    }

    /// With a JSON body.
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    /// With these bytes as they are.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Holds the answer not against the document, since it is to bring what no reader of JSON takes.
    pub fn unjudged(mut self) -> Self {
        self.judged = false;
        self
    }

    /// Names what is to come of it: the status and, with what follows, code, faults, events and mails.
    pub fn expect(self, status: u16) -> Scenario {
        Scenario::new(self, status)
    }

    /// Leaves the answer's body unread, to be read as it comes.
    pub async fn stream(self) -> Stream {
        let (app, method, path, judged) = (self.app.clone(), self.method.clone(), self.path.clone(), self.judged);
        let response = self.send().await;
        let streamed = response
            .headers()
            .get("content-type")
            .is_some_and(|v| v.as_bytes().starts_with(b"text/event-stream"));
        if !streamed {
            let answer = Answer::read(app, &method, path, response, judged).await;
            panic!("a stream was to come, not {answer:?}");
        }
        assert_eq!(response.status().as_u16(), 200, "{method} {path}");
        Stream {
            app,
            path: if judged { path } else { String::new() },
            request_id: text(response.headers(), "x-request-id").unwrap_or_default(),
            headers: response.headers().clone(),
            response,
            held: Vec::new(),
            heartbeats: 0,
        }
    }

    async fn send(self) -> reqwest::Response {
        let url = format!("{}{}", self.app.url(), self.path);
        let mut request = self.app.http().request(self.method.clone(), &url).headers(self.headers);
        if let Some(body) = self.body {
            request = request.body(body);
        }
        let sent = request.send().await;
        sent.unwrap_or_else(|e| panic!("{} {url}: {e:?}", self.method))
    }
}

impl IntoFuture for Ask {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (app, method, path, judged) = (self.app.clone(), self.method.clone(), self.path.clone(), self.judged);
            let response = self.send().await;
            Answer::read(app, &method, path, response, judged).await
        })
    }
}

/// What came back.
#[derive(Clone)]
pub struct Answer {
    pub(crate) app: TestApp,
    /// What was asked for, for messages.
    pub asked: String,
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body's bytes.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        write!(f, "{} answered {}: {:.2000}", self.asked, self.status, body)
    }
}

impl Answer {
    async fn read(app: TestApp, method: &Method, path: String, response: reqwest::Response, judged: bool) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response
            .bytes()
            .await
            .unwrap_or_else(|e| panic!("{method} {path}: {e:?}"))
            .to_vec();
        let answer = Self {
            app,
            asked: format!("{method} {path}"),
            status,
            headers,
            body,
        };
        assert_ne!(
            answer.status,
            500,
            "{answer:?}\n{:#?}",
            crate::logs::of_request(&answer.request_id())
        );
        assert!(!answer.request_id().is_empty(), "no X-Request-Id: {answer:?}");
        if judged && !matches!(method.as_str(), "OPTIONS" | "HEAD") {
            let kind = answer.header("content-type");
            let verdict = answer
                .app
                .contract()
                .check(method.as_str(), &path, status, kind.as_deref(), &answer.body);
            if let Err(fault) = verdict {
                panic!("not as documented: {fault}\n{answer:?}");
            }
        }
        answer
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<String> {
        text(&self.headers, name)
    }

    /// The id under which the log speaks of the request.
    pub fn request_id(&self) -> String {
        self.header("x-request-id").unwrap_or_default()
    }

    /// The error's code, in either shape.
    pub fn code(&self) -> String {
        let body = self.json();
        let code = if body["error"].is_object() {
            &body["error"]["code"]
        } else {
            &body["code"]
        };
        code.as_str().unwrap_or_default().to_owned()
    }

    /// The status and, of an error, its code: what most tests ask about.
    pub fn told(&self) -> (u16, String) {
        let code = if self.status < 400 { String::new() } else { self.code() };
        (self.status, code)
    }

    /// Fails unless the status is this one.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Fails unless it is an error with this status and code.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{self:?}");
        self
    }

    /// The session cookie that was set, as it is sent back.
    pub fn cookie(&self) -> Option<String> {
        Some(self.header("set-cookie")?.split(';').next()?.to_owned())
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(String::from_utf8_lossy(headers.get(name)?.as_bytes()).into_owned())
}

/// One server-sent event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sse {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its identifier, if it has one.
    pub id: Option<String>,
    /// Its data, lines joined.
    pub data: String,
}

impl Sse {
    /// The data as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// An answer that is read as it comes. Dropping it hangs up.
pub struct Stream {
    app: TestApp,
    /// Whose events are held against the document; empty if they are not.
    path: String,
    /// The id under which the log speaks of the request.
    pub request_id: String,
    /// The headers.
    pub headers: HeaderMap,
    response: reqwest::Response,
    held: Vec<u8>,
    /// Comments that came, which say that it is still there.
    pub heartbeats: usize,
}

impl Stream {
    /// The next event; `None` at the end of the body, which must be a proper one.
    pub async fn next(&mut self) -> Option<Sse> {
        loop {
            if let Some(end) = self.held.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.held.drain(..end + 2).collect();
                if event == b": ping\n\n" {
                    self.heartbeats += 1;
                    continue;
                }
                let event = read_event(&String::from_utf8(event).unwrap());
                let (contract, name, data) = (self.app.contract(), event.name.as_deref(), event.data.as_bytes());
                let verdict = match self.path.as_str() {
                    "/v1/messages" => contract.check_dialect("AnthropicEvent", name, data),
                    "/v1/responses" => contract.check_dialect("ResponseEvent", name, data),
                    "/v1/chat/completions" => match name {
                        None => contract.check_data(data),
                        Some(name) => Err(format!("a chunk with the name {name}")),
                    },
                    path if path.starts_with("/v1/conversations") => match name {
                        Some(name) => contract.check_event(name, data),
                        None => Err("an event without a name".to_owned()),
                    },
                    _ => Ok(()),
                };
                assert_eq!(verdict, Ok(()), "not as documented: {event:?}");
                return Some(event);
            }
            let chunk = tokio::time::timeout(crate::PATIENCE, self.response.chunk()).await;
            match chunk
                .expect("the stream goes on or ends")
                .expect("the body ends properly")
            {
                Some(chunk) => self.held.extend_from_slice(&chunk),
                None => {
                    assert!(self.held.is_empty(), "half an event at the end: {:?}", self.held);
                    return None;
                }
            }
        }
    }

    /// All events to the end.
    pub async fn rest(&mut self) -> Vec<Sse> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    /// The names of the events that the request has logged, once all of these are there.
    pub async fn logged(&self, events: &[&str]) {
        crate::scenario::logged(&self.app, &self.request_id, events).await;
    }
}

fn read_event(text: &str) -> Sse {
    let (mut name, mut id) = (None, None);
    let mut data = Vec::new();
    // A line that begins with a colon is a comment.
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with(':')) {
        match line.split_once(": ") {
            Some(("event", value)) => name = Some(value.to_owned()),
            Some(("id", value)) => id = Some(value.to_owned()),
            Some(("data", value)) => data.push(value),
            _ => panic!("no line of an event: {line:?}"),
        }
    }
    Sse {
        name,
        id,
        data: data.join("\n"),
    }
}

/// Sends bytes as they are, on a connection of their own, and reads what comes until the server closes it or says
/// nothing more for a moment.
pub async fn raw(app: &TestApp, bytes: &[u8]) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = app.url().strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    // The server may have refused and closed before all is sent.
    let _ = stream.write_all(bytes).await;
    let mut read = Vec::new();
    let mut buffer = [0; 16 * 1024];
    let quiet = std::time::Duration::from_millis(700);
    while let Ok(Ok(n)) = tokio::time::timeout(quiet, stream.read(&mut buffer)).await {
        if n == 0 {
            break;
        }
        read.extend_from_slice(&buffer[..n]);
    }
    String::from_utf8_lossy(&read).into_owned()
}
