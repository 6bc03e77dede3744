//! The operator's assistants: who may use them, what the model is told, and that nobody else is.

use anteroom_domain::chat::Assistant;
use anteroom_ports::chat::ProviderErrorKind;
use anteroom_services::access::Principal;
use anteroom_services::chat::{
    CallRefused, ChangeConversation, ChatAnswer, ChatError, ConversationError, MessageAnswer, NewConversation,
    SendMessage, SendMessageError,
};
use anteroom_services::sessions::LiveSession;
use anteroom_testkit::chat::provider_error;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::house::{House, Routed};

const SECRET: &str = "Never speak of the cellar.";

fn assistant(id: &str, model: &str, plans: Option<Vec<String>>) -> Assistant {
    Assistant {
        id: id.into(),
        title: id.to_uppercase(),
        description: None,
        model: model.into(),
        instructions: SECRET.into(),
        parameters: vec![("temperature".into(), json!(0.0))],
        max_output_tokens: Some(50),
        plans,
    }
}

async fn house() -> House {
    House::routed(Routed {
        assistants: vec![
            assistant("butler", "small", None),
            assistant("cook", "small", Some(vec!["pro".into()])),
            assistant("porter", "large", None),
        ],
        ..Routed::plain(&["small", "large"])
    })
    .await
}

fn by(who: &LiveSession) -> Principal {
    who.clone().into()
}

async fn ask(house: &House, who: &LiveSession, model: &str) -> Result<ChatAnswer, ChatError> {
    let body = json!({ "model": model, "temperature": 1.5, "max_tokens": 900, "messages": [{ "role": "user", "content": "hi" }] });
    let (body, gone) = (body.to_string(), CancellationToken::new());
    house.chat.complete_chat(&by(who), body.as_bytes(), gone).await
}

fn sent(house: &House) -> Value {
    serde_json::from_slice(&house.model.calls().last().unwrap().call.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_through_one_is_told_what_it_says_and_keeps_its_parameters() {
    let house = house().await;
    let who = house.somebody("ada@example.com").await;
    let ChatAnswer::Whole { body, dropped, .. } = ask(&house, &who, "assistant:butler").await.unwrap() else {
        panic!("not whole")
    };
    assert!(!String::from_utf8_lossy(&body).contains("cellar"));
    assert_eq!(dropped, ["temperature"], "what gave way is named");
    let sent = sent(&house);
    assert_eq!(sent["messages"][0], json!({ "role": "system", "content": SECRET }));
    assert_eq!(
        (&sent["model"], &sent["temperature"], &sent["max_tokens"]),
        (&json!("small"), &json!(0.0), &json!(50))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_of_the_plan_and_with_a_model_of_it_are_listed_and_answer() {
    let house = house().await;
    let who = house.somebody("ada@example.com").await;
    let listed = house.chat.list_assistants(&by(&who)).await.unwrap();
    assert_eq!(listed.iter().map(|a| a.id.as_str()).collect::<Vec<_>>(), ["butler"]);
    for model in ["assistant:cook", "assistant:nobody", "assistant:"] {
        let refused = ask(&house, &who, model).await.unwrap_err();
        assert!(
            matches!(refused, ChatError::Refused(CallRefused::AssistantNotInPlan { .. })),
            "{refused}"
        );
    }
    let refused = ask(&house, &who, "assistant:porter").await.unwrap_err();
    assert!(matches!(
        refused,
        ChatError::Refused(CallRefused::ModelNotInPlan { .. })
    ));
    assert!(house.model.calls().is_empty(), "nobody was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_quotes_the_prompt_is_not_passed_on() {
    let house = house().await;
    let who = house.somebody("ada@example.com").await;
    let error = json!({ "message": format!("too long: {SECRET}"), "code": "context_length_exceeded", "type": SECRET, "param": SECRET });
    let kind = ProviderErrorKind::BadRequest {
        status: 400,
        error: Some(error.clone()),
    };
    house.model.script_reply(Err(provider_error(kind.clone())));
    let ChatError::Provider(e) = ask(&house, &who, "assistant:butler").await.unwrap_err() else {
        panic!("not the provider's")
    };
    let expected = ProviderErrorKind::BadRequest {
        status: 400,
        error: Some(json!({ "code": "context_length_exceeded" })),
    };
    assert_eq!(e.kind, expected);
    // Of a call that only holds what the caller sent it stands as it is.
    house.model.script_reply(Err(provider_error(kind.clone())));
    let ChatError::Provider(e) = ask(&house, &who, "small").await.unwrap_err() else {
        panic!("not the provider's")
    };
    assert_eq!(e.kind, kind);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_speaks_through_one_and_shows_nothing_of_it() {
    let house = house().await;
    let who = house.somebody("ada@example.com").await;
    let new = NewConversation {
        assistant: Some("butler".into()),
        instructions: Some("Be brief.".into()),
        ..NewConversation::default()
    };
    let made = house.chat.create_conversation(who.user.id, new).await.unwrap();
    assert!(!format!("{made:?}").contains("cellar"));
    let say = |conversation_id| SendMessage {
        conversation_id,
        content: "hi".into(),
        stream: false,
    };
    let answer = house
        .chat
        .send_message(&by(&who), say(made.id), CancellationToken::new())
        .await;
    let MessageAnswer::Whole(answer, _) = answer.unwrap() else {
        panic!("not whole")
    };
    assert_eq!(answer.model.as_deref(), Some("small"));
    let sent = sent(&house);
    assert_eq!(sent["messages"][0]["content"], format!("{SECRET}\n\nBe brief."));
    assert_eq!((&sent["temperature"], &sent["max_tokens"]), (&json!(0.0), &json!(50)));

    let refused = |outcome| match outcome {
        Err(ConversationError::Refused(faults)) => faults[0].code,
        other => panic!("{other:?}"),
    };
    let unknown = NewConversation {
        assistant: Some("nobody".into()),
        ..NewConversation::default()
    };
    assert_eq!(
        refused(house.chat.create_conversation(who.user.id, unknown).await),
        "unknown_assistant"
    );
    let both = ChangeConversation {
        model: Some(Some("small".into())),
        ..ChangeConversation::default()
    };
    assert_eq!(
        refused(house.chat.change_conversation(who.user.id, made.id, both).await),
        "invalid_model"
    );
    // Whether the plan has it is asked when something is said.
    let other = ChangeConversation {
        assistant: Some(Some("cook".into())),
        ..ChangeConversation::default()
    };
    house
        .chat
        .change_conversation(who.user.id, made.id, other)
        .await
        .unwrap();
    let refused = house
        .chat
        .send_message(&by(&who), say(made.id), CancellationToken::new())
        .await;
    assert!(matches!(
        refused,
        Err(SendMessageError::Chat(ChatError::Refused(
            CallRefused::AssistantNotInPlan { .. }
        )))
    ));
}
