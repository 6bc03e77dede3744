//! The exact cache: what is given again, to whom, for how long, and what that costs.

use std::collections::HashSet;
use std::sync::Arc;

use anteroom_domain::billing::{METER_MESSAGES, METER_SPEND, Owner, SubscriptionStatus};
use anteroom_ports::chat::ProviderErrorKind;
use anteroom_services::access::Principal;
use anteroom_services::chat::{
    CacheOptions, CacheStatus, CacheUse, CallRefused, ChatAnswer, ChatError, Manner, ModerationOptions, Relayed,
};
use anteroom_services::sessions::LiveSession;
use anteroom_testkit::ScriptedModerator;
use anteroom_testkit::chat::{DEFAULT_USAGE, Step, done_step, provider_error, reply, text_step, usage_step};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::house::{FREE_LIMIT, House, Routed};

const CACHE: CacheOptions = CacheOptions {
    max_bytes: 1_000_000,
    ttl: SignedDuration::from_secs(60),
    shared: false,
    any_temperature: false,
};

async fn house(cache: CacheOptions) -> House {
    House::routed(Routed {
        cache,
        ..Routed::plain(&["small", "large"])
    })
    .await
}

fn by(who: &LiveSession) -> Principal {
    who.clone().into()
}

fn question(said: &str, stream: bool) -> Value {
    json!({ "model": "small", "temperature": 0, "stream": stream, "max_tokens": 100, "messages": [{ "role": "user", "content": said }] })
}

async fn ask_with(house: &House, who: &LiveSession, body: &Value, cache: CacheUse) -> Result<ChatAnswer, ChatError> {
    let (body, gone) = (body.to_string(), CancellationToken::new());
    let manner = Manner {
        cache,
        ..Manner::default()
    };
    house
        .chat
        .complete_chat_as(&by(who), body.as_bytes(), None, gone, manner)
        .await
}

/// The answer's bytes, or its stream's, and what the cache had.
async fn ask(house: &House, who: &LiveSession, body: &Value) -> (String, Option<CacheStatus>) {
    said(ask_with(house, who, body, CacheUse::Take).await.unwrap()).await
}

async fn said(answer: ChatAnswer) -> (String, Option<CacheStatus>) {
    match answer {
        ChatAnswer::Whole { body, cache, .. } => (String::from_utf8(body.to_vec()).unwrap(), cache),
        ChatAnswer::Stream { mut events, cache, .. } => {
            let mut all = String::new();
            while let Some(event) = events.recv().await {
                match event {
                    Relayed::Chunk(data) => {
                        all.push_str(std::str::from_utf8(&data).unwrap());
                        all.push('\n');
                    }
                    Relayed::Done => break,
                    Relayed::Failed(e) => panic!("{e}"),
                }
            }
            (all, cache)
        }
    }
}

