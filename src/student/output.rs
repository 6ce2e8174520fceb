//! A T5's output layer: from hidden states to scores of the vocabulary, and to the loss of a step.

use tch::{Kind, Reduction, Tensor};

use super::T5;
use crate::native;

impl T5 {
    /// The weighted sum of the cross-entropies of `targets` (rows) i64 after `hidden` (rows, d_model), and each by itself
    /// (rows) fp32, through which no gradient goes. `weights` (rows) fp32.
    pub fn cross_entropy(&self, hidden: &Tensor, targets: &Tensor, weights: &Tensor) -> (Tensor, Tensor) {
        self.must_have_layers();
        if native::serves(hidden) {
            let (hidden, output) = self.before_output(hidden);
            return native::linear_cross_entropy(&hidden, output, targets, weights);
        }
        let logits = self.logits(hidden).to_kind(Kind::Float);
        let losses = logits.cross_entropy_loss(targets, None::<Tensor>, Reduction::None, -100, 0.0);
        (losses.dot(weights), losses.detach())
    }

    /// hidden (.., d_model) -> scores of the vocabulary (.., vocab_size), not normalized, of the kind of the tensors. A prepacked T5 takes
    /// (rows, d_model) alone, and gives fp32.
    pub fn logits(&self, hidden: &Tensor) -> Tensor {
        if let Some(prepacked) = &self.prepacked {
            return prepacked.logits(hidden);
        }
        let (hidden, output) = self.before_output(hidden);
        hidden.linear(output, None::<Tensor>)
    }

    /// The score of each row's own token, summed in fp32: hidden (rows, d_model), `tokens` (rows) i64 -> (rows).
    pub(super) fn logits_of(&self, hidden: &Tensor, tokens: &Tensor) -> Tensor {
        if let Some(prepacked) = &self.prepacked {
            return prepacked.logits_of(hidden, tokens);
        }
        let (hidden, output) = self.before_output(hidden);
        let own = output.index_select(0, tokens).to_kind(Kind::Float);
        (hidden.to_kind(Kind::Float) * own).sum_dim_intlist([-1].as_slice(), false, Kind::Float)
    }

    /// What goes into the output layer, and its weight.
    fn before_output(&self, hidden: &Tensor) -> (Tensor, &Tensor) {
        let output = self.output.as_ref().unwrap_or(&self.embedding);
        if self.config.scales_output() {
            // An embedding is about sqrt(d_model) times as large as an output layer.
            (hidden * self.tied_scale(), output)
        } else {
            (hidden.shallow_clone(), output)
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a validated width is far below 2^52")]
    fn tied_scale(&self) -> f64 {
        (self.config.d_model as f64).powf(-0.5)
    }
}
