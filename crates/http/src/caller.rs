//! Who may call: the first parameter of every endpoint.

use std::cell::Ref;
use std::future::{Ready, ready};
use std::net::IpAddr;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};
use anteroom_domain::access::{API_KEY_PREFIX, Scope};
use anteroom_domain::accounts::Role;
use anteroom_domain::protection::{Limit, Verdict};
use anteroom_domain::sessions::Transport;
use anteroom_domain::{ApiKeyId, UserId};
use anteroom_services::Client;
use anteroom_services::access::{LiveKey, Principal};
use anteroom_services::protection::{Act, Ruled};
use anteroom_services::sessions::{AuthenticateError, Credential, LiveSession};
use futures_util::future::LocalBoxFuture;

use crate::Api;
use crate::origin;
use crate::problem::{Problem, Shape};
use crate::route::Matched;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Anybody.
    Anonymous,
    /// Whoever is signed in.
    SignedIn,
    /// Admins.
    Admin,
}

/// An extractor that says who may call.
pub trait Caller: FromRequest {
    /// Who that is.
    const WHO: Who;
    /// Whether it may be an API key, on a route whose row in the table names the scope.
    const TAKES_KEYS: bool = false;
}

/// What [`crate::Edge`] knows of a request before anything else looks at it.
#[derive(Debug, Clone)]
pub(crate) struct RequestInfo {
    pub(crate) id: String,
    pub(crate) address: Option<IpAddr>,
    /// Two capital letters, where a trusted proxy names them.
    pub(crate) country: Option<String>,
}

/// Left in the request by the extractors, for the log line and the `RateLimit` headers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Admitted {
    pub(crate) user: Option<UserId>,
    pub(crate) key: Option<ApiKeyId>,
    pub(crate) count: Option<(Limit, Verdict)>,
}

/// Anybody.
pub struct Anonymous {
    /// Where the request came from.
    pub client: Client,
}

/// Somebody with a live session.
pub struct SignedIn {
    /// The session and its user.
    pub live: Arc<LiveSession>,
    /// What carried it.
    pub via: Transport,
}

/// Somebody with a live session, or a program with an API key that the route is open to.
pub struct Known {
    /// Who.
    pub who: Principal,
}

/// An admin with a live session.
pub struct Admin {
    /// The session and its user.
    pub live: Arc<LiveSession>,
}

impl Caller for Anonymous {
    const WHO: Who = Who::Anonymous;
}
impl Caller for SignedIn {
    const WHO: Who = Who::SignedIn;
}
impl Caller for Known {
    const WHO: Who = Who::SignedIn;
    const TAKES_KEYS: bool = true;
}
impl Caller for Admin {
    const WHO: Who = Who::Admin;
}

/// The credential of a request, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Presented {
    Bearer(String),
    Cookie(String),
}

impl Presented {
    pub(crate) fn credential(&self) -> Credential<'_> {
        match self {
            Self::Bearer(token) => Credential::Bearer(token),
            Self::Cookie(value) => Credential::Cookie(value),
        }
    }

    fn via(&self) -> Transport {
        match self {
            Self::Bearer(_) => Transport::Token,
            Self::Cookie(_) => Transport::Cookie,
        }
    }

    /// The text of an API key, if that is what it looks like. No token of a session begins so.
    fn api_key(&self) -> Option<&str> {
        match self {
            Self::Bearer(token) => Some(token.as_str()).filter(|token| token.starts_with(API_KEY_PREFIX)),
            Self::Cookie(_) => None,
        }
    }
}

