//! A server of the tests' own that says, byte for byte, what a script tells it, and notes what it gets.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// What it does next on the connection of a request.
#[derive(Debug, Clone)]
pub enum Step {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Lets time pass.
    Wait(Duration),
    /// Sends these bytes again and again, with a pause, until nobody takes them any more.
    Repeat(Vec<u8>, Duration),
    /// Says nothing more, until the other side hangs up.
    Hang,
    /// Closes the connection.
    Close,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    pub path: String,
    /// With names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What it has seen so far.
#[derive(Debug, Default)]
pub struct Seen {
    pub requests: Vec<Received>,
    pub connections: usize,
    pub hung_up: usize,
    pub sent_bytes: usize,
}

type Script = Arc<dyn Fn(&Received) -> Vec<Step> + Send + Sync>;

/// The server. It ends when this is dropped.
#[derive(Debug)]
pub struct Upstream {
    pub base_url: String,
    seen: Arc<Mutex<Seen>>,
    accepting: JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Upstream {
    pub async fn start(script: impl Fn(&Received) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Seen>>::default();
        let (script, noted): (Script, _) = (Arc::new(script), Arc::clone(&seen));
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                noted.lock().unwrap().connections += 1;
                tokio::spawn(serve(stream, Arc::clone(&script), Arc::clone(&noted)));
            }
        });
        Self {
            base_url,
            seen,
            accepting,
        }
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }
}

async fn serve(mut stream: TcpStream, script: Script, seen: Arc<Mutex<Seen>>) {
    let mut buffer = Vec::new();
    while let Some(request) = receive(&mut stream, &mut buffer).await {
        let steps = script(&request);
        seen.lock().unwrap().requests.push(request);
        for step in steps {
            let goes_on = tokio::select! {
                biased;
                () = hang_up(&stream) => false,
                goes_on = play(&stream, step.clone(), &seen) => goes_on,
            };
            if !goes_on {
                if !matches!(step, Step::Close) {
                    seen.lock().unwrap().hung_up += 1;
                }
                return;
            }
        }
    }
}

/// Whether the connection goes on.
async fn play(stream: &TcpStream, step: Step, seen: &Mutex<Seen>) -> bool {
    match step {
        Step::Send(bytes) => send(stream, &bytes, seen).await,
        Step::Wait(time) => {
            sleep(time).await;
            true
        }
        Step::Repeat(bytes, pause) => {
            while send(stream, &bytes, seen).await {
                sleep(pause).await;
            }
            false
        }
        Step::Hang => std::future::pending().await,
        Step::Close => false,
    }
}

async fn send(stream: &TcpStream, mut bytes: &[u8], seen: &Mutex<Seen>) -> bool {
    while !bytes.is_empty() {
        if stream.writable().await.is_err() {
            return false;
        }
        match stream.try_write(bytes) {
            Ok(sent) => {
                seen.lock().unwrap().sent_bytes += sent;
                bytes = &bytes[sent..];
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
    }
    true
}

/// Returns when the other side has closed.
async fn hang_up(stream: &TcpStream) {
    let mut byte = [0];
    // Clients send nothing while they wait for an answer: what can be read is the end.
    while stream.peek(&mut byte).await.is_ok_and(|read| read > 0) {
        sleep(Duration::from_millis(5)).await;
    }
}

async fn receive(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Received> {
    let head_end = loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer.drain(..head_end + 4).collect()).unwrap();
    let mut lines = head.lines();
    let mut request_line = lines.next()?.split(' ').map(str::to_owned);
    let (method, path) = (request_line.next()?, request_line.next()?);
    let header = |line: &str| line.split_once(": ").map(|(n, v)| (n.to_lowercase(), v.to_owned()));
    let headers: Vec<_> = lines.filter_map(header).collect();
    let length = headers.iter().find(|(n, _)| n == "content-length");
    let length: usize = length.map_or(0, |(_, v)| v.parse().unwrap());
    while buffer.len() < length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    Some(Received {
        method,
        path,
        headers,
        body: buffer.drain(..length).collect(),
    })
}

/// A whole answer.
pub fn whole(status: u16, headers: &str, body: &str) -> Step {
    let length = body.len();
    Step::Send(format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n{body}").into())
}

/// A whole answer with JSON.
pub fn json(status: u16, body: &str) -> Step {
    whole(status, "content-type: application/json\r\n", body)
}

/// The head of a stream.
pub fn head() -> Step {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    Step::Send(head.into())
}

/// Bytes of a stream's body.
pub fn body(text: &str) -> Step {
    Step::Send(format!("{:x}\r\n{text}\r\n", text.len()).into())
}

/// An event with this data.
pub fn data(data: &str) -> Step {
    body(&format!("data: {data}\n\n"))
}

/// The end of a stream's body.
pub fn end() -> Step {
    Step::Send("0\r\n\r\n".into())
}
