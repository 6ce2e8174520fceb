//! A text as words: lower case, without punctuation and apostrophes.

/// Characters of a common beginning that two words of one stem have at least.
const STEM_CHARS: usize = 3;

/// The words of a text.
pub(super) fn words(text: &str) -> Vec<String> {
    let plain = text.to_lowercase().replace(['\'', '’'], "");
    plain.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The sentences of a text, as words; none is empty.
pub(super) fn sentences(text: &str) -> Vec<Vec<String>> {
    let lines = text.split(['\n', '\r']);
    let sentences = lines.flat_map(|line| line.split_inclusive(". ").flat_map(|part| part.split_inclusive(['!', '?'])));
    sentences.map(words).filter(|words| !words.is_empty()).collect()
}

/// Whether two words may be forms of one: `city` and `cities`, `Spain` and `Spanish`. Errs towards yes.
pub(super) fn may_be_one(word: &str, other: &str) -> bool {
    let common = word.chars().zip(other.chars()).take_while(|(left, right)| left == right).count();
    word == other || common >= STEM_CHARS && common * 5 >= word.chars().count() * 3
}

/// Where `part` stands in `whole`, word for word, plurals of its words included.
pub(super) fn places(whole: &[String], part: &[String]) -> Vec<usize> {
    let at = |place: &usize| whole[*place..].iter().zip(part).all(|(found, word)| is_one_or_many(found, word));
    (0..(whole.len() + 1).saturating_sub(part.len())).filter(at).collect()
}

/// `bar` or `bars`, `dish` or `dishes`, `city` or `cities`.
fn is_one_or_many(found: &str, word: &str) -> bool {
    let many = word.strip_suffix('y').and_then(|stem| found.strip_prefix(stem));
    found.strip_prefix(word).is_some_and(|ending| ["", "s", "es"].contains(&ending)) || many == Some("ies")
}
