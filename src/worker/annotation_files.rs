//! What an annotation leaves: an output file that is a training file, a rejection file, and its result.

use serde_json::{Map, Value, json};

use super::{Attempt, AttemptError, Worker, output_file::OutputFile};
use crate::{
    domain::{Annotation, AnnotationSpec, AnnotationStatus, File, Validation},
    task::scoring,
    teacher::TeacherClient,
};

/// Rows read from the database at once.
const PAGE: u32 = 1000;

/// Writes both files, then the rows and the job's end in one transaction.
pub async fn finish(
    worker: &Worker,
    attempt: &Attempt,
    spec: &AnnotationSpec,
    source: &File,
    teacher: &TeacherClient,
) -> Result<(), AttemptError> {
    let mut output = OutputFile::open(worker, attempt, "output").await?;
    let mut rejections = OutputFile::open(worker, attempt, "rejections").await?;
    let mut tally = Tally::default();
    let mut after = None;
    loop {
        let page = attempt.persist(|| worker.store.list_annotations(attempt.job.id, None, after, PAGE)).await?;
        for annotation in &page.items {
            tally.add(spec, annotation);
            let valid = annotation.status == AnnotationStatus::Valid;
            let written = if valid { &mut output } else { &mut rejections };
            written.push(&line(annotation)).await?;
            count(&mut written.validation, annotation);
        }
        after = page.items.last().map(|annotation| annotation.example_index);
        if !page.has_more {
            break;
        }
    }
    let output = output.close(attempt, source, "annotated").await?;
    let rejections = rejections.close(attempt, source, "rejections").await?;
    let result = tally.result(teacher, &output, &rejections);
    let files = [&output, &rejections];
    attempt.persist(|| attempt.store().finish_with_files(attempt.lease, &result, &files)).await
}

/// One annotation as a line: a training row with what became of it.
fn line(annotation: &Annotation) -> Value {
    let mut row = json!({
        "id": annotation.example_id,
        "input": annotation.input,
        "label": annotation.label,
        "teacher_label": annotation.teacher_label,
        "rationale": annotation.rationale,
        "agreement": 1.0,
        "status": annotation.status,
    });
    if let (Some(row), true) = (row.as_object_mut(), annotation.status != AnnotationStatus::Valid) {
        row.remove("agreement");
        row.insert("reason".to_owned(), json!(annotation.reason));
        row.insert("raw_output".to_owned(), json!(annotation.raw_output));
    }
    row
}

/// What a validation of an output line would find.
fn count(found: &mut Validation, annotation: &Annotation) {
    found.valid_rows += 1;
    found.labeled_rows += u64::from(annotation.label.is_some());
    found.teacher_labeled_rows += u64::from(annotation.teacher_label.is_some());
    found.rationale_rows += u64::from(annotation.rationale.is_some());
}

/// Counts over all annotations of a job.
#[derive(Default)]
struct Tally {
    by_status: Map<String, Value>,
    total: u64,
    labeled: u64,
    correct: u64,
    input_tokens: i64,
    output_tokens: i64,
}

impl Tally {
    fn add(&mut self, spec: &AnnotationSpec, annotation: &Annotation) {
        let count = self.by_status.entry(annotation.status.as_str()).or_insert(json!(0));
        *count = json!(count.as_u64().unwrap_or(0) + 1);
        self.total += 1;
        self.input_tokens += annotation.input_tokens;
        self.output_tokens += annotation.output_tokens;
        if let Some(truth) = &annotation.label {
            self.labeled += 1;
            // An answer that did not parse counts as wrong.
            let answer = annotation.teacher_label.as_deref();
            self.correct += u64::from(answer.is_some_and(|answer| scoring::is_correct(&spec.task, answer, truth)));
        }
    }

    fn result(&self, teacher: &TeacherClient, output: &File, rejections: &File) -> Value {
        let mut counts: Map<_, _> =
            AnnotationStatus::ALL.iter().map(|status| (status.as_str().to_owned(), json!(0))).collect();
        counts.extend(self.by_status.clone());
        counts.insert("total".to_owned(), json!(self.total));
        json!({
            "counts": counts,
            "teacher_accuracy": (self.labeled > 0).then(|| ratio(self.correct, self.labeled)),
            "agreement": 1.0,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": teacher.cost_usd(self.input_tokens, self.output_tokens),
            "output_file": output.id,
            "rejections_file": rejections.id,
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "row counts are far below 2^52")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}
