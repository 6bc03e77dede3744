//! A server that speaks OpenAI's API and does as it is told: slow, wrong, silent, byte for byte.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::eventually;

/// The key that the upstream is called with.
pub const KEY: &str = "key-of-the-upstream-0123456789abcdefghijklmnop";

/// A server that does as it is told. It ends with the test's runtime.
#[derive(Clone)]
pub struct Upstream {
    /// What `OPENAI_BASE_URL` is set to.
    pub url: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    scripts: Mutex<HashMap<String, Script>>,
    judge: Mutex<Option<Judge>>,
    calls: Mutex<Vec<Call>>,
    connections: AtomicUsize,
}

/// Decides by a call what is answered to it.
type Judge = Arc<dyn Fn(&Call) -> Option<Script> + Send + Sync>;

/// A request that came.
#[derive(Debug, Clone)]
pub struct Call {
    /// The path.
    pub path: String,
    /// The headers, names in lower case.
    pub headers: HashMap<String, String>,
    /// The body's bytes.
    pub body: Vec<u8>,
    /// Whether the connection was closed before the answer was whole.
    pub hung_up: bool,
}

impl Call {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Lives on until it is dropped.
struct Held(#[expect(dead_code, reason = "it is only kept")] Box<dyn std::any::Any + Send>);

impl Drop for Held {
    fn drop(&mut self) {}
}

/// What is answered to a model.
#[derive(Clone)]
pub struct Script(Vec<Step>);

/// One thing of an answer.
#[derive(Clone)]
pub enum Step {
    /// Bytes as they are.
    Raw(Vec<u8>),
    /// A chunk of a body in chunks.
    Chunk(Vec<u8>),
    /// Nothing for a while.
    Pause(Duration),
    /// Nothing until the gate is opened, once for each permit.
    Gate(Arc<Semaphore>),
    /// Nothing until the caller hangs up.
    Hang,
    /// The body ends.
    End,
    /// The connection breaks.
    Cut,
    /// The connection breaks, and what was not yet sent is thrown away.
    Reset,
}

impl Script {
    /// These steps.
    pub fn new(steps: Vec<Step>) -> Self {
        Self(steps)
    }

    /// A whole answer.
    pub fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        Self(vec![head(status, headers, Some(body.len())), Step::Raw(body.into())])
    }

    /// A whole answer of status 200, as JSON.
    pub fn json(body: &str) -> Self {
        Self::answer(200, &[("content-type", "application/json")], body)
    }

    /// The same, after nothing for a while.
    pub fn after(mut self, pause: Duration) -> Self {
        self.0.insert(0, Step::Pause(pause));
        self
    }

    /// A stream of these steps.
    pub fn stream(steps: Vec<Step>) -> Self {
        let mut all = vec![head(200, &[("content-type", "text/event-stream")], None)];
        all.extend(steps);
        Self(all)
    }

    /// A stream of these data, `[DONE]` included where it is to be, that ends as it should.
    pub fn data(data: &[&str]) -> Self {
        let mut steps: Vec<Step> = data.iter().map(|data| sse(data)).collect();
        steps.push(Step::End);
        Self::stream(steps)
    }
}

fn head(status: u16, headers: &[(&str, &str)], length: Option<usize>) -> Step {
    let mut head = format!("HTTP/1.1 {status} Scripted\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match length {
        Some(length) => head.push_str(&format!("content-length: {length}\r\n\r\n")),
        None => head.push_str("transfer-encoding: chunked\r\n\r\n"),
    }
    Step::Raw(head.into())
}

/// One event of a stream.
pub fn sse(data: &str) -> Step {
    Step::Chunk(format!("data: {data}\n\n").into())
}

/// A chunk of a streamed answer with this text.
pub fn chunk(text: &str) -> String {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "scripted",
        "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }],
    })
    .to_string()
}

/// The chunk that brings nothing but the usage.
pub fn usage_chunk(prompt: i64, completion: i64) -> String {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "scripted", "choices": [],
        "usage": { "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion },
    })
    .to_string()
}

/// A whole answer with this text.
pub fn completion(text: &str) -> String {
    completion_of(text, 5, 2)
}

/// A whole answer with this text, which used so many tokens of prompt and of answer.
pub fn completion_of(text: &str, prompt: i64, answer: i64) -> String {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "scripted",
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": text }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer },
    })
    .to_string()
}

/// A whole answer with one vector.
pub fn embedding() -> &'static str {
    r#"{"object":"list","model":"scripted","data":[{"object":"embedding","index":0,"embedding":[1.0]}],"usage":{"prompt_tokens":3,"total_tokens":3}}"#
}

