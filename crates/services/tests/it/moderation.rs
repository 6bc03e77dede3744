//! What goes to the model and comes from it is looked at: what is refused is answered, recorded and booked, and nothing
//! of it gets through, however it is cut.

use std::sync::Arc;

use anteroom_domain::billing::{METER_MESSAGES, METER_SPEND, Owner};
use anteroom_domain::chat::{Consequence, Direction, Message, MessageStatus, Pace};
use anteroom_ports::audit::AuditFilter;
use anteroom_ports::chat::ProviderErrorKind;
use anteroom_services::Client;
use anteroom_services::access::Principal;
use anteroom_services::chat::{
    ChangeConversation, ChatAnswer, ChatError, MessageAnswer, MessageEvent, ModerationOptions, NewConversation,
    RegenerateAnswer, Relayed, SendMessage, SendMessageError,
};
use anteroom_services::sessions::LiveSession;
use anteroom_testkit::ScriptedModerator;
use anteroom_testkit::chat::{DEFAULT_USAGE, Step, StreamEnd, done_step, provider_error, reply, text_step, usage_step};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::house::{House, Routed};

const REFUSAL: &str = "Not here.";

async fn house(moderator: &Arc<ScriptedModerator>, fail_open: bool) -> House {
    House::routed(Routed {
        moderation: ModerationOptions {
            moderator: Some(moderator.clone()),
            fail_open,
            refusal: REFUSAL.into(),
            hold_bytes: 64,
            look_behind_bytes: 64,
        },
        ..Routed::plain(&["small"])
    })
    .await
}

fn refusing() -> Arc<ScriptedModerator> {
    Arc::new(ScriptedModerator::default().refusing("secret word"))
}

fn by(who: &LiveSession) -> Principal {
    who.clone().into()
}

async fn ask(house: &House, who: &LiveSession, said: &str, stream: bool) -> Result<ChatAnswer, ChatError> {
    let body = json!({
        "model": "small", "stream": stream, "max_tokens": 100, "stream_options": { "include_usage": true },
        "messages": [{ "role": "user", "content": said }],
    });
    let (body, gone) = (body.to_string(), CancellationToken::new());
    house.chat.complete_chat(&by(who), body.as_bytes(), gone).await
}

fn whole(answer: ChatAnswer) -> Value {
    match answer {
        ChatAnswer::Whole { body, .. } => serde_json::from_slice(&body).unwrap(),
        ChatAnswer::Stream { .. } => panic!("not whole"),
    }
}

