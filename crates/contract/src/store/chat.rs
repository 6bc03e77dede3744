//! Conversations and their messages.

use anteroom_domain::ReservationId;
use anteroom_domain::chat::{Message, MessageStatus, Speaker};

use super::samples::{at, conversation, id, message, stored_user, usage};
use super::{TestDatabase, begin, race, ready};

/// The reservation of a call.
fn call() -> ReservationId {
    ReservationId(id())
}

/// For everybody else they do not exist, whatever they try.
pub async fn conversations_are_found_by_their_owner_only(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (ada, eve) = (stored_user(&store).await, stored_user(&store).await);
    let mut mine = conversation(&ada);
    let mut unit = begin(&store).await;
    unit.insert_conversation(&mine).await.unwrap();
    let mut said = message(&mine, "hello");
    said.status = MessageStatus::InProgress;
    unit.insert_message(&said).await.unwrap();
    let mut stolen = mine.clone();
    stolen.user_id = eve.id;
    assert!(!unit.update_conversation(&stolen).await.unwrap());
    assert!(!unit.delete_conversation(eve.id, mine.id).await.unwrap());
    assert!(
        !unit
            .claim_conversation(eve.id, mine.id, call(), at(1), at(2))
            .await
            .unwrap()
    );
    assert_eq!(unit.conversation(eve.id, mine.id).await.unwrap(), None);
    assert_eq!(unit.page_conversations(eve.id, None, 9).await.unwrap(), []);
    assert_eq!(unit.page_messages(eve.id, mine.id, None, 9).await.unwrap(), []);
    assert_eq!(unit.recent_messages(eve.id, mine.id, None, 9).await.unwrap(), []);
    assert_eq!(unit.message(eve.id, mine.id, said.id).await.unwrap(), None);
    assert_eq!(unit.running_answer(eve.id, mine.id).await.unwrap(), None);
    assert_eq!(unit.count_messages(eve.id, mine.id).await.unwrap(), 0);
    assert_eq!(unit.count_recent_messages(eve.id, mine.id, None).await.unwrap(), 0);
    assert_eq!(unit.count_conversations(eve.id, 9).await.unwrap(), 0);
    assert_eq!(unit.conversation(ada.id, mine.id).await.unwrap(), Some(mine.clone()));
    // A message is in one conversation, whoever asks.
    let other = conversation(&ada);
    unit.insert_conversation(&other).await.unwrap();
    assert_eq!(unit.message(ada.id, other.id, said.id).await.unwrap(), None);
    assert_eq!(unit.message(ada.id, mine.id, said.id).await.unwrap(), Some(said));

    mine.title = None;
    mine.model = Some("gpt-4o".into());
    mine.instructions = Some("Be brief.\nNo jokes.".into());
    mine.assistant = Some("support".into());
    mine.updated_at = at(3);
    assert!(unit.update_conversation(&mine).await.unwrap());
    unit.commit().await.unwrap();
    let mut read = store.read().await.unwrap();
    assert_eq!(read.conversation(ada.id, mine.id).await.unwrap(), Some(mine));
}

/// Pages neither repeat nor miss one.
pub async fn conversations_are_paged_newest_first(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let mut unit = begin(&store).await;
    let mut all = Vec::new();
    for _ in 0..4 {
        let next = conversation(&ada);
        unit.insert_conversation(&next).await.unwrap();
        all.insert(0, next);
    }
    assert_eq!(unit.page_conversations(ada.id, None, 9).await.unwrap(), all);
    assert_eq!(unit.page_conversations(ada.id, None, 3).await.unwrap(), all[..3]);
    assert_eq!(
        unit.page_conversations(ada.id, Some(all[2].id), 3).await.unwrap(),
        all[3..]
    );
}

/// In the order they were said.
pub async fn messages_are_paged_oldest_first(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let (mine, other) = (conversation(&ada), conversation(&ada));
    let mut unit = begin(&store).await;
    unit.insert_conversation(&mine).await.unwrap();
    unit.insert_conversation(&other).await.unwrap();
    let mut all = Vec::new();
    for number in 0..4 {
        let next = message(&mine, &format!("message {number}"));
        unit.insert_message(&next).await.unwrap();
        unit.insert_message(&message(&other, "elsewhere")).await.unwrap();
        all.push(next);
    }
    assert_eq!(unit.page_messages(ada.id, mine.id, None, 9).await.unwrap(), all);
    assert_eq!(unit.page_messages(ada.id, mine.id, None, 2).await.unwrap(), all[..2]);
    assert_eq!(
        unit.page_messages(ada.id, mine.id, Some(all[1].id), 9).await.unwrap(),
        all[2..]
    );
}

