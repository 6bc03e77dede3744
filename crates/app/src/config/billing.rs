//! The settings of billing: who takes the money, and the plans.

use anteroom_domain::billing::{Credits, METER_CREDITS, Meter, SeatRule, UnitAmount, Window};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use url::Url;

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
    /// Whether a subscription keeps its plan while collecting its payment is paused.
    pub paused_collection_keeps_plan: bool,
    /// The price of calls, in US dollars, that a credit pays for.
    pub usd_per_credit: f64,
    /// The packs of credits that can be bought.
    pub credit_packs: Vec<PackSettings>,
    /// The features that Anteroom's own operations ask for.
    pub requires: Vec<RequirementSettings>,
    /// Days before the end of a trial at which its owner is told; 0: never.
    pub trial_ending_days: u32,
    /// The windows of whose limits holders are told.
    pub quota_mails: QuotaMails,
    /// The plans, in the order in which they are shown.
    pub plans: Vec<PlanSettings>,
}

/// `billing.quota_mails`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QuotaMails {
    /// No mail tells of a limit.
    None,
    /// Of those by the month.
    Month,
    /// Of those by the day.
    Day,
    /// Of both.
    Both,
}

impl QuotaMails {
    /// The windows.
    pub fn windows(self) -> Vec<Window> {
        match self {
            Self::None => Vec::new(),
            Self::Month => vec![Window::Month],
            Self::Day => vec![Window::Day],
            Self::Both => vec![Window::Day, Window::Month],
        }
    }
}

/// `billing.provider`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PaymentProviderName {
    /// Stripe.
    Stripe,
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
    /// Higher is better.
    #[serde(default)]
    pub rank: i32,
    /// Days before the first payment.
    pub trial_days: Option<u32>,
    /// Whether the trial needs no means of payment.
    #[serde(default)]
    pub trial_without_card: bool,
    /// The models it includes.
    pub models: PlanModels,
    /// Not for sale online.
    #[serde(default)]
    pub by_agreement: bool,
    /// What it costs; none for a free plan or one by agreement.
    #[serde(default)]
    pub prices: Vec<PriceSettings>,
    /// How many seats are sold at once; absent, it is sold once.
    pub seats: Option<SeatSettings>,
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

/// The most that limits and what is used beyond them come to: sums of them never run over.
const MOST_METERED: i64 = i64::MAX / 4;

impl PlanSettings {
    /// What is wrong with what is paid for beyond limits: it has a price in each currency of the plan, and no other.
    pub(super) fn overage_mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        for entitlement in &self.entitlements {
            let Some(overage) = &entitlement.overage else { continue };
            let mut say = |text: String| mistakes.push(format!("entitlement `{}`: {text}", entitlement.key));
            if self.prices.is_empty() {
                say("an `overage` goes on the bill of a plan that is bought, and this plan has no price".to_owned());
            }
            for price in &self.prices {
                if !overage.prices.iter().any(|it| it.currency == price.currency) {
                    say(format!(
                        "its `overage` has no price in {}, as the plan has",
                        price.currency
                    ));
                }
            }
            for (i, this) in overage.prices.iter().enumerate() {
                if overage.prices[..i].iter().any(|it| it.currency == this.currency) {
                    say(format!("its `overage` has two prices in {}", this.currency));
                }
                if !self.prices.iter().any(|it| it.currency == this.currency) {
                    say(format!(
                        "the plan has no price in {}, as its `overage` has",
                        this.currency
                    ));
                }
                if let Err(e) = this.amount.parse::<UnitAmount>() {
                    say(format!("`amount` of its `overage`: {e}; found \"{}\"", this.amount));
                }
            }
        }
        mistakes
    }

    /// What is wrong with its prices and its trial.
    pub(super) fn price_mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if self.by_agreement && !self.prices.is_empty() {
            mistakes.push("a plan by agreement has no prices here".to_owned());
        }
        for (i, this) in self.prices.iter().enumerate() {
            let same = |it: &PriceSettings| it.currency == this.currency && it.interval == this.interval;
            if self.prices[..i].iter().any(same) {
                mistakes.push(format!("two prices in {} by the {}", this.currency, this.interval));
            }
        }
        mistakes.extend(self.seat_mistake());
        match self.trial_days {
            Some(0) => mistakes.push("`trial_days` is 1 or more".to_owned()),
            // Stripe's limit.
            Some(731..) => mistakes.push("`trial_days` is 730 at most".to_owned()),
            Some(_) if self.prices.is_empty() => {
                mistakes.push("a trial comes before a payment, and this plan has no price".to_owned());
            }
            None if self.trial_without_card => mistakes.push("`trial_without_card` needs `trial_days`".to_owned()),
            _ => {}
        }
        mistakes
    }

    fn seat_mistake(&self) -> Option<String> {
        let per_seat = |it: &EntitlementSettings| it.per_seat;
        let Some(rule) = self.seats.map(SeatRule::from) else {
            let named = self.entitlements.iter().find(|it| per_seat(it))?;
            return Some(format!("`{}` is `per_seat`, and the plan has no `seats`", named.key));
        };
        if self.prices.is_empty() {
            return Some("seats are sold, and this plan has no price".to_owned());
        }
        let most = SeatRule::MOST;
        if rule.min < 1 || rule.max.is_some_and(|max| max < rule.min) || rule.min.max(rule.max.unwrap_or(1)) > most {
            return Some(format!("`seats` are 1 to {most}, `min` not above `max`"));
        }
        None
    }
}

