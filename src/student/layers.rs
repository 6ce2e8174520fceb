//! The layers that a T5 is stacked from. Dropout 0 turns it off; above 0 it draws from libtorch's global random state,
//! which the trainer seeds at each step.

use tch::{Kind, Tensor};

use super::dropout::drop_out;
use super::{FeedForwardKind, T5Config, Weights};

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
        let wide = hidden.to_kind(Kind::Float);
        let mean_square = wide.square().mean_dim(-1, true, Kind::Float);
        let scaled = wide * (mean_square + self.epsilon).rsqrt();
        scaled.to_kind(self.weight.kind()) * &self.weight
    }
}

/// Attention with several heads, without bias and without division by sqrt(d_kv): T5's initial weights make up for it.
pub(super) struct Attention {
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    heads: i64,
}

impl Attention {
    pub fn new(weights: &Weights, name: &str, heads: i64) -> Self {
        let part = |part: &str| weight(weights, &format!("{name}.{part}"));
        Self { query: part("q"), key: part("k"), value: part("v"), output: part("o"), heads }
    }

    /// What is looked at, as keys and values: two of (batch, heads, length, d_kv).
    pub fn keys_and_values(&self, hidden: &Tensor) -> (Tensor, Tensor) {
        (self.split(&hidden.linear(&self.key, None::<Tensor>)), self.split(&hidden.linear(&self.value, None::<Tensor>)))
    }

    /// hidden (batch, length, d_model), bias fp32 (batch or 1, heads or 1, length or 1, keys) -> like hidden. Scores
    /// are summed and normalized in fp32.
    pub fn attend(&self, hidden: &Tensor, (keys, values): (&Tensor, &Tensor), bias: &Tensor, dropout: f64) -> Tensor {
        let (batch, length) = (hidden.size()[0], hidden.size()[1]);
        let query = self.split(&hidden.linear(&self.query, None::<Tensor>));
        let scores = query.matmul(&keys.transpose(-1, -2)).to_kind(Kind::Float) + bias;
        let shares = drop_out(scores.softmax(-1, Kind::Float).to_kind(values.kind()), dropout);
        let mixed = shares.matmul(values).transpose(1, 2).reshape([batch, length, -1]);
        mixed.linear(&self.output, None::<Tensor>)
    }

    /// (batch, length, heads * d_kv) -> (batch, heads, length, d_kv)
    fn split(&self, projected: &Tensor) -> Tensor {
        let (batch, length) = (projected.size()[0], projected.size()[1]);
        projected.view([batch, length, self.heads, -1]).transpose(1, 2)
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

    pub fn forward(&self, hidden: &Tensor, dropout: f64) -> Tensor {
        let projected = hidden.linear(&self.input, None::<Tensor>);
        let activated = match self.kind {
            FeedForwardKind::Relu => projected.relu(),
            FeedForwardKind::GatedGelu => projected.gelu("tanh"),
            FeedForwardKind::GatedSilu => projected.silu(),
        };
        let inner = match &self.gate {
            Some(gate) => activated * hidden.linear(gate, None::<Tensor>),
            None => activated,
        };
        drop_out(inner, dropout).linear(&self.output, None::<Tensor>)
    }
}
