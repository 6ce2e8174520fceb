//! `config.json` of a T5, in Hugging Face's words.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::stored_config::StoredConfig;
use super::weights::OUTPUT;
use super::{StudentError, Weights, error::is_there};
use crate::domain::FromScratch;
use crate::layout;

/// The shape of a T5. Read from a `config.json` of any version of `transformers` (`stored_config`), and written so that each of
/// them reads the same model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredConfig")]
pub struct T5Config {
    /// Rows of the embedding; published checkpoints pad it past the tokenizer.
    pub vocab_size: i64,
    /// Width of the residual stream.
    pub d_model: i64,
    /// Width of one head's key and value; heads times this need not be `d_model`.
    pub d_kv: i64,
    /// Width of the feed-forward layer.
    pub d_ff: i64,
    /// Encoder layers.
    pub num_layers: i64,
    /// Decoder layers; null: as many as the encoder has.
    pub num_decoder_layers: Option<i64>,
    /// Attention heads.
    pub num_heads: i64,
    /// Buckets of the relative position bias.
    pub relative_attention_num_buckets: i64,
    /// Distance from which on positions share the last bucket.
    pub relative_attention_max_distance: i64,
    /// Dropout probability in training.
    pub dropout_rate: f64,
    /// Added to the mean square before its root is taken.
    pub layer_norm_epsilon: f64,
    /// The feed-forward layer's kind.
    pub feed_forward_proj: FeedForwardKind,
    /// Whether the output layer is the embedding (v1.0) or has weights of its own (v1.1).
    pub tie_word_embeddings: bool,
    /// Whether hidden states are divided by sqrt(d_model) before the output layer; null: where it is the embedding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_decoder_outputs: Option<bool>,
    /// The padding token.
    pub pad_token_id: i64,
    /// The end token, `</s>`.
    pub eos_token_id: i64,
    /// The token that the decoder starts from: T5 has none of its own and takes the padding token.
    pub decoder_start_token_id: i64,
    /// `t5`, or `mt5`, which is the same but for what its files leave out.
    pub model_type: String,
    /// What `transformers` builds from this file.
    pub architectures: Vec<String>,
    /// Always true.
    pub is_encoder_decoder: bool,
}

/// The feed-forward layer's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum FeedForwardKind {
    /// T5 v1.0.
    #[serde(rename = "relu")]
    Relu,
    /// T5 v1.1 and Flan-T5; GELU by its tanh approximation.
    #[serde(rename = "gated-gelu")]
    GatedGelu,
    /// UL2.
    #[serde(rename = "gated-silu")]
    GatedSilu,
}

impl FeedForwardKind {
    /// Whether a second projection multiplies the activated one.
    pub fn is_gated(self) -> bool {
        self != Self::Relu
    }
}

impl T5Config {
    /// Reads and checks `config.json` of a folder.
    pub fn from_dir(directory: &Path) -> Result<Self, StudentError> {
        let path = directory.join(layout::CONFIG);
        if !is_there(&path)? {
            let hint = ": a student is a folder in Hugging Face's layout".to_owned();
            return Err(StudentError::Missing { directory: directory.to_owned(), name: layout::CONFIG, hint });
        }
        let text = fs::read_to_string(&path).map_err(StudentError::file(&path))?;
        let config: Self = serde_json::from_str(&text).map_err(|error| StudentError::malformed(&path, error))?;
        config.validate().map_err(|error| StudentError::malformed(&path, error))?;
        Ok(config)
    }

