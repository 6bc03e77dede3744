//! However often the process dies while it is asked, by sessions and by API keys and in every way there is, each call is
//! booked once on whoever made it, nothing stays held, no limit is overdrawn meanwhile, and afterwards all that is left
//! can be used.
//!
//! `ANTEROOM_TEST_KILLS` says how often it is killed (3), `ANTEROOM_TEST_SEED` when.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anteroom_tests::ledger::{self, Told};
use anteroom_tests::process::Server;
use anteroom_tests::upstream::{Call, chunk, completion, embedding, sse, usage_chunk};
use anteroom_tests::{Dice, Script, Setup, Step, Surface, Upstream, eventually, number_from, on_every_store};
use futures_util::future::join_all;
use reqwest::Response;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Caller, ONE_URL};

on_every_store![however_often_it_is_killed_each_call_is_booked_once];

/// Clients that ask all the time with a session or the ample key, each in a conversation of its own too.
const IN_ROOMS: usize = 16;
/// Clients that ask all the time with the tight key.
const TIGHT: usize = 8;

const PLAN: &str = r#"[{ key = "free", name = "Free", version = 1, models = "all", entitlements = [{ key = "messages", kind = "metered", limit = 1000000, window = "day" }, { key = "tokens", kind = "metered", limit = 1000000000, window = "day" }, { key = "tokens", kind = "metered", limit = 1000000000, window = "month" }, { key = "cost", kind = "metered", limit_usd = 100000.0, window = "month" }, { key = "credits", kind = "metered", limit = 100000000, window = "month" }] }]"#;

const PRICES: &str = "[{ model = 'm', input_usd_per_million = 2.0, output_usd_per_million = 1.0 }]";
/// The same in nano-USD a token: of a prompt, of an answer.
const COSTS: [i64; 2] = [2000, 1000];

/// A budget that is never reached, and one that holds a little more than four answers of [`TIGHT_LONGEST`].
const BUDGETS: [f64; 2] = [10.0, 0.45];
const TIGHT_LONGEST: i64 = 100_000;

/// Calls that are answered at least before the process dies again.
const ANSWERED: i64 = 8;

const SAID: &str = "Is anybody still there?";

/// What still holds a conversation, or what is done under a key for idempotency.
const HELD: [&str; 2] = ["idempotency_key_in_use", "conversation_busy"];

/// What was asked under a key for idempotency and never answered.
type Unanswered = Option<(String, Value)>;

/// An API key with a budget.
struct Key {
    id: String,
    caller: Caller,
}

impl Key {
    async fn new(owner: &Caller, url: &str, budget: f64) -> Self {
        let ask = json!({
            "name": "asks", "scopes": ["models", "chat", "embeddings", "conversations"],
            "budget": { "limit_usd": budget, "window": "total" },
        });
        let made = owner.made(url, "/v1/me/api-keys", &ask).await;
        Self {
            id: made["id"].as_str().unwrap().to_owned(),
            caller: Caller {
                http: owner.http.clone(),
                token: made["key"].as_str().unwrap().to_owned(),
            },
        }
    }

    /// What is left of the budget, in nano-USD, as its owner is told.
    async fn left(&self, owner: &Caller, url: &str) -> i64 {
        ledger::left_of_budget(&owner.get(url, &format!("/v1/me/api-keys/{}", self.id)).await)
    }
}

/// Posts in one of the ways; `None` if no answer came.
async fn post(caller: &Caller, url: &str, surface: Surface, body: &Value) -> Option<Response> {
    let ask = caller.http.post(format!("{url}{}", surface.path()));
    let ask = ask.header("content-type", "application/json").body(body.to_string());
    surface.with_token(ask, &caller.token).send().await.ok()
}

/// Who asks, and what is known of it.
struct Asker<'a> {
    caller: &'a Caller,
    /// Where it has a conversation; nowhere with the tight key.
    room: Option<&'a str>,
    told: &'a Told,
}

