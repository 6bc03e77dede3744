//! What every request passes: its id, its client's address, CORS, security headers, the shape of errors, one log line.

use std::future::{Future, Ready, ready};
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode, Version};
use actix_web::{Error, HttpMessage as _, HttpResponse, web};
use anteroom_ports::Queries;
use bytes::Bytes;
use ipnet::IpNet;
use tracing::{Instrument as _, error, info, info_span, warn};

use crate::caller::{Admitted, RequestInfo};
use crate::origin;
use crate::problem::{Problem, Shape};
use crate::route::Matched;
use crate::traced::Traced;
use crate::{Api, HttpOptions};

/// Counts requests from their head to the end of their answer's body, so that a shutdown knows when all is said.
#[derive(Clone, Default)]
pub struct InFlight(Arc<Counter>);

#[derive(Default)]
struct Counter {
    count: AtomicUsize,
    draining: AtomicBool,
}

/// One request that is being answered.
struct Flight(InFlight);

impl InFlight {
    /// How many requests are being answered.
    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::SeqCst)
    }

    /// From now on every answer closes its connection.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::SeqCst);
    }

    fn enter(&self) -> Flight {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        Flight(self.clone())
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.0.count.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A streamed body that counts as long as it streams.
struct Counted {
    body: BoxBody,
    _flight: Flight,
    _trace: Traced,
}

impl MessageBody for Counted {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_next(cx)
    }
}

/// The middleware round everything.
pub(crate) struct Edge {
    api: web::Data<Api>,
}

impl Edge {
    /// Wraps the API.
    pub(crate) fn new(api: web::Data<Api>) -> Self {
        Self { api }
    }
}

impl<S> Transform<S, ServiceRequest> for Edge
where
    S: Service<ServiceRequest, Response = ServiceResponse<BoxBody>, Error = Error> + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Transform = EdgeService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        let fixed = Rc::new(fixed_headers(&self.api.options));
        ready(Ok(EdgeService {
            service,
            api: self.api.clone(),
            fixed,
            meters: Rc::new(Meters::new()),
        }))
    }
}

/// The middleware, on one worker.
pub(crate) struct EdgeService<S> {
    service: S,
    api: web::Data<Api>,
    fixed: Rc<Vec<(HeaderName, HeaderValue)>>,
    meters: Rc<Meters>,
}

impl<S> Service<ServiceRequest> for EdgeService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<BoxBody>, Error = Error> + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>>>>;

    actix_web::dev::forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let begun = Instant::now();
        let id = self.api.ops.request_id().to_string();
        let address = client_address(
            request.peer_addr().map(|a| a.ip()),
            request.headers(),
            &self.api.options.trusted_proxies,
        );
        let country = country(&request, &self.api.options);
        request.extensions_mut().insert(RequestInfo {
            id: id.clone(),
            address,
            country,
        });
        let (api, fixed, meters) = (self.api.clone(), Rc::clone(&self.fixed), Rc::clone(&self.meters));
        let trace = Traced::new(&request, &id);
        let span = trace.0.in_scope(|| info_span!("request", request_id = %id));

        if is_preflight(&request) {
            let answer = preflight(&request, &api.options, &id);
            let answer = span.in_scope(|| finish(request.into_response(answer), &api, &fixed, &meters, &id, begun, 0));
            trace.answered(&answer);
            return Box::pin(ready(Ok(answer)));
        }
        let flight = api.in_flight.enter();
        let queries = Queries::default();
        let answer = queries.clone().of(self.service.call(request));
        let around = trace.0.clone();
        let whole = async move {
            let answer = answer.await?;
            let answer = render_problem(answer, &id);
            let mut answer = finish(answer, &api, &fixed, &meters, &id, begun, queries.count());
            trace.answered(&answer);
            // A client of HTTP/1.0 knows no chunks: the end of the connection ends its stream (RFC 9112 section 6.1).
            let unchunked = answer.request().version() < Version::HTTP_11
                && matches!(answer.response().body().size(), BodySize::Stream);
            if unchunked {
                answer.response_mut().head_mut().no_chunking(true);
            }
            if unchunked || api.in_flight.0.draining.load(Ordering::Relaxed) {
                answer
                    .response_mut()
                    .head_mut()
                    .set_connection_type(ConnectionType::Close);
            }
            Ok(match answer.response().body().size() {
                BodySize::Stream => answer.map_body(|_, body| {
                    let counted = Counted {
                        body,
                        _flight: flight,
                        _trace: trace,
                    };
                    counted.boxed()
                }),
                _ => answer,
            })
        };
        // Both: the inner is none where the log wants no more than warnings.
        Box::pin(whole.instrument(span).instrument(around))
    }
}

