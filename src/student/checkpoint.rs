//! A student's folder in Hugging Face's layout, with our `stepwise.json` beside it.

use std::fs;
use std::path::Path;

use serde::Serialize;
use serde_json::json;
use tch::{Device, Kind};

use super::error::is_there;
use super::memory::storage_for;
use super::weights::check_finite;
use super::{StudentError, StudentTokenizer, T5, T5Config, Weights, load_weights, save_weights};
use crate::device;
use crate::domain::{ServingPrecision, StudentCard};
use crate::layout;
use crate::native::t5::Storage;

/// A T5 with everything that is needed to ask it.
pub struct Student {
    /// Its shape.
    pub config: T5Config,
    /// Its tensors; `model` looks at the same ones.
    pub weights: Weights,
    /// Its forward pass.
    pub model: T5,
    /// Its tokenizer.
    pub tokenizer: StudentTokenizer,
    /// How it wants to be asked.
    pub card: StudentCard,
    /// Where its tensors are.
    pub device: Device,
    /// The kind of its tensors.
    pub kind: Kind,
    /// How its weights are kept where they are prepacked.
    pub storage: Storage,
}

impl Student {
    /// Reads a folder, checking that its parts fit each other and that its weights are numbers. A folder without `stepwise.json` gets the default card.
    pub fn load(dir: &Path, device: Device, precision: ServingPrecision) -> Result<Self, StudentError> {
        let kind = device::kind_for(precision.products(), device);
        let config = T5Config::from_dir(dir)?;
        let tokenizer = StudentTokenizer::from_dir(dir)?;
        check_fit(&tokenizer, &config)?;
        let card = read_card(dir)?;
        let weights = load_weights(dir, &config, device, kind)?;
        let config = config.with_output_of(&weights);
        let model = T5::new(&config, &weights)?;
        check_finite(&weights)?;
        let storage = storage_for(precision);
        Ok(Self { config, weights, model, tokenizer, card, device, kind, storage })
    }

    /// Makes it faster where this processor can, and only able to answer: its weights are gone then.
    pub fn prepack(&mut self) {
        self.model.prepack(self.storage, &mut self.weights);
    }
}

/// A tokenizer may be smaller than the vocabulary (padding), never larger.
fn check_fit(tokenizer: &StudentTokenizer, config: &T5Config) -> Result<(), StudentError> {
    let (ids, rows) = (tokenizer.vocabulary_size(), config.vocab_size);
    if ids > rows {
        let reason = format!("it has ids up to {}, but the embedding has only {rows} rows", ids - 1);
        return Err(StudentError::Tokenizer(reason));
    }
    let ends = [(tokenizer.pad_id(), config.pad_token_id, "<pad>"), (tokenizer.eos_id(), config.eos_token_id, "</s>")];
    match ends.iter().find(|(found, configured, _)| found != configured) {
        Some((found, configured, token)) => {
            Err(StudentError::Tokenizer(format!("{token} is {found} in it, but {configured} in config.json")))
        }
        None => Ok(()),
    }
}

/// Reads a folder's `stepwise.json`; without one, the default card.
pub fn read_card(dir: &Path) -> Result<StudentCard, StudentError> {
    let path = dir.join(layout::CARD);
    if !is_there(&path)? {
        return Ok(StudentCard::default());
    }
    let text = fs::read_to_string(&path).map_err(StudentError::file(&path))?;
    serde_json::from_str(&text).map_err(|error| StudentError::malformed(&path, error))
}

/// Writes a complete folder, which `transformers` loads as well. The folder is made where it is missing. The bytes
/// depend on the arguments alone.
pub fn save_checkpoint(
    dir: &Path,
    config: &T5Config,
    weights: &Weights,
    tokenizer: &StudentTokenizer,
    card: &StudentCard,
) -> Result<(), StudentError> {
    fs::create_dir_all(dir).map_err(StudentError::file(dir))?;
    write_json(&dir.join(layout::CONFIG), config)?;
    write_json(&dir.join(layout::GENERATION_CONFIG), &generation_config(config))?;
    write_json(&dir.join(layout::TOKENIZER_CONFIG), &tokenizer_config(tokenizer, card))?;
    write_json(&dir.join(layout::SPECIAL_TOKENS), &special_tokens(tokenizer))?;
    write_json(&dir.join(layout::CARD), card)?;
    tokenizer.save(&dir.join(layout::TOKENIZER))?;
    save_weights(dir, weights)
}

fn generation_config(config: &T5Config) -> serde_json::Value {
    json!({
        "decoder_start_token_id": config.decoder_start_token_id,
        "eos_token_id": config.eos_token_id,
        "pad_token_id": config.pad_token_id,
    })
}

fn tokenizer_config(tokenizer: &StudentTokenizer, card: &StudentCard) -> serde_json::Value {
    let sentinels = tokenizer.sentinels();
    json!({
        "tokenizer_class": "T5TokenizerFast",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "extra_ids": sentinels.len(),
        "model_max_length": card.max_input_length,
        "additional_special_tokens": sentinels,
        "clean_up_tokenization_spaces": false,
    })
}

fn special_tokens(tokenizer: &StudentTokenizer) -> serde_json::Value {
    json!({
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "additional_special_tokens": tokenizer.sentinels(),
    })
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), StudentError> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| StudentError::malformed(path, error))?;
    text.push('\n');
    fs::write(path, text).map_err(StudentError::file(path))
}
