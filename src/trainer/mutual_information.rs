//! The loss that makes a student's label and its rationale about the same words (Chen et al., 2024, arXiv 2403.03348).
//!
//! Of each task's softmax over the vocabulary, the most over the target's positions is taken: which words are said somewhere.
//! The loss is the cross-entropy of the rationale's against the label's, which gives no gradient. As in that paper's code the
//! rationale's probabilities stand where cross-entropy wants logits; unlike there, positions of padding are no positions.

use std::ops::Range;

use tch::{Kind, Tensor};

use crate::student::T5;

/// Where the targets of a label and of a rationale of the same row lie in the decoder's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The label's positions.
    pub label: Range<i64>,
    /// The rationale's positions.
    pub rationale: Range<i64>,
}

/// The sum of the pairs' losses, a scalar; `hidden` (positions, d_model).
pub fn loss(model: &T5, hidden: &Tensor, pairs: &[Pair]) -> Tensor {
    let said = |positions: &Range<i64>| {
        let hidden = hidden.narrow(0, positions.start, positions.end - positions.start);
        model.logits(&hidden).softmax(-1, Kind::Float).max_dim(0, false).0
    };
    let each =
        pairs.iter().map(|pair| -(said(&pair.label).detach() * said(&pair.rationale).log_softmax(-1, Kind::Float)));
    Tensor::stack(&each.collect::<Vec<_>>(), 0).sum(Kind::Float)
}

#[cfg(test)]
mod tests {
    use tch::{Device, kind};

    use super::*;
    use crate::domain::FromScratch;
    use crate::student::{T5Config, initial_weights};

    #[test]
    fn it_is_the_papers_formula_for_each_pair() {
        let shape = FromScratch { d_model: 8, d_kv: 4, d_ff: 8, num_layers: 1, num_heads: 2, ..FromScratch::default() };
        let config = T5Config::from_scratch(&shape, 12);
        let model = T5::new(&config, &initial_weights(&config, 3)).unwrap();
        tch::manual_seed(1);
        let hidden = (Tensor::randn([7, 8], (Kind::Float, Device::Cpu)) * 3.0).set_requires_grad(true);
        let pairs = [Pair { label: 0..2, rationale: 3..7 }, Pair { label: 2..3, rationale: 3..5 }];
        let found = loss(&model, &hidden, &pairs);
        let rows: Vec<Vec<f64>> = Vec::try_from(model.logits(&hidden).softmax(-1, Kind::Double)).unwrap();
        let most = |positions: &Range<i64>, word: usize| {
            positions.clone().map(|at| rows[usize::try_from(at).unwrap()][word]).fold(0.0, f64::max)
        };
        let wanted: f64 = pairs
            .iter()
            .map(|pair| {
                let all: f64 = (0..12).map(|word| most(&pair.rationale, word).exp()).sum();
                let each = (0..12).map(|word| most(&pair.label, word) * (all.ln() - most(&pair.rationale, word)));
                each.sum::<f64>()
            })
            .sum();
        assert!((found.double_value(&[]) / wanted - 1.0).abs() < 1e-5, "{found:?} where {wanted} is right");
        let gradient = Tensor::run_backward(&[found], &[&hidden], false, false).remove(0);
        let moved = gradient.abs().sum_dim_intlist([1].as_slice(), false, Kind::Float).gt(0.0);
        assert!(moved.narrow(0, 3, 4).any().int64_value(&[]) == 1 && moved.narrow(0, 0, 3).any().int64_value(&[]) == 0);
        assert_eq!(kind::FLOAT_CPU.0, gradient.kind());
    }
}
