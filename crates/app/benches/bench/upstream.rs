//! A model provider that answers at once. Of a stream, `max_tokens` says how many chunks come (20), and `pace_ms` how
//! long it waits before each.

use std::time::Duration;

use actix_web::{HttpResponse, web};

const WHOLE: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"fast","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}"#;
const CHUNK: &[u8] = b"data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"fast\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello \"},\"finish_reason\":null}]}\n\n";
const DONE: &[u8] = b"data: [DONE]\n\n";

pub fn routes(config: &mut web::ServiceConfig) {
    let answer = |body: web::Bytes| async move {
        let asked: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        if asked["stream"] != true {
            return HttpResponse::Ok().content_type("application/json").body(WHOLE);
        }
        let chunks = asked["max_tokens"].as_u64().unwrap_or(20);
        let pace = asked["pace_ms"].as_u64().map(Duration::from_millis);
        let stream = futures_util::stream::unfold(0, move |sent| async move {
            if sent > chunks {
                return None;
            }
            match pace {
                Some(pace) => actix_web::rt::time::sleep(pace).await,
                None => tokio::task::yield_now().await,
            }
            let next = if sent == chunks { DONE } else { CHUNK };
            Some((Ok::<_, actix_web::Error>(web::Bytes::from_static(next)), sent + 1))
        });
        HttpResponse::Ok().content_type("text/event-stream").streaming(stream)
    };
    config.route("/v1/chat/completions", web::post().to(answer));
}
