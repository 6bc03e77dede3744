//! What is used beyond a plan, and paid for at the end of the period.

use anteroom_ports::billing::{MeteredPrice, Published, Sale, UsageReport, When};

use super::{Bench, METER, bill_of, buy, days, key, now, pro, sold, team, to};

/// With what one of [`METER`] costs beside it.
fn counting(sale: Sale, amount: &str) -> Sale {
    Sale {
        metered: vec![MeteredPrice {
            key: METER.to_owned(),
            amount: amount.parse().unwrap(),
        }],
        ..sale
    }
}

fn pro_counted() -> Sale {
    counting(sold("pro_counted", 1900, "month"), "2.5")
}

fn team_counted() -> Sale {
    counting(sold("team_counted", 4900, "month"), "0.5")
}

async fn publish(bench: &dyn Bench) {
    let sales = [pro_counted(), team_counted()];
    bench.provider().publish(&sales, false).await.unwrap();
}

async fn uses(bench: &dyn Bench, customer: &str, value: i64) {
    let report = UsageReport {
        id: key(),
        customer: customer.to_owned(),
        key: METER.to_owned(),
        value,
        at: bench.now(),
    };
    bench.provider().report_usage(&report).await.unwrap();
}

/// Each period's usage is on the bill at its end, with the plan for the next one.
pub async fn billed(bench: &dyn Bench) {
    publish(bench).await;
    let bought = buy(bench, 1, pro_counted()).await;
    assert_eq!(bought.price.as_ref().unwrap().plan, Some(("pro_counted".to_owned(), 3)));
    assert_eq!(bill_of(bench, &bought.id).await.paid, 1900, "nothing is paid ahead");
    uses(bench, &bought.customer, 30).await;
    bench.advance(days(10)).await;
    uses(bench, &bought.customer, 10).await;
    bench.advance(days(22)).await;
    let bill = bill_of(bench, &bought.id).await;
    assert_eq!((bill.total, bill.settled), (1900 + 100, true), "40 at 2.5");
    let renewed = now(bench, &bought.id).await;
    assert_eq!(renewed.paid_until, renewed.current_period_end);
    bench.advance(days(31)).await;
    assert_eq!(bill_of(bench, &bought.id).await.total, 1900, "a new period counts anew");
}

/// A change at once bills what was used till then at what it cost then; what follows costs what the new plan says.
pub async fn changed_at_once(bench: &dyn Bench) {
    publish(bench).await;
    let before = buy(bench, 1, pro_counted()).await;
    uses(bench, &before.customer, 40).await;
    bench.advance(days(10)).await;
    let wanted = to(team_counted(), When::Now);
    let preview = bench.provider().preview_change(&before.id, &wanted).await.unwrap();
    let after = bench.provider().change_plan(&before.id, &wanted, &key()).await.unwrap();
    assert_eq!(after.current_period_end, before.current_period_end);
    let bill = bill_of(bench, &before.id).await;
    assert!((bill.paid - preview.amount_due).abs() <= 2, "{bill:?} {preview:?}");
    assert!(
        bill.paid > 3000 / 2 + 100 && bill.paid < 3000 + 100,
        "two thirds of the difference, and 40 at 2.5: {bill:?}"
    );
    uses(bench, &before.customer, 100).await;
    bench.advance(days(22)).await;
    assert_eq!(bill_of(bench, &before.id).await.total, 4900 + 50, "100 at 0.5");
}

/// To and from a plan that counts nothing.
pub async fn comes_and_goes(bench: &dyn Bench) {
    publish(bench).await;
    let id = buy(bench, 1, pro()).await.id;
    let provider = bench.provider();
    let counted = provider.change_plan(&id, &to(team_counted(), When::Now), &key()).await;
    let customer = counted.unwrap().customer;
    uses(bench, &customer, 100).await;
    bench.advance(days(1)).await;
    provider.change_plan(&id, &to(team(), When::Now), &key()).await.unwrap();
    assert!(bill_of(bench, &id).await.paid >= 50, "what was used is paid");
    uses(bench, &customer, 100).await;
    bench.advance(days(32)).await;
    assert_eq!(bill_of(bench, &id).await.total, 4900, "nothing is counted any more");
}

