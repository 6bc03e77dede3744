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
    /// Prompt tokens that the provider wrote to its cache; `None`: a quarter more than `input`, which is what Anthropic takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<NanoUsd>,
}

impl ModelPrice {
    /// A model that costs nothing.
    pub const FREE: Self = Self {
        input: NanoUsd(0),
        cached_input: NanoUsd(0),
        output: NanoUsd(0),
        cache_write: None,
    };

    /// The price of a call, rounded up. Cached tokens are part of the prompt's, as OpenAI counts them, and so are those
    /// written to a cache. What is kept for an hour costs eight fifths of what is kept for minutes (Anthropic: 2 and 1.25
    /// times the input, <https://platform.claude.com/docs/en/build-with-claude/prompt-caching>).
    pub fn of(&self, usage: TokenUsage) -> NanoUsd {
        let cached = usage.cached_tokens.min(usage.prompt_tokens);
        let written = usage.cache_write_tokens.min(usage.prompt_tokens - cached);
        let for_an_hour = usage.hour_write_tokens.min(written);
        let write = self
            .cache_write
            .map_or(i128::from(self.input.0) * 5 / 4, |price| price.0.into());
        let total = i128::from(usage.prompt_tokens - cached - written) * i128::from(self.input.0)
            + i128::from(cached) * i128::from(self.cached_input.0)
            + i128::from(written - for_an_hour) * write
            + i128::from(for_an_hour) * write * 8 / 5
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
            cache_write: None,
        };
        let usage = TokenUsage {
            prompt_tokens: 1000,
            cached_tokens: 400,
            completion_tokens: 100,
            reasoning_tokens: 50,
            ..TokenUsage::NONE
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
    fn what_is_written_to_a_cache_costs_more() {
        let price = ModelPrice {
            input: NanoUsd::from_usd(4.0),
            cached_input: NanoUsd::from_usd(0.4),
            ..ModelPrice::FREE
        };
        let usage = TokenUsage {
            prompt_tokens: 1000,
            cached_tokens: 100,
            cache_write_tokens: 600,
            hour_write_tokens: 200,
            ..TokenUsage::NONE
        };
        // 300 x 4 + 100 x 0.4 + 400 x 5 + 200 x 8 dollars per million
        assert_eq!(price.of(usage), NanoUsd(4_840_000));
        let stated = ModelPrice {
            cache_write: Some(NanoUsd::from_usd(10.0)),
            ..price
        };
        // 300 x 4 + 100 x 0.4 + 400 x 10 + 200 x 16
        assert_eq!(stated.of(usage), NanoUsd(8_440_000));
        // Counts that cannot be are no way to pay less than for plain tokens.
        let odd = TokenUsage {
            cache_write_tokens: i64::MAX,
            hour_write_tokens: i64::MAX,
            ..usage
        };
        assert_eq!(price.of(odd), NanoUsd(900 * 8000 + 40_000));
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
