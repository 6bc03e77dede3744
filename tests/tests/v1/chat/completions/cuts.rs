//! Whoever hangs up, and whenever: each call that was let in is booked once, nothing stays held, no limit is overdrawn
//! meanwhile, and afterwards exactly what is left can be used.
//!
//! `ANTEROOM_TEST_CUTS` says how many calls are made (300), `ANTEROOM_TEST_SEED` which.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anteroom_tests::upstream::{Call, chunk, completion, sse, usage_chunk, usual};
use anteroom_tests::{
    Dice, Script, Setup, Step, TestApp, Upstream, User, eventually_asking, ledger, logs, number_from, on_every_store,
};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use serde_json::{Value, json};

use super::{ask, question};

on_every_store![whoever_hangs_up_each_call_is_booked_once];

const AT_ONCE: usize = 64;
/// Users whose limits are never reached, beside [`POOR`] and [`GREEDY`].
const RICH: usize = 16;
/// Makes so many calls that its messages are used up.
const POOR: usize = RICH;
/// Asks for so long answers that a few of them hold all its tokens.
const GREEDY: usize = RICH + 1;
const TOKENS: i64 = 1_000_000;
/// A number that no cut has.
const LAST: u64 = 9_999_999;
/// Nano-USD.
const COST: i64 = 10_000_000_000_000;
/// How often each user has a conversation with each model.
const ROOMS: usize = 2;
/// One that is served by a provider that is hung up on, and one that is read to the end.
const MODELS: [&str; 2] = ["cancels", "drains"];

fn head(status: u16, kind: &str, length: Option<usize>) -> Step {
    let length = length.map_or_else(
        || "transfer-encoding: chunked".to_owned(),
        |length| format!("content-length: {length}"),
    );
    Step::Raw(format!("HTTP/1.1 {status} Scripted\r\ncontent-type: {kind}\r\n{length}\r\n\r\n").into())
}

/// How the upstream takes part in a call of this number.
fn fate(seed: u64, number: u64, call: &Call) -> Script {
    let dice = &mut Dice::of(seed, number);
    let mut steps = vec![Step::Pause(dice.within(30))];
    // Before there is an answer.
    match dice.below(16) {
        0 => return Script::new(vec![Step::Cut]),
        1 => return Script::new(vec![Step::Reset]),
        2 => return Script::answer(500, &[], ""),
        3 => return Script::answer(429, &[("retry-after", "1")], ""),
        4 => return Script::new(vec![Step::Hang]),
        5 => return Script::new(vec![Step::Raw(b"HTTP/1.1 200 Scri".to_vec()), Step::Cut]),
        6 => steps.push(Step::Pause(dice.within(300))),
        _ => {}
    }
    if call.json()["stream"] == true {
        streamed_fate(dice, steps)
    } else {
        whole_fate(dice, steps, call)
    }
}

fn whole_fate(dice: &mut Dice, mut steps: Vec<Step>, call: &Call) -> Script {
    let body = if call.path.ends_with("/embeddings") {
        r#"{"object":"list","model":"m","data":[{"object":"embedding","index":0,"embedding":[1.0]}],"usage":{"prompt_tokens":2,"total_tokens":2}}"#.to_owned()
    } else {
        completion("a few words")
    };
    steps.push(head(200, "application/json", Some(body.len())));
    let (before, after) = body.as_bytes().split_at(dice.below(body.len()));
    steps.push(Step::Raw(before.to_vec()));
    match dice.below(8) {
        0 => steps.push(Step::Cut),
        1 => steps.push(Step::Reset),
        2 => steps.push(Step::Hang),
        3 => steps.push(Step::Raw(vec![b'?'; after.len()])),
        _ => steps.extend([Step::Pause(dice.within(30)), Step::Raw(after.to_vec())]),
    }
    Script::new(steps)
}