/// With the next period: what was used in the running one costs what it cost in it.
pub async fn changed_later(bench: &dyn Bench) {
    publish(bench).await;
    let before = buy(bench, 1, team_counted()).await;
    let wanted = to(pro_counted(), When::PeriodEnd);
    let waiting = bench.provider().change_plan(&before.id, &wanted, &key()).await.unwrap();
    assert!(waiting.next_price.is_some());
    uses(bench, &before.customer, 200).await;
    bench.advance(days(32)).await;
    let bill = bill_of(bench, &before.id).await;
    assert_eq!((bill.total, bill.settled), (1900 + 100, true), "200 at 0.5");
    uses(bench, &before.customer, 20).await;
    bench.advance(days(31)).await;
    assert_eq!(bill_of(bench, &before.id).await.total, 1900 + 50, "20 at 2.5");
}

/// The same, to a plan that counts nothing; and taken back it goes on as it was.
pub async fn taken_back(bench: &dyn Bench) {
    publish(bench).await;
    let before = buy(bench, 1, team_counted()).await;
    let provider = bench.provider();
    let later = to(pro(), When::PeriodEnd);
    provider.change_plan(&before.id, &later, &key()).await.unwrap();
    assert_eq!(provider.resume(&before.id, &key()).await.unwrap(), before);
    provider.change_plan(&before.id, &later, &key()).await.unwrap();
    uses(bench, &before.customer, 200).await;
    bench.advance(days(32)).await;
    assert_eq!(bill_of(bench, &before.id).await.total, 1900 + 100);
    uses(bench, &before.customer, 200).await;
    bench.advance(days(31)).await;
    assert_eq!(bill_of(bench, &before.id).await.total, 1900);
}

/// What was used till its end is billed, though it is not renewed.
pub async fn ends(bench: &dyn Bench) {
    publish(bench).await;
    let bought = buy(bench, 1, pro_counted()).await;
    let provider = bench.provider();
    provider.cancel(&bought.id, When::PeriodEnd, &key()).await.unwrap();
    uses(bench, &bought.customer, 40).await;
    bench.advance(days(32)).await;
    let over = now(bench, &bought.id).await;
    assert_eq!(over.status.as_str(), "canceled");
    assert_eq!(bill_of(bench, &bought.id).await.total, 100);
}

/// At once as well: nobody leaves with what they have used.
pub async fn ends_at_once(bench: &dyn Bench) {
    publish(bench).await;
    let bought = buy(bench, 1, pro_counted()).await;
    uses(bench, &bought.customer, 40).await;
    bench.advance(days(1)).await;
    let provider = bench.provider();
    provider.cancel(&bought.id, When::Now, &key()).await.unwrap();
    assert_eq!(now(bench, &bought.id).await.status.as_str(), "canceled");
    let bill = bill_of(bench, &bought.id).await;
    assert_eq!((bill.total, bill.paid), (100, 100), "40 at 2.5");
}

/// A plan's metered prices are published with it, and compared as it is.
pub async fn publishing(bench: &dyn Bench) {
    let provider = bench.provider();
    let sales = [pro_counted(), team_counted()];
    let created = [Published::Created, Published::Created];
    assert_eq!(provider.publish(&sales, true).await.unwrap(), created);
    assert_eq!(provider.publish(&sales, false).await.unwrap(), created);
    let unchanged = [Published::Unchanged, Published::Unchanged];
    assert_eq!(provider.publish(&sales, false).await.unwrap(), unchanged);
    // What stands there is never changed: what costs something else needs a new version of its plan.
    let dearer = [counting(sold("pro_counted", 1900, "month"), "3"), team_counted()];
    let published = provider.publish(&dearer, false).await.unwrap();
    assert!(matches!(published[0], Published::Differs { .. }), "{published:?}");
    assert_eq!(published[1], Published::Unchanged);
    let dearer = dearer.map(|sale| Sale { version: 4, ..sale });
    assert_eq!(provider.publish(&dearer, false).await.unwrap(), created);
    assert_eq!(provider.publish(&sales, true).await.unwrap(), unchanged);
    // A price that is missing beside a plan that stands is made.
    let more = counting(pro(), "1");
    super::publish(bench).await;
    assert_eq!(
        provider.publish(std::slice::from_ref(&more), true).await.unwrap(),
        created[..1]
    );
    assert_eq!(provider.publish(&[more], false).await.unwrap(), created[..1]);
}
