//! The layers that a T5's encoder and decoder are stacks of. They know nothing of what stands before and after them.

use tch::Tensor;

use super::attention::{Attention, Look};
use super::dropout::Dropout;
use super::layers::{FeedForward, Norm};
use super::{T5Config, Weights};

/// A layer of the encoder.
pub(super) struct EncoderLayer {
    self_norm: Norm,
    self_attention: Attention,
    feed_norm: Norm,
    feed_forward: FeedForward,
}

impl EncoderLayer {
    /// Takes the tensors of the layer of this number.
    pub fn new(config: &T5Config, weights: &Weights, layer: i64) -> Self {
        let name = format!("encoder.block.{layer}.layer");
        Self {
            self_norm: Norm::new(weights, &format!("{name}.0.layer_norm"), config),
            self_attention: Attention::new(weights, &format!("{name}.0.SelfAttention"), config.num_heads),
            feed_norm: Norm::new(weights, &format!("{name}.1.layer_norm"), config),
            feed_forward: FeedForward::new(weights, &format!("{name}.1.DenseReluDense"), config.feed_forward_proj),
        }
    }

    /// `look`: of the sequences at themselves.
    pub fn forward(&self, hidden: &Tensor, look: Look<'_>, dropout: Dropout) -> Tensor {
        let normed = self.self_norm.forward(hidden);
        let attended = self.self_attention.look(&normed, &normed, look, dropout.at(0));
        let hidden = dropout.at(1).add(hidden, attended);
        let fed = self.feed_forward.forward(&self.feed_norm.forward(&hidden), dropout.at(2));
        dropout.at(3).add(&hidden, fed)
    }
}

/// A layer of the decoder.
pub(super) struct DecoderLayer {
    pub self_norm: Norm,
    pub self_attention: Attention,
    cross_norm: Norm,
    pub cross_attention: Attention,
    feed_norm: Norm,
    feed_forward: FeedForward,
}

impl DecoderLayer {
    /// Takes the tensors of the layer of this number.
    pub fn new(config: &T5Config, weights: &Weights, layer: i64) -> Self {
        let name = format!("decoder.block.{layer}.layer");
        Self {
            self_norm: Norm::new(weights, &format!("{name}.0.layer_norm"), config),
            self_attention: Attention::new(weights, &format!("{name}.0.SelfAttention"), config.num_heads),
            cross_norm: Norm::new(weights, &format!("{name}.1.layer_norm"), config),
            cross_attention: Attention::new(weights, &format!("{name}.1.EncDecAttention"), config.num_heads),
            feed_norm: Norm::new(weights, &format!("{name}.2.layer_norm"), config),
            feed_forward: FeedForward::new(weights, &format!("{name}.2.DenseReluDense"), config.feed_forward_proj),
        }
    }

    /// `looks`: of the sequences at themselves, and at their inputs.
    pub fn forward(&self, hidden: &Tensor, encoded: &Tensor, looks: (Look<'_>, Look<'_>), dropout: Dropout) -> Tensor {
        let normed = self.self_norm.forward(hidden);
        let attended = self.self_attention.look(&normed, &normed, looks.0, dropout.at(0));
        let hidden = dropout.at(1).add(hidden, attended);
        let read = self.cross_attention.look(&self.cross_norm.forward(&hidden), encoded, looks.1, dropout.at(2));
        let hidden = dropout.at(3).add(&hidden, read);
        let fed = self.feed_forward.forward(&self.feed_norm.forward(&hidden), dropout.at(4));
        dropout.at(5).add(&hidden, fed)
    }

    /// The layer's second and third part. Rows of one input attend to it as if they were one longer row, so that its
    /// keys and values need no copies.
    pub fn after_self_attention(&self, hidden: Tensor, cross: (&Tensor, &Tensor), cross_bias: &Tensor) -> Tensor {
        let (shape, inputs) = (hidden.size(), cross.0.size()[0]);
        let normed = self.cross_norm.forward(&hidden).reshape([inputs, -1, shape[2]]);
        let hidden = hidden + self.cross_attention.attend(&normed, cross, cross_bias).view(shape.as_slice());
        let fed = self.feed_forward.forward(&self.feed_norm.forward(&hidden), Dropout::NONE);
        hidden + fed
    }
}
