//! What is asked twice happens once, and what is asked for is all there.

use anteroom_ports::billing::{PlanChange, Published, Sale, UsageReport, When};
use futures_util::future::join_all;

use super::{Bench, METER, basic, buy, customer, days, key, now, order, owner, plan, pro, publish, team, to};

/// The same request with the same key has its effect once, and answers the same.
pub async fn keys(bench: &dyn Bench) {
    publish(bench).await;
    let provider = bench.provider();
    let key = key();
    let first = provider.create_customer(owner(1), "a@example.com", &key).await.unwrap();
    assert_eq!(
        provider.create_customer(owner(1), "a@example.com", &key).await.unwrap(),
        first
    );
    let other = provider.create_customer(owner(2), "b@example.com", &key).await;
    assert!(other.is_err(), "another request with that key");
    assert_ne!(customer(bench, 1).await, first, "another key");

    let key = super::key();
    let checkout = provider.checkout(&order(&first, 1, pro()), &key).await.unwrap();
    assert_eq!(
        provider.checkout(&order(&first, 1, pro()), &key).await.unwrap(),
        checkout
    );

    let bought = buy(bench, 3, basic()).await;
    let key = super::key();
    for _ in 0..2 {
        let changed = provider
            .change_plan(&bought.id, &to(team(), When::Now), &key)
            .await
            .unwrap();
        assert_eq!(plan(changed.price.as_ref()), Some("team"));
    }
    assert_eq!(bench.bills(&bought.id).await.len(), 2);
    let key = super::key();
    for _ in 0..2 {
        let waiting = provider
            .change_plan(&bought.id, &to(pro(), When::PeriodEnd), &key)
            .await
            .unwrap();
        assert_eq!(plan(waiting.next_price.as_ref()), Some("pro"));
    }
}

/// Sixty-four at once make one customer.
pub async fn customers_at_once(bench: &dyn Bench) {
    let key = key();
    let made = (0..64).map(|_| bench.provider().create_customer(owner(1), "a@example.com", &key));
    let mut made: Vec<_> = join_all(made).await.into_iter().map(Result::unwrap).collect();
    made.dedup();
    assert_eq!(made.len(), 1);
}

async fn at_once(bench: &dyn Bench, id: &str, change: &PlanChange) {
    let key = key();
    let changes = (0..64).map(|_| bench.provider().change_plan(id, change, &key));
    for changed in join_all(changes).await {
        changed.unwrap();
    }
}

/// Sixty-four at once make one change, now or later.
pub async fn changes_at_once(bench: &dyn Bench) {
    let bought = buy(bench, 1, basic()).await;
    bench.advance(days(10)).await;
    at_once(bench, &bought.id, &to(team(), When::Now)).await;
    assert_eq!(plan(now(bench, &bought.id).await.price.as_ref()), Some("team"));
    assert_eq!(bench.bills(&bought.id).await.len(), 2);
    at_once(bench, &bought.id, &to(pro(), When::PeriodEnd)).await;
    assert_eq!(plan(now(bench, &bought.id).await.next_price.as_ref()), Some("pro"));
    bench.advance(days(25)).await;
    assert_eq!(plan(now(bench, &bought.id).await.price.as_ref()), Some("pro"));
    assert_eq!(bench.bills(&bought.id).await.len(), 3);
}

/// A report counts once, however often it is sent.
pub async fn usage(bench: &dyn Bench) {
    let customer = customer(bench, 1).await;
    let report = |id: &str, value| UsageReport {
        id: id.to_owned(),
        customer: customer.clone(),
        key: METER.to_owned(),
        value,
        at: bench.now(),
    };
    let first = report("usage-1", 1200);
    for _ in 0..2 {
        bench.provider().report_usage(&first).await.unwrap();
    }
    // As another process would, later: the identifier counts.
    let again = UsageReport {
        at: super::later(first.at, jiff::SignedDuration::from_secs(-60)),
        ..first
    };
    bench.provider().report_usage(&again).await.unwrap();
    bench.provider().report_usage(&report("usage-2", 34)).await.unwrap();
    assert_eq!(bench.used(&customer).await, 1234);
}

/// Sixty-four at once are one report.
pub async fn usage_at_once(bench: &dyn Bench) {
    let customer = customer(bench, 1).await;
    let report = UsageReport {
        id: "usage-1".to_owned(),
        customer: customer.clone(),
        key: METER.to_owned(),
        value: 7,
        at: bench.now(),
    };
    for reported in join_all((0..64).map(|_| bench.provider().report_usage(&report))).await {
        reported.unwrap();
    }
    assert_eq!(bench.used(&customer).await, 7);
}

/// Publishing makes what is missing and changes nothing.
pub async fn publishing(bench: &dyn Bench) {
    let provider = bench.provider();
    let sales: Vec<_> = (0..12).map(|version| Sale { version, ..pro() }).collect();
    let created = vec![Published::Created; 12];
    for dry_run in [true, true, false] {
        assert_eq!(provider.publish(&sales, dry_run).await.unwrap(), created, "{dry_run}");
    }
    for dry_run in [true, false] {
        assert_eq!(
            provider.publish(&sales, dry_run).await.unwrap(),
            vec![Published::Unchanged; 12]
        );
    }
    let mut changed = sales.clone();
    changed[3].price.amount = 2900;
    changed.insert(0, basic());
    for first in [Published::Created, Published::Unchanged] {
        let published = provider.publish(&changed, false).await.unwrap();
        assert_eq!(published[0], first);
        let there = Some(sales[3].price.clone());
        assert_eq!(published[4], Published::Differs { there });
        assert!(published[5..].iter().all(|one| *one == Published::Unchanged));
    }
    assert_eq!(provider.publish(&[], false).await.unwrap(), []);
}

/// Lists have everything once, page after page, over ones too.
pub async fn lists(bench: &dyn Bench) {
    let mut bought = Vec::new();
    for user in 0..5 {
        bought.push(buy(bench, user, pro()).await.id);
    }
    bench.provider().cancel(&bought[2], When::Now, &key()).await.unwrap();
    for limit in [1, 2, 5, 100] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = bench
                .provider()
                .list_subscriptions(after.as_deref(), limit)
                .await
                .unwrap();
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
        let mut all = bought.clone();
        all.sort();
        assert_eq!(found, all, "{limit} at a time");
    }
}
