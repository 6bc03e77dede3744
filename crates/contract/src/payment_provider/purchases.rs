//! What is bought once: packs of credits, paid at once, later or never, and given back.

use anteroom_domain::Timestamp;
use anteroom_ports::billing::{Checkout, CreditPack, PaymentError, ProviderEvent, Purchase, PurchaseOrder};
use futures_util::future::join_all;

use super::{Bench, Card, basic, buy, customer, days, key, near, owner, sent};

fn small() -> CreditPack {
    CreditPack {
        key: "small".to_owned(),
        name: "500 credits & a half".to_owned(),
        credits: 500_500_000,
        amount: 700,
        currency: "eur".to_owned(),
    }
}

fn order(customer: &str, user: u128, quantity: i64) -> PurchaseOrder {
    PurchaseOrder {
        owner: owner(user),
        customer: customer.to_owned(),
        pack: small(),
        quantity,
        success_url: "https://app.example/credits?paid=1&session={CHECKOUT_SESSION_ID}".to_owned(),
        cancel_url: "https://app.example/credits".to_owned(),
    }
}

/// User 1 at a checkout of two packs.
async fn checkout(bench: &dyn Bench) -> Checkout {
    let customer = customer(bench, 1).await;
    let order = order(&customer, 1, 2);
    bench.provider().checkout_purchase(&order, &key()).await.unwrap()
}

/// User 1 has paid for two packs, and been told of it.
async fn pay(bench: &dyn Bench, card: Card) -> Purchase {
    let checkout = checkout(bench).await;
    bench.pay(&checkout, card).await;
    now(bench, &checkout.id).await
}

/// The purchase as it is now.
async fn now(bench: &dyn Bench, id: &str) -> Purchase {
    let found = bench.provider().purchase(id).await.unwrap();
    found.unwrap_or_else(|| panic!("there is no purchase {id}"))
}

/// What the provider has sent about purchases, each with its kind.
async fn told(bench: &dyn Bench) -> Vec<(String, String)> {
    let about = |event: ProviderEvent| Some((event.kind, event.purchase?));
    sent(bench).await.into_iter().filter_map(about).collect()
}

/// What was sent about purchases since the last call leads to this one, and there is something.
async fn told_of(bench: &dyn Bench, purchase: &Purchase) {
    let told = told(bench).await;
    assert!(!told.is_empty(), "nothing was told of {purchase:?}");
    for (kind, id) in told {
        assert_eq!(now(bench, &id).await, *purchase, "{kind}");
    }
}

/// What is ordered is what is had, once it is paid.
pub async fn bought(bench: &dyn Bench) {
    for (user, quantity) in [(1, 1), (2, 3)] {
        let customer = customer(bench, user).await;
        drop(sent(bench).await);
        let order = order(&customer, user, quantity);
        let checkout = bench.provider().checkout_purchase(&order, &key()).await.unwrap();
        assert!(checkout.url.starts_with("http"), "{}", checkout.url);
        let open = now(bench, &checkout.id).await;
        let expected = Purchase {
            id: checkout.id.clone(),
            customer: Some(customer.clone()),
            owner: Some(owner(user)),
            pack: "small".to_owned(),
            credits: 500_500_000 * quantity,
            amount: 700 * quantity,
            currency: "eur".to_owned(),
            paid: false,
            refunded: 0,
            created: open.created,
        };
        assert_eq!(open, expected);
        assert!(near(Some(open.created), bench.now()));
        assert_eq!(told(bench).await, [], "nothing is bought yet");

        bench.pay(&checkout, Card::Good).await;
        let paid = now(bench, &checkout.id).await;
        assert_eq!(paid, Purchase { paid: true, ..open });
        let events = sent(bench).await;
        let about: Vec<_> = events.iter().filter(|event| event.purchase.is_some()).collect();
        assert_eq!(about.len(), 1, "{events:?}");
        assert_eq!(
            (about[0].purchase.as_ref(), &about[0].subscription, &about[0].customer),
            (Some(&checkout.id), &None, &Some(customer))
        );
    }
    let subscriptions = bench.provider().list_subscriptions(None, 100).await.unwrap();
    assert_eq!(subscriptions.items, [], "nothing is renewed");
}

