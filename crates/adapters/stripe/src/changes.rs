//! Changes of a subscription, now or with the next period.
//!
//! What takes several requests has an idempotency key for each, made of the given one and the step's name, so that a
//! second run with the same key goes through the same steps and each has its effect once.

use serde_json::Value;
use tracing::warn;

use anteroom_ports::billing::{PaymentError, PlanChange, ProviderSubscription, When};

use crate::Stripe;
use crate::form::Form;
use crate::json::{expanded, flag, id, int, list, text};
use crate::meters::COUNTED;
use crate::prices::Sold;
use crate::subscription::{EXPAND, Next, current_phase, item, next, next_phase, period, price};
use crate::transport::Call;

pub(crate) const WHAT: &str = "subscription";
const SCHEDULE: &str = "subscription schedule";

/// What is wanted: the plan's price, and what is metered beside it.
pub(crate) struct Wanted<'a> {
    next: Next<'a>,
    metered: Vec<&'a str>,
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(sold: &'a Sold, quantity: i64) -> Self {
        Self {
            next: Next {
                price: &sold.price,
                quantity,
            },
            metered: sold.metered.iter().map(String::as_str).collect(),
        }
    }
}

/// What is to follow the running period.
struct Follow<'a> {
    wanted: &'a Wanted<'a>,
    /// Of the price: a schedule's phase says how long it lasts.
    interval: &'a str,
    /// The idempotency key of its steps.
    key: String,
}

impl Stripe {
    /// A subscription's object with all that is read of it.
    pub(crate) async fn object(&self, subscription: &str) -> Result<Value, PaymentError> {
        let form = Form::new().with_list("expand", &EXPAND);
        self.http
            .send(Call::get(WHAT, &["subscriptions", subscription], form))
            .await
    }

    pub(crate) async fn update(&self, subscription: &str, form: Form, key: String) -> Result<Value, PaymentError> {
        let form = form.with_list("expand", &EXPAND);
        self.http
            .send(Call::post(WHAT, &["subscriptions", subscription], form, key))
            .await
    }

    pub(crate) async fn change(
        &self,
        subscription: &str,
        change: &PlanChange,
        key: &str,
    ) -> Result<ProviderSubscription, PaymentError> {
        let object = self.object(subscription).await?;
        let sold = self.sold_to(&object, change).await?;
        let wanted = Wanted::new(&sold, change.quantity);
        match change.when {
            When::Now => self.change_now(&object, subscription, &wanted, key).await,
            When::PeriodEnd => {
                let follow = Follow {
                    wanted: &wanted,
                    interval: &change.sale.price.interval,
                    key: format!("{key}/schedule"),
                };
                self.change_later(&object, subscription, &follow, key).await
            }
        }
    }

    /// The prices of a change. Where only the number changes they are those that are held, be it that they were agreed upon,
    /// or are no longer sold.
    pub(crate) async fn sold_to(&self, object: &Value, change: &PlanChange) -> Result<Sold, PaymentError> {
        match held_price(object, change) {
            Some(price) => Ok(Sold {
                price: price.to_owned(),
                metered: metered(object)
                    .filter_map(|item| id(item, "/price").map(str::to_owned))
                    .collect(),
            }),
            None => self.prices_of(&change.sale).await,
        }
    }

    async fn change_now(
        &self,
        object: &Value,
        subscription: &str,
        wanted: &Wanted<'_>,
        key: &str,
    ) -> Result<ProviderSubscription, PaymentError> {
        let form = items(object, "items", wanted)?
            .with("proration_behavior", "always_invoice")
            .with("payment_behavior", "error_if_incomplete");
        // A schedule would undo it at the period's end.
        self.release(object, key).await?;
        let refused = match self.update(subscription, form, format!("{key}/update")).await {
            Ok(changed) => return self.told(&changed).await,
            Err(refused) => refused,
        };
        // Nothing changes, so what was to come at the period's end still does. Without an answer the change may have been
        // made; a schedule would then undo it.
        let restored = match &refused {
            PaymentError::Unavailable(_) if next(object).is_some() => Err(refused.clone()),
            PaymentError::Unavailable(_) => Ok(()),
            _ => self.restore(object, subscription, key).await,
        };
        if let Err(error) = restored {
            warn!(subscription, %error, "a change at the period's end was lost when another failed");
        }
        Err(refused)
    }

