use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::UserId;

fn owner() -> Owner {
    Owner::account(UserId(Uuid::nil()))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn id(number: u128) -> CreditGrantId {
    CreditGrantId(Uuid::from_u128(number))
}

fn empty() -> CreditAccount {
    CreditAccount::stored(owner(), vec![], Credits::ZERO, 0)
}

fn granted(number: u128, source: CreditSource, credits: i64, expires: Option<i64>) -> CreditGrant {
    CreditGrant {
        id: id(number),
        owner: owner(),
        source,
        reference: format!("ref-{number}"),
        reason: None,
        amount: Credits::whole(credits),
        spent: Credits::ZERO,
        refunded: Credits::ZERO,
        priority: source.priority(),
        created_at: at(0),
        expires_at: expires.map(at),
        closed_at: None,
    }
}

fn included(amount: i64, rollover: i64, start: i64, end: i64) -> IncludedCredits {
    IncludedCredits {
        amount: Credits::whole(amount),
        rollover: Credits::whole(rollover),
        span: WindowSpan {
            start: at(start),
            end: at(end),
        },
    }
}

/// What is left of each open grant, in the order in which they are taken.
fn left(account: &CreditAccount) -> Vec<(&'static str, f64)> {
    let grants = account.grants();
    grants
        .map(|grant| (grant.source.as_str(), grant.left().number()))
        .collect()
}

/// The lines add up: to the balance, to what is left of each grant, and to what is owed.
fn adds_up(account: &CreditAccount, lines: &[CreditEntry]) {
    let sum = |of: &dyn Fn(&CreditEntry) -> bool| -> i64 {
        lines.iter().filter(|line| of(line)).map(|line| line.amount.0).sum()
    };
    assert_eq!(sum(&|_| true), account.balance().0, "{lines:#?}");
    assert_eq!(sum(&|line| line.grant.is_none()), -account.owed.0, "{lines:#?}");
    for grant in &account.grants {
        let of_grant = sum(&|line| line.grant == Some(grant.id));
        assert_eq!(of_grant, grant.left().0, "{grant:?}");
        assert!(grant.spent <= grant.amount && grant.spent >= Credits::ZERO, "{grant:?}");
    }
    let mut balance = 0;
    for (line, seq) in lines.iter().zip(1..) {
        balance += line.amount.0;
        assert_eq!((line.seq, line.balance.0), (seq, balance), "{line:?}");
    }
    assert_eq!(account.lines, i64::try_from(lines.len()).unwrap());
}

#[test]
fn a_price_is_weighed_in_credits_and_rounded_up() {
    let cent = CreditRate {
        usd_per_credit: NanoUsd(10_000_000),
    };
    for (price, millionths) in [(10_000_000, 1_000_000), (10, 1), (11, 2), (1, 1), (0, 0), (-5, 0)] {
        assert_eq!(cent.of(NanoUsd(price)), Credits(millionths), "{price}");
    }
    assert_eq!(cent.of(NanoUsd(i64::MAX)).0, 922_337_203_685_477_581);
    let dear = CreditRate {
        usd_per_credit: NanoUsd(1),
    };
    assert_eq!(dear.of(NanoUsd(i64::MAX)), Credits(i64::MAX));
}

#[test]
fn credits_are_written_with_at_most_six_digits() {
    for (number, credits) in [
        (12.5, Some(12_500_000)),
        (0.000_001, Some(1)),
        (0.1 + 0.2, Some(300_000)),
        (-3.0, Some(-3_000_000)),
        (1e9, Some(Credits::MOST.0)),
        (0.000_000_1, None),
        (1e9 + 1.0, None),
        (f64::NAN, None),
        (f64::INFINITY, None),
    ] {
        assert_eq!(Credits::from_number(number), credits.map(Credits), "{number}");
    }
    assert!((Credits(12_500_000).number() - 12.5).abs() < f64::EPSILON);
}

#[test]
fn what_would_be_lost_soonest_is_taken_first() {
    let mut account = empty();
    account.grant(granted(1, CreditSource::Purchase, 10, None));
    account.grant(granted(2, CreditSource::Purchase, 10, Some(900)));
    account.grant(granted(3, CreditSource::Plan, 10, Some(500)));
    account.grant(granted(4, CreditSource::Admin, 10, None));
    account.grant(CreditGrant {
        priority: 0,
        ..granted(5, CreditSource::Admin, 10, None)
    });
    account.spend(Credits::whole(37), at(100), "call", at(110));
    assert_eq!(left(&account), [("plan", 0.0), ("purchase", 3.0), ("purchase", 10.0)]);
    let takers: Vec<_> = account
        .added()
        .iter()
        .filter(|line| line.kind == CreditEntryKind::Spend)
        .collect();
    let order: Vec<_> = takers.iter().map(|line| (line.grant, line.amount)).collect();
    let took = |number, credits: i64| (Some(id(number)), Credits::whole(-credits));
    assert_eq!(order, [took(5, 10), took(3, 10), took(4, 10), took(2, 7)]);
    assert!(takers.iter().all(|line| line.reference == "call" && line.at == at(110)));
    adds_up(&account, account.added());
}

#[test]
fn what_has_ended_pays_only_for_what_began_before() {
    let mut account = empty();
    account.grant(granted(1, CreditSource::Plan, 10, Some(500)));
    assert_eq!(account.available(at(499)), Credits::whole(10));
    assert_eq!(account.available(at(500)), Credits::ZERO);
    account.spend(Credits::whole(4), at(499), "began before", at(510));
    account.spend(Credits::whole(1), at(500), "began after", at(510));
    assert_eq!(
        (account.owed, account.unspent(at(510))),
        (Credits::whole(1), Credits::whole(-1))
    );
    account.expire(at(499), at(520));
    assert_eq!(left(&account), [("plan", 6.0)]);
    account.expire(at(500), at(520));
    assert_eq!(left(&account), []);
    assert_eq!(account.balance(), Credits::whole(-1));
    adds_up(&account, account.added());
}

#[test]
fn what_is_owed_is_paid_from_the_next_grant() {
    let mut account = empty();
    account.spend(Credits::whole(7), at(1), "call", at(2));
    assert_eq!(
        (account.available(at(2)), account.balance()),
        (Credits::ZERO, Credits::whole(-7))
    );
    account.grant(granted(1, CreditSource::Purchase, 5, None));
    assert_eq!((left(&account), account.owed), (vec![], Credits::whole(2)));
    account.grant(granted(2, CreditSource::Purchase, 5, None));
    assert_eq!(
        (account.owed, account.available(at(3))),
        (Credits::ZERO, Credits::whole(3))
    );
    adds_up(&account, account.added());
}

#[test]
fn what_is_left_is_taken_back_and_what_was_spent_stays_spent() {
    let mut account = empty();
    account.grant(granted(1, CreditSource::Admin, 10, None));
    account.spend(Credits::whole(4), at(1), "call", at(1));
    assert_eq!(account.revoke(id(1), Credits::whole(2), at(2)), Some(Credits::whole(2)));
    assert_eq!(left(&account), [("admin", 4.0)]);
    assert_eq!(account.revoke(id(1), Credits::MOST, at(2)), Some(Credits::whole(4)));
    assert_eq!(account.revoke(id(1), Credits::MOST, at(3)), None);
    assert_eq!((account.balance(), account.owed), (Credits::ZERO, Credits::ZERO));
    adds_up(&account, account.added());
}

#[test]
fn what_is_paid_back_is_taken_back_and_comes_back() {
    let mut account = empty();
    account.grant(granted(1, CreditSource::Purchase, 10, None));
    let bought = |account: &CreditAccount| account.grants.iter().find(|it| it.id == id(1)).unwrap().clone();
    let refund = |account: &mut CreditAccount, due: i64| {
        let grant = bought(account);
        account.refund(&grant, Credits::whole(due), at(9)).number()
    };
    assert_eq!((refund(&mut account, 4), refund(&mut account, 4)), (4.0, 0.0));
    account.spend(Credits::whole(5), at(1), "call", at(1));
    // An admin takes one back, which has nothing to do with it.
    account.revoke(id(1), Credits::whole(1), at(2));
    assert_eq!((refund(&mut account, 10), left(&account)), (0.0, vec![]));
    // A dispute was won: what it had taken is there again.
    assert_eq!(
        (refund(&mut account, 0), left(&account)),
        (-4.0, vec![("purchase", 4.0)])
    );
    assert_eq!(
        (refund(&mut account, 0), left(&account)),
        (0.0, vec![("purchase", 4.0)])
    );
    adds_up(&account, account.added());
}

#[test]
fn a_window_is_opened_once_and_carries_over_what_the_plan_says() {
    let mut account = empty();
    let (first, second) = (included(100, 30, 0, 1000), included(100, 30, 1000, 2000));
    assert!(!account.opened(first));
    account.open_window(first, vec![], [id(1), id(2)], at(5));
    assert!(account.opened(first));
    assert_eq!(left(&account), [("plan", 100.0)]);
    account.spend(Credits::whole(20), at(10), "call", at(11));
    account.open_window(second, vec![], [id(3), id(4)], at(1001));
    assert!(account.opened(second));
    // 80 were left, 30 are carried; and they go first.
    assert_eq!(left(&account), [("rollover", 30.0), ("plan", 100.0)]);
    account.spend(Credits::whole(10), at(1010), "call", at(1011));
    // What was carried and what was included are carried together, at most as much.
    account.open_window(included(100, 110, 2000, 3000), vec![], [id(5), id(6)], at(2500));
    assert_eq!(left(&account), [("rollover", 110.0), ("plan", 100.0)]);
    account.open_window(included(100, 0, 3000, 4000), vec![], [id(7), id(8)], at(3500));
    assert_eq!(left(&account), [("plan", 100.0)]);
    assert_eq!(account.available(at(4000)), Credits::ZERO);
    adds_up(&account, account.added());
}

#[test]
fn a_better_plan_lifts_what_is_included_and_keeps_what_was_used() {
    let mut account = empty();
    account.open_window(included(100, 0, 0, 1000), vec![], [id(1), id(2)], at(5));
    account.spend(Credits::whole(90), at(10), "call", at(11));
    let better = included(500, 0, 0, 1000);
    assert!(!account.opened(better));
    account.open_window(better, vec![], [id(3), id(4)], at(20));
    assert!(account.opened(better));
    assert_eq!(left(&account), [("plan", 410.0)]);
    // A worse one takes nothing away before the window ends.
    assert!(account.opened(included(100, 0, 0, 1000)));
    adds_up(&account, account.added());
}

#[test]
fn a_window_that_was_cut_short_carries_nothing() {
    let mut account = empty();
    account.grant(granted(9, CreditSource::Purchase, 7, None));
    account.open_window(included(100, 50, 0, 1000), vec![], [id(1), id(2)], at(5));
    account.open_window(included(20, 50, 600, 1600), vec![], [id(3), id(4)], at(600));
    assert_eq!(left(&account), [("plan", 20.0), ("purchase", 7.0)]);
    // A plan that includes none opens none, and leaves what was bought.
    let none = included(0, 0, 700, 1700);
    account.open_window(none, vec![], [id(5), id(6)], at(700));
    assert!(account.opened(none));
    assert_eq!(left(&account), [("purchase", 7.0)]);
    adds_up(&account, account.added());
}

#[test]
fn a_window_that_is_opened_again_has_what_was_left_of_it() {
    let mut account = empty();
    let (paid, unpaid) = (included(100, 50, 1000, 2000), included(10, 0, 1400, 2400));
    account.open_window(included(100, 50, 0, 1000), vec![], [id(1), id(2)], at(5));
    account.open_window(paid, vec![], [id(3), id(4)], at(1100));
    account.spend(Credits::whole(70), at(1200), "call", at(1200));
    let of_window: Vec<CreditGrant> = account.grants().cloned().collect();
    assert_eq!(left(&account), [("rollover", 0.0), ("plan", 80.0)]);
    account.open_window(unpaid, vec![], [id(5), id(6)], at(1400));
    assert_eq!(left(&account), [("plan", 10.0)]);
    // A stored account has closed grants no more; those of the window are looked up.
    let lines = account.added().to_vec();
    let open = account.grants().cloned().collect();
    let mut account = CreditAccount::stored(owner(), open, account.owed, account.lines);
    let closed = |grant: &CreditGrant| CreditGrant {
        closed_at: Some(at(1400)),
        ..grant.clone()
    };
    let known = of_window.iter().map(closed).collect();
    account.open_window(paid, known, [id(7), id(8)], at(1500));
    assert!(account.opened(paid));
    assert_eq!(left(&account), [("rollover", 0.0), ("plan", 80.0)]);
    adds_up(&account, &[lines, account.added().to_vec()].concat());
}

#[test]
fn a_clock_that_is_behind_opens_no_window_that_is_over() {
    let mut account = empty();
    let (first, second) = (included(100, 50, 0, 1000), included(100, 50, 1000, 2000));
    account.open_window(first, vec![], [id(1), id(2)], at(5));
    account.open_window(second, vec![], [id(3), id(4)], at(1000));
    assert!(account.opened(first));
}

#[test]
fn only_what_changed_is_written() {
    let grants = vec![
        granted(1, CreditSource::Plan, 5, None),
        granted(2, CreditSource::Purchase, 5, None),
    ];
    let mut account = CreditAccount::stored(owner(), grants, Credits::ZERO, 2);
    assert_eq!(account.changed().count(), 0);
    account.spend(Credits::whole(1), at(1), "call", at(1));
    let changed: Vec<_> = account.changed().map(|grant| grant.id).collect();
    assert_eq!(changed, [id(1)]);
    let line = &account.added()[0];
    assert_eq!((line.seq, line.balance), (3, Credits::whole(9)));
}

#[derive(Debug, Clone)]
enum Step {
    Grant {
        source: usize,
        credits: i64,
        lasts: Option<i64>,
    },
    Spend {
        credits: i64,
        began_before: i64,
    },
    Expire {
        grace: i64,
    },
    Revoke {
        which: usize,
        most: i64,
    },
    Open {
        amount: i64,
        rollover: i64,
    },
    Wait {
        seconds: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4usize, 1..50i64, proptest::option::of(1..200i64)).prop_map(|(source, credits, lasts)| Step::Grant {
            source,
            credits,
            lasts
        }),
        (0..40i64, 0..100i64).prop_map(|(credits, began_before)| Step::Spend { credits, began_before }),
        (0..50i64).prop_map(|grace| Step::Expire { grace }),
        (0..20usize, 0..60i64).prop_map(|(which, most)| Step::Revoke { which, most }),
        (0..60i64, 0..60i64).prop_map(|(amount, rollover)| Step::Open { amount, rollover }),
        (1..80i64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens, in whatever order: the ledger sums to the balance, nothing is spent twice, and what was spent is
    /// what was asked for.
    #[test]
    fn grants_spends_and_expiries_always_sum(steps in proptest::collection::vec(step(), 1..60)) {
        let mut account = empty();
        let (mut now, mut next, mut spent) = (1000, 1u128, 0);
        for step in steps {
            match step {
                Step::Grant { source, credits, lasts } => {
                    let expires = lasts.map(|lasts| now + lasts);
                    let grant = granted(next, CreditSource::ALL[source], credits, expires);
                    account.grant(CreditGrant { created_at: at(now), ..grant });
                    next += 1;
                }
                Step::Spend { credits, began_before } => {
                    account.spend(Credits::whole(credits), at(now - began_before), "call", at(now));
                    spent += Credits::whole(credits).0;
                }
                Step::Expire { grace } => account.expire(at(now - grace), at(now)),
                Step::Revoke { which, most } => {
                    let found = account.grants().nth(which).map(|grant| grant.id);
                    if let Some(found) = found {
                        prop_assert!(account.revoke(found, Credits::whole(most), at(now)).is_some());
                    }
                }
                Step::Open { amount, rollover } => {
                    let start = now / 100 * 100;
                    let included = included(amount, rollover, start, start + 100);
                    account.open_window(included, vec![], [id(next), id(next + 1)], at(now));
                    prop_assert!(account.opened(included));
                    next += 2;
                }
                Step::Wait { seconds } => now += seconds,
            }
            prop_assert!(account.owed >= Credits::ZERO);
            prop_assert!(account.available(at(now)) >= Credits::ZERO);
            prop_assert!(account.unspent(at(now)) <= account.balance());
        }
        let lines = account.added().to_vec();
        adds_up(&account, &lines);
        let taken: i64 = lines.iter().filter(|line| line.kind == CreditEntryKind::Spend).map(|line| -line.amount.0).sum();
        prop_assert_eq!(taken, spent);
    }
}

#[test]
fn stored_words_survive_a_round_trip() {
    for source in CreditSource::ALL {
        assert_eq!(CreditSource::parse(source.as_str()), Some(source));
    }
    for kind in CreditEntryKind::ALL {
        assert_eq!(CreditEntryKind::parse(kind.as_str()), Some(kind));
    }
    assert_eq!((CreditSource::parse("x"), CreditEntryKind::parse("x")), (None, None));
}
