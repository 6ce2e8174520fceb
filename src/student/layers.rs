//! The layers that a T5 is stacked from.

use tch::{Kind, Tensor};

use super::dropout::Dropout;
use super::{FeedForwardKind, T5Config, Weights};
use crate::native::{self, Activation};

/// A tensor of a weight map whose names were checked.
pub(super) fn weight(weights: &Weights, name: &str) -> Tensor {
    weights.get(&format!("{name}.weight")).expect("T5::new checks every name before it takes one").shallow_clone()
}

/// Division by the root mean square, without a mean or a bias of its own.
pub(super) struct Norm {
    weight: Tensor,
    epsilon: f64,
}

impl Norm {
    pub fn new(weights: &Weights, name: &str, config: &T5Config) -> Self {
        Self { weight: weight(weights, name), epsilon: config.layer_norm_epsilon }
    }

    /// The mean square is taken in fp32: in bf16 it would keep two digits.
    pub fn forward(&self, hidden: &Tensor) -> Tensor {
        if native::serves(hidden) {
            return native::rms_norm(hidden, &self.weight, self.epsilon);
        }
        let wide = hidden.to_kind(Kind::Float);
        let mean_square = wide.square().mean_dim(-1, true, Kind::Float);
        let scaled = wide * (mean_square + self.epsilon).rsqrt();
        scaled.to_kind(self.weight.kind()) * &self.weight
    }
}

/// Two projections with an activation between them; the gated kinds multiply in a third.
pub(super) struct FeedForward {
    kind: FeedForwardKind,
    input: Tensor,
    gate: Option<Tensor>,
    output: Tensor,
}

impl FeedForward {
    pub fn new(weights: &Weights, name: &str, kind: FeedForwardKind) -> Self {
        let part = |part: &str| weight(weights, &format!("{name}.{part}"));
        let (input, gate) = if kind.is_gated() { (part("wi_0"), Some(part("wi_1"))) } else { (part("wi"), None) };
        Self { kind, input, gate, output: part("wo") }
    }

    pub fn forward(&self, hidden: &Tensor, dropout: Dropout) -> Tensor {
        let projected = hidden.linear(&self.input, None::<Tensor>);
        let gate = self.gate.as_ref().map(|gate| hidden.linear(gate, None::<Tensor>));
        let inner = if native::serves(&projected) {
            native::activate(&projected, gate.as_ref(), self.activation(), dropout.dropping())
        } else {
            let activated = match self.activation() {
                Activation::Relu => projected.relu(),
                Activation::Gelu => projected.gelu("tanh"),
                Activation::Silu => projected.silu(),
            };
            dropout.of(gate.map_or(activated.shallow_clone(), |gate| activated * gate))
        };
        inner.linear(&self.output, None::<Tensor>)
    }

    fn activation(&self) -> Activation {
        match self.kind {
            FeedForwardKind::Relu => Activation::Relu,
            FeedForwardKind::GatedGelu => Activation::Gelu,
            FeedForwardKind::GatedSilu => Activation::Silu,
        }
    }
}