    /// Schedules again what was released in vain.
    async fn restore(&self, object: &Value, subscription: &str, key: &str) -> Result<(), PaymentError> {
        let Some(waiting) = next(object) else {
            return Ok(());
        };
        let price = self.prices.by_id(&self.http, waiting.price).await?.price;
        let same = || item(object).and_then(|item| text(item, "/price/recurring/interval"));
        let interval = price.as_ref().map(|price| price.interval.as_str()).or_else(same);
        let wanted = Wanted {
            metered: next_metered(object, waiting.price),
            next: waiting,
        };
        let follow = Follow {
            wanted: &wanted,
            interval: interval.unwrap_or("month"),
            key: format!("{key}/restore"),
        };
        self.schedule(None, subscription, object, &follow).await
    }

    async fn change_later(
        &self,
        object: &Value,
        subscription: &str,
        follow: &Follow<'_>,
        key: &str,
    ) -> Result<ProviderSubscription, PaymentError> {
        let wanted = &follow.wanted.next;
        let item = item(object).ok_or_else(no_item)?;
        if next(object).as_ref() == Some(wanted) {
            return self.told(object).await;
        }
        // A schedule keeps an end that stands on the subscription; what goes on changed does not end.
        self.take_back_end(object, subscription, key).await?;
        if id(item, "/price") == Some(wanted.price) && int(item, "/quantity").unwrap_or(1) == wanted.quantity {
            self.release(object, key).await?;
        } else {
            let attached = expanded(object, "/schedule");
            self.schedule(attached, subscription, object, follow).await?;
        }
        self.told(&self.object(subscription).await?).await
    }

    /// Lets the running period be followed by one that is paid for as wanted.
    async fn schedule(
        &self,
        attached: Option<&Value>,
        subscription: &str,
        object: &Value,
        follow: &Follow<'_>,
    ) -> Result<(), PaymentError> {
        let created;
        let schedule = match attached {
            Some(schedule) => schedule,
            None => {
                let form = Form::new().with("from_subscription", subscription);
                let call = Call::post(WHAT, &["subscription_schedules"], form, &*follow.key);
                created = self.http.send(call).await?;
                &created
            }
        };
        let form = phases(object, schedule, follow)?;
        let path = ["subscription_schedules", text(schedule, "/id").unwrap_or_default()];
        let call = Call::post(SCHEDULE, &path, form, format!("{}/phases", follow.key));
        self.http.send(call).await.map(drop)
    }

    /// Lets go of the schedule that holds a subscription. It stays as it is now.
    pub(crate) async fn release(&self, object: &Value, key: &str) -> Result<(), PaymentError> {
        let Some(schedule) = id(object, "/schedule") else {
            return Ok(());
        };
        let path = ["subscription_schedules", schedule, "release"];
        let call = Call::post(SCHEDULE, &path, Form::new(), format!("{key}/release"));
        self.http.send(call).await.map(drop)
    }

    /// Takes back an end that stands on the subscription. Stripe takes one of the two fields at a time, and clears the
    /// other with the flag.
    pub(crate) async fn take_back_end(
        &self,
        object: &Value,
        subscription: &str,
        key: &str,
    ) -> Result<Option<Value>, PaymentError> {
        let form = if flag(object, "/cancel_at_period_end") {
            Form::new().with("cancel_at_period_end", false)
        } else if int(object, "/cancel_at").is_some() {
            Form::new().with("cancel_at", "")
        } else {
            return Ok(None);
        };
        self.update(subscription, form, format!("{key}/resume")).await.map(Some)
    }
}

fn no_item() -> PaymentError {
    PaymentError::Refused {
        code: None,
        message: "the subscription has nothing that is paid for by number".to_owned(),
    }
}

/// The price that is held, if it is of the same version of the same plan, at the same interval and in the same currency.
fn held_price<'a>(object: &'a Value, change: &PlanChange) -> Option<&'a str> {
    let (held, sale) = (item(object)?.get("price")?, &change.sale);
    let same = price(held).sold() == Some((sale.plan.clone(), sale.version))
        && text(held, "/recurring/interval") == Some(&sale.price.interval)
        && text(held, "/currency") == Some(&sale.price.currency);
    id(held, "").filter(|_| same)
}

