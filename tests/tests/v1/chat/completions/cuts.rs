//! Whoever hangs up, and whenever, in whichever way they ask, with a session or an API key: each call that was let in is
//! booked once, nothing stays held, no limit is overdrawn meanwhile, and afterwards exactly what is left can be used.
//!
//! `ANTEROOM_TEST_CUTS` says how many calls are made (300), `ANTEROOM_TEST_SEED` which.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anteroom_tests::ledger::{self, Told};
use anteroom_tests::upstream::{Call, chunk, completion, embedding, sse, usage_chunk, usual};
use anteroom_tests::{
    Dice, Script, Setup, Step, Surface, TestApp, Upstream, User, eventually_asking, logs, number_from, on_every_store,
};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{ask, question};
use crate::v1::me::api_keys::{made, secret};

on_every_store![whoever_hangs_up_each_call_is_booked_once];

const AT_ONCE: usize = 64;
/// Users whose limits are never reached, beside [`POOR`], [`GREEDY`] and [`TIGHT`].
const RICH: usize = 16;
/// Makes so many calls that its messages are used up.
const POOR: usize = RICH;
/// Asks for so long answers that one of them leaves no room for a second.
const GREEDY: usize = RICH + 1;
/// Asks only with its key, for so long answers that one of them leaves no room in the key's budget for a second.
const TIGHT: usize = RICH + 2;
const TOKENS: i64 = 1_000_000;
/// What [`TIGHT`] may spend with its key, and what any other may, in US dollars.
const BUDGETS: [f64; 2] = [100.0, 500.0];
const TIGHT_LONGEST: i64 = 60_000;
const GREEDY_LONGEST: i64 = TOKENS / 2;
/// What a token costs in nano-USD: one of a prompt, one of an answer.
const COSTS: [i64; 2] = [2_000_000, 1_000_000];
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
        embedding().to_owned()
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
    /// By user.
    keys: Vec<Key>,
    /// Of the calls with sessions.
    told: Told,
    models: [String; 2],
    seed: u64,
}

/// An API key of a user.
struct Key {
    id: String,
    secret: String,
    told: Told,
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
        let who = match dice.below(12) {
            0..=3 => POOR,
            4 | 5 => GREEDY,
            6 => TIGHT,
            _ => dice.below(RICH),
        };
        let (which, streams, room) = (dice.below(2), dice.below(3) > 0, dice.below(ROOMS));
        let longest = match who {
            GREEDY => GREEDY_LONGEST,
            TIGHT => TIGHT_LONGEST,
            _ => 64,
        };
        let said = format!("cut-{number:07}");
        let (with_key, key) = (who == TIGHT || dice.below(3) == 0, &self.keys[who]);
        let token = if with_key {
            &key.secret
        } else {
            &self.users[who].access_token
        };
        let surface = match dice.below(9) {
            0 => Surface::Embeddings,
            1 | 2 => Surface::Messages,
            3 => Surface::Responses,
            4 => Surface::Completions,
            _ => Surface::ChatCompletions,
        };
        let (node, in_room) = (&self.nodes[dice.below(2)], dice.below(4) == 0);
        let path = if in_room {
            &*self.rooms[who][which][room]
        } else {
            surface.path()
        };
        let body = if in_room {
            json!({ "content": said, "stream": streams })
        } else {
            surface.body(&self.models[which], &said, longest, streams)
        };
        let asking = node.http().post(format!("{}{path}", node.url()));
        let asking = asking.header("content-type", "application/json").body(body.to_string());
        let asking = if in_room {
            asking.bearer_auth(token)
        } else {
            surface.with_token(asking, token)
        };
        let seen = Self::see(number, dice, asking).await;
        let told = if with_key { &key.told } else { &self.told };
        told.note(match seen {
            Seen::Left(_) => None,
            Seen::Told(status, _) => Some(status),
            Seen::Streamed => Some(200),
        });
        seen
    }

    async fn see(number: u64, dice: &mut Dice, asking: RequestBuilder) -> Seen {
        let asking = asking.send();
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
        let error = if body["error"].is_object() {
            &body["error"]
        } else {
            &body
        };
        let code = error["code"].as_str().or_else(|| error["type"].as_str());
        let meter = error["meter"].as_str().map(|meter| format!(" of {meter}"));
        Seen::Told(
            status,
            format!("{}{}", code.unwrap_or_default(), meter.unwrap_or_default()),
        )
    }
}

/// What the plan grants a user a day.
fn messages(cuts: u64) -> i64 {
    i64::try_from(cuts / 12).unwrap()
}

