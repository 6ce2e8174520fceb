//! How likely a student finds given labels: the way to choose from a label set, and a probability for each. All labels of an input
//! go through the decoder at once, as trees (`label_tree`).

use tch::{Kind, Tensor, no_grad};

use super::T5;
use super::batch::size;
use super::generation::host;
use super::label_tree::{Edge, LabelTree, LabelTrees, Wanted, Weight};
use super::tree_pass::TreePass;

/// Tokens of a label to choose from, the one that ends it among them, at most: one endless label would take the memory of
/// everybody who waits.
pub const MAX_LABEL_TOKENS: usize = 256;

/// Numbers that are held at once: 256 MB in fp32. More inputs, or nodes, go in parts.
const MAX_NUMBERS: usize = 1 << 26;

/// The log-likelihood of each label of each row, summed over its tokens. `encoded` (rows, length, d_model) is what the
/// encoder made of the inputs, with their `mask` (rows, length); `labels` has one list of labels a row, each as token
/// ids that end with `</s>`. The lists may differ in length.
pub fn label_log_likelihoods(
    model: &T5,
    encoded: &Tensor,
    mask: &Tensor,
    labels: &[impl AsRef<[Vec<i64>]>],
) -> Vec<Vec<f64>> {
    let start = model.config().decoder_start_token_id;
    let tree = |labels: &_| LabelTrees::new(start, AsRef::<[Vec<i64>]>::as_ref(labels), Wanted::LogLikelihoods);
    let trees: Vec<LabelTrees> = labels.iter().map(tree).collect();
    label_scores(model, encoded, mask, &trees.iter().collect::<Vec<_>>())
}

/// The score of each label of each row, as the row's trees were made to give it; the rest as above. Rows that have the very same
/// trees are no dearer for their number of nodes.
pub fn label_scores(model: &T5, encoded: &Tensor, mask: &Tensor, sets: &[&LabelTrees]) -> Vec<Vec<f64>> {
    no_grad(|| within(MAX_NUMBERS, model, encoded, mask, sets))
}

/// The same with no more than so many numbers at once, or one tree's of one row.
fn within(most: usize, model: &T5, encoded: &Tensor, mask: &Tensor, sets: &[&LabelTrees]) -> Vec<Vec<f64>> {
    let trees = sets.iter().enumerate().flat_map(|(row, set)| set.trees.iter().map(move |tree| (row, tree)));
    let mut trees: Vec<(usize, &LabelTree)> = trees.collect();
    trees.sort_by_key(|(_, tree)| tree.tokens.len());
    let mut scores: Vec<Vec<f64>> = sets.iter().map(|set| vec![0.0; set.count()]).collect();
    let mut left = trees.as_slice();
    while !left.is_empty() {
        let (part, others) = left.split_at(at_once(most, model, encoded, left));
        left = others;
        let (rows, trees): (Vec<usize>, Vec<&LabelTree>) = part.iter().copied().unzip();
        let places = indices(encoded, rows.iter().map(|row| size(*row)));
        let own = (encoded.index_select(0, &places), mask.index_select(0, &places));
        let of_edges = edge_scores(most, model, (&own.0, &own.1), &trees);
        for ((row, tree), of_edges) in rows.into_iter().zip(trees).zip(of_edges) {
            tree.add_up(&of_edges, &mut scores[row]);
        }
    }
    scores
}

/// How many of these trees, which become larger, are computed side by side: at least one. On tensors each is filled up to the largest,
/// so they must be of about one size.
fn at_once(most: usize, model: &T5, encoded: &Tensor, trees: &[(usize, &LabelTree)]) -> usize {
    let nodes = |tree: &LabelTree| tree.tokens.len();
    let largest = trees.first().map_or(0, |(_, tree)| 2 * nodes(tree) + 8);
    let (heads, length) = (model.config().num_heads, encoded.size()[1]);
    let (heads, length) = (usize::try_from(heads).unwrap_or(1), usize::try_from(length).unwrap_or(1));
    // Each head's look of each node at all nodes and at the whole input.
    let numbers = |tree: &LabelTree| nodes(tree) * heads * nodes(tree).max(length);
    let fits = |(count, (_, tree)): &(usize, &(usize, &LabelTree))| {
        nodes(tree) <= largest && (count + 1) * numbers(tree) <= most
    };
    trees.iter().enumerate().take_while(fits).count().max(1)
}

