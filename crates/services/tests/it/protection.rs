//! Lockout: what failed logins cost, whom, and for how long.

use std::sync::Arc;

use anteroom_domain::sessions::Transport;
use anteroom_ports::Durability;
use anteroom_ports::audit::AuditFilter;
use anteroom_services::Client;
use anteroom_services::accounts::{LogIn, LogInError};
use anteroom_services::sessions::Grant;

use crate::house::{House, PASSWORD, signed_in};

const ADA: &str = "ada@example.com";

async fn log_in(house: &House, email: &str, password: &str, from: Option<&str>) -> Result<Grant, LogInError> {
    let ask = LogIn {
        email: email.into(),
        password: password.into(),
        transport: Transport::Cookie,
        client: Client {
            address: from.map(str::to_owned),
            user_agent: None,
            ..Client::default()
        },
    };
    house.accounts.log_in_with_password(ask).await.map(signed_in)
}

async fn fail(house: &House, email: &str, from: Option<&str>) {
    let outcome = log_in(house, email, "a wrong password", from).await;
    assert!(
        matches!(outcome, Err(LogInError::InvalidCredentials)),
        "{email}: {outcome:?}"
    );
}

async fn blocked(house: &House, email: &str, password: &str, from: Option<&str>) -> u64 {
    let before = house.hasher.calls();
    match log_in(house, email, password, from).await {
        Err(LogInError::Blocked { retry_after_seconds }) => {
            assert_eq!(house.hasher.calls(), before, "refused, but compared");
            retry_after_seconds
        }
        other => panic!("{email} from {from:?}: {other:?}"),
    }
}

/// Rows of an act in the audit log, each with whether somebody's account is named.
async fn audited(house: &House, act: &str) -> Vec<bool> {
    let filter = AuditFilter {
        act: Some(act.to_owned()),
        ..AuditFilter::default()
    };
    let mut read = house.store.read().await.unwrap();
    let rows = read.page_audit(&filter, None, 100).await.unwrap();
    rows.into_iter().map(|row| row.subject.is_some()).collect()
}

async fn mails(house: &House) -> Vec<String> {
    while house.webhooks.deliver_outbox().await.unwrap() > 0 {}
    house.mailer.sent().into_iter().map(|mail| mail.subject).collect()
}

