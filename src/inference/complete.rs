//! Raw prompts to one student: read as they are, and gone on from greedily or by a beam search.

use std::collections::BTreeMap;

use super::completion::{Completion, CompletionRequest, Finish, Prompt};
use super::error::InferenceError;
use super::read::Read;
use crate::student::Student;
use crate::student::beam_search::{self, BeamSearch};

/// A prompt as one student reads it.
pub(super) struct Raw {
    ids: Vec<i64>,
    request: CompletionRequest,
}

impl Raw {
    /// Refuses what the student cannot read whole.
    pub fn new(student: &Student, request: &CompletionRequest) -> Result<Self, InferenceError> {
        let ids = match &request.prompt {
            Prompt::Text(text) => student.tokenizer.encode(text, usize::MAX).ids,
            Prompt::Tokens(ids) => known(student, ids)?,
        };
        let most = student.card.max_input_length as usize;
        if ids.len() > most {
            return Err(InferenceError::TooLong { tokens: ids.len(), most });
        }
        Ok(Self { ids, request: request.clone() })
    }

    /// Tokens that are held at once, which bounds what fits into a batch.
    pub fn length(&self) -> usize {
        self.ids.len().max(self.request.max_tokens * self.request.beams)
    }
}

/// The ids, each of which must have a row in the embedding.
fn known(student: &Student, ids: &[i64]) -> Result<Vec<i64>, InferenceError> {
    let vocabulary = student.config.vocab_size;
    match ids.iter().find(|id| !(0..vocabulary).contains(*id)) {
        Some(&id) => Err(InferenceError::UnknownToken { id, vocabulary }),
        None => Ok(ids.to_vec()),
    }
}

/// One completion a prompt, in their order, each by a beam search; `prompts` must not be empty. Panics where the tensor library
/// does.
pub(super) fn search(student: &Student, prompts: &[Raw]) -> Vec<Result<Completion, InferenceError>> {
    let read = Read::new(student, prompts);
    let mut completions: Vec<_> = prompts.iter().map(|_| Err(InferenceError::no_numbers())).collect();
    for (settings, rows) in by_search(prompts) {
        let asked: Vec<&Raw> = rows.iter().map(|row| &prompts[*row]).collect();
        for (row, written) in rows.iter().zip(write(student, &asked, settings, &read.select(&rows))) {
            if let Some(written) = written {
                completions[*row] = Ok(prompts[*row].completion(student, &written));
            }
        }
    }
    completions
}

/// Places of the prompts that are searched alike: by so many beams, and with an end not before so many tokens.
fn by_search(prompts: &[Raw]) -> BTreeMap<(usize, usize), Vec<usize>> {
    let mut rows: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    for (row, Raw { request, .. }) in prompts.iter().enumerate() {
        rows.entry((request.beams, request.min_tokens)).or_default().push(row);
    }
    rows
}

/// The ids that answer each prompt; none where no score is a number, so that a search finds nothing.
fn write(student: &Student, asked: &[&Raw], (beams, least): (usize, usize), read: &Read) -> Vec<Option<Vec<i64>>> {
    let most = asked.iter().map(|prompt| prompt.request.max_tokens).max().unwrap_or(1);
    let enough = |row: usize, said: &[i64]| asked[row].is_enough(student, said);
    let settings = BeamSearch { beams, max_new_tokens: most, min_new_tokens: least, ..BeamSearch::default() };
    let found = beam_search::search_from(&student.model, &read.encoded, &read.mask, &settings, &enough);
    found.into_iter().map(|found| found.into_iter().next().map(|best| best.ids)).collect()
}

impl AsRef<[i64]> for Raw {
    fn as_ref(&self) -> &[i64] {
        &self.ids
    }
}

impl Raw {
    /// Whether it needs a search, which goes on from several beginnings.
    pub fn is_searched(&self) -> bool {
        self.request.beams > 1
    }

    /// Tokens before which the student cannot end.
    pub fn least(&self) -> usize {
        self.request.min_tokens
    }

    /// Whether nothing may follow these tokens.
    pub fn is_enough(&self, student: &Student, said: &[i64]) -> bool {
        let decoded = || student.tokenizer.decode(said);
        said.len() >= self.request.max_tokens || before_stop(&self.request.stop, decoded).is_some()
    }

    /// What these tokens are.
    pub fn completion(&self, student: &Student, written: &[i64]) -> Completion {
        let text = student.tokenizer.decode(written);
        let cut = before_stop(&self.request.stop, || text.clone());
        let ended = cut.is_some() || written.last() == Some(&student.tokenizer.eos_id());
        let text = cut.unwrap_or(text);
        Completion {
            text: if self.request.echo { self.prompt_text(student) + &text } else { text },
            prompt_tokens: self.ids.len() as u64,
            completion_tokens: written.len() as u64,
            finish: if ended { Finish::Stop } else { Finish::Length },
        }
    }

    fn prompt_text(&self, student: &Student) -> String {
        match &self.request.prompt {
            Prompt::Text(text) => text.clone(),
            Prompt::Tokens(ids) => student.tokenizer.decode(ids),
        }
    }
}

/// The text before the first of the stops; none where no stop is in it. The text is only made where there is a stop.
fn before_stop(stops: &[String], text: impl Fn() -> String) -> Option<String> {
    if stops.is_empty() {
        return None;
    }
    let text = text();
    let end = stops.iter().filter_map(|stop| text.find(stop.as_str())).min()?;
    Some(text[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_stop_in_the_text_ends_it() {
        let stops = ["late".to_owned(), "came".to_owned()];
        let text = || "the order came late".to_owned();
        assert_eq!(before_stop(&stops, text).as_deref(), Some("the order "));
        assert_eq!(before_stop(&stops[..1], text).as_deref(), Some("the order came "));
        assert_eq!(before_stop(&["box".to_owned()], text), None);
        assert_eq!(before_stop(&[], || unreachable!("nobody needs the text")), None);
    }
}
