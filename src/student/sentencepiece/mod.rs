//! The tokenizer of a folder that has a `spiece.model` and no `tokenizer.json`, as T5's folders on the Hub often do. The same
//! tokenizer as `transformers` makes of it, part for part.

mod added;
mod charsmap;
mod model;
mod settings;
mod wire;

use std::path::Path;

use tokenizers::{
    AddedToken, NormalizerWrapper, Tokenizer,
    models::unigram::Unigram,
    normalizers::{
        Sequence, Strip,
        replace::{Replace, ReplacePattern},
    },
    pre_tokenizers::metaspace::Metaspace,
    processors::template::TemplateProcessing,
};

use self::{
    model::{Kind, SentencePiece},
    settings::Settings,
};
use super::StudentError;
use crate::layout;

const SPACE: char = '▁';
const END: &str = "</s>";

/// Builds the tokenizer of this folder's `spiece.model`.
pub fn tokenizer(directory: &Path) -> Result<Tokenizer, StudentError> {
    let path = directory.join(layout::SENTENCEPIECE);
    let bytes = std::fs::read(&path).map_err(StudentError::file(&path))?;
    let settings = Settings::read(directory)?;
    build(&bytes, &settings).map_err(|reason| {
        let remedy = "copy it again, or put the model's tokenizer.json beside it";
        StudentError::malformed(&path, format!("{reason}; {remedy}"))
    })
}

fn build(bytes: &[u8], settings: &Settings) -> tokenizers::Result<Tokenizer> {
    let SentencePiece { pieces, unk_id, character_map } = SentencePiece::parse(bytes)?;
    let end = pieces.iter().position(|piece| piece.text == END).ok_or("it has no </s>, which T5 needs")?;
    let end = u32::try_from(end)?;
    let added: Vec<AddedToken> = pieces
        .iter()
        .filter(|piece| piece.kind != Kind::Normal)
        .map(|piece| AddedToken::from(&piece.text, piece.kind != Kind::UserDefined).normalized(false))
        .collect();
    let mut vocabulary: Vec<(String, f64)> =
        pieces.into_iter().map(|piece| (piece.text, f64::from(piece.score))).collect();
    // The first sentinel has the highest id.
    let sentinels: Vec<String> = (0..settings.extra_ids).rev().map(|index| format!("<extra_id_{index}>")).collect();
    vocabulary.extend(sentinels.iter().map(|name| (name.clone(), 0.0)));

    let mut tokenizer = Tokenizer::new(Unigram::from(vocabulary, Some(unk_id), false)?);
    let spaces = Metaspace::new(SPACE, settings.prepend(), true);
    tokenizer.with_normalizer(Some(normalizer(&character_map)?))?;
    tokenizer.with_pre_tokenizer(Some(spaces.clone()));
    tokenizer.with_decoder(Some(spaces));
    tokenizer.with_post_processor(Some(ending(end)?));
    tokenizer.add_tokens(added)?;
    tokenizer.add_special_tokens(sentinels.into_iter().map(|name| AddedToken::from(name, true)))?;
    settings.added.add_to(&mut tokenizer)?;
    Ok(tokenizer)
}

/// The model's own map, no space at the end, and one for many.
fn normalizer(character_map: &[u8]) -> tokenizers::Result<Sequence> {
    let mut steps: Vec<NormalizerWrapper> = Vec::new();
    if !character_map.is_empty() {
        steps.push(charsmap::precompiled(character_map)?.into());
    }
    steps.push(Strip::new(false, true).into());
    steps.push(Replace::new(ReplacePattern::Regex(" {2,}".to_owned()), SPACE.to_string())?.into());
    Ok(Sequence::new(steps))
}

/// `</s>` after every text.
fn ending(end: u32) -> tokenizers::Result<TemplateProcessing> {
    let processing = TemplateProcessing::builder()
        .try_single("$A </s>")?
        .try_pair("$A </s> $B </s>")?
        .special_tokens(vec![(END, end)])
        .build()?;
    Ok(processing)
}
