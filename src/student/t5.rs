//! T5's forward pass: an encoder and a decoder that sees it; the output layer is in `output`. Holds no state between calls.

use tch::{Kind, Tensor};

use super::attention::Look;
use super::dropout::Dropout;
use super::layers::{Norm, weight};
use super::packed::Packed;
use super::parameters;
use super::position::{DistanceBias, PositionBias, padding_bias};
use super::prepack::{can_prepack, prepack};
use super::stacks::{DecoderLayer, EncoderLayer};
use super::weights::{EMBEDDING, OUTPUT};
use super::{StudentError, T5Config, Weights};
use crate::native::t5::{PrepackedT5, Storage};

/// A T5 over tensors that a `Weights` map owns as well: a change of theirs, and their gradients, are seen through it.
pub struct T5 {
    pub(super) config: T5Config,
    pub(super) embedding: Tensor,
    /// None where the embedding is the output layer as well, and where the T5 is prepacked.
    pub(super) output: Option<Tensor>,
    pub(super) encoder: Vec<EncoderLayer>,
    pub(super) encoder_positions: PositionBias,
    pub(super) encoder_norm: Norm,
    pub(super) decoder: Vec<DecoderLayer>,
    pub(super) decoder_positions: PositionBias,
    pub(super) decoder_norm: Norm,
    /// What answers instead of the layers, which are gone then.
    pub(super) prepacked: Option<PrepackedT5>,
}

/// What goes through a T5 at once, end to end: the sequence of a number in `said` follows the input of that number.
pub struct Passage<'a> {
    /// What the encoder reads.
    pub inputs: &'a Packed,
    /// What the decoder has said, sequences that begin with its start token.
    pub said: &'a Packed,
    /// What is dropped on the way.
    pub dropout: Dropout,
}

impl Passage<'_> {
    /// The encoder's look at itself.
    pub(super) fn look_at_inputs<'b>(&'b self, bias: &'b DistanceBias) -> Look<'b> {
        Look { from: self.inputs, at: self.inputs, bias: Some(bias) }
    }

    /// The decoder's looks at itself and at the inputs.
    pub(super) fn looks<'b>(&'b self, bias: &'b DistanceBias) -> (Look<'b>, Look<'b>) {
        (
            Look { from: self.said, at: self.said, bias: Some(bias) },
            Look { from: self.said, at: self.inputs, bias: None },
        )
    }
}

impl T5 {
    /// Takes the tensors of `weights`, after checking that each that the configuration asks for is there, in its shape,
    /// and no other.
    pub fn new(config: &T5Config, weights: &Weights) -> Result<Self, StudentError> {
        config.validate()?;
        parameters::check(config, weights)?;
        let positions = |stack: &str| {
            let name = format!("{stack}.block.0.layer.0.SelfAttention.relative_attention_bias");
            PositionBias::new(weight(weights, &name), stack == "encoder", config)
        };
        Ok(Self {
            config: config.clone(),
            embedding: weights[EMBEDDING].shallow_clone(),
            output: (!config.tie_word_embeddings).then(|| weights[OUTPUT].shallow_clone()),
            encoder: (0..config.num_layers).map(|layer| EncoderLayer::new(config, weights, layer)).collect(),
            encoder_positions: positions("encoder"),
            encoder_norm: Norm::new(weights, "encoder.final_layer_norm", config),
            decoder: (0..config.decoder_layers()).map(|layer| DecoderLayer::new(config, weights, layer)).collect(),
            decoder_positions: positions("decoder"),
            decoder_norm: Norm::new(weights, "decoder.final_layer_norm", config),
            prepacked: None,
        })
    }

    /// Prepacks the weights into a storage where this processor can answer with them so, and lets go of the tensors that are not needed
    /// then. A prepacked T5 only answers: it encodes, goes on from what was said, and weighs trees of tokens.
    pub fn prepack(&mut self, storage: Storage, weights: &mut Weights) {
        if self.prepacked.is_some() || !can_prepack(&self.embedding) {
            return;
        }
        // The layers share their tensors with `weights`: memory is given back only where both let go.
        (self.encoder, self.decoder, self.output) = (Vec::new(), Vec::new(), None);
        self.prepacked =
            Some(prepack(&self.config, storage, weights, [&self.encoder_positions, &self.decoder_positions]));
        weights.clear();
    }

    /// Whether what is answered side by side is filled up to the longest input: a prepacked T5 keeps each answer by itself.
    pub fn pads(&self) -> bool {
        self.prepacked.is_none()
    }

    /// Computes with so many threads. Those of libtorch look for work for a while after each operation; a prepacked T5 has threads of its
    /// own, which they would keep from the processor, so libtorch then does its small part on this thread alone.
    pub fn use_threads(&self, threads: i32) {
        match &self.prepacked {
            Some(prepacked) => {
                prepacked.use_threads(threads);
                tch::set_num_threads(1);
            }
            None => tch::set_num_threads(threads),
        }
    }

    /// The shape it has.
    pub fn config(&self) -> &T5Config {
        &self.config
    }

    /// The device that its tensors are on.
    pub fn device(&self) -> tch::Device {
        self.embedding.device()
    }

