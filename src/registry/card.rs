//! What a model's folder says of itself: its `stepwise.json`.

use std::{fs, io, path::Path};

use super::RegistryError;
use crate::{
    domain::{Lineage, StudentCard},
    layout,
};

/// What the model learned to be asked: its `stepwise.json`, or the defaults where there is none.
pub fn card(directory: &Path) -> Result<StudentCard, RegistryError> {
    Ok(own_card(directory)?.unwrap_or_default())
}

/// The model's `stepwise.json`; none where there is none.
pub fn own_card(directory: &Path) -> Result<Option<StudentCard>, RegistryError> {
    let path = directory.join(layout::CARD);
    match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| RegistryError::BadCard { path: path.clone(), message: error.to_string() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(RegistryError::Unreadable { path, source }),
    }
}

/// What a card says of its model's making; none where it says nothing that can be read.
pub fn lineage(card: &StudentCard) -> Option<Lineage> {
    let members = card.lineage.clone().into_iter().collect();
    serde_json::from_value(serde_json::Value::Object(members)).ok()
}
