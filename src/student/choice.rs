//! Choosing the next token of each row by a step's scores of the vocabulary, and telling how likely it was. A row's choice depends
//! on its own scores, seed and position alone: never on the rows beside it, and on nothing that would have to be remembered.

use tch::{Device, Kind, Tensor};

use super::batch::size;
use super::generation::host;

/// How a row's tokens are chosen.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Choosing {
    /// The likeliest one each time.
    #[default]
    Likeliest,
    /// By chance.
    Drawn(Sampling),
    /// These, one after the other: to learn how likely they are.
    Dictated(Vec<i64>),
}

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

/// What is to be known of the scores of a row's tokens. They are the student's own: before temperature and cuts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scores {
    /// Nothing, which costs nothing.
    #[default]
    None,
    /// The sum of their log-probabilities.
    Sum,
    /// Each one's log-probability, with so many of the likeliest tokens beside it.
    Each(usize),
}

/// How likely a token was where it was said.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenScore {
    /// Its log-probability.
    pub log_probability: f64,
    /// The likeliest tokens in its place with their log-probabilities, best first.
    pub likeliest: Vec<(i64, f64)>,
}

/// What a row wants next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish<'a> {
    pub choosing: &'a Choosing,
    pub scores: Scores,
    /// Tokens that it has said.
    pub position: usize,
}

/// What a row says next.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Choice {
    pub token: i64,
    /// Of no likeliest tokens where none were wanted; 0 where no score was, and not a number where the scores are none.
    pub score: TokenScore,
}

