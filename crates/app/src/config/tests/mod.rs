//! Whole loads: the layers' order, mistakes, production's refusals, what is shown.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;

mod layers;
mod mistakes;
mod production;
mod shown;
mod stripe;

const KEY: &str = "3f1c9a7be2d84c05a6b7182930e4d5f6";

/// A folder of its own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("anteroom-config-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn load_env(pairs: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    load(LoadInput {
        env: variables(pairs),
        ..LoadInput::default()
    })
}

fn load_file(name: &str, text: &str) -> Result<Loaded, ConfigErrors> {
    let folder = Folder::new(name);
    load(LoadInput {
        config_path: Some(folder.write("a.toml", text)),
        ..LoadInput::default()
    })
}

fn messages(result: Result<Loaded, ConfigErrors>) -> Vec<String> {
    result.unwrap_err().problems.iter().map(ToString::to_string).collect()
}

/// Loads for production with a good key and what is given.
fn production(pairs: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    let base = [
        ("ANTEROOM_ENV", "production"),
        ("SECRET_KEY", KEY),
        ("ANTEROOM__SERVER__PUBLIC_URL", "https://a.example"),
    ];
    let mut env = variables(&base);
    env.extend(variables(pairs));
    load(LoadInput {
        env,
        ..LoadInput::default()
    })
}

#[test]
fn nothing_set_is_a_development_server_that_needs_nothing() {
    let Loaded {
        settings,
        warnings,
        sources,
        ..
    } = load_env(&[]).unwrap();
    assert!(!settings.is_production());
    assert_eq!(settings.public_url().as_str(), "http://127.0.0.1:7860/");
    assert_eq!(
        settings.allowed_origins(),
        ["http://127.0.0.1:7860", "http://localhost:7860"]
    );
    assert!(!settings.cookie_secure());
    assert!(
        matches!(settings.database(), DatabaseTarget::Sqlite(path) if path == std::path::Path::new("data/anteroom.db"))
    );
    assert_eq!(settings.billing.provider, PaymentProviderName::StripeStub);
    assert_eq!(settings.mail.transport, MailTransport::Folder);
    assert_eq!(settings.log.format, LogFormat::Text);
    assert_eq!(settings.model_providers()[0].kind, ProviderKind::Echo);
    assert!(settings.secret.key.is_none());
    assert_eq!(warnings, [""; 0]);
    assert!(sources.values().all(|source| *source == Source::Default));
}

#[test]
fn the_seeded_plans_are_these() {
    let plans = load_env(&[]).unwrap().settings.billing.plans;
    let prices: Vec<(&str, Option<i64>)> = plans
        .iter()
        .map(|plan| (plan.key.as_str(), plan.prices.first().map(|price| price.amount)))
        .collect();
    assert_eq!(
        prices,
        [
            ("free", None),
            ("pro", Some(1900)),
            ("business", Some(7900)),
            ("enterprise", None)
        ]
    );
    assert_eq!(plans[0].models, PlanModels::First);
    assert_eq!(plans[0].entitlements[0].limit, Some(50));
    assert!(
        plans[1..]
            .iter()
            .all(|plan| plan.models == PlanModels::All && plan.entitlements[0].limit.is_none())
    );
    assert!(plans[3].by_agreement);
}
