//! What may be said of a key, and what is refused.

use anteroom_domain::access::{ApiKey, BudgetWindow, KeyBudget, Scope};
use anteroom_domain::accounts::{MAX_NAME_CHARS, valid_name};
use anteroom_domain::billing::NanoUsd;
use anteroom_domain::{Timestamp, micros};

use crate::accounts::FieldFault;

/// Models that a key may name, at most.
const MAX_MODELS: usize = 100;

/// The largest budget, in US dollars.
const MAX_BUDGET_USD: f64 = 1_000_000.0;

/// The largest rate.
const MAX_PER_MINUTE: i64 = 1_000_000;

/// What is said of a key; what is absent stays, `Some(None)` takes a limit away.
#[derive(Debug, Default, Clone)]
pub struct ChangeApiKey {
    /// A name.
    pub name: Option<String>,
    /// What it may be used for, in words.
    pub scopes: Option<Vec<String>>,
    /// The models it may be used with.
    pub models: Option<Option<Vec<String>>>,
    /// What may be spent with it.
    pub budget: Option<Option<NewBudget>>,
    /// How often it may be used in a minute.
    pub requests_per_minute: Option<Option<i64>>,
    /// When it ends by itself.
    pub expires_at: Option<Option<Timestamp>>,
}

/// A budget, as it is said.
#[derive(Debug, Clone, Copy)]
pub struct NewBudget {
    /// The most, in US dollars.
    pub limit_usd: f64,
    /// In which time.
    pub window: BudgetWindow,
}

/// Writes it into a key, or answers everything that is wrong with it.
pub(super) fn apply(key: &mut ApiKey, change: ChangeApiKey, now: Timestamp) -> Result<(), Vec<FieldFault>> {
    let mut faults = Vec::new();
    let mut fault = |field, code, detail: String| faults.push(FieldFault { field, code, detail });
    if let Some(name) = change.name {
        match valid_name(&name) {
            Some(name) => key.name = name,
            None => fault(
                "name",
                "invalid_name",
                format!("a name has 1 to {MAX_NAME_CHARS} characters and no control characters"),
            ),
        }
    }
    if let Some(words) = change.scopes {
        match scopes(&words) {
            Ok(scopes) => key.scopes = scopes,
            Err(wrong) => {
                let all = Scope::ALL.map(Scope::as_str).join(", ");
                fault("scopes", "invalid_scopes", format!("{wrong}; scopes are some of {all}"));
            }
        }
    }
    if let Some(models) = change.models {
        if models.as_deref().is_none_or(good_models) {
            key.models = models.map(unique);
        } else {
            fault(
                "models",
                "invalid_models",
                format!("1 to {MAX_MODELS} names of models, of 1 to 200 bytes each; `null` for all that the plan has"),
            );
        }
    }
    if let Some(budget) = change.budget {
        if budget.is_none_or(|b| b.limit_usd > 0.0 && b.limit_usd <= MAX_BUDGET_USD) {
            key.budget = budget.map(|b| KeyBudget {
                limit: NanoUsd::from_usd(b.limit_usd),
                window: b.window,
            });
        } else {
            fault(
                "budget/limit_usd",
                "invalid_budget",
                format!("a budget is more than nothing and at most {MAX_BUDGET_USD} US dollars"),
            );
        }
    }
    if let Some(rate) = change.requests_per_minute {
        if rate.is_none_or(|n| (1..=MAX_PER_MINUTE).contains(&n)) {
            key.requests_per_minute = rate.and_then(|n| u32::try_from(n).ok());
        } else {
            fault(
                "requests_per_minute",
                "invalid_rate",
                format!("1 to {MAX_PER_MINUTE} requests a minute; `null` for no limit of the key's own"),
            );
        }
    }
    if let Some(end) = change.expires_at {
        if end.is_none_or(|end| end > now) {
            key.expires_at = end.map(micros);
        } else {
            fault(
                "expires_at",
                "invalid_expires_at",
                "a key ends in the future, or never (`null`)".to_owned(),
            );
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// Each once, in order; `None` for a word that is none, and for no word at all.
fn scopes(words: &[String]) -> Result<Vec<Scope>, String> {
    let scope = |word: &String| Scope::parse(word).ok_or_else(|| format!("`{}` is none", shortened(word)));
    let mut scopes = words.iter().map(scope).collect::<Result<Vec<_>, _>>()?;
    scopes.sort_unstable();
    scopes.dedup();
    if scopes.is_empty() {
        return Err("a key without scopes opens nothing".to_owned());
    }
    Ok(scopes)
}

/// As much of what somebody wrote as an error repeats.
fn shortened(word: &str) -> String {
    word.chars().take(40).collect()
}

fn good_models(models: &[String]) -> bool {
    let good = |name: &String| (1..=200).contains(&name.len()) && !name.chars().any(char::is_control);
    (1..=MAX_MODELS).contains(&models.len()) && models.iter().all(good)
}

/// Each once, in the order in which they were said.
fn unique(models: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::with_capacity(models.len());
    for model in models {
        if !kept.contains(&model) {
            kept.push(model);
        }
    }
    kept
}
