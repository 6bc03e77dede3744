//! Who takes the money, and with which key.

use super::*;

const TEST: (&str, &str) = ("STRIPE_SECRET_KEY", "rk_test_0123456789");
const LIVE: (&str, &str) = ("STRIPE_SECRET_KEY", "sk_live_0123456789");
const SIGNED: (&str, &str) = ("STRIPE_WEBHOOK_SECRET", "whsec_old, whsec_new");

#[test]
fn a_key_chooses_stripe() {
    let loaded = load_env(&[TEST, SIGNED]).unwrap();
    let settings = &loaded.settings;
    assert_eq!(settings.billing.provider, PaymentProviderName::Stripe);
    assert_eq!(settings.stripe.live(), Some(false));
    assert_eq!(settings.stripe.webhook_secrets().len(), 2);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let loaded = production(&[LIVE, SIGNED]).unwrap();
    assert_eq!(loaded.settings.stripe.live(), Some(true));
    // Whoever says otherwise is heard, and told.
    let other = load_env(&[TEST, ("ANTEROOM__BILLING__PROVIDER", "none")]).unwrap();
    assert_eq!(other.settings.billing.provider, PaymentProviderName::None);
    assert!(
        other
            .warnings
            .iter()
            .any(|warning| warning.contains("stripe.secret_key"))
    );
}

#[test]
fn keys_of_test_and_live_mode_are_told_apart() {
    let said = |result: Result<Loaded, ConfigErrors>| messages(result).join("\n");
    assert!(said(load_env(&[LIVE, SIGNED])).contains("takes real money"));
    let test = production(&[TEST, SIGNED]).unwrap();
    assert!(
        test.warnings.iter().any(|warning| warning.contains("nobody pays")),
        "{:?}",
        test.warnings
    );
    for odd in ["pk_test_0123456789", "hunter2", "sk_0123456789", "sk_other_0123456789"] {
        let said = said(load_env(&[("STRIPE_SECRET_KEY", odd), SIGNED]));
        assert!(said.contains("sk_live_") && !said.contains(odd), "{said}");
    }
    let without = said(load_env(&[("ANTEROOM__BILLING__PROVIDER", "stripe")]));
    assert!(without.contains("STRIPE_SECRET_KEY"), "{without}");
}

#[test]
fn without_a_webhooks_secret_nothing_that_is_bought_takes_effect() {
    let development = load_env(&[TEST]).unwrap();
    assert!(
        development
            .warnings
            .iter()
            .any(|warning| warning.contains("STRIPE_WEBHOOK_SECRET"))
    );
    assert!(
        messages(production(&[LIVE]))
            .join("\n")
            .contains("STRIPE_WEBHOOK_SECRET")
    );
    assert!(production(&[LIVE, ("STRIPE_WEBHOOK_SECRET", " , ")]).is_err());
}

const BY_SEAT: &str =
    "entitlements = [{ key = \"messages\", kind = \"metered\", limit = 5, window = \"day\", per_seat = true }]";
const BY_SEAT_WITHOUT_LIMIT: &str =
    "entitlements = [{ key = \"messages\", kind = \"metered\", window = \"day\", per_seat = true }]";