/// The same order with the same key is one checkout, also sixty-four times at once; another order with it is refused.
pub async fn keys_and_races(bench: &dyn Bench) {
    let customer = customer(bench, 1).await;
    let (order, key) = (order(&customer, 1, 2), key());
    let opened = (0..64).map(|_| bench.provider().checkout_purchase(&order, &key));
    let mut opened: Vec<_> = join_all(opened).await.into_iter().map(Result::unwrap).collect();
    opened.dedup();
    assert_eq!(opened.len(), 1);
    let more = PurchaseOrder {
        quantity: 3,
        ..order.clone()
    };
    assert!(bench.provider().checkout_purchase(&more, &key).await.is_err());
    let other = bench.provider().checkout_purchase(&order, &super::key()).await.unwrap();
    assert_ne!(other.id, opened[0].id, "another key is another purchase");
}

/// A checkout that is paid twice is paid once; a pack can be bought again.
pub async fn paid_twice(bench: &dyn Bench) {
    let checkout = checkout(bench).await;
    bench.pay(&checkout, Card::Good).await;
    bench.pay(&checkout, Card::Good).await;
    assert_eq!(told(bench).await.len(), 1);
    bench.refund(&checkout.id, None).await;
    let first = now(bench, &checkout.id).await;
    assert_eq!(first.refunded, 1400, "there was one payment to give back");
    let again = pay(bench, Card::Good).await;
    assert_ne!(again.id, first.id);
    assert_eq!((again.paid, again.refunded), (true, 0));
}

/// A debit is told of twice: when the buyer is done, and when the money comes.
pub async fn later(bench: &dyn Bench) {
    let waiting = pay(bench, Card::Debit).await;
    assert!(!waiting.paid, "a promise is no money");
    told_of(bench, &waiting).await;
    bench.advance(days(5)).await;
    let paid = now(bench, &waiting.id).await;
    assert_eq!(paid, Purchase { paid: true, ..waiting });
    told_of(bench, &paid).await;
}

/// A debit that does not come is told of, and leaves nothing paid.
pub async fn never(bench: &dyn Bench) {
    let waiting = pay(bench, Card::DebitFails).await;
    assert!(!waiting.paid);
    told_of(bench, &waiting).await;
    bench.advance(days(5)).await;
    told_of(bench, &waiting).await;
}

/// A card that is declined buys nothing, and the next one does.
pub async fn declined(bench: &dyn Bench) {
    let checkout = checkout(bench).await;
    for _ in 0..2 {
        bench.pay_in_vain(&checkout).await;
        assert!(!now(bench, &checkout.id).await.paid);
    }
    assert_eq!(told(bench).await, []);
    bench.pay(&checkout, Card::Good).await;
    assert!(now(bench, &checkout.id).await.paid);
    bench.refund(&checkout.id, Some(1)).await;
    assert_eq!(now(bench, &checkout.id).await.refunded, 1, "of the charge that paid");
}

/// A checkout that nobody pays ends, also after a card was declined, and is told of.
pub async fn ended(bench: &dyn Bench) {
    for declined in [false, true] {
        let checkout = checkout(bench).await;
        drop(sent(bench).await);
        if declined {
            bench.pay_in_vain(&checkout).await;
        }
        bench.advance(days(2)).await;
        let over = now(bench, &checkout.id).await;
        assert!(!over.paid);
        told_of(bench, &over).await;
    }
}

/// What goes back is counted together, and told of by the payment.
pub async fn refunds(bench: &dyn Bench) {
    let mut expected = pay(bench, Card::Good).await;
    told_of(bench, &expected).await;
    for (amount, refunded) in [(Some(300), 300), (Some(1), 301), (None, 1400)] {
        bench.refund(&expected.id, amount).await;
        expected.refunded = refunded;
        assert_eq!(now(bench, &expected.id).await, expected);
        told_of(bench, &expected).await;
    }
}

/// Sixty-four at once are all counted.
pub async fn refunds_at_once(bench: &dyn Bench) {
    let paid = pay(bench, Card::Good).await;
    join_all((0..64).map(|_| bench.refund(&paid.id, Some(2)))).await;
    let refunded = now(bench, &paid.id).await;
    assert_eq!(refunded, Purchase { refunded: 128, ..paid });
    told_of(bench, &refunded).await;
}

