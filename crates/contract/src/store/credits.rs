//! Credits and their ledger.

use anteroom_domain::billing::{
    CreditAccount, CreditEntry, CreditEntryKind, CreditGrant, CreditSource, Credits, IncludedCredits, Owner, WindowSpan,
};
use anteroom_domain::{CreditGrantId, UserId};
use anteroom_ports::UnitOfWork;
use anteroom_ports::billing::{Consumed, Consumption, CounterAsk};

use super::samples::{at, id};
use super::{RACERS, TestDatabase, begin, race, ready};

fn somebody() -> Owner {
    Owner::account(UserId(id()))
}

fn granted(owner: Owner, source: CreditSource, credits: i64, expires: Option<i64>) -> CreditGrant {
    let id = CreditGrantId(id());
    CreditGrant {
        id,
        owner,
        source,
        reference: format!("\u{e4} {id}"),
        reason: Some("because \u{f6}".into()),
        amount: Credits::whole(credits),
        spent: Credits::ZERO,
        refunded: Credits::whole(1),
        priority: source.priority(),
        created_at: at(1),
        expires_at: expires.map(at),
        closed_at: None,
    }
}

async fn lock(unit: &mut dyn UnitOfWork, owner: Owner) -> CreditAccount {
    unit.lock_credits(&[owner]).await.unwrap().pop().unwrap()
}

fn left(account: &CreditAccount) -> Vec<i64> {
    account.grants().map(|grant| grant.left().0 / Credits::ONE).collect()
}

/// Grants, what is owed, and every line, as they were written.
pub async fn credits_survive_a_round_trip(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let owner = somebody();
    let (plan, bought) = (
        granted(owner, CreditSource::Plan, 10, Some(500)),
        granted(owner, CreditSource::Purchase, 5, None),
    );
    let mut unit = begin(&store).await;
    let mut account = lock(&mut *unit, owner).await;
    assert_eq!((account.lines, account.grants().count()), (0, 0));
    account.grant(bought.clone());
    account.grant(plan.clone());
    account.spend(Credits::whole(12), at(100), "call", at(101));
    unit.save_credits(&account).await.unwrap();
    let first: Vec<CreditEntry> = account.added().to_vec();
    unit.commit().await.unwrap();

    let mut unit = begin(&store).await;
    let mut account = lock(&mut *unit, owner).await;
    assert_eq!(left(&account), [0, 3]);
    assert_eq!((account.lines, account.balance()), (4, Credits::whole(3)));
    let spent = CreditGrant {
        spent: Credits::whole(10),
        ..plan.clone()
    };
    assert_eq!(account.grants().next(), Some(&spent));
    account.expire(at(500), at(600));
    account.spend(Credits::whole(4), at(600), "more", at(601));
    unit.save_credits(&account).await.unwrap();
    let second: Vec<CreditEntry> = account.added().to_vec();
    unit.commit().await.unwrap();

    let mut read = store.read().await.unwrap();
    let account = read.credit_account(owner).await.unwrap();
    assert_eq!((left(&account), account.owed), (vec![], Credits::whole(1)));
    let mut lines = read.page_credit_entries(owner, None, 10).await.unwrap();
    lines.reverse();
    assert_eq!(lines, [first, second].concat());
    let page = read.page_credit_entries(owner, Some(4), 2).await.unwrap();
    assert_eq!(page.iter().map(|line| line.seq).collect::<Vec<_>>(), [3, 2]);
    assert_eq!(read.page_credit_entries(somebody(), None, 9).await.unwrap(), []);
    let by_name = async |source, reference: &str| {
        let mut read = store.read().await.unwrap();
        read.credit_grant_of(owner, source, reference).await.unwrap()
    };
    let closed = CreditGrant {
        closed_at: Some(at(600)),
        ..spent
    };
    assert_eq!(by_name(CreditSource::Plan, &plan.reference).await, Some(closed));
    assert_eq!(by_name(CreditSource::Admin, &plan.reference).await, None);
    let nobody = read.credit_account(somebody()).await.unwrap();
    assert_eq!((nobody.lines, nobody.balance()), (0, Credits::ZERO));
}

/// A purchase that is told of twice is granted once, whoever hears of it.
pub async fn credits_of_one_reference_are_granted_once(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let owner = somebody();
    let mut unit = begin(&store).await;
    let mut account = lock(&mut *unit, owner).await;
    let grant = granted(owner, CreditSource::Purchase, 5, None);
    account.grant(grant.clone());
    account.grant(CreditGrant {
        id: CreditGrantId(id()),
        ..grant
    });
    assert!(unit.save_credits(&account).await.is_err());
}