/// The client's address: the socket's, unless the peer is a trusted proxy; then the last address in
/// `X-Forwarded-For` that is none. What cannot be read ends the walk where it stands.
fn client_address(peer: Option<IpAddr>, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let peer = peer?.to_canonical();
    let believed = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    if !headers.contains_key("x-forwarded-for") {
        return Some(peer);
    }
    if !believed(&peer) {
        warn_of_untrusted(peer);
        return Some(peer);
    }
    let mut client = peer;
    // A line with unreadable bytes stays one, and its hops stay hops: to skip it would let what stands before it, which
    // a client can write, speak in its place.
    let lines: Vec<_> = headers
        .get_all("x-forwarded-for")
        .map(|line| String::from_utf8_lossy(line.as_bytes()))
        .collect();
    for hop in lines.iter().flat_map(|line| line.split(',')).rev() {
        let Some(address) = read_hop(hop.trim()) else { break };
        client = address.to_canonical();
        if !believed(&client) {
            break;
        }
    }
    Some(client)
}

/// The country that a trusted proxy names, in the header that the settings name.
fn country(request: &ServiceRequest, options: &HttpOptions) -> Option<String> {
    let header = options.country_header.as_ref()?;
    let peer = request.peer_addr()?.ip().to_canonical();
    if !options.trusted_proxies.iter().any(|net| net.contains(&peer)) {
        return None;
    }
    let code = request
        .headers()
        .get(header)?
        .to_str()
        .ok()?
        .trim()
        .to_ascii_uppercase();
    // Cloudflare writes XX where it does not know, and T1 for Tor.
    let known = code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase()) && code != "XX";
    known.then_some(code)
}

/// An address, possibly with a port, as proxies write it.
fn read_hop(hop: &str) -> Option<IpAddr> {
    hop.parse()
        .ok()
        .or_else(|| hop.parse().ok().map(|a: std::net::SocketAddr| a.ip()))
        .or_else(|| hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
}

fn warn_of_untrusted(peer: IpAddr) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if !WARNED.swap(true, Ordering::Relaxed) {
        warn!(event = "proxy.untrusted", peer = %peer, "a peer that is not in TRUSTED_PROXIES sends X-Forwarded-For; it is ignored, and this is said once");
    }
}

/// The headers of every answer, as far as they are the same for all.
pub(crate) fn fixed_headers(options: &HttpOptions) -> Vec<(HeaderName, HeaderValue)> {
    let ancestors = if options.frame_ancestors.is_empty() {
        "'none'".to_owned()
    } else {
        options.frame_ancestors.join(" ")
    };
    let csp = format!("default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors {ancestors}");
    let mut fixed = vec![
        (header::CONTENT_SECURITY_POLICY, csp),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), microphone=()".to_owned(),
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin".to_owned(),
        ),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        // On every answer, also to requests without an `Origin`: a cache must not give such an answer to a page.
        (header::VARY, "origin".to_owned()),
    ];
    if options.frame_ancestors.is_empty() {
        fixed.push((header::X_FRAME_OPTIONS, "DENY".to_owned()));
    }
    if options.hsts {
        fixed.push((
            header::STRICT_TRANSPORT_SECURITY,
            "max-age=31536000; includeSubDomains".to_owned(),
        ));
    }
    fixed
        .into_iter()
        .filter_map(|(name, value)| Some((name, HeaderValue::from_str(&value).ok()?)))
        .collect()
}