/// What the buyer's bank takes back counts as gone, unless the dispute is won.
pub async fn disputes(bench: &dyn Bench) {
    for won in [true, false] {
        let checkout = checkout(bench).await;
        drop(sent(bench).await);
        bench.pay(&checkout, Card::Disputed).await;
        let disputed = now(bench, &checkout.id).await;
        assert_eq!((disputed.paid, disputed.refunded), (true, 1400));
        told_of(bench, &disputed).await;
        bench.decide(&checkout.id, won).await;
        let refunded = if won { 0 } else { 1400 };
        let decided = now(bench, &checkout.id).await;
        assert_eq!(decided, Purchase { refunded, ..disputed });
        told_of(bench, &decided).await;
    }
}

/// What is listed since then, so many at a time, sorted and each once.
async fn listed_since(bench: &dyn Bench, since: Timestamp, limit: u32) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = bench.provider().list_purchases(since, after.as_deref(), limit).await;
        let page = page.unwrap();
        assert!(page.items.len() <= usize::try_from(limit).unwrap());
        for listed in page.items {
            assert_eq!(listed, now(bench, &listed.id).await, "listed as it is told alone");
            found.push(listed.id);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    found.sort();
    found.dedup();
    found
}

/// What was bought, refunded or disputed since a time is listed, and nothing else, however many at a time.
pub async fn listed(bench: &dyn Bench) {
    pay(bench, Card::Good).await;
    let refunded = pay(bench, Card::Good).await.id;
    bench.advance(days(40)).await;
    let disputed = pay(bench, Card::Disputed).await.id;
    bench.advance(days(100)).await;
    // Before this nothing was refunded, and the dispute is not decided.
    let since = super::later(bench.now(), days(1));
    bench.advance(days(2)).await;
    bench.decide(&disputed, true).await;
    for amount in [100, 200] {
        bench.refund(&refunded, Some(amount)).await;
    }
    checkout(bench).await;
    let subscribed = buy(bench, 2, basic()).await;
    assert!(!subscribed.id.is_empty());
    let mut expected = vec![refunded, disputed];
    for card in [Card::Good, Card::Debit, Card::Disputed] {
        expected.push(pay(bench, card).await.id);
    }
    expected.sort();
    for limit in [1, 2, 3, 100] {
        assert_eq!(listed_since(bench, since, limit).await, expected, "{limit} at a time");
    }
    let ahead = super::later(bench.now(), days(200));
    assert_eq!(listed_since(bench, ahead, 100).await, [""; 0]);
    let nowhere = bench.provider().list_purchases(since, Some("nowhere"), 10).await;
    assert!(nowhere.is_err(), "{nowhere:?}");
}

/// Subscriptions sell no credits, and what is not there is nothing.
pub async fn none_of_ours(bench: &dyn Bench) {
    let subscription = buy(bench, 1, basic()).await;
    let events = sent(bench).await;
    assert!(events.iter().all(|event| event.purchase.is_none()), "{events:?}");
    for id in [
        subscription.id.as_str(),
        "cs_nobody",
        "pi_nobody",
        "",
        "..",
        "pi_",
        "pi_/../x",
    ] {
        assert_eq!(bench.provider().purchase(id).await, Ok(None), "{id}");
    }
}

/// What cannot be sold is refused, and nobody buys who is not known.
pub async fn refused(bench: &dyn Bench) {
    let customer = customer(bench, 1).await;
    let many = PurchaseOrder {
        pack: CreditPack {
            credits: i64::MAX,
            ..small()
        },
        ..order(&customer, 1, 2)
    };
    for odd in [order(&customer, 1, 0), order(&customer, 1, -1), many] {
        let refused = bench.provider().checkout_purchase(&odd, &key()).await;
        assert!(matches!(refused, Err(PaymentError::Refused { .. })), "{refused:?}");
    }
    let nobody = order("cus_nobody", 1, 1);
    let outcome = bench.provider().checkout_purchase(&nobody, &key()).await;
    assert_eq!(outcome, Err(PaymentError::NotFound("customer")));
}
