//! Reads Stripe's events as far as they say what to look at: <https://docs.stripe.com/api/events/object>.

use serde_json::Value;

use anteroom_domain::Timestamp;
use anteroom_ports::billing::{ProviderEvent, WebhookRejected};

use crate::json::{flag, id, int, text};

/// The longest identifier that is taken in; Stripe's have at most 255 characters.
const MAX_ID_BYTES: usize = 255;

/// Reads a verified body. Kinds that are about neither a subscription nor a purchase nor a customer come without any.
pub(crate) fn read(body: &[u8], live: bool) -> Result<ProviderEvent, WebhookRejected> {
    let event: Value = serde_json::from_slice(body).map_err(|e| malformed(&e.to_string()))?;
    let word = |path: &str| text(&event, path).map(str::to_owned).and_then(bounded);
    let created = int(&event, "/created").and_then(|second| Timestamp::from_second(second).ok());
    let (id, kind) = (word("/id"), word("/type"));
    let id = id.ok_or_else(|| malformed("`id` is missing, empty or too long"))?;
    let kind = kind.ok_or_else(|| malformed("`type` is missing, empty or too long"))?;
    let created = created.ok_or_else(|| malformed("`created` is no time"))?;
    let object = event.pointer("/data/object").filter(|object| object.is_object());
    let object = object.ok_or_else(|| malformed("there is no `data.object`"))?;
    let there = flag(&event, "/livemode");
    if there != live {
        return Err(WebhookRejected::OtherMode {
            here: mode(live),
            there: mode(there),
        });
    }
    let (subscription, customer) = concerns(&kind, object);
    let known = |id: Option<&str>| id.map(str::to_owned).and_then(bounded);
    Ok(ProviderEvent {
        purchase: known(purchase(&kind, object)),
        subscription: known(subscription),
        customer: known(customer),
        id,
        kind,
        created,
    })
}

fn mode(live: bool) -> &'static str {
    if live { "live" } else { "test" }
}

fn bounded(word: String) -> Option<String> {
    (!word.is_empty() && word.len() <= MAX_ID_BYTES).then_some(word)
}

fn malformed(reason: &str) -> WebhookRejected {
    WebhookRejected::Malformed(reason.to_owned())
}

/// The subscription and the customer that an event is about.
fn concerns<'a>(kind: &str, object: &'a Value) -> (Option<&'a str>, Option<&'a str>) {
    let customer = id(object, "/customer");
    let (family, rest) = kind.split_once('.').unwrap_or((kind, ""));
    match family {
        "customer" if rest.starts_with("subscription.") => (text(object, "/id"), customer),
        // Beside customers themselves: their cards, tax numbers, discounts.
        "customer" if text(object, "/object") == Some("customer") => (None, text(object, "/id")),
        "customer" | "checkout" => (id(object, "/subscription"), customer),
        "invoice" => {
            // Before version 2025-03-31 it stood on the invoice itself.
            let parent = id(object, "/parent/subscription_details/subscription");
            (parent.or_else(|| id(object, "/subscription")), customer)
        }
        "subscription_schedule" => {
            let released = id(object, "/released_subscription");
            (id(object, "/subscription").or(released), customer)
        }
        "charge" | "payment_intent" | "payment_method" | "setup_intent" => (None, customer),
        _ => (None, None),
    }
}