async fn scene(setup: &Setup, upstream: &Upstream, cuts: u64, seed: u64) -> Scene {
    let models = MODELS.map(|model| format!("{model}-{:?}", setup.kind()).to_lowercase());
    let providers = format!(
        r#"[{{ name = "cancels", kind = "openai", base_url = "{0}" }}, {{ name = "drains", kind = "openai", base_url = "{0}", on_disconnect = "drain", drain_seconds = 1 }}]"#,
        upstream.url
    );
    let alias = |at: usize| {
        format!(
            r#"{{ name = "{}", targets = [{{ provider = "{}", model = "m", input_usd_per_million = 2000.0, output_usd_per_million = 1000.0 }}] }}"#,
            models[at], MODELS[at]
        )
    };
    let aliases = format!("[{}, {}]", alias(0), alias(1));
    let plans = format!(
        r#"[{{ key = "free", name = "Free", version = 1, models = "all", entitlements = [
            {{ key = "messages", kind = "metered", limit = {}, window = "day" }},
            {{ key = "tokens", kind = "metered", limit = {TOKENS}, window = "day" }},
            {{ key = "tokens", kind = "metered", limit = {}, window = "month" }},
            {{ key = "cost", kind = "metered", limit_usd = {}.0, window = "month" }},
            {{ key = "credits", kind = "metered", limit = 100000000, window = "month" }}] }}]"#,
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
    let (mut users, mut rooms, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    for who in 0..RICH + 3 {
        let user = first.user().await;
        let ask = json!({
            "name": "asks", "scopes": ["models", "chat", "embeddings", "conversations"],
            "budget": { "limit_usd": BUDGETS[usize::from(who != TIGHT)], "window": "total" },
        });
        let key = made(&first, &user, &ask).await;
        keys.push(Key {
            id: key["id"].as_str().unwrap().to_owned(),
            secret: secret(&key).to_owned(),
            told: Told::default(),
        });
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
        keys,
        told: Told::default(),
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

/// What is left to a user's key of its budget, in nano-USD.
async fn left_of_budget(scene: &Scene, who: usize) -> i64 {
    let path = format!("/v1/me/api-keys/{}", scene.keys[who].id);
    let key = scene.nodes[0].get(&path).by(&scene.users[who]).await.is(200).json();
    ledger::left_of_budget(&key)
}

/// Uses the last token that is left to a user, and the last that is left to the keys of two others.
async fn uses_the_last(setup: &Setup, scene: &Scene) {
    let [node, other] = &scene.nodes;
    let asks = async |node: &TestApp, token: &str, body: Value| {
        let answer = node.post("/v1/chat/completions").bearer(token).json(&body).await;
        ledger::verdict(answer.status, &answer.json())
    };
    let by_user = async |who: usize, body: Value| asks(node, &scene.users[who].access_token, body).await;
    let by_key = async |who: usize, body: Value| asks(other, &scene.keys[who].secret, body).await;
    let model = &scene.models[0];
    let tokens = ledger::uses_the_last(
        setup,
        (model, "tokens"),
        [1, 1],
        async || left(node, &scene.users[2], "tokens").await,
        async |body| by_user(2, body).await,
        async |body| by_user(2, body).await,
    );
    let mut used = vec![tokens.await];
    for who in [3, TIGHT] {
        let nano = ledger::uses_the_last(
            setup,
            (model, "key_budget"),
            COSTS,
            async || left_of_budget(scene, who).await,
            async |body| by_user(who, body).await,
            async |body| by_key(who, body).await,
        );
        used.push(nano.await);
    }
    anteroom_tests::tell(&format!(
        "{:?}: what was left of tokens and of the nano-USD of two keys could be used, and no more: {used:?}",
        setup.kind()
    ));
}

async fn whoever_hangs_up_each_call_is_booked_once(setup: &Setup) {
    let (cuts, seed) = (number_from("ANTEROOM_TEST_CUTS", 300), Dice::seed());
    anteroom_tests::tell(&format!("{:?}: {cuts} cuts, ANTEROOM_TEST_SEED={seed}", setup.kind()));
    let upstream = Upstream::start().await;
    upstream.judge(move |call| {
        let fated = || number_of(call).map_or_else(|| usual(call), |number| fate(seed, number, call));
        Some(ledger::all_of_it(call).unwrap_or_else(fated))
    });
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
    for meter in ["messages", "tokens", "key_budget"] {
        let denied = |seen: &Seen| matches!(seen, Seen::Told(402, code) if code.ends_with(meter));
        assert!(seen.iter().any(denied), "no limit of {meter} was reached");
    }
    let mut with_keys = 0;
    for key in &scene.keys {
        with_keys += key.told.is_booked(setup, Some(&key.id)).await;
    }
    assert_eq!(scene.told.is_booked(setup, None).await, booked - with_keys);
    anteroom_tests::tell(&format!(
        "{:?}: {cuts} calls in {took:.1?}, {} came to the upstream, {booked} booked, {with_keys} of them with keys: {tally:?}",
        setup.kind(),
        upstream.calls().len(),
    ));
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
    uses_the_last(setup, &scene).await;
    for who in [0, POOR, GREEDY] {
        let left = uses_up(&scene, who).await;
        anteroom_tests::tell(&format!(
            "{:?}: the {left} messages left to user {who} could be used, and no more",
            setup.kind()
        ));
    }
    ledger::adds_up(setup).await;
}
