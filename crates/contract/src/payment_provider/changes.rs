//! Changes of what is paid for.

use anteroom_domain::billing::SubscriptionStatus;
use anteroom_ports::billing::{CheckoutOrder, PaymentError, PlanChange, ProviderSubscription, Sale, When};

use super::{
    Bench, Card, basic, bill_of, buy, close, customer, days, key, near, now, order, pay, plan, pro, pro_yearly,
    publish, team, to, try_out,
};

async fn change(bench: &dyn Bench, id: &str, change: &PlanChange) -> ProviderSubscription {
    bench.provider().change_plan(id, change, &key()).await.unwrap()
}

/// Previews a change at once, makes it, and sees that it cost what the preview said.
async fn changed_as_previewed(
    bench: &dyn Bench,
    before: &ProviderSubscription,
    wanted: &PlanChange,
) -> ProviderSubscription {
    let bills = bench.bills(&before.id).await.len();
    let preview = bench.provider().preview_change(&before.id, wanted).await.unwrap();
    assert_eq!(now(bench, &before.id).await, *before, "a preview changes nothing");
    let after = change(bench, &before.id, wanted).await;
    assert_eq!(now(bench, &before.id).await, after, "what is answered is what is there");
    assert_eq!(bench.bills(&before.id).await.len(), bills + 1, "one bill");
    let bill = bill_of(bench, &before.id).await;
    assert!(
        bill.settled && close(bill.paid, preview.amount_due),
        "{bill:?} {preview:?}"
    );
    if preview.credit > 0 {
        assert!(close(-bill.total, preview.credit), "{bill:?} {preview:?}");
    }
    assert_eq!(preview.currency, "usd");
    assert!(
        near(preview.next_payment_at, after.current_period_end.unwrap()),
        "{preview:?} {after:?}"
    );
    assert_eq!(after.paid_until, after.current_period_end);
    assert_eq!(plan(after.price.as_ref()), Some(wanted.sale.plan.as_str()));
    assert_eq!((after.quantity, after.status.as_str()), (wanted.quantity, "active"));
    after
}

/// Up at once: the difference for the rest of the period is paid now.
pub async fn upgrades(bench: &dyn Bench) {
    let before = buy(bench, 1, basic()).await;
    bench.advance(days(10)).await;
    let after = changed_as_previewed(bench, &before, &to(team(), When::Now)).await;
    assert_eq!(
        after.current_period_end, before.current_period_end,
        "the period goes on"
    );
    let paid = bill_of(bench, &before.id).await.paid;
    assert!(paid > 4000 / 2 && paid < 4000, "two thirds of the difference: {paid}");
}

/// Down at once: what is left over is kept for later bills.
pub async fn downgrades(bench: &dyn Bench) {
    let before = buy(bench, 1, team()).await;
    bench.advance(days(10)).await;
    let wanted = to(basic(), When::Now);
    let preview = bench.provider().preview_change(&before.id, &wanted).await.unwrap();
    assert!(preview.amount_due == 0 && preview.credit > 2000, "{preview:?}");
    changed_as_previewed(bench, &before, &wanted).await;
    bench.advance(days(25)).await;
    let renewed = bill_of(bench, &before.id).await;
    assert_eq!((renewed.total, renewed.paid), (900, 0), "paid from what was left over");
    let preview = bench
        .provider()
        .preview_change(&before.id, &to(basic(), When::Now))
        .await
        .unwrap();
    assert_eq!(
        (preview.amount_due, preview.currency.as_str()),
        (0, "usd"),
        "the same again costs nothing"
    );
}

