//! What an annotation leaves: an output file that is a training file, a rejection file, and its result.

use serde_json::{Map, Value, json};

use super::{Attempt, AttemptError, Worker, output_file::OutputFile};
use crate::{
    domain::{Annotation, AnnotationSpec, AnnotationStatus, File},
    task::{rationale_quality::RationaleChecks, scoring},
    teacher::TeacherClient,
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
    teacher: &TeacherClient,
) -> Result<(), AttemptError> {
    let Written { output, rejections, tally } = attempt.in_time(write(worker, attempt, spec, source)).await?;
    let result = tally.result(teacher, &output, &rejections);
    let files = [&output, &rejections];
    attempt.persist(|| attempt.store().finish_with_files(attempt.lease, &result, &files)).await
}

/// What was written of a job's annotations.
struct Written {
    output: File,
    rejections: File,
    tally: Tally,
}

async fn write(
    worker: &Worker,
    attempt: &Attempt,
    spec: &AnnotationSpec,
    source: &File,
) -> Result<Written, AttemptError> {
    let mut output = OutputFile::of_examples(worker, attempt, "output").await?;
    let mut rejections = OutputFile::of_examples(worker, attempt, "rejections").await?;
    let checks = RationaleChecks::of(&spec.task);
    let mut tally = Tally::default();
    let mut after = None;
    loop {
        let page = attempt.persist(|| worker.store.list_annotations(attempt.job.id, None, after, PAGE)).await?;
        for annotation in &page.items {
            tally.add(spec, annotation);
            let valid = annotation.status == AnnotationStatus::Valid;
            let written = if valid { &mut output } else { &mut rejections };
            written.push(&line(&checks, annotation)).await?;
        }
        after = page.items.last().map(|annotation| annotation.example_index);
        if !page.has_more {
            break;
        }
    }
    let output = output.close(worker, attempt, source, "annotated").await?;
    let rejections = rejections.close(worker, attempt, source, "rejections").await?;
    Ok(Written { output, rejections, tally })
}

/// One annotation as a line: a training row with what became of it.
fn line(checks: &RationaleChecks<'_>, annotation: &Annotation) -> Value {
    let mut row = json!({
        "id": annotation.example_id,
        "input": annotation.input,
        "label": annotation.label,
        "teacher_label": annotation.teacher_label,
        "rationale": annotation.rationale,
        "agreement": 1.0,
        "status": annotation.status,
    });
    if let (Some(row), Some(split)) = (row.as_object_mut(), annotation.split) {
        row.insert("split".to_owned(), json!(split));
    }
    if let (Some(row), Some(rationale)) = (row.as_object_mut(), &annotation.rationale) {
        let label = annotation.teacher_label.as_deref().unwrap_or_default();
        row.insert("rationale_faults".to_owned(), json!(checks.faults(&annotation.input, label, rationale)));
    }
    if let (Some(row), true) = (row.as_object_mut(), annotation.status != AnnotationStatus::Valid) {
        row.remove("agreement");
        row.insert("reason".to_owned(), json!(annotation.reason));
        row.insert("raw_output".to_owned(), json!(annotation.raw_output));
    }
    row
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::Split,
        task::{builtin, examples},
    };

    #[test]
    fn an_annotation_is_a_training_line_of_the_split_that_its_example_had() {
        let annotation = Annotation {
            example_index: 0,
            example_id: "a".to_owned(),
            input: "is it?".to_owned(),
            label: None,
            split: Some(Split::Test),
            status: AnnotationStatus::Valid,
            reason: None,
            teacher_label: Some("yes".to_owned()),
            rationale: Some("it is".to_owned()),
            raw_output: None,
            input_tokens: 1,
            output_tokens: 1,
            latency_ms: 1,
        };
        let rejected = Annotation { status: AnnotationStatus::Invalid, split: None, ..annotation.clone() };
        let task = builtin::find("text").unwrap();
        let line = |annotation| line(&RationaleChecks::of(&task), annotation);
        assert_eq!(line(&annotation)["rationale_faults"], json!(["empty_of_label"]));
        let file = format!("{}\n{}\n", line(&annotation), line(&rejected));
        let rows: Vec<_> = examples::read(file.as_bytes()).collect::<Result<_, _>>().unwrap();
        assert_eq!((rows[0].split, rows[0].teacher_label.as_deref()), (Some(Split::Test), Some("yes")));
        assert_eq!((rows[1].split, rows[1].teacher_label.as_deref()), (None, None));
    }
}
