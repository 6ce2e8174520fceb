//! A T5's weights on their way into the kernels that answer with them.

use tch::{Device, Tensor};

use super::position::PositionBias;
use super::weights::{EMBEDDING, OUTPUT};
use super::{FeedForwardKind, T5Config, Weights};
use crate::native::Activation;
use crate::native::t5::{PrepackedT5, Sizes, Storage, multiplies};

/// Whether a T5 of such tensors can be prepacked.
pub(super) fn can_prepack(embedding: &Tensor) -> bool {
    embedding.device() == Device::Cpu && multiplies(embedding.kind())
}

/// A T5 of checked weights, prepacked. The weights are taken: a layer's are gone before the next one's are copied, so that memory holds
/// them once.
pub(super) fn prepack(
    config: &T5Config,
    storage: Storage,
    weights: &mut Weights,
    positions: [&PositionBias; 2],
) -> PrepackedT5 {
    let kind = config.feed_forward_proj;
    let farthest = config.relative_attention_max_distance;
    let [read, said] = positions.map(|positions| positions.by_distance_within(farthest + 1).table);
    let mut take = |name: String| weights.remove(&name);
    let ends = [EMBEDDING, OUTPUT, "encoder.final_layer_norm.weight", "decoder.final_layer_norm.weight"];
    let [embedding, output, encoder_norm, decoder_norm] = ends.map(|name| take(name.to_owned()));
    // A decoder's table begins at the farthest key; the kernels count distances.
    let (read, said) = (read.contiguous(), said.flip([1]).contiguous());
    let ends = [embedding, output, encoder_norm, decoder_norm, Some(read), Some(said)];
    let mut prepacked = PrepackedT5::new(&sizes(config, farthest), storage, &ends);
    drop(ends);
    for layer in 0..config.num_layers {
        prepacked.add_encoder_layer(&encoder_layer(layer, kind).map(&mut take));
    }
    for layer in 0..config.decoder_layers() {
        prepacked.add_decoder_layer(&decoder_layer(layer, kind).map(&mut take));
    }
    prepacked
}

fn encoder_layer(layer: i64, kind: FeedForwardKind) -> [String; 9] {
    let block = format!("encoder.block.{layer}.layer");
    let [norm, q, k, v, o] = attention(&format!("{block}.0"), "SelfAttention");
    let [feed_norm, input, gate, output] = feed_forward(&format!("{block}.1"), kind);
    [norm, q, k, v, o, feed_norm, input, gate, output]
}

fn decoder_layer(layer: i64, kind: FeedForwardKind) -> [String; 14] {
    let block = format!("decoder.block.{layer}.layer");
    let [norm, q, k, v, o] = attention(&format!("{block}.0"), "SelfAttention");
    let [cross_norm, cross_q, cross_k, cross_v, cross_o] = attention(&format!("{block}.1"), "EncDecAttention");
    let [feed_norm, input, gate, output] = feed_forward(&format!("{block}.2"), kind);
    [norm, q, k, v, o, cross_norm, cross_q, cross_k, cross_v, cross_o, feed_norm, input, gate, output]
}

fn attention(layer: &str, kind: &str) -> [String; 5] {
    let part = |part: &str| format!("{layer}.{kind}.{part}.weight");
    [format!("{layer}.layer_norm.weight"), part("q"), part("k"), part("v"), part("o")]
}

fn feed_forward(layer: &str, kind: FeedForwardKind) -> [String; 4] {
    let part = |part: &str| format!("{layer}.DenseReluDense.{part}.weight");
    // Where there is no gate, there is no `wi_1` either.
    let input = if kind.is_gated() { "wi_0" } else { "wi" };
    [format!("{layer}.layer_norm.weight"), part(input), part("wi_1"), part("wo")]
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "fp32 is what the kernels compute in")]
fn sizes(config: &T5Config, farthest: i64) -> Sizes {
    let activation = match config.feed_forward_proj {
        FeedForwardKind::Relu => Activation::Relu,
        FeedForwardKind::GatedGelu => Activation::Gelu,
        FeedForwardKind::GatedSilu => Activation::Silu,
    };
    Sizes {
        d_model: config.d_model,
        d_kv: config.d_kv,
        heads: config.num_heads,
        d_ff: config.d_ff,
        vocabulary: config.vocab_size,
        activation: activation as i64,
        farthest,
        epsilon: config.layer_norm_epsilon as f32,
        output_scale: if config.scales_output() { (config.d_model as f32).powf(-0.5) } else { 1.0 },
    }
}

#[cfg(test)]
#[path = "prepack_tests.rs"]
mod tests;
