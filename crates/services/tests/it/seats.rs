//! Plans that are sold by the seat: how many are bought, when a change of them holds, and what they open.

use anteroom_domain::accounts::User;
use anteroom_domain::billing::{Movement, Owner, Revenue};
use anteroom_domain::sessions::Transport;
use anteroom_domain::{Timestamp, UserId};
use anteroom_ports::Clock as _;
use anteroom_ports::billing::{ProviderSubscription, Sale, When};
use anteroom_services::billing::{
    ChangeAsk, ChangeError, CheckoutAsk, EntitlementAsk, EntitlementError, GrantState, OpenCheckoutError,
};
use anteroom_testkit::billing::FakePayments;

use crate::billing::{pro, tell};
use crate::house::House;

async fn somebody(house: &House) -> User {
    house.sign_up("ada@example.com", Transport::Token).await.user
}

fn team(house: &House, interval: &str) -> Sale {
    let plan = house.billing.catalogue().plan("team").unwrap();
    Sale::new(plan, plan.price(Some(interval), None).unwrap())
}

/// A subscription of the user's to something sold, for so many seats.
fn of(house: &House, user: UserId, sale: &Sale, seats: i64) -> ProviderSubscription {
    ProviderSubscription {
        quantity: seats,
        ..FakePayments::active("sub_1", Owner::account(user), sale, house.clock.now())
    }
}

async fn stands(house: &House, event: &str, subscription: ProviderSubscription) {
    house.payments.put_subscription(subscription);
    tell(house, event, Some("sub_1")).await.unwrap();
}

fn change(plan: &str, seats: Option<i64>) -> ChangeAsk {
    ChangeAsk {
        plan: plan.into(),
        interval: None,
        seats,
        when: None,
    }
}

#[tokio::test]
async fn a_checkout_is_for_as_many_seats_as_are_sold() {
    let house = House::new().await;
    let user = somebody(&house).await;
    for (plan, seats, bought) in [
        ("team", None, Some(2)),
        ("team", Some(2), Some(2)),
        ("team", Some(50), Some(50)),
        ("team", Some(51), None),
        ("team", Some(1), None),
        ("team", Some(0), None),
        ("team", Some(-3), None),
        ("pro", None, Some(1)),
        ("pro", Some(1), Some(1)),
        ("pro", Some(2), None),
        ("pro", Some(0), None),
    ] {
        let before = house.payments.orders().len();
        let ask = CheckoutAsk {
            user: &user,
            plan: plan.into(),
            interval: None,
            currency: None,
            seats,
            coupon: None,
            success_url: None,
            cancel_url: None,
        };
        let opened = house.billing.open_checkout(ask).await;
        let orders = house.payments.orders();
        match bought {
            Some(bought) => assert_eq!(orders[before].quantity, bought, "{plan} for {seats:?}"),
            None => {
                assert!(
                    matches!(opened, Err(OpenCheckoutError::Seats(_))),
                    "{plan} for {seats:?}: {opened:?}"
                );
                assert_eq!(orders.len(), before);
            }
        }
    }
}

/// What becomes of a change: how many seats it is for and when it holds, or `None` if so many are not sold.
type Outcome = Option<(i64, When)>;

