//! An HTTP server of a few lines that keeps what it is sent and answers as it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use anteroom_contract::payment_provider::Headers;

type Kept = Arc<Mutex<Vec<(Headers, Vec<u8>)>>>;

/// Where events arrive.
pub struct Receiver {
    address: SocketAddr,
    kept: Kept,
}

impl Receiver {
    /// Answers with these status lines in turn, the last one for ever.
    pub async fn start(statuses: &[&'static str]) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), statuses).await
    }

    /// The same at a known address.
    pub async fn start_at(address: SocketAddr, statuses: &[&'static str]) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let kept = Kept::default();
        let (keep, statuses): (_, Arc<[_]>) = (Arc::clone(&kept), statuses.into());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&keep), Arc::clone(&statuses)));
            }
        });
        Self { address, kept }
    }

    /// An address where nothing listens.
    pub async fn free_address() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    }

    /// Where to send events.
    pub fn url(&self) -> String {
        format!("http://{}/v1/billing/webhooks/stripe-stub", self.address)
    }

    /// What has arrived since the last call.
    pub fn take(&self) -> Vec<(Headers, Vec<u8>)> {
        std::mem::take(&mut self.kept.lock().unwrap())
    }
}

async fn serve(stream: TcpStream, kept: Kept, statuses: Arc<[&'static str]>) {
    let mut stream = BufReader::new(stream);
    while let Some((headers, body)) = read(&mut stream).await {
        let number = {
            let mut kept = kept.lock().unwrap();
            kept.push((headers, body));
            kept.len() - 1
        };
        let status = statuses[number.min(statuses.len() - 1)];
        let answer = format!("HTTP/1.1 {status}\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<(Headers, Vec<u8>)> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    let mut headers = Headers::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_lowercase(), value.to_owned()));
    }
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")?
        .1
        .parse()
        .ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((headers, body))
}
