//! The outbox.

use anteroom_domain::sessions::Transport;
use anteroom_ports::MailError;

use crate::house::House;

#[tokio::test]
async fn a_mail_leaves_once_after_the_commit() {
    let house = House::new().await;
    house.sign_up("ada@example.com", Transport::Token).await;
    assert!(house.mailer.sent().is_empty());
    assert_eq!(house.webhooks.deliver_outbox().await.unwrap(), 1);
    assert_eq!(house.webhooks.deliver_outbox().await.unwrap(), 0);
    let sent = house.mailer.sent();
    assert_eq!(
        (sent.len(), sent[0].to.as_str(), sent[0].subject.as_str()),
        (1, "ada@example.com", "Welcome to Anteroom")
    );
}

#[tokio::test]
async fn a_mail_that_fails_is_tried_again_later_and_a_refused_one_is_not() {
    let house = House::new().await;
    house.sign_up("ada@example.com", Transport::Token).await;
    house.mailer.fail_next(MailError::Temporary("away".into()));
    assert_eq!(house.webhooks.deliver_outbox().await.unwrap(), 1);
    assert_eq!(house.webhooks.deliver_outbox().await.unwrap(), 0, "not due yet");
    house.clock.advance_seconds(5);
    assert_eq!(house.webhooks.deliver_outbox().await.unwrap(), 1);
    assert_eq!(house.mailer.take().len(), 1);
    house.sign_up("bob@example.com", Transport::Token).await;
    house.mailer.fail_next(MailError::Permanent("refused".into()));
    assert_eq!(house.webhooks.deliver_outbox().await.unwrap(), 1);
    house.clock.advance_seconds(86_400);
    assert_eq!(house.webhooks.deliver_outbox().await.unwrap(), 0);
    assert!(house.mailer.sent().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_at_once_deliver_nothing_twice() {
    let house = House::new().await;
    for i in 0..30 {
        house.sign_up(&format!("u{i}@example.com"), Transport::Token).await;
    }
    let workers = (0..8).map(|_| {
        let webhooks = house.webhooks.clone();
        tokio::spawn(async move { while webhooks.deliver_outbox().await.unwrap() > 0 {} })
    });
    for worker in futures_util::future::join_all(workers).await {
        worker.unwrap();
    }
    let mut to: Vec<String> = house.mailer.sent().into_iter().map(|m| m.to).collect();
    to.sort();
    to.dedup();
    assert_eq!((house.mailer.sent().len(), to.len()), (30, 30));
}