#[tokio::test]
async fn more_seats_begin_now_and_fewer_with_the_next_period() {
    use When::{Now, PeriodEnd};
    let house = House::new().await;
    let user = somebody(&house).await.id;
    let owner = Owner::account(user);
    let (monthly, yearly, solo) = (team(&house, "month"), team(&house, "year"), pro());
    let ask = change;
    let by = |interval: &str, ask: ChangeAsk| ChangeAsk {
        interval: Some(interval.into()),
        ..ask
    };
    let at = |when, ask: ChangeAsk| ChangeAsk {
        when: Some(when),
        ..ask
    };
    let rows: Vec<(&Sale, i64, ChangeAsk, Outcome)> = vec![
        // Of one plan and interval the number of seats decides.
        (&monthly, 3, ask("team", Some(5)), Some((5, Now))),
        (&monthly, 5, ask("team", Some(2)), Some((2, PeriodEnd))),
        (&monthly, 3, at(PeriodEnd, ask("team", Some(5))), Some((5, PeriodEnd))),
        (&yearly, 3, ask("team", Some(4)), Some((4, Now))),
        (&yearly, 3, by("year", ask("team", Some(2))), Some((2, PeriodEnd))),
        // Of one plan the interval does.
        (&monthly, 5, by("year", ask("team", Some(2))), Some((2, Now))),
        (&monthly, 5, by("year", ask("team", None)), Some((5, Now))),
        (&yearly, 3, by("month", ask("team", Some(9))), Some((9, PeriodEnd))),
        // Of two plans their rank does; without a word as many are bought as are held.
        (&monthly, 9, ask("business", None), Some((1, Now))),
        (&monthly, 9, ask("pro", None), Some((1, PeriodEnd))),
        (&solo, 1, ask("team", Some(4)), Some((4, Now))),
        // What is not sold, is not.
        (&solo, 1, ask("team", None), None),
        (&monthly, 3, ask("team", Some(51)), None),
        (&monthly, 3, ask("team", Some(1)), None),
        (&monthly, 3, ask("team", Some(0)), None),
        (&monthly, 3, ask("business", Some(3)), None),
        (&solo, 1, ask("pro", Some(2)), None),
        // What was agreed upon at the provider stays until the plan changes.
        (&solo, 7, by("year", ask("pro", None)), Some((7, Now))),
        (&solo, 7, ask("business", None), Some((1, Now))),
        (&monthly, 80, ask("team", Some(40)), Some((40, PeriodEnd))),
        (&monthly, 80, by("year", ask("team", None)), None),
    ];
    // What fewer seats were used for is not paid back.
    stands(&house, "evt_fewer", of(&house, user, &monthly, 5)).await;
    let fewer = at(Now, ask("team", Some(2)));
    for refused in [
        house.billing.preview_change(owner, &fewer).await.map(|_| ()),
        house.billing.change_plan(owner, &fewer).await.map(|_| ()),
    ] {
        assert!(matches!(refused, Err(ChangeError::NotNow { .. })), "{refused:?}");
    }
    for (number, (sale, seats, ask, outcome)) in rows.into_iter().enumerate() {
        stands(&house, &format!("evt_{number}"), of(&house, user, sale, seats)).await;
        let before = house.payments.changes().len();
        let what = format!("{} for {seats}: {ask:?}", sale.lookup_key());
        let previewed = house.billing.preview_change(owner, &ask).await;
        let changed = house.billing.change_plan(owner, &ask).await;
        let changes = house.payments.changes();
        let Some((bought, when)) = outcome else {
            assert!(matches!(previewed, Err(ChangeError::Seats(_))), "{what}: {previewed:?}");
            assert!(matches!(changed, Err(ChangeError::Seats(_))), "{what}: {changed:?}");
            assert_eq!(changes.len(), before, "{what}");
            continue;
        };
        assert_eq!((previewed.unwrap().when, changed.unwrap()), (when, when), "{what}");
        let (_, change) = changes.last().unwrap();
        assert_eq!((change.quantity, change.when), (bought, when), "{what}");
        let held = house
            .billing
            .get_subscription(user)
            .await
            .unwrap()
            .1
            .subscription
            .unwrap();
        match when {
            Now => assert_eq!((held.quantity, held.next_quantity), (bought, None), "{what}"),
            PeriodEnd => assert_eq!((held.quantity, held.next_quantity), (seats, Some(bought)), "{what}"),
        }
    }
}

#[tokio::test]
async fn what_is_held_already_is_not_bought_again() {
    let house = House::new().await;
    let user = somebody(&house).await.id;
    let owner = Owner::account(user);
    stands(&house, "evt_1", of(&house, user, &team(&house, "month"), 3)).await;
    for seats in [None, Some(3)] {
        let same = house.billing.change_plan(owner, &change("team", seats)).await;
        assert!(matches!(same, Err(ChangeError::Unchanged(_))), "{seats:?}: {same:?}");
    }
    // One that waits can be taken back by asking for what is held, and by saying so.
    let waits = async || {
        let held = house
            .billing
            .get_subscription(user)
            .await
            .unwrap()
            .1
            .subscription
            .unwrap();
        held.next_quantity
    };
    for asks in [true, false] {
        house
            .billing
            .change_plan(owner, &change("team", Some(2)))
            .await
            .unwrap();
        assert_eq!(waits().await, Some(2));
        if asks {
            house
                .billing
                .change_plan(owner, &change("team", Some(3)))
                .await
                .unwrap();
        } else {
            house.billing.resume_subscription(owner).await.unwrap();
        }
        assert_eq!(waits().await, None);
    }
}

