//! What becomes of answers whose client goes away, who providers are told asks, and what is counted of them.

use std::time::{Duration, Instant};

use anteroom_domain::billing::{METER_MESSAGES, METER_SPEND, Owner};
use anteroom_domain::chat::{Outcome, SendUser, TokenUsage};
use anteroom_ports::chat::{ProviderErrorKind, TimeoutStage};
use anteroom_services::access::Principal;
use anteroom_services::chat::{ChatAnswer, ChatError, OnDisconnect, RoutingOptions};
use anteroom_services::sessions::LiveSession;
use anteroom_testkit::StreamEnd;
use anteroom_testkit::chat::{
    CountedCall, DEFAULT_USAGE, Step, done_step, provider_error, reply, text_step, usage_step,
};
use tokio_util::sync::CancellationToken;

use crate::house::{House, Routed};

/// What the provider counts, other than what anybody would estimate.
const USAGE: TokenUsage = TokenUsage {
    prompt_tokens: 1234,
    completion_tokens: 567,
    cached_tokens: 0,
    reasoning_tokens: 0,
    ..TokenUsage::NONE
};

async fn draining(longest: Duration) -> House {
    House::routed(Routed {
        on_disconnect: OnDisconnect::Drain(longest),
        ..Routed::plain(&["small"])
    })
    .await
}

fn by(who: &LiveSession) -> Principal {
    who.clone().into()
}