fn streamed_fate(dice: &mut Dice, mut steps: Vec<Step>) -> Script {
    steps.push(head(200, "text/event-stream", None));
    for _ in 0..dice.below(8) {
        steps.extend([sse(&chunk("word ")), Step::Pause(dice.within(20))]);
    }
    let half = || Step::Raw(b"40\r\ndata: {\"id\":\"chatcmpl-1\",\"obj".to_vec());
    match dice.below(14) {
        0 => steps.push(Step::Cut),
        1 => steps.push(Step::Reset),
        2 => steps.extend([half(), Step::Cut]),
        3 => steps.extend([half(), Step::Reset]),
        4 => steps.extend([
            sse(r#"{"error":{"message":"no more","type":"server_error"}}"#),
            Step::End,
        ]),
        5 => steps.push(Step::End),
        6 => steps.push(Step::Hang),
        7 => steps.extend([sse(&usage_chunk(5, 3)), Step::Cut]),
        8 => steps.extend([sse(&usage_chunk(5, 3)), sse("[DONE]"), Step::Reset]),
        9 => steps.extend([sse("[DONE]"), Step::End]),
        _ => steps.extend([sse(&usage_chunk(5, 3)), sse("[DONE]"), Step::End]),
    }
    Script::new(steps)
}

/// The number of the call that is asked last.
fn number_of(call: &Call) -> Option<u64> {
    let text = String::from_utf8_lossy(&call.body);
    let (_, rest) = text.rsplit_once("cut-")?;
    rest.get(..7)?.parse().ok().filter(|number| *number != LAST)
}

struct Scene {
    nodes: [TestApp; 2],
    users: Vec<User>,
    /// By user, model and number.
    rooms: Vec<[[String; ROOMS]; 2]>,
    models: [String; 2],
    seed: u64,
}

/// What a call was for the client.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    Left(&'static str),
    Told(u16, String),
    Streamed,
}

impl Scene {
    /// Makes a call, and leaves when it is time to.
    async fn call(&self, number: u64) -> Seen {
        // The upstream throws others.
        let dice = &mut Dice::of(!self.seed, number);
        let who = match dice.below(10) {
            0..=2 => POOR,
            3 => GREEDY,
            _ => dice.below(RICH),
        };
        let (which, streams, room) = (dice.below(2), dice.below(3) > 0, dice.below(ROOMS));
        let (model, said) = (&self.models[which], format!("cut-{number:07}"));
        let longest = if who == GREEDY { TOKENS / 4 } else { 64 };
        let turns = json!([{ "role": "user", "content": said }]);
        let talk = json!({ "model": model, "max_tokens": longest, "messages": turns, "stream": streams });
        let (path, body) = match dice.below(8) {
            0 => ("/v1/embeddings", json!({ "model": model, "input": said })),
            1 | 2 => ("/v1/messages", talk),
            3 | 4 => (
                &*self.rooms[who][which][room],
                json!({ "content": said, "stream": streams }),
            ),
            _ => ("/v1/chat/completions", talk),
        };
        let node = &self.nodes[dice.below(2)];
        let asking = node
            .http()
            .post(format!("{}{path}", node.url()))
            .header("content-type", "application/json")
            .bearer_auth(&self.users[who].access_token)
            .body(body.to_string())
            .send();
        let leaves = dice.below(5);
        let answer = if leaves == 0 {
            match tokio::time::timeout(dice.within(60), asking).await {
                Ok(answer) => answer,
                Err(_) => return Seen::Left("before the answer"),
            }
        } else {
            asking.await
        };
        let mut answer = answer.unwrap_or_else(|e| panic!("call {number} has no answer: {e:?}"));
        let (status, mut body) = (answer.status().as_u16(), Vec::new());
        let mut pieces = if leaves < 3 { dice.below(6) } else { usize::MAX };
        while pieces > 0 {
            match answer.chunk().await {
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                Ok(None) => break,
                Err(e) => panic!("the answer to call {number} breaks off: {e:?}"),
            }
            pieces -= 1;
        }
        if pieces == 0 {
            return Seen::Left("in the middle");
        }
        if status < 400 && body.starts_with(b"{") {
            return Seen::Told(status, String::new());
        }
        if status < 400 {
            return Seen::Streamed;
        }
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let code = [&body["code"], &body["error"]["code"], &body["error"]["type"]];
        let code = code.iter().find_map(|code| code.as_str()).unwrap_or_default();
        Seen::Told(status, code.to_owned())
    }
}

/// What the plan grants a user a day.
fn messages(cuts: u64) -> i64 {
    i64::try_from(cuts / 20).unwrap()
}

