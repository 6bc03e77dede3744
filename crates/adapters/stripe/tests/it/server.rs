//! A server that answers each request with the next line of a script, and writes down what it was asked.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What is done with a request.
#[derive(Debug, Clone)]
pub(crate) enum Line {
    /// A whole answer.
    Answer {
        status: u16,
        headers: Vec<(&'static str, &'static str)>,
        body: String,
    },
    /// The connection is closed.
    Hangup,
    /// So much of a body is announced, and this much comes before the connection is closed.
    Half { body: &'static str, announced: usize },
    /// Nothing comes.
    Silence,
    /// The script is over: nobody should have asked.
    Unasked,
    /// More than anybody wants comes.
    Flood,
}

/// An answer with a status.
pub(crate) fn answer(status: u16, body: &Value) -> Line {
    Line::Answer {
        status,
        headers: vec![],
        body: body.to_string(),
    }
}

/// What was asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    /// `POST /v1/customers`
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The form's pairs, from the body or the query.
    pub(crate) form: Vec<(String, String)>,
    /// As it came.
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let found = self.form.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

#[derive(Default)]
struct State {
    script: VecDeque<Line>,
    asked: Vec<Asked>,
}

/// A running server.
pub(crate) struct Server {
    pub(crate) base: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) async fn start(script: impl IntoIterator<Item = Line>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            script: script.into_iter().collect(),
            asked: vec![],
        }));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { base, state }
    }

    /// What it was asked, oldest first. The script must be over.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        let state = self.state.lock().unwrap();
        assert!(state.script.is_empty(), "not asked for: {:?}", state.script);
        state.asked.clone()
    }

    /// The requests' lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

/// Answers everything with nothing, after `keep` has it.
pub(crate) async fn answer_ok(stream: TcpStream, keep: impl Fn(Asked)) {
    let mut stream = BufReader::new(stream);
    while let Some(asked) = read(&mut stream).await {
        keep(asked);
        let written = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        if written.is_err() {
            return;
        }
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut stream = BufReader::new(stream);
    while let Some(asked) = read(&mut stream).await {
        let line = {
            let mut state = state.lock().unwrap();
            state.asked.push(asked);
            state.script.pop_front()
        };
        let gone = match line.unwrap_or(Line::Unasked) {
            Line::Answer { status, headers, body } => {
                let mut head = format!("HTTP/1.1 {status} Word\r\ncontent-length: {}\r\n", body.len());
                for (name, value) in headers {
                    let _ = write!(head, "{name}: {value}\r\n");
                }
                stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.is_err()
            }
            Line::Hangup | Line::Unasked => true,
            Line::Half { body, announced } => {
                let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {announced}\r\n\r\n{body}");
                let _ = stream.write_all(text.as_bytes()).await;
                true
            }
            Line::Silence => std::future::pending().await,
            Line::Flood => {
                let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                let piece = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
                let mut gone = stream.write_all(head.as_bytes()).await.is_err();
                while !gone {
                    gone = stream.write_all(piece.as_bytes()).await.is_err();
                }
                true
            }
        };
        if gone {
            return;
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut first = String::new();
    if stream.read_line(&mut first).await.unwrap_or(0) == 0 {
        return None;
    }
    let (line, _) = first.rsplit_once(' ')?;
    let (line, query) = line.split_once('?').unwrap_or((line, ""));
    let mut asked = Asked {
        line: line.to_owned(),
        ..Asked::default()
    };
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await.ok()?;
        let Some((name, value)) = header.split_once(':') else {
            break;
        };
        asked.headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length = asked
        .header("content-length")
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let pairs = if length == 0 { query.as_bytes() } else { &body };
    asked.form = url::form_urlencoded::parse(pairs).into_owned().collect();
    asked.body = body;
    Some(asked)
}