/// What each edge of each tree counts for, in the trees' own order; one tree an input. This is the decoder's pass.
fn edge_scores(most: usize, model: &T5, (encoded, mask): (&Tensor, &Tensor), trees: &[&LabelTree]) -> Vec<Vec<f64>> {
    let TreePass { hidden, starts } = model.pass_trees((encoded, mask), trees);
    let edges = starts.into_iter().zip(trees);
    let edges = edges.flat_map(|(start, tree)| tree.edges.iter().map(move |edge| (start + edge.node, *edge)));
    let edges: Vec<(usize, Edge)> = edges.collect();
    let mut scores = vec![0.0; edges.len()];
    let (places, said) = of_weight(&edges, Weight::Logit);
    places.into_iter().zip(logits(model, &hidden, &said)).for_each(|(place, score)| scores[place] = score);
    let (places, said) = of_weight(&edges, Weight::LogProbability);
    let found = log_probabilities(most, model, &hidden, &said);
    places.into_iter().zip(found).for_each(|(place, score)| scores[place] = score);
    let mut rest = scores.as_slice();
    let own = |tree: &&LabelTree| {
        let (own, others) = rest.split_at(tree.edges.len());
        rest = others;
        own.to_vec()
    };
    trees.iter().map(own).collect()
}

/// The edges of a weight: their places, and after which hidden state which token is said.
fn of_weight(edges: &[(usize, Edge)], weight: Weight) -> (Vec<usize>, Vec<(usize, i64)>) {
    let own = edges.iter().enumerate().filter(|(_, (_, edge))| edge.weight == weight);
    own.map(|(place, (hidden, edge))| (place, (*hidden, edge.token))).unzip()
}

/// The scores of tokens after the hidden states at these places. A row of the output layer is enough for each; they are summed
/// in fp32, because labels part here and bf16's few digits would round some of them to one score.
fn logits(model: &T5, hidden: &Tensor, said: &[(usize, i64)]) -> Vec<f64> {
    if said.is_empty() {
        return Vec::new();
    }
    let places = indices(hidden, said.iter().map(|(place, _)| size(*place)));
    let tokens = indices(hidden, said.iter().map(|(_, token)| *token));
    host(&model.logits_of(&hidden.index_select(0, &places), &tokens).to_kind(Kind::Double))
}

/// The log-probabilities of tokens after the hidden states at these places: the whole output layer for each place, of which no
/// more than so many numbers at once.
fn log_probabilities(most: usize, model: &T5, hidden: &Tensor, said: &[(usize, i64)]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..said.len()).collect();
    order.sort_by_key(|at| said[*at].0);
    let places: Vec<&[usize]> = order.chunk_by(|one, other| said[*one].0 == said[*other].0).collect();
    let vocabulary = usize::try_from(model.config().vocab_size).unwrap_or(usize::MAX);
    let mut found = vec![0.0; said.len()];
    for part in places.chunks((most / vocabulary).max(1)) {
        let chosen = indices(hidden, part.iter().map(|same| size(said[same[0]].0)));
        let rows = indices(hidden, (0..).zip(part).flat_map(|(row, same)| same.iter().map(move |_| row)));
        let tokens = indices(hidden, part.iter().copied().flatten().map(|at| said[*at].1));
        let scores = model.log_probabilities(&hidden.index_select(0, &chosen), &rows, &tokens);
        let scores = host::<f64>(&scores.to_kind(Kind::Double));
        part.iter().copied().flatten().zip(scores).for_each(|(at, score)| found[*at] = score);
    }
    found
}