async fn scene(setup: &Setup, upstream: &Upstream, cuts: u64, seed: u64) -> Scene {
    let models = MODELS.map(|model| format!("{model}-{:?}", setup.kind()).to_lowercase());
    let providers = format!(
        r#"[{{ name = "cancels", kind = "openai", base_url = "{0}" }}, {{ name = "drains", kind = "openai", base_url = "{0}", on_disconnect = "drain", drain_seconds = 1 }}]"#,
        upstream.url
    );
    let alias = |at: usize| {
        format!(
            r#"{{ name = "{}", targets = [{{ provider = "{}", model = "m", input_usd_per_million = 1000.0, output_usd_per_million = 2000.0 }}] }}"#,
            models[at], MODELS[at]
        )
    };
    let aliases = format!("[{}, {}]", alias(0), alias(1));
    let plans = format!(
        r#"[{{ key = "free", name = "Free", version = 1, models = "all", entitlements = [
            {{ key = "messages", kind = "metered", limit = {}, window = "day" }},
            {{ key = "tokens", kind = "metered", limit = {TOKENS}, window = "day" }},
            {{ key = "tokens", kind = "metered", limit = {}, window = "month" }},
            {{ key = "cost", kind = "metered", limit_usd = {}.0, window = "month" }}] }}]"#,
        messages(cuts),
        TOKENS * 2,
        COST / 1_000_000_000,
    )
    .replace('\n', " ");
    let mut settings = vec![
        ("server.public_url", "http://anteroom.example.test"),
        ("ai.providers", &*providers),
        ("ai.aliases", &*aliases),
        ("ai.retries", "0"),
        ("ai.breaker_failures", "0"),
        ("ai.first_token_timeout_ms", "1500"),
        ("ai.idle_timeout_ms", "1500"),
        // A whole answer has no other.
        ("ai.total_timeout_ms", "3000"),
        ("ai.daily_spend_cap_usd", "1000000.0"),
        ("billing.plans", &*plans),
        ("billing.default_plan", "free"),
        // Answers of conversations end with their reader on one node, and outlive it on the other.
        ("chat.resume_seconds", "0"),
    ];
    let first = setup.app_with(&settings).await;
    settings.push(("chat.resume_seconds", "2"));
    let second = setup.app_with(&settings).await;
    let (mut users, mut rooms) = (Vec::new(), Vec::new());
    for _ in 0..RICH + 2 {
        let user = first.user().await;
        let mut own = [const { [const { String::new() }; ROOMS] }; 2];
        for (model, rooms) in models.iter().zip(&mut own) {
            for room in rooms {
                let made = first
                    .post("/v1/conversations")
                    .by(&user)
                    .json(&json!({ "model": model }));
                let made = made.await.is(201).json();
                *room = format!("/v1/conversations/{}/messages", made["id"].as_str().unwrap());
            }
        }
        users.push(user);
        rooms.push(own);
    }
    Scene {
        nodes: [first, second],
        users,
        rooms,
        models,
        seed,
    }
}

/// What is left to a user of what the plan grants a day.
async fn left(app: &TestApp, user: &User, key: &str) -> i64 {
    let list = app.get("/v1/me/entitlements").by(user).await.is(200).json();
    let of_day = |e: &&Value| e["key"] == key && e["window"] == "day";
    let found = list["data"].as_array().unwrap().iter().find(of_day).unwrap().clone();
    found["limit"].as_i64().unwrap() - found["used"].as_i64().unwrap()
}

