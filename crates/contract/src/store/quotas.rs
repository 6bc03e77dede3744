//! Quotas: what is held, what is settled, and that both stay true whatever happens.

use std::collections::HashMap;
use std::sync::Arc;

use anteroom_domain::ReservationId;
use anteroom_domain::billing::{METER_MESSAGES, METER_SPEND, Meter, Owner, QuotaKey, Window};
use anteroom_ports::billing::{QuotaLevel, Reservation, Reserved};
use anteroom_ports::{Durability, Store, StoreError};

use super::samples::{at, counter, hold, id, reservation, settlement};
use super::{RACERS, TestDatabase, begin, race, ready};

async fn level(store: &Arc<dyn Store>, key: &QuotaKey) -> (i64, i64) {
    let QuotaLevel { used, reserved } = store.read().await.unwrap().quota_level(key).await.unwrap();
    (used, reserved)
}

/// Reserves, and commits if the holds stand.
async fn reserve(store: &Arc<dyn Store>, reservation: &Reservation) -> Reserved {
    let mut unit = store.begin(Durability::Relaxed).await.unwrap();
    let reserved = unit.reserve_quota(&[reservation]).await.unwrap();
    if reserved == Reserved::Held {
        unit.commit().await.unwrap();
    }
    reserved
}

async fn settle(store: &Arc<dyn Store>, id: ReservationId, used: &[(&'static str, i64)]) -> bool {
    let mut unit = begin(store).await;
    let settled = unit.settle_quota(&[settlement(id, used)]).await.unwrap();
    unit.commit().await.unwrap();
    settled == [id]
}

/// The counter of the operator's money.
fn spend() -> QuotaKey {
    QuotaKey {
        owner: Owner::DEPLOYMENT,
        meter: METER_SPEND,
        window_start: at(0),
    }
}

/// And asking does not make it.
pub async fn an_untouched_counter_is_zero(database: &dyn TestDatabase) {
    let store = ready(database).await;
    assert_eq!(level(&store, &counter()).await, (0, 0));
}

/// A minute, a day and a month may begin at the same moment, and one call may hold something in each.
pub async fn every_window_counts_apart(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let keys: Vec<QuotaKey> = Meter::ALL
        .into_iter()
        .flat_map(|meter| Window::ALL.map(|window| meter.counter(window)))
        .map(|meter| QuotaKey { meter, ..counter() })
        .collect();
    let owner = keys[0].owner;
    let keys: Vec<QuotaKey> = keys.into_iter().map(|key| QuotaKey { owner, ..key }).collect();
    let amounts = (1..).zip(&keys);
    let ask = reservation(amounts.clone().map(|(n, key)| hold(key, 10 * n, Some(1_000))).collect());
    assert_eq!(reserve(&store, &ask).await, Reserved::Held);
    for (n, key) in amounts.clone() {
        assert_eq!(level(&store, key).await, (0, 10 * n), "{key:?}");
    }
    let found = begin(&store).await.expired_reservations(at(1_000), 10).await.unwrap();
    assert_eq!(found[0].holds.len(), keys.len());
    let used: Vec<_> = amounts.clone().map(|(n, key)| (key.meter, n)).collect();
    assert!(settle(&store, ask.id, &used).await);
    for (n, key) in amounts {
        assert_eq!(level(&store, key).await, (n, 0), "{key:?}");
    }
}

/// Used and held together never pass the limit, the first hold included.
pub async fn a_hold_needs_room(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let key = counter();
    let denied = |used, reserved, limit| Reserved::Denied {
        key: key.clone(),
        level: QuotaLevel { used, reserved },
        limit,
    };
    let ask = |amount, limit| reservation(vec![hold(&key, amount, Some(limit))]);
    assert_eq!(reserve(&store, &ask(4, 3)).await, denied(0, 0, 3));
    assert_eq!(reserve(&store, &ask(1, 0)).await, denied(0, 0, 0));
    let first = ask(2, 3);
    assert_eq!(reserve(&store, &first).await, Reserved::Held);
    assert_eq!(reserve(&store, &ask(2, 3)).await, denied(0, 2, 3));
    assert_eq!(reserve(&store, &ask(1, 3)).await, Reserved::Held);
    assert!(settle(&store, first.id, &[(METER_MESSAGES, 2)]).await);
    assert_eq!(reserve(&store, &ask(1, 3)).await, denied(2, 1, 3));
    // A limit that was lowered, or passed by a settlement, only denies.
    assert_eq!(reserve(&store, &ask(1, 1)).await, denied(2, 1, 1));
    assert_eq!(reserve(&store, &ask(0, 3)).await, Reserved::Held);
    assert_eq!(level(&store, &key).await, (2, 1));
    // Another window counts anew.
    let tomorrow = QuotaKey {
        window_start: at(86_400),
        ..key.clone()
    };
    let next = reservation(vec![hold(&tomorrow, 3, Some(3))]);
    assert_eq!(reserve(&store, &next).await, Reserved::Held);
}

/// All of them or none, each with its own rows, and never over the lowest limit that one of them names.
pub async fn reservations_are_held_together(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (mine, money) = (counter(), spend());
    let ask = |amount, limit| reservation(vec![hold(&mine, amount, Some(limit)), hold(&money, 5, None)]);
    let reserve_all = async |asks: &[&Reservation]| {
        let mut unit = store.begin(Durability::Relaxed).await.unwrap();
        let reserved = unit.reserve_quota(asks).await.unwrap();
        if reserved == Reserved::Held {
            unit.commit().await.unwrap();
        }
        reserved
    };
    let three = [ask(1, 9), ask(2, 9), ask(3, 9)];
    assert_eq!(reserve_all(&three.each_ref()).await, Reserved::Held);
    assert_eq!(
        (level(&store, &mine).await, level(&store, &money).await),
        ((0, 6), (0, 15))
    );
    let denied = |limit| Reserved::Denied {
        key: mine.clone(),
        level: QuotaLevel { used: 0, reserved: 6 },
        limit,
    };
    assert_eq!(reserve_all(&[&ask(2, 9), &ask(2, 9)]).await, denied(9));
    assert_eq!(reserve_all(&[&ask(1, 7), &ask(1, 9)]).await, denied(7));
    assert_eq!(
        (level(&store, &mine).await, level(&store, &money).await),
        ((0, 6), (0, 15))
    );
    let open = begin(&store).await.expired_reservations(at(1_000), 10).await.unwrap();
    let held: Vec<i64> = three.iter().map(|ask| ask.holds[0].amount).collect();
    let found = three.iter().map(|ask| {
        let it = open.iter().find(|open| open.id == ask.id).unwrap();
        let hold = it.holds.iter().find(|hold| hold.key == mine).unwrap();
        (it.holds.len(), hold.amount)
    });
    assert_eq!(
        found.collect::<Vec<_>>(),
        held.iter().map(|amount| (2, *amount)).collect::<Vec<_>>()
    );
    assert!(settle(&store, three[1].id, &[(METER_MESSAGES, 2), (METER_SPEND, 4)]).await);
    assert_eq!(
        (level(&store, &mine).await, level(&store, &money).await),
        ((2, 4), (4, 10))
    );
    assert_eq!(reserve_all(&[&ask(1, 9), &ask(2, 9)]).await, Reserved::Held);
    assert_eq!(reserve_all(&[]).await, Reserved::Held);
}

/// They only count.
pub async fn holds_without_a_limit_count(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let key = counter();
    for _ in 0..3 {
        let next = reservation(vec![hold(&key, 1_000_000, None)]);
        assert_eq!(reserve(&store, &next).await, Reserved::Held);
    }
    assert_eq!(level(&store, &key).await, (0, 3_000_000));
    let mut unit = begin(&store).await;
    let mut empty = reservation(vec![hold(&key, 1, None)]);
    empty.holds.clear();
    let error = unit.reserve_quota(&[&empty]).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
}

/// Not even on the counters that had room.
pub async fn a_denied_reservation_leaves_nothing(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (mine, money) = (counter(), spend());
    let both = |limit| reservation(vec![hold(&money, 50, Some(limit)), hold(&mine, 1, Some(10))]);
    let denied = reserve(&store, &both(40)).await;
    assert!(
        matches!(
            denied,
            Reserved::Denied {
                key: QuotaKey { meter: METER_SPEND, .. },
                limit: 40,
                ..
            }
        ),
        "{denied:?}"
    );
    assert_eq!(
        (level(&store, &mine).await, level(&store, &money).await),
        ((0, 0), (0, 0))
    );
    assert_eq!(reserve(&store, &both(50)).await, Reserved::Held);
    assert_eq!(
        (level(&store, &mine).await, level(&store, &money).await),
        ((0, 1), (0, 50))
    );
}

/// Per meter as much as is named, also more than was held; zero where none is named.
pub async fn settling_turns_holds_into_use(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (mine, money) = (counter(), spend());
    let holds = || vec![hold(&mine, 1, Some(10)), hold(&money, 50, None)];
    let (first, second) = (reservation(holds()), reservation(holds()));
    reserve(&store, &first).await;
    reserve(&store, &second).await;
    assert!(settle(&store, first.id, &[(METER_SPEND, 70), ("unheard-of", 5)]).await);
    assert_eq!(
        (level(&store, &mine).await, level(&store, &money).await),
        ((0, 1), (70, 50))
    );
    assert!(settle(&store, second.id, &[(METER_MESSAGES, 1), (METER_SPEND, 7)]).await);
    assert_eq!(
        (level(&store, &mine).await, level(&store, &money).await),
        ((1, 0), (77, 0))
    );
}

/// By whoever comes first; for the others nothing changes.
pub async fn a_reservation_is_settled_once(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (mine, money) = (counter(), spend());
    let open = reservation(vec![hold(&mine, 1, None), hold(&money, 50, None)]);
    reserve(&store, &open).await;
    let settled = race(|_| {
        let (store, id) = (store.clone(), open.id);
        async move { settle(&store, id, &[(METER_MESSAGES, 1), (METER_SPEND, 9)]).await }
    })
    .await;
    assert_eq!(settled.iter().filter(|won| **won).count(), 1);
    assert_eq!(
        (level(&store, &mine).await, level(&store, &money).await),
        ((1, 0), (9, 0))
    );
    assert!(!settle(&store, ReservationId(id()), &[]).await);
}

/// What the sweep needs to book a lost call.
pub async fn reservations_survive_a_round_trip(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let open = reservation(vec![hold(&counter(), 1, Some(10)), hold(&spend(), 50, None)]);
    reserve(&store, &open).await;
    let mut unit = begin(&store).await;
    assert_eq!(unit.expired_reservations(at(99), 9).await.unwrap(), []);
    assert_eq!(unit.expired_reservations(at(100), 9).await.unwrap(), [open]);
}

/// While their calls run; one that is settled stays so.
pub async fn open_reservations_are_renewed(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let both = || reservation(vec![hold(&counter(), 1, None), hold(&spend(), 50, None)]);
    let (renewed, left, settled) = (both(), both(), both());
    for open in [&renewed, &left, &settled] {
        reserve(&store, open).await;
    }
    assert!(settle(&store, settled.id, &[]).await);
    let mut unit = begin(&store).await;
    let ids = [renewed.id, settled.id, ReservationId(id())];
    unit.renew_reservations(&ids, at(200)).await.unwrap();
    unit.renew_reservations(&[], at(999)).await.unwrap();
    let expired = unit.expired_reservations(at(199), 9).await.unwrap();
    assert_eq!(expired, std::slice::from_ref(&left));
    let later = Reservation {
        expires_at: at(200),
        ..renewed
    };
    assert_eq!(unit.expired_reservations(at(200), 9).await.unwrap(), [left, later]);
}

/// Many calls are settled in one commit, in any order; renewing them meanwhile neither waits for that nor hinders it.
pub async fn renewing_and_settling_do_not_wait_for_each_other(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (mine, money) = (counter(), spend());
    let both = || reservation(vec![hold(&mine, 1, None), hold(&money, 50, None)]);
    let open: Vec<Reservation> = (0..20).map(|_| both()).collect();
    for reservation in &open {
        reserve(&store, reservation).await;
    }
    let ids: Vec<ReservationId> = open.iter().map(|open| open.id).collect();
    let renewing = async {
        for second in 200..220 {
            let mut unit = begin(&store).await;
            unit.renew_reservations(&ids, at(second)).await.unwrap();
            unit.commit().await.unwrap();
        }
    };
    let settling = async {
        for pair in ids.chunks(2) {
            let mut unit = begin(&store).await;
            let settlements: Vec<_> = pair
                .iter()
                .rev()
                .map(|id| settlement(*id, &[(METER_MESSAGES, 1)]))
                .collect();
            assert_eq!(unit.settle_quota(&settlements).await.unwrap(), pair);
            unit.commit().await.unwrap();
        }
    };
    tokio::join!(renewing, settling);
    assert_eq!(level(&store, &mine).await, (20, 0));
}

/// Each counter moves by what all of them came to, once; those that are not open take no part.
pub async fn many_calls_are_settled_together(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (mine, money) = (counter(), spend());
    let both = |spend| reservation(vec![hold(&mine, 1, None), hold(&money, spend, None)]);
    let open = [both(50), both(70), both(90)];
    for reservation in &open {
        reserve(&store, reservation).await;
    }
    settle(&store, open[2].id, &[(METER_MESSAGES, 1), (METER_SPEND, 9)]).await;
    let mut unit = begin(&store).await;
    let settlements = [
        settlement(open[1].id, &[(METER_MESSAGES, 1), (METER_SPEND, 7)]),
        settlement(open[2].id, &[(METER_MESSAGES, 1), (METER_SPEND, 9)]),
        settlement(open[0].id, &[(METER_SPEND, 5)]),
    ];
    let settled = unit.settle_quota(&settlements).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!(settled, [open[0].id, open[1].id]);
    assert_eq!(level(&store, &mine).await, (2, 0));
    assert_eq!(level(&store, &money).await, (21, 0));
    assert_eq!(begin(&store).await.settle_quota(&[]).await.unwrap(), []);
}

/// Calls of several owners are settled together while others of theirs reserve: nobody waits in a circle.
pub async fn settling_and_reserving_do_not_wait_in_a_circle(database: &dyn TestDatabase) {
    const OWNERS: usize = 4;
    let store = ready(database).await;
    let money = spend();
    let counters: Vec<QuotaKey> = (0..OWNERS).map(|_| counter()).collect();
    let ask = |owner: usize| reservation(vec![hold(&counters[owner], 1, None), hold(&money, 5, None)]);
    let racers = (0..RACERS).map(|number| {
        // Each settles one call of every owner, beginning with another one, and reserves for them meanwhile.
        let owners = (0..OWNERS).map(|i| (number + i) % OWNERS);
        let (open, later): (Vec<_>, Vec<_>) = owners.map(|owner| (ask(owner), ask(owner))).unzip();
        let store = store.clone();
        tokio::spawn(async move {
            for reservation in &open {
                reserve(&store, reservation).await;
            }
            let settling = async {
                let mut unit = begin(&store).await;
                let used = [(METER_MESSAGES, 1), (METER_SPEND, 2)];
                let settlements: Vec<_> = open.iter().map(|open| settlement(open.id, &used)).collect();
                let settled = unit.settle_quota(&settlements).await.unwrap();
                unit.commit().await.unwrap();
                assert_eq!(settled.len(), OWNERS);
            };
            let reserving = async {
                for reservation in &later {
                    reserve(&store, reservation).await;
                }
            };
            tokio::join!(settling, reserving);
        })
    });
    for racer in racers.collect::<Vec<_>>() {
        racer.await.unwrap();
    }
    let calls = i64::try_from(OWNERS * RACERS).unwrap();
    assert_eq!(level(&store, &money).await, (2 * calls, 5 * calls));
}

/// At most as many reservations as asked for, each with all its holds.
pub async fn expired_reservations_are_found_oldest_first(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let mut all = Vec::new();
    for end in [30, 10, 20] {
        let mut open = reservation(vec![hold(&counter(), 1, None), hold(&spend(), 1, None)]);
        open.expires_at = at(end);
        reserve(&store, &open).await;
        all.push(open);
    }
    let mut unit = begin(&store).await;
    let found = unit.expired_reservations(at(25), 9).await.unwrap();
    assert_eq!(found, [all[1].clone(), all[2].clone()]);
    assert_eq!(unit.expired_reservations(at(99), 1).await.unwrap(), [all[1].clone()]);
    assert_eq!(
        unit.settle_quota(&[settlement(all[1].id, &[])]).await.unwrap(),
        [all[1].id]
    );
    assert_eq!(unit.expired_reservations(at(99), 1).await.unwrap(), [all[2].clone()]);
}

/// As many succeed as there is room for: not one more, and not one less.
pub async fn a_limit_holds_exactly_under_parallel_calls(database: &dyn TestDatabase) {
    const LIMIT: usize = 23;
    let store = ready(database).await;
    let (mine, money) = (counter(), spend());
    let limit = i64::try_from(LIMIT).unwrap();
    let outcomes = race(|_| {
        let (store, mine, money) = (store.clone(), mine.clone(), money.clone());
        async move {
            let ask = reservation(vec![hold(&mine, 1, Some(limit)), hold(&money, 5, None)]);
            reserve(&store, &ask).await == Reserved::Held
        }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|held| **held).count(), LIMIT);
    assert_eq!(level(&store, &mine).await, (0, limit));
    assert_eq!(level(&store, &money).await, (0, 5 * limit));
}

/// After any mix of calls that are settled, denied, cancelled before their commit, or still run.
pub async fn open_holds_are_what_is_reserved(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (mine, money) = (counter(), spend());
    race(|number| {
        let (store, mine, money) = (store.clone(), mine.clone(), money.clone());
        async move {
            let amount = 1 + i64::try_from(number).unwrap() % 7;
            let ask = reservation(vec![hold(&mine, amount, Some(150)), hold(&money, amount * 10, None)]);
            let mut unit = store.begin(Durability::Relaxed).await.unwrap();
            let reserved = unit.reserve_quota(&[&ask]).await.unwrap();
            if number % 4 == 0 || reserved != Reserved::Held {
                drop(unit);
                return;
            }
            unit.commit().await.unwrap();
            if number % 4 == 1 {
                // The first settlement is dropped before its commit, so the second is the first.
                let mut unit = begin(&store).await;
                let used = [settlement(ask.id, &[(METER_MESSAGES, amount)])];
                assert_eq!(unit.settle_quota(&used).await.unwrap(), [ask.id]);
                drop(unit);
                assert!(settle(&store, ask.id, &[(METER_MESSAGES, amount)]).await);
            }
        }
    })
    .await;
    let limit = i64::try_from(RACERS).unwrap();
    let open = begin(&store)
        .await
        .expired_reservations(at(1_000), limit)
        .await
        .unwrap();
    assert!(!open.is_empty());
    let mut sums: HashMap<&str, i64> = HashMap::new();
    for hold in open.iter().flat_map(|open| &open.holds) {
        *sums.entry(hold.key.meter).or_default() += hold.amount;
    }
    assert_eq!(level(&store, &mine).await.1, sums[METER_MESSAGES]);
    assert_eq!(level(&store, &money).await, (0, sums[METER_SPEND]));
}