/// An answer is written in progress, then whole.
pub async fn messages_are_finished(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let mine = conversation(&ada);
    let mut answer = message(&mine, "");
    answer.role = Speaker::Assistant;
    answer.status = MessageStatus::InProgress;
    let mut unit = begin(&store).await;
    unit.insert_conversation(&mine).await.unwrap();
    unit.insert_message(&answer).await.unwrap();
    answer.content = "An answer — 答え\u{0}".replace('\0', "");
    answer.status = MessageStatus::Partial;
    answer.model = Some("gpt-4o".into());
    answer.usage = Some(usage(1));
    answer.filtered = true;
    assert!(unit.finish_message(&answer).await.unwrap());
    assert_eq!(
        unit.page_messages(ada.id, mine.id, None, 9).await.unwrap(),
        [answer.clone()]
    );
    answer.usage = None;
    answer.model = None;
    assert!(unit.finish_message(&answer).await.unwrap());
    assert_eq!(unit.page_messages(ada.id, mine.id, None, 9).await.unwrap(), [answer]);
    assert!(!unit.finish_message(&message(&mine, "never stored")).await.unwrap());
}

/// The newest first; what is being written or stayed empty is left out.
pub async fn recent_messages_have_text(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let mine = conversation(&ada);
    let first = message(&mine, "first");
    let empty = message(&mine, "");
    let mut running = message(&mine, "so far");
    running.status = MessageStatus::InProgress;
    let mut partial = message(&mine, "broken off");
    partial.status = MessageStatus::Partial;
    let mut unit = begin(&store).await;
    unit.insert_conversation(&mine).await.unwrap();
    let mut refused = message(&mine, "refused");
    refused.filtered = true;
    for message in [&first, &empty, &partial, &refused, &running] {
        unit.insert_message(message).await.unwrap();
    }
    let recent = unit.recent_messages(ada.id, mine.id, None, 9).await.unwrap();
    assert_eq!(recent, [partial.clone(), first]);
    assert_eq!(
        unit.recent_messages(ada.id, mine.id, None, 1).await.unwrap(),
        [partial.clone()]
    );
    assert_eq!(unit.count_recent_messages(ada.id, mine.id, None).await.unwrap(), 2);
    assert_eq!(unit.count_messages(ada.id, mine.id).await.unwrap(), 5);
    // Before one of them.
    let before = Some(partial.id);
    let older = unit.recent_messages(ada.id, mine.id, before, 9).await.unwrap();
    assert_eq!(older.iter().map(|m| m.content.as_str()).collect::<Vec<_>>(), ["first"]);
    assert_eq!(unit.count_recent_messages(ada.id, mine.id, before).await.unwrap(), 1);
    assert_eq!(unit.running_answer(ada.id, mine.id).await.unwrap(), Some(running));
}

/// An answer that is still being written finds nothing to finish.
pub async fn deleting_a_conversation_deletes_its_messages(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let mine = conversation(&ada);
    let answer = message(&mine, "hello");
    let mut unit = begin(&store).await;
    unit.insert_conversation(&mine).await.unwrap();
    unit.insert_message(&answer).await.unwrap();
    assert!(unit.delete_conversation(ada.id, mine.id).await.unwrap());
    assert!(!unit.delete_conversation(ada.id, mine.id).await.unwrap());
    assert!(!unit.finish_message(&answer).await.unwrap());
    assert!(!unit.release_conversation(mine.id, call()).await.unwrap());
    assert_eq!(unit.page_messages(ada.id, mine.id, None, 9).await.unwrap(), []);
    let error = unit.insert_message(&answer).await.unwrap_err();
    assert!(
        matches!(error, anteroom_ports::StoreError::Conflict { .. }),
        "{error:?}"
    );
}

