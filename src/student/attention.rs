//! Attention: over sequences that lie end to end (`look`), and over a grid with caches (`attend`).

use tch::{Kind, Tensor};

use super::Weights;
use super::dropout::Dropout;
use super::layers::weight;
use super::packed::Packed;
use super::position::{DistanceBias, padding_bias};
use crate::native::{self, Sight};

/// Attention with several heads, without bias and without division by sqrt(d_kv): T5's initial weights make up for it.
pub(super) struct Attention {
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    heads: i64,
}

/// Which sequences look at which; the sequence of a number looks at the one of the same number.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    /// Whose tokens ask.
    pub from: &'a Packed,
    /// Whose tokens are seen.
    pub at: &'a Packed,
    /// What is added by distance, where sequences look at themselves.
    pub bias: Option<&'a DistanceBias>,
}

impl Attention {
    pub fn new(weights: &Weights, name: &str, heads: i64) -> Self {
        let part = |part: &str| weight(weights, &format!("{name}.{part}"));
        Self { query: part("q"), key: part("k"), value: part("v"), output: part("o"), heads }
    }

    /// hidden (tokens, d_model) of those who look, `seen` (tokens, d_model) -> like hidden. Scores are summed and normalized
    /// in fp32.
    pub fn look(&self, hidden: &Tensor, seen: &Tensor, look: Look<'_>, dropout: Dropout) -> Tensor {
        let query = hidden.linear(&self.query, None::<Tensor>);
        let (key, value) = (seen.linear(&self.key, None::<Tensor>), seen.linear(&self.value, None::<Tensor>));
        let mixed = if native::serves(&query) {
            let sight = Sight {
                query_starts: &look.from.starts,
                key_starts: &look.at.starts,
                bias: look.bias.map(|bias| (&bias.table, bias.zero)),
                hides_future: look.bias.is_some_and(|bias| bias.hides_future),
            };
            native::attend((&query, &key, &value), self.heads, sight, dropout.dropping())
        } else {
            self.look_in_grid((&query, &key, &value), look, dropout)
        };
        mixed.linear(&self.output, None::<Tensor>)
    }

    /// The same on any device, with padding.
    fn look_in_grid(
        &self,
        (query, key, value): (&Tensor, &Tensor, &Tensor),
        look: Look<'_>,
        dropout: Dropout,
    ) -> Tensor {
        let heads = |rows: &Tensor, of: &Packed| self.heads_apart(&of.grid(rows));
        let padding = padding_bias(look.at.mask());
        let bias = look.bias.map_or(padding.shallow_clone(), |bias| bias.square() + padding);
        let (keys, values) = (heads(key, look.at), heads(value, look.at));
        look.from.ungrid(&mix(&heads(query, look.from), (&keys, &values), &bias, dropout))
    }

    /// What is looked at, as keys and values: two of (batch, heads, length, d_kv).
    pub fn keys_and_values(&self, hidden: &Tensor) -> (Tensor, Tensor) {
        let part = |weight: &Tensor| self.heads_apart(&hidden.linear(weight, None::<Tensor>));
        (part(&self.key), part(&self.value))
    }

    /// hidden (batch, length, d_model), bias fp32 (batch or 1, heads or 1, length or 1, keys) -> like hidden.
    pub fn attend(&self, hidden: &Tensor, seen: (&Tensor, &Tensor), bias: &Tensor) -> Tensor {
        let query = self.heads_apart(&hidden.linear(&self.query, None::<Tensor>));
        mix(&query, seen, bias, Dropout::NONE).linear(&self.output, None::<Tensor>)
    }

    /// (batch, length, heads * d_kv) -> (batch, heads, length, d_kv)
    fn heads_apart(&self, projected: &Tensor) -> Tensor {
        let (batch, length) = (projected.size()[0], projected.size()[1]);
        projected.view([batch, length, self.heads, -1]).transpose(1, 2)
    }
}

/// Queries (batch, heads, length, d_kv), keys and values (batch, heads, keys, d_kv) -> (batch, length, heads * d_kv).
fn mix(query: &Tensor, (keys, values): (&Tensor, &Tensor), bias: &Tensor, dropout: Dropout) -> Tensor {
    let (batch, length) = (query.size()[0], query.size()[2]);
    let scores = query.matmul(&keys.transpose(-1, -2)).to_kind(Kind::Float) + bias;
    let shares = dropout.of(scores.softmax(-1, Kind::Float).to_kind(values.kind()));
    shares.matmul(values).transpose(1, 2).reshape([batch, length, -1])
}

#[cfg(test)]
mod tests {
    use tch::{Device, kind};

    use super::*;
    use crate::domain::FromScratch;
    use crate::student::position::PositionBias;
    use crate::student::{T5Config, initial_weights};

    /// Heads narrower and wider than what a processor multiplies at once.
    fn config(d_kv: u32) -> T5Config {
        let shape = FromScratch { d_model: 24, d_kv, d_ff: 8, num_layers: 1, num_heads: 3, ..FromScratch::default() };
        T5Config::from_scratch(&shape, 60)
    }

