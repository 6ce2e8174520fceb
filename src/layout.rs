//! Which files a model's folder has in Hugging Face's layout, and which it may have instead.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use serde::Deserialize;

/// The model's shape.
pub const CONFIG: &str = "config.json";

/// How the model generates, as `transformers` wants to be told.
pub const GENERATION_CONFIG: &str = "generation_config.json";

/// What tells a server how to ask the model; this program's own, and a folder may lack it.
pub const CARD: &str = "stepwise.json";

/// The tokenizer whole, which this program writes.
pub const TOKENIZER: &str = "tokenizer.json";

/// The tokenizer's SentencePiece model, from which it is built where the whole is missing.
pub const SENTENCEPIECE: &str = "spiece.model";

/// What says how a SentencePiece model is to be read; a folder may lack it.
pub const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// The names of the tokenizer's special tokens, in an older place; a folder may lack it.
pub const SPECIAL_TOKENS: &str = "special_tokens_map.json";

/// Tokens that were added to the tokenizer, in an older place; a folder may lack it.
pub const ADDED_TOKENS: &str = "added_tokens.json";

/// What `config.json` calls the models that can be used here.
pub const MODEL_TYPES: [&str; 2] = ["t5", "mt5"];

/// The tensors in one file of safetensors, which this program writes.
pub const SAFETENSORS: &str = "model.safetensors";

/// The tensors as `torch.save` wrote them.
pub const TORCH_ARCHIVE: &str = "pytorch_model.bin";

/// A model's tensors, the preferred form first: the one file, or the index of its shards.
pub const WEIGHT_FILES: [(&str, &str); 2] =
    [(SAFETENSORS, "model.safetensors.index.json"), (TORCH_ARCHIVE, "pytorch_model.bin.index.json")];

/// The index of shards; what else it has (`metadata`) is not read.
#[derive(Debug, Deserialize)]
pub struct ShardIndex {
    /// The shard of each tensor.
    weight_map: BTreeMap<String, String>,
}

impl ShardIndex {
    /// Reads an index. Every shard that it names lies beside it.
    ///
    /// # Errors
    /// A file that cannot be read, or that is no such index (`InvalidData`).
    pub fn read(path: &Path) -> io::Result<Self> {
        let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
        let index: Self = serde_json::from_str(&fs::read_to_string(path)?)
            .map_err(|error| invalid(format!("is no index of shards: {error}")))?;
        let is_plain = |shard: &str| Path::new(shard).file_name().is_some_and(|name| name == shard);
        match index.weight_map.values().find(|shard| !is_plain(shard)) {
            Some(shard) => Err(invalid(format!("names {shard:?}, which is no file beside it"))),
            None => Ok(index),
        }
    }

    /// The tensors of each shard.
    pub fn shards(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut shards: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (name, shard) in &self.weight_map {
            shards.entry(shard).or_default().insert(name);
        }
        shards
    }
}

/// The files without which a folder is no model and that this one lacks. Of a shard that is not there, its reader tells.
pub fn missing_files(folder: &Path) -> Vec<&'static str> {
    let there = |file: &str| folder.join(file).is_file();
    let config = (!there(CONFIG)).then_some(CONFIG);
    let weights = !WEIGHT_FILES.iter().any(|(whole, index)| there(whole) || there(index));
    let tokenizer = !there(TOKENIZER) && !there(SENTENCEPIECE);
    let missing = [config, weights.then_some(SAFETENSORS), tokenizer.then_some(TOKENIZER)];
    missing.into_iter().flatten().collect()
}

/// The files that a folder's tensors are read from: the one file, or an index with its shards. Only the index where it
/// cannot be read, none where nothing is there.
pub fn weight_files(folder: &Path) -> Vec<String> {
    for (whole, index) in WEIGHT_FILES {
        if folder.join(whole).is_file() {
            return vec![whole.to_owned()];
        }
        if folder.join(index).is_file() {
            let read = ShardIndex::read(&folder.join(index));
            let shards = read.iter().flat_map(ShardIndex::shards).map(|(shard, _)| shard.to_owned());
            return [index.to_owned()].into_iter().chain(shards).collect();
        }
    }
    Vec::new()
}

/// Whether nothing that a model needs is missing here, shards included.
pub fn is_whole(folder: &Path) -> bool {
    missing_files(folder).is_empty() && weight_files(folder).iter().all(|file| folder.join(file).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_may_have_other_files_instead() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        assert_eq!(missing_files(folder.path()), ["config.json", "model.safetensors", "tokenizer.json"]);
        write("config.json", "{}");
        write("spiece.model", "");
        write("pytorch_model.bin.index.json", r#"{"weight_map": {"a": "two.bin", "b": "one.bin", "c": "two.bin"}}"#);
        assert!(missing_files(folder.path()).is_empty());
        assert_eq!(weight_files(folder.path()), ["pytorch_model.bin.index.json", "one.bin", "two.bin"]);
        assert!(!is_whole(folder.path()), "two shards are not there");
        write("one.bin", "");
        write("two.bin", "");
        assert!(is_whole(folder.path()));
        write("model.safetensors", "");
        assert_eq!(weight_files(folder.path()), ["model.safetensors"]);
    }

    #[test]
    fn an_index_names_files_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.json");
        for (text, words) in [("{}", "weight_map"), (r#"{"weight_map": {"a": "../b"}}"#, "../b")] {
            fs::write(&path, text).unwrap();
            let error = ShardIndex::read(&path).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
