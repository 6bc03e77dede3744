//! Events on their way, well and badly.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use anteroom_stripe_stub::Knobs;

use crate::bench::{Bench, KEY, id};

#[tokio::test]
async fn events_that_are_refused_come_again_in_order() {
    let bench = Bench::start();
    bench.webhook.refuse(2);
    for name in ["a", "b", "c"] {
        bench.post("customers", &[("name", name)]).await;
    }
    bench.stub.settled().await;
    let names: Vec<_> = bench
        .webhook
        .take()
        .iter()
        .map(|event| event["data"]["object"]["name"].clone())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[tokio::test]
async fn knobs_make_deliveries_bad() {
    let bench = Bench::start();
    let set = |knobs: Knobs| bench.stub.set_knobs(knobs);
    set(Knobs {
        duplicate: 3,
        ..Knobs::default()
    });
    bench.customer(None).await;
    bench.stub.settled().await;
    let came = bench.webhook.take();
    assert_eq!(came.len(), 3);
    assert!(came.iter().all(|event| event["id"] == came[0]["id"]));

    set(Knobs {
        drop: 1,
        ..Knobs::default()
    });
    bench.customer(None).await;
    let kept = bench.customer(None).await;
    bench.stub.settled().await;
    let came = bench.webhook.take();
    assert_eq!((came.len(), &came[0]["data"]["object"]["id"]), (1, &json!(kept)));

    set(Knobs {
        timestamp_offset_s: -400,
        delay_ms: 120,
        ..Knobs::default()
    });
    let begun = Instant::now();
    bench.customer(None).await;
    bench.stub.settled().await;
    assert!(begun.elapsed() >= Duration::from_millis(120));
    let letters = bench.webhook.take_letters();
    let signed: i64 = letters[0].0[2..].split(',').next().unwrap().parse().unwrap();
    assert!((jiff::Timestamp::now().as_second() - 400 - signed).abs() < 10);

    set(Knobs {
        paused: true,
        reorder: true,
        seed: 3,
        ..Knobs::default()
    });
    for number in 0..10 {
        bench.post("customers", &[("name", &number.to_string())]).await;
    }
    bench.stub.settled().await;
    assert!(bench.webhook.take().is_empty());
    bench.stub.release();
    bench.stub.settled().await;
    let mut names: Vec<_> = bench
        .webhook
        .take()
        .iter()
        .map(|e| e["data"]["object"]["name"].as_str().unwrap().to_owned())
        .collect();
    let shuffled = names.clone();
    names.sort();
    assert_eq!(names.len(), 10);
    assert_ne!(names, shuffled);
}

#[tokio::test]
async fn knobs_and_events_over_http() {
    let bench = Bench::start();
    let ask = async |method: &str, path: &str, body: Value| -> (u16, Value) {
        let request = bench
            .client
            .request(method.parse().unwrap(), format!("{}/_stub/{path}", bench.base));
        let answer = request.bearer_auth(KEY).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    };
    let (status, body) = ask("PUT", "deliveries", json!({"paused": true})).await;
    assert_eq!(
        (status, &body["knobs"]["paused"], &body["knobs"]["duplicate"]),
        (200, &json!(true), &json!(1))
    );
    assert_eq!(ask("PUT", "deliveries", json!({"pausd": true})).await.0, 400);
    bench.customer(None).await;
    assert_eq!(ask("GET", "deliveries", json!({})).await.1["waiting"], 1);
    ask("POST", "deliveries/release", json!({})).await;
    ask("PUT", "deliveries", json!({})).await;
    bench.stub.settled().await;
    let event = bench.webhook.take().remove(0);
    let (status, _) = ask("POST", &format!("events/{}/resend", id(&event)), json!({})).await;
    assert_eq!(status, 200);
    bench.stub.settled().await;
    assert_eq!(id(&bench.webhook.take()[0]), id(&event));
    let before = bench.stub.now();
    let (_, clock) = ask("POST", "clock/advance", json!({"seconds": 3600})).await;
    assert!(clock["unix"].as_i64().unwrap() - before.as_second() >= 3600);
    let to = "2036-01-01T00:00:00Z";
    let (status, clock) = ask("POST", "clock/advance", json!({"to": to})).await;
    assert_eq!((status, &clock["now"].as_str().unwrap()[..16]), (200, &to[..16]));
    assert_eq!(ask("POST", "clock/advance", json!({"seconds": -1})).await.0, 400);
    assert_eq!(ask("POST", "clock/advance", json!({"seconds": i64::MAX})).await.0, 400);
    assert_eq!(ask("GET", "clock", json!({})).await.0, 200);
    assert_eq!(ask("GET", "nothing", json!({})).await.0, 404);
}

#[tokio::test]
async fn endpoints_get_what_they_ask_for() {
    let bench = Bench::start();
    let form = [
        ("url", bench.webhook.url.as_str()),
        ("enabled_events[]", "product.created"),
    ];
    let made = bench.post("webhook_endpoints", &form).await;
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    let path = format!("webhook_endpoints/{}", id(&made));
    assert!(bench.get(&path).await.get("secret").is_none());
    let configured = bench.get("webhook_endpoints").await;
    let configured = configured["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(id)
        .find(|other| *other != id(&made))
        .unwrap();
    bench
        .post(&format!("webhook_endpoints/{configured}"), &[("disabled", "true")])
        .await;
    bench.post("products", &[("name", "X")]).await;
    bench.customer(None).await;
    bench.stub.settled().await;
    let letters = bench.webhook.take_letters();
    assert_eq!(letters.len(), 1);
    let (signature, body) = &letters[0];
    let seconds: i64 = signature[2..].split(',').next().unwrap().parse().unwrap();
    let time = jiff::Timestamp::from_second(seconds).unwrap();
    let secret = made["secret"].as_str().unwrap().into();
    assert_eq!(*signature, anteroom_stripe_stub::sign(&secret, body.as_bytes(), time));
    bench.delete(&path).await;
    bench.post("products", &[("name", "Y")]).await;
    bench.stub.settled().await;
    assert!(bench.webhook.take_letters().is_empty());
}
