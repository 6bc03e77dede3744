//! Mailed links, passwords and addresses that change, accounts that end.

use anteroom_domain::accounts::User;
use anteroom_domain::audit::Actor;
use anteroom_domain::billing::SubscriptionStatus;
use anteroom_domain::sessions::{EndReason, Transport};
use anteroom_domain::{Timestamp, UserId};
use anteroom_ports::audit::AuditFilter;
use anteroom_ports::billing::{PaymentError, When};
use anteroom_ports::{Clock as _, Durability, MailError};
use anteroom_services::Client;
use anteroom_services::accounts::{
    ChangeEmailError, ChangePasswordError, DeleteAccountError, ImportUser, Imported, LogIn, LogInError, LoggedIn,
    ReauthenticateError, ResetPasswordError, SendResetMailError, SignUp, SignUpError, SignedUp, TokenError,
};
use anteroom_services::sessions::{AuthenticateError, Grant};
use secrecy::SecretString;

use crate::house::{House, PASSWORD};

const OTHER: &str = "another battery, this one staple";

fn sign_up(email: &str) -> SignUp {
    SignUp {
        email: email.into(),
        password: PASSWORD.into(),
        name: None,
        locale: None,
        transport: Transport::Cookie,
        client: Client::default(),
    }
}

async fn log_in(house: &House, email: &str, password: &str) -> Result<LoggedIn, LogInError> {
    let ask = LogIn {
        email: email.into(),
        password: password.into(),
        transport: Transport::Cookie,
        client: Client::default(),
    };
    house.accounts.log_in_with_password(ask).await
}

/// What was mailed since the last time, delivered first: to whom, and the token of its link.
async fn mailed(house: &House) -> Vec<(String, Option<SecretString>)> {
    // An errand may queue a mail, which the next round delivers.
    for _ in 0..3 {
        house.webhooks.deliver_outbox().await.unwrap();
    }
    let token = |text: &str| {
        let (_, rest) = text.split_once("#token=")?;
        let token: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
        Some(SecretString::from(token))
    };
    let mails = house.mailer.take();
    mails.iter().map(|m| (m.to.clone(), token(&m.text))).collect()
}

/// The token of the one mail to this address.
async fn token_to(house: &House, email: &str) -> SecretString {
    let mut to: Vec<_> = mailed(house).await.into_iter().filter(|(to, _)| to == email).collect();
    assert_eq!(to.len(), 1, "{to:?}");
    to.remove(0).1.unwrap()
}

async fn user(house: &House, id: UserId) -> Option<User> {
    house.store.read().await.unwrap().user(id).await.unwrap()
}

async fn ended(house: &House, grant: &Grant) -> Option<EndReason> {
    let mut read = house.store.read().await.unwrap();
    let (session, _) = read.session(grant.session.id).await.unwrap()?;
    session.ended.map(|(_, reason)| reason)
}

/// The acts on somebody's account, oldest first.
async fn acts(house: &House, subject: UserId) -> Vec<String> {
    let filter = AuditFilter {
        subject: Some(subject),
        ..AuditFilter::default()
    };
    let mut read = house.store.read().await.unwrap();
    let rows = read.page_audit(&filter, None, 100).await.unwrap();
    rows.iter()
        .rev()
        .map(|row| format!("{} {}", row.act, row.outcome.as_str()))
        .collect()
}

/// Runs it 64 times at once, and counts what succeeded.
async fn race<F, T, E>(act: impl Fn() -> F) -> usize
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    let tries: Vec<_> = (0..64).map(|_| tokio::spawn(act())).collect();
    let outcomes = futures_util::future::join_all(tries).await;
    outcomes
        .into_iter()
        .filter(|outcome| outcome.as_ref().unwrap().is_ok())
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_proven_once_within_a_day() {
    let house = House::new().await;
    let grant = house.sign_up("ada@example.com", Transport::Cookie).await;
    let id = grant.user.id;
    let token = token_to(&house, "ada@example.com").await;
    assert!(!user(&house, id).await.unwrap().email_verified);
    let wrong = house
        .accounts
        .verify_email(&"00".repeat(32).into(), &Client::default())
        .await;
    assert!(matches!(wrong, Err(TokenError::Invalid)));
    let proven = race(|| {
        let (accounts, token) = (house.accounts.clone(), token.clone());
        async move { accounts.verify_email(&token, &Client::default()).await }
    })
    .await;
    assert_eq!(proven, 1);
    assert!(user(&house, id).await.unwrap().email_verified);
    assert!(
        acts(&house, id)
            .await
            .contains(&"account.email.verify succeeded".to_owned())
    );

    house.sign_up("bob@example.com", Transport::Cookie).await;
    let token = token_to(&house, "bob@example.com").await;
    house.clock.advance_seconds(24 * 3600);
    let late = house.accounts.verify_email(&token, &Client::default()).await;
    assert!(matches!(late, Err(TokenError::Invalid)));
}