/// A stream that ends as whole ones do.
fn script_stream(house: &House, words: &[&str], reason: &str) {
    let mut steps: Vec<Step> = words.iter().map(|word| text_step("small", word)).collect();
    let Step::Event(anteroom_ports::chat::ChatEvent::Chunk(mut end)) = text_step("small", "") else {
        panic!("a chunk")
    };
    end.data = json!({ "id": "x", "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] })
        .to_string()
        .into();
    steps.push(Step::Event(anteroom_ports::chat::ChatEvent::Chunk(end)));
    house.model.script_stream(
        steps
            .into_iter()
            .chain([usage_step("small", DEFAULT_USAGE), done_step()]),
    );
}

const HIT: Option<CacheStatus> = Some(CacheStatus::Hit);
const MISS: Option<CacheStatus> = Some(CacheStatus::Miss);

#[tokio::test(flavor = "multi_thread")]
async fn the_same_question_has_the_same_answer_which_costs_a_message_and_nothing_else() {
    let house = house(CACHE).await;
    let who = house.somebody("ada@example.com").await;
    let (first, status) = ask(&house, &who, &question("hi", false)).await;
    assert_eq!(status, MISS);
    // In another order of its members it is the same question.
    let again = r#"{"messages":[{"content":"hi","role":"user"}],"max_tokens":100,"stream":false,"temperature":0,"model":"small"}"#;
    let answer = house
        .chat
        .complete_chat(&by(&who), again.as_bytes(), CancellationToken::new())
        .await;
    assert_eq!(said(answer.unwrap()).await, (first.clone(), HIT));
    for other in [question("hi!", false), question("hi", true)] {
        assert_eq!(ask(&house, &who, &other).await.1, MISS);
    }
    house.chat.settled().await;
    assert_eq!(house.model.calls().len(), 3);
    let level = house.level(Owner::account(who.user.id), METER_MESSAGES).await;
    assert_eq!(
        (level.used, level.reserved),
        (4, 0),
        "a kept answer is a message as well"
    );
    // 7 tokens in and 2 out at a dollar for a million, three times.
    let spent = house.level(Owner::DEPLOYMENT, METER_SPEND).await;
    assert_eq!((spent.used, spent.reserved), (27_000, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_given_again_as_a_stream() {
    let house = house(CACHE).await;
    let who = house.somebody("ada@example.com").await;
    script_stream(&house, &["one ", "two ", "three"], "stop");
    let (first, status) = ask(&house, &who, &question("count", true)).await;
    assert_eq!(
        (first.lines().count(), status),
        (4, MISS),
        "the usage was not asked for"
    );
    assert_eq!(ask(&house, &who, &question("count", true)).await, (first.clone(), HIT));
    let mut with_usage = question("count", true);
    with_usage["stream_options"] = json!({ "include_usage": true });
    let (shown, status) = ask(&house, &who, &with_usage).await;
    assert_eq!((shown.lines().count(), status), (5, HIT));
    assert_eq!(house.model.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_whole_answers_are_kept() {
    let house = house(CACHE).await;
    let who = house.payer("ada@example.com", SubscriptionStatus::Active).await;
    for reason in ["length", "content_filter"] {
        script_stream(&house, &["cut"], reason);
        assert_eq!(ask(&house, &who, &question(reason, true)).await.1, MISS);
        assert_eq!(ask(&house, &who, &question(reason, true)).await.1, MISS, "{reason}");
    }
    let failure = || provider_error(ProviderErrorKind::Transport);
    house
        .model
        .script_stream([text_step("small", "half"), Step::Fail(failure())]);
    house.model.script_reply(Err(failure()));
    let ChatAnswer::Stream { mut events, .. } = ask_with(&house, &who, &question("f", true), CacheUse::Take)
        .await
        .unwrap()
    else {
        panic!("not a stream")
    };
    while events.recv().await.is_some() {}
    assert!(
        ask_with(&house, &who, &question("f", false), CacheUse::Take)
            .await
            .is_err()
    );
    for stream in [true, false] {
        assert_eq!(ask(&house, &who, &question("f", stream)).await.1, MISS);
    }
    // A reader that goes away leaves no half of an answer behind.
    script_stream(&house, &["a", "b", "c"], "stop");
    let answer = ask_with(&house, &who, &question("gone", true), CacheUse::Take)
        .await
        .unwrap();
    drop(answer);
    house.chat_calls_are(0).await;
    script_stream(&house, &["a", "b", "c"], "stop");
    let (all, _) = ask(&house, &who, &question("gone", true)).await;
    assert_eq!(all.lines().count(), 4);
    // Tools that are called are an answer.
    script_stream(&house, &["x"], "tool_calls");
    assert_eq!(ask(&house, &who, &question("tool", true)).await.1, MISS);
    assert_eq!(ask(&house, &who, &question("tool", true)).await.1, HIT);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_kept_for_its_time_and_no_longer() {
    let house = house(CACHE).await;
    let who = house.somebody("ada@example.com").await;
    ask(&house, &who, &question("hi", false)).await;
    house.clock.advance_seconds(59);
    assert_eq!(ask(&house, &who, &question("hi", false)).await.1, HIT);
    house.clock.advance_seconds(1);
    assert_eq!(
        ask(&house, &who, &question("hi", false)).await.1,
        MISS,
        "its own age counts, not its last use"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_given_anothers_answer_unless_they_are_shared() {
    for shared in [false, true] {
        let house = house(CacheOptions { shared, ..CACHE }).await;
        let (ada, eve) = (
            house.somebody("ada@example.com").await,
            house.somebody("eve@example.com").await,
        );
        ask(&house, &ada, &question("hi", false)).await;
        let (_, status) = ask(&house, &eve, &question("hi", false)).await;
        assert_eq!(status, if shared { HIT } else { MISS });
        // Who may not use the model is given nothing, though it is there.
        let mut large = question("hi", false);
        large["model"] = json!("large");
        let payer = house.payer("pat@example.com", SubscriptionStatus::Active).await;
        ask(&house, &payer, &large).await;
        let refused = ask_with(&house, &eve, &large, CacheUse::Take).await.unwrap_err();
        assert!(matches!(
            refused,
            ChatError::Refused(CallRefused::ModelNotInPlan { .. })
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_answers_end_where_the_limit_does() {
    let house = house(CACHE).await;
    let who = house.somebody("ada@example.com").await;
    for _ in 0..FREE_LIMIT {
        ask(&house, &who, &question("hi", false)).await;
    }
    let refused = ask_with(&house, &who, &question("hi", false), CacheUse::Take)
        .await
        .unwrap_err();
    assert!(matches!(refused, ChatError::Refused(CallRefused::QuotaExceeded { .. })));
    assert_eq!(house.model.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_does_not_vary_is_kept_unless_told_otherwise() {
    let house_of = |any_temperature| {
        house(CacheOptions {
            any_temperature,
            ..CACHE
        })
    };
    let mut warm = question("hi", false);
    warm["temperature"] = json!(0.7);
    let mut unsaid = question("hi", false);
    unsaid.as_object_mut().unwrap().remove("temperature");
    let house = house_of(false).await;
    let who = house.somebody("ada@example.com").await;
    for body in [&warm, &warm, &unsaid, &unsaid] {
        assert_eq!(ask(&house, &who, body).await.1, None, "it is not even looked for");
    }
    let house = house_of(true).await;
    let who = house.somebody("ada@example.com").await;
    for (body, status) in [(&warm, MISS), (&warm, HIT), (&unsaid, MISS), (&unsaid, HIT)] {
        assert_eq!(ask(&house, &who, body).await.1, status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_may_want_a_new_answer() {
    let house = house(CACHE).await;
    let who = house.payer("ada@example.com", SubscriptionStatus::Active).await;
    let body = question("hi", false);
    let answers = |text: &str| house.model.script_reply(Ok(reply("small", text, None)));
    let ask = async |cache| said(ask_with(&house, &who, &body, cache).await.unwrap()).await;
    for text in ["first", "unkept", "renewed"] {
        answers(text);
    }
    assert!(ask(CacheUse::Take).await.0.contains("first"));
    let (text, status) = ask(CacheUse::Avoid).await;
    assert!(text.contains("unkept") && status.is_none());
    assert!(ask(CacheUse::Take).await.0.contains("first"));
    let (text, status) = ask(CacheUse::Renew).await;
    assert!(text.contains("renewed") && status == MISS);
    let (text, status) = ask(CacheUse::Take).await;
    assert!(text.contains("renewed") && status == HIT);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_at_once_each_is_given_its_own_answer() {
    let house = house(CACHE).await;
    let mut people = Vec::new();
    for number in 0..8 {
        people.push(house.somebody(&format!("somebody{number}@example.com")).await);
    }
    for number in 0..64 {
        let text = format!("answer {number}");
        house.model.script_reply(Ok(reply("small", &text, Some(DEFAULT_USAGE))));
    }
    let tries = (0..64).map(|number| {
        let (chat, who) = (house.chat.clone(), people[number % 8].clone());
        tokio::spawn(async move {
            let body = question("the same", false).to_string();
            let answer = chat
                .complete_chat(&by(&who), body.as_bytes(), CancellationToken::new())
                .await;
            (number % 8, said(answer.unwrap()).await)
        })
    });
    let mut given: Vec<HashSet<String>> = vec![HashSet::new(); 8];
    let mut missed = 0;
    for outcome in futures_util::future::join_all(tries).await {
        let (whose, (text, status)) = outcome.unwrap();
        missed += usize::from(status == MISS);
        given[whose].insert(text);
    }
    let calls = house.model.calls().len();
    assert_eq!(missed, calls, "what was not kept was asked");
    let distinct: HashSet<&String> = given.iter().flatten().collect();
    assert_eq!(distinct.len(), calls, "each answer was given to somebody");
    assert_eq!(
        given.iter().map(HashSet::len).sum::<usize>(),
        calls,
        "and nobody saw another's"
    );
    house.chat.settled().await;
    for who in &people {
        let level = house.level(Owner::account(who.user.id), METER_MESSAGES).await;
        assert_eq!((level.used, level.reserved), (8, 0));
    }
    let spent = house.level(Owner::DEPLOYMENT, METER_SPEND).await;
    assert_eq!((spent.used, spent.reserved), (i64::try_from(calls).unwrap() * 9_000, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_not_kept_and_a_kept_question_is_still_looked_at() {
    let moderator = Arc::new(ScriptedModerator::default().refusing("word"));
    let moderation = |fail_open| ModerationOptions {
        moderator: Some(moderator.clone()),
        fail_open,
        ..ModerationOptions::default()
    };
    let routed = |fail_open| Routed {
        moderation: moderation(fail_open),
        cache: CACHE,
        ..Routed::plain(&["small"])
    };
    let house = House::routed(routed(false)).await;
    let who = house.somebody("ada@example.com").await;
    house.model.script_reply(Ok(reply("small", "the word", None)));
    assert!(
        ask(&house, &who, &question("hi", false))
            .await
            .0
            .contains("content_filter")
    );
    assert_eq!(ask(&house, &who, &question("hi", false)).await.1, MISS);
    assert_eq!(ask(&house, &who, &question("hi", false)).await.1, HIT);
    let looked = moderator.shown().len();
    ask(&house, &who, &question("hi", false)).await;
    assert_eq!(moderator.shown().len(), looked + 1, "the question is, the answer was");
    // What passed while nobody looked is not kept for later.
    let house = House::routed(routed(true)).await;
    let who = house.somebody("ada@example.com").await;
    for _ in 0..2 {
        assert_eq!(ask(&house, &who, &question("hi", false)).await.1, None);
    }
}
