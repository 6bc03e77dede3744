//! The names under which models are offered, and the targets that answer behind each.

use serde::{Deserialize, Serialize};

use crate::billing::ModelPrice;

/// The longest list of targets: more than anybody falls back to within one call.
const MAX_TARGETS: usize = 16;

/// A provider's model that may answer under an alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The provider, by the operator's name for it.
    pub provider: String,
    /// The model, as that provider spells it.
    pub model: String,
    /// Its share of the first tries; `None`: it is only fallen back to, unless no target has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// What its tokens cost; `None`: unknown, never nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<ModelPrice>,
}

/// A name under which models are offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelAlias {
    /// The name that clients send as `model`.
    pub name: String,
    /// What answers, in the order in which it is fallen back to.
    pub targets: Vec<Target>,
    /// The plans, by key, whose holders may use it where their plan includes it; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plans: Option<Vec<String>>,
    /// How many tokens a call may have in and out together; for clients to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_window: Option<i64>,
    /// The most tokens of answer that a call may ask for; more is clamped to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<i64>,
    /// By which parameter a call that asks for no maximum is given that one.
    #[serde(default)]
    pub max_tokens_parameter: MaxTokensParameter,
}

/// How a target is told the most tokens it may answer with. OpenAI's newer models refuse the older word, and some
/// servers do not know the newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensParameter {
    /// `max_tokens`
    #[default]
    MaxTokens,
    /// `max_completion_tokens`
    MaxCompletionTokens,
}

impl MaxTokensParameter {
    /// The parameter's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}

/// Why an alias cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAlias {
    /// No name, or one that is too long or holds control characters.
    #[error("a model's name has 1 to 200 bytes and no control characters")]
    Name,
    /// Nothing answers, or too much might.
    #[error("`{0}` needs 1 to {MAX_TARGETS} targets")]
    Targets(String),
    /// The same target twice.
    #[error("`{alias}` has the target `{provider}`/`{model}` twice")]
    Repeated {
        /// The alias.
        alias: String,
        /// The provider.
        provider: String,
        /// Its model.
        model: String,
    },
    /// No such provider.
    #[error("`{alias}` names the provider `{provider}`, which is not configured; there are: {known}")]
    UnknownProvider {
        /// The alias.
        alias: String,
        /// The provider.
        provider: String,
        /// Those there are.
        known: String,
    },
    /// A limit that lets nothing through.
    #[error("`{0}`: context_window and max_output_tokens are at least 1")]
    Limit(String),
}

impl ModelAlias {
    /// A provider's own model under its own name.
    pub fn plain(provider: &str, model: &str) -> Self {
        Self {
            name: model.to_owned(),
            targets: vec![Target {
                provider: provider.to_owned(),
                model: model.to_owned(),
                weight: None,
                price: None,
            }],
            plans: None,
            context_window: None,
            max_output_tokens: None,
            max_tokens_parameter: MaxTokensParameter::default(),
        }
    }

    /// Checks it against the providers there are.
    pub fn check(&self, providers: &[&str]) -> Result<(), InvalidAlias> {
        let alias = || self.name.clone();
        if self.name.trim().is_empty() || self.name.len() > 200 || self.name.chars().any(char::is_control) {
            return Err(InvalidAlias::Name);
        }
        if self.targets.is_empty() || self.targets.len() > MAX_TARGETS {
            return Err(InvalidAlias::Targets(alias()));
        }
        if [self.context_window, self.max_output_tokens]
            .into_iter()
            .flatten()
            .any(|n| n < 1)
        {
            return Err(InvalidAlias::Limit(alias()));
        }
        for (i, target) in self.targets.iter().enumerate() {
            let (provider, model) = (target.provider.clone(), target.model.clone());
            if !providers.contains(&provider.as_str()) {
                let known = providers.join(", ");
                return Err(InvalidAlias::UnknownProvider {
                    alias: alias(),
                    provider,
                    known,
                });
            }
            let same = |other: &Target| other.provider == provider && other.model == model;
            if self.targets[..i].iter().any(same) {
                return Err(InvalidAlias::Repeated {
                    alias: alias(),
                    provider,
                    model,
                });
            }
        }
        Ok(())
    }

