//! The decoder's pass over trees of tokens: all nodes of all trees at once, each seeing its ancestors alone.

use std::ptr;

use tch::{Kind, Tensor};

use super::T5;
use super::batch::size;
use super::label_tree::LabelTree;

/// What the decoder makes of trees.
pub(super) struct TreePass {
    /// Hidden states of nodes, those of one tree after those of the other: (rows, d_model)
    pub hidden: Tensor,
    /// The row of each tree's first node; the others follow it.
    pub starts: Vec<usize>,
}

impl T5 {
    /// Reads trees, at least one and one an input: `encoded` (trees, length, d_model) with its `mask` (trees, length).
    pub(super) fn pass_trees(&self, (encoded, mask): (&Tensor, &Tensor), trees: &[&LabelTree]) -> TreePass {
        let Some(prepacked) = &self.prepacked else { return self.pass_grid((encoded, mask), trees) };
        let starts = starts(trees.iter().map(|tree| tree.tokens.len()));
        TreePass { hidden: prepacked.pass_tree(encoded, mask, &end_to_end(trees, &starts)), starts }
    }

    /// The same on tensors: each tree is filled up to the largest.
    fn pass_grid(&self, (encoded, mask): (&Tensor, &Tensor), trees: &[&LabelTree]) -> TreePass {
        let nodes = trees.iter().map(|tree| tree.tokens.len()).max().unwrap_or_default();
        // Rows of one set differ in their inputs alone.
        let is_one = trees.iter().all(|tree| ptr::eq(*tree, trees[0]));
        let distinct = if is_one { &trees[..1] } else { trees };
        let deepest = distinct.iter().flat_map(|tree| &tree.depths).max().copied().unwrap_or_default();
        let hidden = size(deepest + 1);
        let (mut tokens, mut distances) = (Vec::new(), vec![hidden; distinct.len() * nodes * nodes]);
        for (row, tree) in distinct.iter().enumerate() {
            tokens.extend(&tree.tokens);
            tokens.resize((row + 1) * nodes, self.config().pad_token_id);
            for node in 0..tree.tokens.len() {
                for (distance, seen) in tree.line(node).enumerate() {
                    distances[(row * nodes + node) * nodes + seen] = size(distance);
                }
            }
        }
        let shape = [size(distinct.len()), size(nodes), size(nodes)];
        let bias = self.decoder_positions.at_distances(&Tensor::from_slice(&distances).view(shape), hidden);
        let tokens = Tensor::from_slice(&tokens).to_device(encoded.device()).view(&shape[..2]);
        let tokens = tokens.expand([size(trees.len()), size(nodes)], false);
        let read = self.decode_seeing(&tokens, &bias, encoded, mask);
        let hidden = read.reshape([-1, *read.size().last().expect("a hidden state has a width")]);
        TreePass { hidden, starts: starts(trees.iter().map(|_| nodes)) }
    }

    /// The log-probability of each token after the hidden state of its row: hidden (rows, d_model), `rows` and `tokens` (tokens) i64 ->
    /// (tokens) in fp32. The whole output layer is computed for each hidden state, once.
    pub(super) fn log_probabilities(&self, hidden: &Tensor, rows: &Tensor, tokens: &Tensor) -> Tensor {
        let Some(prepacked) = &self.prepacked else {
            let logits = self.logits(hidden).to_kind(Kind::Float);
            return logits.index(&[Some(rows), Some(tokens)]) - logits.logsumexp([1], false).index_select(0, rows);
        };
        let own = prepacked.logits_of(&hidden.index_select(0, rows), tokens);
        own - prepacked.normalizers(hidden).index_select(0, rows)
    }
}

fn starts(lengths: impl Iterator<Item = usize>) -> Vec<usize> {
    let start = |next: &mut usize, length| {
        let start = *next;
        *next += length;
        Some(start)
    };
    lengths.scan(0, start).collect()
}

/// Each node's token, the node before it or -1, and its tree: (3, nodes) i64.
fn end_to_end(trees: &[&LabelTree], starts: &[usize]) -> Tensor {
    let (mut tokens, mut parents, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    for (row, (tree, start)) in trees.iter().zip(starts).enumerate() {
        tokens.extend(&tree.tokens);
        parents.push(-1);
        parents.extend(tree.parents.iter().skip(1).map(|parent| size(start + parent)));
        rows.resize(tokens.len(), size(row));
    }
    Tensor::from_slice(&[tokens, parents, rows].concat()).view([3, -1])
}