#[tokio::test]
async fn another_link_is_mailed_to_whom_it_concerns_and_not_for_ever() {
    let house = House::new().await;
    let resend = async |email: &str| {
        let email = anteroom_domain::accounts::Email::parse(email).unwrap();
        house
            .accounts
            .resend_verification(&email, &Client::default())
            .await
            .unwrap();
        mailed(&house).await.len()
    };
    assert_eq!(resend("nobody@example.com").await, 0);
    house.sign_up("ada@example.com", Transport::Cookie).await;
    mailed(&house).await;
    // Five an hour, the one of the sign-up among them.
    for left in [1, 1, 1, 1, 0, 0] {
        assert_eq!(resend("ADA@example.com").await, left);
    }
    house.clock.advance_seconds(3601);
    house
        .accounts
        .resend_verification(
            &anteroom_domain::accounts::Email::parse("ada@example.com").unwrap(),
            &Client::default(),
        )
        .await
        .unwrap();
    let token = token_to(&house, "ada@example.com").await;
    house.accounts.verify_email(&token, &Client::default()).await.unwrap();
    assert_eq!(resend("ada@example.com").await, 0, "it is proven");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_reset_once_and_every_session_ends() {
    let house = House::new().await;
    let grant = house.sign_up("ada@example.com", Transport::Cookie).await;
    mailed(&house).await;
    let ada = anteroom_domain::accounts::Email::parse("Ada@example.com").unwrap();
    house
        .accounts
        .request_password_reset(&ada, &Client::default())
        .await
        .unwrap();
    let token = token_to(&house, "ada@example.com").await;

    // A refused password costs nobody their link.
    let weak = house
        .accounts
        .reset_password(&token, &"password1".into(), &Client::default())
        .await;
    assert!(matches!(weak, Err(ResetPasswordError::Refused(faults)) if faults[0].field == "password"));
    let set = race(|| {
        let (accounts, token) = (house.accounts.clone(), token.clone());
        async move { accounts.reset_password(&token, &OTHER.into(), &Client::default()).await }
    })
    .await;
    assert_eq!(set, 1);
    assert_eq!(ended(&house, &grant).await, Some(EndReason::PasswordReset));
    let live = house.sessions.live_session(grant.session.id).await;
    assert!(matches!(live, Err(AuthenticateError::Unauthenticated)));
    assert!(matches!(
        log_in(&house, "ada@example.com", PASSWORD).await,
        Err(LogInError::InvalidCredentials)
    ));
    assert!(log_in(&house, "ada@example.com", OTHER).await.is_ok());
    // The owner is told, and has proven the address by the way.
    let told = mailed(&house).await;
    assert!(matches!(&told[..], [(to, None)] if to == "ada@example.com"), "{told:?}");
    assert!(user(&house, grant.user.id).await.unwrap().email_verified);
}

#[tokio::test]
async fn a_reset_lasts_half_an_hour_and_is_mailed_to_accounts_only() {
    let house = House::new().await;
    house.sign_up("ada@example.com", Transport::Cookie).await;
    mailed(&house).await;
    let forgot = async |email: &str| {
        let email = anteroom_domain::accounts::Email::parse(email).unwrap();
        house
            .accounts
            .request_password_reset(&email, &Client::default())
            .await
            .unwrap();
        mailed(&house).await
    };
    assert!(forgot("nobody@example.com").await.is_empty());
    let token = forgot("ada@example.com").await.remove(0).1.unwrap();
    house.clock.advance_seconds(30 * 60);
    let late = house
        .accounts
        .reset_password(&token, &OTHER.into(), &Client::default())
        .await;
    assert!(matches!(late, Err(ResetPasswordError::InvalidToken)));
    // Five an hour: the first of them counts.
    for expected in [1, 1, 1, 1, 0] {
        assert_eq!(forgot("ada@example.com").await.len(), expected);
    }
}

#[tokio::test]
async fn the_same_is_done_for_a_known_and_an_unknown_address_before_the_answer() {
    let house = House::new().await;
    house.sign_up("ada@example.com", Transport::Cookie).await;
    mailed(&house).await;
    for email in ["ada@example.com", "nobody@example.com"] {
        let email = anteroom_domain::accounts::Email::parse(email).unwrap();
        house
            .accounts
            .request_password_reset(&email, &Client::default())
            .await
            .unwrap();
        // One errand, and no token before it is done.
        let mut unit = house.store.begin(Durability::Full).await.unwrap();
        let later = house.clock.now();
        let queued = unit.claim_outbox(later, later, 10).await.unwrap();
        drop(unit);
        assert_eq!(queued.len(), 1, "{queued:?}");
        assert_eq!(queued[0].topic, "account.password_reset");
        assert!(!house.mailer.sent().iter().any(|m| m.text.contains("#token=")));
        mailed(&house).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_changed_by_whoever_knows_it_and_has_proven_it_lately() {
    let house = House::new().await;
    let (asking, other) = (
        house.somebody("ada@example.com").await,
        match log_in(&house, "ada@example.com", PASSWORD).await.unwrap() {
            LoggedIn::In(grant) => grant,
            LoggedIn::VerifyEmail => panic!("verify"),
        },
    );
    mailed(&house).await;
    let change = async |live: &anteroom_services::sessions::LiveSession, current: &str, new: &str| {
        house
            .accounts
            .change_password(live, &current.into(), &new.into(), &Client::default())
            .await
    };
    let field = |e: ChangePasswordError| match e {
        ChangePasswordError::Refused(faults) => (faults[0].field, faults[0].code),
        e => panic!("{e}"),
    };
    assert_eq!(
        field(change(&asking, "a wrong password", OTHER).await.unwrap_err()),
        ("current_password", "wrong_password")
    );
    assert_eq!(
        field(change(&asking, PASSWORD, "short").await.unwrap_err()).0,
        "new_password"
    );
    house.clock.advance_seconds(601);
    let late = change(&asking, PASSWORD, OTHER).await;
    assert!(matches!(late, Err(ChangePasswordError::TooLongAgo(_))));
    let wrong = house
        .accounts
        .reauthenticate(&asking, &"wrong".into(), &Client::default())
        .await;
    assert!(matches!(wrong, Err(ReauthenticateError::Wrong)));
    house
        .accounts
        .reauthenticate(&asking, &PASSWORD.into(), &Client::default())
        .await
        .unwrap();
    let asking = house.sessions.live_session(asking.session.id).await.unwrap();
    change(&asking, PASSWORD, OTHER).await.unwrap();
    assert_eq!(ended(&house, &other).await, Some(EndReason::PasswordChanged));
    house.sessions.live_session(asking.session.id).await.unwrap();
    assert!(log_in(&house, "ada@example.com", OTHER).await.is_ok());
    assert_eq!(mailed(&house).await.len(), 1, "the owner is told");
    let acts = acts(&house, asking.user.id).await;
    for act in [
        "account.reauthenticate failed",
        "account.reauthenticate succeeded",
        "account.password.change failed",
        "account.password.change succeeded",
    ] {
        assert!(acts.contains(&act.to_owned()), "{act}: {acts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_changes_when_the_new_one_is_proven_and_can_be_taken_back() {
    let house = House::new().await;
    let ada = house.somebody("ada@example.com").await;
    house.somebody("taken@example.com").await;
    mailed(&house).await;
    let change = async |email: &str| house.accounts.change_email(&ada, email, &Client::default()).await;
    assert!(matches!(
        change("taken@example.com").await,
        Err(ChangeEmailError::EmailTaken)
    ));
    assert!(matches!(
        change("ADA@example.com").await,
        Err(ChangeEmailError::Refused(_))
    ));
    assert!(matches!(change("none").await, Err(ChangeEmailError::Refused(_))));
    change("evil@example.com").await.unwrap();
    let mut sent = mailed(&house).await;
    sent.sort_by(|a, b| a.0.cmp(&b.0));
    let [(old, undo), (new, confirm)] = <[_; 2]>::try_from(sent).unwrap();
    assert_eq!((old.as_str(), new.as_str()), ("ada@example.com", "evil@example.com"));
    assert_eq!(
        user(&house, ada.user.id).await.unwrap().email.as_str(),
        "ada@example.com",
        "not yet"
    );
    let confirm = confirm.unwrap();
    let changed = race(|| {
        let (accounts, token) = (house.accounts.clone(), confirm.clone());
        async move { accounts.verify_email(&token, &Client::default()).await }
    })
    .await;
    assert_eq!(changed, 1);
    let now = user(&house, ada.user.id).await.unwrap();
    assert_eq!((now.email.as_str(), now.email_verified), ("evil@example.com", true));
    assert_eq!(mailed(&house).await.len(), 1, "the former address is told");

    // While it can be taken back, nobody else gets the address.
    assert!(matches!(
        house.accounts.sign_up(sign_up("Ada@example.com")).await,
        Err(SignUpError::EmailTaken)
    ));

    house.clock.advance_seconds(71 * 3600);
    let undo = undo.unwrap();
    let undone = race(|| {
        let (accounts, token) = (house.accounts.clone(), undo.clone());
        async move { accounts.undo_email_change(&token, &Client::default()).await }
    })
    .await;
    assert_eq!(undone, 1);
    assert_eq!(
        user(&house, ada.user.id).await.unwrap().email.as_str(),
        "ada@example.com"
    );
    let live = house.sessions.live_session(ada.session.id).await;
    assert!(
        matches!(live, Err(AuthenticateError::Unauthenticated)),
        "whoever changed it is out"
    );
    // And gets back in by the mailbox.
    let reset = token_to(&house, "ada@example.com").await;
    house
        .accounts
        .reset_password(&reset, &OTHER.into(), &Client::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_change_that_was_stopped_does_not_come_true() {
    let house = House::new().await;
    let ada = house.somebody("ada@example.com").await;
    mailed(&house).await;
    house
        .accounts
        .change_email(&ada, "evil@example.com", &Client::default())
        .await
        .unwrap();
    let mut sent = mailed(&house).await;
    sent.sort_by(|a, b| a.0.cmp(&b.0));
    let undo = sent[0].1.clone().unwrap();
    house
        .accounts
        .undo_email_change(&undo, &Client::default())
        .await
        .unwrap();
    let confirm = sent[1].1.clone().unwrap();
    let late = house.accounts.verify_email(&confirm, &Client::default()).await;
    assert!(matches!(late, Err(TokenError::Invalid)));
    // After 72 hours there is no way back.
    let bob = house.somebody("bob@example.com").await;
    mailed(&house).await;
    house
        .accounts
        .change_email(&bob, "robert@example.com", &Client::default())
        .await
        .unwrap();
    let undo = mailed(&house)
        .await
        .into_iter()
        .find(|m| m.0 == "bob@example.com")
        .unwrap()
        .1
        .unwrap();
    house.clock.advance_seconds(72 * 3600);
    let late = house.accounts.undo_email_change(&undo, &Client::default()).await;
    assert!(matches!(late, Err(TokenError::Invalid)));
}

#[tokio::test]
async fn an_account_is_closed_at_once_and_erased_after_its_grace() {
    let house = House::new().await;
    let ada = house.payer("ada@example.com", SubscriptionStatus::Active).await;
    mailed(&house).await;
    let on: Timestamp = house.accounts.delete_account(&ada, &Client::default()).await.unwrap();
    assert_eq!(on.duration_since(house.clock.now()).as_hours(), 24 * 14);
    let live = house.sessions.live_session(ada.session.id).await;
    assert!(matches!(live, Err(AuthenticateError::Unauthenticated)));
    assert_eq!(mailed(&house).await.len(), 1);

    house.clock.advance_seconds(14 * 24 * 3600 - 1);
    assert_eq!(house.accounts.erase_due_accounts().await.unwrap(), 0);
    house.clock.advance_seconds(1);
    assert_eq!(house.accounts.erase_due_accounts().await.unwrap(), 1);
    assert_eq!(house.accounts.erase_due_accounts().await.unwrap(), 0);
    assert_eq!(user(&house, ada.user.id).await, None);
    let told = mailed(&house).await;
    assert_eq!(told.len(), 1, "{told:?}");
    let acts = acts(&house, ada.user.id).await;
    assert_eq!(
        acts[acts.len() - 2..],
        ["account.deletion.request succeeded", "account.erase succeeded"]
    );
    assert!(
        house.accounts.sign_up(sign_up("ada@example.com")).await.is_ok(),
        "the address is free"
    );
}

#[tokio::test]
async fn a_subscription_is_cancelled_at_the_provider_until_that_succeeds() {
    let house = House::new().await;
    let ada = house.somebody("ada@example.com").await;
    let mut unit = house.store.begin(Durability::Full).await.unwrap();
    let mut held = house.subscription(ada.user.id, "sub_1", SubscriptionStatus::Active);
    held.provider = "fake-payments".into();
    unit.put_subscription(&held).await.unwrap();
    unit.commit().await.unwrap();
    house
        .payments
        .put_subscription(crate::billing::paid(&house, ada.user.id, "sub_1"));
    mailed(&house).await;
    house
        .payments
        .set_failure(Some(PaymentError::Unavailable("away".into())));
    house.accounts.delete_account(&ada, &Client::default()).await.unwrap();
    mailed(&house).await;
    assert!(house.payments.cancelled().is_empty());
    house.payments.set_failure(None);
    house.clock.advance_seconds(60);
    mailed(&house).await;
    assert_eq!(house.payments.cancelled(), [("sub_1".to_owned(), When::Now)]);
}

/// The provider is away while somebody leaves, comes back and buys again.
#[tokio::test]
async fn a_subscription_that_was_bought_since_is_not_cancelled() {
    let house = House::new().await;
    let ada = house.somebody("ada@example.com").await;
    let put = async |id: &str, status| {
        let mut unit = house.store.begin(Durability::Full).await.unwrap();
        let mut held = house.subscription(ada.user.id, id, status);
        held.provider = "fake-payments".into();
        unit.put_subscription(&held).await.unwrap();
        unit.commit().await.unwrap();
    };
    put("sub_1", SubscriptionStatus::Active).await;
    mailed(&house).await;
    house
        .payments
        .set_failure(Some(PaymentError::Unavailable("away".into())));
    house.accounts.delete_account(&ada, &Client::default()).await.unwrap();
    mailed(&house).await;
    house.somebody_again("ada@example.com").await;
    house.clock.advance_seconds(60);
    put("sub_1", SubscriptionStatus::Canceled).await;
    put("sub_2", SubscriptionStatus::Active).await;
    house.payments.set_failure(None);
    house.clock.advance_seconds(60);
    mailed(&house).await;
    assert!(
        house.payments.cancelled().is_empty(),
        "{:?}",
        house.payments.cancelled()
    );
}

#[tokio::test]
async fn a_subscription_is_cancelled_however_long_the_provider_is_away() {
    let house = House::new().await;
    let ada = house.somebody("ada@example.com").await;
    let mut unit = house.store.begin(Durability::Full).await.unwrap();
    let mut held = house.subscription(ada.user.id, "sub_1", SubscriptionStatus::Active);
    held.provider = "fake-payments".into();
    unit.put_subscription(&held).await.unwrap();
    unit.commit().await.unwrap();
    house
        .payments
        .put_subscription(crate::billing::paid(&house, ada.user.id, "sub_1"));
    house
        .payments
        .set_failure(Some(PaymentError::Unavailable("away".into())));
    house.accounts.delete_account(&ada, &Client::default()).await.unwrap();
    // Mails are given up after 56 tries, some two days.
    for _ in 0..80 {
        house.webhooks.deliver_outbox().await.unwrap();
        house.clock.advance_seconds(3600);
    }
    house.payments.set_failure(None);
    mailed(&house).await;
    assert_eq!(house.payments.cancelled(), [("sub_1".to_owned(), When::Now)]);
}

#[tokio::test]
async fn whoever_logs_in_within_the_grace_stays() {
    let house = House::new().await;
    let ada = house.somebody("ada@example.com").await;
    mailed(&house).await;
    house.accounts.delete_account(&ada, &Client::default()).await.unwrap();
    assert!(log_in(&house, "ada@example.com", PASSWORD).await.is_ok());
    assert_eq!(user(&house, ada.user.id).await.unwrap().delete_after, None);
    assert_eq!(mailed(&house).await.len(), 2, "it will be, and it will not");
    house.clock.advance_seconds(15 * 24 * 3600);
    assert_eq!(house.accounts.erase_due_accounts().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_admins_who_leave_together_one_stays() {
    let house = House::new().await;
    let mut lives = Vec::new();
    for email in ["ada@example.com", "bob@example.com"] {
        let live = house.somebody(email).await;
        house.accounts.make_admin(email, None, None).await.unwrap();
        house.sessions.forget_cached_state();
        lives.push(house.sessions.live_session(live.session.id).await.unwrap());
    }
    let leaving = lives.into_iter().map(|live| {
        let accounts = house.accounts.clone();
        tokio::spawn(async move { accounts.delete_account(&live, &Client::default()).await })
    });
    let outcomes = futures_util::future::join_all(leaving).await;
    let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 1, "{outcomes:?}");
    assert!(outcomes.iter().any(|o| matches!(o, Err(DeleteAccountError::LastAdmin))));
}

#[tokio::test]
async fn what_is_sensitive_needs_a_recent_proof() {
    let house = House::new().await;
    let ada = house.somebody("ada@example.com").await;
    house.clock.advance_seconds(601);
    let change = house
        .accounts
        .change_email(&ada, "new@example.com", &Client::default())
        .await;
    assert!(matches!(change, Err(ChangeEmailError::TooLongAgo(_))));
    let delete = house.accounts.delete_account(&ada, &Client::default()).await;
    assert!(matches!(delete, Err(DeleteAccountError::TooLongAgo(_))));
}

#[tokio::test]
async fn where_addresses_are_proven_first_nobody_learns_who_has_an_account() {
    let house = House::verifying().await;
    let first = house.accounts.sign_up(sign_up("ada@example.com")).await.unwrap();
    assert!(matches!(first, SignedUp::VerifyEmail));
    let token = token_to(&house, "ada@example.com").await;
    assert!(matches!(
        log_in(&house, "ada@example.com", PASSWORD).await,
        Ok(LoggedIn::VerifyEmail)
    ));
    house.accounts.verify_email(&token, &Client::default()).await.unwrap();
    assert!(matches!(
        log_in(&house, "ada@example.com", PASSWORD).await,
        Ok(LoggedIn::In(_))
    ));
    // The owner of a proven one is told, without a link, and not for ever.
    for expected in [1, 1, 1, 1, 0] {
        let taken = house.accounts.sign_up(sign_up("ada@example.com")).await.unwrap();
        assert!(matches!(taken, SignedUp::VerifyEmail));
        let told = mailed(&house).await;
        assert_eq!(told.len(), expected, "{told:?}");
        assert!(told.iter().all(|(_, token)| token.is_none()));
    }
    assert!(matches!(
        log_in(&house, "ada@example.com", OTHER).await,
        Err(LogInError::InvalidCredentials)
    ));
    let ada = house.somebody_again("ada@example.com").await;
    let taken = house.accounts.sign_up(sign_up("bob@example.com")).await.unwrap();
    assert!(matches!(taken, SignedUp::VerifyEmail));
    mailed(&house).await;
    house
        .accounts
        .change_email(&ada, "bob@example.com", &Client::default())
        .await
        .unwrap();
    let told = mailed(&house).await;
    assert!(told.iter().all(|(to, _)| to == "ada@example.com"), "{told:?}");
}

/// A stranger signs up with somebody's address and waits for them to prove it.
#[tokio::test]
async fn of_two_passwords_for_an_unproven_address_neither_counts() {
    let house = House::verifying().await;
    let squatting = SignUp {
        password: OTHER.into(),
        ..sign_up("ada@example.com")
    };
    house.accounts.sign_up(squatting).await.unwrap();
    let first = token_to(&house, "ada@example.com").await;
    house.accounts.sign_up(sign_up("ADA@example.com")).await.unwrap();
    let second = token_to(&house, "ada@example.com").await;
    // The link that the stranger caused proves nothing any more; asking for another one brings no such link either.
    let early = house.accounts.verify_email(&first, &Client::default()).await;
    assert!(matches!(early, Err(TokenError::Invalid)), "{early:?}");
    let ada = anteroom_domain::accounts::Email::parse("ada@example.com").unwrap();
    let client = Client::default();
    house.accounts.resend_verification(&ada, &client).await.unwrap();
    let third = token_to(&house, "ada@example.com").await;
    assert!(house.accounts.verify_email(&third, &client).await.is_err());
    for password in [PASSWORD, OTHER] {
        let tried = log_in(&house, "ada@example.com", password).await;
        assert!(matches!(tried, Err(LogInError::InvalidCredentials)), "{tried:?}");
    }
    let mine = "a third battery, on no staple";
    house
        .accounts
        .reset_password(&second, &mine.into(), &client)
        .await
        .unwrap();
    mailed(&house).await;
    let tried = log_in(&house, "ada@example.com", OTHER).await;
    assert!(matches!(tried, Err(LogInError::InvalidCredentials)), "{tried:?}");
    let LoggedIn::In(grant) = log_in(&house, "ada@example.com", mine).await.unwrap() else {
        panic!("the reset proves the address");
    };
    assert!(grant.user.email_verified);
    let told = acts(&house, grant.user.id).await;
    for act in ["account.signup failed", "account.email.verification_request succeeded"] {
        assert!(told.contains(&act.to_owned()), "{told:?}");
    }
}

/// Whoever compared the old password before it was reset gets in no more, and does not bring it back.
#[tokio::test]
async fn a_password_that_is_reset_while_it_is_compared_opens_nothing() {
    for late in ["login", "login with an old hash", "change", "reauthenticate"] {
        let house = House::new().await;
        let ada = house.somebody("ada@example.com").await;
        if late == "login with an old hash" {
            let mut unit = house.store.begin(Durability::Full).await.unwrap();
            let weak = anteroom_testkit::PlainHasher::outdated_hash(PASSWORD);
            let now = house.clock.now();
            unit.put_password_hash(ada.user.id, &weak, now).await.unwrap();
            unit.commit().await.unwrap();
        }
        mailed(&house).await;
        let hold = house.hasher.hold_next();
        let (accounts, live) = (house.accounts.clone(), ada.clone());
        let acting = tokio::spawn(async move {
            let (old, client) = (PASSWORD.into(), Client::default());
            let new = "the thief's battery and staple".into();
            match late {
                "change" => {
                    let done = accounts.change_password(&live, &old, &new, &client).await;
                    done.unwrap_err().to_string()
                }
                "reauthenticate" => {
                    let done = accounts.reauthenticate(&live, &old, &client).await;
                    done.unwrap_err().to_string()
                }
                _ => {
                    let ask = LogIn {
                        email: "ada@example.com".into(),
                        password: old,
                        transport: Transport::Token,
                        client,
                    };
                    accounts.log_in_with_password(ask).await.unwrap_err().to_string()
                }
            }
        });
        hold.reached().await;
        let email = anteroom_domain::accounts::Email::parse("ada@example.com").unwrap();
        let client = Client::default();
        house.accounts.request_password_reset(&email, &client).await.unwrap();
        let token = token_to(&house, "ada@example.com").await;
        let new = OTHER.into();
        let reset = house.accounts.reset_password(&token, &new, &client);
        reset.await.unwrap();
        hold.release();
        let refused = acting.await.unwrap();
        let expected = if late.starts_with("login") {
            "the address or the password is wrong"
        } else {
            "the session has ended"
        };
        assert_eq!(refused, expected, "{late}");
        let mut read = house.store.read().await.unwrap();
        let open = read.live_sessions(ada.user.id, house.clock.now()).await.unwrap();
        assert!(open.is_empty(), "{late}: {open:?}");
        drop(read);
        house.somebody_again_with("ada@example.com", OTHER).await;
    }
}

#[tokio::test]
async fn what_waits_to_be_mailed_is_sealed() {
    let house = House::new().await;
    house.sign_up("ada@example.com", Transport::Cookie).await;
    mailed(&house).await;
    let ada = anteroom_domain::accounts::Email::parse("ada@example.com").unwrap();
    let client = Client::default();
    house.accounts.request_password_reset(&ada, &client).await.unwrap();
    house.mailer.fail_next(MailError::Temporary("away".into()));
    for _ in 0..2 {
        house.webhooks.deliver_outbox().await.unwrap();
    }
    house.clock.advance_seconds(4);
    let mut unit = house.store.begin(Durability::Full).await.unwrap();
    let now = house.clock.now();
    let waiting = unit.claim_outbox(now, now, 10).await.unwrap();
    drop(unit);
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    for word in ["token=", "ada@", "Reset"] {
        assert!(!waiting[0].payload.contains(word), "{}", waiting[0].payload);
    }
    token_to(&house, "ada@example.com").await;
}

#[tokio::test]
async fn an_imported_address_is_not_one_that_somebody_may_go_back_to() {
    let house = House::new().await;
    let ada = house.somebody("ada@example.com").await;
    mailed(&house).await;
    let client = Client::default();
    let change = house.accounts.change_email(&ada, "new@example.com", &client);
    change.await.unwrap();
    let mails = mailed(&house).await;
    let token = |to: &str| mails.iter().find(|(at, _)| at == to).unwrap().1.clone().unwrap();
    let confirm = house.accounts.verify_email(&token("new@example.com"), &client).await;
    confirm.unwrap();
    let import = || ImportUser {
        email: "Ada@example.com".into(),
        email_verified: true,
        name: None,
        locale: None,
        password: None,
        created_at: None,
    };
    let outcomes = house.accounts.import_users(vec![import()], false).await.unwrap();
    assert!(matches!(&outcomes[0], Imported::Refused(_)), "{outcomes:?}");
    let undo = house
        .accounts
        .undo_email_change(&token("ada@example.com"), &client)
        .await;
    undo.unwrap();
    let back = user(&house, ada.user.id).await.unwrap();
    assert_eq!(back.email.as_str(), "ada@example.com");
    // Perhaps it was not they who asked for the change: the password opens nothing until they have set another.
    let tried = log_in(&house, "ada@example.com", PASSWORD).await;
    assert!(matches!(tried, Err(LogInError::InvalidCredentials)), "{tried:?}");
    let again = house.accounts.import_users(vec![import()], false).await.unwrap();
    assert_eq!(again[0], Imported::Known);
}

#[tokio::test]
async fn a_closed_account_opens_nothing() {
    let house = House::new().await;
    let grant = house.sign_up("ada@example.com", Transport::Cookie).await;
    mailed(&house).await;
    let ada = anteroom_domain::accounts::Email::parse("ada@example.com").unwrap();
    house
        .accounts
        .request_password_reset(&ada, &Client::default())
        .await
        .unwrap();
    let reset = token_to(&house, "ada@example.com").await;
    let mut unit = house.store.begin(Durability::Full).await.unwrap();
    let mut closed = unit.lock_user(grant.user.id).await.unwrap().unwrap();
    closed.disabled_at = Some(house.clock.now());
    unit.update_user(&closed).await.unwrap();
    unit.commit().await.unwrap();
    house.sessions.forget_cached_state();
    let live = house.sessions.live_session(grant.session.id).await;
    assert!(matches!(live, Err(AuthenticateError::Unauthenticated)));
    assert!(matches!(
        log_in(&house, "ada@example.com", PASSWORD).await,
        Err(LogInError::Disabled)
    ));
    assert!(matches!(
        log_in(&house, "ada@example.com", OTHER).await,
        Err(LogInError::InvalidCredentials)
    ));
    let late = house
        .accounts
        .reset_password(&reset, &OTHER.into(), &Client::default())
        .await;
    assert!(matches!(late, Err(ResetPasswordError::InvalidToken)));
    house
        .accounts
        .request_password_reset(&ada, &Client::default())
        .await
        .unwrap();
    assert!(mailed(&house).await.is_empty());
}

#[tokio::test]
async fn an_admin_has_a_link_mailed_and_sees_no_password() {
    let house = House::new().await;
    let ada = house.somebody("ada@example.com").await;
    mailed(&house).await;
    let (by, client) = (Actor::Operator, Client::default());
    house.accounts.send_reset_mail(ada.user.id, by, &client).await.unwrap();
    let token = token_to(&house, "ada@example.com").await;
    house
        .accounts
        .reset_password(&token, &OTHER.into(), &Client::default())
        .await
        .unwrap();
    let nobody = UserId(uuid::Uuid::nil());
    let unknown = house.accounts.send_reset_mail(nobody, by, &client).await;
    assert!(matches!(unknown, Err(SendResetMailError::NotFound)), "{unknown:?}");
}

#[tokio::test]
async fn tokens_that_are_over_are_purged() {
    let house = House::new().await;
    house.sign_up("ada@example.com", Transport::Cookie).await;
    house.clock.advance_seconds(47 * 3600);
    assert_eq!(house.accounts.purge_tokens().await.unwrap(), 0);
    house.clock.advance_seconds(2 * 3600);
    assert_eq!(house.accounts.purge_tokens().await.unwrap(), 1);
}