    /// Whether holders of a plan may use it, as far as the alias says.
    pub fn open_to(&self, plan: &str) -> bool {
        self.plans.as_ref().is_none_or(|plans| plans.iter().any(|p| p == plan))
    }

    /// The targets of one call in the order in which they are tried: the first is drawn by weight, the others follow as
    /// they are listed. Only those for which `available` holds. `draw` is any number, evenly distributed.
    pub fn order(&self, available: impl Fn(&Target) -> bool, draw: u64) -> Vec<&Target> {
        let mut order: Vec<&Target> = self.targets.iter().filter(|target| available(target)).collect();
        let weight = |target: &Target| u64::from(target.weight.unwrap_or(0));
        let total: u64 = order.iter().map(|target| weight(target)).sum();
        let Some(mut left) = draw.checked_rem(total) else {
            return order;
        };
        let drawn = order.iter().position(|target| {
            let here = left < weight(target);
            left = left.saturating_sub(weight(target));
            here
        });
        if let Some(drawn) = drawn {
            let first = order.remove(drawn);
            order.insert(0, first);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alias(weights: &[Option<u32>]) -> ModelAlias {
        let target = |(i, weight): (usize, &Option<u32>)| Target {
            provider: "p".into(),
            model: format!("m{i}"),
            weight: *weight,
            price: None,
        };
        ModelAlias {
            targets: weights.iter().enumerate().map(target).collect(),
            ..ModelAlias::plain("p", "fast")
        }
    }

    fn order(alias: &ModelAlias, draw: u64) -> String {
        let order = alias.order(|_| true, draw);
        order.iter().map(|t| t.model.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn without_weights_the_list_is_the_order() {
        let alias = alias(&[None, None, None]);
        for draw in [0, 1, u64::MAX] {
            assert_eq!(order(&alias, draw), "m0 m1 m2");
        }
    }

    #[test]
    fn the_first_is_drawn_by_weight_and_the_others_follow_as_listed() {
        let alias = alias(&[Some(1), None, Some(3), Some(0)]);
        assert_eq!(order(&alias, 0), "m0 m1 m2 m3");
        for draw in 1..4 {
            assert_eq!(order(&alias, draw), "m2 m0 m1 m3");
        }
        assert_eq!(order(&alias, 4), "m0 m1 m2 m3");
    }

    #[test]
    fn what_is_not_available_is_neither_drawn_nor_fallen_back_to() {
        let alias = alias(&[Some(1), None, Some(3)]);
        let order: Vec<&str> = alias
            .order(|t| t.model != "m2", 3)
            .iter()
            .map(|t| t.model.as_str())
            .collect();
        assert_eq!(order, ["m0", "m1"]);
        assert!(alias.order(|_| false, 3).is_empty());
    }

    #[test]
    fn what_cannot_work_is_said() {
        let good = alias(&[None]);
        assert_eq!(good.check(&["p"]), Ok(()));
        let unknown = good.check(&["q", "r"]).unwrap_err().to_string();
        assert!(unknown.contains("`p`") && unknown.ends_with("q, r"), "{unknown}");
        let bad = |change: fn(&mut ModelAlias)| {
            let mut alias = good.clone();
            change(&mut alias);
            alias.check(&["p"]).unwrap_err()
        };
        assert_eq!(bad(|a| a.name.clear()), InvalidAlias::Name);
        assert_eq!(bad(|a| a.name.push('\n')), InvalidAlias::Name);
        assert!(matches!(bad(|a| a.targets.clear()), InvalidAlias::Targets(_)));
        assert!(matches!(bad(|a| a.max_output_tokens = Some(0)), InvalidAlias::Limit(_)));
        assert!(matches!(
            bad(|a| a.targets.push(a.targets[0].clone())),
            InvalidAlias::Repeated { .. }
        ));
    }

    #[test]
    fn an_alias_is_open_to_the_plans_it_names() {
        let mut alias = alias(&[None]);
        assert!(alias.open_to("free"));
        alias.plans = Some(vec!["pro".into()]);
        assert!(alias.open_to("pro") && !alias.open_to("free"));
    }
}