/// The metered items that Anteroom put there, which go with the plan.
fn metered(object: &Value) -> impl Iterator<Item = &Value> {
    let own = |item: &&Value| {
        let counted = item
            .pointer("/price/metadata")
            .and_then(|metadata| metadata.get(COUNTED));
        counted.is_some() && text(item, "/price/recurring/usage_type") == Some("metered")
    };
    list(object, "/items/data").iter().filter(own)
}

/// What is metered beside a planned price, as the schedule says that it is planned with.
fn next_metered<'a>(object: &'a Value, planned: &str) -> Vec<&'a str> {
    let Some(phase) = next_phase(object) else {
        return Vec::new();
    };
    let own: Vec<_> = metered(object).filter_map(|item| id(item, "/price")).collect();
    let here = list(object, "/items/data").iter().filter_map(|item| id(item, "/price"));
    let here: Vec<_> = here.collect();
    let prices = list(phase, "/items").iter().filter_map(|item| id(item, "/price"));
    // What is there and not ours is repeated anyway.
    prices
        .filter(|price| *price != planned && (own.contains(price) || !here.contains(price)))
        .collect()
}

/// The parameters that let the plan's item be another, and what is metered beside it. Other items stay.
pub(crate) fn items(object: &Value, name: &str, wanted: &Wanted<'_>) -> Result<Form, PaymentError> {
    let item = item(object).and_then(|item| text(item, "/id")).ok_or_else(no_item)?;
    let mut form = Form::new()
        .with(format!("{name}[0][id]"), item)
        .with(format!("{name}[0][price]"), wanted.next.price)
        .with(format!("{name}[0][quantity]"), wanted.next.quantity);
    let mut number = 1;
    let mut there = Vec::new();
    for item in metered(object) {
        let price = id(item, "/price").unwrap_or_default();
        if wanted.metered.contains(&price) {
            there.push(price);
            continue;
        }
        // What was used till now is billed, as what is left of the plan is settled.
        form.push(format!("{name}[{number}][id]"), text(item, "/id").ok_or_else(no_item)?);
        form.push(format!("{name}[{number}][deleted]"), true);
        number += 1;
    }
    for price in wanted.metered.iter().filter(|price| !there.contains(price)) {
        form.push(format!("{name}[{number}][price]"), price);
        number += 1;
    }
    Ok(form)
}

/// A schedule's parameters: the running phase as it is until the period's end, then one as wanted, after which the
/// schedule lets go. Phases that are given replace those that are there, so all that is to stay is repeated.
fn phases(object: &Value, schedule: &Value, follow: &Follow<'_>) -> Result<Form, PaymentError> {
    let incomplete = || PaymentError::Unavailable("its answer is a schedule without a running phase".to_owned());
    let phase = current_phase(schedule).ok_or_else(incomplete)?;
    let start = int(phase, "/start_date").ok_or_else(incomplete)?;
    let end = period(object, "current_period_end").ok_or_else(incomplete)?;
    let item = item(object).ok_or_else(no_item)?;
    let now = id(item, "/price").ok_or_else(no_item)?;
    let own: Vec<_> = metered(object).filter_map(|item| id(item, "/price")).collect();
    let Wanted { next, metered } = follow.wanted;
    // Nothing is left to settle at the period's end but what was used by a meter that goes: without proration Stripe
    // would forget it.
    let goes = own.iter().any(|price| !metered.contains(price));
    let mut form = Form::new()
        .with("end_behavior", "release")
        .with("proration_behavior", "none")
        .with("phases[0][start_date]", start)
        .with("phases[0][end_date]", end.as_second())
        .with_some("phases[0][trial_end]", int(phase, "/trial_end"))
        .with("phases[1][duration][interval]", follow.interval)
        .with("phases[1][duration][interval_count]", 1)
        .with(
            "phases[1][proration_behavior]",
            if goes { "create_prorations" } else { "none" },
        );
    for number in 0..2 {
        let name = format!("phases[{number}]");
        let stays = list(phase, "/items").iter().filter_map(|item| {
            let (price, quantity) = (id(item, "/price")?, int(item, "/quantity"));
            match number {
                1 if price == now => Some((next.price, Some(next.quantity))),
                1 if own.contains(&price) => None,
                _ => Some((price, quantity)),
            }
        });
        let comes = metered.iter().filter(|_| number == 1).map(|price| (*price, None));
        for (place, (price, quantity)) in stays.chain(comes).enumerate() {
            let name = format!("{name}[items][{place}]");
            form.push(format!("{name}[price]"), price);
            form = form.with_some(format!("{name}[quantity]"), quantity);
        }
        form = discounts(form, &name, phase);
        let rates: Vec<&str> = list(phase, "/default_tax_rates")
            .iter()
            .filter_map(|rate| id(rate, ""))
            .collect();
        form = form.with_list(&format!("{name}[default_tax_rates]"), &rates);
    }
    Ok(form)
}

