//! Money as integers: a billionth of a dollar, so that one token of the cheapest model is still a whole number.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::chat::TokenUsage;

/// Billionths of a US dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NanoUsd(pub i64);

impl NanoUsd {
    /// From dollars; beyond nine billion dollars it saturates.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float cast saturates, which is what is promised"
    )]
    pub fn from_usd(usd: f64) -> Self {
        Self((usd * 1e9).round() as i64)
    }

    /// In dollars, for people to read.
    #[expect(clippy::cast_precision_loss, reason = "beyond nine million dollars it is rounded")]
    pub fn usd(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// So many hundredths of it, rounded down.
    #[must_use]
    pub fn percent(self, percent: u32) -> Self {
        let part = i128::from(self.0) * i128::from(percent) / 100;
        Self(i64::try_from(part).unwrap_or(i64::MAX))
    }
}

/// What a model's tokens cost, per million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelPrice {
    /// Prompt tokens.
    pub input: NanoUsd,
    /// Prompt tokens that the provider had cached.
    pub cached_input: NanoUsd,
    /// Completion tokens, reasoning included.
    pub output: NanoUsd,
}

impl ModelPrice {
    /// A model that costs nothing.
    pub const FREE: Self = Self {
        input: NanoUsd(0),
        cached_input: NanoUsd(0),
        output: NanoUsd(0),
    };

    /// The price of a call, rounded up. Cached tokens are part of the prompt's, as OpenAI counts them.
    pub fn of(&self, usage: TokenUsage) -> NanoUsd {
        let cached = usage.cached_tokens.min(usage.prompt_tokens);
        let total = i128::from(usage.prompt_tokens - cached) * i128::from(self.input.0)
            + i128::from(cached) * i128::from(self.cached_input.0)
            + i128::from(usage.completion_tokens) * i128::from(self.output.0);
        NanoUsd(i64::try_from((total + 999_999) / 1_000_000).unwrap_or(i64::MAX))
    }
}

/// The prices that the operator stated. A price that is not known is absent, never zero.
#[derive(Debug, Clone)]
pub struct PriceBook {
    prices: HashMap<String, ModelPrice>,
    assumed: ModelPrice,
}

impl PriceBook {
    /// `assumed` is what a model without a price counts as against the daily spend cap, and only there.
    pub fn new(prices: HashMap<String, ModelPrice>, assumed: ModelPrice) -> Self {
        Self { prices, assumed }
    }

    /// The stated price of a model, by its provider's name for it.
    pub fn price(&self, model: &str) -> Option<ModelPrice> {
        self.prices.get(model).copied()
    }

    /// What a model without a price counts as against the spend cap.
    pub fn assumed(&self) -> ModelPrice {
        self.assumed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_costs_what_its_tokens_cost_rounded_up() {
        let price = ModelPrice {
            input: NanoUsd::from_usd(2.5),
            cached_input: NanoUsd::from_usd(1.25),
            output: NanoUsd::from_usd(10.0),
        };
        let usage = TokenUsage {
            prompt_tokens: 1000,
            cached_tokens: 400,
            completion_tokens: 100,
            reasoning_tokens: 50,
        };
        // 600 x 2.5 + 400 x 1.25 + 100 x 10 dollars per million
        assert_eq!(price.of(usage), NanoUsd(3_000_000));
        let tiny = ModelPrice {
            input: NanoUsd(1),
            ..ModelPrice::FREE
        };
        assert_eq!(
            tiny.of(TokenUsage {
                prompt_tokens: 1,
                ..TokenUsage::default()
            }),
            NanoUsd(1)
        );
        assert_eq!(
            price
                .of(TokenUsage {
                    prompt_tokens: i64::MAX,
                    completion_tokens: i64::MAX,
                    ..TokenUsage::default()
                })
                .0,
            i64::MAX
        );
    }

    #[test]
    fn an_unknown_price_is_unknown() {
        let assumed = ModelPrice {
            input: NanoUsd(1_000_000),
            ..ModelPrice::FREE
        };
        let book = PriceBook::new(HashMap::from([("free".into(), ModelPrice::FREE)]), assumed);
        assert_eq!(book.price("unknown"), None);
        assert_eq!(book.price("free"), Some(ModelPrice::FREE));
        assert_eq!(book.assumed(), assumed);
    }
}
