//! What the HTTP parser refuses. It never becomes a request, so no middleware sees it, and actix answers with a bare
//! status. Here the connection notices that answer on its way out and sends a problem in its place, with everything
//! that every answer has.

use std::cell::Cell;
use std::fmt::Write as _;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::rt::net::TcpStream;
use actix_web::web;
use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tracing::{info, info_span};

use crate::Api;
use crate::edge::{Meters, fixed_headers};
use crate::problem::{Problem, Shape};

/// How much of what a client sends is kept, to say where the fault is: request lines and the first headers are short.
const KEPT: usize = 1024;

/// How long a refused client may go on sending before the connection is reset, which could cost it the answer.
const LINGER: Duration = Duration::from_secs(1);

/// How many refused connections of one worker linger at a time.
const LINGERING: usize = 64;

/// More than actix's longest bare answer has.
const LONGEST_BARE: usize = 160;

/// The longest address that actix's parser takes, in bytes.
const LONGEST_ADDRESS: usize = 65_534;

/// What a worker needs to answer for the parser.
pub(crate) struct Refusals {
    api: web::Data<Api>,
    fixed: Vec<(HeaderName, HeaderValue)>,
    meters: Meters,
    lingering: Rc<Cell<usize>>,
}

impl Refusals {
    pub(crate) fn new(api: &web::Data<Api>) -> Self {
        Self {
            api: api.clone(),
            fixed: fixed_headers(&api.options),
            meters: Meters::new(),
            lingering: Rc::default(),
        }
    }

    /// The answer in place of a bare one, counted and logged as every answer is.
    fn answer(&self, bare: &Bare<'_>, sent: &Sent) -> Bytes {
        let id = self.api.ops.request_id().to_string();
        let problem = problem(bare.status, sent);
        let status = problem.status();
        let (kind, body) = problem.shaped(&id, shape(&sent.begin));
        let mut text = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\nx-request-id: {id}\r\n",
            body.len()
        );
        let date = (HeaderName::from_static("date"), bare.date);
        let fixed = self
            .fixed
            .iter()
            .filter_map(|(n, v)| Some((n.clone(), v.to_str().ok()?)));
        for (name, value) in fixed.chain([date]) {
            // Writing to a String does not fail.
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text.push_str("\r\n");
        text.push_str(&body);
        self.meters.refused(status);
        info_span!("request", request_id = %id).in_scope(|| {
            info!(target: "anteroom::access", event = "request", method = "", route = "", status = status.as_u16(), code = problem.code());
        });
        text.into()
    }

    /// Reads on for a moment after an answer. Closing a connection on which something lies unread resets it, and the
    /// client may then never see what it was told (RFC 9112 section 9.6).
    fn linger(&self, socket: &TcpStream) {
        if self.lingering.get() >= LINGERING {
            return;
        }
        let copy = || {
            let socket = std::net::TcpStream::from(socket.as_fd().try_clone_to_owned()?);
            socket.shutdown(Shutdown::Write)?;
            TcpStream::from_std(socket)
        };
        let Ok(mut socket) = copy() else { return };
        let lingering = Rc::clone(&self.lingering);
        lingering.set(lingering.get() + 1);
        actix_web::rt::spawn(async move {
            let mut rest = [0; 4096];
            let all = async { while socket.read(&mut rest).await.is_ok_and(|n| n > 0) {} };
            let _ = tokio::time::timeout(LINGER, all).await;
            lingering.set(lingering.get() - 1);
        });
    }
}

fn problem(status: StatusCode, sent: &Sent) -> Problem {
    match status {
        status if status.is_client_error() && sent.all > LONGEST_ADDRESS && !sent.begin.contains(&b'\n') => {
            Problem::new(
                StatusCode::URI_TOO_LONG,
                "uri_too_long",
                format!("the address has at most {LONGEST_ADDRESS} bytes"),
            )
        }
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Problem::new(
            status,
            "headers_too_large",
            "the address and the headers are too long: at most 96 headers and 128 KiB in all",
        ),
        StatusCode::REQUEST_TIMEOUT => {
            Problem::new(status, "headers_too_slow", "the request's headers did not come in time")
        }
        status if status.is_client_error() => {
            let (at, detail) = fault(&sent.begin).unwrap_or_else(|| {
                let detail = "this is no HTTP/1.1 request: a header or the body's framing cannot be read";
                (String::new(), detail.to_owned())
            });
            let problem = Problem::new(status, "malformed_request", detail);
            if at.is_empty() { problem } else { problem.with("at", at) }
        }
        _ => Problem::internal("the connection's dispatcher failed"),
    }
}

