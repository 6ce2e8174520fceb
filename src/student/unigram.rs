//! A tokenizer for a student from scratch: a unigram model trained on the training rows, in T5's layout.
//!
//! The `tokenizers` crate's trainer is not deterministic: `feed` and `finalize` walk hash maps, and its sums depend on the
//! number of threads. Here it gets sorted words on one thread, and what it leaves in hash order is ranked again, so that
//! the same rows give the same bytes in every process and on every machine.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokenizers::models::unigram::{Unigram, UnigramTrainer};
use tokenizers::{
    NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Tokenizer,
};

/// `<pad>`, `</s>` and `<unk>`, at T5's ids 0, 1 and 2.
const SPECIALS: [&str; 3] = ["<pad>", "</s>", "<unk>"];
/// T5's sentinels; `<extra_id_0>` has the highest id.
const SENTINELS: usize = 100;
/// Longer words are cut for training: the trainer's likelihood underflows on very long ones and panics.
const MAX_WORD_CHARS: usize = 64;
/// A noncharacter: Unicode keeps it out of texts.
const MARK: char = '\u{FFFF}';
/// What the crate adds to the score of each required character that its model lost, one after the other.
const LOST_CHARACTER_STEP: f64 = 1e-4;

/// Why no tokenizer could be trained.
#[derive(Debug, thiserror::Error)]
pub enum UnigramError {
    /// The texts hold no word.
    #[error("there is no text to train a tokenizer on")]
    NoText,
    /// Every character needs a piece of its own.
    #[error("a vocabulary of {vocabulary_size} pieces cannot hold the {characters} characters of the texts")]
    TooSmall {
        /// Pieces asked for.
        vocabulary_size: usize,
        /// Distinct characters of the texts.
        characters: usize,
    },
    /// The crate's own trouble.
    #[error("training a tokenizer: {0}")]
    Tokenizers(#[from] tokenizers::Error),
}

/// Trains a tokenizer of at most `vocabulary_size` pieces, specials counted and sentinels not.
pub fn train_tokenizer<'a>(
    texts: impl IntoIterator<Item = &'a str>,
    vocabulary_size: usize,
) -> Result<Tokenizer, UnigramError> {
    let words = count_words(texts)?;
    if words.is_empty() {
        return Err(UnigramError::NoText);
    }
    let limit = vocabulary_size.saturating_sub(SPECIALS.len());
    let characters = words.keys().flat_map(|word| word.chars()).collect::<std::collections::BTreeSet<_>>().len();
    if characters > limit {
        return Err(UnigramError::TooSmall { vocabulary_size, characters });
    }
    let pieces = ranked(train_pieces(words, limit)?, limit);
    Ok(Tokenizer::from_bytes(layout(&pieces).to_string())?)
}

/// The words of the texts as the finished tokenizer will cut them, in the order of their bytes.
fn count_words<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<BTreeMap<String, u32>, UnigramError> {
    let cutter = Tokenizer::from_bytes(layout(&[]).to_string())?;
    let mut words = BTreeMap::new();
    for text in texts {
        // `</s>` between the parts of an input is a special token and never part of a word.
        for part in text.split(SPECIALS[1]) {
            for word in words_of(&cutter, part)? {
                let count: &mut u32 = words.entry(word).or_default();
                *count = count.saturating_add(1);
            }
        }
    }
    Ok(words)
}

fn words_of(cutter: &Tokenizer, part: &str) -> Result<Vec<String>, UnigramError> {
    let mut normalized = NormalizedString::from(part);
    if let Some(normalizer) = cutter.get_normalizer() {
        normalizer.normalize(&mut normalized)?;
    }
    let mut split = PreTokenizedString::from(normalized);
    if let Some(pre_tokenizer) = cutter.get_pre_tokenizer() {
        pre_tokenizer.pre_tokenize(&mut split)?;
    }
    let words = split.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
    Ok(words.into_iter().filter(|(word, ..)| !word.is_empty()).flat_map(|(word, ..)| cut(word)).collect())
}

fn cut(word: &str) -> Vec<String> {
    let characters: Vec<char> = word.chars().collect();
    characters.chunks(MAX_WORD_CHARS).map(|part| part.iter().collect()).collect()
}

fn train_pieces(words: BTreeMap<String, u32>, limit: usize) -> Result<Vec<(String, f64)>, UnigramError> {
    let trainer = UnigramTrainer::builder()
        .show_progress(false)
        .vocab_size(u32::try_from(limit + 1).unwrap_or(u32::MAX))
        .build()
        .map_err(|error| UnigramError::Tokenizers(error.to_string().into()))?;
    let mut model = Unigram::default();
    // One thread: the expectation step adds its parts in chunks of the thread count, and floats do not add alike.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let pool = pool.map_err(|error| UnigramError::Tokenizers(error.into()))?;
    pool.install(|| trainer.do_train(with_marked_copies(words), &mut model))?;
    Ok(model.iter().cloned().collect())
}