/// Until it ends its claim, or its claim ends by itself.
pub async fn a_conversation_is_claimed_by_one_answer(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let mine = conversation(&ada);
    let mut unit = begin(&store).await;
    unit.insert_conversation(&mine).await.unwrap();
    unit.commit().await.unwrap();
    // First of one that is free, then of one whose claim has run out.
    let mut holder = call();
    for (now, until) in [(10, 20), (20, 30)] {
        let claims = race(|_| {
            let (store, user, id, call) = (store.clone(), ada.id, mine.id, call());
            async move {
                let mut unit = begin(&store).await;
                let claimed = unit
                    .claim_conversation(user, id, call, at(now), at(until))
                    .await
                    .unwrap();
                unit.commit().await.unwrap();
                claimed.then_some(call)
            }
        })
        .await;
        let winners: Vec<ReservationId> = claims.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1);
        holder = winners[0];
    }
    let mut unit = begin(&store).await;
    let found = unit.conversation(ada.id, mine.id).await.unwrap().unwrap();
    assert_eq!(found.updated_at, at(20));
    let claimed = unit.claim_conversation(ada.id, mine.id, call(), at(29), at(39)).await;
    assert!(!claimed.unwrap(), "a live claim");
    let newcomer = call();
    let claimed = unit.claim_conversation(ada.id, mine.id, newcomer, at(30), at(40)).await;
    assert!(claimed.unwrap(), "one that has run out");
    assert!(!unit.release_conversation(mine.id, holder).await.unwrap());
    let claimed = unit.claim_conversation(ada.id, mine.id, call(), at(31), at(41)).await;
    assert!(!claimed.unwrap(), "who lost it cannot end the newcomer's");
    assert!(unit.release_conversation(mine.id, newcomer).await.unwrap());
    assert!(!unit.release_conversation(mine.id, newcomer).await.unwrap());
    let unknown = conversation(&ada).id;
    let claimed = unit.claim_conversation(ada.id, unknown, call(), at(31), at(41)).await;
    assert!(!claimed.unwrap());
    let claimed = unit.claim_conversation(ada.id, mine.id, call(), at(31), at(41)).await;
    assert!(claimed.unwrap());
}

/// As long as the call runs; not for whoever lost it.
pub async fn claims_are_renewed(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let (mine, other) = (conversation(&ada), conversation(&ada));
    let (first, second, gone) = (call(), call(), call());
    let mut unit = begin(&store).await;
    for (conversation, call) in [(&mine, first), (&other, second)] {
        unit.insert_conversation(conversation).await.unwrap();
        let claimed = unit.claim_conversation(ada.id, conversation.id, call, at(0), at(10));
        assert!(claimed.await.unwrap());
    }
    unit.renew_claims(&[first, gone], at(20)).await.unwrap();
    unit.renew_claims(&[], at(99)).await.unwrap();
    for (conversation, free) in [(&mine, false), (&other, true)] {
        let claimed = unit.claim_conversation(ada.id, conversation.id, call(), at(10), at(20));
        assert_eq!(claimed.await.unwrap(), free);
    }
    // The newcomer's claim is not made longer by who lost it.
    unit.renew_claims(&[second], at(99)).await.unwrap();
    let claimed = unit.claim_conversation(ada.id, other.id, call(), at(20), at(30));
    assert!(claimed.await.unwrap());
}

/// What a dead call was writing has failed: for the sweep, and for whoever comes next.
pub async fn a_lost_answer_has_failed(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let (swept, taken, running) = (conversation(&ada), conversation(&ada), conversation(&ada));
    let mut unit = begin(&store).await;
    let mut calls = Vec::new();
    for conversation in [&swept, &taken, &running] {
        unit.insert_conversation(conversation).await.unwrap();
        let call = call();
        let claimed = unit.claim_conversation(ada.id, conversation.id, call, at(0), at(10));
        assert!(claimed.await.unwrap());
        unit.insert_message(&message(conversation, "question")).await.unwrap();
        let answer = Message {
            role: Speaker::Assistant,
            status: MessageStatus::InProgress,
            ..message(conversation, "")
        };
        unit.insert_message(&answer).await.unwrap();
        calls.push(call);
    }
    unit.lose_answer(calls[0]).await.unwrap();
    assert!(!unit.release_conversation(swept.id, calls[0]).await.unwrap());
    unit.lose_answer(calls[0]).await.unwrap();
    let next = unit.claim_conversation(ada.id, swept.id, call(), at(1), at(11));
    assert!(next.await.unwrap(), "it is free at once");
    let next = unit.claim_conversation(ada.id, taken.id, call(), at(10), at(20));
    assert!(next.await.unwrap());
    for (conversation, answer) in [
        (&swept, MessageStatus::Failed),
        (&taken, MessageStatus::Failed),
        (&running, MessageStatus::InProgress),
    ] {
        let messages = unit.page_messages(ada.id, conversation.id, None, 9).await.unwrap();
        let statuses: Vec<MessageStatus> = messages.iter().map(|m| m.status).collect();
        assert_eq!(statuses, [MessageStatus::Complete, answer]);
    }
}

