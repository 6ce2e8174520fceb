//! Tokens in letters, each with how likely it was.

use crate::student::choice::TokenScore;
use crate::student::{Piece, StudentTokenizer};

/// A token and how likely it was in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct LikelyToken {
    /// What it adds to the text, or its name (`</s>`) where it adds nothing.
    pub text: String,
    /// Whether it is a part of the text.
    pub is_text: bool,
    /// Its log-probability under the student, without temperature and cuts.
    pub log_probability: f64,
}

/// A token that was said.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredToken {
    /// The token itself.
    pub token: LikelyToken,
    /// Characters of the text before it.
    pub offset: usize,
    /// The likeliest tokens in its place, best first.
    pub likeliest: Vec<LikelyToken>,
}

/// Spells a row's tokens in their order.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spelling {
    /// Characters so far.
    chars: usize,
    /// Whether there was a token that is a part of the text: only the first one loses the space that it begins with.
    has_begun: bool,
}

impl Spelling {
    /// The first token follows so many characters.
    pub fn after(chars: usize) -> Self {
        Self { chars, has_begun: false }
    }

    /// The row's next token.
    pub fn spell(&mut self, tokenizer: &StudentTokenizer, id: i64, score: &TokenScore) -> ScoredToken {
        let likeliest = score.likeliest.iter().map(|(id, likely)| self.token(tokenizer, *id, *likely)).collect();
        let token = self.token(tokenizer, id, score.log_probability);
        let offset = self.chars;
        if token.is_text {
            self.chars += token.text.chars().count();
            self.has_begun = true;
        }
        ScoredToken { token, offset, likeliest }
    }

    fn token(self, tokenizer: &StudentTokenizer, id: i64, log_probability: f64) -> LikelyToken {
        match tokenizer.piece(id) {
            Some(Piece::Text(text)) => {
                let text =
                    if self.has_begun { text } else { text.strip_prefix(' ').map(str::to_owned).unwrap_or(text) };
                LikelyToken { text, is_text: true, log_probability }
            }
            Some(Piece::Special(text)) => LikelyToken { text, is_text: false, log_probability },
            None => LikelyToken { text: format!("<{id}>"), is_text: false, log_probability },
        }
    }
}

/// All of a row's tokens that begin before a character of the text, which the first one follows after some.
pub(super) fn spell_all(
    tokenizer: &StudentTokenizer,
    ids: &[i64],
    scores: &[TokenScore],
    (after, end): (usize, usize),
) -> Vec<ScoredToken> {
    let mut spelling = Spelling::after(after);
    let spelled = ids.iter().zip(scores).map(|(id, score)| spelling.spell(tokenizer, *id, score));
    spelled.take_while(|token| token.offset < end).collect()
}