/// Repeats a phase's discounts.
fn discounts(mut form: Form, name: &str, phase: &Value) -> Form {
    for (place, given) in list(phase, "/discounts").iter().enumerate() {
        let found = ["discount", "promotion_code", "coupon"]
            .into_iter()
            .find_map(|kind| Some((kind, id(given, &format!("/{kind}"))?)));
        if let Some((kind, id)) = found {
            form.push(format!("{name}[discounts][{place}][{kind}]"), id);
        }
    }
    form
}

#[cfg(test)]
mod tests {
    use anteroom_domain::billing::Price;
    use anteroom_ports::billing::Sale;
    use serde_json::json;

    use super::*;

    fn object() -> Value {
        json!({
            "id": "sub_1",
            "items": {"data": [
                {
                    "id": "si_1", "quantity": 3, "current_period_start": 1000, "current_period_end": 2000,
                    "price": {"id": "price_1", "recurring": {"interval": "month", "usage_type": "licensed"}},
                },
                {"id": "si_2", "price": {"id": "price_0", "recurring": {"interval": "month", "usage_type": "metered"}}},
            ]},
        })
    }

    fn pairs(form: &Form) -> Vec<(String, String)> {
        let encoded = form.encode();
        url::form_urlencoded::parse(encoded.as_bytes()).into_owned().collect()
    }

