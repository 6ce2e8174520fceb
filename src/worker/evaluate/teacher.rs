//! The teacher's stored answers, by the row that they belong to.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::{
    domain::{Annotation, AnnotationStatus, Example, JobId, TeacherAnswers},
    worker::{Attempt, AttemptError, Worker},
};

/// Rows read from the database at once.
const PAGE: u32 = 1000;

/// Where a row's answer is found.
pub enum StoredAnswers {
    /// In the row itself.
    InFile,
    /// Among a job's annotations.
    Annotated(Annotated),
}

/// Valid answers of an annotation job. Two files number their rows alike, so an id alone proves nothing: an answer
/// belongs to a row of the same input, and where several have it, to the one of the same id, else the first.
#[derive(Default)]
pub struct Annotated {
    by_input: HashMap<Digested, String>,
    by_input_and_id: HashMap<Digested, String>,
}

/// Half of a SHA-256: two texts that share it do not occur, and it is smaller than they are.
type Digested = [u8; 16];

impl StoredAnswers {
    /// The answers that the spec names, if it names any.
    pub async fn read(
        worker: &Worker,
        attempt: &Attempt,
        wanted: Option<TeacherAnswers>,
    ) -> Result<Option<Self>, AttemptError> {
        Ok(match wanted {
            None => None,
            Some(TeacherAnswers::File) => Some(Self::InFile),
            Some(TeacherAnswers::AnnotationJob(job)) => Some(Self::Annotated(annotated(worker, attempt, job).await?)),
        })
    }

    /// The valid answer to a row.
    pub fn to_row<'a>(&'a self, row: &'a Example) -> Option<&'a str> {
        match self {
            Self::InFile => row.teacher_label.as_deref(),
            Self::Annotated(answers) => answers.to(&row.id, &row.input),
        }
    }
}

async fn annotated(worker: &Worker, attempt: &Attempt, job: JobId) -> Result<Annotated, AttemptError> {
    let (mut answers, mut after) = (Annotated::default(), None);
    loop {
        attempt.check()?;
        let valid = &[AnnotationStatus::Valid];
        let page = attempt.persist(|| worker.store.list_annotations(job, valid, after, PAGE)).await?;
        after = page.items.last().map(|annotation| annotation.example_index);
        page.items.into_iter().for_each(|annotation| answers.add(annotation));
        if !page.has_more {
            return Ok(answers);
        }
    }
}

impl Annotated {
    fn add(&mut self, annotation: Annotation) {
        let Some(label) = annotation.teacher_label else { return };
        self.by_input_and_id.insert(digest(&[&annotation.input, &annotation.example_id]), label.clone());
        self.by_input.entry(digest(&[&annotation.input])).or_insert(label);
    }

    fn to(&self, id: &str, input: &str) -> Option<&str> {
        let exact = self.by_input_and_id.get(&digest(&[input, id]));
        exact.or_else(|| self.by_input.get(&digest(&[input]))).map(String::as_str)
    }
}

/// Tells lists of texts apart, also where they read the same joined together: no text of a line holds a NUL.
fn digest(texts: &[&str]) -> Digested {
    let mut half = [0; 16];
    half.copy_from_slice(&Sha256::digest(texts.join("\0"))[..16]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotation(id: &str, input: &str, label: Option<&str>) -> Annotation {
        Annotation {
            example_index: 0,
            example_id: id.to_owned(),
            input: input.to_owned(),
            split: None,
            label: None,
            status: AnnotationStatus::Valid,
            reason: None,
            teacher_label: label.map(str::to_owned),
            rationale: None,
            raw_output: None,
            input_tokens: 1,
            output_tokens: 1,
            latency_ms: 1,
            ..Annotation::default()
        }
    }

    #[test]
    fn an_answer_belongs_to_a_row_of_the_same_input_and_best_of_the_same_id() {
        let mut answers = Annotated::default();
        answers.add(annotation("line-1", "a", Some("x")));
        answers.add(annotation("line-2", "b", Some("y")));
        answers.add(annotation("line-3", "b", Some("z")));
        answers.add(annotation("line-4", "c", None));
        assert_eq!(answers.to("line-1", "a"), Some("x"));
        assert_eq!(answers.to("line-3", "b"), Some("z"));
        assert_eq!(answers.to("another", "b"), Some("y"));
        assert_eq!(answers.to("line-1", "b"), Some("y"));
        assert_eq!((answers.to("line-4", "c"), answers.to("line-1", "d")), (None, None));
    }
}
