//! Greedy decoding: the likeliest next token until `</s>`, or until a row has said enough.

use tch::{Kind, Tensor, no_grad};

use super::T5;
use super::batch::size;
use super::decoding::Decoding;

/// What a student said to one input.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Generated {
    /// The tokens, with `</s>` at the end unless the limit came first; without the start token.
    pub ids: Vec<i64>,
    /// The sum of the tokens' log-probabilities, `</s>` included.
    pub log_probability: f64,
}

/// Whether a row, by its place, has said enough with these tokens. Asked after each of its tokens.
pub type Enough<'a> = dyn Fn(usize, &[i64]) -> bool + 'a;

/// How much may be said.
#[derive(Debug, Clone, Copy)]
pub struct Lengths<'a> {
    /// Tokens of a row at most, `</s>` included.
    pub most: usize,
    /// By a row's place, its tokens before which it cannot say `</s>`; rows that are not listed may say it at once.
    pub least: &'a [usize],
}

impl Lengths<'_> {
    /// So many tokens, or fewer.
    pub const fn up_to(most: usize) -> Self {
        Self { most, least: &[] }
    }

    fn forbids_end(&self, row: usize, said: &Generated) -> bool {
        self.least.get(row).is_some_and(|least| said.ids.len() < *least)
    }
}

/// Greedy decoding of each row of `input_ids` (rows, length) with its `mask` (rows, length), at most `max_new_tokens`
/// each, in the order of the rows.
pub fn greedy(model: &T5, input_ids: &Tensor, mask: &Tensor, max_new_tokens: usize) -> Vec<Generated> {
    let lengths = Lengths::up_to(max_new_tokens);
    no_grad(|| greedy_from(model, &model.encode(input_ids, mask), mask, lengths, &|_, _| false))
}

/// The same from what the encoder made of the inputs, `encoded` (rows, length, d_model); a row also ends where it has said
/// `enough`.
pub fn greedy_from(
    model: &T5,
    encoded: &Tensor,
    mask: &Tensor,
    lengths: Lengths<'_>,
    enough: &Enough<'_>,
) -> Vec<Generated> {
    no_grad(|| decode(model, encoded, mask, lengths, enough))
}

fn decode(model: &T5, encoded: &Tensor, mask: &Tensor, lengths: Lengths<'_>, enough: &Enough<'_>) -> Vec<Generated> {
    let rows = encoded.size()[0];
    let mut outputs = vec![Generated::default(); usize::try_from(rows).unwrap_or_default()];
    let mut finished = vec![false; outputs.len()];
    let mut in_batch: Vec<usize> = (0..outputs.len()).collect();
    let mut decoding = Decoding::new(model, encoded, mask, size(lengths.most), 1);
    let mut tokens = Tensor::full([rows], model.config().decoder_start_token_id, (Kind::Int64, encoded.device()));
    let eos = model.config().eos_token_id;
    for _ in 0..lengths.most {
        let going: Vec<usize> = in_batch.iter().copied().filter(|row| !finished[*row]).collect();
        let mut logits = model.logits(&decoding.step(&tokens)).to_kind(Kind::Float);
        let unending = (0..).zip(&in_batch).filter(|(_, row)| lengths.forbids_end(**row, &outputs[**row]));
        forbid(&mut logits, eos, unending.map(|(at, _)| at).collect());
        tokens = say(&logits, &in_batch, &mut outputs, &finished);
        for row in going {
            let said = &outputs[row].ids;
            finished[row] = said.last() == Some(&eos) || enough(row, said);
        }
        let going: Vec<i64> = (0..).zip(&in_batch).filter(|(_, row)| !finished[**row]).map(|(at, _)| at).collect();
        if going.is_empty() {
            break;
        }
        if leaving_pays(in_batch.len(), going.len()) {
            let places = Tensor::from_slice(&going).to_device(encoded.device());
            decoding.follow(&places);
            decoding.keep_inputs(&places);
            tokens = tokens.index_select(0, &places);
            in_batch.retain(|row| !finished[*row]);
        }
    }
    outputs
}

/// Copying the caches costs about a step; it pays when a quarter of the rows would be computed for nothing.
fn leaving_pays(rows: usize, going: usize) -> bool {
    going * 4 <= rows * 3
}

/// Takes a token from the choices of some rows.
fn forbid(logits: &mut Tensor, token: i64, rows: Vec<i64>) {
    if !rows.is_empty() {
        let rows = Tensor::from_slice(&rows).to_device(logits.device());
        let _ = logits.select(1, token).index_fill_(0, &rows, f64::NEG_INFINITY);
    }
}

/// Chooses each row's next token (rows) by its `logits` (rows, vocabulary) in fp32, and writes it down for the rows that have
/// not finished.
fn say(logits: &Tensor, in_batch: &[usize], outputs: &mut [Generated], finished: &[bool]) -> Tensor {
    let (best, tokens) = logits.max_dim(-1, false);
    let log_probabilities = host::<f64>(&(best - logits.logsumexp([-1], false)).to_kind(Kind::Double));
    for ((row, token), log_probability) in in_batch.iter().zip(host::<i64>(&tokens)).zip(log_probabilities) {
        if !finished[*row] {
            outputs[*row].ids.push(token);
            outputs[*row].log_probability += log_probability;
        }
    }
    tokens
}

/// A flat tensor's numbers.
pub(super) fn host<T: tch::kind::Element + Copy + Default>(tensor: &Tensor) -> Vec<T> {
    let mut values = vec![T::default(); tensor.numel()];
    tensor.contiguous().copy_data(&mut values, tensor.numel());
    values
}
