//! What `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json` say about a `spiece.model` beside them.

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::{Deserialize, de::DeserializeOwned};
use tokenizers::pre_tokenizers::metaspace::PrependScheme;

use super::added::{Added, Listed};
use crate::{layout, student::StudentError};

/// T5's sentinels where nothing else is said.
const EXTRA_IDS: u16 = 100;

/// How a tokenizer is made of the model.
#[derive(Debug)]
pub struct Settings {
    /// How many sentinels follow the pieces.
    pub extra_ids: u16,
    /// What else is added.
    pub added: Added,
    add_prefix_space: bool,
    legacy: bool,
}

/// `tokenizer_config.json` or `special_tokens_map.json`, as far as it matters.
#[derive(Debug, Default, Deserialize)]
struct Config {
    extra_ids: Option<u16>,
    add_prefix_space: Option<bool>,
    legacy: Option<bool>,
    additional_special_tokens: Option<Vec<Listed>>,
    /// By id.
    #[serde(default)]
    added_tokens_decoder: BTreeMap<u32, Listed>,
}

impl Settings {
    /// Reads what there is in a folder; none of the three files must be there.
    pub fn read(directory: &Path) -> Result<Self, StudentError> {
        let path = directory.join(layout::TOKENIZER_CONFIG);
        let config: Config = read(&path)?;
        let special = match config.additional_special_tokens {
            Some(tokens) => Some(tokens),
            None => read::<Config>(&directory.join(layout::SPECIAL_TOKENS))?.additional_special_tokens,
        };
        let (sentinels, special): (Vec<_>, Vec<_>) = special.into_iter().flatten().partition(Listed::is_sentinel);
        let listed = sentinels.len();
        let listed = Some(listed).filter(|listed| *listed > 0);
        let extra_ids = match (config.extra_ids, listed) {
            (Some(said), Some(listed)) if said > 0 && usize::from(said) != listed => {
                let reason = format!("extra_ids is {said}, but {listed} sentinels are listed as special tokens");
                return Err(StudentError::malformed(&path, reason));
            }
            (Some(said), _) => said,
            (None, Some(listed)) => u16::try_from(listed).map_err(|error| StudentError::malformed(&path, error))?,
            (None, None) => EXTRA_IDS,
        };
        let mut placed = config.added_tokens_decoder;
        let by_text: BTreeMap<String, u32> = read(&directory.join(layout::ADDED_TOKENS))?;
        for (text, id) in by_text {
            placed.entry(id).or_insert(Listed::Text(text));
        }
        let added = Added { placed, special };
        let add_prefix_space = config.add_prefix_space.unwrap_or(true);
        Ok(Self { extra_ids, added, add_prefix_space, legacy: config.legacy.unwrap_or(true) })
    }

    /// Which parts of a text get a space before them: T5's older behavior gives one to what follows a special token, too.
    pub fn prepend(&self) -> PrependScheme {
        match (self.add_prefix_space, self.legacy) {
            (false, _) => PrependScheme::Never,
            (true, true) => PrependScheme::Always,
            (true, false) => PrependScheme::First,
        }
    }
}

fn read<T: DeserializeOwned + Default>(path: &Path) -> Result<T, StudentError> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| StudentError::malformed(path, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(StudentError::file(path)(error)),
    }
}