fn indices(beside: &Tensor, numbers: impl Iterator<Item = i64>) -> Tensor {
    Tensor::from_slice(&numbers.collect::<Vec<_>>()).to_device(beside.device())
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::domain::FromScratch;
    use crate::student::batch::pad;
    use crate::student::{T5Config, initial_weights};

    const END: i64 = 1;

    fn model() -> T5 {
        let shape =
            FromScratch { d_model: 16, d_kv: 8, d_ff: 16, num_layers: 2, num_heads: 2, ..FromScratch::default() };
        let config = T5Config::from_scratch(&shape, 60);
        T5::new(&config, &initial_weights(&config, 3)).unwrap()
    }

    fn read_inputs(model: &T5, count: i64) -> (Tensor, Tensor) {
        let rows: Vec<Vec<i64>> = (0..count).map(|row| (0..3 + row).map(|at| 5 + at + row).collect()).collect();
        let (ids, mask) = pad(&rows, 0, Device::Cpu);
        (no_grad(|| model.encode(&ids, &mask)), mask)
    }

    /// One label of one input, said after each other as in training.
    fn plain(model: &T5, encoded: &Tensor, mask: &Tensor, label: &[i64]) -> f64 {
        let said = [&[model.config().decoder_start_token_id], &label[..label.len() - 1]].concat();
        let hidden = no_grad(|| model.decode(&Tensor::from_slice(&said).unsqueeze(0), encoded, mask));
        let shares = no_grad(|| model.logits(&hidden)).squeeze_dim(0).log_softmax(-1, Kind::Double);
        (0..).zip(label).map(|(at, token)| shares.double_value(&[at, *token])).sum()
    }

    /// Sets of 1 to 9 labels of at most 6 tokens, with beginnings in common, one the beginning of another.
    fn sets(rows: i64) -> Vec<Vec<Vec<i64>>> {
        let token = |row: i64, label: i64, at: i64| 9 + (row + at + label / (4 - at.min(3))) % 5;
        let label = |row: i64, label: i64| (0..label % 6).map(|at| token(row, label, at)).chain([END]).collect();
        (0..rows).map(|row| (0..1 + 4 * (row % 3)).map(|number| label(row, number + row)).collect()).collect()
    }

    fn shares(scores: &[f64]) -> Vec<f64> {
        let total: f64 = scores.iter().map(|score| score.exp()).sum();
        scores.iter().map(|score| score.exp() / total).collect()
    }

    #[test]
    fn trees_score_labels_as_each_alone_is_scored_however_little_fits_at_once() {
        let (model, labels) = (model(), sets(7));
        let (encoded, mask) = read_inputs(&model, 7);
        let of_row = |(row, set): (i64, &Vec<Vec<i64>>)| {
            let one = |tensor: &Tensor| tensor.narrow(0, row, 1);
            set.iter().map(|label| plain(&model, &one(&encoded), &one(&mask), label)).collect()
        };
        let right: Vec<Vec<f64>> = (0..).zip(&labels).map(of_row).collect();
        for (wanted, figures) in [(Wanted::LogLikelihoods, <[f64]>::to_vec as fn(&_) -> _), (Wanted::Shares, shares)] {
            let trees: Vec<LabelTrees> = labels.iter().map(|set| LabelTrees::new(0, set, wanted)).collect();
            for most in [1, 300, 900, MAX_NUMBERS] {
                let found = no_grad(|| within(most, &model, &encoded, &mask, &trees.iter().collect::<Vec<_>>()));
                assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [1, 5, 9, 1, 5, 9, 1]);
                for (found, right) in found.iter().zip(&right) {
                    for (found, right) in figures(found).iter().zip(figures(right)) {
                        assert!((found - right).abs() < 1e-4, "{found} {right}, {wanted:?}, {most} at once");
                    }
                }
            }
        }
    }

    #[test]
    fn rows_of_one_set_share_its_tree() {
        let (model, labels) = (model(), sets(3).remove(2));
        let (encoded, mask) = read_inputs(&model, 3);
        let shared = LabelTrees::new(0, &labels, Wanted::Shares);
        let own = [(); 3].map(|()| shared.clone());
        let together = label_scores(&model, &encoded, &mask, &[&shared; 3]);
        let apart = label_scores(&model, &encoded, &mask, &own.each_ref());
        for (one, other) in together.concat().iter().zip(apart.concat()) {
            assert!((one - other).abs() < 1e-5, "{one} {other}");
        }
    }
}
