//! Which label of its set a rationale comes to.

use super::words::{may_be_one, places, sentences, words};

/// Words so common that they name no label unless a sentence says that it is the answer.
const EVERYDAY: [&str; 12] = ["yes", "no", "true", "false", "none", "other", "both", "choice", "all", "a", "b", "c"];
/// Words before a label by which a sentence denies it, and how many words before it they are looked for.
const DENIALS: [&str; 10] = ["not", "no", "never", "neither", "nor", "than", "isnt", "arent", "without", "instead"];
const DENIAL_DISTANCE: usize = 3;
/// Words of a label that carry none of its meaning.
const EMPTY: [&str; 14] = ["a", "an", "the", "of", "in", "on", "at", "to", "and", "or", "for", "with", "is", "be"];

/// A label and its words.
#[derive(Debug)]
pub(super) struct Name {
    label: String,
    words: Vec<String>,
}

impl Name {
    pub(super) fn of(label: &str) -> Self {
        Self { label: label.to_owned(), words: words(label) }
    }

    fn is_everyday(&self) -> bool {
        self.words.iter().all(|word| EVERYDAY.contains(&word.as_str()))
    }
}

/// Whether the last sentence says that another label than `own` is the answer; or where it says nothing of the kind, names
/// one other label of the set and not its own.
pub(super) fn contradicts(names: &[Name], own: &str, rationale: &str) -> bool {
    let Some(last) = sentences(rationale).pop() else { return false };
    match concluded(names, &last) {
        Some(concluded) => concluded != own,
        None => !mentions(own, &last) && only_other(names, own, &last).is_some(),
    }
}

/// Whether every word of the label, but for those without a meaning, has a form in the text.
pub(super) fn mentions(label: &str, text: &[String]) -> bool {
    let has_form = |word: &String| text.iter().any(|found| may_be_one(word, found));
    words(label).iter().filter(|word| !EMPTY.contains(&word.as_str())).all(has_form)
}

/// Whether any of these words, but for those without a meaning, has a form in the text.
pub(super) fn mentions_part(label: &str, text: &[String]) -> bool {
    let words = words(label);
    let mut telling = words.iter().filter(|word| !EMPTY.contains(&word.as_str())).peekable();
    telling.peek().is_none() || telling.any(|word| text.iter().any(|found| may_be_one(word, found)))
}

/// The longest label behind `answer is`, `answer:` or the same of `label`.
fn concluded<'a>(names: &'a [Name], sentence: &[String]) -> Option<&'a str> {
    let mark = sentence.iter().rposition(|word| word == "answer" || word == "label")?;
    let rest = &sentence[mark + 1..];
    let rest = rest.strip_prefix(&["is".to_owned()]).unwrap_or(rest);
    let fitting = names.iter().filter(|name| !name.words.is_empty() && rest.starts_with(&name.words));
    fitting.max_by_key(|name| name.words.len()).map(|name| name.label.as_str())
}

/// The one label that is not `own` and that the sentence names and does not deny.
fn only_other<'a>(names: &'a [Name], own: &str, sentence: &[String]) -> Option<&'a str> {
    let telling = names.iter().filter(|name| name.label != own && !name.is_everyday());
    let found: Vec<(&Name, usize)> =
        telling.flat_map(|name| places(sentence, &name.words).into_iter().map(move |place| (name, place))).collect();
    // `math` in `math class` names nothing where both are labels.
    let is_inside = |(name, place): &(&Name, usize)| {
        let (start, end) = (*place, place + name.words.len());
        found
            .iter()
            .any(|(longer, at)| longer.words.len() > name.words.len() && *at <= start && end <= at + longer.words.len())
    };
    let is_denied = |place: usize| {
        let before = &sentence[place.saturating_sub(DENIAL_DISTANCE)..place];
        before.iter().any(|word| DENIALS.contains(&word.as_str()))
    };
    let named = found.iter().filter(|found| !is_inside(found) && !is_denied(found.1));
    let mut labels = named.map(|(name, _)| name.label.as_str());
    let first = labels.next()?;
    labels.all(|label| label == first).then_some(first)
}