/// Reads a request's credential. An `Authorization` header counts alone; a malformed, repeated or oversized
/// credential is none. Anthropic's SDKs send theirs as `x-api-key`, which is a bearer token on their paths.
pub(crate) fn presented(request: &HttpRequest, cookie: &str) -> Option<Presented> {
    let headers = request.headers();
    let mut authorizations = headers.get_all(header::AUTHORIZATION);
    if let Some(value) = authorizations.next() {
        if authorizations.next().is_some() {
            return None;
        }
        let (scheme, token) = text(value)?.split_once(' ')?;
        let token = token.trim();
        return (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
            .then(|| Presented::Bearer(token.to_owned()));
    }
    if Shape::of(request.path()) == Shape::Anthropic {
        let mut keys = headers.get_all("x-api-key");
        if let Some(value) = keys.next() {
            let token = text(value)?.trim();
            return (keys.next().is_none() && !token.is_empty()).then(|| Presented::Bearer(token.to_owned()));
        }
    }
    let mut found = None;
    for value in headers.get_all(header::COOKIE) {
        // Another application's cookie may hold anything; only ours has to be readable.
        for pair in value.as_bytes().split(|b| *b == b';') {
            let Some((name, value)) = std::str::from_utf8(pair).ok().and_then(|pair| pair.split_once('=')) else {
                continue;
            };
            if name.trim() == cookie && found.replace(value.trim()).is_some() {
                return None;
            }
        }
    }
    found
        .filter(|value| !value.is_empty())
        .map(|value| Presented::Cookie(value.to_owned()))
}

/// A header's text. `HeaderValue::to_str` looks at each byte by itself, and tokens are long.
fn text(value: &HeaderValue) -> Option<&str> {
    let text = std::str::from_utf8(value.as_bytes()).ok()?;
    text.is_ascii().then_some(text)
}

pub(crate) fn api(request: &HttpRequest) -> Result<web::Data<Api>, Problem> {
    request
        .app_data::<web::Data<Api>>()
        .cloned()
        .ok_or_else(|| Problem::internal("the API is not mounted"))
}

pub(crate) fn address(request: &HttpRequest) -> Option<IpAddr> {
    request.extensions().get::<RequestInfo>().and_then(|info| info.address)
}

fn act(request: &HttpRequest) -> Act {
    request
        .app_data::<Matched>()
        .map_or(Act::Default, |matched| matched.act(request.method()))
}

/// Leaves the verdict for the answer's headers, and refuses what is over the limit.
fn admit(request: &HttpRequest, user: Option<UserId>, count: Option<(Limit, Verdict)>) -> Result<(), Problem> {
    admit_as(request, Admitted { user, key: None, count })
}

fn admit_as(request: &HttpRequest, mut admitted: Admitted) -> Result<(), Problem> {
    let refuses = |(_, verdict): &(Limit, Verdict)| !verdict.allowed;
    if act(request) != Act::Unlimited && !admitted.count.as_ref().is_some_and(refuses) {
        let ruled = api(request)?.protection.count_rules(&Ruled {
            method: request.method().as_str(),
            path: request.app_data::<Matched>().map_or("", |matched| matched.path),
            user: admitted.user,
            key: admitted.key,
            address: address(request),
        });
        // What a rule allows is announced only where nothing else counts.
        admitted.count = ruled.filter(refuses).or(admitted.count).or(ruled);
    }
    request.extensions_mut().insert(admitted);
    let Some((limit, verdict)) = admitted.count.filter(refuses) else {
        return Ok(());
    };
    let detail = format!(
        "at most {} requests {} are allowed here; wait {} s",
        limit.most,
        each(limit),
        verdict.after_seconds
    );
    Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail)
        .retry_after(verdict.after_seconds)
        .with("limit", limit.name))
}

/// A limit's while, in words.
fn each(limit: Limit) -> String {
    match limit.seconds {
        1 => "a second".to_owned(),
        60 => "a minute".to_owned(),
        3_600 => "an hour".to_owned(),
        86_400 => "a day".to_owned(),
        seconds => format!("in {seconds} s"),
    }
}

fn admit_anonymous(request: &HttpRequest) -> Result<Anonymous, Problem> {
    let api = api(request)?;
    // A page of a foreign site must not sign its visitor in (or up) as somebody else.
    origin::check_anonymous(request, &api.options.allowed_origins)?;
    let address = address(request);
    admit(request, None, api.protection.count_address(act(request), address))?;
    Ok(Anonymous {
        client: client(request),
    })
}

/// Where a request came from.
pub(crate) fn client(request: &HttpRequest) -> Client {
    let extensions = request.extensions();
    let info = extensions.get::<RequestInfo>();
    let agent = request.headers().get(header::USER_AGENT);
    Client {
        address: info.and_then(|info| info.address).map(|a| a.to_string()),
        user_agent: agent.map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned()),
        country: info.and_then(|info| info.country.clone()),
        request_id: info.and_then(|info| info.id.parse().ok()),
    }
}

