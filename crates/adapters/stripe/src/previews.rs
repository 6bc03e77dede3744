//! What a change would cost, as an invoice that is not made: <https://docs.stripe.com/api/invoices/create_preview>.

use serde_json::Value;

use anteroom_ports::billing::{ChangePreview, PaymentError, PlanChange};

use crate::Stripe;
use crate::changes::{WHAT, Wanted, items};
use crate::json::{id, int, list, text, time};
use crate::subscription::period;
use crate::transport::{Call, random_key};

impl Stripe {
    pub(crate) async fn preview(&self, subscription: &str, change: &PlanChange) -> Result<ChangePreview, PaymentError> {
        let object = self.object(subscription).await?;
        let sold = self.sold_to(&object, change).await?;
        let wanted = Wanted::new(&sold, change.quantity);
        let form = items(&object, "subscription_details[items]", &wanted)?
            .with("subscription", subscription)
            .with("subscription_details[proration_behavior]", "always_invoice");
        let call = Call::post(WHAT, &["invoices", "create_preview"], form, random_key()?);
        let invoice = self.http.send(call).await?;
        read_preview(&invoice, &object, &sold.price)
    }
}

/// What an invoice that was not made says of a change.
fn read_preview(invoice: &Value, object: &Value, price: &str) -> Result<ChangePreview, PaymentError> {
    let without = |field: &str| PaymentError::Unavailable(format!("its answer is an invoice without `{field}`"));
    let due = int(invoice, "/amount_due").ok_or_else(|| without("amount_due"))?;
    let currency = text(invoice, "/currency").ok_or_else(|| without("currency"))?;
    // What a customer owes stands on their balance as a positive number, what they have left as a negative one.
    let total = int(invoice, "/total").unwrap_or(due);
    let after = int(invoice, "/starting_balance").unwrap_or(0).saturating_add(total);
    let balance = int(invoice, "/ending_balance").unwrap_or(after);
    // The new price's lines end with the period that they open or are part of.
    let of_price = |line: &&Value| {
        let stated = id(line, "/pricing/price_details/price").or_else(|| id(line, "/price"));
        stated == Some(price)
    };
    let lines = list(invoice, "/lines/data").iter().filter(of_price);
    let end = lines.filter_map(|line| time(line, "/period/end")).max();
    Ok(ChangePreview {
        amount_due: due.max(0),
        credit: balance.saturating_neg().max(0),
        currency: currency.to_owned(),
        next_payment_at: end.or_else(|| period(object, "current_period_end")),
    })
}

#[cfg(test)]
mod tests {
    use anteroom_domain::Timestamp;
    use serde_json::json;

    use super::*;

    fn object() -> Value {
        json!({"id": "sub_1", "items": {"data": [{
            "id": "si_1", "quantity": 3, "current_period_start": 1000, "current_period_end": 2000,
            "price": {"id": "price_1", "recurring": {"interval": "month", "usage_type": "licensed"}},
        }]}})
    }

    fn preview(invoice: &Value) -> ChangePreview {
        read_preview(invoice, &object(), "price_2").unwrap()
    }

    #[test]
    fn a_preview_says_what_is_due_and_what_is_left_over() {
        let line = |price: &str, end: i64| {
            json!({
                "amount": 1, "period": {"start": 1500, "end": end}, "pricing": {"price_details": {"price": price}},
            })
        };
        let invoice = json!({
            "amount_due": 950, "total": 950, "starting_balance": 0, "ending_balance": null, "currency": "usd",
            "lines": {"data": [line("price_1", 9000), line("price_2", 2500)]},
        });
        let at = |second| Timestamp::from_second(second).ok();
        let expected = ChangePreview {
            amount_due: 950,
            credit: 0,
            currency: "usd".into(),
            next_payment_at: at(2500),
        };
        assert_eq!(preview(&invoice), expected);
        for (due, total, starting, ending, credit) in [
            (0, -300, 0, json!(null), 300),
            (0, -300, -500, json!(null), 800),
            (0, 300, -500, json!(null), 200),
            (0, 300, -500, json!(-200), 200),
            (100, 300, -200, json!(null), 0),
            (800, 300, 500, json!(0), 0),
        ] {
            let mut invoice = invoice.clone();
            invoice["amount_due"] = json!(due);
            invoice["total"] = json!(total);
            invoice["starting_balance"] = json!(starting);
            invoice["ending_balance"] = ending;
            let credit = ((due, credit), format!("{total} {starting}"));
            let read = preview(&invoice);
            // Paid in full, a positive balance is not carried on.
            assert_eq!((read.amount_due, read.credit), credit.0, "{}", credit.1);
        }
        let mut bare = invoice;
        bare["lines"] = json!(null);
        assert_eq!(preview(&bare).next_payment_at, at(2000), "the running period goes on");
        bare["amount_due"] = json!(null);
        assert!(read_preview(&bare, &object(), "price_2").is_err());
    }
}