    /// T5 v1.1 (gated-gelu, output layer of its own) in a given shape.
    pub fn from_scratch(shape: &FromScratch, vocab_size: i64) -> Self {
        Self {
            vocab_size,
            d_model: shape.d_model.into(),
            d_kv: shape.d_kv.into(),
            d_ff: shape.d_ff.into(),
            num_layers: shape.num_layers.into(),
            num_decoder_layers: Some(shape.num_decoder_layers.unwrap_or(shape.num_layers).into()),
            num_heads: shape.num_heads.into(),
            relative_attention_num_buckets: 32,
            relative_attention_max_distance: 128,
            dropout_rate: f64::from(shape.dropout_percent) / 100.0,
            layer_norm_epsilon: 1e-6,
            feed_forward_proj: FeedForwardKind::GatedGelu,
            tie_word_embeddings: false,
            scale_decoder_outputs: None,
            pad_token_id: 0,
            eos_token_id: 1,
            decoder_start_token_id: 0,
            model_type: "t5".to_owned(),
            architectures: vec!["T5ForConditionalGeneration".to_owned()],
            is_encoder_decoder: true,
        }
    }

    /// The same with an output layer where these weights have one, for a configuration of a version that does not say.
    #[must_use]
    pub fn with_output_of(self, weights: &Weights) -> Self {
        let Some(scale) = self.scale_decoder_outputs else { return self };
        let tie_word_embeddings = !weights.contains_key(OUTPUT);
        let scale_decoder_outputs = Some(scale).filter(|scale| *scale != tie_word_embeddings);
        Self { tie_word_embeddings, scale_decoder_outputs, ..self }
    }

    /// Whether hidden states are divided by sqrt(d_model) before the output layer.
    pub fn scales_output(&self) -> bool {
        self.scale_decoder_outputs.unwrap_or(self.tie_word_embeddings)
    }

    /// Layers of the decoder.
    pub fn decoder_layers(&self) -> i64 {
        self.num_decoder_layers.unwrap_or(self.num_layers)
    }

    /// Width of all heads together.
    pub fn inner_width(&self) -> i64 {
        self.num_heads * self.d_kv
    }

    /// Refuses what no T5 can be. The upper bounds are far above every published T5 (11B: 65,536 wide) and keep
    /// products of sizes within 64 bits.
    pub fn validate(&self) -> Result<(), StudentError> {
        let sizes = [
            ("vocab_size", self.vocab_size, 1 << 22),
            ("d_model", self.d_model, 1 << 18),
            ("d_kv", self.d_kv, 1 << 14),
            ("d_ff", self.d_ff, 1 << 20),
            ("num_layers", self.num_layers, 1 << 10),
            ("num_decoder_layers", self.decoder_layers(), 1 << 10),
            ("num_heads", self.num_heads, 1 << 10),
        ];
        for (name, value, most) in sizes {
            ensure((1..=most).contains(&value), || format!("{name} is {value}; it must be between 1 and {most}"))?;
        }
        self.validate_positions()?;
        self.validate_tokens()?;
        ensure((0.0..1.0).contains(&self.dropout_rate), || "dropout_rate must be in [0, 1)".to_owned())?;
        ensure(self.layer_norm_epsilon > 0.0, || "layer_norm_epsilon must be above 0".to_owned())
    }

    fn validate_positions(&self) -> Result<(), StudentError> {
        let (buckets, distance) = (self.relative_attention_num_buckets, self.relative_attention_max_distance);
        let known = (4..=1 << 16).contains(&buckets) && buckets % 2 == 0;
        ensure(known, || format!("relative_attention_num_buckets is {buckets}; it must be even and at least 4"))?;
        ensure(distance > buckets / 2 && distance <= 1 << 20, || {
            format!("relative_attention_max_distance is {distance}; it must be above half the buckets, {}", buckets / 2)
        })
    }

    fn validate_tokens(&self) -> Result<(), StudentError> {
        let tokens = [
            ("pad_token_id", self.pad_token_id),
            ("eos_token_id", self.eos_token_id),
            ("decoder_start_token_id", self.decoder_start_token_id),
        ];
        for (name, id) in tokens {
            ensure((0..self.vocab_size).contains(&id), || format!("{name} is {id}, outside the vocabulary"))?;
        }
        Ok(())
    }
}

fn ensure(holds: bool, message: impl FnOnce() -> String) -> Result<(), StudentError> {
    if holds { Ok(()) } else { Err(StudentError::Config(message())) }
}
