//! The decoder one token at a time, with tensors on any device: keys and values of what was said are kept in buffers made once, those
//! of the input are computed once.

use tch::{Kind, Tensor};

use super::T5;
use super::batch::size;
use super::position::padding_bias;
use super::stacks::DecoderLayer;

/// The state of a batch that is being decoded: one row an input, or as many side by side. Rows may begin while others go on: all
/// write at the same position, and what lies before a row's own beginning is hidden from it. Runs under `no_grad`: it writes
/// into its buffers.
pub(super) struct GridDecoding<'model> {
    model: &'model T5,
    layers: Vec<LayerCache>,
    /// (1, heads, 1, capacity): bias of the newest of `capacity` positions; a shorter past is its end.
    self_bias: Tensor,
    /// (inputs, keys) bool, true for real tokens.
    mask: Tensor,
    /// (inputs, 1, 1, keys): the mask as it is added.
    cross_bias: Tensor,
    /// Where each row begins, of the positions in the buffers.
    starts: Vec<i64>,
    /// The positions in the buffers that are written.
    length: i64,
    capacity: i64,
}

impl<'model> GridDecoding<'model> {
    /// `encoded` (inputs, keys, d_model) with its `mask` (inputs, keys); `rows` rows of every input. There is room for
    /// `capacity` tokens before the buffers grow.
    pub fn new(model: &'model T5, encoded: &Tensor, mask: &Tensor, capacity: i64, rows: i64) -> Self {
        let layers = model.decoder.iter().map(|layer| LayerCache::new(layer, encoded, capacity, rows));
        let rows = usize::try_from(encoded.size()[0] * rows).unwrap_or_default();
        Self {
            model,
            layers: layers.collect(),
            self_bias: newest_bias(model, capacity),
            cross_bias: padding_bias(mask),
            mask: mask.shallow_clone(),
            starts: vec![0; rows],
            length: 0,
            capacity,
        }
    }

    /// Rows of further inputs, one each, begin behind those that are there. There is room for `expected` tokens of theirs.
    pub fn join(&mut self, encoded: &Tensor, mask: &Tensor, expected: i64) {
        let joining = encoded.size()[0];
        self.move_to(size(self.starts.len()) + joining, self.capacity.max(self.said() + expected));
        for (layer, cache) in self.model.decoder.iter().zip(&mut self.layers) {
            let (keys, values) = layer.cross_attention.keys_and_values(encoded);
            cache.cross_keys = below_each_other(&cache.cross_keys, &keys, 2);
            cache.cross_values = below_each_other(&cache.cross_values, &values, 2);
        }
        self.mask = below_each_other(&self.mask, mask, 1);
        self.cross_bias = padding_bias(&self.mask);
        self.starts.extend((0..joining).map(|_| self.length));
    }

    /// The newest token of each row (rows) -> its hidden state after the final norm (rows, d_model).
    pub fn step(&mut self, tokens: &Tensor) -> Tensor {
        if self.length == self.capacity {
            self.move_to(size(self.starts.len()), self.capacity.max(self.said() * 2));
        }
        let first = self.first();
        self.length += 1;
        let self_bias = self.bias_from(first);
        let mut hidden = self.model.embed(&tokens.unsqueeze(1));
        for (layer, cache) in self.model.decoder.iter().zip(&mut self.layers) {
            let normed = layer.self_norm.forward(&hidden);
            cache.append(layer.self_attention.keys_and_values(&normed), self.length - 1);
            let (keys, values) = cache.said(first, self.length);
            hidden += layer.self_attention.attend(&normed, (&keys, &values), &self_bias);
            let cross = (&cache.cross_keys, &cache.cross_values);
            hidden = layer.after_self_attention(hidden, cross, &self.cross_bias);
        }
        self.model.finish(&hidden).squeeze_dim(1)
    }

    /// Goes on with only these inputs, an ascending list of places. Their rows are chosen by `follow`.
    pub fn keep_inputs(&mut self, inputs: &[i64]) {
        let inputs = Tensor::from_slice(inputs).to_device(self.mask.device());
        self.mask = self.mask.index_select(0, &inputs);
        self.cross_bias = self.cross_bias.index_select(0, &inputs);
        for cache in &mut self.layers {
            cache.cross_keys = cache.cross_keys.index_select(0, &inputs);
            cache.cross_values = cache.cross_values.index_select(0, &inputs);
        }
    }

    /// Each row goes on from what the row at its place in `sources` has said; a row may be followed by several, or by none.
    pub fn follow(&mut self, sources: &[i64]) {
        let place = |source: &i64| usize::try_from(*source).expect("a place is no negative number");
        self.starts = sources.iter().map(|source| self.starts[place(source)]).collect();
        let sources = Tensor::from_slice(sources).to_device(self.mask.device());
        for cache in &mut self.layers {
            cache.follow(&sources, self.length);
        }
    }

    /// The first position that any row still sees.
    fn first(&self) -> i64 {
        self.starts.iter().copied().min().unwrap_or(self.length)
    }

    /// The positions that the longest row has written.
    fn said(&self) -> i64 {
        self.length - self.first()
    }

