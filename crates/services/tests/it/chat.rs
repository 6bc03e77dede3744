//! The relay, quotas and conversations.

use std::sync::Arc;
use std::time::Duration;

use anteroom_domain::access::UsedWith;
use anteroom_domain::billing::{METER_MESSAGES, METER_SPEND, METER_SPEND_SHARE, NanoUsd, Owner, SubscriptionStatus};
use anteroom_domain::chat::{Message, MessageStatus, Outcome, TokenUsage, UsageEvent};
use anteroom_domain::{ConversationId, RequestId};
use anteroom_ports::chat::{ChatCall, ProviderErrorKind};
use anteroom_ports::{Clock as _, Durability, Ids as _};
use anteroom_services::Client;
use anteroom_services::access::Principal;
use anteroom_services::chat::{
    CallRefused, ChangeConversation, ChatAnswer, ChatError, ConversationError, MessageAnswer, MessageEvent,
    NewConversation, Relayed, SendMessage, SendMessageError,
};
use anteroom_services::sessions::LiveSession;
use anteroom_testkit::chat::{Step, StreamEnd, done_step, provider_error, reply, text_step, usage_step};
use anteroom_testkit::ops::SeededIds;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use crate::house::{FREE_LIMIT, House, LEASE};

const USAGE: TokenUsage = TokenUsage {
    prompt_tokens: 7,
    completion_tokens: 2,
    cached_tokens: 0,
    reasoning_tokens: 0,
    ..TokenUsage::NONE
};

