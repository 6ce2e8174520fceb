//! Tokens that are neither pieces nor sentinels, as `tokenizer_config.json`, `special_tokens_map.json` and
//! `added_tokens.json` list them.

use std::collections::BTreeMap;

use serde::Deserialize;
use tokenizers::{AddedToken, Tokenizer};

/// A token as one of the files describes it: its text alone, or with how it is found in texts.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Listed {
    /// Its text.
    Text(String),
    /// Its text, and how it is found.
    Described(Described),
}

/// A token with how it is found in texts.
#[derive(Debug, Clone, Deserialize)]
pub struct Described {
    content: String,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    single_word: bool,
    normalized: Option<bool>,
    special: Option<bool>,
}

impl Listed {
    /// Its text.
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Described(described) => &described.content,
        }
    }

    /// Whether it stands for a masked span.
    pub fn is_sentinel(&self) -> bool {
        self.text().contains("<extra_id_")
    }

    fn token(&self, special: bool) -> AddedToken {
        let Self::Described(described) = self else { return AddedToken::from(self.text(), special) };
        let special = described.special.unwrap_or(special);
        AddedToken::from(&described.content, special)
            .lstrip(described.lstrip)
            .rstrip(described.rstrip)
            .single_word(described.single_word)
            .normalized(described.normalized.unwrap_or(!special))
    }
}

/// What is added to the pieces and the sentinels.
#[derive(Debug, Default)]
pub struct Added {
    /// By the ids that they must get.
    pub placed: BTreeMap<u32, Listed>,
    /// Special ones, in their order.
    pub special: Vec<Listed>,
}

impl Added {
    /// Adds what the tokenizer does not have.
    ///
    /// # Errors
    /// Names a token that gets another id than its file says: `transformers` numbers some of them by the class that wrote them.
    pub fn add_to(&self, tokenizer: &mut Tokenizer) -> tokenizers::Result<()> {
        let placed = self.placed.values().map(|token| token.token(false));
        let special = self.special.iter().map(|token| token.token(true));
        for token in placed.chain(special) {
            if tokenizer.token_to_id(&token.content).is_none() {
                let _ =
                    if token.special { tokenizer.add_special_tokens([token]) } else { tokenizer.add_tokens([token]) }?;
            }
        }
        for (id, token) in &self.placed {
            let found = tokenizer.token_to_id(token.text());
            if found != Some(*id) {
                let found = found.map_or("nowhere".to_owned(), |found| format!("at {found}"));
                return Err(format!(
                    "{:?} is placed at {id} by the files beside it, and {found} by its pieces",
                    token.text()
                )
                .into());
            }
        }
        Ok(())
    }
}