impl FromRequest for Anonymous {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(admit_anonymous(request))
    }
}

/// The live session behind a request. Answered on the worker from memory where possible.
pub(crate) async fn sign_in(request: &HttpRequest) -> Result<SignedIn, Problem> {
    let api = api(request)?;
    let presented = presented(request, &api.options.cookie.name);
    sign_in_with(request, &api, presented).await
}

async fn sign_in_with(
    request: &HttpRequest,
    api: &web::Data<Api>,
    presented: Option<Presented>,
) -> Result<SignedIn, Problem> {
    let Some(presented) = presented else {
        admit(
            request,
            None,
            api.protection.count_address(act(request), address(request)),
        )?;
        return Err(Problem::unauthenticated());
    };
    if let Some(text) = presented.api_key() {
        key(request, api, text).await?;
        return Err(insufficient_scope(scope(request)));
    }
    if matches!(presented, Presented::Cookie(_)) {
        origin::check_cookie(request, &api.options.allowed_origins)?;
    }
    let via = presented.via();
    let live = match api.sessions.authenticate_cached(presented.credential()) {
        Some(live) => live,
        None => look_up(request, api, presented).await?,
    };
    admit(
        request,
        Some(live.user.id),
        api.protection.count_user(act(request), live.user.id),
    )?;
    Ok(SignedIn { live, via })
}

/// Whoever is known: the API key behind a request, if the route is open to it, else the live session.
async fn known(request: &HttpRequest) -> Result<Known, Problem> {
    let api = api(request)?;
    let presented = presented(request, &api.options.cookie.name);
    let Some(text) = presented.as_ref().and_then(Presented::api_key) else {
        let who = Principal::Session(sign_in_with(request, &api, presented).await?.live);
        return Ok(Known { who });
    };
    let live = key(request, &api, text).await?;
    match scope(request) {
        Some(scope) if live.key.may(scope) => Ok(Known {
            who: Principal::Key(live, scope),
        }),
        scope => Err(insufficient_scope(scope)),
    }
}

/// The live key with this text, counted: as a request of its owner, and by the key's own rate. Answered on the worker
/// from memory where possible.
async fn key(request: &HttpRequest, api: &web::Data<Api>, text: &str) -> Result<Arc<LiveKey>, Problem> {
    let live = match api.access.key_cached(text) {
        Some(live) => live,
        None => {
            let (access, text) = (Arc::clone(&api.access), text.to_owned());
            let found = api.run(async move { access.key(&text).await }).await;
            guessed(request, api, &found)?;
            found.map_err(|p| match p.code() {
                "unauthenticated" => Problem::no_such_key(),
                _ => p,
            })?
        }
    };
    let count = api.protection.count_key(act(request), &live.key);
    let admitted = Admitted {
        user: Some(live.user.id),
        key: Some(live.key.id),
        count,
    };
    admit_as(request, admitted)?;
    Ok(live)
}

fn scope(request: &HttpRequest) -> Option<Scope> {
    request
        .app_data::<Matched>()
        .and_then(|matched| matched.scope(request.method()))
}

/// 403 for a key that is good, but not for this (RFC 6750 section 3.1).
fn insufficient_scope(scope: Option<Scope>) -> Problem {
    let (detail, challenge) = match scope {
        Some(scope) => (
            format!("this API key needs the scope `{}` for that", scope.as_str()),
            format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", scope.as_str()),
        ),
        None => (
            "no API key may do that: it takes a session".to_owned(),
            "Bearer error=\"insufficient_scope\"".to_owned(),
        ),
    };
    Problem::new(StatusCode::FORBIDDEN, "insufficient_scope", detail).header(header::WWW_AUTHENTICATE, &challenge)
}

/// Guessing is counted where it comes from, since there is no user to count.
fn guessed<T>(request: &HttpRequest, api: &web::Data<Api>, found: &Result<T, Problem>) -> Result<(), Problem> {
    if found.as_ref().is_err_and(|p| p.code() == "unauthenticated") {
        admit(
            request,
            None,
            api.protection.count_address(act(request), address(request)),
        )?;
    }
    Ok(())
}

