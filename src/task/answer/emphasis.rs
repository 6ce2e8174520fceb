//! Markdown, with which chat models dress headings and labels, and by which nothing is meant: `**Answer:** yes`,
//! `**Answer**: yes`, `### Answer: **yes**`. Undressed texts are read as if this file were not there.

/// What emphasis is written with.
const EMPHASIS: [char; 2] = ['*', '_'];

/// A text around a mark such as `Answer:`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Marked<'a> {
    /// What stands before the mark and its dress.
    pub(super) before: &'a str,
    /// What stands behind them.
    pub(super) after: &'a str,
    /// Emphasis that was opened before the mark and was not closed with it.
    open: &'a str,
}

impl<'a> Marked<'a> {
    /// The text around the first `mark`; `None` where there is none.
    pub(super) fn at(text: &'a str, mark: &str) -> Option<Self> {
        let (start, end) = first(text, mark)?;
        let before = text[..start].trim_end_matches(EMPHASIS);
        let (open, after) = (&text[before.len()..start], &text[end..]);
        let is_closed = end - start > mark.len();
        let (open, after) = match after.strip_prefix(open) {
            Some(rest) if !open.is_empty() => ("", rest),
            _ if is_closed => ("", after),
            _ => (open, after),
        };
        Some(Self { before: without_hashes(before), after, open })
    }

    /// Whether no word stands before the mark.
    pub(super) fn leads(&self) -> bool {
        !self.before.contains(char::is_alphanumeric)
    }

    /// A label that stands behind the mark, undressed.
    pub(super) fn undressed(&self, label: &'a str) -> &'a str {
        unwrapped(closed(label, self.open))
    }
}

/// A text without the emphasis that was opened before it.
pub(super) fn closed<'a>(text: &'a str, open: &str) -> &'a str {
    let text = text.trim();
    if open.is_empty() {
        return text;
    }
    let at_end = || text.strip_suffix(open).or_else(|| text.strip_suffix('.')?.strip_suffix(open));
    text.strip_prefix(open).or_else(at_end).map_or(text, str::trim)
}

/// Emphasis at the end of a text, which opens there.
pub(super) fn opened(text: &str) -> &str {
    &text[text.trim_end_matches(EMPHASIS).len()..]
}

/// The text within one pair of stars, and without a stop behind them. Stars that wrap nothing belong to the label.
fn unwrapped(text: &str) -> &str {
    let dressed = text.strip_suffix('.').filter(|rest| rest.ends_with('*')).unwrap_or(text);
    let inner = dressed.trim_matches('*');
    let opening = dressed.len() - dressed.trim_start_matches('*').len();
    let is_wrapped = opening > 0 && dressed.len() == inner.len() + 2 * opening;
    if is_wrapped && !inner.contains('*') && !inner.trim().is_empty() { inner.trim() } else { text }
}

/// The first place of a mark, also of one whose emphasis ends before its colon.
fn first(text: &str, mark: &str) -> Option<(usize, usize)> {
    let Some(word) = mark.strip_suffix(':') else { return text.find(mark).map(|start| (start, start + mark.len())) };
    text.match_indices(word).find_map(|(start, _)| {
        let rest = &text[start + word.len()..];
        let colon = rest.len() - rest.trim_start_matches(EMPHASIS).len();
        rest[colon..].starts_with(':').then(|| (start, start + word.len() + colon + 1))
    })
}

/// The text without the `###` that its last line is.
fn without_hashes(text: &str) -> &str {
    let plain = text.trim_end_matches([' ', '\t']).trim_end_matches('#');
    let is_heading = plain.len() < text.len() && text[plain.len()..].contains('#');
    if is_heading && (plain.is_empty() || plain.ends_with('\n')) { plain } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts<'a>(text: &'a str, mark: &str) -> (&'a str, &'a str) {
        let marked = Marked::at(text, mark).unwrap();
        (marked.before, marked.undressed(marked.after))
    }

    #[test]
    fn a_dressed_mark_takes_its_dress_along() {
        for text in [
            "So.\nAnswer: yes",
            "So.\n**Answer:** yes",
            "So.\n**Answer**: yes",
            "So.\n**Answer: yes**",
            "So.\n**Answer: yes**.",
            "So.\n__Answer:__ yes",
            "So.\n### Answer: **yes**",
            "So.\n## **Answer:** *yes*",
            "So.\n***Answer:*** **yes**.",
        ] {
            assert_eq!(parts(text, "Answer:"), ("So.\n", "yes"), "{text}");
        }
        assert_eq!(parts("**So the answer is yes.**", "So the answer is"), ("", "yes."));
    }

    #[test]
    fn stars_and_hashes_that_dress_nothing_stay() {
        assert_eq!(parts("C#\nAnswer: A*", "Answer:"), ("C#\n", "A*"));
        assert_eq!(parts("a\nAnswer: **b** and **c**", "Answer:"), ("a\n", "**b** and **c**"));
        assert_eq!(parts("5 * 3\nAnswer: **", "Answer:"), ("5 * 3\n", "**"));
        assert_eq!(parts("in C# Answer: F#", "Answer:"), ("in C# ", "F#"));
        assert_eq!(Marked::at("Answers vary", "Answer:"), None);
    }
}
