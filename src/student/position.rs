//! What an attention score gets added to it: T5's relative position bias, and the masks.

use std::cell::OnceCell;

use tch::{Kind, Tensor};

use super::T5Config;

/// Added to the score of what must not be seen; as in `transformers`, finite, so that a row without any visible key
/// stays a number.
const HIDDEN: f64 = f32::MIN as f64;

/// The relative position bias of one stack. Only a stack's first layer has one; all its layers share it.
pub(super) struct PositionBias {
    /// (buckets, heads)
    weight: Tensor,
    /// The encoder looks both ways, the decoder only back.
    looks_ahead: bool,
    buckets: i64,
    max_distance: i64,
}

impl PositionBias {
    pub fn new(weight: Tensor, looks_ahead: bool, config: &T5Config) -> Self {
        let (buckets, max_distance) = (config.relative_attention_num_buckets, config.relative_attention_max_distance);
        Self { weight, looks_ahead, buckets, max_distance }
    }

    /// The bias of sequences of at most so many tokens on themselves. In the decoder the future is hidden.
    pub fn by_distance_within(&self, longest: i64) -> DistanceBias {
        let end = if self.looks_ahead { longest } else { 1 };
        DistanceBias {
            table: self.by_distance(1 - longest, end).contiguous(),
            zero: longest - 1,
            hides_future: !self.looks_ahead,
            square: OnceCell::new(),
        }
    }

    /// The bias of the newest of `length` positions on itself and all before it, oldest first: (heads, length).
    pub fn newest(&self, length: i64) -> Tensor {
        self.by_distance(1 - length, 1)
    }

    /// The bias of keys so many positions before their queries: `distances` (rows, queries, keys) i64, from 0 on; from `hidden` on
    /// a key is not seen. Gives (rows, heads, queries, keys).
    pub fn at_distances(&self, distances: &Tensor, hidden: i64) -> Tensor {
        let seen = self.newest(hidden).flip([1]);
        let table = Tensor::cat(&[&seen, &Tensor::full([seen.size()[0], 1], HIDDEN, (Kind::Float, seen.device()))], 1);
        let shape = distances.size();
        let bias = table.index_select(1, &distances.clamp_max(hidden).to_device(table.device()).view(-1));
        bias.view([-1, shape[0], shape[1], shape[2]]).transpose(0, 1)
    }

    /// (heads, end - start): the bias for each difference of key and query position in `start..end`.
    fn by_distance(&self, start: i64, end: i64) -> Tensor {
        let relative = Tensor::arange_start(start, end, (Kind::Int64, self.weight.device()));
        self.weight.index_select(0, &self.buckets_of(&relative)).transpose(0, 1).to_kind(Kind::Float)
    }

    /// Half of the buckets hold one small distance each; the other half grow with the logarithm of the distance. The
    /// arithmetic is that of `transformers` on the same kernels, because a bucket's edge falls on whole numbers where
    /// another logarithm may round to the other side.
    fn buckets_of(&self, relative: &Tensor) -> Tensor {
        let (buckets, offset, distance) = if self.looks_ahead {
            let half = self.buckets / 2;
            (half, relative.gt(0).to_kind(Kind::Int64) * half, relative.abs())
        } else {
            (self.buckets, relative.zeros_like(), relative.neg().clamp_min(0))
        };
        let exact = buckets / 2;
        let logarithm = (distance.to_kind(Kind::Float) / ratio(exact, 1)).log() / ratio(self.max_distance, exact).ln();
        let large = (logarithm * ratio(buckets - exact, 1)).to_kind(Kind::Int64) + exact;
        // At distance 0 the logarithm is minus infinity; `where` then takes the other branch.
        let large = large.clamp_max(buckets - 1);
        distance.where_self(&distance.lt(exact), &large) + offset
    }
}

/// What is added to a score by the distance from query to key.
pub(super) struct DistanceBias {
    /// fp32 (heads, distances), from the farthest key before the query on.
    pub table: Tensor,
    /// The column of distance 0.
    pub zero: i64,
    /// Whether keys after the query are hidden.
    pub hides_future: bool,
    /// The same for a grid, made once for all layers.
    pub(super) square: OnceCell<Tensor>,
}

impl DistanceBias {
    /// The same for a grid of as many queries and keys as the longest sequence has: (1, heads, length, length).
    pub fn square(&self) -> &Tensor {
        self.square.get_or_init(|| {
            let length = self.zero + 1;
            // Each query's row is a window of the table; where the future is hidden, it may hold anything.
            let beyond = if self.hides_future { length - 1 } else { 0 };
            let bias = self.table.constant_pad_nd([0, beyond]).unfold(1, length, 1).flip([1]).unsqueeze(0);
            if !self.hides_future {
                return bias;
            }
            bias + Tensor::full([length, length], HIDDEN, (Kind::Float, self.table.device())).triu(1)
        })
    }
}

/// (batch, 1, 1, keys) in fp32: 0 for real tokens (`mask` true), hidden for padding.
pub(super) fn padding_bias(mask: &Tensor) -> Tensor {
    (mask.logical_not().to_kind(Kind::Float) * HIDDEN).unsqueeze(1).unsqueeze(1)
}

#[expect(clippy::cast_precision_loss, reason = "bucket counts and distances are small")]
fn ratio(numerator: i64, denominator: i64) -> f64 {
    numerator as f64 / denominator as f64
}