/// One choice a row, by the `logits` (rows, vocabulary) in fp32.
pub(super) fn choose(logits: &Tensor, wishes: &[Wish<'_>]) -> Vec<Choice> {
    let mut choices = likeliest(logits);
    draw(logits, wishes, &mut choices);
    for (wish, choice) in wishes.iter().zip(&mut choices) {
        if let Choosing::Dictated(tokens) = wish.choosing {
            choice.token = tokens.get(wish.position).copied().unwrap_or(choice.token);
        }
    }
    tell(logits, wishes, &mut choices);
    choices
}

/// The likeliest token of each row, of equal ones the first.
fn likeliest(logits: &Tensor) -> Vec<Choice> {
    let choice = |token: i64, best: f32| {
        let log_probability = if best.is_finite() { 0.0 } else { f64::NAN };
        Choice { token, score: TokenScore { log_probability, likeliest: Vec::new() } }
    };
    if logits.device() != Device::Cpu {
        let (best, tokens) = logits.max_dim(-1, false);
        return host::<i64>(&tokens)
            .into_iter()
            .zip(host::<f32>(&best))
            .map(|(token, best)| choice(token, best))
            .collect();
    }
    // The largest number alone is found many at once; looking for its place afterwards stops half-way on average. Asking for the
    // place at once compares number by number.
    let best = host::<f32>(&logits.amax([-1_i64].as_slice(), false));
    on_rows(logits, |rows| {
        let place = |(row, best): (&[f32], f32)| choice(place_of(row, best), best);
        rows.zip(best).map(place).collect()
    })
}

fn place_of(row: &[f32], number: f32) -> i64 {
    size(row.iter().position(|one| *one == number).unwrap_or_default())
}

/// Looks at the rows of a matrix in fp32, which is copied to the host where it is elsewhere.
fn on_rows<T>(matrix: &Tensor, look: impl FnOnce(std::slice::ChunksExact<'_, f32>) -> T) -> T {
    let matrix = matrix.to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
    let width = usize::try_from(matrix.size()[1]).unwrap_or_default().max(1);
    // SAFETY: a contiguous fp32 tensor on the host is `numel` numbers in a row, which live as long as `matrix` and which nobody
    // writes to meanwhile.
    let numbers = unsafe { std::slice::from_raw_parts(matrix.data_ptr().cast::<f32>(), matrix.numel()) };
    look(numbers.chunks_exact(width))
}

/// Draws for the rows that want it. Their scores are looked at on the host wherever they were made, so that a seed draws the same on
/// every device.
fn draw(logits: &Tensor, wishes: &[Wish<'_>], choices: &mut [Choice]) {
    let drawn = |(place, wish): (usize, &Wish<'_>)| match wish.choosing {
        Choosing::Drawn(sampling) => Some((place, *sampling, wish.position)),
        _ => None,
    };
    let drawn: Vec<(usize, Sampling, usize)> = wishes.iter().enumerate().filter_map(drawn).collect();
    if drawn.is_empty() {
        return;
    }
    let places: Vec<usize> = drawn.iter().map(|(place, ..)| *place).collect();
    let temperatures: Vec<f64> = drawn.iter().map(|(_, sampling, _)| sampling.temperature).collect();
    let own = rows_of(logits, &places).to_device(Device::Cpu).to_kind(Kind::Double);
    // Below the best, so that no temperature is too low to divide by.
    let below = &own - own.amax([-1_i64].as_slice(), true);
    let scaled = below / Tensor::from_slice(&temperatures).unsqueeze(1);
    on_rows(&scaled.softmax(-1, Kind::Double), |rows| {
        for ((place, sampling, position), weights) in drawn.iter().zip(rows) {
            choices[*place].token = size(drawn_place(weights, sampling, *position));
        }
    });
}

/// Some rows of a matrix; all of them cost nothing.
fn rows_of(matrix: &Tensor, places: &[usize]) -> Tensor {
    if size(places.len()) == matrix.size()[0] {
        return matrix.shallow_clone();
    }
    let places: Vec<i64> = places.iter().map(|place| size(*place)).collect();
    matrix.index_select(0, &Tensor::from_slice(&places).to_device(matrix.device()))
}

/// One of the places, each as likely as its weight among those that are not cut.
pub fn drawn_place(weights: &[f32], sampling: &Sampling, position: usize) -> usize {
    let places = kept(weights, sampling);
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
fn kept(weights: &[f32], sampling: &Sampling) -> Vec<usize> {
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

/// Tells the scores of the rows that want them.
fn tell(logits: &Tensor, wishes: &[Wish<'_>], choices: &mut [Choice]) {
    let wanting = |(_, wish): &(usize, &Wish<'_>)| wish.scores != Scores::None;
    let places: Vec<usize> = wishes.iter().enumerate().filter(wanting).map(|(place, _)| place).collect();
    if places.is_empty() {
        return;
    }
    // Not by `logsumexp`: its exponential takes seven times as long where scores lie far apart.
    let all = rows_of(logits, &places).log_softmax(-1, Kind::Float);
    let tokens: Vec<i64> = places.iter().map(|place| choices[*place].token).collect();
    let tokens = Tensor::from_slice(&tokens).to_device(all.device()).unsqueeze(1);
    for (place, own) in places.iter().zip(host::<f32>(&all.gather(1, &tokens, false))) {
        choices[*place].score.log_probability = f64::from(own);
    }
    for (place, likeliest) in places.iter().zip(likeliest_of(&all, &places, wishes)) {
        choices[*place].score.likeliest = likeliest;
    }
}

/// As many of the likeliest tokens of each row as it wants, by the log-probabilities `all` (rows, vocabulary) of the rows at `places`.
fn likeliest_of(all: &Tensor, places: &[usize], wishes: &[Wish<'_>]) -> Vec<Vec<(i64, f64)>> {
    let wanted = |place: &usize| match wishes[*place].scores {
        Scores::Each(count) => count,
        Scores::None | Scores::Sum => 0,
    };
    let most =
        places.iter().map(wanted).max().unwrap_or_default().min(usize::try_from(all.size()[1]).unwrap_or_default());
    if most == 0 {
        return vec![Vec::new(); places.len()];
    }
    let (scores, tokens) = all.topk(size(most), -1, true, true);
    let (scores, tokens) = (host::<f32>(&scores), host::<i64>(&tokens));
    let of_row = |(row, place): (usize, &usize)| {
        let own = row * most..row * most + wanted(place).min(most);
        tokens[own.clone()].iter().copied().zip(scores[own].iter().copied().map(f64::from)).collect()
    };
    places.iter().enumerate().map(of_row).collect()
}

#[cfg(test)]
#[path = "choice_tests.rs"]
mod tests;
