//! Reads Stripe's subscriptions: <https://docs.stripe.com/api/subscriptions/object>.

use serde_json::Value;

use anteroom_domain::Timestamp;
use anteroom_domain::billing::{Owner, OwnerKind, Price, SubscriptionStatus};
use anteroom_ports::billing::{PaymentError, ProviderPrice, ProviderSubscription};

use crate::json::{expanded, flag, id, int, list, text, time};

/// What must be expanded for [`read`].
pub(crate) const EXPAND: [&str; 4] = [
    "latest_invoice",
    "default_payment_method",
    "schedule",
    "customer.invoice_settings.default_payment_method",
];

/// Metadata that say whose a subscription is.
pub(crate) const OWNER_KIND: &str = "anteroom_owner_kind";
pub(crate) const OWNER_ID: &str = "anteroom_owner_id";

/// Metadata of a price that say what is sold at it.
pub(crate) const PLAN: &str = "anteroom_plan";
pub(crate) const PLAN_VERSION: &str = "anteroom_plan_version";

/// A subscription, without what it turns into: [`next_price`] says where to look that up.
pub(crate) fn read(object: &Value) -> Result<ProviderSubscription, PaymentError> {
    let without = |field: &str| PaymentError::Unavailable(format!("its answer is a subscription without `{field}`"));
    let status = SubscriptionStatus::parse(text(object, "/status").ok_or_else(|| without("status"))?);
    let item = item(object);
    let (start, end) = (
        period(object, "current_period_start"),
        period(object, "current_period_end"),
    );
    let invoice = expanded(object, "/latest_invoice");
    let paying = matches!(status, SubscriptionStatus::PastDue | SubscriptionStatus::Unpaid);
    let invoiced = invoice.and_then(|invoice| time(invoice, "/created"));
    let cancel_at = time(object, "/cancel_at");
    Ok(ProviderSubscription {
        id: text(object, "/id").ok_or_else(|| without("id"))?.to_owned(),
        customer: id(object, "/customer").ok_or_else(|| without("customer"))?.to_owned(),
        owner: owner(object),
        price: item.map(|item| price(&item["price"])),
        quantity: item.and_then(|item| int(item, "/quantity")).unwrap_or(1),
        created: time(object, "/created").ok_or_else(|| without("created"))?,
        current_period_start: start,
        current_period_end: end,
        paid_until: if is_unpaid(&status, invoice) { start } else { end },
        // Stripe's own portal writes the time instead of the flag (flexible billing mode).
        cancel_at_period_end: flag(object, "/cancel_at_period_end") || (cancel_at.is_some() && cancel_at == end),
        cancel_at,
        trial_end: time(object, "/trial_end"),
        past_due_since: if paying { invoiced.or(start) } else { None },
        collection_paused: expanded(object, "/pause_collection").is_some(),
        next_price: None,
        next_quantity: None,
        payment_fingerprint: fingerprint(object),
        status,
    })
}

/// The item that the plan is paid with: the first that is not metered.
pub(crate) fn item(subscription: &Value) -> Option<&Value> {
    let counted = |item: &&Value| text(item, "/price/recurring/usage_type") != Some("metered");
    list(subscription, "/items/data").iter().find(counted)
}

/// One end of the running period. It stands on the items since version 2025-03-31, on the subscription before.
pub(crate) fn period(subscription: &Value, field: &str) -> Option<Timestamp> {
    let path = format!("/{field}");
    let items = list(subscription, "/items/data");
    let stated = item(subscription).or(items.first());
    stated
        .and_then(|item| time(item, &path))
        .or_else(|| time(subscription, &path))
}

/// A price: <https://docs.stripe.com/api/prices/object>.
pub(crate) fn price(object: &Value) -> ProviderPrice {
    let plan = object.pointer("/metadata").and_then(|metadata| {
        let version = metadata.get(PLAN_VERSION)?.as_str()?.parse().ok()?;
        Some((metadata.get(PLAN)?.as_str()?.to_owned(), version))
    });
    ProviderPrice {
        id: id(object, "").unwrap_or_default().to_owned(),
        lookup_key: text(object, "/lookup_key").map(str::to_owned),
        plan,
        price: terms(object),
    }
}