/// Whoever bought an earlier version keeps its terms when they add seats, and gets today's when they ask for the plan.
#[tokio::test]
async fn another_number_of_seats_is_no_other_version() {
    let house = House::new().await;
    let user = somebody(&house).await.id;
    let owner = Owner::account(user);
    let mut earlier = (**house.billing.catalogue().plan("team").unwrap()).clone();
    earlier.version = 0;
    earlier.prices[0].amount = 800;
    earlier.seats.as_mut().unwrap().max = Some(10);
    let mut gone = earlier.clone();
    gone.key = "club".into();
    let mut unit = house.store.begin(anteroom_ports::Durability::Full).await.unwrap();
    for plan in [&earlier, &gone] {
        unit.put_plan_version(plan, Timestamp::UNIX_EPOCH, false).await.unwrap();
    }
    unit.commit().await.unwrap();
    house.billing.keep_plans(false).await.unwrap();
    let sale = Sale::new(&earlier, &earlier.prices[0]);
    stands(&house, "evt_1", of(&house, user, &sale, 3)).await;
    let sold = async |ask: ChangeAsk| {
        house.billing.change_plan(owner, &ask).await.unwrap();
        let (_, change) = house.payments.changes().pop().unwrap();
        (change.sale.version, change.sale.price.amount, change.quantity)
    };
    assert_eq!(sold(change("team", Some(5))).await, (0, 800, 5));
    assert_eq!(sold(change("team", Some(2))).await, (0, 800, 2));
    assert_eq!(
        sold(change("team", Some(5))).await,
        (0, 800, 5),
        "what waits is taken back"
    );
    let refused = house.billing.change_plan(owner, &change("team", Some(11))).await;
    assert!(matches!(refused, Err(ChangeError::Seats(_))), "{refused:?}");
    assert_eq!(sold(change("team", None)).await, (1, 1000, 5));
    // So does whoever holds a plan that is no longer sold.
    let sale = Sale::new(&gone, &gone.prices[0]);
    stands(&house, "evt_2", of(&house, user, &sale, 3)).await;
    assert_eq!(sold(change("club", Some(4))).await, (0, 800, 4));
    let refused = house.billing.change_plan(owner, &change("club", None)).await;
    assert!(matches!(refused, Err(ChangeError::UnknownPlan { .. })), "{refused:?}");
}

#[tokio::test]
async fn what_is_limited_by_the_seat_follows_the_seats_and_keeps_what_was_used() {
    let house = House::new().await;
    let user = somebody(&house).await;
    let owner = Owner::account(user.id);
    let exports = async || {
        let states = house.billing.list_entitlements(&user, None).await.unwrap();
        let found = states.into_iter().find(|state| state.key == "exports").unwrap();
        match found.grant {
            GrantState::Metered { limit, used, .. } => (limit, used),
            other => panic!("{other:?}"),
        }
    };
    let mut uses = 0;
    let mut consume = async |amount| {
        uses += 1;
        let ask = EntitlementAsk {
            user_id: None,
            key: "exports".into(),
            amount,
        };
        house
            .billing
            .consume_entitlement(&user, &ask, Some(format!("use-{uses}")))
            .await
    };
    let monthly = team(&house, "month");
    stands(&house, "evt_1", of(&house, user.id, &monthly, 3)).await;
    assert_eq!(exports().await, (Some(30), 0));
    consume(25).await.unwrap();
    assert!(matches!(consume(6).await, Err(EntitlementError::NotAllowed { .. })));
    house
        .billing
        .change_plan(owner, &change("team", Some(5)))
        .await
        .unwrap();
    assert_eq!(exports().await, (Some(50), 25));
    consume(6).await.unwrap();
    house
        .billing
        .change_plan(owner, &change("team", Some(2)))
        .await
        .unwrap();
    assert_eq!(exports().await, (Some(50), 31), "until the period ends");
    stands(&house, "evt_2", of(&house, user.id, &monthly, 2)).await;
    assert_eq!(exports().await, (Some(20), 31));
    assert!(matches!(consume(1).await, Err(EntitlementError::NotAllowed { .. })));
}

#[tokio::test]
async fn another_number_of_seats_is_expansion_or_contraction() {
    let house = House::new().await;
    let user = somebody(&house).await.id;
    let monthly = team(&house, "month");
    for (event, seats) in [("evt_1", 3), ("evt_2", 5), ("evt_3", 2)] {
        stands(&house, event, of(&house, user, &monthly, seats)).await;
    }
    let (from, until) = ("2026-11-01".parse().unwrap(), "2026-12-01".parse().unwrap());
    let summary = house.billing.summarize_billing(Some(from), Some(until)).await.unwrap();
    let moved = |monthly| Movement {
        subscriptions: 1,
        monthly,
    };
    let expected = Revenue {
        new: moved(3000),
        expanded: moved(2000),
        contracted: moved(3000),
        after: moved(2000),
        ..Revenue::default()
    };
    assert_eq!(summary.totals["usd"], expected);
}