    /// The kind of its tensors, in which matrices are multiplied.
    pub fn kind(&self) -> Kind {
        self.embedding.kind()
    }

    /// `input_ids` (batch, length) as i64, `mask` (batch, length) as bool, true for real tokens, which come first. Gives
    /// (batch, length, d_model), zero where there is no token. Panics on ids outside the vocabulary.
    pub fn encode(&self, input_ids: &Tensor, mask: &Tensor) -> Tensor {
        if let Some(prepacked) = &self.prepacked {
            return prepacked.encode(input_ids, mask);
        }
        let inputs = Packed::from_grid(input_ids, mask);
        let encoded = inputs.grid(&self.encode_packed(&inputs, Dropout::NONE));
        // A grid is as long as its longest row; this one may have been longer.
        encoded.constant_pad_nd([0, 0, 0, input_ids.size()[1] - encoded.size()[1]])
    }

    /// The same of inputs that lie end to end: (tokens, d_model).
    fn encode_packed(&self, inputs: &Packed, dropout: Dropout) -> Tensor {
        let hidden = self.through_encoder(inputs, dropout, &mut |_| ());
        dropout.at(-2).of(self.encoder_norm.forward(&hidden))
    }

    /// Inputs that lie end to end, through the encoder's layers: (tokens, d_model) before the final norm. `into_layer` is
    /// shown what goes into each layer.
    pub(super) fn through_encoder(
        &self,
        inputs: &Packed,
        dropout: Dropout,
        into_layer: &mut dyn FnMut(&Tensor),
    ) -> Tensor {
        self.must_have_layers();
        let bias = self.encoder_positions.by_distance_within(inputs.longest());
        let look = Look { from: inputs, at: inputs, bias: Some(&bias) };
        let mut hidden = dropout.at(-1).of(self.embed(&inputs.ids));
        for (number, layer) in (0..).zip(&self.encoder) {
            into_layer(&hidden);
            hidden = layer.forward(&hidden, look, dropout.at(number));
        }
        hidden
    }

    /// What the decoder makes of a passage: (tokens of `said`, d_model) after the final norm.
    pub fn forward(&self, passage: &Passage<'_>) -> Tensor {
        let encoded = self.encode_packed(passage.inputs, passage.dropout.at(0));
        let hidden = self.through_decoder(passage, &encoded, &mut |_| ());
        passage.dropout.at(1).at(-2).of(self.decoder_norm.forward(&hidden))
    }

    /// The same of the decoder's layers.
    pub(super) fn through_decoder(
        &self,
        passage: &Passage<'_>,
        encoded: &Tensor,
        into_layer: &mut dyn FnMut(&Tensor),
    ) -> Tensor {
        self.must_have_layers();
        let (said, dropout) = (passage.said, passage.dropout.at(1));
        let bias = self.decoder_positions.by_distance_within(said.longest());
        let looks = passage.looks(&bias);
        let mut hidden = dropout.at(-1).of(self.embed(&said.ids));
        for (number, layer) in (0..).zip(&self.decoder) {
            into_layer(&hidden);
            hidden = layer.forward(&hidden, encoded, looks, dropout.at(number));
        }
        hidden
    }

    /// `decoder_input_ids` (rows, target) as i64, starting with the decoder's start token; `encoded` (batch, length,
    /// d_model) and its `mask` (batch, length). `rows` is `batch` or a multiple of it: then the rows of one input lie
    /// side by side, and the input's keys and values are computed once for all of them. Gives (rows, target, d_model)
    /// after the final norm. Panics on ids outside the vocabulary.
    pub fn decode(&self, decoder_input_ids: &Tensor, encoded: &Tensor, mask: &Tensor) -> Tensor {
        let by_distance = self.decoder_positions.by_distance_within(decoder_input_ids.size()[1]);
        self.decode_seeing(decoder_input_ids, by_distance.square(), encoded, mask)
    }

    /// The same where a row's tokens see what `self_bias` (rows or 1, heads, target, target) lets them see.
    pub(super) fn decode_seeing(&self, ids: &Tensor, self_bias: &Tensor, encoded: &Tensor, mask: &Tensor) -> Tensor {
        self.must_have_layers();
        let cross_bias = padding_bias(mask);
        let mut hidden = self.embed(ids);
        for layer in &self.decoder {
            let normed = layer.self_norm.forward(&hidden);
            let (keys, values) = layer.self_attention.keys_and_values(&normed);
            let attended = &hidden + layer.self_attention.attend(&normed, (&keys, &values), self_bias);
            let (keys, values) = layer.cross_attention.keys_and_values(encoded);
            hidden = layer.after_self_attention(attended, (&keys, &values), &cross_bias);
        }
        self.finish(&hidden)
    }

    pub(super) fn must_have_layers(&self) {
        assert!(self.prepacked.is_none(), "a prepacked T5 only answers: load the student again to train it");
    }

    pub(super) fn embed(&self, ids: &Tensor) -> Tensor {
        Tensor::embedding(&self.embedding, ids, -1, false, false)
    }

    /// The decoder's end: (.., d_model) -> (.., d_model).
    pub(super) fn finish(&self, hidden: &Tensor) -> Tensor {
        self.decoder_norm.forward(hidden)
    }
}
