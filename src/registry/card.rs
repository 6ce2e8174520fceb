//! What a model's folder says of itself: its `stepwise.json`.

use std::{
    collections::HashMap,
    fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use super::RegistryError;
use crate::{
    artifacts,
    domain::{Lineage, ModelFiles, StudentCard},
    layout,
};

/// Cards that are remembered. A card is some kilobytes.
const MOST: usize = 256;

/// Cards that were read, by the keys of their models: other content has another key, so what is remembered never goes stale.
#[derive(Debug, Default)]
pub(super) struct Cards(Mutex<HashMap<String, Arc<StudentCard>>>);

impl Cards {
    /// What the model learned to be asked. The card of a published model is held to its digest before it is believed.
    pub fn of(&self, files: &ModelFiles) -> Result<Arc<StudentCard>, RegistryError> {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(card) = known().get(&files.key) {
            return Ok(Arc::clone(card));
        }
        let card = Arc::new(read(files)?);
        let mut known = known();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(files.key.clone(), Arc::clone(&card));
        Ok(card)
    }
}

fn read(files: &ModelFiles) -> Result<StudentCard, RegistryError> {
    let Some(digest) = &files.manifest_sha256 else { return card(&files.directory) };
    match artifacts::read_published(&files.directory, digest, layout::CARD)? {
        Some(text) => parse(&files.directory.join(layout::CARD), &text),
        None => Ok(StudentCard::default()),
    }
}

/// What the model learned to be asked: its `stepwise.json`, or the defaults where there is none.
pub fn card(directory: &Path) -> Result<StudentCard, RegistryError> {
    Ok(own_card(directory)?.unwrap_or_default())
}

/// The model's `stepwise.json`; none where there is none.
pub fn own_card(directory: &Path) -> Result<Option<StudentCard>, RegistryError> {
    let path = directory.join(layout::CARD);
    match fs::read(&path) {
        Ok(text) => parse(&path, &text).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(RegistryError::Unreadable { path, source }),
    }
}

fn parse(path: &Path, text: &[u8]) -> Result<StudentCard, RegistryError> {
    serde_json::from_slice(text)
        .map_err(|error| RegistryError::BadCard { path: path.to_owned(), message: error.to_string() })
}

/// What a card says of its model's making; none where it says nothing that can be read.
pub fn lineage(card: &StudentCard) -> Option<Lineage> {
    let members = card.lineage.clone().into_iter().collect();
    serde_json::from_value(serde_json::Value::Object(members)).ok()
}