    #[test]
    fn a_schedule_repeats_what_stays_and_changes_the_plan() {
        let schedule = json!({
            "id": "sub_sched_1",
            "current_phase": {"start_date": 1000, "end_date": 2000},
            "phases": [{
                "start_date": 1000, "end_date": 2000, "trial_end": 1500,
                "items": [{"price": "price_1", "quantity": 3}, {"price": {"id": "price_0"}}],
                "discounts": [{"coupon": null, "discount": "di_1", "promotion_code": null}, {"coupon": "TEN"}],
                "default_tax_rates": [{"id": "txr_1"}],
            }],
        });
        let sold = Sold {
            price: "price_2".into(),
            metered: vec![],
        };
        let wanted = Wanted::new(&sold, 1);
        let follow = Follow {
            wanted: &wanted,
            interval: "year",
            key: String::new(),
        };
        let form = phases(&object(), &schedule, &follow).unwrap();
        let expected = [
            ("end_behavior", "release"),
            ("proration_behavior", "none"),
            ("phases[0][start_date]", "1000"),
            ("phases[0][end_date]", "2000"),
            ("phases[0][trial_end]", "1500"),
            ("phases[1][duration][interval]", "year"),
            ("phases[1][duration][interval_count]", "1"),
            ("phases[1][proration_behavior]", "none"),
            ("phases[0][items][0][price]", "price_1"),
            ("phases[0][items][0][quantity]", "3"),
            ("phases[0][items][1][price]", "price_0"),
            ("phases[0][discounts][0][discount]", "di_1"),
            ("phases[0][discounts][1][coupon]", "TEN"),
            ("phases[0][default_tax_rates][0]", "txr_1"),
            ("phases[1][items][0][price]", "price_2"),
            ("phases[1][items][0][quantity]", "1"),
            ("phases[1][items][1][price]", "price_0"),
            ("phases[1][discounts][0][discount]", "di_1"),
            ("phases[1][discounts][1][coupon]", "TEN"),
            ("phases[1][default_tax_rates][0]", "txr_1"),
        ];
        assert_eq!(
            pairs(&form),
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert!(phases(&object(), &json!({"phases": []}), &follow).is_err());
    }

    /// One plan with two meters of ours, beside a meter of the operator's.
    fn metered_object() -> Value {
        let mut object = object();
        let own = |number: i64, key: &str| {
            json!({"id": format!("si_{number}"), "price": {
                "id": format!("price_m{number}"), "metadata": {"anteroom_key": key},
                "recurring": {"interval": "month", "usage_type": "metered"},
            }})
        };
        let items = object["items"]["data"].as_array_mut().unwrap();
        items.extend([own(3, "tokens"), own(4, "messages")]);
        object
    }

    #[test]
    fn what_is_metered_comes_and_goes_with_the_plan() {
        let sold = Sold {
            price: "price_2".into(),
            metered: vec!["price_m4".into(), "price_m5".into()],
        };
        let form = items(&metered_object(), "items", &Wanted::new(&sold, 1)).unwrap();
        let expected = [
            ("items[0][id]", "si_1"),
            ("items[0][price]", "price_2"),
            ("items[0][quantity]", "1"),
            ("items[1][id]", "si_3"),
            ("items[1][deleted]", "true"),
            ("items[2][price]", "price_m5"),
        ];
        assert_eq!(
            pairs(&form),
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn only_the_price_that_is_held_is_kept() {
        let mut object = object();
        let held = json!({"anteroom_plan": "team", "anteroom_plan_version": "1"});
        object["items"]["data"][0]["price"]["metadata"] = held;
        object["items"]["data"][0]["price"]["currency"] = json!("usd");
        let price = |interval: &str, currency: &str| Price {
            amount: 1000,
            currency: currency.into(),
            interval: interval.into(),
        };
        let to = |plan: &str, version, price| PlanChange {
            sale: Sale {
                plan: plan.into(),
                version,
                name: "Team".into(),
                price,
                metered: vec![],
            },
            quantity: 5,
            when: When::Now,
        };
        // Whatever is paid for it: it was agreed upon.
        assert_eq!(
            held_price(&object, &to("team", 1, price("month", "usd"))),
            Some("price_1")
        );
        for other in [
            to("pro", 1, price("month", "usd")),
            to("team", 2, price("month", "usd")),
            to("team", 1, price("year", "usd")),
            to("team", 1, price("month", "eur")),
        ] {
            assert_eq!(held_price(&object, &other), None, "{other:?}");
        }
    }

    #[test]
    fn a_schedule_changes_what_is_metered_with_the_plan() {
        let phase = |start: i64, prices: &[&str]| {
            let items: Vec<_> = prices.iter().map(|price| json!({"price": price})).collect();
            json!({"start_date": start, "end_date": start + 1000, "items": items})
        };
        let schedule = json!({
            "id": "sub_sched_1", "current_phase": {"start_date": 1000, "end_date": 2000},
            "phases": [phase(1000, &["price_1", "price_0", "price_m3", "price_m4"]), phase(2000, &["price_9", "price_0", "price_m4", "price_m6"])],
        });
        let sold = Sold {
            price: "price_2".into(),
            metered: vec!["price_m4".into(), "price_m5".into()],
        };
        let wanted = Wanted::new(&sold, 1);
        let follow = Follow {
            wanted: &wanted,
            interval: "month",
            key: String::new(),
        };
        let all = pairs(&phases(&metered_object(), &schedule, &follow).unwrap());
        let told = |phase: usize| -> Vec<_> {
            let name = format!("phases[{phase}][items]");
            let prices = all
                .iter()
                .filter(|(key, _)| key.starts_with(&name) && key.ends_with("[price]"));
            prices.map(|(_, price)| price.as_str()).collect()
        };
        assert_eq!(told(0), ["price_1", "price_0", "price_m3", "price_m4"]);
        assert_eq!(told(1), ["price_2", "price_0", "price_m4", "price_m5"]);
        let settled = (
            "phases[1][proration_behavior]".to_owned(),
            "create_prorations".to_owned(),
        );
        assert!(all.contains(&settled), "what was used by the meter that goes is billed");
        // What a schedule planned is planned again when it was let go in vain.
        let mut object = metered_object();
        object["schedule"] = schedule;
        assert_eq!(next_metered(&object, "price_9"), ["price_m4", "price_m6"]);
    }
}