#[test]
fn prices_and_trials_that_make_no_sense_are_refused() {
    let loaded = |pro: &str| {
        let text = format!(
            "[[billing.plans]]\nkey = \"free\"\nname = \"Free\"\nversion = 1\nmodels = \"all\"\n\
             [[billing.plans]]\nkey = \"pro\"\nname = \"Pro\"\nversion = 1\nmodels = \"all\"\n{pro}"
        );
        load_file("prices", &text)
    };
    let plans = |pro: &str| messages(loaded(pro)).join("\n");
    let month = "{ amount = 1, currency = \"usd\", interval = \"month\" }";
    for (pro, said) in [
        (format!("prices = [{month}, {month}]"), "two prices in usd by the month"),
        (format!("prices = [{month}]\ntrial_days = 0"), "1 or more"),
        (
            format!("prices = [{month}]\ntrial_without_card = true"),
            "needs `trial_days`",
        ),
        ("trial_days = 7".to_owned(), "has no price"),
        ("seats = { min = 2 }".to_owned(), "seats are sold"),
        (format!("prices = [{month}]\nseats = {{ min = 0 }}"), "1 to 999999"),
        (
            format!("prices = [{month}]\nseats = {{ min = 3, max = 2 }}"),
            "1 to 999999",
        ),
        (format!("prices = [{month}]\nseats = {{ max = 0 }}"), "1 to 999999"),
        (
            format!("prices = [{month}]\nseats = {{ max = 1000000 }}"),
            "1 to 999999",
        ),
        (
            format!("prices = [{month}]\nseats = {{ min = 1000000 }}"),
            "1 to 999999",
        ),
        (format!("prices = [{month}]\nseats = {{ most = 2 }}"), "most"),
        (format!("prices = [{month}]\n{BY_SEAT}"), "the plan has no `seats`"),
        (
            format!("prices = [{month}]\nseats = {{}}\n{BY_SEAT_WITHOUT_LIMIT}"),
            "has a `limit`",
        ),
    ] {
        let found = plans(&pro);
        assert!(found.contains(said), "{pro}: {found}");
    }
    for seats in ["{}", "{ min = 2 }", "{ max = 50 }", "{ min = 3, max = 3 }"] {
        let text = format!("prices = [{month}]\nseats = {seats}\n{BY_SEAT}");
        assert!(loaded(&text).is_ok(), "{text}");
    }
}

/// What is wrong with a plan at 1 dollar a month that has this entitlement.
fn wrong_with(entitlement: &str, prices: &str) -> String {
    let text = format!(
        "[[billing.plans]]\nkey = 'free'\nname = 'F'\nversion = 1\nmodels = 'all'\n\
         [[billing.plans]]\nkey = 'pro'\nname = 'P'\nversion = 1\nmodels = 'all'\nprices = {prices}\nentitlements = [{entitlement}]\n"
    );
    match load_file("overage", &text) {
        Ok(_) => String::new(),
        refused => messages(refused).join("\n"),
    }
}

#[test]
fn an_overage_has_an_end_and_a_price_in_every_currency_of_its_plan() {
    const MONTH: &str = "[{ amount = 100, currency = 'usd', interval = 'month' }]";
    let good = "{ key = 'exports', kind = 'metered', limit = 5, window = 'month', \
                overage = { max = 3, prices = [{ currency = 'usd', amount = '0.05' }] } }";
    assert_eq!(wrong_with(good, MONTH), "");
    for (from, to, expected) in [
        ("max = 3", "max = 0", "the `max` of an `overage` is 1 or more"),
        ("max = 3", "max = 9223372036854775807", "more than can be counted"),
        ("max = 3, ", "", "`max` is missing"),
        ("max = 3", "most = 3", "the nearest known one is `max`"),
        ("'month'", "'day'", "only what has a `limit` by the month"),
        ("limit = 5, ", "", "only what has a `limit` by the month"),
        ("exports", "credits", "credits and cost have none"),
        ("'0.05'", "0.05", "found 0.05, expected a text"),
        ("'0.05'", "'5 cents'", "found \"5 cents\""),
        ("'0.05'", "'0'", "a number above zero"),
        ("'usd'", "'eur'", "has no price in usd, as the plan has"),
        ("'usd'", "'eur'", "the plan has no price in eur"),
        ("'usd'", "'USD'", "three small letters"),
        (
            "[{ currency",
            "[{ currency = 'usd', amount = '1' }, { currency",
            "two prices in usd",
        ),
    ] {
        let found = wrong_with(&good.replacen(from, to, 1), MONTH);
        assert!(found.contains(expected), "{to}: {expected} in {found}");
    }
    assert!(wrong_with(good, "[]").contains("this plan has no price"));
}