/// Three seats, five of them at once, which is paid in proportion, and two with the next period.
pub async fn quantities(bench: &dyn Bench) {
    publish(bench).await;
    let customer = customer(bench, 1).await;
    let order = CheckoutOrder {
        quantity: 3,
        ..order(&customer, 1, pro())
    };
    let bought = pay(bench, &order, Card::Good).await;
    assert_eq!((bought.quantity, bought.next_quantity), (3, None));
    bench.advance(days(10)).await;
    let seats = |quantity, sale, when| PlanChange {
        quantity,
        ..to(sale, when)
    };
    let five = changed_as_previewed(bench, &bought, &seats(5, pro(), When::Now)).await;
    assert_eq!(five.current_period_end, bought.current_period_end);
    let paid = bill_of(bench, &bought.id).await.paid;
    assert!(paid > 1900 && paid < 2 * 1900, "two thirds of two seats: {paid}");
    let waiting = change(bench, &bought.id, &seats(2, pro(), When::PeriodEnd)).await;
    let next = |sub: &ProviderSubscription| (plan(sub.next_price.as_ref()).map(str::to_owned), sub.next_quantity);
    assert_eq!(
        (waiting.quantity, next(&waiting)),
        (5, (Some("pro".to_owned()), Some(2)))
    );
    assert_eq!(now(bench, &bought.id).await, waiting);
    bench.advance(days(25)).await;
    let two = now(bench, &bought.id).await;
    assert_eq!((two.quantity, next(&two)), (2, (None, None)));
    let bill = bill_of(bench, &bought.id).await;
    assert_eq!((bill.total, bill.paid), (2 * 1900, 2 * 1900));
    // Another plan for another number, with the next period; and what waits is taken back.
    let waiting = change(bench, &bought.id, &seats(4, team(), When::PeriodEnd)).await;
    assert_eq!(
        (waiting.quantity, next(&waiting)),
        (2, (Some("team".to_owned()), Some(4)))
    );
    bench.provider().resume(&bought.id, &key()).await.unwrap();
    assert_eq!(now(bench, &bought.id).await, two);
    change(bench, &bought.id, &seats(4, team(), When::PeriodEnd)).await;
    bench.advance(days(32)).await;
    let four = now(bench, &bought.id).await;
    assert_eq!(
        (plan(four.price.as_ref()), four.quantity, next(&four)),
        (Some("team"), 4, (None, None))
    );
    assert_eq!(bill_of(bench, &bought.id).await.paid, 4 * 4900);
    // Fewer at once: what is left over is kept.
    let one = changed_as_previewed(bench, &four, &seats(1, team(), When::Now)).await;
    assert_eq!(one.current_period_end, four.current_period_end);
}

/// From months to years at once: a new period begins, and is paid.
pub async fn intervals(bench: &dyn Bench) {
    let before = buy(bench, 1, pro()).await;
    bench.advance(days(10)).await;
    let after = changed_as_previewed(bench, &before, &to(pro_yearly(), When::Now)).await;
    assert!(near(after.current_period_start, bench.now()));
    assert!(near(after.current_period_end, super::later(bench.now(), days(365))));
    let paid = bill_of(bench, &before.id).await.paid;
    assert!(
        (19_000 - 1900..19_000).contains(&paid),
        "a year less the rest of a month: {paid}"
    );
}

/// With the next period: nothing is paid now, and the next bill is of the new price.
async fn with_the_next_period(bench: &dyn Bench, sale: Sale) {
    let before = buy(bench, 1, team()).await;
    bench.advance(days(10)).await;
    let waiting = change(bench, &before.id, &to(sale.clone(), When::PeriodEnd)).await;
    assert_eq!(waiting, now(bench, &before.id).await);
    assert_eq!(plan(waiting.price.as_ref()), Some("team"));
    assert_eq!(waiting.next_price.as_ref().unwrap().price.as_ref(), Some(&sale.price));
    let unchanged = ProviderSubscription {
        next_price: None,
        next_quantity: None,
        ..waiting
    };
    assert_eq!(unchanged, before, "nothing else has changed");
    assert_eq!(bench.bills(&before.id).await.len(), 1);

    bench.advance(days(25)).await;
    let then = now(bench, &before.id).await;
    assert_eq!(then.price.as_ref().unwrap().price.as_ref(), Some(&sale.price));
    assert_eq!((then.next_price, then.status), (None, SubscriptionStatus::Active));
    assert!(then.current_period_end > before.current_period_end && then.paid_until == then.current_period_end);
    assert_eq!(then.current_period_start, before.current_period_end);
    let bill = bill_of(bench, &before.id).await;
    assert_eq!((bill.paid, bill.settled), (sale.price.amount, true));
    assert_eq!(
        bench.bills(&before.id).await.len(),
        2,
        "nothing is settled in proportion"
    );
}

/// A smaller plan with the next period.
pub async fn later(bench: &dyn Bench) {
    with_the_next_period(bench, basic()).await;
}

/// A year with the next period.
pub async fn yearly_later(bench: &dyn Bench) {
    with_the_next_period(bench, pro_yearly()).await;
}

