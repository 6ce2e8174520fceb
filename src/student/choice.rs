//! Choosing the next token of each row by a step's scores of the vocabulary, and telling how likely it was. A row's choice depends
//! on its own scores, seed and position alone: never on the rows beside it, and on nothing that would have to be remembered. How a
//! token is drawn is `drawing`'s.

use tch::{Device, Kind, Tensor};

use super::batch::size;
use super::drawing::{Sampling, drawn_place, weights};
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
    dictate(wishes, &mut choices);
    tell(logits, wishes, &mut choices);
    choices
}

/// Whether nothing but the likeliest token of each row is wanted: no draws, and no scores.
pub(super) fn wants_likeliest_alone(wishes: &[Wish<'_>]) -> bool {
    let is_plain = |wish: &Wish<'_>| wish.scores == Scores::None && !matches!(wish.choosing, Choosing::Drawn(_));
    wishes.iter().all(is_plain)
}

/// One choice a row that wants no more, by the likeliest tokens (rows) and their scores.
pub(super) fn choose_likeliest(found: impl Iterator<Item = (i64, f64)>, wishes: &[Wish<'_>]) -> Vec<Choice> {
    let mut choices: Vec<Choice> = found.map(|(token, best)| plain(token, best.is_finite())).collect();
    dictate(wishes, &mut choices);
    choices
}

/// A choice that no score is wanted of, except whether there is any.
fn plain(token: i64, is_number: bool) -> Choice {
    let log_probability = if is_number { 0.0 } else { f64::NAN };
    Choice { token, score: TokenScore { log_probability, likeliest: Vec::new() } }
}

fn dictate(wishes: &[Wish<'_>], choices: &mut [Choice]) {
    for (wish, choice) in wishes.iter().zip(choices) {
        if let Choosing::Dictated(tokens) = wish.choosing {
            choice.token = tokens.get(wish.position).copied().unwrap_or(choice.token);
        }
    }
}

/// The likeliest token of each row, of equal ones the first.
fn likeliest(logits: &Tensor) -> Vec<Choice> {
    let choice = |token: i64, best: f32| plain(token, best.is_finite());
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
    on_rows(&weights(&rows_of(logits, &places), &temperatures), |rows| {
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