/// What is paid for one, if that is one number each month or year.
fn terms(price: &Value) -> Option<Price> {
    let single = int(price, "/recurring/interval_count").unwrap_or(1) == 1;
    let plain = expanded(price, "/transform_quantity").is_none();
    Some(Price {
        amount: int(price, "/unit_amount").filter(|_| single && plain)?,
        currency: text(price, "/currency")?.to_owned(),
        interval: text(price, "/recurring/interval")?.to_owned(),
    })
}

fn owner(object: &Value) -> Option<Owner> {
    let metadata = object.get("metadata")?;
    Some(Owner {
        kind: OwnerKind::parse(metadata.get(OWNER_KIND)?.as_str()?)?,
        id: metadata.get(OWNER_ID)?.as_str()?.parse().ok()?,
    })
}

/// Whether the invoice that opened the running period is unpaid. While a renewal's invoice is a draft, for about an
/// hour, the subscription is active and nothing is late yet.
fn is_unpaid(status: &SubscriptionStatus, invoice: Option<&Value>) -> bool {
    let running = matches!(
        status,
        SubscriptionStatus::Active | SubscriptionStatus::Trialing | SubscriptionStatus::Paused
    );
    let opened = |invoice: &&Value| {
        matches!(
            text(invoice, "/billing_reason"),
            Some("subscription_cycle" | "subscription_create")
        )
    };
    let unpaid = |invoice: &Value| matches!(text(invoice, "/status"), Some("draft" | "open" | "uncollectible"));
    !running && invoice.filter(opened).is_some_and(unpaid)
}

/// The fingerprint of the card or account that is charged: the subscription's own, else its customer's.
fn fingerprint(object: &Value) -> Option<String> {
    let own = expanded(object, "/default_payment_method");
    let method = own.or_else(|| expanded(object, "/customer/invoice_settings/default_payment_method"))?;
    let kind = text(method, "/type")?;
    method.get(kind)?.get("fingerprint")?.as_str().map(str::to_owned)
}

/// What a subscription turns into, as its schedule says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Next<'a> {
    /// The price's identifier.
    pub(crate) price: &'a str,
    /// How many.
    pub(crate) quantity: i64,
}

/// The phase of a schedule that is running.
pub(crate) fn current_phase(schedule: &Value) -> Option<&Value> {
    let start = int(schedule, "/current_phase/start_date")?;
    let phases = list(schedule, "/phases").iter();
    phases
        .into_iter()
        .find(|phase| int(phase, "/start_date") == Some(start))
}

/// The phase that follows the running one.
pub(crate) fn next_phase(subscription: &Value) -> Option<&Value> {
    let schedule = expanded(subscription, "/schedule")?;
    let end = int(schedule, "/current_phase/end_date")?;
    let mut phases = list(schedule, "/phases").iter();
    phases.find(|phase| int(phase, "/start_date").is_some_and(|start| start >= end))
}

