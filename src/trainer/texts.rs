//! How long the texts of a training are, and what is cut of them.

use crate::domain::{Hyperparameters, LearnedTexts, PartLengths, Truncated};
use crate::student::Encoded;

/// The part of a row that a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The input behind a prefix.
    Input,
    /// The label.
    Label,
    /// A rationale.
    Rationale,
}

/// The texts of a training, as far as they were turned into token ids.
#[derive(Debug, Clone, Copy)]
pub struct Texts {
    asked: [Option<u32>; 3],
    limits: PartLengths,
    /// The longest texts, after they were cut.
    longest: PartLengths,
    truncated: Truncated,
    /// What was cut of the row that is being written.
    of_row: Truncated,
}

impl Texts {
    /// No text yet.
    pub fn new(knobs: &Hyperparameters) -> Self {
        let asked = [knobs.max_input_length, knobs.max_label_length, knobs.max_rationale_length];
        let (longest, truncated, of_row) = (PartLengths::default(), Truncated::default(), Truncated::default());
        Self { asked, limits: knobs.limits(), longest, truncated, of_row }
    }

    /// The lengths at which texts are cut.
    pub fn limits(&self) -> PartLengths {
        self.limits
    }

    /// The length at which a text of this part is cut.
    pub fn limit(&self, part: Part) -> u32 {
        match part {
            Part::Input => self.limits.input,
            Part::Label => self.limits.label,
            Part::Rationale => self.limits.rationale,
        }
    }

    /// What was cut so far of the row that is being written.
    pub fn cut_of_row(&self) -> Truncated {
        self.of_row
    }

    /// Takes a text of a row.
    pub fn take(&mut self, part: Part, encoded: &Encoded) {
        let length = u32::try_from(encoded.ids.len()).unwrap_or(u32::MAX);
        let (longest, cut) = match part {
            Part::Input => (&mut self.longest.input, &mut self.of_row.inputs),
            Part::Label => (&mut self.longest.label, &mut self.of_row.labels),
            Part::Rationale => (&mut self.longest.rationale, &mut self.of_row.rationales),
        };
        *longest = length.max(*longest);
        *cut += u64::from(encoded.truncated);
    }

    /// All texts of a row were taken. An input that is read behind two prefixes is one input.
    pub fn end_row(&mut self) {
        let Truncated { inputs, labels, rationales, .. } = std::mem::take(&mut self.of_row);
        self.truncated.inputs += inputs.min(1);
        self.truncated.labels += labels;
        self.truncated.rationales += rationales;
        self.truncated.rows += u64::from(inputs + labels + rationales > 0);
    }

    /// What is told of them.
    pub fn learned(&self) -> LearnedTexts {
        let [input, label, rationale] = self.asked;
        let max_lengths = PartLengths {
            input: input.unwrap_or(self.longest.input),
            label: label.unwrap_or(self.longest.label),
            rationale: rationale.unwrap_or(self.longest.rationale),
        };
        LearnedTexts { max_lengths, truncated: self.truncated }
    }

    /// Tokens that the finished student may read and write. It reads inputs as long as any that would have been learned.
    pub fn served(&self) -> PartLengths {
        let [_, label, rationale] = self.asked;
        PartLengths {
            input: self.limits.input,
            label: label.unwrap_or_else(|| room(self.longest.label, self.limits.label)),
            rationale: rationale.unwrap_or_else(|| room(self.longest.rationale, self.limits.rationale)),
        }
    }
}

/// Tokens that an answer may take where the longest right one has so many: with room for spellings other than the
/// tokenizer's own, and no more, since a student that has not learned to stop writes until it is stopped.
pub fn room(longest: u32, limit: u32) -> u32 {
    (2 * longest + 4).min(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(length: usize, truncated: bool) -> Encoded {
        Encoded { ids: vec![1; length], truncated }
    }

    #[test]
    fn lengths_come_from_the_texts_unless_they_were_asked_for() {
        let knobs = Hyperparameters { max_rationale_length: Some(20), ..Hyperparameters::default() };
        let mut texts = Texts::new(&knobs);
        for (part, length) in [(Part::Input, 30), (Part::Input, 31), (Part::Label, 2), (Part::Rationale, 11)] {
            texts.take(part, &text(length, false));
        }
        texts.end_row();
        let found = texts.learned();
        assert_eq!(found.max_lengths, PartLengths { input: 31, label: 2, rationale: 20 });
        assert_eq!(found.truncated, Truncated::default());
        assert_eq!(texts.served(), PartLengths { input: 1024, label: 8, rationale: 20 });
    }

    #[test]
    fn what_is_written_stays_within_the_research_codes_lengths() {
        let mut texts = Texts::new(&Hyperparameters::default());
        texts.take(Part::Rationale, &text(200, false));
        assert_eq!(texts.served().rationale, 256);
    }

    #[test]
    fn cut_texts_are_counted_by_part_and_their_rows_once() {
        let mut texts = Texts::new(&Hyperparameters::default());
        // Behind each of two prefixes, with two rationales.
        for part in [Part::Input, Part::Input, Part::Rationale, Part::Rationale] {
            texts.take(part, &text(5, true));
        }
        texts.end_row();
        texts.take(Part::Label, &text(5, true));
        texts.end_row();
        texts.take(Part::Input, &text(5, false));
        texts.end_row();
        assert_eq!(texts.learned().truncated, Truncated { inputs: 1, labels: 1, rationales: 2, rows: 2 });
    }
}