/// What has come so far, as long as more may come.
pub async fn messages_in_progress_are_saved(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let mine = conversation(&ada);
    let mut answer = message(&mine, "");
    answer.role = Speaker::Assistant;
    answer.status = MessageStatus::InProgress;
    let mut unit = begin(&store).await;
    unit.insert_conversation(&mine).await.unwrap();
    unit.insert_message(&answer).await.unwrap();
    assert!(unit.save_message(answer.id, "So f\u{0}").await.unwrap());
    let found = unit.message(ada.id, mine.id, answer.id).await.unwrap().unwrap();
    assert_eq!(
        (found.content.as_str(), found.status),
        ("So f\u{fffd}", MessageStatus::InProgress)
    );
    answer.content = "So far.".into();
    answer.status = MessageStatus::Complete;
    assert!(unit.finish_message(&answer).await.unwrap());
    assert!(!unit.save_message(answer.id, "So").await.unwrap());
    assert!(
        !unit
            .save_message(message(&mine, "never stored").id, "So")
            .await
            .unwrap()
    );
    let found = unit.message(ada.id, mine.id, answer.id).await.unwrap();
    assert_eq!(found, Some(answer));
}

/// Of a user's message the text; of what came after it, everything but one.
pub async fn messages_are_edited_and_taken_back(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let (mine, other) = (conversation(&ada), conversation(&ada));
    let mut unit = begin(&store).await;
    unit.insert_conversation(&mine).await.unwrap();
    unit.insert_conversation(&other).await.unwrap();
    let mut said = Vec::new();
    for number in 0..5 {
        let mut next = message(&mine, &format!("message {number}"));
        next.role = if number % 2 == 0 {
            Speaker::User
        } else {
            Speaker::Assistant
        };
        unit.insert_message(&next).await.unwrap();
        unit.insert_message(&message(&other, "elsewhere")).await.unwrap();
        said.push(next);
    }
    assert!(unit.edit_message(said[2].id, "in other words", false).await.unwrap());
    assert!(!unit.edit_message(said[1].id, "not one's own", false).await.unwrap());
    assert!(
        !unit
            .edit_message(message(&mine, "never stored").id, "x", false)
            .await
            .unwrap()
    );
    said[2].content = "in other words".into();
    unit.delete_messages_after(mine.id, said[1].id, Some(said[2].id))
        .await
        .unwrap();
    assert_eq!(unit.page_messages(ada.id, mine.id, None, 9).await.unwrap(), said[..3]);
    unit.delete_messages_after(mine.id, said[0].id, None).await.unwrap();
    assert_eq!(unit.page_messages(ada.id, mine.id, None, 9).await.unwrap(), said[..1]);
    for _ in 0..2 {
        unit.delete_message(said[0].id).await.unwrap();
        assert_eq!(unit.count_messages(ada.id, mine.id).await.unwrap(), 0);
    }
    assert_eq!(
        unit.count_messages(ada.id, other.id).await.unwrap(),
        5,
        "of one conversation only"
    );
}

/// If nobody has named it.
pub async fn a_conversation_is_named_once(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let mut mine = conversation(&ada);
    mine.title = None;
    let mut unit = begin(&store).await;
    unit.insert_conversation(&mine).await.unwrap();
    assert!(unit.name_conversation(mine.id, "One").await.unwrap());
    assert!(!unit.name_conversation(mine.id, "Two").await.unwrap());
    assert!(!unit.name_conversation(conversation(&ada).id, "Two").await.unwrap());
    mine.title = Some("One".into());
    assert_eq!(unit.conversation(ada.id, mine.id).await.unwrap(), Some(mine));
}

/// Oldest use first, a batch at a time, with what was said in them.
pub async fn unused_conversations_are_purged(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let mut unit = begin(&store).await;
    let mut all = Vec::new();
    for second in [30, 10, 20, 40] {
        let mut next = conversation(&ada);
        next.updated_at = at(second);
        unit.insert_conversation(&next).await.unwrap();
        unit.insert_message(&message(&next, "hello")).await.unwrap();
        all.push(next);
    }
    let left = async |unit: &mut Box<dyn anteroom_ports::UnitOfWork>| {
        let left = unit.page_conversations(ada.id, None, 9).await.unwrap();
        let mut left: Vec<_> = left.into_iter().map(|c| c.updated_at).collect();
        left.sort_unstable();
        left
    };
    assert_eq!(unit.count_conversations(ada.id, 9).await.unwrap(), 4);
    assert_eq!(unit.count_conversations(ada.id, 3).await.unwrap(), 3);
    assert_eq!(unit.purge_conversations(at(40), 2).await.unwrap(), 2);
    assert_eq!(left(&mut unit).await, [at(30), at(40)]);
    assert_eq!(unit.count_messages(ada.id, all[1].id).await.unwrap(), 0);
    assert_eq!(unit.purge_conversations(at(40), 2).await.unwrap(), 1);
    assert_eq!(unit.purge_conversations(at(40), 2).await.unwrap(), 0);
    assert_eq!(left(&mut unit).await, [at(40)]);
    assert_eq!(unit.count_messages(ada.id, all[3].id).await.unwrap(), 1);
}
