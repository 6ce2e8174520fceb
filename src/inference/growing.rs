//! A row's text while it grows: where a text to stop at comes in it, and what of it can be shown already. Only the newest tokens
//! are decoded at a step, however long the text is.

use super::spelling::{ScoredToken, Spelling, spell_all};
use crate::student::generation::Generated;
use crate::student::{Student, StudentTokenizer};

/// What is decoded for a token of which the rest is still to come.
const BROKEN: char = char::REPLACEMENT_CHARACTER;

/// A text and what was shown of it.
#[derive(Debug, Default)]
pub(super) struct Growing {
    stops: Vec<String>,
    text: String,
    /// Where the row's own words begin in the text.
    start: usize,
    /// Tokens from the first of these on are decoded together with new ones: what a token adds depends on the one before.
    first: usize,
    /// Tokens whose text is in the text.
    read: usize,
    /// Where a text to stop at begins in the text.
    cut: Option<usize>,
    /// How much of the text was shown, and how many characters that is.
    shown: usize,
    shown_chars: usize,
    spelling: Spelling,
    tokens: Vec<ScoredToken>,
    /// How many of the tokens were shown.
    shown_tokens: usize,
}

/// What can be shown now and could not be shown before.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Grown {
    pub text: String,
    pub tokens: Vec<ScoredToken>,
}

impl Growing {
    /// A row's words come after this text, and end before any of the stops.
    pub fn new(before: String, stops: Vec<String>) -> Self {
        let spelling = Spelling::after(before.chars().count());
        Self { stops, start: before.len(), text: before, spelling, ..Self::default() }
    }

    /// Takes what the row has said since the last time.
    pub fn hear(&mut self, tokenizer: &StudentTokenizer, said: &Generated) {
        for at in self.tokens.len()..said.scores.len() {
            self.tokens.push(self.spelling.spell(tokenizer, said.ids[at], &said.scores[at]));
        }
        let before = tokenizer.decode(&said.ids[self.first..self.read]);
        let now = tokenizer.decode(&said.ids[self.first..]);
        let Some(new) = now.strip_prefix(&before).filter(|new| !new.is_empty() && !new.ends_with(BROKEN)) else {
            return;
        };
        let had = self.text.len();
        self.text.push_str(new);
        (self.first, self.read) = (self.read, said.ids.len());
        self.look_for_stop(had);
    }

    /// A stop may begin in what was there before.
    fn look_for_stop(&mut self, had: usize) {
        let longest = self.stops.iter().map(String::len).max().unwrap_or_default();
        let from = self.text.floor_char_boundary(had.saturating_sub(longest)).max(self.start);
        let found = self.stops.iter().filter_map(|stop| self.text[from..].find(stop.as_str()));
        self.cut = found.min().map(|at| from + at);
    }

    /// Whether a text to stop at has come.
    pub fn is_stopped(&self) -> bool {
        self.cut.is_some()
    }

    /// What no stop can take back any more.
    pub fn grown(&mut self) -> Grown {
        let end = self.cut.unwrap_or_else(|| self.text.len() - self.held());
        self.show(end)
    }

    /// The end of the text that may be the beginning of a stop.
    fn held(&self) -> usize {
        let words = &self.text[self.start..];
        let held = |stop: &String| {
            let begins = |length: &usize| stop.is_char_boundary(*length) && words.ends_with(&stop[..*length]);
            (1..stop.len()).rev().find(begins).unwrap_or_default()
        };
        self.stops.iter().map(held).max().unwrap_or_default()
    }

    fn show(&mut self, end: usize) -> Grown {
        let text = self.text[self.shown.min(end)..end].to_owned();
        self.shown += text.len();
        self.shown_chars += text.chars().count();
        Grown { text, tokens: self.show_tokens() }
    }

    /// The tokens that begin in what was shown.
    fn show_tokens(&mut self) -> Vec<ScoredToken> {
        let left = &self.tokens[self.shown_tokens..];
        if left.is_empty() {
            return Vec::new();
        }
        let is_shown = |token: &&ScoredToken| token.offset < self.shown_chars;
        let tokens: Vec<ScoredToken> = left.iter().take_while(is_shown).cloned().collect();
        self.shown_tokens += tokens.len();
        tokens
    }

    /// What was not shown of all that a row has said.
    pub fn rest_of(&self, student: &Student, said: &Generated) -> Grown {
        let tokens = spell_all(&student.tokenizer, &said.ids, &said.scores, (0, usize::MAX));
        self.rest(&student.tokenizer.decode(&said.ids), &tokens)
    }

    /// What was not shown of the text and the tokens as they are in the end.
    pub fn rest(&self, text: &str, tokens: &[ScoredToken]) -> Grown {
        let shown = &self.text[..self.shown];
        Grown {
            text: text.strip_prefix(shown).unwrap_or_default().to_owned(),
            tokens: tokens.get(self.shown_tokens..).unwrap_or_default().to_vec(),
        }
    }
}

#[cfg(test)]
#[path = "growing_tests.rs"]
mod tests;
