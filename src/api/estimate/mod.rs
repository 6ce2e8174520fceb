//! What a job will probably take: rows from its files, lengths from the first of their lines, time and tokens from
//! finished jobs of its like, or from rules of thumb where there are none. Nothing here refuses a job.

mod annotation;
mod distillation;
mod evaluation;
mod memory;
mod prompts;
mod questions;
mod sample;
mod second_calls;

pub use questions::Question;

use self::annotation::Grounds;
use super::{ProjectState, error::ApiError};
use crate::{
    domain::{Estimate, JobSpec},
    store::StoreError,
};

/// Finished jobs that are looked at.
const PAST_JOBS: u32 = 20;
/// Characters of a token, in English, for the tokenizers of T5.
const CHARACTERS_PER_TOKEN: f64 = 4.0;

/// Why nothing can be said.
enum Unknown {
    /// The database does not answer: the submission cannot go on either.
    Store(StoreError),
    /// A file, a configuration or a row cannot be read; the worker will say so in its own words.
    Unreadable(String),
}

impl From<StoreError> for Unknown {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Row { .. } => Self::Unreadable(error.to_string()),
            error => Self::Store(error),
        }
    }
}

/// What the job will probably take; `None` where nothing can be said.
pub async fn of(state: &ProjectState, spec: &JobSpec) -> Result<Option<Estimate>, ApiError> {
    let estimate = match spec {
        JobSpec::Annotation(spec) => {
            Grounds::of(state, spec).await.map(|grounds| annotation::estimate(state, spec, &grounds))
        }
        JobSpec::Distillation(spec) => distillation::estimate(state, spec).await,
        JobSpec::Evaluation(spec) => evaluation::estimate(state, spec).await,
    };
    known(estimate)
}

/// The same, and what a teacher would be asked first; no question where the job asks none, or nothing can be said.
pub async fn with_questions(
    state: &ProjectState,
    spec: &JobSpec,
) -> Result<(Option<Estimate>, Vec<Question>), ApiError> {
    let JobSpec::Annotation(spec) = spec else { return Ok((of(state, spec).await?, Vec::new())) };
    let Some(grounds) = known(Grounds::of(state, spec).await)? else { return Ok((None, Vec::new())) };
    let estimate = annotation::estimate(state, spec, &grounds);
    Ok((Some(estimate), questions::first(state, spec, &grounds)))
}

/// What is found; nothing where a file cannot be read. Only the database's silence is an error.
fn known<T>(found: Result<T, Unknown>) -> Result<Option<T>, ApiError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Unknown::Store(error)) => Err(error.into()),
        Err(Unknown::Unreadable(reason)) => {
            tracing::warn!(reason, "a job is submitted without an estimate");
            Ok(None)
        }
    }
}

fn tokens(characters: f64) -> f64 {
    (characters / CHARACTERS_PER_TOKEN).ceil()
}