/// Uses all messages that are left, and fails unless they are exactly as many as the user is told.
async fn uses_up(scene: &Scene, who: usize) -> i64 {
    let user = &scene.users[who];
    let left = left(&scene.nodes[0], user, "messages").await;
    let mut through = 0;
    loop {
        let asked = (0..AT_ONCE).map(|at| {
            let mut short = question(&scene.models[at % 2]);
            short["max_tokens"] = 8.into();
            ask(&scene.nodes[at % 2], user, &short).into_future()
        });
        let answers = join_all(asked).await;
        let (had, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
        through += i64::try_from(had.len()).unwrap();
        if !refused.is_empty() {
            for answer in refused {
                answer.refused(402, "quota_exceeded");
            }
            assert_eq!(through, left, "what was left, and what could be used of it");
            return left;
        }
    }
}

/// Fails unless a call may use the last token that is left, and no call one more.
async fn the_last_token_can_be_held(setup: &Setup, scene: &Scene, who: usize) {
    let (app, user) = (&scene.nodes[0], &scene.users[who]);
    let mut bounded = question(&scene.models[0]);
    bounded["max_tokens"] = 0.into();
    let mut asks = async |longest: i64| {
        bounded["max_tokens"] = longest.into();
        ask(app, user, &bounded).await
    };
    // As many digits as in what is left, since the length of what is asked counts.
    asks(111_111).await.is(200);
    let prompt = setup
        .number("SELECT max(amount) - 111111 AS n FROM seen_reserved WHERE meter = 'tokens' AND amount BETWEEN 111112 AND 112000")
        .await;
    ledger::adds_up(setup).await;
    let rest = left(app, user, "tokens").await - prompt;
    asks(rest + 1).await.refused(402, "quota_exceeded");
    asks(rest).await.is(200);
}

async fn whoever_hangs_up_each_call_is_booked_once(setup: &Setup) {
    let (cuts, seed) = (number_from("ANTEROOM_TEST_CUTS", 300), Dice::seed());
    anteroom_tests::tell(&format!("{:?}: {cuts} cuts, ANTEROOM_TEST_SEED={seed}", setup.kind()));
    let upstream = Upstream::start().await;
    upstream.judge(move |call| Some(number_of(call).map_or_else(|| usual(call), |number| fate(seed, number, call))));
    let scene = scene(setup, &upstream, cuts, seed).await;
    let most = [
        ("messages", messages(cuts)),
        ("tokens", TOKENS),
        ("tokens_month", TOKENS * 2),
        ("cost_month", COST),
    ];
    ledger::watch(setup, &most).await;
    let begun = Instant::now();
    let seen: Vec<Seen> = stream::iter(0..cuts)
        .map(|number| scene.call(number))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let took = begun.elapsed();
    let mut tally = BTreeMap::<&Seen, u32>::new();
    for seen in &seen {
        *tally.entry(seen).or_default() += 1;
    }
    let booked = ledger::adds_up(setup).await;
    let lost = setup
        .number("SELECT count(*) AS n FROM usage_events WHERE outcome = 'lost'")
        .await;
    assert_eq!(lost, 0, "nobody died");
    anteroom_tests::tell(&format!(
        "{:?}: {cuts} calls in {took:.1?}, {} came to the upstream, {booked} booked: {tally:?}",
        setup.kind(),
        upstream.calls().len(),
    ));
    let denied = |seen: &&Seen| matches!(seen, Seen::Told(402, _));
    assert!(seen.iter().any(|seen| denied(&seen)), "no limit was reached");
    assert!(
        i64::try_from(upstream.calls().len()).unwrap() <= booked,
        "called and not booked"
    );
    let ended = || {
        scene
            .models
            .iter()
            .map(|model| logs::about("chat.call.ended", model).len())
            .sum::<usize>()
    };
    eventually_asking("each ending is told once", async || {
        (ended() >= usize::try_from(booked).unwrap()).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(ended(), usize::try_from(booked).unwrap(), "each ending is told once");

    the_last_token_can_be_held(setup, &scene, 0).await;
    // Conversations are free, of whoever has something left.
    let said = json!({ "content": format!("still there? cut-{LAST}") });
    for (at, room) in scene.rooms[1].iter().flatten().enumerate() {
        let said = scene.nodes[at % 2].post(room).by(&scene.users[1]).json(&said);
        let answer = said.await;
        assert!(
            answer.status == 201 || (answer.status, answer.code()) == (402, "quota_exceeded".to_owned()),
            "{answer:?}"
        );
    }
    ledger::adds_up(setup).await;
    for who in [0, POOR, GREEDY] {
        let left = uses_up(&scene, who).await;
        anteroom_tests::tell(&format!(
            "{:?}: the {left} messages left to user {who} could be used, and no more",
            setup.kind()
        ));
    }
    ledger::adds_up(setup).await;
}