pub fn body(model: &str, stream: bool) -> String {
    format!(r#"{{"model":"{model}","stream":{stream},"max_tokens":100,"messages":[{{"role":"user","content":"hi"}}]}}"#)
}

/// Somebody who asks with a session.
fn by(who: &LiveSession) -> Principal {
    who.clone().into()
}

pub async fn complete(house: &House, who: &LiveSession, body: &str) -> Result<ChatAnswer, ChatError> {
    house
        .chat
        .complete_chat(&by(who), body.as_bytes(), CancellationToken::new())
        .await
}

/// Why a call may not be made.
fn refused(outcome: Result<ChatAnswer, ChatError>) -> CallRefused {
    match outcome.unwrap_err() {
        ChatError::Refused(refused) => refused,
        e => panic!("{e}"),
    }
}

async fn drain(answer: ChatAnswer) -> (String, Result<(), ChatError>) {
    let ChatAnswer::Stream { mut events, .. } = answer else {
        panic!("not a stream")
    };
    let mut text = String::new();
    while let Some(event) = events.recv().await {
        match event {
            Relayed::Chunk(data) => text.push_str(std::str::from_utf8(&data).unwrap()),
            Relayed::Done => return (text, Ok(())),
            Relayed::Failed(e) => return (text, Err(*e)),
        }
    }
    panic!("the stream just ended")
}

/// Whether the call is booked: a second booking under its id is refused.
async fn booked(house: &House, call: &ChatCall, who: &LiveSession) -> bool {
    let event = UsageEvent {
        request_id: call.request_id,
        owner: Owner::account(who.user.id),
        used_with: UsedWith::Session(who.session.id),
        model: "x".into(),
        plan: "free".into(),
        served_by: None,
        usage: USAGE,
        exact: true,
        cost: None,
        first_token_ms: None,
        total_ms: 0,
        outcome: Outcome::Complete,
        created_at: house.clock.now(),
    };
    let mut unit = house.store.begin(Durability::Full).await.unwrap();
    unit.insert_usage(&[&event]).await.unwrap() == 0
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_at_once_exactly_the_limit_get_through() {
    let house = House::new().await;
    let who = house.somebody("ada@example.com").await;
    let tries = (0..64).map(|i| {
        let (chat, who) = (house.chat.clone(), who.clone());
        tokio::spawn(async move {
            chat.complete_chat(
                &by(&who),
                body("small", i % 2 == 0).as_bytes(),
                CancellationToken::new(),
            )
            .await
        })
    });
    let (mut through, mut denied) = (Vec::new(), 0);
    for outcome in futures_util::future::join_all(tries).await {
        match outcome.unwrap() {
            Ok(answer) => through.push(answer),
            Err(ChatError::Refused(CallRefused::QuotaExceeded { limit, used, .. })) => {
                assert_eq!((limit, used), (FREE_LIMIT, FREE_LIMIT));
                denied += 1;
            }
            Err(e) => panic!("{e}"),
        }
    }
    assert_eq!(
        (i64::try_from(through.len()).unwrap(), denied),
        (FREE_LIMIT, 64 - FREE_LIMIT)
    );
    for answer in through {
        if matches!(answer, ChatAnswer::Stream { .. }) {
            drain(answer).await.1.unwrap();
        }
    }
    house.chat.settled().await;
    let level = house.level(Owner::account(who.user.id), METER_MESSAGES).await;
    assert_eq!((level.used, level.reserved), (FREE_LIMIT, 0));
    house.clock.advance_seconds(86_400);
    assert_eq!(
        house.level(Owner::account(who.user.id), METER_MESSAGES).await.used,
        0,
        "a new day"
    );
}

/// They are held in one commit, and one who has nothing left is refused alone. All of them run on one thread, so that they
/// ask together.
#[tokio::test]
async fn what_one_has_not_left_is_not_held_against_others() {
    let house = House::new().await;
    let spent = house.somebody("ada@example.com").await;
    for _ in 0..FREE_LIMIT - 1 {
        complete(&house, &spent, &body("small", false)).await.unwrap();
    }
    house.chat.settled().await;
    let mut others = Vec::new();
    for name in 0..20 {
        others.push(house.somebody(&format!("friend{name}@example.com")).await);
    }
    let units = house.guarded.begun();
    let body = body("small", false);
    let asked = others.iter().chain(std::iter::repeat_n(&spent, 4));
    let outcomes = futures_util::future::join_all(asked.map(|who| complete(&house, who, &body))).await;
    let through: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert!(through[..20].iter().all(|through| *through), "{through:?}");
    assert_eq!(
        through[20..].iter().filter(|through| **through).count(),
        1,
        "{through:?}"
    );
    // The whole of them, the rest of them, four alone; and what is booked meanwhile.
    assert!(house.guarded.begun() - units < 20, "{}", house.guarded.begun() - units);
    house.chat.settled().await;
    let level = house.level(Owner::account(spent.user.id), METER_MESSAGES).await;
    assert_eq!((level.used, level.reserved), (FREE_LIMIT, 0));
}

/// However many begin and end at once, none is left out of a commit that takes no more.
#[tokio::test(flavor = "multi_thread")]
async fn of_450_at_once_each_is_held_and_booked() {
    let house = House::new().await;
    let who = house.payer("ada@example.com", SubscriptionStatus::Active).await;
    let question = body("small", false);
    let asked = (0..450).map(|_| complete(&house, &who, &question));
    for answer in futures_util::future::join_all(asked).await {
        answer.unwrap();
    }
    house.chat.settled().await;
    let level = house.level(Owner::account(who.user.id), METER_MESSAGES).await;
    assert_eq!((level.used, level.reserved), (450, 0));
}

#[tokio::test]
async fn what_a_provider_could_not_be_told_is_said_with_the_answer() {
    let house = House::new().await;
    let who = house.somebody("ada@example.com").await;
    house.model.drop_parameters(&["top_k", "logit_bias"]);
    for stream in [false, true] {
        let answer = complete(&house, &who, &body("small", stream)).await.unwrap();
        let (ChatAnswer::Whole { dropped, .. } | ChatAnswer::Stream { dropped, .. }) = &answer;
        assert_eq!(dropped, &["top_k", "logit_bias"]);
        if stream {
            drain(answer).await.1.unwrap();
        }
    }
}

#[tokio::test]
async fn what_a_call_used_is_booked_in_every_ending() {
    let failed = || provider_error(ProviderErrorKind::Upstream { status: 500 });
    // What the provider does, how much text comes, whether it counts as a message
    let endings: Vec<(Vec<Step>, bool, i64)> = vec![
        (
            vec![text_step("small", "Hello"), usage_step("small", USAGE), done_step()],
            true,
            1,
        ),
        (vec![text_step("small", "Hel"), Step::Fail(failed())], false, 1),
        (vec![Step::Fail(failed())], false, 0),
    ];
    for (steps, whole, counted) in endings {
        let house = House::new().await;
        let who = house.somebody("ada@example.com").await;
        house.model.script_stream(steps);
        let ended = match complete(&house, &who, &body("small", true)).await {
            Ok(answer) => drain(answer).await.1,
            Err(e) => Err(e),
        };
        assert_eq!(ended.is_ok(), whole);
        house.chat.settled().await;
        let level = house.level(Owner::account(who.user.id), METER_MESSAGES).await;
        assert_eq!((level.used, level.reserved), (counted, 0));
        let spend = house.level(Owner::DEPLOYMENT, METER_SPEND).await;
        assert_eq!(spend.reserved, 0);
        if whole {
            assert_eq!(spend.used, 9 * 1000, "nine tokens at a dollar a million");
        } else {
            assert_eq!(spend.used > 0, counted == 1);
        }
        assert!(booked(&house, &house.model.calls()[0].call, &who).await);
    }
}

#[tokio::test]
async fn a_usage_chunk_goes_to_who_asked_for_it() {
    let house = House::new().await;
    let who = house.somebody("ada@example.com").await;
    let steps = || [text_step("small", "Hello"), usage_step("small", USAGE), done_step()];
    house.model.script_stream(steps());
    let (silent, _) = drain(complete(&house, &who, &body("small", true)).await.unwrap()).await;
    assert!(!silent.contains("prompt_tokens"), "{silent}");
    house.model.script_stream(steps());
    let asking = body("small", true).replace(
        "\"max_tokens\"",
        "\"stream_options\":{\"include_usage\":true},\"max_tokens\"",
    );
    let (told, _) = drain(complete(&house, &who, &asking).await.unwrap()).await;
    assert!(told.contains("prompt_tokens"), "{told}");
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_call() {
    let house = House::new().await;
    let who = house.somebody("ada@example.com").await;
    // A stream whose reader is dropped, one whose connection is gone, and a whole answer.
    house.model.script_stream([text_step("small", "Hello"), Step::Hang]);
    let answer = complete(&house, &who, &body("small", true)).await.unwrap();
    drop(answer);
    assert_eq!(house.model.ended(0).await, StreamEnd::Dropped);
    for stream in [true, false] {
        let gone = CancellationToken::new();
        if stream {
            house.model.script_stream([Step::Hang]);
        } else {
            house
                .model
                .script_reply_after(Duration::from_secs(3600), Ok(reply("small", "late", None)));
        }
        let number = house.model.calls().len();
        let (chat, who, leaving) = (house.chat.clone(), who.clone(), gone.clone());
        let call = tokio::spawn(async move {
            chat.complete_chat(&by(&who), body("small", stream).as_bytes(), leaving)
                .await
        });
        while house.model.calls().len() == number {
            tokio::task::yield_now().await;
        }
        gone.cancel();
        assert!(matches!(call.await.unwrap(), Err(ChatError::ClientGone)));
        assert_eq!(house.model.ended(number).await, StreamEnd::Dropped);
    }
    house.chat.settled().await;
    let level = house.level(Owner::account(who.user.id), METER_MESSAGES).await;
    assert_eq!((level.used, level.reserved), (3, 0), "what was sent upstream was used");
}

/// Calls run on a worker's own runtime, which is dropped with all that is on it when the process is told to stop.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_worker_ends_is_booked() {
    for stream in [true, false] {
        let house = House::new().await;
        let who = house.somebody("ada@example.com").await;
        if stream {
            house.model.script_stream([text_step("small", "Hello"), Step::Hang]);
        } else {
            let late = Ok(reply("small", "late", None));
            house.model.script_reply_after(Duration::from_secs(3600), late);
        }
        let (chat, model, asking) = (house.chat.clone(), house.model.clone(), by(&who));
        let worker = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let question = body("small", stream);
                let call = tokio::spawn(async move {
                    chat.complete_chat(&asking, question.as_bytes(), CancellationToken::new())
                        .await
                });
                while model.calls().is_empty() {
                    tokio::task::yield_now().await;
                }
                // A stream's answer is there now; its driver goes on.
                if stream {
                    call.await.unwrap().unwrap();
                }
            });
        });
        worker.join().unwrap();
        house.chat.settled().await;
        let level = house.level(Owner::account(who.user.id), METER_MESSAGES).await;
        assert_eq!((level.used, level.reserved), (1, 0), "what was sent upstream was used");
        assert!(booked(&house, &house.model.calls()[0].call, &who).await);
    }
}