/// The one-time purchase that an event is about: its checkout, or the payment whose money went back, or came back after
/// all. Every payment's refunds and disputes are told like this, those of subscriptions too; which payments sold something
/// once shows when it is asked for.
fn purchase<'a>(kind: &str, object: &'a Value) -> Option<&'a str> {
    match kind {
        "charge.refunded" | "charge.dispute.created" | "charge.dispute.closed" => id(object, "/payment_intent"),
        _ if kind.starts_with("checkout.session.") && text(object, "/mode") == Some("payment") => text(object, "/id"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str, object: &Value) -> Value {
        json!({
            "id": "evt_1", "object": "event", "type": kind, "created": 1000, "livemode": false,
            "api_version": "2026-10-28.endive", "data": {"object": object},
        })
    }

    fn read_test(event: &Value) -> Result<ProviderEvent, WebhookRejected> {
        read(event.to_string().as_bytes(), false)
    }

    #[test]
    fn events_say_what_they_are_about() {
        let (sub, cus) = (Some("sub_1"), Some("cus_1"));
        let subscription = json!({"id": "sub_1", "object": "subscription", "customer": "cus_1"});
        let session = json!({"id": "cs_1", "object": "checkout.session", "subscription": "sub_1", "customer": "cus_1"});
        let invoice = json!({
            "id": "in_1", "customer": "cus_1", "parent": {"subscription_details": {"subscription": "sub_1"}},
        });
        let old_invoice = json!({"id": "in_1", "customer": {"id": "cus_1"}, "subscription": {"id": "sub_1"}});
        let one_off = json!({"id": "in_1", "customer": "cus_1", "parent": null});
        let schedule = json!({"id": "sub_sched_1", "subscription": "sub_1", "customer": "cus_1"});
        let released =
            json!({"id": "sub_sched_1", "subscription": null, "released_subscription": "sub_1", "customer": "cus_1"});
        let payment = json!({"id": "x_1", "customer": "cus_1"});
        let customer = json!({"id": "cus_1", "object": "customer", "deleted": true});
        let tax_number = json!({"id": "txi_1", "object": "tax_id", "customer": "cus_1"});
        let discount = json!({"id": "di_1", "object": "discount", "customer": "cus_1", "subscription": "sub_1"});
        for (kind, object, about) in [
            ("customer.subscription.created", &subscription, (sub, cus)),
            ("customer.subscription.a_word_of_tomorrow", &subscription, (sub, cus)),
            ("checkout.session.completed", &session, (sub, cus)),
            ("invoice.paid", &invoice, (sub, cus)),
            ("invoice.paid", &old_invoice, (sub, cus)),
            ("invoice.paid", &one_off, (None, cus)),
            ("subscription_schedule.updated", &schedule, (sub, cus)),
            ("subscription_schedule.released", &released, (sub, cus)),
            ("charge.refunded", &payment, (None, cus)),
            ("payment_intent.payment_failed", &payment, (None, cus)),
            ("payment_method.attached", &payment, (None, cus)),
            ("setup_intent.succeeded", &payment, (None, cus)),
            ("customer.deleted", &customer, (None, cus)),
            ("customer.tax_id.created", &tax_number, (None, cus)),
            ("customer.discount.created", &discount, (sub, cus)),
            ("product.created", &payment, (None, None)),
            ("one_word", &payment, (None, None)),
        ] {
            let read = read_test(&event(kind, object)).unwrap();
            assert_eq!(
                (read.subscription.as_deref(), read.customer.as_deref()),
                about,
                "{kind}"
            );
            assert_eq!(
                (read.id.as_str(), read.kind.as_str(), read.created.as_second()),
                ("evt_1", kind, 1000)
            );
        }
    }

    #[test]
    fn events_say_which_purchase_they_are_about() {
        let once = json!({"id": "cs_1", "object": "checkout.session", "mode": "payment", "customer": "cus_1"});
        let monthly =
            json!({"id": "cs_1", "object": "checkout.session", "mode": "subscription", "subscription": "sub_1"});
        let charge = json!({"id": "ch_1", "object": "charge", "payment_intent": "pi_1", "customer": "cus_1"});
        let whole = json!({"id": "ch_1", "object": "charge", "payment_intent": {"id": "pi_1"}});
        let old = json!({"id": "ch_1", "object": "charge", "payment_intent": null});
        let dispute = json!({"id": "du_1", "object": "dispute", "charge": "ch_1", "payment_intent": "pi_1"});
        for (kind, object, about) in [
            ("checkout.session.completed", &once, Some("cs_1")),
            ("checkout.session.async_payment_succeeded", &once, Some("cs_1")),
            ("checkout.session.async_payment_failed", &once, Some("cs_1")),
            ("checkout.session.expired", &once, Some("cs_1")),
            ("checkout.session.completed", &monthly, None),
            ("checkout.session.expired", &monthly, None),
            ("charge.refunded", &charge, Some("pi_1")),
            ("charge.refunded", &whole, Some("pi_1")),
            ("charge.refunded", &old, None),
            ("charge.succeeded", &charge, None),
            ("charge.dispute.created", &dispute, Some("pi_1")),
            ("charge.dispute.closed", &dispute, Some("pi_1")),
            ("charge.dispute.updated", &dispute, None),
            ("payment_intent.succeeded", &charge, None),
        ] {
            let read = read_test(&event(kind, object)).unwrap();
            assert_eq!(read.purchase.as_deref(), about, "{kind}: {object}");
        }
        let read = read_test(&event("charge.refunded", &charge)).unwrap();
        assert_eq!((read.subscription, read.customer.as_deref()), (None, Some("cus_1")));
    }

    #[test]
    fn what_is_no_event_is_malformed() {
        let whole = event("customer.created", &json!({"id": "cus_1", "object": "customer"}));
        let long = "x".repeat(256);
        for (path, wrong) in [
            ("/id", json!(null)),
            ("/id", json!(7)),
            ("/id", json!("")),
            ("/id", json!(long)),
            ("/type", json!(null)),
            ("/type", json!(long)),
            ("/created", json!("2026-11-20T00:00:00Z")),
            ("/created", json!(i64::MAX)),
            ("/data", json!(null)),
            ("/data/object", json!("x")),
        ] {
            let mut event = whole.clone();
            *event.pointer_mut(path).unwrap() = wrong;
            assert!(
                matches!(read_test(&event), Err(WebhookRejected::Malformed(_))),
                "{path}"
            );
        }
        let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
        for body in [&b""[..], b"null", b"[]", b"{}", b"\xff\xfe", &deep] {
            assert!(matches!(read(body, false), Err(WebhookRejected::Malformed(_))));
        }
    }

    #[test]
    fn test_and_live_are_told_apart() {
        let mut event = event("customer.created", &json!({"id": "cus_1", "object": "customer"}));
        let body = |event: &Value| event.to_string().into_bytes();
        let other = |here, there| Err(WebhookRejected::OtherMode { here, there });
        assert_eq!(read(&body(&event), true), other("live", "test"));
        event["livemode"] = json!(true);
        assert_eq!(read(&body(&event), false), other("test", "live"));
        assert!(read(&body(&event), true).is_ok());
        event.as_object_mut().unwrap().remove("livemode");
        assert_eq!(
            read(&body(&event), true),
            other("live", "test"),
            "without a word it is a test"
        );
    }
}
