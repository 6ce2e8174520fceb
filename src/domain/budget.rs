//! What an annotation may cost.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AnnotationSums, Tokens};

/// What an annotation may cost, at most; one of the two limits or both. Each call's worst case is reserved before it is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"max_usd": 5.0, "max_tokens": 2_000_000}))]
pub struct Budget {
    /// US dollars, by the teacher's prices in the configuration; null: no limit.
    #[serde(default)]
    #[schema(example = 5.0)]
    pub max_usd: Option<f64>,
    /// Tokens of prompts and answers together; null: no limit.
    #[serde(default)]
    #[schema(example = 2_000_000)]
    pub max_tokens: Option<u64>,
}

/// A teacher's prices.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Prices {
    /// US dollars for a million prompt tokens.
    pub usd_per_million_input_tokens: f64,
    /// US dollars for a million answer tokens.
    pub usd_per_million_output_tokens: f64,
}

impl Prices {
    /// What so many tokens cost.
    pub fn cost_usd(self, tokens: Tokens) -> f64 {
        let input = tokens.input as f64 * self.usd_per_million_input_tokens;
        let output = tokens.output as f64 * self.usd_per_million_output_tokens;
        (input + output) / 1e6
    }

    /// Whether anything costs anything.
    pub fn are_known(self) -> bool {
        self.usd_per_million_input_tokens > 0.0 || self.usd_per_million_output_tokens > 0.0
    }

    /// What so many tokens cost; none where the prices are not known, which is not the same as nothing.
    pub fn known_cost_usd(self, tokens: Tokens) -> Option<f64> {
        self.are_known().then(|| self.cost_usd(tokens))
    }

    /// So many tokens in words, with what they cost where that is known.
    pub fn in_words(self, tokens: Tokens) -> String {
        let cost = self.known_cost_usd(tokens).map(|usd| format!(" (${usd:.4})")).unwrap_or_default();
        format!("{} tokens{cost}", tokens.total())
    }
}

/// A budget at a teacher's prices.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Allowance {
    /// What may be spent; by default all there is.
    pub budget: Budget,
    /// At which prices.
    pub prices: Prices,
}

impl Allowance {
    /// Whether so much may be reserved beside what is spent and reserved already.
    pub fn has_room(&self, sums: &AnnotationSums, more: Tokens) -> bool {
        self.covers(sums.spent().plus(sums.reserved).plus(more))
    }

    /// Whether so much may be spent in all.
    pub fn covers(&self, tokens: Tokens) -> bool {
        let total = u64::try_from(tokens.total()).unwrap_or_default();
        self.budget.max_tokens.is_none_or(|most| total <= most)
            && self.budget.max_usd.is_none_or(|most| self.prices.cost_usd(tokens) <= most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_that_nobody_knows_make_no_cost_of_nothing() {
        let tokens = Tokens { input: 500, output: 10 };
        let free = Prices::default();
        assert_eq!((free.known_cost_usd(tokens), free.in_words(tokens).as_str()), (None, "510 tokens"));
        let priced = Prices { usd_per_million_input_tokens: 2.0, ..free };
        assert_eq!(
            (priced.known_cost_usd(tokens), priced.in_words(tokens).as_str()),
            (Some(0.001), "510 tokens ($0.0010)")
        );
        assert_eq!(priced.known_cost_usd(Tokens::default()), Some(0.0), "nothing was asked yet");
    }

    #[test]
    fn a_call_has_room_while_its_worst_case_beside_all_others_is_within_both_limits() {
        let prices = Prices { usd_per_million_input_tokens: 1.0, usd_per_million_output_tokens: 10.0 };
        let budget = Budget { max_usd: Some(0.002), max_tokens: Some(1000) };
        let tokens = |input, output| Tokens { input, output };
        let sums = AnnotationSums {
            answered: tokens(100, 50),
            unknown: tokens(100, 50),
            reserved: tokens(100, 50),
            ..AnnotationSums::default()
        };
        let allowance = Allowance { budget, prices };
        assert!(allowance.has_room(&sums, tokens(100, 10)), "0.4 + 1.6 thousandths of a dollar, 560 tokens");
        assert!(!allowance.has_room(&sums, tokens(100, 11)), "the dollars do not reach");
        assert!(!allowance.has_room(&sums, tokens(551, 0)), "the tokens do not reach");
        assert!(Allowance::default().has_room(&sums, tokens(i64::MAX, i64::MAX)), "without a budget all is allowed");
    }
}
