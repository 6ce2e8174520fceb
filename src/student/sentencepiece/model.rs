//! What is read of a SentencePiece file (`sentencepiece_model.proto`): the pieces, and how texts are cut into them.

use std::collections::HashSet;

use super::wire::{Fields, Value};

/// Longer pieces are no words of any language; `tokenizers` needs stack for each byte of one.
const MAX_PIECE_BYTES: usize = 1024;

/// A unigram model.
#[derive(Debug, Default)]
pub struct SentencePiece {
    /// In the order of their ids.
    pub pieces: Vec<Piece>,
    /// The piece of what no other piece holds.
    pub unk_id: usize,
    /// What characters become before the text is cut; empty where they stay.
    pub character_map: Vec<u8>,
}

/// An entry of the vocabulary.
#[derive(Debug)]
pub struct Piece {
    /// Its text, with `▁` for a space.
    pub text: String,
    /// Its log-probability.
    pub score: f32,
    /// What it is there for.
    pub kind: Kind,
}

/// What a piece is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A part of texts.
    Normal,
    /// Stands for what no piece holds.
    Unknown,
    /// Steers, and is no text: `</s>`.
    Control,
    /// Never cut.
    UserDefined,
}

impl SentencePiece {
    /// Reads a file's bytes.
    ///
    /// # Errors
    /// What is wrong with them, for people.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (mut model, mut parts) = (Self::default(), [false; 2]);
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(message)) => model.pieces.push(piece(message)?),
                (2, Value::Bytes(message)) => {
                    parts[0] = true;
                    model.read_trainer(message)?;
                }
                (3, Value::Bytes(message)) => {
                    parts[1] = true;
                    model.read_normalizer(message)?;
                }
                _ => {}
            }
        }
        if parts != [true; 2] {
            return Err("it lacks what follows the pieces".to_owned());
        }
        model.check()?;
        Ok(model)
    }

    fn read_trainer(&mut self, message: &[u8]) -> Result<(), String> {
        for field in Fields(message) {
            match field? {
                (3, Value::Varint(1)) => {}
                (3, Value::Varint(2)) => return Err("it is a BPE model, and T5 has a unigram model".to_owned()),
                (3, Value::Varint(_)) => return Err("it is no unigram model, which T5 has".to_owned()),
                (40, Value::Varint(id)) => {
                    self.unk_id = usize::try_from(id).map_err(|_| "its unk_id is no piece")?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn read_normalizer(&mut self, message: &[u8]) -> Result<(), String> {
        for field in Fields(message) {
            if let (2, Value::Bytes(map)) = field? {
                self.character_map = map.to_vec();
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        if self.pieces.get(self.unk_id).is_none_or(|piece| piece.kind != Kind::Unknown) {
            return Err(format!("its unk_id {} is not the piece of unknown characters", self.unk_id));
        }
        let mut seen = HashSet::new();
        match self.pieces.iter().position(|piece| !seen.insert(piece.text.as_str())) {
            Some(id) => Err(format!("piece {id} is there twice")),
            None => Ok(()),
        }
    }
}

fn piece(message: &[u8]) -> Result<Piece, String> {
    let mut piece = Piece { text: String::new(), score: 0.0, kind: Kind::Normal };
    for field in Fields(message) {
        match field? {
            (1, Value::Bytes(text)) => {
                piece.text = String::from_utf8(text.to_vec()).map_err(|_| "a piece is no UTF-8")?;
            }
            (2, Value::Fixed32(bits)) => piece.score = f32::from_bits(bits),
            (3, Value::Varint(kind)) => {
                piece.kind = match kind {
                    2 => Kind::Unknown,
                    3 => Kind::Control,
                    4 => Kind::UserDefined,
                    _ => Kind::Normal,
                };
            }
            _ => {}
        }
    }
    if !(1..=MAX_PIECE_BYTES).contains(&piece.text.len()) || !piece.score.is_finite() {
        return Err(format!("a piece has no text, more than {MAX_PIECE_BYTES} bytes, or no score"));
    }
    Ok(piece)
}
