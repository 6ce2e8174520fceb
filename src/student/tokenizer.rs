//! Text to token ids and back, as T5 sees it.

use std::path::Path;

use tokenizers::Tokenizer;

use super::{StudentError, error::is_there, sentencepiece};
use crate::layout;

/// A T5's tokenizer.
#[derive(Clone)]
pub struct StudentTokenizer {
    tokenizer: Tokenizer,
    pad_id: i64,
    eos_id: i64,
    vocabulary_size: i64,
}

/// A text as token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Ends with `</s>`.
    pub ids: Vec<i64>,
    /// Whether the text was longer than fits.
    pub truncated: bool,
}

/// What a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A part of a text.
    Text(String),
    /// Nothing that is read: `</s>` and the like, by its name.
    Special(String),
}

/// What a piece has in place of a space.
const SPACE: char = '\u{2581}';

impl StudentTokenizer {
    /// Reads a folder's `tokenizer.json` or, where it has none, its `spiece.model`.
    pub fn from_dir(directory: &Path) -> Result<Self, StudentError> {
        let path = directory.join(layout::TOKENIZER);
        if !is_there(&path)? {
            let spiece = directory.join(layout::SENTENCEPIECE);
            if !is_there(&spiece)? {
                let hint = ", nor a spiece.model, which would do as well".to_owned();
                return Err(StudentError::Missing { directory: directory.to_owned(), name: layout::TOKENIZER, hint });
            }
            let tokenizer = sentencepiece::tokenizer(directory)?;
            return Self::from_tokenizer(tokenizer).map_err(|error| StudentError::malformed(&spiece, error));
        }
        let text = std::fs::read(&path).map_err(StudentError::file(&path))?;
        let tokenizer = Tokenizer::from_bytes(text).map_err(|error| StudentError::malformed(&path, error))?;
        Self::from_tokenizer(tokenizer).map_err(|error| StudentError::malformed(&path, error))
    }

    /// Takes a tokenizer that has `<pad>` and `</s>`. Its own truncation and padding are turned off: lengths are an
    /// argument here.
    pub fn from_tokenizer(mut tokenizer: Tokenizer) -> Result<Self, StudentError> {
        tokenizer.with_truncation(None).map_err(|error| StudentError::Tokenizer(error.to_string()))?;
        tokenizer.with_padding(None);
        let id_of = |token: &str| {
            let id = tokenizer.token_to_id(token).map(i64::from);
            id.ok_or_else(|| StudentError::Tokenizer(format!("it has no {token}; T5 needs <pad> and </s>")))
        };
        let (pad_id, eos_id) = (id_of("<pad>")?, id_of("</s>")?);
        let largest = tokenizer.get_vocab(true).into_values().max().unwrap_or_default();
        Ok(Self { tokenizer, pad_id, eos_id, vocabulary_size: i64::from(largest) + 1 })
    }

    /// The text's ids with `</s>` at the end, at most `max_length` (at least 1) of them.
    pub fn encode(&self, text: &str, max_length: usize) -> Encoded {
        // The end token is added here and not by the tokenizer's post-processor, which some files lack.
        let encoding = self.tokenizer.encode_fast(text, false).expect("a unigram model with <unk> takes any text");
        let room = max_length.saturating_sub(1);
        let truncated = encoding.len() > room;
        let mut ids: Vec<i64> = encoding.get_ids().iter().take(room).map(|id| i64::from(*id)).collect();
        ids.push(self.eos_id);
        Encoded { ids, truncated }
    }

    /// The text of generated ids, without special tokens, ids past the tokenizer (a padded vocabulary has them) and
    /// space at its ends.
    pub fn decode(&self, ids: &[i64]) -> String {
        let known = ids.iter().filter(|id| (0..self.vocabulary_size).contains(*id));
        let known: Vec<u32> = known.filter_map(|id| u32::try_from(*id).ok()).collect();
        let text = self.tokenizer.decode(&known, true).expect("the decoder of a T5 tokenizer only joins pieces");
        text.trim_end().to_owned()
    }

    /// What a generated id stands for where it follows others, with the space that it begins with: its text, or its name where it
    /// is a special token. None past the tokenizer.
    pub fn piece(&self, id: i64) -> Option<Piece> {
        let name = self.tokenizer.id_to_token(u32::try_from(id).ok()?)?;
        let is_special = self.tokenizer.get_added_vocabulary().is_special_token(&name);
        Some(if is_special { Piece::Special(name) } else { Piece::Text(name.replace(SPACE, " ")) })
    }

    /// The id of `<pad>`.
    pub fn pad_id(&self) -> i64 {
        self.pad_id
    }

    /// The id of `</s>`.
    pub fn eos_id(&self) -> i64 {
        self.eos_id
    }

    /// One more than the largest id.
    pub fn vocabulary_size(&self) -> i64 {
        self.vocabulary_size
    }

    /// The tokens that stand for a masked span, `<extra_id_0>` first.
    pub fn sentinels(&self) -> Vec<String> {
        let name = |index: u32| format!("<extra_id_{index}>");
        (0..).map(name).take_while(|token| self.tokenizer.token_to_id(token).is_some()).collect()
    }

    /// Writes `tokenizer.json`.
    pub fn save(&self, path: &Path) -> Result<(), StudentError> {
        let text = self.to_json().map_err(|error| StudentError::malformed(path, error))?;
        std::fs::write(path, text).map_err(StudentError::file(path))
    }

    /// The text of its `tokenizer.json`.
    pub fn to_json(&self) -> Result<String, StudentError> {
        self.tokenizer.to_string(false).map_err(|error| StudentError::Tokenizer(error.to_string()))
    }
}