/// Where the fault is, and which, as far as the beginning of the request tells. Values are not repeated.
fn fault(sent: &[u8]) -> Option<(String, String)> {
    let text = sent.trim_ascii_start();
    if text.is_empty() {
        return None;
    }
    let whole = text.windows(4).position(|w| w == b"\r\n\r\n");
    // What was not kept is not judged.
    let head = match whole.or_else(|| text.iter().rposition(|b| *b == b'\n')) {
        Some(end) => &text[..end],
        None => text,
    };
    let mut lines = head.split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l));
    if !is_request_line(lines.next()?) {
        let detail = "the first line is not `METHOD /path HTTP/1.1`";
        return Some(("request line".to_owned(), detail.to_owned()));
    }
    let (mut length, mut coding) = (false, false);
    for (number, line) in (1..).zip(lines) {
        let Some(colon) = line.iter().position(|b| *b == b':') else {
            let detail = format!("header {number} has no colon");
            return Some((format!("header {number}"), detail));
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let Some(name) = std::str::from_utf8(name).ok().filter(|name| is_token(name)) else {
            let detail = format!("the name of header {number} has characters that none may have");
            return Some((format!("header {number}"), detail));
        };
        let name = name.to_ascii_lowercase();
        let told = |detail: &str| Some((format!("header {name}"), format!("the header `{name}` {detail}")));
        if value.iter().any(|b| matches!(b, 0..=8 | 10..=31 | 127)) {
            return told("has control characters");
        }
        match name.as_str() {
            "content-length" if length => return told("is there twice"),
            "content-length" if value.is_empty() || !value.iter().all(u8::is_ascii_digit) => {
                return told("is no number of bytes");
            }
            "content-length" if coding => return told("is there beside `transfer-encoding`"),
            "transfer-encoding" if !value.eq_ignore_ascii_case(b"chunked") => return told("is not `chunked`"),
            "transfer-encoding" if length => return told("is there beside `content-length`"),
            "content-length" => length = true,
            "transfer-encoding" => coding = true,
            _ => {}
        }
    }
    None
}

/// In which shape the path's errors come, where the first line is one and says the path.
fn shape(sent: &[u8]) -> Shape {
    let text = sent.trim_ascii_start();
    let line = text
        .iter()
        .position(|b| *b == b'\n')
        .map(|end| text[..end].trim_ascii_end());
    let path = line.filter(|line| is_request_line(line)).and_then(|line| {
        let target = std::str::from_utf8(line.split(|b| *b == b' ').nth(1)?).ok()?;
        target.split('?').next()
    });
    path.map_or(Shape::Problem, Shape::of)
}

fn is_request_line(line: &[u8]) -> bool {
    let mut words = line.split(|b| *b == b' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return false;
    };
    std::str::from_utf8(method).is_ok_and(is_token)
        && std::str::from_utf8(target).is_ok_and(|target| target.parse::<actix_web::http::Uri>().is_ok())
        && matches!(version, b"HTTP/1.1" | b"HTTP/1.0")
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(allowed)
}

/// An answer of actix's own, with nothing that an answer of ours has.
struct Bare<'a> {
    /// Where it begins.
    at: usize,
    status: StatusCode,
    date: &'a str,
}

/// Finds a bare answer at the end of what is written; nothing comes after one. Everything else is let go by the look at
/// its last bytes: few answers end with a head, and heads of ours are longer.
fn bare(written: &[u8]) -> Option<Bare<'_>> {
    let head = written.strip_suffix(b"\r\n\r\n")?;
    let from = head.len().saturating_sub(LONGEST_BARE);
    let begin = head[from..].windows(7).rposition(|w| w == b"HTTP/1.")?;
    let at = from + begin;
    let mut lines = std::str::from_utf8(&head[at..]).ok()?.split("\r\n");
    let status: StatusCode = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    let (mut date, mut empty) = (None, false);
    for line in lines {
        match line.split_once(": ")? {
            ("content-length", "0") => empty = true,
            ("connection", _) => {}
            ("date", value) => date = Some(value),
            _ => return None,
        }
    }
    Some(Bare {
        at,
        status,
        date: date.filter(|_| empty)?,
    })
}

/// What came since something was last written.
#[derive(Default)]
struct Sent {
    begin: Vec<u8>,
    /// How many bytes it was.
    all: usize,
}

/// A client's connection.
pub(crate) struct Connection {
    socket: TcpStream,
    refusals: Rc<Refusals>,
    sent: Sent,
    answered: bool,
    /// What is left to be written of a refusal.
    refusal: Option<Bytes>,
}

