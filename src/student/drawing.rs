//! Drawing a token by chance: from weights, a seed and a position alone.

use tch::{Device, Kind, Tensor};

/// How tokens are drawn. The scores are divided by the temperature; then all but the likeliest `top_k` are cut, then of these all
/// but the likeliest that are as likely as `top_p` together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Above 0. Below 1 favors what is likely anyway, above 1 what is not.
    pub temperature: f64,
    /// Above 0, at most 1, which cuts nothing.
    pub top_p: f64,
    /// At least 1; none cuts nothing.
    pub top_k: Option<usize>,
    /// Equal seeds draw equal tokens where the scores are equal.
    pub seed: u64,
}

/// How likely each token is for each row of `logits` (rows, vocabulary), whose scores are divided by its temperature: (rows, vocabulary)
/// in fp32 on the host. Which token falls to a seed hangs by the last bits of one number in 10^7, so more digits change no draw that
/// anybody counts on, and cost four times as much.
#[expect(
    clippy::cast_possible_truncation,
    reason = "what fp32 cannot hold is as good as the lowest temperature that it can"
)]
pub(super) fn weights(logits: &Tensor, temperatures: &[f64]) -> Tensor {
    let temperatures: Vec<f32> =
        temperatures.iter().map(|temperature| (*temperature as f32).max(f32::MIN_POSITIVE)).collect();
    let own = logits.to_device(Device::Cpu).to_kind(Kind::Float);
    // Below the best, so that no temperature is too low to divide by.
    let below = &own - own.amax([-1_i64].as_slice(), true);
    (below / Tensor::from_slice(&temperatures).unsqueeze(1)).softmax(-1, Kind::Float)
}

/// One of the places, each as likely as its weight among those that are not cut.
pub fn drawn_place(weights: &[f32], sampling: &Sampling, position: usize) -> usize {
    let places = uncut(weights, sampling);
    let weight = |place: &usize| f64::from(weights[*place]);
    // In the order of their places and not of their weights: so a weight that differs in its last bit changes nothing but the
    // one number in 10^7 that falls on the border.
    let mut rest = chance(sampling.seed, position) * places.iter().map(weight).sum::<f64>();
    let found = places.iter().find(|place| {
        rest -= weight(place);
        rest < 0.0
    });
    // Rounding may leave a rest behind the last one.
    found.or_else(|| places.iter().rfind(|place| weight(place) > 0.0)).copied().unwrap_or_default()
}

/// The places that are not cut, ascending.
pub(super) fn uncut(weights: &[f32], sampling: &Sampling) -> Vec<usize> {
    let heavier = |one: &usize, other: &usize| weights[*other].total_cmp(&weights[*one]).then(one.cmp(other));
    let weight = |place: &usize| f64::from(weights[*place]);
    let mut places: Vec<usize> = (0..weights.len()).collect();
    if let Some(most) = sampling.top_k.map(|most| most.max(1)).filter(|most| *most < places.len()) {
        places.select_nth_unstable_by(most, heavier);
        places.truncate(most);
    }
    if sampling.top_p < 1.0 {
        let total: f64 = places.iter().map(weight).sum();
        // Whatever weighs less weighs, all together, less than what is cut: it need not be sorted.
        let least = (1.0 - sampling.top_p) * total / places.len() as f64;
        places.retain(|place| weight(place) >= least);
        places.sort_unstable_by(heavier);
        let mut sum = 0.0;
        let last = places.iter().position(|place| {
            sum += weight(place);
            sum >= sampling.top_p * total
        });
        places.truncate(last.map_or(places.len(), |last| last + 1));
    }
    places.sort_unstable();
    places
}

/// A number from 0 to below 1 that belongs to a seed and a position: the output of SplitMix64 (Steele, Lea and Flood, 2014), whose
/// state is the mixed seed, at that position.
fn chance(seed: u64, position: usize) -> f64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let state = mix(seed.wrapping_add(STEP)).wrapping_add(STEP.wrapping_mul(position as u64));
    (mix(state) >> 11) as f64 / (1_u64 << 53) as f64
}

/// SplitMix64's output function: every bit of the number changes half of the bits.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The seed of one of several answers to the same input. The first one's is the seed itself.
pub fn seed_of_answer(seed: u64, index: usize) -> u64 {
    if index == 0 { seed } else { mix(seed ^ mix(index as u64)) }
}
