//! The names under which models are offered, and the targets that answer behind each.

use serde::{Deserialize, Serialize};

use crate::billing::{ModelPrice, NanoUsd};

/// The longest list of targets: more than anybody falls back to within one call.
const MAX_TARGETS: usize = 16;

/// The largest weight of a target.
const MAX_WEIGHT: u32 = 1_000_000;

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

impl Target {
    /// Whether it is the same model of the same provider.
    pub fn is(&self, other: &Self) -> bool {
        self.provider == other.provider && self.model == other.model
    }
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

/// Something of an alias that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct AliasMistake {
    /// Where, as a JSON Pointer (RFC 6901) into the alias.
    pub pointer: String,
    /// The rule that it breaks, as a stable word.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub detail: String,
}

/// What an alias may name.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The providers there are, by name.
    pub providers: &'a [&'a str],
    /// The plans there are, by key.
    pub plans: &'a [&'a str],
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

    /// All that keeps it from being used, given what there is.
    pub fn mistakes(&self, known: Known<'_>) -> Vec<AliasMistake> {
        let mut mistakes = Vec::new();
        let name = &self.name;
        let mut wrong = |pointer: String, code, detail: String| mistakes.push(AliasMistake { pointer, code, detail });
        if name.trim().is_empty() || name.len() > 200 || name.chars().any(char::is_control) {
            let detail = "a model's name has 1 to 200 bytes and no control characters";
            wrong("/name".to_owned(), "invalid_name", detail.to_owned());
        }
        if self.targets.is_empty() || self.targets.len() > MAX_TARGETS {
            let detail = format!("`{name}` needs 1 to {MAX_TARGETS} targets");
            wrong("/targets".to_owned(), "invalid_targets", detail);
        }
        for (i, target) in self.targets.iter().enumerate() {
            let (provider, model) = (&target.provider, &target.model);
            if !known.providers.contains(&provider.as_str()) {
                let there_are = known.providers.join(", ");
                let detail = format!(
                    "`{name}` names the provider `{provider}`, which is not configured; there are: {there_are}"
                );
                wrong(format!("/targets/{i}/provider"), "unknown_provider", detail);
            }
            if model.trim().is_empty() || model.chars().any(char::is_control) {
                let detail = format!("`{name}`: a target names its provider's model, without control characters");
                wrong(format!("/targets/{i}/model"), "invalid_model", detail);
            }
            if self.targets[..i].iter().any(|other| other.is(target)) {
                let detail = format!("`{name}` has the target `{provider}`/`{model}` twice");
                wrong(format!("/targets/{i}"), "repeated_target", detail);
            }
            if target.weight.is_some_and(|weight| weight > MAX_WEIGHT) {
                let detail = format!("`{name}`: a weight is at most {MAX_WEIGHT}");
                wrong(format!("/targets/{i}/weight"), "invalid_weight", detail);
            }
            let prices = target.price.map(|price| {
                [
                    price.input,
                    price.cached_input,
                    price.output,
                    price.cache_write.unwrap_or_default(),
                ]
            });
            if prices.into_iter().flatten().any(|price| price < NanoUsd(0)) {
                let detail = format!("`{name}`: a price is 0 or more");
                wrong(format!("/targets/{i}/price"), "invalid_price", detail);
            }
        }
        for (i, key) in self.plans.iter().flatten().enumerate() {
            if !known.plans.contains(&key.as_str()) {
                let there_are = known.plans.join(", ");
                let detail = format!("`{name}`: there is no plan `{key}`; there are: {there_are}");
                wrong(format!("/plans/{i}"), "unknown_plan", detail);
            }
        }
        for (limit, key) in [
            (self.context_window, "context_window"),
            (self.max_output_tokens, "max_output_tokens"),
        ] {
            if limit.is_some_and(|n| n < 1) {
                let detail = format!("`{name}`: {key} is at least 1");
                wrong(format!("/{key}"), "invalid_limit", detail);
            }
        }
        mistakes
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
        let known = Known {
            providers: &["p"],
            plans: &["free"],
        };
        let good = alias(&[None]);
        assert_eq!(good.mistakes(known), []);
        let elsewhere = Known {
            providers: &["q", "r"],
            plans: &[],
        };
        let unknown = good.mistakes(elsewhere).remove(0).detail;
        assert!(unknown.contains("`p`") && unknown.ends_with("q, r"), "{unknown}");
        let bad = |change: fn(&mut ModelAlias)| {
            let mut alias = good.clone();
            change(&mut alias);
            let mistakes = alias.mistakes(known).into_iter();
            mistakes
                .map(|m| format!("{} {}", m.pointer, m.code))
                .collect::<Vec<_>>()
        };
        for (change, found) in [
            ((|a| a.name = " ".into()) as fn(&mut ModelAlias), "/name invalid_name"),
            (|a| a.name = "a\nb".into(), "/name invalid_name"),
            (|a| a.name = "n".repeat(201), "/name invalid_name"),
            (|a| a.targets.clear(), "/targets invalid_targets"),
            (|a| a.targets[0].model = " ".into(), "/targets/0/model invalid_model"),
            (
                |a| a.targets[0].weight = Some(1_000_001),
                "/targets/0/weight invalid_weight",
            ),
            (
                |a| {
                    a.targets[0].price = Some(ModelPrice {
                        output: NanoUsd(-1),
                        ..ModelPrice::FREE
                    });
                },
                "/targets/0/price invalid_price",
            ),
            (|a| a.targets.push(a.targets[0].clone()), "/targets/1 repeated_target"),
            (
                |a| a.plans = Some(vec!["free".into(), "gold".into()]),
                "/plans/1 unknown_plan",
            ),
            (|a| a.context_window = Some(0), "/context_window invalid_limit"),
            (|a| a.max_output_tokens = Some(0), "/max_output_tokens invalid_limit"),
        ] {
            assert_eq!(bad(change), [found]);
        }
        let many = bad(|a| {
            a.targets = (0..17)
                .map(|i| Target {
                    model: format!("m{i}"),
                    ..a.targets[0].clone()
                })
                .collect();
            a.targets[16].provider = "x".into();
            a.plans = Some(vec!["gold".into()]);
        });
        assert_eq!(
            many,
            [
                "/targets invalid_targets",
                "/targets/16/provider unknown_provider",
                "/plans/0 unknown_plan"
            ]
        );
    }

    #[test]
    fn an_alias_is_open_to_the_plans_it_names() {
        let mut alias = alias(&[None]);
        assert!(alias.open_to("free"));
        alias.plans = Some(vec!["pro".into()]);
        assert!(alias.open_to("pro") && !alias.open_to("free"));
    }
}
