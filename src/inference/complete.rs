//! A raw prompt on its way to a completion: read as it is, and gone on from token by token or by a beam search.

use super::completion::{Completion, CompletionRequest, Finish, Prompt};
use super::error::InferenceError;
use super::growing::Growing;
use super::spelling::spell_all;
use crate::student::Student;
use crate::student::beam_search::BeamSearch;
use crate::student::choice::{Choosing, Scores};
use crate::student::generation::{Beginning, Generated};

/// A prompt as one student reads it.
pub(super) struct Raw {
    ids: Vec<i64>,
    request: CompletionRequest,
    /// The answer's tokens, where it is known.
    dictated: Option<Vec<i64>>,
}

impl Raw {
    /// Refuses what the student cannot read whole.
    pub fn new(student: &Student, mut request: CompletionRequest) -> Result<Self, InferenceError> {
        let ids = match &request.prompt {
            Prompt::Text(text) => student.tokenizer.encode(text, usize::MAX).ids,
            Prompt::Tokens(ids) => known(student, ids)?,
        };
        let most = student.card.max_input_length as usize;
        if ids.len() > most {
            return Err(InferenceError::TooLong { tokens: ids.len(), most });
        }
        let dictated = request.dictated.take().map(|answer| student.tokenizer.encode(&answer, usize::MAX).ids);
        if let Some(dictated) = &dictated {
            (request.max_tokens, request.min_tokens, request.beams) = (dictated.len(), 0, 1);
        }
        Ok(Self { ids, request, dictated })
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

impl AsRef<[i64]> for Raw {
    fn as_ref(&self) -> &[i64] {
        &self.ids
    }
}

impl Raw {
    /// How it is searched, where it is gone on from several beginnings. Prompts that are searched alike are searched side by side,
    /// each to its own length.
    pub fn search(&self) -> Option<BeamSearch> {
        let CompletionRequest { beams, min_tokens, max_tokens, .. } = self.request;
        let settings =
            BeamSearch { beams, min_new_tokens: min_tokens, max_new_tokens: max_tokens, ..BeamSearch::default() };
        (beams > 1).then_some(settings)
    }

    /// The row that goes on from it, by this name.
    pub fn beginning(&self, name: usize) -> Beginning {
        let choosing = match (&self.dictated, self.request.sampling) {
            (Some(dictated), _) => Choosing::Dictated(dictated.clone()),
            (None, Some(sampling)) => Choosing::Drawn(sampling),
            (None, None) => Choosing::Likeliest,
        };
        let scores = self.request.logprobs.map_or(Scores::None, Scores::Each);
        Beginning { name, least: self.request.min_tokens, expected: self.most(), choosing, scores }
    }

    /// Its growing text, where somebody looks at it before its end: whoever follows it, or a text to stop at.
    pub fn growing(&self, student: &Student, follows: Follows) -> Option<Growing> {
        let looked_at = follows == Follows::Fragments || !self.request.stop.is_empty();
        looked_at.then(|| Growing::new(self.echoed(student), self.request.stop.clone()))
    }

    /// Tokens that it may have.
    pub fn most(&self) -> usize {
        self.request.max_tokens
    }

    /// Whether nothing may follow these tokens of a search, beside which longer ones may go on.
    pub fn is_enough(&self, student: &Student, said: &[i64]) -> bool {
        said.len() >= self.most() || before_stop(&self.request.stop, || student.tokenizer.decode(said)).is_some()
    }

    /// What the row has said; an error where the student's scores are no numbers.
    pub fn completion(&self, student: &Student, said: &Generated) -> Result<Completion, InferenceError> {
        if said.log_probability.is_nan() {
            return Err(InferenceError::no_numbers());
        }
        let (echoed, text) = (self.echoed(student), student.tokenizer.decode(&said.ids));
        let cut = before_stop(&self.request.stop, || text.clone());
        let ended = cut.is_some() || said.ids.last() == Some(&student.tokenizer.eos_id());
        let chars = (echoed.chars().count(), cut.as_ref().map(|cut| cut.chars().count()));
        let end = chars.1.map_or(usize::MAX, |cut| chars.0 + cut);
        Ok(Completion {
            text: echoed + &cut.unwrap_or(text),
            prompt_tokens: self.ids.len() as u64,
            completion_tokens: said.ids.len() as u64,
            finish: if ended { Finish::Stop } else { Finish::Length },
            tokens: spell_all(&student.tokenizer, &said.ids, &said.scores, (chars.0, end)),
        })
    }

    /// The prompt's text, where it comes before the answer.
    fn echoed(&self, student: &Student) -> String {
        match &self.request.prompt {
            _ if !self.request.echo => String::new(),
            Prompt::Text(text) => text.clone(),
            Prompt::Tokens(ids) => student.tokenizer.decode(ids),
        }
    }
}

/// Whether somebody wants an answer before it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follows {
    Nobody,
    Fragments,
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
