//! How large a student is, from its configuration alone: for estimates, before anything is loaded.

use crate::{
    domain::FromScratch,
    student::{StudentError, T5Config, parameter_count},
};

/// Rows of a from-scratch embedding beside the tokenizer's pieces: sentinels and special tokens.
const EXTRA_PIECES: i64 = 103;

/// The sizes of a student that memory and time depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StudentShape {
    /// Numbers that are learned.
    pub parameters: u64,
    /// Width of the residual stream.
    pub d_model: u64,
    /// Width of the feed-forward layer.
    pub d_ff: u64,
    /// Attention heads.
    pub heads: u64,
    /// Encoder and decoder layers together.
    pub layers: u64,
    /// Rows of the embedding.
    pub vocabulary: u64,
}

impl StudentShape {
    /// The shape that a `config.json` describes.
    ///
    /// # Errors
    /// When it is no configuration of a T5.
    pub fn from_config(json: &[u8]) -> Result<Self, StudentError> {
        let config: T5Config =
            serde_json::from_slice(json).map_err(|error| StudentError::Config(format!("config.json: {error}")))?;
        config.validate()?;
        Ok(Self::of(&config))
    }

    /// The shape of a student from scratch whose tokenizer finds as many pieces as it may.
    pub fn from_scratch(shape: &FromScratch) -> Self {
        Self::of(&T5Config::from_scratch(shape, i64::from(shape.vocabulary_size) + EXTRA_PIECES))
    }

    fn of(config: &T5Config) -> Self {
        let size = |value: i64| u64::try_from(value).unwrap_or_default();
        Self {
            parameters: size(parameter_count(config)),
            d_model: size(config.d_model),
            d_ff: size(config.d_ff),
            heads: size(config.num_heads),
            layers: size(config.num_layers + config.decoder_layers()),
            vocabulary: size(config.vocab_size),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_students_have_their_published_sizes() {
        // google-t5/t5-small and google/t5-v1_1-small on the Hub: 60.5 M and 77.0 M parameters.
        let small = r#"{"vocab_size":32128,"d_model":512,"d_kv":64,"d_ff":2048,"num_layers":6,"num_heads":8}"#;
        assert_eq!(StudentShape::from_config(small.as_bytes()).unwrap().parameters, 60_506_624);
        let newer = r#"{"vocab_size":32128,"d_model":512,"d_kv":64,"d_ff":1024,"num_layers":8,"num_heads":6,
            "feed_forward_proj":"gated-gelu","tie_word_embeddings":false}"#;
        assert_eq!(StudentShape::from_config(newer.as_bytes()).unwrap().parameters, 76_961_152);
    }
}
