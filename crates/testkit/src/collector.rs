//! A collector of traces: takes OTLP over HTTP as it is sent, and keeps it.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::{Map, Value};

use crate::lock;

/// A span that arrived.
#[derive(Debug, Clone)]
pub struct CollectedSpan {
    /// Its name.
    pub name: String,
    /// Its kind, as OTLP counts them: 2 server, 3 client.
    pub kind: i32,
    /// Its trace, in hexadecimal.
    pub trace: String,
    /// Itself, in hexadecimal.
    pub id: String,
    /// What it belongs to, in hexadecimal; empty for none.
    pub parent: String,
    /// Whether its status is that of an error.
    pub failed: bool,
    /// From its beginning to its end.
    pub nanoseconds: u64,
    /// Its attributes.
    pub attributes: Map<String, Value>,
    /// The attributes of whoever sent it.
    pub resource: Map<String, Value>,
}

#[derive(Default)]
struct Arrived {
    heads: Vec<(String, BTreeMap<String, String>)>,
    bytes: Vec<u8>,
    spans: Vec<CollectedSpan>,
    status: u16,
    silent: bool,
}

/// Listens on a free port of this machine, on threads of its own.
pub struct Collector {
    arrived: Arc<Mutex<Arrived>>,
    /// Its address, without a path.
    pub url: String,
}

impl Collector {
    /// Starts one that takes everything.
    pub fn start() -> Self {
        Self::on(&TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// Starts one on this listener.
    pub fn on(listener: &TcpListener) -> Self {
        let arrived = Arc::new(Mutex::new(Arrived {
            status: 200,
            ..Arrived::default()
        }));
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (listener, kept) = (listener.try_clone().unwrap(), Arc::clone(&arrived));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || serve(&stream, &kept));
            }
        });
        Self { arrived, url }
    }

    /// From now on it answers with this status, and keeps nothing unless that is 200.
    pub fn answer(&self, status: u16) {
        lock(&self.arrived).status = status;
    }

    /// From now on it takes what is sent, and says nothing.
    pub fn fall_silent(&self) {
        lock(&self.arrived).silent = true;
    }

    /// Everything so far.
    pub fn spans(&self) -> Vec<CollectedSpan> {
        lock(&self.arrived).spans.clone()
    }

    /// The heads of the requests so far: the first line, and the headers by their names in small letters.
    pub fn heads(&self) -> Vec<(String, BTreeMap<String, String>)> {
        lock(&self.arrived).heads.clone()
    }

    /// Whether a text stands anywhere in what was sent. Protobuf keeps texts as they are.
    pub fn was_sent(&self, text: &str) -> bool {
        let arrived = lock(&self.arrived);
        arrived.bytes.windows(text.len()).any(|bytes| bytes == text.as_bytes())
    }
}

fn serve(stream: &TcpStream, kept: &Mutex<Arrived>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length").and_then(|text| text.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let (status, silent) = {
            let mut arrived = lock(kept);
            arrived.heads.push((first.trim_end().to_owned(), headers));
            arrived.bytes.extend_from_slice(&body);
            if arrived.status == 200 && !arrived.silent {
                arrived.spans.extend(read(&body));
            }
            (arrived.status, arrived.silent)
        };
        if silent {
            std::thread::sleep(std::time::Duration::from_secs(60));
            return;
        }
        let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nlocation: /elsewhere\r\n\r\n");
        let mut out = stream;
        if out.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(body: &[u8]) -> Vec<CollectedSpan> {
    let sent = ExportTraceServiceRequest::decode(body).unwrap();
    let mut spans = Vec::new();
    for group in sent.resource_spans {
        let resource = members(group.resource.map(|it| it.attributes).unwrap_or_default());
        let all = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.extend(all.map(|span| collected(span, &resource)));
    }
    spans
}

fn collected(span: Span, resource: &Map<String, Value>) -> CollectedSpan {
    CollectedSpan {
        name: span.name,
        kind: span.kind,
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        failed: span.status.is_some_and(|status| status.code == 2),
        nanoseconds: span.end_time_unix_nano - span.start_time_unix_nano,
        attributes: members(span.attributes),
        resource: resource.clone(),
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn members(attributes: Vec<KeyValue>) -> Map<String, Value> {
    let value = |it: KeyValue| (it.key, it.value.map_or(Value::Null, value));
    attributes.into_iter().map(value).collect()
}

fn value(value: AnyValue) -> Value {
    match value.value {
        Some(any_value::Value::StringValue(text)) => text.into(),
        Some(any_value::Value::BoolValue(truth)) => truth.into(),
        Some(any_value::Value::IntValue(number)) => number.into(),
        Some(any_value::Value::DoubleValue(number)) => number.into(),
        Some(any_value::Value::ArrayValue(list)) => list.values.into_iter().map(self::value).collect(),
        _ => Value::Null,
    }
}