/// The last word counts, whether it is another plan, the present one or an end.
pub async fn replaced(bench: &dyn Bench) {
    let bought = buy(bench, 1, team()).await;
    let id = &bought.id;
    let waiting = change(bench, id, &to(basic(), When::PeriodEnd)).await;
    assert_eq!(plan(waiting.next_price.as_ref()), Some("basic"));
    let waiting = change(bench, id, &to(pro(), When::PeriodEnd)).await;
    assert_eq!(plan(waiting.next_price.as_ref()), Some("pro"));
    let stays = change(bench, id, &to(team(), When::PeriodEnd)).await;
    assert_eq!(stays, bought);

    bench.provider().cancel(id, When::PeriodEnd, &key()).await.unwrap();
    let waiting = change(bench, id, &to(basic(), When::PeriodEnd)).await;
    assert_eq!(
        (plan(waiting.next_price.as_ref()), waiting.cancel_at_period_end),
        (Some("basic"), false)
    );
    bench.provider().cancel(id, When::PeriodEnd, &key()).await.unwrap();
    let ends = now(bench, id).await;
    assert_eq!((ends.next_price, ends.cancel_at_period_end), (None, true));

    bench.provider().resume(id, &key()).await.unwrap();
    change(bench, id, &to(basic(), When::PeriodEnd)).await;
    let at_once = change(bench, id, &to(pro(), When::Now)).await;
    assert_eq!((plan(at_once.price.as_ref()), at_once.next_price), (Some("pro"), None));
}

/// One change after the other, each with its period.
pub async fn again(bench: &dyn Bench) {
    let bought = buy(bench, 1, team()).await;
    for sale in [pro(), basic(), team()] {
        change(bench, &bought.id, &to(sale.clone(), When::PeriodEnd)).await;
        bench.advance(days(32)).await;
        let then = now(bench, &bought.id).await;
        assert_eq!(
            (plan(then.price.as_ref()), &then.next_price),
            (Some(sale.plan.as_str()), &None)
        );
        assert_eq!(bill_of(bench, &bought.id).await.paid, sale.price.amount);
    }
    let at_once = change(bench, &bought.id, &to(basic(), When::Now)).await;
    assert_eq!(plan(at_once.price.as_ref()), Some("basic"));
}

async fn paid(bench: &dyn Bench, id: &str) -> i64 {
    bench.bills(id).await.iter().map(|bill| bill.paid).sum()
}

/// A change that is not paid is none: plan, period and what was to come stay.
pub async fn declined(bench: &dyn Bench) {
    let bought = buy(bench, 1, basic()).await;
    bench.put_card(&bought.customer, Card::Fails).await;
    bench.advance(days(10)).await;
    for waiting in [false, true] {
        if waiting {
            change(bench, &bought.id, &to(pro(), When::PeriodEnd)).await;
        }
        let before = now(bench, &bought.id).await;
        let refused = bench
            .provider()
            .change_plan(&bought.id, &to(team(), When::Now), &key())
            .await;
        let Err(PaymentError::Declined { code, message }) = refused else {
            panic!("{refused:?}")
        };
        assert!(!code.is_empty() && !message.is_empty());
        assert_eq!(now(bench, &bought.id).await, before);
        assert_eq!(paid(bench, &bought.id).await, 900, "nothing more was paid");
    }
    let nobody = bench
        .provider()
        .change_plan("sub_nobody", &to(team(), When::Now), &key())
        .await;
    assert_eq!(nobody, Err(PaymentError::NotFound("subscription")));
}

/// In a trial nothing is due for a change, and the trial goes on.
pub async fn in_trials(bench: &dyn Bench) {
    let tried = try_out(bench, true, Card::Good).await;
    let changed = change(bench, &tried.id, &to(team(), When::Now)).await;
    assert_eq!(
        (changed.status, changed.trial_end),
        (SubscriptionStatus::Trialing, tried.trial_end)
    );
    assert_eq!(plan(changed.price.as_ref()), Some("team"));
    let waiting = change(bench, &tried.id, &to(basic(), When::PeriodEnd)).await;
    assert_eq!(
        (waiting.status, waiting.trial_end),
        (SubscriptionStatus::Trialing, tried.trial_end)
    );
    assert_eq!(plan(waiting.next_price.as_ref()), Some("basic"));
    bench.advance(days(15)).await;
    let paid = now(bench, &tried.id).await;
    assert_eq!(
        (plan(paid.price.as_ref()), paid.status),
        (Some("basic"), SubscriptionStatus::Active)
    );
    assert_eq!(bill_of(bench, &tried.id).await.paid, 900);
}