/// Nobody spends what another has, all are served, and the ledger has a line for each without a gap.
pub async fn of_parallel_spenders_none_spends_twice(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let owner = somebody();
    let span = WindowSpan {
        start: at(0),
        end: at(1000),
    };
    let included = IncludedCredits {
        amount: Credits::whole(20),
        rollover: Credits::ZERO,
        span,
    };
    // Nobody has opened the account: of those who come at once one does, and one opens the window.
    let outcomes = race(|number| {
        let store = store.clone();
        async move {
            let mut unit = begin(&store).await;
            let mut account = lock(&mut *unit, owner).await;
            if !account.opened(included) {
                let ids = [(); 2].map(|()| CreditGrantId(id()));
                account.open_window(included, vec![], ids, at(1));
            }
            let counter = CreditAccount::counter(owner);
            let consumption = Consumption {
                owner,
                id: format!("call {number}"),
                key: "credits".into(),
                plan: "pro".into(),
                amount: Credits::ONE,
                counters: vec![CounterAsk {
                    counter: counter.meter.into(),
                    window_start: counter.window_start,
                    limit: Some(account.limit(at(2)).0),
                }],
                at: at(2),
            };
            let consumed = unit.consume(&consumption).await.unwrap();
            if consumed == Consumed::Counted {
                account.spend(Credits::whole(1), at(2), &consumption.id, at(2));
                unit.save_credits(&account).await.unwrap();
                unit.commit().await.unwrap();
            }
            consumed == Consumed::Counted
        }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|served| **served).count(), 20);
    let mut read = store.read().await.unwrap();
    let account = read.credit_account(owner).await.unwrap();
    assert_eq!((account.balance(), account.owed), (Credits::ZERO, Credits::ZERO));
    assert_eq!(
        (account.spent, account.limit(at(3))),
        (Credits::whole(20), Credits::whole(20))
    );
    let lines = read.page_credit_entries(owner, None, 100).await.unwrap();
    assert_eq!(lines.len(), 21);
    assert_eq!(lines.iter().map(|line| line.amount.0).sum::<i64>(), 0);
    assert!(lines.iter().rev().zip(1..).all(|(line, seq)| line.seq == seq));
}

/// Whoever locks several locks them in one order, however they are named.
pub async fn locking_many_accounts_makes_no_circle(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let owners: Vec<Owner> = (0..6).map(|_| somebody()).collect();
    race(|number| {
        let (store, mut owners) = (store.clone(), owners.clone());
        async move {
            owners.rotate_left(number % 6);
            if number % 2 == 0 {
                owners.reverse();
            }
            let mut unit = begin(&store).await;
            for (mut account, owner) in unit.lock_credits(&owners).await.unwrap().into_iter().zip(&owners) {
                assert_eq!(account.owner, *owner);
                account.grant(granted(*owner, CreditSource::Admin, 1, None));
                unit.save_credits(&account).await.unwrap();
            }
            unit.commit().await.unwrap();
        }
    })
    .await;
    let mut read = store.read().await.unwrap();
    for owner in owners {
        let account = read.credit_account(owner).await.unwrap();
        assert_eq!(account.lines, i64::try_from(RACERS).unwrap());
    }
}

/// By owner, those that ended first; none that lasts, or was closed.
pub async fn owners_of_ended_credits_are_found(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (early, late, never) = (somebody(), somebody(), somebody());
    let mut unit = begin(&store).await;
    for (owner, expires) in [(late, Some(200)), (early, Some(100)), (never, None)] {
        let mut account = lock(&mut *unit, owner).await;
        account.grant(granted(owner, CreditSource::Admin, 1, expires));
        unit.save_credits(&account).await.unwrap();
    }
    unit.commit().await.unwrap();
    let ended = async |by: i64, limit| {
        let mut read = store.read().await.unwrap();
        read.owners_of_ended_credits(at(by), limit).await.unwrap()
    };
    assert_eq!(ended(99, 10).await, []);
    assert_eq!(ended(100, 10).await, [early]);
    assert_eq!(ended(300, 1).await, [early]);
    assert_eq!(ended(300, 10).await.len(), 2);
    let mut unit = begin(&store).await;
    let mut account = lock(&mut *unit, early).await;
    account.expire(at(300), at(300));
    unit.save_credits(&account).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!(ended(300, 10).await, [late]);
}

/// Whoever has the database's password for the application cannot rewrite the ledger by a slip.
pub async fn the_ledger_of_credits_is_append_only(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let owner = somebody();
    let mut unit = begin(&store).await;
    let mut account = lock(&mut *unit, owner).await;
    account.grant(granted(owner, CreditSource::Admin, 1, None));
    unit.save_credits(&account).await.unwrap();
    unit.commit().await.unwrap();
    for sql in ["UPDATE credit_entries SET amount = 2", "DELETE FROM credit_entries"] {
        assert!(database.refuses(sql).await, "{sql}");
    }
    let mut read = store.read().await.unwrap();
    let lines = read.page_credit_entries(owner, None, 10).await.unwrap();
    let told: Vec<_> = lines.iter().map(|line| (line.kind, line.amount)).collect();
    assert_eq!(told, [(CreditEntryKind::Grant, Credits::whole(1))]);
}