/// Each word twice: as it is, and once with a mark behind it that weighs next to nothing. The crate's first pieces are
/// those substrings of its list that go on in two ways; a word alone in the list only ever ends, and so could not become
/// a piece, however frequent. Pieces with the mark fall below the crate's least frequency of one half.
fn with_marked_copies(words: BTreeMap<String, u32>) -> Vec<(String, u32)> {
    let total: u64 = words.values().map(|count| u64::from(*count)).sum();
    // The crate adds all counts up in 32 bits.
    let weight = u32::try_from(u64::from(u32::MAX / 2) / total.max(1)).unwrap_or(u32::MAX).clamp(1, 1000);
    let copies = |(word, count): (String, u32)| {
        let marked = format!("{word}{MARK}");
        [(word, count.saturating_mul(weight)), (marked, 1)]
    };
    words.into_iter().flat_map(copies).collect()
}

/// The pieces by falling score, equal ones by code point. The crate numbers the characters that its model lost in hash
/// order, each a little above the lowest score: those all get the lowest score instead.
fn ranked(pieces: Vec<(String, f64)>, limit: usize) -> Vec<(String, f64)> {
    let is_character = |piece: &str| piece.chars().nth(1).is_none();
    let lowest = pieces.iter().map(|(_, score)| *score).fold(f64::INFINITY, f64::min);
    let characters = pieces.iter().filter(|(piece, _)| is_character(piece)).count();
    let lost_below = lowest + LOST_CHARACTER_STEP * (characters as f64 + 1.0);
    let level = |(piece, score): (String, f64)| {
        let score = if is_character(&piece) && score <= lost_below { lowest } else { score };
        (piece, score)
    };
    let mut pieces: Vec<_> = pieces.into_iter().filter(|(piece, _)| !piece.contains(MARK)).map(level).collect();
    pieces.sort_by(|(left, a), (right, b)| b.total_cmp(a).then_with(|| left.cmp(right)));
    let mut room = limit.saturating_sub(pieces.iter().filter(|(piece, _)| is_character(piece)).count());
    pieces.retain(|(piece, _)| {
        let keep = is_character(piece) || room > 0;
        room -= usize::from(keep && !is_character(piece));
        keep
    });
    pieces
}

/// The `tokenizer.json` of T5: whitespace becomes `▁`, `</s>` ends every text, sentinels come last.
fn layout(pieces: &[(String, f64)]) -> Value {
    let specials = SPECIALS.iter().map(|name| (*name).to_owned());
    let sentinels: Vec<String> = (0..SENTINELS).rev().map(|index| format!("<extra_id_{index}>")).collect();
    let mut vocabulary: Vec<(String, f64)> = specials.map(|name| (name, 0.0)).collect();
    vocabulary.extend(pieces.iter().cloned());
    let first_sentinel = vocabulary.len();
    vocabulary.extend(sentinels.into_iter().map(|name| (name, 0.0)));
    let added: Vec<Value> = vocabulary
        .iter()
        .enumerate()
        .filter(|(id, _)| *id < SPECIALS.len() || *id >= first_sentinel)
        .map(|(id, (name, _))| added_token(id, name))
        .collect();
    let metaspace = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true});
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFKC"},
            {"type": "Strip", "strip_left": false, "strip_right": true},
            {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "},
        ]},
        "pre_tokenizer": metaspace,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "pair": [
                {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}},
            ],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}},
        },
        "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": 2, "vocab": vocabulary, "byte_fallback": false},
    })
}

fn added_token(id: usize, name: &str) -> Value {
    json!({
        "id": id, "content": name, "special": true,
        "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 4] = [
        "predict: the coat arrived torn after nine days",
        "explain: the shoes were worn outside</s>the policy says reject",
        "the coat is torn so it is exchanged",
        "ünïcode and a tab\tare fine",
    ];

    #[test]
    fn ids_lie_where_t5_has_them() {
        let tokenizer = train_tokenizer(TEXTS, 80).unwrap();
        let ids = ["<pad>", "</s>", "<unk>"].map(|name| tokenizer.token_to_id(name));
        assert_eq!(ids, [Some(0), Some(1), Some(2)]);
        let last = u32::try_from(tokenizer.get_vocab_size(true) - 1).unwrap();
        assert_eq!(tokenizer.token_to_id("<extra_id_0>"), Some(last));
        assert!(tokenizer.get_vocab_size(true) <= 180);
    }

    #[test]
    fn a_text_comes_back_as_it_was() {
        let tokenizer = train_tokenizer(TEXTS, 80).unwrap();
        let encoded = tokenizer.encode("the coat is torn", true).unwrap();
        assert_eq!(encoded.get_ids().last(), Some(&1));
        assert_eq!(tokenizer.decode(encoded.get_ids(), true).unwrap(), "the coat is torn");
    }

    #[test]
    fn frequent_words_become_pieces() {
        let tokenizer = train_tokenizer(TEXTS.repeat(20), 120).unwrap();
        let encoded = tokenizer.encode("the coat is torn", false).unwrap();
        assert_eq!(encoded.get_tokens(), ["▁the", "▁coat", "▁is", "▁torn"]);
    }

    #[test]
    fn two_trainings_agree_to_the_byte() {
        let train = || train_tokenizer(TEXTS, 80).unwrap().to_string(true).unwrap();
        assert_eq!(train(), train());
    }

    #[test]
    fn a_vocabulary_smaller_than_the_alphabet_is_refused() {
        assert!(matches!(train_tokenizer(TEXTS, 10), Err(UnigramError::TooSmall { .. })));
        assert!(matches!(train_tokenizer([" "], 10), Err(UnigramError::NoText)));
    }
}
