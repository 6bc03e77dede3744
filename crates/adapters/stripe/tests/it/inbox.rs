//! Takes webhooks in and keeps them.

use std::sync::{Arc, Mutex, PoisonError};

use anteroom_contract::payment_provider::Headers;
use tokio::net::TcpListener;

use crate::server::{Asked, answer_ok};

/// What was sent, and where it is to be sent.
pub(crate) struct Inbox {
    pub(crate) url: String,
    taken: Arc<Mutex<Vec<Asked>>>,
}

impl Inbox {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let taken = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&taken);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                let keep = move |asked| shared.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
                tokio::spawn(answer_ok(stream, keep));
            }
        });
        Self { url, taken }
    }

    /// Headers and bodies since the last call.
    pub(crate) fn take(&self) -> Vec<(Headers, Vec<u8>)> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.drain(..).map(|asked| (asked.headers, asked.body)).collect()
    }
}
