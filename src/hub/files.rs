//! Which files of a model are brought: what a student needs, in one form. A repository has more, such as the same tensors for
//! other frameworks. No name that a repository chose becomes a path: what is brought is named here, or by an index that names
//! files beside it alone.

use super::HubError;
use crate::{domain::HubId, layout};

/// Small files that are brought where they are there.
const BESIDE: [&str; 5] =
    [layout::GENERATION_CONFIG, layout::TOKENIZER_CONFIG, layout::SPECIAL_TOKENS, layout::ADDED_TOKENS, layout::CARD];

/// What is brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Everything but the tensors.
    pub small: Vec<&'static str>,
    /// The tensors: the whole file, or the index that names the files.
    pub weights: &'static str,
}

impl Selection {
    /// The index of the shards, where there is no whole file.
    pub fn index(&self) -> Option<&'static str> {
        layout::WEIGHT_FILES.iter().map(|(_, index)| *index).find(|index| *index == self.weights)
    }
}

/// Chooses among a commit's files.
///
/// # Errors
/// `NoStudent` names what is missing.
pub fn select(id: &HubId, names: &[String]) -> Result<Selection, HubError> {
    let lacks = |file: &str| HubError::NoStudent { id: id.clone(), lacks: file.to_owned() };
    let has = |file: &str| names.iter().any(|name| name == file);
    let either = |files: &[&'static str], missing: &str| {
        files.iter().copied().find(|file| has(file)).ok_or_else(|| lacks(missing))
    };
    let config = either(&[layout::CONFIG], layout::CONFIG)?;
    let forms: Vec<&str> = layout::WEIGHT_FILES.iter().flat_map(|(whole, index)| [*whole, *index]).collect();
    let weights = either(&forms, "model.safetensors or pytorch_model.bin")?;
    let tokenizer = either(&[layout::TOKENIZER, layout::SENTENCEPIECE], "tokenizer.json or spiece.model")?;
    let beside = BESIDE.into_iter().filter(|file| has(file));
    Ok(Selection { small: [config, tokenizer].into_iter().chain(beside).collect(), weights })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(names: &[&str]) -> Result<Selection, String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        select(&"google/t5".parse().unwrap(), &names).map_err(|error| error.to_string())
    }

    #[test]
    fn one_form_of_the_tensors_and_of_the_tokenizer_is_taken() {
        // As google/t5-v1_1-small has them.
        let old = selected(&[
            ".gitattributes",
            "README.md",
            "config.json",
            "generation_config.json",
            "pytorch_model.bin",
            "special_tokens_map.json",
            "spiece.model",
            "tf_model.h5",
            "tokenizer_config.json",
        ])
        .unwrap();
        let small = [
            "config.json",
            "spiece.model",
            "generation_config.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
        ];
        assert_eq!((old.small, old.weights), (small.to_vec(), "pytorch_model.bin"));
        let rich = selected(&[
            "pytorch_model.bin",
            "model.safetensors.index.json",
            "model.safetensors",
            "onnx/model.onnx",
            "config.json",
            "spiece.model",
            "tokenizer.json",
            "flax_model.msgpack",
        ])
        .unwrap();
        assert_eq!(
            (rich.small.as_slice(), rich.weights, rich.index()),
            (["config.json", "tokenizer.json"].as_slice(), "model.safetensors", None)
        );
        let sharded =
            selected(&["config.json", "tokenizer.json", "pytorch_model.bin", "model.safetensors.index.json"]).unwrap();
        assert_eq!(sharded.index(), Some("model.safetensors.index.json"));
        let bare = selected(&["config.json", "tokenizer.json", "pytorch_model.bin.index.json"]).unwrap();
        assert_eq!(bare.index(), Some("pytorch_model.bin.index.json"));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (names, words) in [
            (&["model.safetensors", "tokenizer.json"][..], "no config.json"),
            (&["config.json", "tokenizer.json", "tf_model.h5"], "no model.safetensors or pytorch_model.bin"),
            (&["config.json", "model.safetensors"], "no tokenizer.json or spiece.model"),
        ] {
            let error = selected(names).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
