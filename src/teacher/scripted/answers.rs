//! The recorded answers, found by the last question block of a prompt. White space does not count.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Deserialize;

use super::ScriptedError;

/// How question blocks begin, and what stands between the question and its answer.
const FORMS: [(&str, &[&str]); 3] =
    [("Input:", &["\nReasoning:", "\nAnswer:"]), ("Premise:", &["\nReasonings:", "\nAnswer:"]), ("Q:", &["\nA:"])];

/// Every recorded answer.
#[derive(Debug, Default)]
pub(super) struct Answers {
    recorded: Vec<Recorded>,
    /// Place in `recorded` by the whole input. Without it ten thousand lines would be searched for each request.
    by_input: HashMap<String, usize>,
}

#[derive(Debug)]
struct Recorded {
    /// The input, split at `</s>`, its white space made single spaces.
    parts: Vec<String>,
    /// By sample; at least one.
    outputs: Vec<String>,
}

#[derive(Deserialize)]
struct Line {
    input: String,
    llm_output: Option<String>,
    llm_outputs: Option<Vec<String>>,
}

impl Answers {
    pub(super) fn read(path: &Path) -> Result<Self, ScriptedError> {
        let failed = |source| ScriptedError::Read { path: path.to_owned(), source };
        let mut answers = Self::default();
        for (number, line) in BufReader::new(File::open(path).map_err(failed)?).lines().enumerate() {
            let line = line.map_err(failed)?;
            if line.trim().is_empty() {
                continue;
            }
            let wrong = |reason| ScriptedError::Line { path: path.to_owned(), line: number + 1, reason };
            answers.add(Recorded::read(&line).map_err(wrong)?);
        }
        Ok(answers)
    }

    pub(super) fn len(&self) -> usize {
        self.recorded.len()
    }

    /// The outputs of the line whose every part occurs in the last question of `prompt`, by the longest input where
    /// several do; otherwise the question that was looked for.
    pub(super) fn find(&self, prompt: &str) -> Result<&[String], String> {
        let block = last_block(prompt);
        if let Some(&place) = self.by_input.get(&asked_input(block)) {
            return Ok(&self.recorded[place].outputs);
        }
        let block = single_spaced(block);
        let matching = self.recorded.iter().filter(|recorded| recorded.occurs_in(&block));
        // `max_by_key` would take the last of equals.
        let longest = matching.reduce(|best, other| if other.length() > best.length() { other } else { best });
        longest.map(|recorded| recorded.outputs.as_slice()).ok_or(block)
    }

    /// Of two lines with one input the first counts.
    fn add(&mut self, recorded: Recorded) {
        self.by_input.entry(recorded.parts.join("</s>")).or_insert(self.recorded.len());
        self.recorded.push(recorded);
    }
}

impl Recorded {
    fn read(line: &str) -> Result<Self, String> {
        let Line { input, llm_output, llm_outputs } = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let outputs = llm_outputs.unwrap_or_else(|| llm_output.into_iter().collect());
        if outputs.is_empty() {
            return Err("a line needs llm_output, or llm_outputs with at least one text".to_owned());
        }
        let parts: Vec<_> = input.split("</s>").map(single_spaced).collect();
        // It would occur in every question.
        if parts.iter().all(String::is_empty) {
            return Err("input is empty".to_owned());
        }
        Ok(Self { parts, outputs })
    }

    fn occurs_in(&self, block: &str) -> bool {
        self.parts.iter().all(|part| block.contains(part.as_str()))
    }

    fn length(&self) -> usize {
        self.parts.iter().map(String::len).sum()
    }
}

/// From the last line that begins a question; the whole prompt where none does.
fn last_block(prompt: &str) -> &str {
    let starts = FORMS.iter().filter_map(|(head, _)| {
        let after_break = prompt.rfind(&format!("\n{head}")).map(|place| place + 1);
        after_break.or_else(|| prompt.starts_with(head).then_some(0))
    });
    &prompt[starts.max().unwrap_or_default()..]
}

/// The input that a block written by `task::prompt` asks about, as `by_input` spells it; of any other block something
/// that no input is.
fn asked_input(block: &str) -> String {
    let form = FORMS.iter().find_map(|(head, ends)| Some((block.strip_prefix(head)?, *ends)));
    let Some((question, ends)) = form else { return single_spaced(block) };
    let end = ends.iter().filter_map(|end| question.rfind(end)).max().unwrap_or(question.len());
    let parts: Vec<_> = question[..end].splitn(2, "\nHypothesis:").map(single_spaced).collect();
    parts.join("</s>")
}

fn single_spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::AnswerForm;
    use crate::task::{builtin, prompt};

    fn answers(inputs: &[&str]) -> Answers {
        let mut answers = Answers::default();
        for input in inputs {
            let line = serde_json::json!({"input": input, "llm_output": format!("about {input}"), "id": 1}).to_string();
            answers.add(Recorded::read(&line).unwrap());
        }
        answers
    }

    #[test]
    fn every_task_prompt_finds_its_input() {
        for (name, input) in [
            ("text", "A guest\n returns a lamp."),
            ("esnli", "A dog runs.</s>A pet moves."),
            ("anli", "A dog runs. </s> A pet moves."),
            ("cqa", "Where?\nAnswer Choices:\n(a) zoo\n(b) pond"),
            ("svamp", "Ann has 2 pears.\nHow many?"),
        ] {
            let (task, known) = (builtin::find(name).unwrap(), answers(&["other", input]));
            for form in AnswerForm::ALL {
                for messages in [
                    prompt::chat(&task, form, input),
                    prompt::repair(&task, form, input, "?", "it is a question"),
                    prompt::rationalize(&task, form, input, "pond"),
                ] {
                    let asked = &messages.last().unwrap().content;
                    assert_eq!(known.by_input.get(&asked_input(last_block(asked))), Some(&1), "{asked}");
                    assert_eq!(known.find(asked).unwrap(), [format!("about {input}")]);
                }
            }
        }
    }

    #[test]
    fn worked_examples_before_the_last_question_do_not_match() {
        let known = answers(&["first question"]);
        let asked = "Input: first question\nReasoning: r\nAnswer: a\n\nInput: second\nReasoning:";
        assert_eq!(known.find(asked).unwrap_err(), "Input: second Reasoning:");
    }

    #[test]
    fn a_strange_prompt_matches_by_parts_and_the_longest_input_wins() {
        let known = answers(&["a lamp", "a lamp that broke", "a dog</s>a pet"]);
        assert_eq!(known.find("What of a  lamp\nthat broke?").unwrap(), ["about a lamp that broke"]);
        assert_eq!(known.find("Is a pet what a dog is?").unwrap(), ["about a dog</s>a pet"]);
    }

    #[test]
    fn lines_that_are_no_answers_are_refused() {
        for line in
            ["{}", "[]", r#"{"input":"a"}"#, r#"{"input":" ","llm_output":"x"}"#, r#"{"input":"a","llm_outputs":[]}"#]
        {
            assert!(Recorded::read(line).is_err(), "{line}");
        }
    }
}
