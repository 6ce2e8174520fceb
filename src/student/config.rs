//! `config.json` of a T5, in Hugging Face's words.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::StudentError;
use crate::domain::FromScratch;
use crate::layout;

/// The shape of a T5. Keys that are not listed here are ignored; the defaults are those of `transformers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    #[serde(default)]
    pub num_decoder_layers: Option<i64>,
    /// Attention heads.
    pub num_heads: i64,
    /// Buckets of the relative position bias.
    #[serde(default = "default_buckets")]
    pub relative_attention_num_buckets: i64,
    /// Distance from which on positions share the last bucket.
    #[serde(default = "default_max_distance")]
    pub relative_attention_max_distance: i64,
    /// Dropout probability in training.
    #[serde(default = "default_dropout")]
    pub dropout_rate: f64,
    /// Added to the mean square before its root is taken.
    #[serde(default = "default_epsilon")]
    pub layer_norm_epsilon: f64,
    /// The feed-forward layer's kind.
    #[serde(default)]
    pub feed_forward_proj: FeedForwardKind,
    /// Whether the output layer is the embedding (v1.0) or has weights of its own (v1.1).
    #[serde(default = "default_tied")]
    pub tie_word_embeddings: bool,
    /// The padding token.
    #[serde(default)]
    pub pad_token_id: i64,
    /// The end token, `</s>`.
    #[serde(default = "default_eos")]
    pub eos_token_id: i64,
    /// The token that the decoder starts from: T5 has none of its own and takes the padding token.
    #[serde(default)]
    pub decoder_start_token_id: i64,
    /// Always `t5`.
    #[serde(default = "default_model_type")]
    pub model_type: String,
    /// What `transformers` builds from this file.
    #[serde(default = "default_architectures")]
    pub architectures: Vec<String>,
    /// Always true.
    #[serde(default = "default_encoder_decoder")]
    pub is_encoder_decoder: bool,
}

/// The feed-forward layer's kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeedForwardKind {
    /// T5 v1.0.
    #[default]
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
        if !path.exists() {
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
            relative_attention_num_buckets: default_buckets(),
            relative_attention_max_distance: default_max_distance(),
            dropout_rate: f64::from(shape.dropout_percent) / 100.0,
            layer_norm_epsilon: default_epsilon(),
            feed_forward_proj: FeedForwardKind::GatedGelu,
            tie_word_embeddings: false,
            pad_token_id: 0,
            eos_token_id: default_eos(),
            decoder_start_token_id: 0,
            model_type: default_model_type(),
            architectures: default_architectures(),
            is_encoder_decoder: true,
        }
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
        ensure(self.layer_norm_epsilon > 0.0, || "layer_norm_epsilon must be above 0".to_owned())?;
        let known = self.model_type == "t5" && self.is_encoder_decoder;
        ensure(known, || format!("model_type is {:?}; only t5 is supported", self.model_type))
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

fn default_buckets() -> i64 {
    32
}

fn default_max_distance() -> i64 {
    128
}

fn default_dropout() -> f64 {
    0.1
}

fn default_epsilon() -> f64 {
    1e-6
}

fn default_tied() -> bool {
    true
}

fn default_eos() -> i64 {
    1
}

fn default_model_type() -> String {
    "t5".to_owned()
}

fn default_architectures() -> Vec<String> {
    vec!["T5ForConditionalGeneration".to_owned()]
}

fn default_encoder_decoder() -> bool {
    true
}