/// Checks of 1,000 guesses at once; `right` of them with the password, at the end.
async fn storm(house: &Arc<House>, email: &'static str) -> usize {
    let before = house.hasher.calls();
    let guesses = (0..1000).map(|number| {
        let house = house.clone();
        tokio::spawn(async move { log_in(&house, email, &format!("guess {number}"), None).await.is_ok() })
    });
    for guess in futures_util::future::join_all(guesses).await {
        assert!(!guess.unwrap());
    }
    let after = house.hasher.calls();
    (after.verified + after.decoys) - (before.verified + before.decoys)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn b21_of_1000_parallel_guesses_ten_are_compared() {
    // Nine cost nothing, and the tenth begins the block.
    let house = Arc::new(House::locking_after(9).await);
    house.sign_up(ADA, Transport::Token).await;
    assert_eq!(storm(&house, ADA).await, 10);
    assert_eq!(storm(&house, "nobody@example.com").await, 10);
    assert_eq!(storm(&house, "no address at all").await, 10);
    // Once the block is over, one more.
    house.clock.advance_seconds(6);
    assert_eq!(storm(&house, ADA).await, 1);
}

#[tokio::test]
async fn five_failures_cost_nothing_and_the_sixth_begins_a_block() {
    let house = House::new().await;
    house.sign_up(ADA, Transport::Token).await;
    for _ in 0..5 {
        fail(&house, ADA, None).await;
    }
    log_in(&house, ADA, PASSWORD, None).await.unwrap();
    // Which has made it start over.
    for _ in 0..6 {
        fail(&house, ADA, None).await;
    }
    assert_eq!(blocked(&house, ADA, "a wrong password", None).await, 5);
    // The right password is refused as well, and whatever way the address is spelt.
    assert_eq!(blocked(&house, " ADA@Example.com", PASSWORD, None).await, 5);
    house.clock.advance_seconds(3);
    assert_eq!(blocked(&house, ADA, PASSWORD, None).await, 2);
    house.clock.advance_seconds(2);
    // Each further failure doubles it.
    fail(&house, ADA, None).await;
    assert_eq!(blocked(&house, ADA, PASSWORD, None).await, 10);
    house.clock.advance_seconds(10);
    fail(&house, ADA, None).await;
    assert_eq!(blocked(&house, ADA, PASSWORD, None).await, 20);
    house.clock.advance_seconds(20);
    log_in(&house, ADA, PASSWORD, None).await.unwrap();
    for _ in 0..6 {
        fail(&house, ADA, None).await;
    }
}

#[tokio::test]
async fn an_unknown_address_is_counted_like_a_known_one() {
    let house = House::new().await;
    house.sign_up(ADA, Transport::Token).await;
    for typed in [ADA, "nobody@example.com", "no address at all", "", &"x".repeat(5000)] {
        for _ in 0..6 {
            fail(&house, typed, None).await;
        }
        assert_eq!(blocked(&house, typed, "a wrong password", None).await, 5, "{typed:.20}");
    }
    // What was never accepted as a password is a failure as well.
    for _ in 0..6 {
        let outcome = log_in(&house, "eve@example.com", &"x".repeat(2000), None).await;
        assert!(matches!(outcome, Err(LogInError::InvalidCredentials)));
    }
    blocked(&house, "eve@example.com", "a wrong password", None).await;
}

#[tokio::test]
async fn a_live_session_is_not_touched() {
    let house = House::new().await;
    let live = house.somebody(ADA).await;
    for _ in 0..6 {
        fail(&house, ADA, None).await;
    }
    blocked(&house, ADA, PASSWORD, None).await;
    house.sessions.forget_cached_state();
    house.sessions.live_session(live.session.id).await.unwrap();
}

#[tokio::test]
async fn the_owner_is_told_once() {
    let house = House::new().await;
    house.sign_up(ADA, Transport::Token).await;
    for _ in 0..5 {
        fail(&house, ADA, None).await;
    }
    assert_eq!(mails(&house).await, ["Confirm your e-mail address for Anteroom"]);
    fail(&house, ADA, None).await;
    house.clock.advance_seconds(5);
    fail(&house, ADA, None).await;
    house.clock.advance_seconds(10);
    fail(&house, ADA, None).await;
    assert_eq!(
        mails(&house).await,
        [
            "Confirm your e-mail address for Anteroom",
            "Many failed logins at Anteroom"
        ]
    );
    // A sixth try that is right is no lockout.
    house.clock.advance_seconds(20);
    log_in(&house, ADA, PASSWORD, None).await.unwrap();
    for _ in 0..5 {
        fail(&house, ADA, None).await;
    }
    log_in(&house, ADA, PASSWORD, None).await.unwrap();
    assert_eq!(mails(&house).await.len(), 2);
    // The next lockout is told again.
    for _ in 0..6 {
        fail(&house, ADA, None).await;
    }
    assert_eq!(mails(&house).await.len(), 3);
    // Nobody is told where nobody is, but the log has it.
    for _ in 0..6 {
        fail(&house, "nobody@example.com", None).await;
    }
    assert_eq!(mails(&house).await.len(), 3);
    assert_eq!(audited(&house, "account.lockout").await, [false, true, true]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_parallel_failures_one_tells() {
    let house = Arc::new(House::locking_after(0).await);
    house.sign_up(ADA, Transport::Token).await;
    for _ in 0..3 {
        storm(&house, ADA).await;
        house.clock.advance_seconds(60);
    }
    assert_eq!(
        mails(&house).await,
        [
            "Confirm your e-mail address for Anteroom",
            "Many failed logins at Anteroom"
        ]
    );
}

#[tokio::test]
async fn reset_and_operator_clear_it() {
    let house = House::new().await;
    house.sign_up(ADA, Transport::Token).await;
    for _ in 0..6 {
        fail(&house, ADA, None).await;
    }
    blocked(&house, ADA, PASSWORD, None).await;
    assert!(house.protection.unlock_account("ADA@example.com").await.unwrap());
    assert!(!house.protection.unlock_account(ADA).await.unwrap());
    assert_eq!(audited(&house, "account.lockout.clear").await, [true, true]);
    log_in(&house, ADA, PASSWORD, None).await.unwrap();
    for _ in 0..6 {
        fail(&house, ADA, None).await;
    }
    // As part of another's unit of work, with which it stands and falls.
    let mut unit = house.store.begin(Durability::Full).await.unwrap();
    assert!(house.protection.clear_login_failures(&mut *unit, ADA).await.unwrap());
    drop(unit);
    blocked(&house, ADA, PASSWORD, None).await;
    let mut unit = house.store.begin(Durability::Full).await.unwrap();
    assert!(house.protection.clear_login_failures(&mut *unit, ADA).await.unwrap());
    unit.commit().await.unwrap();
    log_in(&house, ADA, PASSWORD, None).await.unwrap();
}

#[tokio::test]
async fn stuffing_many_accounts_from_one_address_is_slowed() {
    let house = House::new().await;
    let spray = |number: usize| format!("person{number}@example.com");
    for number in 0..31 {
        fail(&house, &spray(number), Some("192.0.2.1")).await;
    }
    assert_eq!(
        blocked(&house, &spray(99), "a wrong password", Some("192.0.2.1")).await,
        5
    );
    // Mapped into IPv6 it is the same address; another is another.
    blocked(&house, &spray(98), "a wrong password", Some("::ffff:192.0.2.1")).await;
    fail(&house, &spray(99), Some("192.0.2.2")).await;
    // What was refused was counted nowhere: that one failure is the account's first.
    for _ in 0..5 {
        fail(&house, &spray(99), Some("192.0.2.2")).await;
    }
    blocked(&house, &spray(99), "a wrong password", Some("192.0.2.2")).await;
}

#[tokio::test]
async fn b23_the_addresses_of_one_network_are_one() {
    let house = House::new().await;
    // 2001:db8:1:2::/64, each time another of its addresses, and each spelt another way.
    let mut compared = 0;
    for number in 0..500_u32 {
        let from = match number % 3 {
            0 => format!("2001:db8:1:2::{number:x}"),
            1 => format!("2001:0DB8:0001:0002:{:x}:0:0:{:x}", number, number % 7 + 1),
            _ => format!("2001:db8:1:2:ffff:ffff:{:x}:{:x}", number >> 8, number & 0xff),
        };
        if !matches!(
            log_in(
                &house,
                &format!("p{number}@example.com"),
                "a wrong password",
                Some(&from)
            )
            .await,
            Err(LogInError::Blocked { .. })
        ) {
            compared += 1;
        }
    }
    assert_eq!(compared, 31);
    fail(&house, "next@example.com", Some("2001:db8:1:3::1")).await;
}

#[tokio::test]
async fn an_account_of_ones_own_does_not_wash_an_address_clean() {
    let house = House::new().await;
    house.sign_up("eve@example.com", Transport::Token).await;
    let from = Some("192.0.2.1");
    let mut guesses = 0;
    for number in 0..200 {
        log_in(&house, "eve@example.com", PASSWORD, from).await.ok();
        match log_in(&house, &format!("victim{number}@example.com"), "a wrong password", from).await {
            Err(LogInError::InvalidCredentials) => guesses += 1,
            Err(LogInError::Blocked { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(guesses, 31);
    // And costs an honest client nothing: logins alone are not counted.
    let house = House::new().await;
    house.sign_up(ADA, Transport::Token).await;
    for _ in 0..100 {
        log_in(&house, ADA, PASSWORD, from).await.unwrap();
    }
}

#[tokio::test]
async fn an_attempt_that_was_not_compared_does_not_count() {
    let house = House::new().await;
    house.sign_up(ADA, Transport::Token).await;
    let from = Some("192.0.2.1");
    for _ in 0..5 {
        fail(&house, ADA, from).await;
    }
    house.hasher.set_busy(Some(3));
    for _ in 0..50 {
        let outcome = log_in(&house, ADA, PASSWORD, from).await;
        assert!(matches!(outcome, Err(LogInError::Hash(_))), "{outcome:?}");
    }
    house.hasher.set_busy(None);
    log_in(&house, ADA, PASSWORD, from).await.unwrap();
}

#[tokio::test]
async fn what_no_longer_counts_is_deleted() {
    let house = House::new().await;
    for number in 0..3 {
        fail(&house, &format!("p{number}@example.com"), Some("192.0.2.1")).await;
    }
    house.clock.advance_seconds(23 * 3600);
    fail(&house, "late@example.com", Some("192.0.2.2")).await;
    assert_eq!(house.protection.purge_login_failures().await.unwrap(), 0);
    house.clock.advance_seconds(3601);
    assert_eq!(house.protection.purge_login_failures().await.unwrap(), 4);
    assert_eq!(house.protection.purge_login_failures().await.unwrap(), 0);
    // Nothing in the table is anybody's address.
    let mut read = house.store.read().await.unwrap();
    let raw = [0; 32];
    assert_eq!(read.login_failures(&[raw]).await.unwrap()[0].failures, 0);
}