/// How many seats of a plan are sold at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeatSettings {
    /// The fewest.
    #[serde(default = "one")]
    pub min: i64,
    /// The most; absent, as many as are sold of anything.
    pub max: Option<i64>,
}

fn one() -> i64 {
    1
}

impl From<SeatSettings> for SeatRule {
    fn from(SeatSettings { min, max }: SeatSettings) -> Self {
        Self { min, max }
    }
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

/// `[[billing.credit_packs]]`: a pack of credits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackSettings {
    /// What a checkout calls it.
    pub key: String,
    /// Its name for people.
    pub name: String,
    /// How many credits are in it.
    pub credits: i64,
    /// In the currency's minor unit (cents).
    pub amount: i64,
    /// ISO 4217, small letters.
    pub currency: String,
    /// Days that they last once they are paid; absent, for good.
    pub expires_days: Option<u32>,
}

/// `[[billing.requires]]`: a feature that an operation asks for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequirementSettings {
    /// The operation.
    pub operation: String,
    /// The boolean entitlement.
    pub feature: String,
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
    /// How many are carried into the next window, of `credits`.
    pub rollover: Option<i64>,
    /// Whether the limit is for each seat of the plan.
    #[serde(default)]
    pub per_seat: bool,
    /// What may be used beyond the limit, for money, of a `metered` one.
    pub overage: Option<OverageSettings>,
}

/// What may be used beyond a limit, for money.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverageSettings {
    /// The most in a month of billing.
    pub max: i64,
    /// What one costs, in each currency of the plan's prices.
    pub prices: Vec<OveragePriceSettings>,
}

/// What one of what is used beyond a limit costs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OveragePriceSettings {
    /// ISO 4217, small letters.
    pub currency: String,
    /// In the currency's minor unit (cents), or fractions of it, as a text.
    pub amount: String,
}

impl EntitlementSettings {
    /// Whether it switches this feature on.
    pub(super) fn switches_on(&self, feature: &str) -> bool {
        let on = self.kind == EntitlementKindName::Boolean && self.value == Some(EntitlementValue::Boolean(true));
        on && self.key == feature
    }

    /// Whether it says how often models may be asked.
    pub(super) fn lets_call(&self) -> bool {
        let credits = self.key == METER_CREDITS && self.kind == EntitlementKindName::Metered;
        self.key == Meter::Messages.as_str() || credits
    }