/// What it changes; `None` where nothing changes.
pub(crate) fn next(subscription: &Value) -> Option<Next<'_>> {
    let phase = next_phase(subscription)?;
    let items = list(phase, "/items");
    // What is metered has no quantity.
    let counted = items.iter().find(|item| int(item, "/quantity").is_some());
    let planned = counted.or(items.first())?;
    let next = Next {
        price: id(planned, "/price")?,
        quantity: int(planned, "/quantity").unwrap_or(1),
    };
    let now = item(subscription)?;
    let same = id(now, "/price") == Some(next.price) && int(now, "/quantity").unwrap_or(1) == next.quantity;
    (!same).then_some(next)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn at(second: i64) -> Option<Timestamp> {
        Timestamp::from_second(second).ok()
    }

    fn object() -> Value {
        json!({
            "id": "sub_1",
            "object": "subscription",
            "created": 900,
            "customer": {
                "id": "cus_1",
                "object": "customer",
                "invoice_settings": {"default_payment_method": {
                    "id": "pm_2", "type": "sepa_debit", "sepa_debit": {"fingerprint": "of the customer"},
                }},
            },
            "status": "active",
            "cancel_at": null,
            "cancel_at_period_end": false,
            "default_payment_method": {"id": "pm_1", "type": "card", "card": {"fingerprint": "of the card"}},
            "items": {"object": "list", "data": [
                {
                    "id": "si_0", "current_period_start": 1, "current_period_end": 2,
                    "price": {"id": "price_0", "recurring": {"interval": "month", "usage_type": "metered"}},
                },
                {
                    "id": "si_1", "quantity": 3, "current_period_start": 1000, "current_period_end": 2000,
                    "price": {
                        "id": "price_1", "object": "price", "currency": "usd", "unit_amount": 1900,
                        "lookup_key": "anteroom_pro_v3_month_usd",
                        "metadata": {"anteroom_plan": "pro", "anteroom_plan_version": "3"},
                        "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"},
                    },
                },
            ]},
            "latest_invoice": {"id": "in_1", "billing_reason": "subscription_cycle", "created": 1001, "status": "paid"},
            "metadata": {
                "anteroom_owner_kind": "account",
                "anteroom_owner_id": "00000000-0000-0000-0000-000000000007",
            },
            "pause_collection": null,
            "schedule": null,
            "trial_end": 800,
        })
    }

    fn changed(path: &str, value: Value) -> ProviderSubscription {
        let mut object = object();
        *object.pointer_mut(path).unwrap() = value;
        read(&object).unwrap()
    }

    #[test]
    fn a_subscription_is_read_whole() {
        let price = ProviderPrice {
            id: "price_1".into(),
            lookup_key: Some("anteroom_pro_v3_month_usd".into()),
            plan: Some(("pro".into(), 3)),
            price: Some(Price {
                amount: 1900,
                currency: "usd".into(),
                interval: "month".into(),
            }),
        };
        let expected = ProviderSubscription {
            id: "sub_1".into(),
            customer: "cus_1".into(),
            owner: Some(Owner {
                kind: OwnerKind::Account,
                id: Uuid::from_u128(7),
            }),
            price: Some(price),
            quantity: 3,
            status: SubscriptionStatus::Active,
            created: at(900).unwrap(),
            current_period_start: at(1000),
            current_period_end: at(2000),
            paid_until: at(2000),
            cancel_at_period_end: false,
            cancel_at: None,
            trial_end: at(800),
            past_due_since: None,
            collection_paused: false,
            next_price: None,
            next_quantity: None,
            payment_fingerprint: Some("of the card".into()),
        };
        assert_eq!(read(&object()).unwrap(), expected);
    }

    #[test]
    fn an_unpaid_period_counts_as_paid_until_it_began() {
        for (status, invoice, paid_until, since) in [
            ("past_due", "open", 1000, at(1001)),
            ("unpaid", "uncollectible", 1000, at(1001)),
            ("unpaid", "draft", 1000, at(1001)),
            ("past_due", "paid", 2000, at(1001)),
            ("canceled", "open", 1000, None),
            ("active", "draft", 2000, None),
            ("active", "open", 2000, None),
        ] {
            let mut object = object();
            object["status"] = json!(status);
            object["latest_invoice"]["status"] = json!(invoice);
            let read = read(&object).unwrap();
            assert_eq!(
                (read.paid_until, read.past_due_since),
                (at(paid_until), since),
                "{status} {invoice}"
            );
        }
        let mut object = object();
        object["status"] = json!("past_due");
        object["latest_invoice"]["billing_reason"] = json!("subscription_update");
        object["latest_invoice"]["status"] = json!("open");
        assert_eq!(
            read(&object).unwrap().paid_until,
            at(2000),
            "a change's invoice opened no period"
        );
        object["latest_invoice"] = json!("in_1");
        assert_eq!(read(&object).unwrap().past_due_since, at(1000), "not expanded");
    }

    #[test]
    fn an_end_is_one_whichever_way_it_is_written() {
        assert!(changed("/cancel_at_period_end", json!(true)).cancel_at_period_end);
        let at_the_end = changed("/cancel_at", json!(2000));
        assert_eq!(
            (at_the_end.cancel_at_period_end, at_the_end.cancel_at),
            (true, at(2000))
        );
        let earlier = changed("/cancel_at", json!(1500));
        assert_eq!((earlier.cancel_at_period_end, earlier.cancel_at), (false, at(1500)));
    }

    #[test]
    fn what_is_odd_or_missing_spoils_nothing_else() {
        let word = changed("/status", json!("a_word_of_tomorrow"));
        assert_eq!(word.status, SubscriptionStatus::Other("a_word_of_tomorrow".into()));
        assert!(changed("/pause_collection", json!({"behavior": "void"})).collection_paused);
        let customers = changed("/default_payment_method", json!(null));
        assert_eq!(customers.payment_fingerprint.as_deref(), Some("of the customer"));
        assert_eq!(
            changed("/default_payment_method", json!({"type": "link", "link": {}})).payment_fingerprint,
            None
        );
        assert_eq!(changed("/customer", json!("cus_2")).customer, "cus_2");
        assert_eq!(changed("/metadata/anteroom_owner_id", json!("x")).owner, None);
        assert_eq!(changed("/metadata/anteroom_owner_kind", json!("robot")).owner, None);
        let tiers = changed("/items/data/1/price/unit_amount", json!(null)).price.unwrap();
        assert_eq!((tiers.price, tiers.plan), (None, Some(("pro".into(), 3))));
        let quarter = changed("/items/data/1/price/recurring/interval_count", json!(3))
            .price
            .unwrap();
        assert_eq!(quarter.price, None);
        assert_eq!(
            changed("/items/data/1/price/metadata", json!({})).price.unwrap().plan,
            None
        );
        let none = changed("/items", json!(null));
        assert_eq!((none.price, none.quantity, none.current_period_end), (None, 1, None));
        for field in ["id", "status", "customer", "created"] {
            let mut object = object();
            object[field] = json!(null);
            let PaymentError::Unavailable(said) = read(&object).unwrap_err() else {
                panic!("{field}")
            };
            assert!(said.contains(field), "{said}");
        }
    }

    #[test]
    fn old_versions_have_the_period_on_the_subscription() {
        let mut object = object();
        object["items"]["data"][1]
            .as_object_mut()
            .unwrap()
            .retain(|key, _| !key.starts_with("current"));
        (object["current_period_start"], object["current_period_end"]) = (json!(3000), json!(4000));
        let read = read(&object).unwrap();
        assert_eq!(
            (read.current_period_start, read.current_period_end),
            (at(3000), at(4000))
        );
    }

    #[test]
    fn the_phase_after_the_running_one_is_next() {
        let mut object = object();
        assert_eq!(next(&object), None);
        let phase = |start: i64, end: i64, price: &str, quantity: i64| {
            json!({
                "start_date": start, "end_date": end,
                "items": [{"price": "price_0"}, {"price": price, "quantity": quantity}],
            })
        };
        object["schedule"] = json!({
            "id": "sub_sched_1",
            "current_phase": {"start_date": 1000, "end_date": 2000},
            "phases": [phase(0, 1000, "price_9", 1), phase(1000, 2000, "price_1", 3), phase(2000, 3000, "price_2", 1)],
        });
        let planned = Next {
            price: "price_2",
            quantity: 1,
        };
        assert_eq!(next(&object), Some(planned));
        object["schedule"]["phases"][2] = phase(2000, 3000, "price_1", 3);
        assert_eq!(next(&object), None, "the same again is no change");
        object["schedule"]["phases"][2] = phase(2000, 3000, "price_1", 2);
        assert_eq!(next(&object).map(|next| next.quantity), Some(2));
        object["schedule"]["current_phase"] = json!({"start_date": 2000, "end_date": 3000});
        assert_eq!(next(&object), None, "the last phase");
        object["schedule"] = json!("sub_sched_1");
        assert_eq!(next(&object), None, "not expanded");
    }
}
