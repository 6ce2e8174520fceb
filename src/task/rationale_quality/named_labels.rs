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
    let longest = Longest::of(&found, sentence.len());
    let is_denied = |place: usize| {
        let before = &sentence[place.saturating_sub(DENIAL_DISTANCE)..place];
        before.iter().any(|word| DENIALS.contains(&word.as_str()))
    };
    let named = found.iter().filter(|(name, place)| !longest.holds(name, *place) && !is_denied(*place));
    let mut labels = named.map(|(name, _)| name.label.as_str());
    let first = labels.next()?;
    labels.all(|label| label == first).then_some(first)
}

/// How far the labels reach that begin at each word. One that stands inside of a longer one, as `math` in `math class`,
/// names nothing. Held for all words at once: a teacher that writes one label over and over is looked at once.
struct Longest {
    /// The furthest end of a label that begins at the word.
    here: Vec<usize>,
    /// The furthest end of one that begins before it.
    before: Vec<usize>,
}

impl Longest {
    fn of(found: &[(&Name, usize)], words: usize) -> Self {
        let mut here = vec![0; words + 1];
        for (name, place) in found {
            here[*place] = here[*place].max(place + name.words.len());
        }
        let reached = here.iter().scan(0, |furthest, end| {
            let before = *furthest;
            *furthest = before.max(*end);
            Some(before)
        });
        Self { before: reached.collect(), here }
    }

    /// Whether a longer label holds the one at this place.
    fn holds(&self, name: &Name, place: usize) -> bool {
        let end = place + name.words.len();
        self.before[place] >= end || self.here[place] > end
    }
}
