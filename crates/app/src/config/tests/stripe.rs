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

#[test]
fn prices_and_trials_that_make_no_sense_are_refused() {
    let plans = |pro: &str| {
        let text = format!(
            "[[billing.plans]]\nkey = \"free\"\nname = \"Free\"\nversion = 1\nmodels = \"all\"\n\
             [[billing.plans]]\nkey = \"pro\"\nname = \"Pro\"\nversion = 1\nmodels = \"all\"\n{pro}"
        );
        messages(load_file("prices", &text)).join("\n")
    };
    let month = "{ amount = 1, currency = \"usd\", interval = \"month\" }";
    for (pro, said) in [
        (format!("prices = [{month}, {month}]"), "two prices in usd by the month"),
        (format!("prices = [{month}]\ntrial_days = 0"), "1 or more"),
        (
            format!("prices = [{month}]\ntrial_without_card = true"),
            "needs `trial_days`",
        ),
        ("trial_days = 7".to_owned(), "has no price"),
    ] {
        let found = plans(&pro);
        assert!(found.contains(said), "{pro}: {found}");
    }
}