impl Upstream {
    /// Starts one. A model without a script says `scripted answer`, whole or streamed.
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0").await
    }

    /// Starts one at an address.
    pub async fn start_at(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let shared = Arc::<Shared>::default();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let for_calls = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&for_calls);
                shared.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    while serve(&mut stream, &shared).await.is_ok() {}
                });
            }
        });
        Self { url, shared }
    }

    /// An address where nobody listens.
    pub async fn free_address() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().to_string()
    }

    /// An address that takes no connection and refuses none, and what keeps it so: a listener whose queue is full, which
    /// lets the kernel drop whoever knocks.
    pub async fn mute_address() -> (String, impl Drop) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queue = Vec::new();
        let knock = async || tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await;
        while let Ok(connection) = knock().await {
            queue.push(connection.unwrap());
            assert!(queue.len() < 64, "the queue has an end");
        }
        (address.to_string(), Held(Box::new((listener, queue))))
    }

    /// What a server is told, so that it calls this one: `models` are offered, and each call is tried once.
    pub fn settings<'a>(&'a self, models: &'a str) -> [(&'a str, &'a str); 5] {
        [
            ("ai.retries", "0"),
            ("ai.breaker_failures", "0"),
            ("ai.openai_base_url", &self.url),
            ("ai.openai_api_key", KEY),
            ("ai.models", models),
        ]
    }

    /// Says what is answered to a model from now on; `models` means the list of models.
    pub fn on(&self, model: &str, script: Script) {
        self.shared.scripts.lock().unwrap().insert(model.to_owned(), script);
    }

    /// Lets each call be answered as this says, from now on; `None`: as a model without a script.
    pub fn judge(&self, judge: impl Fn(&Call) -> Option<Script> + Send + Sync + 'static) {
        *self.shared.judge.lock().unwrap() = Some(Arc::new(judge));
    }

    /// All calls but those for the list of models, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        let calls = self.shared.calls.lock().unwrap();
        calls.iter().filter(|c| !c.path.ends_with("/models")).cloned().collect()
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// The last of them.
    pub fn last(&self) -> Call {
        self.calls().pop().expect("the upstream was called")
    }

    /// Waits until so many of them have come.
    pub async fn called(&self, times: usize) {
        eventually("the upstream is called", || (self.calls().len() >= times).then_some(())).await;
    }

    /// Waits until the caller of the last call has hung up, and says how long that took.
    pub async fn hung_up(&self) -> Duration {
        let begun = std::time::Instant::now();
        eventually("the caller hangs up", || self.last().hung_up.then_some(())).await;
        begun.elapsed()
    }
}

async fn serve(stream: &mut BufReader<TcpStream>, shared: &Shared) -> io::Result<()> {
    let call = read(stream).await?;
    // Whatever else it is asked may be nothing that `Value` takes.
    let members: Option<HashMap<String, Box<RawValue>>> = serde_json::from_slice(&call.body).ok();
    let model: Option<String> = members.and_then(|members| serde_json::from_str(members.get("model")?.get()).ok());
    let model = model.as_deref().unwrap_or("models");
    let scripted = shared.scripts.lock().unwrap().get(model).cloned();
    let judge = shared.judge.lock().unwrap().clone();
    let script = scripted.or_else(|| judge?(&call));
    let script = script.unwrap_or_else(|| usual(&call));
    let number = {
        let mut calls = shared.calls.lock().unwrap();
        calls.push(call);
        calls.len() - 1
    };
    for step in script.0 {
        let played = play(stream, step).await;
        if played.is_err() {
            shared.calls.lock().unwrap()[number].hung_up = true;
            return played;
        }
    }
    Ok(())
}

async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Call> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Call {
        path,
        headers,
        body,
        hung_up: false,
    })
}

/// Takes one step; an error if the caller has hung up meanwhile.
async fn play(stream: &mut BufReader<TcpStream>, step: Step) -> io::Result<()> {
    match step {
        Step::Raw(bytes) => stream.get_mut().write_all(&bytes).await?,
        Step::Chunk(bytes) => {
            let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
            chunk.extend_from_slice(&bytes);
            chunk.extend_from_slice(b"\r\n");
            stream.get_mut().write_all(&chunk).await?;
        }
        Step::End => stream.get_mut().write_all(b"0\r\n\r\n").await?,
        Step::Cut => return Err(io::ErrorKind::ConnectionAborted.into()),
        Step::Reset => {
            stream.get_mut().set_zero_linger()?;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Step::Pause(time) => wait(stream, tokio::time::sleep(time)).await?,
        Step::Gate(gate) => {
            let opened = async { gate.acquire().await.expect("gates stay").forget() };
            wait(stream, opened).await?;
        }
        Step::Hang => wait(stream, std::future::pending()).await?,
    }
    Ok(())
}

async fn wait(stream: &mut BufReader<TcpStream>, until: impl Future<Output = ()>) -> io::Result<()> {
    tokio::select! {
        () = until => Ok(()),
        more = stream.fill_buf() => match more?.len() {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => panic!("{n} bytes came before the answer was whole"),
        },
    }
}

/// What a model without a script answers.
pub fn usual(call: &Call) -> Script {
    if call.path.ends_with("/models") {
        return Script::json(
            r#"{"object":"list","data":[{"id":"listed-1"},{"id":"listed-2","owned_by":"them","created":7}]}"#,
        );
    }
    if call.path.ends_with("/embeddings") {
        return Script::json(embedding());
    }
    if call.json()["stream"] == true {
        return Script::data(&[&chunk("scripted "), &chunk("answer"), &usage_chunk(5, 2), "[DONE]"]);
    }
    Script::json(&completion("scripted answer"))
}
