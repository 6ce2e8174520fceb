//! Tokens of prompts: by a rule of thumb on the scripts that they are written in, or, where finished jobs say what this teacher
//! has counted, by the same rule brought to its scale.

use super::annotation::{answers, spread};
use crate::{domain::Span, store::PastJob};

/// Tokens that a chat's frame adds to its texts.
const FRAME_TOKENS: f64 = 8.0;
/// Tokens of a character, by the bytes that it takes in UTF-8.
const OF_BYTES: [Span; 4] = [
    // English, digits, programs: of digits a token holds one to three.
    Span { low: 0.2, expected: 0.25, high: 0.5 },
    // Cyrillic, Greek, Hebrew, Arabic, letters with accents.
    Span { low: 0.25, expected: 0.5, high: 1.0 },
    // Chinese, Japanese, Korean, Thai, the scripts of India: about a token each.
    Span { low: 0.5, expected: 1.0, high: 1.5 },
    // Emoji and rare signs.
    Span { low: 0.5, expected: 1.5, high: 2.0 },
];

/// How many tokens a teacher counts.
pub(super) struct Prompts {
    /// Tokens by the teacher's count for each by the rule.
    scale: Option<Span>,
}

impl Prompts {
    /// The scale of a teacher that did these jobs.
    pub(super) fn of(past: &[PastJob]) -> Self {
        let counted = |past: &PastJob| past.taken.number("/input_tokens");
        let by_rule = |past: &PastJob| Some(answers(past)? * past.estimate.prompt_tokens_by_rule?);
        Self { scale: spread(past, counted, by_rule) }
    }

    /// Tokens of what the rule finds to be so many.
    pub(super) fn counted(&self, by_rule: Span) -> Span {
        self.scale.map_or(by_rule, |scale| scale.times(by_rule.expected))
    }
}

/// Tokens of one prompt, by the rule alone.
pub(super) fn by_rule(text: &str) -> Span {
    let sum = text.chars().fold(Span::exactly(0.0), |sum, character| sum.plus(OF_BYTES[character.len_utf8() - 1]));
    let whole = Span { low: sum.low.floor(), expected: sum.expected.ceil(), high: sum.high.ceil() };
    whole.plus(Span::exactly(FRAME_TOKENS))
}

/// The mean of these prompts, by the rule alone.
pub(super) fn mean_by_rule(texts: impl Iterator<Item = String>) -> Span {
    let (mut count, mut sum) = (0.0, Span::exactly(0.0));
    for text in texts {
        count += 1.0;
        sum = sum.plus(by_rule(&text));
    }
    if count > 0.0 { sum.times(1.0 / count) } else { by_rule("") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{Estimate, FileId, JobId, Taken, TaskDefinition};

    #[test]
    fn a_script_of_three_bytes_has_about_a_token_for_each_character() {
        assert_eq!(by_rule(&"word".repeat(25)).expected, 25.0 + FRAME_TOKENS);
        let chinese = by_rule(&"退".repeat(100));
        assert_eq!((chinese.low, chinese.expected, chinese.high), (58.0, 108.0, 158.0));
        let russian = by_rule(&"я".repeat(100));
        assert!(chinese.expected > russian.expected && russian.expected > by_rule(&"a".repeat(100)).expected);
    }

    /// A job that answered so many prompts, and what the teacher counted of them.
    fn past(answered: i64, input_tokens: i64, prompt_tokens_by_rule: Option<f64>) -> PastJob {
        let spec = json!({"kind": "annotation", "file": FileId(uuid::Uuid::nil()), "teacher": "desk",
            "task": TaskDefinition::default(), "temperature": 0.0, "max_output_tokens": 256});
        let result = json!({"calls": {"answered": answered}, "input_tokens": input_tokens});
        PastJob {
            id: JobId(uuid::Uuid::nil()),
            spec: serde_json::from_value(spec).unwrap(),
            estimate: Estimate { prompt_tokens_by_rule, ..Estimate::default() },
            taken: Taken { result, ..Taken::default() },
        }
    }

    #[test]
    fn a_teacher_that_counted_otherwise_sets_the_scale_whatever_the_estimates_were() {
        let rule = Span { low: 80.0, expected: 100.0, high: 200.0 };
        let none = Prompts::of(&[past(10, 5000, None), past(0, 0, Some(100.0))]);
        assert_eq!(none.counted(rule), rule, "jobs that say nothing of it");
        // Twice and four times what the rule says; the larger job weighs more.
        let known = Prompts::of(&[past(10, 2000, Some(100.0)), past(30, 12_000, Some(100.0)), past(10, 9999, None)]);
        let counted = known.counted(rule);
        assert_eq!((counted.low, counted.expected, counted.high), (160.0, 350.0, 500.0));
    }
}
