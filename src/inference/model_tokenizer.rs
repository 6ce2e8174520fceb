//! A model's tokenizer without its weights: how long texts are in its own tokens, and its file where the model lacks it.

use std::path::Path;

use super::InferenceError;
use crate::student::StudentTokenizer;

/// The tokenizer of one model.
#[derive(Clone)]
pub struct ModelTokenizer(StudentTokenizer);

impl ModelTokenizer {
    /// Reads the tokenizer of a model's folder.
    ///
    /// # Errors
    /// [`InferenceError::ModelBroken`] when it cannot be read.
    pub fn open(directory: &Path) -> Result<Self, InferenceError> {
        let tokenizer = StudentTokenizer::from_dir(directory);
        tokenizer.map(Self).map_err(|error| InferenceError::ModelBroken { reason: error.to_string() })
    }

    /// The tokenizer as a `tokenizer.json`, whatever it was read from.
    ///
    /// # Errors
    /// [`InferenceError::ModelBroken`] when it cannot be written down.
    pub fn tokenizer_json(&self) -> Result<String, InferenceError> {
        self.0.to_json().map_err(|error| InferenceError::ModelBroken { reason: error.to_string() })
    }

    /// The text's tokens, the one that ends it among them.
    pub fn count(&self, text: &str) -> usize {
        self.0.encode(text, usize::MAX).ids.len()
    }
}