    /// What is wrong with it.
    pub(super) fn mistake(&self) -> Option<&'static str> {
        if let Some(overage) = &self.overage
            && let Some(mistake) = self.mistake_of_overage(overage)
        {
            return Some(mistake);
        }
        if self.per_seat && self.limit.is_none() && self.limit_usd.is_none() {
            return Some("what is `per_seat` has a `limit`");
        }
        if self.key == METER_CREDITS {
            return self.mistake_of_credits();
        }
        if Meter::parse(&self.key).is_some() && self.window == Some(WindowName::Always) {
            return Some("what calls use is counted by the minute, the day or the month");
        }
        if self.rollover.is_some() {
            return Some("only `credits` have a `rollover`");
        }
        self.mistake_of_kind()
    }

    fn mistake_of_overage(&self, overage: &OverageSettings) -> Option<&'static str> {
        let metered = self.kind == EntitlementKindName::Metered && self.window == Some(WindowName::Month);
        // What calls cost is the operator's money: it is limited, and paid for by the plan.
        if !metered || self.limit.is_none() || self.key == METER_CREDITS || self.key == Meter::Cost.as_str() {
            return Some("only what has a `limit` by the month has an `overage`; credits and cost have none");
        }
        if overage.max < 1 {
            return Some("the `max` of an `overage` is 1 or more");
        }
        if self
            .limit
            .is_some_and(|limit| limit.checked_add(overage.max).is_none_or(|most| most > MOST_METERED))
        {
            return Some("the limit and the `max` of its `overage` are more than can be counted");
        }
        None
    }

    fn mistake_of_credits(&self) -> Option<&'static str> {
        let most = Credits::MOST.whole_down();
        if self.kind != EntitlementKindName::Metered
            || !matches!(self.window, None | Some(WindowName::Day | WindowName::Month))
        {
            return Some("credits are `metered`, by the day or the month");
        }
        if self.limit.is_some_and(|limit| limit > most) {
            return Some("at most a billion credits");
        }
        if self.limit.is_none() && self.rollover.is_some() {
            return Some("without a `limit` there is nothing to carry over");
        }
        self.mistake_of_kind()
    }

    fn mistake_of_kind(&self) -> Option<&'static str> {
        let has_meter = self.limit.is_some() || self.limit_usd.is_some() || self.window.is_some();
        let of_money = self.key == Meter::Cost.as_str();
        match self.kind {
            EntitlementKindName::Boolean if has_meter || !matches!(self.value, Some(EntitlementValue::Boolean(_))) => {
                Some("boolean takes `value` = true or false, and nothing else")
            }
            EntitlementKindName::Static if has_meter || self.value.is_none() => {
                Some("static takes a `value`, and nothing else")
            }
            EntitlementKindName::Metered if self.window.is_none() || self.value.is_some() => {
                Some("metered takes a `window` and perhaps a `limit`, and no `value`")
            }
            EntitlementKindName::Metered if of_money && self.limit.is_some() => {
                Some("cost is limited in US dollars, by `limit_usd`")
            }
            EntitlementKindName::Metered if !of_money && self.limit_usd.is_some() => {
                Some("only `cost` is limited by `limit_usd`; this takes a `limit`")
            }
            _ => None,
        }
    }
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
    /// For good, until it is given back.
    Always,
}

/// `[stripe]`: the payment provider that takes money.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StripeSettings {
    /// `sk_…` or `rk_…`.
    #[serde(deserialize_with = "unless_empty")]
    pub secret_key: Option<SecretString>,
    /// One or several `whsec_…`, separated by commas.
    #[serde(deserialize_with = "unless_empty")]
    pub webhook_secret: Option<SecretString>,
    /// Where its API is.
    pub api_base: Url,
    /// How long one try may take.
    pub timeout_ms: u32,
}

impl StripeSettings {
    /// The signing secrets, each by itself.
    pub fn webhook_secrets(&self) -> Vec<SecretString> {
        let secrets = self
            .webhook_secret
            .iter()
            .flat_map(|all| all.expose_secret().split(','));
        let secrets = secrets.map(str::trim).filter(|secret| !secret.is_empty());
        secrets.map(SecretString::from).collect()
    }

    /// Whether the key moves money; `None` where there is none, or none of Stripe's.
    pub fn live(&self) -> Option<bool> {
        let mut parts = self.secret_key.as_ref()?.expose_secret().splitn(3, '_');
        if !matches!(parts.next()?, "sk" | "rk") {
            return None;
        }
        let mode = parts.next()?;
        parts.next()?;
        match mode {
            "live" => Some(true),
            "test" => Some(false),
            _ => None,
        }
    }
}

/// `[stripe_stub]`: the payment provider that needs nothing.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StripeStubSettings {
    /// What it signs its events with; derived from the secret key when `None`.
    #[serde(deserialize_with = "unless_empty")]
    pub webhook_secret: Option<SecretString>,
    /// What its API takes; derived from the secret key when `None`.
    #[serde(deserialize_with = "unless_empty")]
    pub secret_key: Option<SecretString>,
    /// One that runs elsewhere.
    #[serde(deserialize_with = "unless_empty")]
    pub url: Option<Url>,
}
