//! The outbox.

use std::time::{Duration, Instant};

use anteroom_domain::sessions::Transport;
use anteroom_ports::MailError;

use crate::house::{House, mail_options};

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
        (1, "ada@example.com", "Confirm your e-mail address for Anteroom")
    );
}

#[tokio::test]
async fn the_worker_is_woken_by_what_was_queued() {
    let house = House::new().await;
    let long = Duration::from_secs(10);
    // Signing up queues a mail. What wakes the worker is kept until it waits.
    let begun = Instant::now();
    house.sign_up("ada@example.com", Transport::Token).await;
    house.webhooks.wait_due(long).await;
    assert!(begun.elapsed() < long, "{:?}", begun.elapsed());
    // Once, and not by a unit of work that queues nothing.
    house.ops.check_key().await.unwrap();
    let (begun, short) = (Instant::now(), Duration::from_millis(200));
    house.webhooks.wait_due(short).await;
    assert!(begun.elapsed() >= short, "{:?}", begun.elapsed());
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

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_mail_holds_up_nobody_elses_and_comes_due_again() {
    let house = House::new().await;
    // As many as are on their way at once, less one; queued first, so claimed first.
    let slow: Vec<String> = (1..mail_options().parallel)
        .map(|i| format!("slow{i}@example.com"))
        .collect();
    for to in &slow {
        house.mailer.stick(to);
        house.sign_up(to, Transport::Token).await;
    }
    for i in 0..20 {
        house.sign_up(&format!("u{i}@example.com"), Transport::Token).await;
    }
    let begun = Instant::now();
    let webhooks = house.webhooks.clone();
    let round = tokio::spawn(async move { webhooks.deliver_outbox().await });
    while house.mailer.sent().len() < 20 {
        assert!(
            begun.elapsed() < mail_options().delivery_timeout,
            "the slow ones hold up the others"
        );
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    // One that is queued meanwhile does not wait for them either.
    house.sign_up("late@example.com", Transport::Token).await;
    while house.mailer.sent().len() < 21 {
        assert!(!round.is_finished(), "the late one waits for the slow ones");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(round.await.unwrap().unwrap(), 20 + 1 + slow.len());
    // The slow ones were given up in time, and are tried again.
    for to in &slow {
        house.mailer.unstick(to);
    }
    assert_eq!(house.webhooks.deliver_outbox().await.unwrap(), 0, "not due yet");
    house.clock.advance_seconds(5);
    assert_eq!(house.webhooks.deliver_outbox().await.unwrap(), slow.len());
    assert_eq!(house.mailer.sent().len(), 21 + slow.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_on_its_way_is_nobody_elses_until_its_lease_ends() {
    let house = House::new().await;
    house.mailer.stick("slow@example.com");
    house.sign_up("slow@example.com", Transport::Token).await;
    let webhooks = house.webhooks.clone();
    let round = tokio::spawn(async move { webhooks.deliver_outbox().await });
    while house.mailer.waited() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert_eq!(house.webhooks.deliver_outbox().await.unwrap(), 0, "it is leased");
    house.mailer.unstick("slow@example.com");
    // A node that dies leaves its mail to the others, once the lease is over.
    round.abort();
    let _ = round.await;
    let lease = mail_options().delivery_timeout.as_secs() + 30;
    house.clock.advance_seconds(i64::try_from(lease).unwrap() - 1);
    assert_eq!(house.webhooks.deliver_outbox().await.unwrap(), 0);
    house.clock.advance_seconds(2);
    assert_eq!(house.webhooks.deliver_outbox().await.unwrap(), 1);
    assert_eq!(house.mailer.sent().len(), 1);
}

#[tokio::test]
async fn a_server_that_is_away_for_a_day_loses_no_mail() {
    let house = House::new().await;
    house.sign_up("ada@example.com", Transport::Token).await;
    let mut tries = 0;
    for _ in 0..24 * 60 {
        house.mailer.fail_next(MailError::Temporary("away".into()));
        tries += house.webhooks.deliver_outbox().await.unwrap();
        house.clock.advance_seconds(60);
    }
    assert!((24..60).contains(&tries), "{tries} tries in a day");
    while house.mailer.sent().is_empty() {
        // What is left of the failures, and the last pause.
        house.webhooks.deliver_outbox().await.unwrap();
        house.clock.advance_seconds(3600);
        house.mailer.forgive();
    }
    assert_eq!(house.mailer.sent().len(), 1);
}

#[tokio::test]
async fn nothing_is_taken_out_any_more_once_the_process_is_about_to_end() {
    let house = House::new().await;
    house.sign_up("ada@example.com", Transport::Token).await;
    house.webhooks.stop_delivering();
    assert_eq!(house.webhooks.deliver_outbox().await.unwrap(), 0);
    assert!(house.mailer.sent().is_empty());
}