impl Asker<'_> {
    /// Reads an answer to its end and notes it. `None` if the process died before.
    async fn heard(&self, answer: Option<Response>) -> Option<(u16, String)> {
        let whole = match answer {
            Some(answer) => {
                let status = answer.status().as_u16();
                answer.text().await.ok().map(|text| (status, text))
            }
            None => None,
        };
        self.told.note(whole.as_ref().map(|(status, _)| *status));
        whole
    }

    /// Asks until the process has died. `numbers` never says the same twice.
    async fn asks_until_it_dies(
        &self,
        url: &str,
        dice: &mut Dice,
        unanswered: Unanswered,
        numbers: &AtomicUsize,
    ) -> Unanswered {
        // Twice the same under a key that was never answered, as a client does who does not know.
        if let (Some((key, body)), Some(room)) = (&unanswered, self.room) {
            for waits in 0.. {
                let answer = self.caller.post(url, room, key, body).await;
                let Some((status, text)) = self.heard(answer).await else {
                    return unanswered;
                };
                if status == 201 {
                    break;
                }
                let held = HELD.iter().any(|code| text.contains(code));
                assert!(status == 409 && held, "{status}: {text}");
                assert!(waits < 400, "it is held for ever: {text}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        loop {
            let number = numbers.fetch_add(1, Ordering::Relaxed);
            let streams = dice.below(2) == 0;
            let (answer, keyed) = match (self.room, dice.below(6)) {
                (Some(room), 0) => {
                    let body = json!({ "content": SAID, "stream": true });
                    (self.caller.post(url, room, "", &body).await, None)
                }
                (Some(room), 1) => {
                    let (key, body) = (
                        format!("key-{number}"),
                        json!({ "content": format!("number {number}") }),
                    );
                    (self.caller.post(url, room, &key, &body).await, Some((key, body)))
                }
                (room, _) => {
                    let surface = Surface::ALL[dice.below(Surface::ALL.len())];
                    let longest = room.map_or(TIGHT_LONGEST, |_| 64);
                    let body = surface.body("m", SAID, longest, streams);
                    (post(self.caller, url, surface, &body).await, None)
                }
            };
            let Some((status, text)) = self.heard(answer).await else {
                return keyed;
            };
            let refused = match status {
                // Whoever read a stream to its end may come back before the conversation is known to be free.
                409 => self.room.is_some() && text.contains("conversation_busy"),
                402 => self.room.is_none(),
                _ => false,
            };
            assert!(refused || matches!(status, 200 | 201), "{status}: {text}");
            if refused {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// What the upstream answers to the nth call.
fn answer(seed: u64, nth: usize, call: &Call) -> Script {
    let dice = &mut Dice::of(seed, u64::try_from(nth).unwrap());
    // Those with the tight key last longer than anybody waits for bookings, so that more are under way than its budget holds,
    // however slow the store is.
    let lasts = if call.json()["max_tokens"] == TIGHT_LONGEST {
        2000
    } else {
        0
    };
    let pause = dice.within(40) + Duration::from_millis(lasts);
    if call.path.ends_with("/embeddings") {
        return Script::json(embedding()).after(pause);
    }
    if call.json()["stream"] != true {
        return Script::json(&completion("fine")).after(pause);
    }
    let mut steps = Vec::new();
    for _ in 0..=dice.below(6) {
        steps.extend([sse(&chunk("word ")), Step::Pause(dice.within(40))]);
    }
    steps.extend([sse(&usage_chunk(5, 3)), sse("[DONE]"), Step::End]);
    Script::stream(steps).after(pause)
}

/// What the server is started with.
fn variables(setup: &Setup, upstream: &Upstream) -> BTreeMap<String, String> {
    let mut settings = upstream.settings("m").to_vec();
    settings.extend([
        ("server.lease_seconds", "1"),
        ONE_URL,
        ("billing.plans", PLAN),
        ("billing.default_plan", "free"),
        ("ai.daily_spend_cap_usd", "100000.0"),
        ("chat.max_messages", "0"),
        ("ai.prices", PRICES),
    ]);
    setup.variables(&settings)
}

/// Fails unless what was asked under a key for idempotency and not answered is answered once, and each conversation is
/// free.
async fn conversations_are_free(url: &str, askers: &[Asker<'_>], unanswered: Vec<Unanswered>) {
    for (at, (asker, unanswered)) in askers.iter().zip(unanswered).enumerate() {
        let Some(room) = asker.room else { continue };
        let (key, body) = unanswered.unwrap_or_else(|| (format!("last-{at}"), json!({ "content": "still there?" })));
        let (status, answer) = asker.caller.post_until_free(url, room, &key, &body, &HELD).await;
        assert_eq!(status, 201, "{answer}");
        let again = asker.caller.post(url, room, &key, &body).await.unwrap();
        assert_eq!(again.json::<Value>().await.unwrap(), answer);
    }
}

/// Fails unless what is left of each budget can be used to the last, and no more.
async fn budgets_can_be_used_up(setup: &Setup, url: &str, owner: &Caller, keys: [&Key; 2]) {
    for key in keys {
        let asks = async |caller: &Caller, body: Value| {
            let answer = post(caller, url, Surface::ChatCompletions, &body).await.unwrap();
            let status = answer.status().as_u16();
            ledger::verdict(status, &answer.json().await.unwrap())
        };
        let rest = ledger::uses_the_last(
            setup,
            ("m", "key_budget"),
            COSTS,
            async || key.left(owner, url).await,
            async |body| asks(owner, body).await,
            async |body| asks(&key.caller, body).await,
        );
        let rest = rest.await;
        anteroom_tests::tell(&format!(
            "{:?}: the {rest} nano-USD left of a budget could be used, and no more",
            setup.kind()
        ));
    }
}

async fn however_often_it_is_killed_each_call_is_booked_once(setup: &Setup) {
    let (kills, seed) = (number_from("ANTEROOM_TEST_KILLS", 3), Dice::seed());
    anteroom_tests::tell(&format!("{:?}: {kills} kills, ANTEROOM_TEST_SEED={seed}", setup.kind()));
    let upstream = Upstream::start().await;
    let nth = AtomicUsize::new(0);
    upstream.judge(move |call| {
        ledger::all_of_it(call).or_else(|| Some(answer(seed, nth.fetch_add(1, Ordering::Relaxed), call)))
    });
    let variables = variables(setup, &upstream);
    let mut server = Server::start(setup.folder(), &variables).await;
    let owner = Caller::new(&server).await;
    let ample = Key::new(&owner, &server.url, BUDGETS[0]).await;
    let tight = Key::new(&owner, &server.url, BUDGETS[1]).await;
    let mut rooms = Vec::new();
    for _ in 0..IN_ROOMS {
        let made = owner.made(&server.url, "/v1/conversations", &json!({})).await;
        rooms.push(format!("/v1/conversations/{}/messages", made["id"].as_str().unwrap()));
    }
    ledger::watch(setup, &[("messages", 1_000_000)]).await;

    let told: [Told; 3] = Default::default();
    let in_rooms = rooms.iter().enumerate().map(|(at, room)| Asker {
        caller: [&owner, &ample.caller][at % 2],
        room: Some(room),
        told: &told[at % 2],
    });
    let with_tight = (0..TIGHT).map(|_| Asker {
        caller: &tight.caller,
        room: None,
        told: &told[2],
    });
    let askers: Vec<Asker> = in_rooms.chain(with_tight).collect();
    let (dice, numbers) = (&mut Dice::new(seed), AtomicUsize::new(0));
    let mut unanswered: Vec<Unanswered> = vec![None; askers.len()];
    for kill in 0..kills {
        let url = &server.url;
        let asking = askers
            .iter()
            .zip(&mut unanswered)
            .enumerate()
            .map(|(at, (asker, unanswered))| {
                let mut dice = Dice::of(seed, kill * 1000 + u64::try_from(at).unwrap());
                let numbers = &numbers;
                async move {
                    *unanswered = asker
                        .asks_until_it_dies(url, &mut dice, unanswered.take(), numbers)
                        .await;
                }
            });
        let dies = async {
            // Slow machines come to something as well.
            let before: i64 = told.iter().map(Told::answered).sum();
            eventually("calls are answered", || {
                (told.iter().map(Told::answered).sum::<i64>() >= before + ANSWERED).then_some(())
            })
            .await;
            // On a slow machine a life may be too short for the tight key to ask for more than it has; the last one is not.
            if kill + 1 == kills {
                eventually("the tight key's budget is reached", || {
                    (told[2].refused() > 0).then_some(())
                })
                .await;
            }
            tokio::time::sleep(dice.within(700)).await;
            server.signal(Signal::KILL);
        };
        tokio::join!(join_all(asking), dies);
        server.ended().await;
        server = Server::start(setup.folder(), &variables).await;
    }
    let booked = ledger::adds_up(setup).await;
    let mut by = Vec::new();
    for (told, key) in told.iter().zip([None, Some(&*ample.id), Some(&*tight.id)]) {
        by.push(told.is_booked(setup, key).await);
    }
    let lost = setup
        .number("SELECT count(*) AS n FROM usage_events WHERE outcome = 'lost'")
        .await;
    anteroom_tests::tell(&format!(
        "{:?}: {kills} kills, {} asked, {booked} booked ({by:?} with sessions, the ample and the tight key), {lost} of them by the sweep; {} refused to the tight key",
        setup.kind(),
        numbers.load(Ordering::Relaxed),
        told[2].refused(),
    ));
    assert!(lost > 0, "it died while nothing was under way");
    assert!(told[2].refused() > 0, "the tight key's budget was never reached");

    conversations_are_free(&server.url, &askers, unanswered).await;
    budgets_can_be_used_up(setup, &server.url, &owner, [&ample, &tight]).await;
    ledger::adds_up(setup).await;
}
