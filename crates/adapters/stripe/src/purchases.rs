//! What is bought once: a checkout in the mode `payment`, and what became of its money.
//! <https://docs.stripe.com/api/checkout/sessions/object>

use std::collections::BTreeSet;

use serde_json::Value;

use anteroom_domain::Timestamp;
use anteroom_domain::billing::{Owner, OwnerKind};
use anteroom_ports::billing::{Checkout, PaymentError, ProviderPage, Purchase, PurchaseOrder};

use crate::form::Form;
use crate::json::{expanded, flag, id, int, list, text, time};
use crate::transport::{Call, Transport};
use crate::{field, reference, with_owner};

/// Metadata that say what was sold, at the terms of the day of sale.
const PACK: &str = "anteroom_pack";
const PACK_CREDITS: &str = "anteroom_pack_credits";
const CREDITS: &str = "anteroom_credits";

/// What must be expanded for [`read`].
const EXPAND: &str = "payment_intent.latest_charge";

/// What every payment's identifier begins with.
const PAYMENT: &str = "pi_";

/// The most disputes on a page. A payment has one, seldom two.
const MAX_DISPUTES: u32 = 100;

/// Opens a checkout.
pub(crate) async fn open(http: &Transport, order: &PurchaseOrder, key: &str) -> Result<Checkout, PaymentError> {
    let credits = order.credits().ok_or_else(|| PaymentError::Refused {
        code: None,
        message: format!("{} of the pack `{}` cannot be sold", order.quantity, order.pack.key),
    })?;
    let call = Call::post("checkout", &["checkout", "sessions"], form(order, credits), key);
    let session = http.send(call).await?;
    Ok(Checkout {
        id: field(&session, "/id", "checkout")?,
        url: field(&session, "/url", "checkout")?,
    })
}

fn form(order: &PurchaseOrder, credits: i64) -> Form {
    let pack = &order.pack;
    let price = "line_items[0][price_data]";
    let mut form = Form::new()
        .with("mode", "payment")
        .with("customer", &order.customer)
        .with("client_reference_id", reference(order.owner))
        .with(format!("{price}[currency]"), &pack.currency)
        .with(format!("{price}[unit_amount]"), pack.amount)
        .with(format!("{price}[product_data][name]"), &pack.name)
        .with("line_items[0][quantity]", order.quantity)
        .with("success_url", &order.success_url)
        .with("cancel_url", &order.cancel_url);
    // On the payment too, where the operator sees in Stripe's dashboard what it was for.
    for name in ["metadata", "payment_intent_data[metadata]"] {
        form = with_owner(form, name, order.owner)
            .with(format!("{name}[{PACK}]"), &pack.key)
            .with(format!("{name}[{PACK_CREDITS}]"), pack.credits)
            .with(format!("{name}[{CREDITS}]"), credits);
    }
    form
}