#[tokio::test]
async fn a_reader_that_never_reads_does_not_outlive_the_longest_call() {
    let house = House::new().await;
    let who = house.somebody("ada@example.com").await;
    house.model.script_stream((0..200).map(|_| text_step("small", "word ")));
    let answer = complete(&house, &who, &body("small", true)).await.unwrap();
    assert_eq!(
        house.model.ended(0).await,
        StreamEnd::Dropped,
        "nobody reads the answer, which is longer than the channel"
    );
    house.chat.settled().await;
    assert_eq!(
        house.level(Owner::account(who.user.id), METER_MESSAGES).await.reserved,
        0
    );
    drop(answer);
}

#[tokio::test]
async fn a_session_that_ends_ends_its_streams() {
    let house = House::new().await;
    let who = house.somebody("ada@example.com").await;
    house.model.script_stream([text_step("small", "Hello"), Step::Hang]);
    let answer = complete(&house, &who, &body("small", true)).await.unwrap();
    house.sessions.log_out(&who.session, &Client::default()).await.unwrap();
    let (_, ended) = drain(answer).await;
    assert!(matches!(ended, Err(ChatError::SessionEnded)));
    assert_eq!(house.model.ended(0).await, StreamEnd::Dropped);
}

#[tokio::test]
async fn a_session_that_ends_while_its_reader_is_slow_is_told_so() {
    let house = House::new().await;
    let who = house.somebody("ada@example.com").await;
    // As many chunks as are under way at most: the driver waits for the next one, and has no room to say more.
    let chunks = (0..16).map(|_| text_step("small", "x")).chain([Step::Hang]);
    house.model.script_stream(chunks.collect::<Vec<_>>());
    let answer = complete(&house, &who, &body("small", true)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    house.sessions.log_out(&who.session, &Client::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (text, outcome) = drain(answer).await;
    assert_eq!(text.matches("\"x\"").count(), 16, "{text}");
    assert!(matches!(outcome, Err(ChatError::SessionEnded)), "{outcome:?}");
    house.chat.settled().await;
    let level = house.level(Owner::account(who.user.id), METER_MESSAGES).await;
    assert_eq!((level.used, level.reserved), (1, 0));
}

#[tokio::test]
async fn plans_decide_which_models_answer() {
    let house = House::new().await;
    let free = house.somebody("ada@example.com").await;
    assert!(matches!(
        refused(complete(&house, &free, &body("large", false)).await),
        CallRefused::ModelNotInPlan { .. }
    ));
    assert!(matches!(
        refused(complete(&house, &free, &body("none", false)).await),
        CallRefused::ModelNotInPlan { .. }
    ));
    let payer = house.payer("bob@example.com", SubscriptionStatus::Active).await;
    assert!(complete(&house, &payer, &body("large", false)).await.is_ok());
    assert_eq!(house.chat.list_models(&by(&payer)).await.unwrap().len(), 2);
    assert_eq!(house.chat.list_models(&by(&free)).await.unwrap().len(), 1);
    let house = House::new().await;
    let lapsed = house.payer("bob@example.com", SubscriptionStatus::Canceled).await;
    let refusal = refused(complete(&house, &lapsed, &body("large", false)).await);
    assert!(matches!(refusal, CallRefused::SubscriptionInactive { plan, .. } if plan == "pro"));
    assert!(matches!(
        complete(&house, &lapsed, "{}").await,
        Err(ChatError::Invalid(_))
    ));
}

#[tokio::test]
async fn the_spend_cap_guards_the_bill() {
    // 100 output tokens and the prompt at a dollar a million, some 150 000 in all: one call fits, two do not. One
    // account may use 60 percent of it.
    let house = House::with(true, NanoUsd(280_000), &["small"]).await;
    let (who, other) = (
        house.somebody("ada@example.com").await,
        house.somebody("eve@example.com").await,
    );
    house.model.script_stream([text_step("small", "Hello"), Step::Hang]);
    let running = complete(&house, &who, &body("small", true)).await.unwrap();
    let refusal = refused(complete(&house, &who, &body("small", true)).await);
    assert!(matches!(refusal, CallRefused::SpendShareReached { .. }), "{refusal}");
    let refusal = refused(complete(&house, &other, &body("small", true)).await);
    assert!(matches!(refusal, CallRefused::SpendCapReached { .. }), "{refusal}");
    for who in [&who, &other] {
        let held = house.level(Owner::account(who.user.id), METER_MESSAGES).await.reserved;
        let held_share = house
            .level(Owner::account(who.user.id), METER_SPEND_SHARE)
            .await
            .reserved;
        let running = who.user.email.as_str().starts_with("ada");
        assert_eq!(
            (held, held_share > 0),
            (i64::from(running), running),
            "the refused call holds nothing"
        );
    }
    drop(running);
    house.chat.settled().await;
    let spent = house.level(Owner::DEPLOYMENT, METER_SPEND).await;
    assert!(spent.used < 100_000, "the running call used less than it held");
    assert_eq!(
        house.level(Owner::account(who.user.id), METER_SPEND_SHARE).await,
        spent,
        "what it used counts on both"
    );
}

#[tokio::test]
async fn a_request_that_is_dearer_than_a_day_can_never_be_made() {
    let house = House::with(true, NanoUsd(200_000), &["small"]).await;
    let who = house.somebody("ada@example.com").await;
    let refusal = refused(complete(&house, &who, &body("small", false)).await);
    let CallRefused::ExceedsSpendCap { needed, most } = refusal else {
        panic!("{refusal}")
    };
    assert_eq!(most, NanoUsd(120_000));
    assert!(needed > most, "{needed:?}");
    assert_eq!(
        house.level(Owner::account(who.user.id), METER_MESSAGES).await.reserved,
        0
    );
    let short = body("small", false).replace("100", "1");
    complete(&house, &who, &short).await.unwrap();
}

#[tokio::test]
async fn the_providers_list_is_asked_once_and_outlives_its_absence() {
    let house = House::with(true, NanoUsd::from_usd(1.0), &[]).await;
    house
        .model
        .set_models(Err(provider_error(ProviderErrorKind::Transport)));
    let who = house.somebody("ada@example.com").await;
    assert!(house.chat.list_models(&by(&who)).await.is_err());
    house.model.set_models(Ok(&["a", "b"]));
    assert_eq!(house.chat.list_models(&by(&who)).await.unwrap()[0].offered.id, "a");
    house
        .model
        .set_models(Err(provider_error(ProviderErrorKind::Transport)));
    let offered = house.chat.offered().await.unwrap();
    assert_eq!(
        offered.iter().map(|alias| alias.name.as_str()).collect::<Vec<_>>(),
        ["a", "b"]
    );
}

#[tokio::test]
async fn a_call_whose_process_died_is_swept() {
    let house = House::new().await;
    let who = house.somebody("ada@example.com").await;
    house.model.script_stream([text_step("small", "Hello"), Step::Hang]);
    let answer = complete(&house, &who, &body("small", true)).await.unwrap();
    let level = async || {
        let level = house.level(Owner::account(who.user.id), METER_MESSAGES).await;
        (level.used, level.reserved)
    };
    // A call that runs is renewed, every third of a lease and not more often, so it is never swept.
    for _ in 0..10 {
        house.clock.advance_seconds(LEASE.as_secs() / 3);
        assert_eq!(house.chat.tend_calls().await.unwrap(), 1);
        assert_eq!(house.chat.tend_calls().await.unwrap(), 0);
        assert_eq!(house.chat.sweep_calls().await.unwrap(), 0);
    }
    // Its node falls silent. For another lease it may be only the store that was away.
    house.clock.advance_seconds(2 * LEASE.as_secs() - 1);
    assert_eq!(house.chat.sweep_calls().await.unwrap(), 0);
    house.clock.advance_seconds(1);
    assert_eq!(level().await, (0, 1));
    assert_eq!(house.chat.sweep_calls().await.unwrap(), 1);
    assert_eq!(level().await, (1, 0));
    // The process was not dead after all: its own booking changes nothing any more.
    drop(answer);
    house.chat.settled().await;
    assert_eq!(level().await, (1, 0));
    house.clock.advance_seconds(LEASE.as_secs());
    assert_eq!(
        house.chat.tend_calls().await.unwrap(),
        0,
        "what has ended is not renewed"
    );
}

/// Starts an answer that does not end by itself, and reads what has come of it.
async fn begin_answer(house: &House, who: &LiveSession, id: ConversationId, content: &str) -> Receiver<MessageEvent> {
    house.model.script_stream([text_step("small", "Some"), Step::Hang]);
    let ask = SendMessage {
        conversation_id: id,
        content: content.into(),
        stream: true,
    };
    let sent = house.chat.send_message(&by(who), ask, CancellationToken::new()).await;
    let Ok(MessageAnswer::Stream(mut events)) = sent else {
        panic!("{sent:?}")
    };
    assert!(matches!(events.recv().await, Some(MessageEvent::Started(..))));
    assert!(matches!(events.recv().await, Some(MessageEvent::Delta(..))));
    events
}

/// What has been said and answered, with the statuses.
async fn said(house: &House, who: &LiveSession, id: ConversationId) -> Vec<(String, MessageStatus)> {
    let messages = house.chat.list_messages(who.user.id, id, None, 100).await.unwrap();
    messages.items.into_iter().map(|m| (m.content, m.status)).collect()
}

#[tokio::test]
async fn a_conversation_is_free_a_lease_after_its_process_died() {
    let house = House::new().await;
    let who = house.somebody("ada@example.com").await;
    let new = NewConversation::default();
    let id = house.chat.create_conversation(who.user.id, new).await.unwrap().id;
    let mut late = begin_answer(&house, &who, id, "one").await;
    let busy = async || matches!(talk(&house, &who, id, "busy").await, Err(SendMessageError::Busy));
    for _ in 0..5 {
        house.clock.advance_seconds(LEASE.as_secs() / 3);
        house.chat.tend_calls().await.unwrap();
        assert!(busy().await);
    }
    house.clock.advance_seconds(LEASE.as_secs() - 1);
    assert!(busy().await);
    house.clock.advance_seconds(1);
    // The next message takes the conversation over, and is answered.
    let next = begin_answer(&house, &who, id, "two").await;
    let failed = (String::new(), MessageStatus::Failed);
    assert_eq!(said(&house, &who, id).await[1], failed);
    // The one that was slow, not dead, comes to its end now: it writes nothing and frees nothing.
    late.close();
    while late.recv().await.is_some() {}
    house.chat_calls_are(1).await;
    assert_eq!(said(&house, &who, id).await[1], failed);
    assert!(busy().await);
    drop(next);
    house.chat.settled().await;
    let statuses: Vec<MessageStatus> = said(&house, &who, id).await.into_iter().map(|(_, s)| s).collect();
    assert_eq!(
        statuses,
        [
            MessageStatus::Complete,
            MessageStatus::Failed,
            MessageStatus::Complete,
            MessageStatus::Cancelled
        ]
    );
}

#[tokio::test]
async fn a_repeated_request_finds_what_it_made_before_it_died() {
    let house = House::new().await;
    let who = house.somebody("ada@example.com").await;
    let ids = SeededIds::new(42);
    let new = || NewConversation {
        id: Some(ConversationId(ids.uuid())),
        title: Some("T".into()),
        ..NewConversation::default()
    };
    let (first, other) = (new(), new());
    let again = NewConversation { id: first.id, ..new() };
    let made = house.chat.create_conversation(who.user.id, first).await.unwrap();
    let found = house.chat.create_conversation(who.user.id, again).await.unwrap();
    assert_eq!(found, made);
    let eve = house.somebody("eve@example.com").await.user.id;
    let stolen = NewConversation {
        id: Some(made.id),
        ..NewConversation::default()
    };
    assert!(house.chat.create_conversation(eve, stolen).await.is_err());
    house.chat.create_conversation(who.user.id, other).await.unwrap();
    let list = house.chat.list_conversations(who.user.id, None, 9).await.unwrap();
    assert_eq!(list.items.len(), 2);
}

#[tokio::test]
async fn the_sweep_frees_a_conversation_and_fails_its_answer() {
    let house = House::new().await;
    let who = house.somebody("ada@example.com").await;
    let new = NewConversation::default();
    let id = house.chat.create_conversation(who.user.id, new).await.unwrap().id;
    let mut late = begin_answer(&house, &who, id, "one").await;
    house.clock.advance_seconds(2 * LEASE.as_secs());
    assert_eq!(house.chat.sweep_calls().await.unwrap(), 1);
    let failed = (String::new(), MessageStatus::Failed);
    assert_eq!(said(&house, &who, id).await[1], failed);
    late.close();
    house.chat_calls_are(0).await;
    assert_eq!(said(&house, &who, id).await[1], failed);
    assert!(talk(&house, &who, id, "two").await.is_ok());
}

#[tokio::test]
async fn an_answer_that_lost_its_conversation_says_so() {
    let house = Arc::new(House::new().await);
    let who = house.somebody("ada@example.com").await;
    let new = NewConversation::default();
    let id = house.chat.create_conversation(who.user.id, new).await.unwrap().id;
    house.model.script_stream([
        text_step("small", "Some"),
        Step::Wait(Duration::from_millis(300)),
        done_step(),
    ]);
    let answering = tokio::spawn({
        let (house, who) = (house.clone(), who.clone());
        async move { talk(&house, &who, id, "one").await }
    });
    house.chat_calls_are(1).await;
    house.clock.advance_seconds(2 * LEASE.as_secs());
    assert_eq!(house.chat.sweep_calls().await.unwrap(), 1);
    let outcome = answering.await.unwrap();
    assert!(
        matches!(outcome, Err(SendMessageError::Chat(ChatError::NotKept))),
        "{outcome:?}"
    );
}

async fn talk(
    house: &House,
    who: &LiveSession,
    id: ConversationId,
    content: &str,
) -> Result<Message, SendMessageError> {
    let ask = SendMessage {
        conversation_id: id,
        content: content.into(),
        stream: false,
    };
    match house.chat.send_message(&by(who), ask, CancellationToken::new()).await? {
        MessageAnswer::Whole(message, _) => Ok(message),
        MessageAnswer::Stream(_) => panic!("a stream"),
    }
}

#[tokio::test]
async fn a_conversation_remembers_its_recent_turns() {
    let house = House::new().await;
    let who = house.somebody("ada@example.com").await;
    let new = NewConversation {
        id: None,
        title: Some("T".into()),
        model: None,
        instructions: Some("Be brief.".into()),
        assistant: None,
    };
    let id = house.chat.create_conversation(who.user.id, new).await.unwrap().id;
    house.model.script_stream([
        text_step("small", "Hel"),
        text_step("small", "lo"),
        usage_step("small", USAGE),
        done_step(),
    ]);
    let answer = talk(&house, &who, id, "Hi").await.unwrap();
    assert_eq!(
        (answer.content.as_str(), answer.status, answer.usage),
        ("Hello", MessageStatus::Complete, Some(USAGE))
    );
    talk(&house, &who, id, "Again").await.unwrap();
    let sent: serde_json::Value = serde_json::from_slice(&house.model.calls()[1].call.body).unwrap();
    let said: Vec<(&str, &str)> = sent["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| (m["role"].as_str().unwrap(), m["content"].as_str().unwrap()))
        .collect();
    assert_eq!(
        said,
        [
            ("system", "Be brief."),
            ("user", "Hi"),
            ("assistant", "Hello"),
            ("user", "Again")
        ]
    );
    let page = house.chat.list_messages(who.user.id, id, None, 3).await.unwrap();
    assert!(page.more);
    assert_eq!(
        page.items.iter().map(|m| m.role.as_str()).collect::<Vec<_>>(),
        ["user", "assistant", "user"]
    );
    let rest = house
        .chat
        .list_messages(who.user.id, id, Some(page.items[2].id), 3)
        .await
        .unwrap();
    assert_eq!((rest.items.len(), rest.more), (1, false));
}

#[tokio::test]
async fn an_answer_is_stored_in_every_ending() {
    let house = House::new().await;
    let who = house.somebody("ada@example.com").await;
    let id = house
        .chat
        .create_conversation(who.user.id, NewConversation::default())
        .await
        .unwrap()
        .id;
    let failed = || provider_error(ProviderErrorKind::Upstream { status: 500 });
    house
        .model
        .script_stream([text_step("small", "Hal\0f"), Step::Fail(failed())]);
    assert!(matches!(
        talk(&house, &who, id, "one").await,
        Err(SendMessageError::Chat(ChatError::Provider(_)))
    ));
    house.model.script_stream([Step::Fail(failed())]);
    assert!(talk(&house, &who, id, "two").await.is_err());
    house.model.script_stream([text_step("small", "Some"), Step::Hang]);
    let ask = SendMessage {
        conversation_id: id,
        content: "three".into(),
        stream: true,
    };
    let MessageAnswer::Stream(mut events) = house
        .chat
        .send_message(&by(&who), ask, CancellationToken::new())
        .await
        .unwrap()
    else {
        panic!("whole")
    };
    assert!(matches!(events.recv().await, Some(MessageEvent::Started(m, _)) if m.status == MessageStatus::InProgress));
    assert!(matches!(events.recv().await, Some(MessageEvent::Delta(_, text, _)) if text == "Some"));
    assert!(matches!(
        talk(&house, &who, id, "at once").await,
        Err(SendMessageError::Busy)
    ));
    drop(events);
    house.chat.settled().await;
    let stored: Vec<(String, MessageStatus)> = house
        .chat
        .list_messages(who.user.id, id, None, 100)
        .await
        .unwrap()
        .items
        .into_iter()
        .filter(|m| m.role.as_str() == "assistant")
        .map(|m| (m.content, m.status))
        .collect();
    let expected = [
        ("Hal\u{fffd}f", MessageStatus::Partial),
        ("", MessageStatus::Failed),
        ("Some", MessageStatus::Cancelled),
    ];
    assert_eq!(stored, expected.map(|(text, status)| (text.to_owned(), status)));
    let level = house.level(Owner::account(who.user.id), METER_MESSAGES).await;
    assert_eq!(
        (level.used, level.reserved),
        (2, 0),
        "the one that failed before anything came is not counted"
    );
}

#[tokio::test]
async fn a_streamed_answer_ends_with_the_stored_message() {
    let house = House::new().await;
    let who = house.somebody("ada@example.com").await;
    let id = house
        .chat
        .create_conversation(who.user.id, NewConversation::default())
        .await
        .unwrap()
        .id;
    let ask = SendMessage {
        conversation_id: id,
        content: "Hi".into(),
        stream: true,
    };
    let MessageAnswer::Stream(mut events) = house
        .chat
        .send_message(&by(&who), ask, CancellationToken::new())
        .await
        .unwrap()
    else {
        panic!("whole")
    };
    let (mut text, mut last) = (String::new(), None);
    while let Some(event) = events.recv().await {
        match event {
            MessageEvent::Delta(_, more, _) => text.push_str(&more),
            other => last = Some(other),
        }
    }
    let Some(MessageEvent::Completed(message)) = last else {
        panic!("{last:?}")
    };
    assert_eq!(message.content, text);
    let stored = house.chat.list_messages(who.user.id, id, None, 10).await.unwrap().items;
    assert_eq!(stored[1], message);
    // A provider that fails in the middle of a stream ends it with an error.
    house.model.script_stream([
        text_step("small", "Hal"),
        Step::Fail(provider_error(ProviderErrorKind::Transport)),
    ]);
    let ask = SendMessage {
        conversation_id: id,
        content: "Hi".into(),
        stream: true,
    };
    let MessageAnswer::Stream(mut events) = house
        .chat
        .send_message(&by(&who), ask, CancellationToken::new())
        .await
        .unwrap()
    else {
        panic!("whole")
    };
    let mut last = None;
    while let Some(event) = events.recv().await {
        last = Some(event);
    }
    assert!(matches!(last, Some(MessageEvent::Failed(ChatError::Provider(_)))));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_messages_at_once_one_is_answered() {
    let house = House::new().await;
    let who = house.somebody("ada@example.com").await;
    let id = house
        .chat
        .create_conversation(who.user.id, NewConversation::default())
        .await
        .unwrap()
        .id;
    house.model.script_stream([
        text_step("small", "Hello"),
        Step::Wait(Duration::from_secs(3)),
        done_step(),
    ]);
    let house = Arc::new(house);
    let tries = (0..64).map(|_| {
        let (house, who) = (house.clone(), who.clone());
        tokio::spawn(async move { talk(&house, &who, id, "Hi").await })
    });
    let (mut answered, mut busy) = (0, 0);
    for outcome in futures_util::future::join_all(tries).await {
        match outcome.unwrap() {
            Ok(_) => answered += 1,
            Err(SendMessageError::Busy) => busy += 1,
            Err(e) => panic!("{e}"),
        }
    }
    assert_eq!((answered, busy), (1, 63));
    assert!(
        talk(&house, &who, id, "and now").await.is_ok(),
        "the claim ends with the answer"
    );
}

#[tokio::test]
async fn bad_conversations_are_refused_and_strangers_find_nothing() {
    let house = House::new().await;
    let who = house.somebody("ada@example.com").await;
    let (ada, eve) = (who.user.id, house.somebody("eve@example.com").await);
    let bad = NewConversation {
        id: None,
        title: Some(" ".into()),
        model: Some(String::new()),
        instructions: Some("x".repeat(20_000)),
        assistant: None,
    };
    let ConversationError::Refused(faults) = house.chat.create_conversation(ada, bad).await.unwrap_err() else {
        panic!("not refused")
    };
    assert_eq!(
        faults.iter().map(|f| f.field).collect::<Vec<_>>(),
        ["title", "model", "instructions"]
    );
    let id = house
        .chat
        .create_conversation(ada, NewConversation::default())
        .await
        .unwrap()
        .id;
    let stranger = eve.user.id;
    assert!(matches!(
        house.chat.get_conversation(stranger, id).await,
        Err(ConversationError::NotFound)
    ));
    assert!(matches!(
        house
            .chat
            .change_conversation(stranger, id, ChangeConversation::default())
            .await,
        Err(ConversationError::NotFound)
    ));
    assert!(matches!(
        house.chat.delete_conversation(stranger, id).await,
        Err(ConversationError::NotFound)
    ));
    assert!(matches!(
        house.chat.list_messages(stranger, id, None, 10).await,
        Err(ConversationError::NotFound)
    ));
    assert!(matches!(
        talk(&house, &eve, id, "hi").await,
        Err(SendMessageError::NotFound)
    ));
    for content in ["", "  \n", "a\0b", &"x".repeat(1001)] {
        assert!(matches!(
            talk(&house, &who, id, content).await,
            Err(SendMessageError::Refused(_))
        ));
    }
    let change = ChangeConversation {
        title: Some(Some("New".into())),
        model: Some(Some("large".into())),
        ..ChangeConversation::default()
    };
    assert_eq!(
        house
            .chat
            .change_conversation(ada, id, change)
            .await
            .unwrap()
            .title
            .as_deref(),
        Some("New")
    );
    assert!(matches!(
        talk(&house, &who, id, "hi").await,
        Err(SendMessageError::Chat(ChatError::Refused(
            CallRefused::ModelNotInPlan { .. }
        )))
    ));
    assert_eq!(
        house.chat.list_conversations(ada, None, 10).await.unwrap().items.len(),
        1
    );
    house.chat.delete_conversation(ada, id).await.unwrap();
    assert!(matches!(
        house.chat.get_conversation(ada, id).await,
        Err(ConversationError::NotFound)
    ));
    assert_eq!(RequestId(uuid::Uuid::nil()).to_string().len(), 36);
}
