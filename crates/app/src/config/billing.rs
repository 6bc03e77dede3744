//! The settings of billing: who takes the money, and the plans.

use secrecy::SecretString;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::settings::unless_empty;

/// `[billing]`: who takes the money, and the plans.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BillingSettings {
    /// The payment provider.
    pub provider: PaymentProviderName,
    /// The plan of everyone without a live subscription; one of `plans`, and free.
    pub default_plan: String,
    /// Days that an unpaid subscription keeps its plan.
    pub past_due_grace_days: u32,
    /// The plans, in the order in which they are shown.
    pub plans: Vec<PlanSettings>,
}

/// `billing.provider`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PaymentProviderName {
    /// The one that takes no money and says it did.
    StripeStub,
    /// Nothing is sold.
    None,
}

/// `[[billing.plans]]`: one plan.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanSettings {
    /// Its name in the API and in subscriptions.
    pub key: String,
    /// Its name for people.
    pub name: String,
    /// Raised when its terms change.
    pub version: i32,
    /// The models it includes.
    pub models: PlanModels,
    /// Not for sale online.
    #[serde(default)]
    pub by_agreement: bool,
    /// What it costs; none for a free plan or one by agreement.
    #[serde(default)]
    pub prices: Vec<PriceSettings>,
    /// What it grants.
    #[serde(default)]
    pub entitlements: Vec<EntitlementSettings>,
    /// Calls to models a minute; absent, without limit.
    pub requests_per_minute: Option<u32>,
    /// Tokens of calls to models a minute; absent, without limit.
    pub tokens_per_minute: Option<u32>,
    /// Guarded parameters that its holders may send.
    #[serde(default)]
    pub allowed_parameters: Vec<String>,
    /// Others that they may not.
    #[serde(default)]
    pub refused_parameters: Vec<String>,
    /// The most choices of a call; absent, as many as any may have.
    pub max_choices: Option<i64>,
}

/// The models a plan includes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanModels {
    /// The first of `ai.models`.
    First,
    /// All that are offered.
    All,
    /// These.
    Named(Vec<String>),
}

impl<'de> Deserialize<'de> for PlanModels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = PlanModels;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(r#""first", "all" or a list of model names"#)
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<PlanModels, E> {
                match word {
                    "first" => Ok(PlanModels::First),
                    "all" => Ok(PlanModels::All),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<PlanModels, A::Error> {
                let names = Vec::deserialize(de::value::SeqAccessDeserializer::new(seq))?;
                Ok(PlanModels::Named(names))
            }
        }
        deserializer.deserialize_any(Words)
    }
}

/// A price of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceSettings {
    /// In the currency's minor unit (cents).
    pub amount: i64,
    /// ISO 4217, small letters.
    pub currency: String,
    /// How often it is paid: `month` or `year`.
    pub interval: String,
}

/// Something a plan grants.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntitlementSettings {
    /// Its name.
    pub key: String,
    /// How it is granted.
    pub kind: EntitlementKindName,
    /// What is granted, of a `boolean` or `static` one.
    pub value: Option<EntitlementValue>,
    /// How many per window, of a `metered` one; without limit when absent.
    pub limit: Option<i64>,
    /// How much money per window, in US dollars, of `cost`; in place of `limit`.
    pub limit_usd: Option<f64>,
    /// The window of a `metered` one.
    pub window: Option<WindowName>,
}

/// `entitlements[].kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntitlementKindName {
    /// On or off.
    Boolean,
    /// A fixed value.
    Static,
    /// So many per window.
    Metered,
}

/// `entitlements[].value`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "the names say it")]
pub enum EntitlementValue {
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
}

/// `entitlements[].window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WindowName {
    /// A minute of the clock.
    Minute,
    /// A day in UTC.
    Day,
    /// A month of billing.
    Month,
}

/// `[stripe_stub]`: the payment provider that needs nothing.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StripeStubSettings {
    /// What it signs its events with; derived from the secret key when `None`.
    #[serde(deserialize_with = "unless_empty")]
    pub webhook_secret: Option<SecretString>,
}