/// The text, the reason for its end, and what was used, as a stream said it; and how it ended.
async fn drain(answer: ChatAnswer) -> (String, Option<String>, Value, Result<(), ChatError>) {
    let ChatAnswer::Stream { mut events, .. } = answer else {
        panic!("not a stream")
    };
    let (mut text, mut reason, mut usage) = (String::new(), None, Value::Null);
    loop {
        match events.recv().await.unwrap() {
            Relayed::Chunk(data) => {
                let chunk: Value = serde_json::from_slice(&data).unwrap();
                text.push_str(chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
                let why = chunk["choices"][0]["finish_reason"].as_str();
                reason = why.map(str::to_owned).or(reason);
                if chunk["usage"].is_object() {
                    usage = chunk["usage"].clone();
                }
            }
            Relayed::Done => return (text, reason, usage, Ok(())),
            Relayed::Failed(e) => return (text, reason, usage, Err(*e)),
        }
    }
}

/// What the audit log has of an act: rule and direction.
async fn audited(house: &House, act: &str) -> Vec<(String, String)> {
    let filter = AuditFilter {
        act: Some(act.to_owned()),
        ..AuditFilter::default()
    };
    let mut read = house.store.read().await.unwrap();
    let rows = read.page_audit(&filter, None, 100).await.unwrap();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    for row in &rows {
        assert!(!row.details_text().contains("secret word in"), "never the text");
        assert!(row.details.contains_key("call_id"));
    }
    let of = |row: anteroom_domain::audit::AuditEntry| (word(&row.details["rule"]), word(&row.details["direction"]));
    rows.into_iter().map(of).collect()
}

async fn messages_used(house: &House, who: &LiveSession) -> (i64, i64) {
    let level = house.level(Owner::account(who.user.id), METER_MESSAGES).await;
    (level.used, level.reserved)
}

fn rule() -> String {
    "rule-of-secret word".to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_question_is_answered_without_anybody_being_asked() {
    let moderator = refusing();
    let house = house(&moderator, false).await;
    let who = house.somebody("ada@example.com").await;
    let answer = whole(ask(&house, &who, "the secret word in a question", false).await.unwrap());
    assert_eq!(
        (
            &answer["choices"][0]["message"]["content"],
            &answer["choices"][0]["finish_reason"],
            &answer["model"]
        ),
        (&json!(REFUSAL), &json!("content_filter"), &json!("small"))
    );
    let answer = ask(&house, &who, "the secret word in a question", true).await.unwrap();
    let (text, reason, usage, ended) = drain(answer).await;
    ended.unwrap();
    assert_eq!((text.as_str(), reason.as_deref()), (REFUSAL, Some("content_filter")));
    assert_eq!(usage["total_tokens"], 0);
    assert!(house.model.calls().is_empty());
    house.chat.settled().await;
    assert_eq!(messages_used(&house, &who).await, (0, 0), "it counts against no limit");
    let both = vec![(rule(), "input".to_owned()), (rule(), "input".to_owned())];
    assert_eq!(audited(&house, "chat.moderation.refused").await, both);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_a_request_says_is_looked_at() {
    let moderator = refusing();
    let house = house(&moderator, false).await;
    let who = house.somebody("ada@example.com").await;
    let word = "the secret word";
    for messages in [
        json!([{ "role": "system", "content": word }, { "role": "user", "content": "hi" }]),
        json!([{ "role": "user", "content": word }, { "role": "assistant", "content": "so" }, { "role": "user", "content": "hi" }]),
        json!([{ "role": "user", "content": [{ "type": "text", "text": "hi" }, { "type": "text", "text": word }] }]),
        json!([{ "role": "user", "content": [{ "type": "some_new_kind", "words": word }] }]),
        json!([{ "role": "user", "content": "hi" }, { "role": "tool", "tool_call_id": "c", "content": word }]),
    ] {
        let body = json!({ "model": "small", "messages": messages }).to_string();
        let answer = house
            .chat
            .complete_chat(&by(&who), body.as_bytes(), CancellationToken::new())
            .await;
        assert_eq!(
            whole(answer.unwrap())["choices"][0]["finish_reason"],
            "content_filter",
            "{body}"
        );
    }
    assert!(house.model.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_answer_is_replaced_and_what_it_used_is_booked() {
    let moderator = refusing();
    let house = house(&moderator, false).await;
    let who = house.somebody("ada@example.com").await;
    house.model.script_reply(Ok(reply(
        "small",
        "here is the secret word in an answer",
        Some(DEFAULT_USAGE),
    )));
    let answer = whole(ask(&house, &who, "hi", false).await.unwrap());
    assert!(!answer.to_string().contains("secret"), "{answer}");
    assert_eq!(
        (
            &answer["choices"][0]["message"]["content"],
            &answer["choices"][0]["finish_reason"]
        ),
        (&json!(REFUSAL), &json!("content_filter"))
    );
    assert_eq!(
        (&answer["id"], &answer["usage"]["prompt_tokens"]),
        (&json!("chatcmpl-scripted"), &json!(7))
    );
    house.chat.settled().await;
    assert_eq!(messages_used(&house, &who).await, (1, 0));
    let spent = house.level(Owner::DEPLOYMENT, METER_SPEND).await;
    assert!(spent.used > 0 && spent.reserved == 0);
    assert_eq!(
        audited(&house, "chat.moderation.refused").await,
        [(rule(), "output".to_owned())]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_split_over_chunks_is_found_before_its_last_part_is_sent() {
    let whole = "It is fine. The secret word is hidden, and more follows after it.";
    // Every way to cut the text in two, and one letter at a time.
    let mut cuts: Vec<Vec<&str>> = (1..whole.len()).map(|at| vec![&whole[..at], &whole[at..]]).collect();
    cuts.push((0..whole.len()).map(|at| &whole[at..=at]).collect());
    cuts.push(vec![whole]);
    for pace in [Pace::Words, Pace::Sentences] {
        let moderator = Arc::new(ScriptedModerator::new(pace).refusing("secret word"));
        let house = house(&moderator, false).await;
        let who = house
            .payer("ada@example.com", anteroom_domain::billing::SubscriptionStatus::Active)
            .await;
        for (number, pieces) in cuts.iter().enumerate() {
            let steps = pieces.iter().map(|piece| text_step("small", piece));
            house.model.script_stream(steps.chain([Step::Hang]).collect::<Vec<_>>());
            let (text, reason, usage, ended) = drain(ask(&house, &who, "hi", true).await.unwrap()).await;
            ended.unwrap();
            assert_eq!(reason.as_deref(), Some("content_filter"), "{pieces:?}");
            assert!(!text.contains("secret word"), "{pieces:?}: {text}");
            let said = text.strip_suffix(REFUSAL).unwrap_or(&text);
            assert!(whole.starts_with(said), "{pieces:?}: {text}");
            assert!(usage["completion_tokens"].as_i64().unwrap() > 0);
            assert_eq!(
                house.model.ended(number).await,
                StreamEnd::Dropped,
                "nothing more is wanted"
            );
        }
        house.chat.settled().await;
        assert_eq!(audited(&house, "chat.moderation.refused").await.len(), cuts.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_harmless_comes_as_it_came() {
    let moderator = refusing();
    let house = house(&moderator, false).await;
    let who = house.somebody("ada@example.com").await;
    let pieces = ["A ", "se", "cret ", "is no ", "w", "ord", ". Good", "bye"];
    let steps: Vec<Step> = pieces.iter().map(|piece| text_step("small", piece)).collect();
    let end = [usage_step("small", DEFAULT_USAGE), done_step()];
    house.model.script_stream(steps.into_iter().chain(end));
    let (text, reason, usage, ended) = drain(ask(&house, &who, "hi", true).await.unwrap()).await;
    ended.unwrap();
    assert_eq!(
        (text, reason, &usage["completion_tokens"]),
        (pieces.concat(), None, &json!(2))
    );

    // What came before a failure is not swallowed with it.
    let failure = provider_error(ProviderErrorKind::Transport);
    house
        .model
        .script_stream([text_step("small", "half a wor"), Step::Fail(failure)]);
    let (text, _, _, ended) = drain(ask(&house, &who, "hi", true).await.unwrap()).await;
    assert!(matches!(ended, Err(ChatError::Provider(_))));
    assert_eq!(text, "half a wor");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_choice_and_no_tool_call_gets_past() {
    let moderator = refusing();
    let house = house(&moderator, false).await;
    let who = house
        .payer("ada@example.com", anteroom_domain::billing::SubscriptionStatus::Active)
        .await;
    let step = |choice: &Value| {
        let Step::Event(anteroom_ports::chat::ChatEvent::Chunk(mut chunk)) = text_step("small", "") else {
            panic!("a chunk")
        };
        chunk.data = json!({ "id": "x", "model": "small", "choices": [choice] })
            .to_string()
            .into();
        Step::Event(anteroom_ports::chat::ChatEvent::Chunk(chunk))
    };
    let tool = |arguments: &str| json!({ "tool_calls": [{ "index": 0, "function": { "arguments": arguments } }] });
    for deltas in [
        [json!({ "content": "the secret" }), json!({ "content": " word " })]
            .map(|delta| json!({ "index": 1, "delta": delta })),
        [tool("{\"a\":\"secret"), tool(" word\"}")].map(|delta| json!({ "index": 0, "delta": delta })),
        [
            json!({ "reasoning_content": "secret" }),
            json!({ "reasoning_content": " word." }),
        ]
        .map(|delta| json!({ "index": 0, "delta": delta })),
    ] {
        let steps: Vec<Step> = deltas.iter().map(&step).chain([done_step()]).collect();
        house.model.script_stream(steps);
        let ChatAnswer::Stream { mut events, .. } = ask(&house, &who, "hi", true).await.unwrap() else {
            panic!("not a stream")
        };
        let mut all = String::new();
        while let Some(Relayed::Chunk(data)) = events.recv().await {
            all.push_str(std::str::from_utf8(&data).unwrap());
        }
        assert!(
            all.contains("content_filter") && !all.contains(" word"),
            "{deltas:?}: {all}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_changes_nothing_and_is_recorded_once() {
    let moderator = ScriptedModerator::default().finding("word", None, Consequence::Flag);
    let house = house(&Arc::new(moderator), false).await;
    let who = house.somebody("ada@example.com").await;
    let steps = ["a word, ", "a word, ", "a word"].map(|text| text_step("small", text));
    house.model.script_stream(steps.into_iter().chain([done_step()]));
    let (text, ..) = drain(ask(&house, &who, "my word", true).await.unwrap()).await;
    assert_eq!(text, "a word, a word, a word");
    house.chat.settled().await;
    let mut rows = audited(&house, "chat.moderation.flagged").await;
    rows.sort();
    let row = |direction: &str| ("rule-of-word".to_owned(), direction.to_owned());
    assert_eq!(rows, [row("input"), row("output")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_can_look_nothing_passes_unless_it_may() {
    let moderator = refusing();
    let house_of = async |fail_open| {
        let house = house(&moderator, fail_open).await;
        let who = house.somebody("ada@example.com").await;
        (house, who)
    };
    let (closed, who) = house_of(false).await;
    moderator.set_away(true);
    for stream in [false, true] {
        let refused = ask(&closed, &who, "hi", stream).await.unwrap_err();
        assert!(matches!(refused, ChatError::ModeratorAway));
    }
    assert!(closed.model.calls().is_empty());
    assert_eq!(messages_used(&closed, &who).await, (0, 0));
    // In the middle of an answer.
    moderator.set_away(false);
    closed.model.script_stream([
        text_step("small", "one "),
        Step::Wait(std::time::Duration::from_millis(300)),
        text_step("small", "two "),
        done_step(),
    ]);
    let answer = ask(&closed, &who, "hi", true).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    moderator.set_away(true);
    let (text, _, _, ended) = drain(answer).await;
    assert!(matches!(ended, Err(ChatError::ModeratorAway)));
    assert_eq!(text, "one ");

    let (open, who) = house_of(true).await;
    whole(ask(&open, &who, "hi", false).await.unwrap());
}

async fn talk(
    house: &House,
    who: &LiveSession,
    id: anteroom_domain::ConversationId,
    content: &str,
    stream: bool,
) -> Message {
    let ask = SendMessage {
        conversation_id: id,
        content: content.into(),
        stream,
    };
    match house
        .chat
        .send_message(&by(who), ask, CancellationToken::new())
        .await
        .unwrap()
    {
        MessageAnswer::Whole(message, _) => message,
        MessageAnswer::Stream(mut events) => {
            let mut streamed = String::new();
            loop {
                match events.recv().await.unwrap() {
                    MessageEvent::Started(..) => {}
                    MessageEvent::Delta(_, text, _) => streamed.push_str(&text),
                    MessageEvent::Completed(message) => {
                        assert_eq!(streamed, message.content);
                        return message;
                    }
                    MessageEvent::Cancelled(message) => panic!("{message:?}"),
                    MessageEvent::Failed(e) => panic!("{e}"),
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_keeps_refusals_and_never_shows_them_to_the_model() {
    let moderator = refusing();
    let house = house(&moderator, false).await;
    let who = house.somebody("ada@example.com").await;
    let new = NewConversation::default();
    let id = house.chat.create_conversation(who.user.id, new).await.unwrap().id;
    let refused = |message: &Message| (message.content.clone(), message.status, message.filtered);
    for stream in [false, true] {
        let answer = talk(&house, &who, id, "the secret word in it", stream).await;
        assert_eq!(refused(&answer), (REFUSAL.into(), MessageStatus::Complete, true));
    }
    assert!(house.model.calls().is_empty());
    assert_eq!(messages_used(&house, &who).await, (0, 0));

    let pieces = ["Well: ", "the sec", "ret word", " is out"].map(|text| text_step("small", text));
    house.model.script_stream(pieces.into_iter().chain([done_step()]));
    let answer = talk(&house, &who, id, "hi", true).await;
    assert_eq!(
        refused(&answer),
        ("Well: the sec".into(), MessageStatus::Complete, true)
    );
    let answer = talk(&house, &who, id, "and now?", false).await;
    assert!(!answer.filtered);
    let sent = house.model.calls().last().unwrap().call.body.clone();
    let sent = String::from_utf8(sent.to_vec()).unwrap();
    assert!(sent.contains("hi") && sent.contains("and now?"), "{sent}");
    for gone in ["secret", "sec", REFUSAL, "Well"] {
        assert!(!sent.contains(gone), "{gone} in {sent}");
    }
    let stored = house.chat.list_messages(who.user.id, id, None, 50).await.unwrap().items;
    assert_eq!(stored.len(), 8, "questions and answers, the refused ones too");
    let directions: Vec<String> = audited(&house, "chat.moderation.refused")
        .await
        .into_iter()
        .map(|row| row.1)
        .collect();
    assert_eq!(directions, ["output", "input", "input"]);
    assert!(moderator.shown().iter().any(|(way, _)| *way == Direction::Output));
}

/// Only the last answer is given again, whoever refuses: what was said after another stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_refused_when_it_is_asked_again_takes_nothing_else_along() {
    let house = house(&refusing(), false).await;
    let who = house.somebody("ada@example.com").await;
    let new = NewConversation::default();
    let id = house.chat.create_conversation(who.user.id, new).await.unwrap().id;
    let first = talk(&house, &who, id, "one", false).await;
    let last = talk(&house, &who, id, "two", false).await;
    // Looked at with each question from now on.
    let change = ChangeConversation {
        instructions: Some(Some("the secret word".into())),
        ..ChangeConversation::default()
    };
    house.chat.change_conversation(who.user.id, id, change).await.unwrap();
    let again = async |message: &Message| {
        let ask = RegenerateAnswer {
            conversation_id: id,
            message_id: message.id,
            stream: false,
        };
        let gone = CancellationToken::new();
        house
            .chat
            .regenerate_answer(&by(&who), &Client::default(), ask, gone)
            .await
    };
    let stored = async || {
        let mut reads = house.store.read().await.unwrap();
        reads.page_messages(who.user.id, id, None, 9).await.unwrap()
    };
    let before = stored().await;
    assert!(matches!(again(&first).await, Err(SendMessageError::NotLast)));
    assert_eq!(stored().await, before, "nothing is lost");
    let MessageAnswer::Whole(refusal, _) = again(&last).await.unwrap() else {
        panic!("it is not streamed");
    };
    assert!(refusal.filtered && refusal.content == REFUSAL);
    let after = stored().await;
    assert_eq!(after[..2], before[..2]);
    assert_eq!((after.len(), after[2].id, after[2].filtered), (4, before[2].id, true));
    assert_eq!(after[3], refusal);
}
