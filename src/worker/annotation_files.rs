//! What an annotation leaves: an output file that is a training file, a rejection file, and its result.

use serde_json::{Value, json};

use super::{
    Attempt, AttemptError, Worker,
    output_file::{OutputFile, beside},
    unusable,
};
use crate::{
    domain::{Annotation, AnnotationLine, AnnotationReport, AnnotationSpec, AnnotationStatus, File, Job, Prices},
    report,
    store::Page,
};

/// Rows read from the database at once.
const PAGE: u32 = 1000;

/// Writes both files, then the rows and the job's end in one transaction. The files take as long as there are answers, and
/// stop when there is no more time: an attempt that comes later writes its own.
pub async fn finish(
    worker: &Worker,
    attempt: &Attempt,
    spec: &AnnotationSpec,
    source: &File,
) -> Result<(), AttemptError> {
    let whose = Whose { worker, job: &attempt.job, spec, source: &source.filename, attempt: Some(attempt) };
    let Written { report, result, files } = attempt.in_time(whose.write()).await?;
    if report.counts.valid == 0 && report.counts.total > 0 {
        let reasons = report.rejections.get(..unusable::REASONS as usize).unwrap_or(&report.rejections);
        let event = unusable::all(&report.counts, reasons);
        attempt.persist(|| attempt.store().append_event_once(attempt.lease, &event)).await?;
    }
    let files: Vec<&File> = files.iter().collect();
    attempt.persist(|| attempt.store().finish_with_files(attempt.lease, &result, &files)).await
}

/// An annotation of which files are written.
pub struct Whose<'a> {
    /// Where to.
    pub worker: &'a Worker,
    /// The job, as its newest attempt has it.
    pub job: &'a Job,
    /// What it was asked.
    pub spec: &'a AnnotationSpec,
    /// The name of the file that it annotates.
    pub source: &'a str,
    /// Who has the job, and outlasts an outage of the database; none where it is over.
    pub attempt: Option<&'a Attempt>,
}

/// What was written of a job's annotations; no row names it yet.
pub struct Written {
    /// What was found.
    pub report: AnnotationReport,
    /// The job's result, which names the files.
    pub result: Value,
    /// The output and the rejections.
    pub files: [File; 2],
}

impl Whose<'_> {
    /// Writes both files, of all answers that are settled.
    pub async fn write(&self) -> Result<Written, AttemptError> {
        let open = |name, suffix| OutputFile::of_examples(self.worker, self.job, name, beside(self.source, suffix));
        let (mut output, mut rejections) =
            (open("output", "annotated").await?, open("rejections", "rejections").await?);
        let (mut after, mut rationalized) = (None, 0);
        loop {
            let page = self.page(after).await?;
            after = page.items.last().map(|annotation| annotation.example_index);
            for annotation in page.items {
                rationalized += i64::from(annotation.rationalized);
                let valid = annotation.status == AnnotationStatus::Valid;
                let written = if valid { &mut output } else { &mut rejections };
                written.push(&AnnotationLine::new(annotation)).await?;
            }
            if !page.has_more {
                break;
            }
        }
        let output = output.close(self.worker, self.job).await?;
        let rejections = rejections.close(self.worker, self.job).await?;
        let report = self.report().await?;
        let result = result(&report, rationalized, Some(&[&output, &rejections]));
        Ok(Written { report, result, files: [output, rejections] })
    }

    async fn page(&self, after: Option<i64>) -> Result<Page<Annotation>, AttemptError> {
        let page = || self.worker.store.list_annotations(self.job.id, &[], after, PAGE);
        match self.attempt {
            Some(attempt) => attempt.persist(page).await,
            None => Ok(page().await?),
        }
    }

    /// The result of a job that has no answer, and so no files.
    pub async fn without_answers(&self) -> Result<Value, AttemptError> {
        Ok(result(&self.report().await?, 0, None))
    }

    async fn report(&self) -> Result<AnnotationReport, AttemptError> {
        let report = || report::of(&self.worker.store, self.job.id, self.spec, self.prices());
        match self.attempt {
            Some(attempt) => attempt.persist(report).await,
            None => Ok(report().await?),
        }
    }

    /// The teacher's prices; another worker may be configured otherwise than the one that asked.
    fn prices(&self) -> Option<Prices> {
        let teacher = self.worker.teachers.iter().find(|teacher| teacher.name() == self.spec.teacher);
        teacher.map(|teacher| teacher.prices())
    }
}

/// What stands of a report in the job's result.
fn result(report: &AnnotationReport, rationalized: i64, files: Option<&[&File; 2]>) -> Value {
    json!({
        "counts": report.counts,
        "teacher_accuracy": report.accuracy.map(|accuracy| accuracy.accuracy),
        "agreement": report.agreement.mean,
        "labels": report.labels,
        "rejections": report.rejections,
        "rationales": report.rationales,
        "rationalized": rationalized,
        "latency_ms": report.latency_ms,
        "calls": report.calls,
        "input_tokens": report.input_tokens,
        "output_tokens": report.output_tokens,
        "tokens_per_example": report.tokens_per_example,
        "cost_usd": report.cost_usd,
        "unknown_cost_usd": report.unknown_cost_usd,
        "output_file": files.map(|[output, _]| output.id),
        "rejections_file": files.map(|[_, rejections]| rejections.id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{RationaleFault, Split},
        task::examples,
    };

    #[test]
    fn an_annotation_is_a_training_line_of_the_split_that_its_example_had() {
        let annotation = Annotation {
            example_id: "a".to_owned(),
            input: "is it?".to_owned(),
            split: Some(Split::Test),
            status: AnnotationStatus::Valid,
            teacher_label: Some("yes".to_owned()),
            rationale: Some("it is".to_owned()),
            more_rationales: vec!["it must be".to_owned()],
            agreement: Some(1.0),
            rationale_faults: Some(vec![RationaleFault::EmptyOfLabel]),
            rationale_fingerprint: Some(1),
            ..Annotation::default()
        };
        let rejected = Annotation {
            status: AnnotationStatus::Invalid,
            split: None,
            more_rationales: Vec::new(),
            agreement: None,
            ..annotation.clone()
        };
        let line = |annotation: Annotation| serde_json::to_string(&AnnotationLine::new(annotation)).unwrap();
        assert!(line(annotation.clone()).contains(r#""rationale_faults":["empty_of_label"]"#));
        let file = format!("{}\n{}\n", line(annotation), line(rejected));
        let rows: Vec<_> = examples::read(file.as_bytes()).collect::<Result<_, _>>().unwrap();
        assert_eq!((rows[0].split, rows[0].teacher_label.as_deref()), (Some(Split::Test), Some("yes")));
        assert_eq!(rows[0].rationales().collect::<Vec<_>>(), ["it is", "it must be"]);
        assert_eq!((rows[1].split, rows[1].teacher_label.as_deref()), (None, None));
    }
}
