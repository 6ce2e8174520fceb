//! How likely a student finds given labels: the way to choose from a label set, and a probability for each.

use tch::{Kind, Tensor, no_grad};

use super::T5;
use super::batch::{pad, size};
use super::generation::host;

/// Tokens of a label to choose from, the one that ends it among them, at most. A batch holds a score of the whole
/// vocabulary for each of them, so one endless label would take the memory of everybody who waits.
pub const MAX_LABEL_TOKENS: usize = 256;

/// Numbers that are held at once for the labels' tokens: 256 MB in fp32. More labels, or rows, go in parts.
const MAX_NUMBERS: usize = 1 << 26;

/// The log-likelihood of each label of each row, summed over its tokens. `encoded` (rows, length, d_model) is what the
/// encoder made of the inputs, with their `mask` (rows, length); `labels` has one list of labels a row, each as token
/// ids that end with `</s>`. The lists may differ in length, which costs as much as the longest.
pub fn label_log_likelihoods(
    model: &T5,
    encoded: &Tensor,
    mask: &Tensor,
    labels: &[impl AsRef<[Vec<i64>]>],
) -> Vec<Vec<f64>> {
    let labels: Vec<&[Vec<i64>]> = labels.iter().map(AsRef::as_ref).collect();
    within(MAX_NUMBERS, model, encoded, mask, &labels)
}

/// The same with no more than so many numbers at once, or one label's of one row.
fn within(most: usize, model: &T5, encoded: &Tensor, mask: &Tensor, labels: &[&[Vec<i64>]]) -> Vec<Vec<f64>> {
    let longest = labels.iter().copied().flatten().map(Vec::len).max().unwrap_or_default();
    let of_label = (longest * numbers_a_token(model, encoded)).max(1);
    let rows_at_once = (most / of_label).clamp(1, labels.len().max(1));
    let labels_at_once = (most / (rows_at_once * of_label)).max(1);
    let mut scores = Vec::with_capacity(labels.len());
    for (part, rows) in labels.chunks(rows_at_once).enumerate() {
        let narrow = |tensor: &Tensor| tensor.narrow(0, size(part * rows_at_once), size(rows.len()));
        scores.extend(score_in_parts(model, &narrow(encoded), &narrow(mask), rows, labels_at_once));
    }
    scores
}

/// What a token of a label takes: a score of each piece of the vocabulary, or each head's look at the whole input.
fn numbers_a_token(model: &T5, encoded: &Tensor) -> usize {
    let numbers = model.config().vocab_size.max(model.config().num_heads * encoded.size()[1]);
    usize::try_from(numbers).unwrap_or_default()
}

fn score_in_parts(
    model: &T5,
    encoded: &Tensor,
    mask: &Tensor,
    labels: &[&[Vec<i64>]],
    at_once: usize,
) -> Vec<Vec<f64>> {
    let most = labels.iter().map(|row| row.len()).max().unwrap_or_default();
    let mut scores = vec![Vec::new(); labels.len()];
    for first in (0..most).step_by(at_once) {
        let part: Vec<&[Vec<i64>]> = labels.iter().map(|row| window(row, first, at_once)).collect();
        for (row, found) in scores.iter_mut().zip(no_grad(|| score(model, encoded, mask, &part))) {
            row.extend(found);
        }
    }
    scores
}

fn window(labels: &[Vec<i64>], first: usize, count: usize) -> &[Vec<i64>] {
    let first = first.min(labels.len());
    &labels[first..labels.len().min(first + count)]
}

fn score(model: &T5, encoded: &Tensor, mask: &Tensor, labels: &[&[Vec<i64>]]) -> Vec<Vec<f64>> {
    let targets = side_by_side(labels);
    let hidden = model.decode(&decoder_inputs(model, &targets), encoded, mask);
    let (rows, length, width) = hidden.size3().expect("the decoder gives (rows, length, d_model)");
    let real = (0..).zip(&targets).flat_map(|(row, target)| (0..size(target.len())).map(move |at| row * length + at));
    let places = Tensor::from_slice(&real.collect::<Vec<i64>>()).to_device(encoded.device());
    // Padding is left out before the output layer, the largest product of all.
    let logits = model.logits(&hidden.view([rows * length, width]).index_select(0, &places)).to_kind(Kind::Float);
    let answers = Tensor::from_slice(&targets.concat()).to_device(encoded.device()).unsqueeze(1);
    let log_likelihoods = logits.gather(1, &answers, false).squeeze_dim(1) - logits.logsumexp([1], false);
    sum_by_label(labels, &targets, &host::<f64>(&log_likelihoods.to_kind(Kind::Double)))
}

/// The labels of all rows, each row's the same number: what a row lacks is filled with a label of no tokens.
fn side_by_side(labels: &[&[Vec<i64>]]) -> Vec<Vec<i64>> {
    let most = labels.iter().map(|row| row.len()).max().unwrap_or_default();
    labels.iter().flat_map(|row| (0..most).map(|at| row.get(at).cloned().unwrap_or_default())).collect()
}

/// The start token and each target without its last token: (rows, longest target).
fn decoder_inputs(model: &T5, targets: &[Vec<i64>]) -> Tensor {
    let start = model.config().decoder_start_token_id;
    let shifted = |target: &Vec<i64>| {
        let said = target.iter().take(target.len().saturating_sub(1));
        std::iter::once(start).chain(said.copied()).collect()
    };
    pad(&targets.iter().map(shifted).collect::<Vec<Vec<i64>>>(), model.config().pad_token_id, model.device()).0
}

fn sum_by_label(labels: &[&[Vec<i64>]], targets: &[Vec<i64>], log_likelihoods: &[f64]) -> Vec<Vec<f64>> {
    let mut rest = log_likelihoods;
    let sums = targets.iter().map(|target| {
        let (own, others) = rest.split_at(target.len());
        rest = others;
        own.iter().sum::<f64>()
    });
    let sums: Vec<f64> = sums.collect();
    let most = sums.len() / labels.len().max(1);
    labels.iter().enumerate().map(|(row, own)| sums[row * most..row * most + own.len()].to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::domain::FromScratch;
    use crate::student::{T5Config, initial_weights};

    #[test]
    fn parts_are_scored_like_the_whole() {
        let shape =
            FromScratch { d_model: 16, d_kv: 8, d_ff: 16, num_layers: 1, num_heads: 2, ..FromScratch::default() };
        let config = T5Config::from_scratch(&shape, 60);
        let model = T5::new(&config, &initial_weights(&config, 3)).unwrap();
        let rows: Vec<Vec<i64>> = (0..5).map(|row| (0..3 + row).map(|at| 5 + at + row).collect()).collect();
        let (ids, mask) = pad(&rows, 0, Device::Cpu);
        let encoded = no_grad(|| model.encode(&ids, &mask));
        let labels: Vec<Vec<Vec<i64>>> =
            (0..5).map(|row| (0..4 * (row % 2) + 1).map(|label| vec![9 + label; 1 + row as usize]).collect()).collect();
        let labels: Vec<&[Vec<i64>]> = labels.iter().map(Vec::as_slice).collect();
        let whole = within(MAX_NUMBERS, &model, &encoded, &mask, &labels);
        assert_eq!(whole.iter().map(Vec::len).collect::<Vec<_>>(), [1, 5, 1, 5, 1]);
        for most in [1, 700, 1500] {
            let parts = within(most, &model, &encoded, &mask, &labels);
            for (one, other) in whole.concat().iter().zip(parts.concat()) {
                assert!((one - other).abs() < 1e-4, "{one} {other}, {most} at once");
            }
        }
    }
}