async fn look_up(
    request: &HttpRequest,
    api: &web::Data<Api>,
    presented: Presented,
) -> Result<Arc<LiveSession>, Problem> {
    let sessions = Arc::clone(&api.sessions);
    let found = api
        .run(async move { sessions.authenticate(presented.credential()).await })
        .await;
    guessed(request, api, &found)?;
    found
}

impl From<AuthenticateError> for Problem {
    fn from(error: AuthenticateError) -> Self {
        match error {
            AuthenticateError::Unauthenticated => Self::unauthenticated(),
            AuthenticateError::Store(e) => e.into(),
        }
    }
}

impl FromRequest for SignedIn {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { sign_in(&request).await })
    }
}

impl FromRequest for Known {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { known(&request).await })
    }
}

impl FromRequest for Admin {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let signed_in = sign_in(&request).await?;
            if signed_in.live.user.role != Role::Admin {
                return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", "this is for admins"));
            }
            Ok(Self { live: signed_in.live })
        })
    }
}

/// The request id, for answers that carry it in their body.
pub(crate) fn request_id(request: &HttpRequest) -> String {
    let extensions: Ref<'_, _> = request.extensions();
    extensions
        .get::<RequestInfo>()
        .map(|info| info.id.clone())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn of(headers: &[(&str, &str)]) -> Option<Presented> {
        let mut request = TestRequest::default();
        for (name, value) in headers {
            request = request.append_header((*name, *value));
        }
        presented(&request.to_http_request(), "__Host-anteroom")
    }

    #[test]
    fn anthropics_key_is_a_credential_on_its_paths_only() {
        let at = |path: &str, headers: &[(&str, &str)]| {
            let request = headers
                .iter()
                .fold(TestRequest::with_uri(path), |request, (name, value)| {
                    request.append_header((*name, *value))
                });
            presented(&request.to_http_request(), "__Host-anteroom")
        };
        let bearer = |v: &str| Some(Presented::Bearer(v.to_owned()));
        let key = ("x-api-key", "abc");
        assert_eq!(at("/v1/messages", &[key]), bearer("abc"));
        assert_eq!(at("/v1/messages/count_tokens", &[key]), bearer("abc"));
        for path in [
            "/v1/chat/completions",
            "/v1/me",
            "/v1/messagesx",
            "/v1/conversations/1/messages",
        ] {
            assert_eq!(at(path, &[key]), None, "{path}");
        }
        assert_eq!(at("/v1/messages", &[key, ("authorization", "Bearer d")]), bearer("d"));
        assert_eq!(at("/v1/messages", &[key, ("authorization", "Basic d")]), None);
        assert_eq!(at("/v1/messages", &[key, key]), None);
        // A header that is there but empty does not fall back to the cookie.
        assert_eq!(
            at("/v1/messages", &[("x-api-key", " "), ("cookie", "__Host-anteroom=c")]),
            None
        );
    }

    #[test]
    fn one_clear_credential_or_none() {
        let cookie = |v: &str| Some(Presented::Cookie(v.to_owned()));
        let bearer = |v: &str| Some(Presented::Bearer(v.to_owned()));
        assert_eq!(of(&[("authorization", "Bearer abc")]), bearer("abc"));
        assert_eq!(of(&[("authorization", "bearer abc")]), bearer("abc"));
        assert_eq!(of(&[("authorization", "Basic abc")]), None);
        assert_eq!(of(&[("authorization", "Bearer ")]), None);
        assert_eq!(
            of(&[("authorization", "Bearer a"), ("authorization", "Bearer b")]),
            None
        );
        assert_eq!(of(&[("cookie", "x=1; __Host-anteroom=abc; y=2")]), cookie("abc"));
        assert_eq!(of(&[("cookie", "__Host-anteroom=a; __Host-anteroom=b")]), None);
        assert_eq!(
            of(&[("cookie", "__Host-anteroom=a"), ("cookie", "__Host-anteroom=a")]),
            None
        );
        assert_eq!(of(&[("cookie", "__Host-anteroom=")]), None);
        assert_eq!(of(&[("cookie", "__host-anteroom=abc; other")]), None);
        // A header that is there but wrong does not fall back to the cookie.
        assert_eq!(
            of(&[("authorization", "Basic x"), ("cookie", "__Host-anteroom=abc")]),
            None
        );
        assert_eq!(of(&[]), None);
    }
}
