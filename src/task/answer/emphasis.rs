//! Markdown, with which chat models dress headings and labels, and by which nothing is meant: `**Answer:** yes`,
//! `**Answer**: yes`, `### Answer: **yes**`, `**Final Answer:** yes`. Undressed texts are read as if this file were not there.

/// What emphasis is written with.
const EMPHASIS: [char; 2] = ['*', '_'];
/// The one mark that other words never belong to: `**Vitamin A:** …` is about a vitamin.
const INITIAL: &str = "A:";

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
        if open.is_empty() && mark != INITIAL {
            let within = opened(text[..end].trim_end_matches(':'));
            if let Some(introduced) = Self::introduced(before, within, after) {
                return Some(introduced);
            }
        }
        let is_closed = end - start > mark.len();
        let (open, after) = match after.strip_prefix(open) {
            Some(rest) if !open.is_empty() => ("", rest),
            _ if is_closed => ("", after),
            _ => (open, after),
        };
        Some(Self { before: without_hashes(before), after, open })
    }

    /// The text around a mark that other words are emphasized with, `**Final Answer:** 42`, without these words. The emphasis
    /// ends `within` the mark, directly behind it, or with the label's line.
    fn introduced(before: &'a str, within: &str, after: &'a str) -> Option<Self> {
        let rest = after.trim_start_matches(EMPHASIS);
        let behind = &after[..after.len() - rest.len()];
        let line = after.trim_start().lines().next().unwrap_or_default().trim_end();
        let (closing, after, open) = match (within, behind) {
            ("", "") => {
                let end = opened(line.strip_suffix('.').unwrap_or(line));
                (end, after, end)
            }
            ("", _) => (behind, rest, ""),
            _ => (within, after, ""),
        };
        let words = before.rfind('\n').map_or(0, |end| end + 1);
        let opening = words + unclosed(&before[words..], closing)?;
        Some(Self { before: without_hashes(&before[..opening]), after, open })
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

/// Where emphasis of this kind begins on a line that does not end it. As in Markdown, it begins before a word and ends
/// behind one: the star of `* item` and those of `2**3` begin nothing.
fn unclosed(line: &str, emphasis: &str) -> Option<usize> {
    let places = line.match_indices(emphasis).filter(|_| !emphasis.is_empty());
    places.fold(None, |open, (place, _)| {
        let (before, after) = (&line[..place], &line[place + emphasis.len()..]);
        let begins = !before.ends_with(char::is_alphanumeric) && after.starts_with(|next: char| !next.is_whitespace());
        match open {
            Some(_) if !before.ends_with(char::is_whitespace) => None,
            None if begins => Some(place),
            _ => open,
        }
    })
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
    fn words_that_are_emphasized_with_the_mark_go_with_it() {
        for text in [
            "So.\n**Final Answer:** 42",
            "So.\n**Final Answer**: 42",
            "So.\n**Final Answer:**\n\n42",
            "So.\n**Final Answer: 42**",
            "So.\n**Final Answer: 42**.\nBye.",
            "So.\n**Final Answer:** **42**",
            "So.\n***My final Answer:*** 42",
            "So.\n__Final Answer:__ 42",
            "So.\n### **Final Answer:** 42",
        ] {
            let marked = Marked::at(text, "Answer:").unwrap();
            let label = marked.undressed(marked.after.trim().lines().next().unwrap());
            assert_eq!((marked.before, label), ("So.\n", "42"), "{text}");
        }
        let text = "It is **big**. **The Answer:** 42";
        assert_eq!(parts(text, "Answer:"), ("It is **big**. ", "42"));
        assert!(Marked::at("**My Reasoning:** so", "Reasoning:").unwrap().leads());
        assert!(!Marked::at("**Vitamin A:** so", "A:").unwrap().leads());
    }

    #[test]
    fn emphasis_that_does_not_hold_the_mark_takes_no_words_along() {
        for (text, before, label) in [
            ("It is **big** Answer:** 42", "It is **big** ", "** 42"),
            ("* so Answer:* 42", "* so ", "* 42"),
            ("2**3 Answer:** 42", "2**3 ", "** 42"),
            ("**So\nit is Answer:** 42", "**So\nit is ", "** 42"),
            ("an A Answer: A*", "an A ", "A*"),
        ] {
            assert_eq!(parts(text, "Answer:"), (before, label), "{text}");
        }
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