/// A purchase by its checkout or its payment.
pub(crate) async fn find(http: &Transport, id: &str) -> Result<Option<Purchase>, PaymentError> {
    let session = match session(http, id).await {
        Ok(Some(session)) => session,
        Ok(None) | Err(PaymentError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    told(http, &session).await
}

/// A checkout session as a purchase, with what disputes have taken of it.
async fn told(http: &Transport, session: &Value) -> Result<Option<Purchase>, PaymentError> {
    let Some(mut purchase) = read(session)? else {
        return Ok(None);
    };
    if let Some(payment) = disputed(session) {
        let disputed = disputes(http, payment).await?;
        purchase.refunded = purchase.refunded.saturating_add(disputed).min(purchase.amount);
    }
    Ok(Some(purchase))
}

/// The lists that are gone through, one after the other: what was bought, and then what happened to the money of what was
/// bought long before. Stripe filters each by when its objects were made only.
const LISTS: [&str; 3] = ["checkouts", "refunds", "disputes"];

/// How long a dispute may take to be decided, in seconds: two to three months, by the card's network, with some room.
/// <https://docs.stripe.com/disputes/how-disputes-work>
const DISPUTE_TAKES: i64 = 120 * 24 * 3600;

/// A page of purchases: of the list, and after the object, that `after` names, as in `refunds:re_1`.
pub(crate) async fn page(
    http: &Transport,
    since: Timestamp,
    after: Option<&str>,
    limit: u32,
) -> Result<ProviderPage<Purchase>, PaymentError> {
    let (name, last) = match after {
        None => (LISTS[0], None),
        Some(after) => after
            .split_once(':')
            .map_or((after, None), |(name, id)| (name, Some(id))),
    };
    let mut lists = LISTS.iter();
    if !lists.any(|list| *list == name) {
        return Err(PaymentError::NotFound("purchase"));
    }
    let before = if name == "disputes" { DISPUTE_TAKES } else { 0 };
    let from = since.as_second().saturating_sub(before).max(0);
    let form = Form::new()
        .with("created[gte]", from)
        .with("limit", limit)
        .with_some("starting_after", last);
    let (found, items) = if name == "checkouts" {
        let form = form
            .with("status", "complete")
            .with("expand[]", format!("data.{EXPAND}"));
        let found = http
            .send(Call::get("purchase", &["checkout", "sessions"], form))
            .await?;
        let mut items = Vec::new();
        for session in list(&found, "/data") {
            items.extend(told(http, session).await?);
        }
        (found, items)
    } else {
        let found = http.send(Call::get("purchase", &[name], form)).await?;
        let paid = list(&found, "/data").iter();
        let payments: BTreeSet<&str> = paid.filter_map(|object| id(object, "/payment_intent")).collect();
        let mut items = Vec::new();
        for payment in payments {
            items.extend(find(http, payment).await?);
        }
        (found, items)
    };
    let last = list(&found, "/data").last().and_then(|object| text(object, "/id"));
    let next = match last.filter(|_| flag(&found, "/has_more")) {
        Some(last) => Some(format!("{name}:{last}")),
        None => lists.next().map(|&list| list.to_owned()),
    };
    Ok(ProviderPage { items, next })
}

/// The checkout session, with its payment and charge.
async fn session(http: &Transport, id: &str) -> Result<Option<Value>, PaymentError> {
    if !id.starts_with(PAYMENT) {
        let path = ["checkout", "sessions", id];
        let call = Call::get("checkout", &path, Form::new().with("expand[]", EXPAND));
        return http.send(call).await.map(Some);
    }
    let form = Form::new()
        .with("payment_intent", id)
        .with("limit", 1)
        .with("expand[]", format!("data.{EXPAND}"));
    let found = http.send(Call::get("payment", &["checkout", "sessions"], form)).await?;
    Ok(list(&found, "/data").first().cloned())
}

/// A checkout session as a purchase; `None` of one that sold no credits of ours.
fn read(session: &Value) -> Result<Option<Purchase>, PaymentError> {
    let said = |key: &str| text(session, &format!("/metadata/{key}"));
    let credits = said(CREDITS).and_then(|credits| credits.parse().ok());
    let (Some("payment"), Some(pack), Some(credits)) = (text(session, "/mode"), said(PACK), credits) else {
        return Ok(None);
    };
    if credits <= 0 {
        return Ok(None);
    }
    let without = |field: &str| PaymentError::Unavailable(format!("its answer is a checkout without `{field}`"));
    let status = text(session, "/payment_status").ok_or_else(|| without("payment_status"))?;
    // Of what costs nothing Stripe says so from the beginning.
    let free = status == "no_payment_required" && text(session, "/status") == Some("complete");
    let refunded = charge(session).and_then(|charge| int(charge, "/amount_refunded"));
    Ok(Some(Purchase {
        id: field(session, "/id", "checkout")?,
        customer: id(session, "/customer").map(str::to_owned),
        owner: text(session, "/client_reference_id").and_then(owner),
        pack: pack.to_owned(),
        credits,
        amount: int(session, "/amount_total").ok_or_else(|| without("amount_total"))?,
        currency: field(session, "/currency", "checkout")?,
        paid: status == "paid" || free,
        refunded: refunded.unwrap_or(0),
        created: time(session, "/created").ok_or_else(|| without("created"))?,
    }))
}

/// The owner in a [`reference`].
fn owner(reference: &str) -> Option<Owner> {
    let (kind, id) = reference.split_once(':')?;
    Some(Owner {
        kind: OwnerKind::parse(kind)?,
        id: id.parse().ok()?,
    })
}

fn charge(session: &Value) -> Option<&Value> {
    expanded(session, "/payment_intent/latest_charge")
}

/// The payment, if its charge was ever disputed: so much stays on it when the dispute is over.
fn disputed(session: &Value) -> Option<&str> {
    charge(session).filter(|charge| flag(charge, "/disputed"))?;
    id(session, "/payment_intent")
}

/// What the buyer's bank holds or keeps for disputes. <https://docs.stripe.com/disputes/how-disputes-work>
async fn disputes(http: &Transport, payment: &str) -> Result<i64, PaymentError> {
    let form = Form::new().with("payment_intent", payment).with("limit", MAX_DISPUTES);
    let found = http.send(Call::get("payment", &["disputes"], form)).await?;
    let taken = list(&found, "/data").iter().filter(|dispute| takes_money(dispute));
    Ok(taken.filter_map(|dispute| int(dispute, "/amount")).sum())
}

/// The money is gone while a dispute runs and when it is lost. An inquiry takes nothing yet.
fn takes_money(dispute: &Value) -> bool {
    let status = text(dispute, "/status").unwrap_or_default();
    !matches!(status, "won" | "prevented") && !status.starts_with("warning_")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OWNER: &str = "account:00000000-0000-0000-0000-000000000007";

    fn session() -> Value {
        json!({
            "id": "cs_1", "object": "checkout.session", "mode": "payment", "status": "complete", "payment_status": "paid",
            "amount_total": 1500, "currency": "eur", "created": 1000, "customer": "cus_1", "client_reference_id": OWNER,
            "metadata": {"anteroom_pack": "small", "anteroom_pack_credits": "1000000", "anteroom_credits": "3000000"},
            "payment_intent": {"id": "pi_1", "latest_charge": {"id": "ch_1", "amount_refunded": 500, "disputed": false}},
        })
    }

    fn with(path: &str, value: Value) -> Result<Option<Purchase>, PaymentError> {
        let mut session = session();
        *session.pointer_mut(path).unwrap() = value;
        read(&session)
    }

    #[test]
    fn a_session_is_read_as_it_was_sold() {
        let purchase = read(&session()).unwrap().unwrap();
        let owner = owner(OWNER).unwrap();
        assert_eq!((owner.kind, owner.id.as_u128()), (OwnerKind::Account, 7));
        let expected = Purchase {
            id: "cs_1".into(),
            customer: Some("cus_1".into()),
            owner: Some(owner),
            pack: "small".into(),
            credits: 3_000_000,
            amount: 1500,
            currency: "eur".into(),
            paid: true,
            refunded: 500,
            created: anteroom_domain::Timestamp::from_second(1000).unwrap(),
        };
        assert_eq!(purchase, expected);
    }

    #[test]
    fn it_is_paid_when_the_money_has_come_or_none_is_due() {
        for (status, payment, paid) in [
            ("open", "unpaid", false),
            ("open", "no_payment_required", false),
            ("complete", "unpaid", false),
            ("complete", "paid", true),
            ("complete", "no_payment_required", true),
            ("expired", "unpaid", false),
        ] {
            let mut session = session();
            session["status"] = json!(status);
            session["payment_status"] = json!(payment);
            session["payment_intent"] = json!(null);
            let purchase = read(&session).unwrap().unwrap();
            assert_eq!((purchase.paid, purchase.refunded), (paid, 0), "{status}, {payment}");
        }
    }

    #[test]
    fn what_sold_no_credits_of_ours_is_no_purchase() {
        for (path, value) in [
            ("/mode", json!("subscription")),
            ("/mode", json!("setup")),
            ("/metadata", json!(null)),
            ("/metadata", json!({})),
            ("/metadata/anteroom_pack", json!(null)),
            ("/metadata/anteroom_credits", json!("many")),
            ("/metadata/anteroom_credits", json!("")),
            ("/metadata/anteroom_credits", json!("0")),
            ("/metadata/anteroom_credits", json!("-5")),
            ("/metadata/anteroom_credits", json!("9223372036854775808")),
        ] {
            assert_eq!(with(path, value.clone()), Ok(None), "{path} = {value}");
        }
        for path in ["/id", "/payment_status", "/amount_total", "/currency", "/created"] {
            assert!(
                matches!(with(path, json!(null)), Err(PaymentError::Unavailable(_))),
                "{path}"
            );
        }
    }

    #[test]
    fn an_owner_is_what_was_made_here() {
        for odd in [
            json!(null),
            json!(""),
            json!("order-17"),
            json!("account:"),
            json!("account:17"),
            json!("stranger:00000000-0000-0000-0000-000000000007"),
        ] {
            let purchase = with("/client_reference_id", odd.clone()).unwrap().unwrap();
            assert_eq!(purchase.owner, None, "{odd}");
        }
    }

    #[test]
    fn only_a_dispute_that_took_the_money_counts() {
        for (status, takes) in [
            ("needs_response", true),
            ("under_review", true),
            ("lost", true),
            ("appeal_under_review", true),
            ("won", false),
            ("prevented", false),
            ("warning_needs_response", false),
            ("warning_under_review", false),
            ("warning_closed", false),
        ] {
            assert_eq!(takes_money(&json!({ "status": status })), takes, "{status}");
        }
        let mut session = session();
        assert_eq!(disputed(&session), None);
        session["payment_intent"]["latest_charge"]["disputed"] = json!(true);
        assert_eq!(disputed(&session), Some("pi_1"));
    }
}