    /// What is added to the newest position's looks at those from `first` on: (rows or 1, heads, 1, positions).
    fn bias_from(&self, first: i64) -> Tensor {
        let seen = self.length - first;
        let bias = self.self_bias.narrow(-1, self.capacity - seen, seen);
        if self.starts.iter().all(|start| *start == first) {
            return bias;
        }
        let positions = Tensor::arange_start(first, self.length, (Kind::Int64, bias.device()));
        let starts = Tensor::from_slice(&self.starts).to_device(bias.device()).unsqueeze(1);
        bias + padding_bias(&positions.ge_tensor(&starts))
    }

    /// Buffers of so many rows and positions, which hold at their beginnings what is still seen.
    fn move_to(&mut self, rows: i64, capacity: i64) {
        let (first, said) = (self.first(), self.said());
        for cache in &mut self.layers {
            cache.move_to([rows, capacity], first, said);
        }
        self.starts.iter_mut().for_each(|start| *start -= first);
        self.length = said;
        if capacity != self.capacity {
            (self.capacity, self.self_bias) = (capacity, newest_bias(self.model, capacity));
        }
    }
}

fn newest_bias(model: &T5, capacity: i64) -> Tensor {
    model.decoder_positions.newest(capacity).unsqueeze(0).unsqueeze(2)
}

/// The rows of two tensors; shorter rows are filled up with zeros along a dimension.
fn below_each_other(above: &Tensor, below: &Tensor, along: i64) -> Tensor {
    let dimension = usize::try_from(along).expect("a dimension is no negative number");
    let mut shape = above.size();
    shape[dimension] = shape[dimension].max(below.size()[dimension]);
    shape[0] += below.size()[0];
    let both = Tensor::zeros(shape, (above.kind(), above.device()));
    for (first, part) in [(0, above), (above.size()[0], below)] {
        both.narrow(0, first, part.size()[0]).narrow(along, 0, part.size()[dimension]).copy_(part);
    }
    both
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
    fn new(layer: &DecoderLayer, encoded: &Tensor, capacity: i64, rows: i64) -> Self {
        let (cross_keys, cross_values) = layer.cross_attention.keys_and_values(encoded);
        let shape = cross_keys.size();
        let buffer = [shape[0] * rows, shape[1], capacity, shape[3]];
        let options = (cross_keys.kind(), cross_keys.device());
        let (keys, values) = (Tensor::empty(buffer, options), Tensor::empty(buffer, options));
        Self { keys, values, cross_keys: cross_keys.contiguous(), cross_values: cross_values.contiguous() }
    }

    fn append(&mut self, (keys, values): (Tensor, Tensor), position: i64) {
        self.keys.narrow(2, position, 1).copy_(&keys);
        self.values.narrow(2, position, 1).copy_(&values);
    }

    fn said(&self, first: i64, length: i64) -> (Tensor, Tensor) {
        (self.keys.narrow(2, first, length - first), self.values.narrow(2, first, length - first))
    }

    /// Zeros where nothing was said: a row that joins does not see them, but multiplies them by its share of 0, which must
    /// not make a number of what is none.
    fn move_to(&mut self, [rows, capacity]: [i64; 2], first: i64, said: i64) {
        for buffer in [&mut self.keys, &mut self.values] {
            let shape = buffer.size();
            let moved = Tensor::zeros([rows, shape[1], capacity, shape[3]], (buffer.kind(), buffer.device()));
            moved.narrow(0, 0, shape[0]).narrow(2, 0, said).copy_(&buffer.narrow(2, first, said));
            *buffer = moved;
        }
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

#[cfg(test)]
mod tests {
    use tch::{Device, no_grad};

    use super::*;
    use crate::domain::FromScratch;
    use crate::student::{T5Config, batch::pad, initial_weights};

    #[test]
    fn what_was_said_lies_where_it_was_put_until_there_is_no_room() {
        let shape =
            FromScratch { d_model: 16, d_kv: 8, d_ff: 16, num_layers: 2, num_heads: 2, ..FromScratch::default() };
        let config = T5Config::from_scratch(&shape, 40);
        let model = T5::new(&config, &initial_weights(&config, 7)).unwrap();
        no_grad(|| {
            let (ids, mask) = pad(&[vec![5, 6, 1], vec![7, 1]], 0, Device::Cpu);
            let mut decoding = GridDecoding::new(&model, &model.encode(&ids, &mask), &mask, 9, 1);
            let places = |decoding: &GridDecoding<'_>| -> Vec<usize> {
                let of_layer = |cache: &LayerCache| {
                    [&cache.keys, &cache.values, &cache.cross_keys, &cache.cross_values]
                        .map(|buffer| buffer.data_ptr() as usize)
                };
                decoding.layers.iter().flat_map(of_layer).collect()
            };
            let first = places(&decoding);
            for step in 0..9 {
                let _ = decoding.step(&Tensor::from_slice(&[3 + step, 4]));
                assert_eq!(places(&decoding), first, "step {step}");
            }
            let _ = decoding.step(&Tensor::from_slice(&[3_i64, 4]));
            assert_ne!(places(&decoding), first, "there was room for nine");
        });
    }
}