fn is_preflight(request: &ServiceRequest) -> bool {
    *request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// What the answer to a preflight depends on.
const PREFLIGHT_VARIES: &str = "origin, access-control-request-method, access-control-request-headers";

fn preflight(request: &ServiceRequest, options: &HttpOptions, id: &str) -> HttpResponse {
    let origin = origin::origin(request.request()).unwrap_or_default();
    if !origin::allowed(origin, &options.allowed_origins) {
        return Problem::new(
            StatusCode::FORBIDDEN,
            "origin_not_allowed",
            "this origin is not among the allowed ones; set FRONTEND_URL",
        )
        .header(header::VARY, PREFLIGHT_VARIES)
        .response(id, Shape::of(request.path()));
    }
    // An allowed page may send what headers it likes: SDKs in browsers add their own.
    let asked = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let headers = asked.unwrap_or_else(|| HeaderValue::from_static("authorization, content-type, idempotency-key"));
    HttpResponse::NoContent()
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PATCH, PUT, DELETE"))
        .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, headers))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, "600"))
        .insert_header((header::VARY, PREFLIGHT_VARIES))
        .finish()
}

/// Gives an error its body. What actix itself refuses becomes a problem as well.
fn render_problem(answer: ServiceResponse, id: &str) -> ServiceResponse {
    let status = answer.status();
    if !status.is_client_error() && !status.is_server_error() {
        return answer;
    }
    let Some(cause) = answer.response().error() else {
        return answer;
    };
    let problem = match cause.as_error::<Problem>() {
        Some(problem) => problem.clone(),
        None if status.is_client_error() => Problem::new(status, "bad_request", cause.to_string()),
        None => Problem::internal(cause.to_string()),
    };
    if let Some(log) = problem.log() {
        error!(event = "request.failed", code = problem.code(), reason = log);
    }
    let shape = Shape::of(answer.request().path());
    let body = problem.response(id, shape);
    answer.into_response(body)
}

