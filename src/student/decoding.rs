//! The decoder one token at a time: keys and values of what was said are kept in buffers made once, those of the input
//! are computed once.

use tch::Tensor;

use super::T5;
use super::position::padding_bias;

/// The state of a batch that is being decoded: one row an input, or as many side by side. Runs under `no_grad`: it writes into
/// its buffers.
pub(super) struct Decoding<'model> {
    model: &'model T5,
    layers: Vec<LayerCache>,
    /// (1, heads, 1, capacity): bias of the newest of `capacity` positions; a shorter past is its end.
    self_bias: Tensor,
    /// (inputs, 1, 1, keys)
    cross_bias: Tensor,
    length: i64,
    capacity: i64,
}

impl<'model> Decoding<'model> {
    /// `encoded` (inputs, keys, d_model) with its `mask` (inputs, keys); at most `capacity` tokens in each of `rows` rows of
    /// every input.
    pub fn new(model: &'model T5, encoded: &Tensor, mask: &Tensor, capacity: i64, rows: i64) -> Self {
        let cache = |layer: &super::t5::DecoderLayer| {
            let (cross_keys, cross_values) = layer.cross_attention.keys_and_values(encoded);
            let shape = cross_keys.size();
            let buffer = [shape[0] * rows, shape[1], capacity, shape[3]];
            let options = (cross_keys.kind(), cross_keys.device());
            let (keys, values) = (Tensor::empty(buffer, options), Tensor::empty(buffer, options));
            LayerCache { keys, values, cross_keys: cross_keys.contiguous(), cross_values: cross_values.contiguous() }
        };
        Self {
            model,
            layers: model.decoder.iter().map(cache).collect(),
            self_bias: model.decoder_positions.newest(capacity).unsqueeze(0).unsqueeze(2),
            cross_bias: padding_bias(mask),
            length: 0,
            capacity,
        }
    }

    /// The newest token of each row (rows) -> its hidden state after the final norm (rows, d_model).
    pub fn step(&mut self, tokens: &Tensor) -> Tensor {
        self.length += 1;
        let self_bias = self.self_bias.narrow(-1, self.capacity - self.length, self.length);
        let mut hidden = self.model.embed(&tokens.unsqueeze(1));
        for (layer, cache) in self.model.decoder.iter().zip(&mut self.layers) {
            let normed = layer.self_norm.forward(&hidden);
            cache.append(layer.self_attention.keys_and_values(&normed), self.length - 1);
            let (keys, values) = cache.said(self.length);
            hidden += layer.self_attention.attend(&normed, (&keys, &values), &self_bias);
            let cross = (&cache.cross_keys, &cache.cross_values);
            hidden = layer.after_self_attention(hidden, cross, &self.cross_bias);
        }
        self.model.finish(&hidden).squeeze_dim(1)
    }

    /// Goes on with only these inputs, an ascending list of places. Their rows are chosen by `follow`.
    pub fn keep_inputs(&mut self, inputs: &Tensor) {
        self.cross_bias = self.cross_bias.index_select(0, inputs);
        for cache in &mut self.layers {
            cache.cross_keys = cache.cross_keys.index_select(0, inputs);
            cache.cross_values = cache.cross_values.index_select(0, inputs);
        }
    }

    /// Each row goes on from what the row at its place in `sources` has said; a row may be followed by several, or by none.
    pub fn follow(&mut self, sources: &Tensor) {
        for cache in &mut self.layers {
            cache.follow(sources, self.length);
        }
    }
}

struct LayerCache {
    /// (rows, heads, capacity, d_kv)
    keys: Tensor,
    values: Tensor,
    /// (inputs, heads, keys, d_kv)
    cross_keys: Tensor,
    cross_values: Tensor,
}

impl LayerCache {
    fn append(&mut self, (keys, values): (Tensor, Tensor), position: i64) {
        self.keys.narrow(2, position, 1).copy_(&keys);
        self.values.narrow(2, position, 1).copy_(&values);
    }

    fn said(&self, length: i64) -> (Tensor, Tensor) {
        (self.keys.narrow(2, 0, length), self.values.narrow(2, 0, length))
    }

    /// Moves rows to the front of the buffers; only what was said is copied.
    fn follow(&mut self, sources: &Tensor, length: i64) {
        let count = sources.size()[0];
        for buffer in [&mut self.keys, &mut self.values] {
            let kept = buffer.narrow(2, 0, length).index_select(0, sources);
            *buffer = buffer.narrow(0, 0, count);
            buffer.narrow(2, 0, length).copy_(&kept);
        }
    }
}