impl Connection {
    pub(crate) fn new(socket: TcpStream, refusals: Rc<Refusals>) -> Self {
        Self {
            socket,
            refusals,
            sent: Sent::default(),
            answered: false,
            refusal: None,
        }
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    fn keep(&mut self, read: &[u8]) {
        if self.answered {
            self.answered = false;
            self.sent.begin.clear();
            self.sent.all = 0;
        }
        let room = KEPT.saturating_sub(self.sent.begin.len()).min(read.len());
        self.sent.begin.extend_from_slice(&read[..room]);
        self.sent.all += read.len();
    }

    fn poll_refuse(&mut self, cx: &mut Context<'_>, written: usize) -> Poll<io::Result<usize>> {
        while let Some(rest) = self.refusal.as_mut().filter(|rest| !rest.is_empty()) {
            let n = ready!(Pin::new(&mut self.socket).poll_write(cx, rest))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            rest.advance(n);
        }
        self.refusals.linger(&self.socket);
        Poll::Ready(Ok(written))
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let outcome = ready!(Pin::new(&mut this.socket).poll_read(cx, buf));
        this.keep(&buf.filled()[before..]);
        Poll::Ready(outcome)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.refusal.is_some() {
            return this.poll_refuse(cx, buf.len());
        }
        let ours = match bare(buf) {
            None => buf,
            Some(bare) if bare.at > 0 => &buf[..bare.at],
            Some(bare) => {
                this.refusal = Some(this.refusals.answer(&bare, &this.sent));
                return this.poll_refuse(cx, buf.len());
            }
        };
        this.answered = true;
        Pin::new(&mut this.socket).poll_write(cx, ours)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\ndate: Thu, 26 Nov 2026 09:00:00 GMT\r\n\r\n";

    #[test]
    fn only_bare_answers_are_taken_for_such() {
        let found = |text: &str| bare(text.as_bytes()).map(|b| (b.at, b.status.as_u16()));
        assert_eq!(found(BARE), Some((0, 400)));
        let ours = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ndate: x\r\n\r\n{}";
        assert_eq!(found(&format!("{ours}{BARE}")), Some((ours.len(), 400)));
        assert_eq!(
            found(&BARE.replace("400 Bad Request", "431 x").replace("/1.1", "/1.0")),
            Some((0, 431))
        );
        for other in [
            "",
            "\r\n\r\n",
            ours,
            "HTTP/1.1 100 Continue\r\n\r\n",
            "0\r\n\r\n",
            &BARE.replace("400 Bad Request", "204 No Content"),
            &BARE.replace("content-length: 0", "content-length: 1"),
            &BARE.replace("connection: close", "x-request-id: r"),
            &format!("{BARE}x"),
            &BARE[1..],
        ] {
            assert_eq!(found(other), None, "{other}");
        }
    }

    #[test]
    fn the_shape_is_the_paths_where_there_is_one() {
        for (sent, expected) in [
            ("POST /v1/messages HTTP/1.1\r\nbad header\r\n\r\n", Shape::Anthropic),
            (
                "POST /v1/messages?beta=true HTTP/1.1\r\nbad header\r\n\r\n",
                Shape::Anthropic,
            ),
            ("\r\nPOST /v1/responses HTTP/1.0\n", Shape::OpenAi),
            ("GET /v1/me HTTP/1.1\r\n", Shape::Problem),
            ("POST /v1/messages HTTP/1.1", Shape::Problem),
            ("POST /v1/messages HTTP/9.9\r\n", Shape::Problem),
            ("hello\r\n", Shape::Problem),
            ("", Shape::Problem),
        ] {
            assert_eq!(shape(sent.as_bytes()), expected, "{sent}");
        }
    }

    #[test]
    fn the_fault_is_named_where_it_can_be_seen() {
        let at = |text: &[u8]| fault(text).map(|(at, _)| at).unwrap_or_default();
        for line in [
            "hello",
            "GET",
            "GET /",
            "GET / HTTP/9.9",
            "GET /a b HTTP/1.1",
            "G\u{7f}T / HTTP/1.1",
        ] {
            assert_eq!(at(format!("{line}\r\n\r\n").as_bytes()), "request line", "{line}");
        }
        let with = |headers: &str| at(format!("GET / HTTP/1.1\r\nhost: x\r\n{headers}\r\n\r\n").as_bytes());
        assert_eq!(with("bad header"), "header 2");
        assert_eq!(with("bad header: x"), "header 2");
        assert_eq!(with(": x"), "header 2");
        assert_eq!(with("X-Odd: a\0b"), "header x-odd");
        assert_eq!(with("content-length: 1\r\ncontent-length: 2"), "header content-length");
        for length in ["+1", "-1", "x", ""] {
            assert_eq!(with(&format!("content-length: {length}")), "header content-length");
        }
        assert_eq!(with("transfer-encoding: xchunked"), "header transfer-encoding");
        assert_eq!(
            with("content-length: 1\r\ntransfer-encoding: chunked"),
            "header transfer-encoding"
        );
        assert_eq!(
            with("transfer-encoding: chunked\r\ncontent-length: 1"),
            "header content-length"
        );
        // What is fine so far, or was not kept, is not blamed.
        assert_eq!(with("x: caf\u{e9}\tx"), "");
        assert_eq!(at(b"GET / HTTP/1.1\r\nhost: x\r\nx: cut o"), "");
        assert_eq!(at(b""), "");
    }
}