/// Adds the headers, counts and logs.
fn finish(
    mut answer: ServiceResponse,
    api: &Api,
    fixed: &[(HeaderName, HeaderValue)],
    meters: &Meters,
    id: &str,
    begun: Instant,
    queries: u32,
) -> ServiceResponse {
    let request = answer.request().clone();
    let admitted = request.extensions().get::<Admitted>().copied();
    let status = answer.status();
    let headers = answer.headers_mut();
    for (name, value) in fixed {
        if !headers.contains_key(name) {
            headers.insert(name.clone(), value.clone());
        }
    }
    if let Ok(value) = HeaderValue::from_str(id) {
        if Shape::of(request.path()) == Shape::Anthropic {
            // Where its SDKs look.
            headers.insert(HeaderName::from_static("request-id"), value.clone());
        }
        headers.insert(HeaderName::from_static("x-request-id"), value);
    }
    if let Some((limit, verdict)) = admitted.and_then(|a| a.count) {
        // draft-ietf-httpapi-ratelimit-headers
        set(
            headers,
            "ratelimit-policy",
            &format!("\"{}\";q={};w={}", limit.name, limit.most, limit.seconds),
        );
        set(
            headers,
            "ratelimit",
            &format!("\"{}\";r={};t={}", limit.name, verdict.remaining, verdict.after_seconds),
        );
    }
    if let Some(origin) = origin::origin(&request).filter(|o| origin::allowed(o, &api.options.allowed_origins)) {
        set(headers, "access-control-allow-origin", origin);
        set(headers, "access-control-allow-credentials", "true");
        set(
            headers,
            "access-control-expose-headers",
            "etag, retry-after, ratelimit, ratelimit-policy, x-ratelimit-limit-requests, \
             x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-ratelimit-limit-tokens, \
             x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, x-request-id, request-id, idempotency-replayed, \
             anteroom-dropped-parameters",
        );
    }
    let route = request.app_data::<Matched>().map_or("", |matched| matched.path);
    let elapsed = begun.elapsed();
    meters.count(request.method(), status, elapsed);
    let ms = u64::try_from(elapsed.as_micros()).map_or(0.0, micros_as_ms);
    let user = admitted.and_then(|a| a.user).map(|u| u.to_string());
    let key = admitted.and_then(|a| a.key).map(|k| k.to_string());
    info!(target: "anteroom::access", event = "request", method = %request.method(), route, status = status.as_u16(), ms, queries, user_id = user, api_key_id = key);
    answer
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds in a log line")]
fn micros_as_ms(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

const METHODS: [&str; 8] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "other"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The handles of the metrics, looked up once for each worker rather than for each request.
pub(crate) struct Meters {
    requests: Vec<[metrics::Counter; CLASSES.len()]>,
    seconds: metrics::Histogram,
}

impl Meters {
    pub(crate) fn new() -> Self {
        let counter =
            |method, class| metrics::counter!("anteroom_http_requests_total", "method" => method, "status" => class);
        let requests = METHODS
            .iter()
            .map(|method| CLASSES.map(|class| counter(*method, class)))
            .collect();
        Self {
            requests,
            seconds: metrics::histogram!("anteroom_http_request_seconds"),
        }
    }

    fn count(&self, method: &Method, status: StatusCode, elapsed: Duration) {
        let method = METHODS
            .iter()
            .position(|m| *m == method.as_str())
            .unwrap_or(METHODS.len() - 1);
        self.requests[method][class_of(status)].increment(1);
        self.seconds.record(elapsed.as_secs_f64());
    }

    /// Counts what was no request; how long it took nobody knows.
    pub(crate) fn refused(&self, status: StatusCode) {
        self.requests[METHODS.len() - 1][class_of(status)].increment(1);
    }
}

fn class_of(status: StatusCode) -> usize {
    usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f65_only_trusted_proxies_speak_for_others() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        // peer, the lines of X-Forwarded-For, who it is
        let table: [(&str, &[&[u8]], &str); 20] = [
            ("192.0.2.1", &[], "192.0.2.1"),
            ("192.0.2.1", &[b"203.0.113.9"], "192.0.2.1"),
            ("10.0.0.1", &[b"203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &[b"198.51.100.7, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            ("10.0.0.1", &[b"203.0.113.9:4711"], "203.0.113.9"),
            ("10.0.0.1", &[b"[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", &[b"[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", &[b"203.0.113.9, garbage"], "10.0.0.1"),
            ("10.0.0.1", &[b""], "10.0.0.1"),
            ("::ffff:10.0.0.1", &[b"203.0.113.9"], "203.0.113.9"),
            ("fd00::1", &[b"::ffff:203.0.113.9"], "203.0.113.9"),
            // Several lines are one list.
            ("10.0.0.1", &[b"198.51.100.7", b"203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            ("10.0.0.1", &[b"203.0.113.9", b"10.0.0.2", b"10.0.0.3"], "203.0.113.9"),
            ("10.0.0.1", &[b"203.0.113.9", b""], "10.0.0.1"),
            // Of what cannot be read nothing before it is believed, in its own line or in one that came earlier.
            ("10.0.0.1", &[b"198.51.100.7, \xff"], "10.0.0.1"),
            ("10.0.0.1", &[b"198.51.100.7", b"\xff"], "10.0.0.1"),
            ("10.0.0.1", &[b"198.51.100.7", b"203.0.113.9\xff"], "10.0.0.1"),
            ("10.0.0.1", &[b"198.51.100.7", b"\xff, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &[b"198.51.100.7", b"\xff, 203.0.113.9"], "203.0.113.9"),
            ("192.0.2.1", &[b"198.51.100.7", b"\xff"], "192.0.2.1"),
        ];
        for (peer, lines, client) in table {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(
                    HeaderName::from_static("x-forwarded-for"),
                    HeaderValue::from_bytes(line).unwrap(),
                );
            }
            let got = client_address(Some(peer.parse().unwrap()), &headers, &trusted);
            let shown: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(line)).collect();
            assert_eq!(got, Some(client.parse().unwrap()), "{peer} {shown:?}");
        }
    }
}