fn body(stream: bool) -> String {
    format!(r#"{{"model":"small","stream":{stream},"max_tokens":2000,"messages":[{{"role":"user","content":"hi"}}]}}"#)
}

/// Asks in a task of its own, until the model has been asked.
async fn asking(house: &House, who: &LiveSession, stream: bool, gone: &CancellationToken) -> Asking {
    let number = house.model.calls().len();
    let (chat, who, gone) = (house.chat.clone(), by(who), gone.clone());
    let call = tokio::spawn(async move { chat.complete_chat(&who, body(stream).as_bytes(), gone).await });
    while house.model.calls().len() == number {
        tokio::task::yield_now().await;
    }
    call
}

type Asking = tokio::task::JoinHandle<Result<ChatAnswer, ChatError>>;

/// What was spent of the day's money: a token is a thousand nano dollars here.
async fn spent(house: &House) -> i64 {
    let level = house.level(Owner::DEPLOYMENT, METER_SPEND).await;
    assert_eq!(level.reserved, 0);
    level.used / 1000
}

async fn messages(house: &House, who: &LiveSession) -> i64 {
    house.level(Owner::account(who.user.id), METER_MESSAGES).await.used
}

fn late() -> Step {
    Step::Wait(Duration::from_millis(300))
}

#[tokio::test]
async fn an_answer_that_is_drained_is_booked_as_the_provider_counts_it() {
    let house = draining(Duration::from_secs(30)).await;
    let who = house.somebody("ada@example.com").await;
    // In the middle of a stream, before its first token, and while a whole answer is waited for.
    let rest = || [late(), text_step("small", "!"), usage_step("small", USAGE), done_step()];
    house
        .model
        .script_stream([text_step("small", "Hello")].into_iter().chain(rest()));
    let gone = CancellationToken::new();
    let answer = asking(&house, &who, true, &gone).await.await.unwrap().unwrap();
    gone.cancel();
    drop(answer);
    assert_eq!(house.model.ended(0).await, StreamEnd::Finished);

    house.model.script_stream(rest());
    let gone = CancellationToken::new();
    let call = asking(&house, &who, true, &gone).await;
    gone.cancel();
    drop(call.await.unwrap());
    assert_eq!(house.model.ended(1).await, StreamEnd::Finished);

    let whole = reply("small", "late", Some(USAGE));
    house.model.script_reply_after(Duration::from_millis(300), Ok(whole));
    let gone = CancellationToken::new();
    let call = asking(&house, &who, false, &gone).await;
    gone.cancel();
    drop(call.await.unwrap());
    assert_eq!(house.model.ended(2).await, StreamEnd::Finished);

    house.chat.settled().await;
    assert_eq!(spent(&house).await, 3 * (1234 + 567));
    assert_eq!(messages(&house, &who).await, 3);
    let outcomes: Vec<Outcome> = house.observer.calls().iter().map(|call| call.outcome).collect();
    assert_eq!(outcomes, [Outcome::Cancelled; 3]);
}

#[tokio::test]
async fn draining_ends_at_its_deadline_and_with_the_session() {
    let house = draining(Duration::from_millis(400)).await;
    let who = house.somebody("ada@example.com").await;
    for stream in [true, false] {
        let number = house.model.calls().len();
        house.model.script_stream([text_step("small", "Hello"), Step::Hang]);
        house
            .model
            .script_reply_after(Duration::from_secs(3600), Ok(reply("small", "late", None)));
        let gone = CancellationToken::new();
        let call = asking(&house, &who, stream, &gone).await;
        let begun = Instant::now();
        gone.cancel();
        assert_eq!(house.model.ended(number).await, StreamEnd::Dropped);
        let took = begun.elapsed();
        assert!(
            took > Duration::from_millis(350) && took < Duration::from_millis(1500),
            "{took:?}"
        );
        drop(call.await.unwrap());
    }
    let house = draining(Duration::from_secs(60)).await;
    let who = house.somebody("eve@example.com").await;
    house.model.script_stream([text_step("small", "Hello"), Step::Hang]);
    let gone = CancellationToken::new();
    let answer = asking(&house, &who, true, &gone).await.await.unwrap();
    gone.cancel();
    drop(answer);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(house.model.calls()[0].end, StreamEnd::Running, "it is read on");
    let begun = Instant::now();
    house
        .sessions
        .log_out(&who.session, &anteroom_services::Client::default())
        .await
        .unwrap();
    assert_eq!(house.model.ended(0).await, StreamEnd::Dropped);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn draining_outlives_neither_the_process_nor_the_longest_call() {
    let house = draining(Duration::from_secs(60)).await;
    let who = house.somebody("ada@example.com").await;
    house.model.script_stream([text_step("small", "Hello"), Step::Hang]);
    let gone = CancellationToken::new();
    let answer = asking(&house, &who, true, &gone).await.await.unwrap();
    gone.cancel();
    drop(answer);
    // The longest call of this house takes two seconds.
    let begun = Instant::now();
    assert_eq!(house.model.ended(0).await, StreamEnd::Dropped);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    for stream in [true, false] {
        let number = house.model.calls().len();
        house.model.script_stream([Step::Hang]);
        house
            .model
            .script_reply_after(Duration::from_secs(3600), Ok(reply("small", "late", None)));
        let gone = CancellationToken::new();
        let call = asking(&house, &who, stream, &gone).await;
        gone.cancel();
        tokio::time::sleep(Duration::from_millis(50)).await;
        house.chat.stop_draining();
        assert!(matches!(call.await.unwrap(), Err(ChatError::ClientGone)));
        assert_eq!(house.model.ended(number).await, StreamEnd::Dropped);
    }
    house.chat.settled().await;
    spent(&house).await;
}

/// Nobody wants the answer: what it would cost to ask another, nobody pays for.
#[tokio::test]
async fn nothing_else_is_asked_for_an_answer_that_nobody_wants() {
    let house = House::routed(Routed {
        on_disconnect: OnDisconnect::Drain(Duration::from_secs(30)),
        options: RoutingOptions {
            retries: 3,
            ..Routed::plain(&[]).options
        },
        ..Routed::plain(&["small"])
    })
    .await;
    let who = house.somebody("ada@example.com").await;
    let failure = provider_error(ProviderErrorKind::Upstream { status: 500 });
    house.model.script_stream([late(), Step::Fail(failure)]);
    let gone = CancellationToken::new();
    let call = asking(&house, &who, true, &gone).await;
    gone.cancel();
    assert!(call.await.unwrap().is_err());
    house.chat.settled().await;
    assert_eq!(house.model.calls().len(), 1);
    assert_eq!((spent(&house).await, messages(&house, &who).await), (0, 0));
}

async fn told(send_user: SendUser, members: &str) -> String {
    let house = House::routed(Routed {
        send_user,
        ..Routed::plain(&["small"])
    })
    .await;
    let mut told = Vec::new();
    for email in ["ada@example.com", "eve@example.com"] {
        let who = house.somebody(email).await;
        let body = format!(r#"{{"model":"small",{members}"messages":[ 1.50 ]}}"#);
        for _ in 0..2 {
            let gone = CancellationToken::new();
            house
                .chat
                .complete_chat(&by(&who), body.as_bytes(), gone)
                .await
                .unwrap();
            let sent = house.model.calls().pop().unwrap().call.body;
            told.push(String::from_utf8(sent.to_vec()).unwrap());
        }
    }
    assert_eq!((&told[0], &told[2]), (&told[1], &told[3]), "it is the same each time");
    assert_eq!(told[0] == told[2], !told[0].contains("user"), "accounts are told apart");
    told.swap_remove(0)
}

#[tokio::test]
async fn providers_are_told_a_name_that_says_nothing() {
    let said = r#""user":"ada@example.com","#;
    let replaced = told(SendUser::Replace, said).await;
    let name = replaced
        .strip_prefix(r#"{"model":"small","user":""#)
        .and_then(|rest| rest.strip_suffix(r#"","messages":[ 1.50 ]}"#));
    let name = name.unwrap_or_else(|| panic!("{replaced}"));
    assert!(
        name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit()),
        "{name}"
    );
    assert_eq!(told(SendUser::Always, said).await, replaced);
    let none = r#"{"model":"small","messages":[ 1.50 ]}"#;
    assert_eq!(told(SendUser::Never, said).await, none);
    assert_eq!(told(SendUser::Replace, "").await, none);
    assert_eq!(
        told(SendUser::Always, "").await,
        format!(r#"{{"model":"small","messages":[ 1.50 ],"user":"{name}"}}"#)
    );
}

#[tokio::test]
async fn every_try_of_a_target_is_counted_once() {
    let mut routed = Routed::plain(&["small"]);
    let backup = anteroom_domain::chat::ModelAlias::plain("backup", "b").targets;
    routed.aliases[0].targets.extend(backup);
    let house = House::routed(routed).await;
    let who = house.somebody("ada@example.com").await;
    let timeout = ProviderErrorKind::Timeout(TimeoutStage::FirstToken);
    house.model.script_refusal(provider_error(timeout));
    house.backup.script_stream([
        text_step("b", "Hello"),
        Step::Fail(provider_error(ProviderErrorKind::Transport)),
    ]);
    let ask = async |stream: bool| {
        let gone = CancellationToken::new();
        let answer = house.chat.complete_chat(&by(&who), body(stream).as_bytes(), gone).await;
        if let ChatAnswer::Stream { mut events, .. } = answer.unwrap() {
            while events.recv().await.is_some() {}
        }
        house.chat_calls_are(0).await;
    };
    ask(true).await;
    ask(true).await;
    ask(false).await;
    house.chat.settled().await;
    let counted = |target: &str, outcome, failure, streamed, usage| CountedCall {
        target: target.into(),
        outcome,
        failure,
        first_token: streamed,
        operation: "chat",
        usage,
        first_chunk: streamed,
    };
    // What is only estimated is not counted as used.
    let used = Some(DEFAULT_USAGE);
    assert_eq!(
        house.observer.calls(),
        [
            counted("main/small", Outcome::Failed, Some("timeout"), false, None),
            counted("backup/b", Outcome::Partial, Some("transport"), true, None),
            counted("main/small", Outcome::Complete, None, true, used),
            counted("main/small", Outcome::Complete, None, false, used),
        ]
    );
}

/// Only a refusal costs nothing: whatever a provider may have worked on, it bills.
#[tokio::test]
async fn what_failed_before_its_first_word_is_booked_unless_it_was_refused() {
    let refusals = [
        ProviderErrorKind::Auth,
        ProviderErrorKind::BadRequest {
            status: 400,
            error: None,
        },
        ProviderErrorKind::RateLimited { retry_after: None },
        ProviderErrorKind::Upstream { status: 503 },
        ProviderErrorKind::Unreachable,
        ProviderErrorKind::Timeout(TimeoutStage::Connect),
        ProviderErrorKind::Unsupported { parameter: "n".into() },
    ];
    let worked_on = [
        ProviderErrorKind::Transport,
        ProviderErrorKind::Timeout(TimeoutStage::FirstToken),
        ProviderErrorKind::Timeout(TimeoutStage::Total),
        ProviderErrorKind::Protocol { error: None },
    ];
    let house = House::routed(Routed::plain(&["small"])).await;
    let who = house.somebody("ada@example.com").await;
    let cases = refusals.map(|kind| (kind, false)).into_iter();
    for (kind, booked) in cases.chain(worked_on.map(|kind| (kind, true))) {
        for stream in [true, false] {
            let before = (spent(&house).await, messages(&house, &who).await);
            if stream {
                house.model.script_refusal(provider_error(kind.clone()));
            } else {
                house.model.script_reply(Err(provider_error(kind.clone())));
            }
            let gone = CancellationToken::new();
            let answer = house.chat.complete_chat(&by(&who), body(stream).as_bytes(), gone).await;
            assert!(answer.is_err(), "{kind:?}");
            house.chat_calls_are(0).await;
            let (spent, messages) = (spent(&house).await - before.0, messages(&house, &who).await - before.1);
            assert_eq!((spent > 0, messages), (booked, i64::from(booked)), "{kind:?}");
        }
    }
    // One that was worked on in vain is booked although the next refused it.
    let mut routed = Routed::plain(&["small"]);
    let backup = anteroom_domain::chat::ModelAlias::plain("backup", "b").targets;
    routed.aliases[0].targets.extend(backup);
    let house = House::routed(routed).await;
    let who = house.somebody("ada@example.com").await;
    let late = ProviderErrorKind::Timeout(TimeoutStage::FirstToken);
    house.model.script_reply(Err(provider_error(late)));
    house.backup.script_reply(Err(provider_error(ProviderErrorKind::Auth)));
    let gone = CancellationToken::new();
    let answer = house.chat.complete_chat(&by(&who), body(false).as_bytes(), gone).await;
    assert!(answer.is_err());
    house.chat.settled().await;
    assert_eq!(messages(&house, &who).await, 1);
    assert!(house.level(Owner::DEPLOYMENT, METER_SPEND).await.used > 0);
}

/// What has begun and brought no word is not forgiven either, and what was counted of it stands.
#[tokio::test]
async fn a_stream_that_breaks_off_without_a_word_is_booked() {
    let house = House::routed(Routed::plain(&["small"])).await;
    let who = house.somebody("ada@example.com").await;
    house.model.script_stream([
        usage_step("small", USAGE),
        Step::Fail(provider_error(ProviderErrorKind::Upstream { status: 500 })),
    ]);
    let answer = asking(&house, &who, true, &CancellationToken::new())
        .await
        .await
        .unwrap();
    if let ChatAnswer::Stream { mut events, .. } = answer.unwrap() {
        while events.recv().await.is_some() {}
    }
    house.chat.settled().await;
    assert_eq!(house.observer.calls()[0].outcome, Outcome::Failed);
    assert_eq!(spent(&house).await, 1234 + 567);
    assert_eq!(messages(&house, &who).await, 1);
}

/// A count that came before the end is of a part: what came after it counts as well.
#[tokio::test]
async fn a_cut_stream_is_never_booked_below_what_came() {
    let early = TokenUsage {
        completion_tokens: 1,
        ..USAGE
    };
    let long = "x".repeat(400);
    let house = House::routed(Routed::plain(&["small"])).await;
    let who = house.somebody("ada@example.com").await;
    let failure = provider_error(ProviderErrorKind::Transport);
    let (failed, stopped) = (Step::Fail(failure), Step::Hang);
    for (number, end) in [failed, stopped].into_iter().enumerate() {
        let begun = [usage_step("small", early), text_step("small", &long)];
        house.model.script_stream(begun.into_iter().chain([end]));
        let gone = CancellationToken::new();
        let answer = asking(&house, &who, true, &gone).await.await.unwrap().unwrap();
        let ChatAnswer::Stream { mut events, .. } = answer else {
            panic!("whole")
        };
        // The chunk that says what was used is not for who did not ask.
        events.recv().await.unwrap();
        gone.cancel();
        while events.recv().await.is_some() {}
        house.chat_calls_are(0).await;
        let calls = i64::try_from(number).unwrap() + 1;
        assert_eq!(spent(&house).await, calls * (1234 + 100));
    }
    // One that counts more than anybody would estimate is believed.
    let begun = [text_step("small", "Hello"), usage_step("small", USAGE), Step::Hang];
    house.model.script_stream(begun);
    let gone = CancellationToken::new();
    let answer = asking(&house, &who, true, &gone).await.await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    gone.cancel();
    drop(answer);
    house.chat_calls_are(0).await;
    assert_eq!(spent(&house).await, 2 * (1234 + 100) + 1234 + 567);
}
