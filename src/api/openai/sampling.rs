//! How answers are drawn, and how many of them, from the parameters of a request.

use super::parameters::unsupported;
use crate::{api::resolve::Refusals, inference::Sampling};

/// Answers to one input: each costs what one costs.
const MAX_ANSWERS: u64 = 16;

/// The parameters as they were sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct SamplingForm {
    /// 0: nothing is drawn.
    pub temperature: Option<f64>,
    /// 1: nothing is cut.
    pub top_p: Option<f64>,
    /// 0 or -1: nothing is cut.
    pub top_k: Option<i64>,
    /// None: one of chance.
    pub seed: Option<i64>,
}

impl SamplingForm {
    /// How answers are drawn; none where they are not. `fresh` is the seed of a request that names none.
    pub fn check(self, refusals: &mut Refusals, fresh: u64) -> Option<Sampling> {
        let (temperature, top_p, top_k) =
            (self.temperature.unwrap_or_default(), self.top_p.unwrap_or(1.0), self.top_k.unwrap_or_default());
        refusals.require((0.0..=2.0).contains(&temperature), "#/temperature", || {
            format!("temperature is {temperature}; send 0 to 2")
        });
        refusals.require(top_p > 0.0 && top_p <= 1.0, "#/top_p", || {
            format!("top_p is {top_p}; send more than 0, at most 1")
        });
        refusals
            .require(top_k >= -1, "#/top_k", || format!("top_k is {top_k}; send 1 or more, or 0, which cuts nothing"));
        let top_k = usize::try_from(top_k).ok().filter(|most| *most > 0);
        let seed = self.seed.map_or(fresh, i64::cast_unsigned);
        (temperature > 0.0).then_some(Sampling { temperature, top_p, top_k, seed })
    }
}

/// How many answers each input is to get: several differ only where they are drawn.
pub fn answers(refusals: &mut Refusals, n: Option<u64>, sampling: Option<Sampling>) -> usize {
    let n = n.unwrap_or(1);
    refusals.require((1..=MAX_ANSWERS).contains(&n), "#/n", || format!("n is {n}; send 1 to {MAX_ANSWERS}"));
    let alike = (2..=MAX_ANSWERS).contains(&n) && sampling.is_none();
    unsupported(refusals, "n", alike, "send 1, or a temperature above 0: answers that are not drawn are all the same");
    usize::try_from(n.clamp(1, MAX_ANSWERS)).unwrap_or(1)
}