    fn packed(lengths: &[usize]) -> Packed {
        Packed::new(&lengths.iter().map(|length| vec![1; *length]).collect::<Vec<_>>(), Device::Cpu)
    }

    fn random(rows: i64, seed: i64) -> Tensor {
        tch::manual_seed(seed);
        Tensor::randn([rows, 24], kind::FLOAT_CPU).set_requires_grad(true)
    }

    /// The result of a way to look, and the gradients of hidden, seen, bias and each projection.
    fn results(attention: &Attention, hidden: &Tensor, seen: &Tensor, look: Look<'_>, in_grid: InGrid) -> Vec<Tensor> {
        let looked = match in_grid {
            InGrid::No => attention.look(hidden, seen, look, Dropout::NONE),
            InGrid::Yes => {
                let project = |rows: &Tensor, weight: &Tensor| rows.linear(weight, None::<Tensor>);
                let query = project(hidden, &attention.query);
                let (key, value) = (project(seen, &attention.key), project(seen, &attention.value));
                let mixed = attention.look_in_grid((&query, &key, &value), look, Dropout::NONE);
                project(&mixed, &attention.output)
            }
        };
        let mut inputs = vec![hidden, seen, &attention.query, &attention.key, &attention.value, &attention.output];
        inputs.extend(look.bias.map(|bias| &bias.table));
        let loss = looked.square().sum(Kind::Float);
        let gradients = Tensor::run_backward(&[loss], &inputs, false, false);
        std::iter::once(looked).chain(gradients).collect()
    }

    #[derive(Clone, Copy)]
    enum InGrid {
        No,
        Yes,
    }

    fn assert_same(attention: &Attention, hidden: &Tensor, seen: &Tensor, look: Look<'_>, what: &str) {
        let both = [InGrid::No, InGrid::Yes].map(|way| results(attention, hidden, seen, look, way));
        for (number, (packed, grid)) in both[0].iter().zip(&both[1]).enumerate() {
            let off = (packed - grid).abs().max().double_value(&[]) / grid.abs().max().double_value(&[]).max(1e-3);
            assert!(off < 1e-4, "{what}: result {number} is off by {off}");
        }
    }

    #[test]
    fn sequences_end_to_end_see_what_they_see_in_a_grid() {
        for d_kv in [4, 16, 40] {
            let config = config(d_kv);
            let weights: Weights = initial_weights(&config, 5);
            let weights = weights.into_iter().map(|(name, weight)| (name, weight.set_requires_grad(true))).collect();
            let of_layer = |name: &str| Attention::new(&weights, name, config.num_heads);
            let (inputs, said) = (packed(&[3, 120, 1, 50]), packed(&[7, 2, 100, 1]));
            let (read, written) = (random(174, 1), random(110, 2));
            for (stack, of, rows) in [("encoder", &inputs, &read), ("decoder", &said, &written)] {
                let name = format!("{stack}.block.0.layer.0.SelfAttention");
                let table = weight(&weights, &format!("{name}.relative_attention_bias"));
                let bias = PositionBias::new(table, stack == "encoder", &config).by_distance_within(of.longest());
                let bias = DistanceBias { table: bias.table.detach().set_requires_grad(true), ..bias };
                let look = Look { from: of, at: of, bias: Some(&bias) };
                assert_same(&of_layer(&name), rows, rows, look, &format!("{stack}, {d_kv}"));
            }
            let look = Look { from: &said, at: &inputs, bias: None };
            let crossed = of_layer("decoder.block.0.layer.1.EncDecAttention");
            assert_same(&crossed, &written, &read, look, &format!("cross, {d_kv}"));
        }
    }

    #[test]
    fn a_gradient_goes_through_the_shares_that_were_not_dropped() {
        // With one key, the share is 1 or dropped: what comes out is the value scaled up, or nothing, and so is the gradient.
        let (one, many) = (packed(&[1; 400]), random(400, 3));
        let config = config(8);
        let attention = Attention::new(&initial_weights(&config, 1), "encoder.block.0.layer.0.SelfAttention", 3);
        let query = many.linear(&attention.query, None::<Tensor>);
        let value = many.linear(&attention.value, None::<Tensor>).detach().set_requires_grad(true);
        let sight = Sight { query_starts: &one.starts, key_starts: &one.starts, bias: None, hides_future: false };
        let mixed = native::attend((&query, &query, &value), 3, sight, Dropout::new(0.25, 9).dropping());
        let gradient = Tensor::run_backward(&[mixed.sum(Kind::Float)], &[&value], false, false).remove(0);
        assert!((&mixed - &gradient * &value).abs().max().double_value(&[]) < 1e-5);
        let dropped = gradient.eq(0.0).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
        assert!((dropped - 0.25).abs() < 0.05, "{dropped}");
        assert!((gradient.max().double_value(&[]) - 1.0 / 0.75).abs() < 1e-5);
    }
}
