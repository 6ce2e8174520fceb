//! The rows of a distillation: each source is there, and holds what the method and the label source need.

use super::request::{TestRows, Training, ValidationRows};
use crate::{
    api::{
        AppState,
        error::ApiError,
        resolve::{
            Refusals,
            file::{Strangers, check_labels, refuse_without_rows, usable_for},
            submission::parent,
        },
        shapes::OneOrMany,
    },
    domain::{
        FileId, Job, JobId, JobSpec, JobState, LabelSource, Method, Split, TaskDefinition, TrainingSource, Validating,
    },
    store::Store,
};

const MAX_SOURCES: usize = 64;
const DEFAULT_FRACTION: f64 = 0.1;

/// What the rows are needed for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// What is learned.
    pub task: &'a TaskDefinition,
    /// How it is learned.
    pub method: Method,
    /// Whose labels are learned.
    pub label_source: LabelSource,
    /// The largest share of rows that may be useless.
    pub max_dropped_ratio: f64,
}

/// The training rows as a worker reads them.
#[derive(Debug, Default)]
pub struct Sources {
    /// Where they come from.
    pub sources: Vec<TrainingSource>,
    /// Annotation jobs that are not over.
    pub waits_for: Vec<JobId>,
}

/// Training sources, checked.
pub async fn training(
    state: &AppState,
    refusals: &mut Refusals,
    wanted: &Wanted<'_>,
    training: OneOrMany<Training>,
) -> Result<Sources, ApiError> {
    let given = training.with_pointers("#/training");
    refusals.require((1..=MAX_SOURCES).contains(&given.len()), "#/training", || {
        format!("{} training sources; send 1 to {MAX_SOURCES}", given.len())
    });
    let mut found = Sources::default();
    for (pointer, source) in given.into_iter().take(MAX_SOURCES) {
        match (source.file, source.annotation_job) {
            (Some(id), None) => {
                check_training_file(state, refusals, wanted, &format!("{pointer}/file"), id).await?;
                found.sources.push(TrainingSource::File(id));
            }
            (None, Some(id)) => {
                let pointer = format!("{pointer}/annotation_job");
                found.waits_for.extend(check_annotation_job(state, refusals, wanted, &pointer, id).await?);
                found.sources.push(TrainingSource::AnnotationJob(id));
            }
            _ => refusals.add(pointer, "invalid_value", "send either {\"file\": …} or {\"annotation_job\": …}"),
        }
    }
    Ok(found)
}

async fn check_training_file(
    state: &AppState,
    refusals: &mut Refusals,
    wanted: &Wanted<'_>,
    pointer: &str,
    id: FileId,
) -> Result<(), ApiError> {
    let splits = &[Split::Train];
    let Some((file, rows)) = usable_for(state, refusals, pointer, id, splits).await? else { return Ok(()) };
    let (code, field, advice) = match wanted.label_source {
        LabelSource::Teacher => (
            "missing_teacher_labels",
            "teacher_label",
            "annotate it first, or learn people's labels with \"label_source\": \"ground_truth\"",
        ),
        LabelSource::GroundTruth => {
            ("missing_labels", "label", "or learn the teacher's with \"label_source\": \"teacher\"")
        }
    };
    let labeled = rows.labeled_by(wanted.label_source);
    let dropped = 1.0 - labeled as f64 / rows.rows as f64;
    if labeled == 0 {
        refusals.add(pointer, code, format!("no training row of {id} has a {field:?}; {advice}"));
    } else if dropped > wanted.max_dropped_ratio {
        let detail = format!(
            "{} of {} training rows of {id} have no {field:?}; max_dropped_ratio allows {}",
            rows.rows.saturating_sub(labeled),
            rows.rows,
            wanted.max_dropped_ratio
        );
        refusals.add(pointer, code, detail);
    }
    if wanted.method != Method::Standard && rows.with_rationale == 0 {
        let detail = format!(
            "no training row of {id} has a \"rationale\", which {} learns; annotate it first, or use \"method\": \"standard\"",
            wanted.method.as_str()
        );
        refusals.add(pointer, "missing_rationales", detail);
    }
    let strangers = Strangers { task: wanted.task, source: wanted.label_source, splits };
    check_labels(state, refusals, pointer, &file, &strangers).await
}

/// Returns the job if it is still to be waited for.
async fn check_annotation_job(
    state: &AppState,
    refusals: &mut Refusals,
    wanted: &Wanted<'_>,
    pointer: &str,
    id: JobId,
) -> Result<Option<JobId>, ApiError> {
    let Some(job) = parent(state, refusals, pointer, id).await? else { return Ok(None) };
    let JobSpec::Annotation(spec) = &job.spec else {
        refusals.add(pointer, "invalid_value", format!("{id} is not an annotation job but of kind {}", job.kind()));
        return Ok(None);
    };
    if job.state == JobState::Succeeded {
        check_output(state, refusals, wanted, pointer, &job).await?;
        return Ok(None);
    }
    check_annotated_file(state, refusals, wanted, pointer, spec.file).await?;
    Ok(Some(id))
}

/// An annotation keeps its rows' ground truth and splits, so what it cannot give is known before it is over.
async fn check_annotated_file(
    state: &AppState,
    refusals: &mut Refusals,
    wanted: &Wanted<'_>,
    pointer: &str,
    id: FileId,
) -> Result<(), ApiError> {
    let splits = &[Split::Train];
    let Some(file) = state.store.file(Store::default_project(), id).await? else { return Ok(()) };
    let rows = file.validation.rows_of(splits);
    if rows.rows == 0 {
        refuse_without_rows(refusals, pointer, id, splits);
    } else if wanted.label_source == LabelSource::GroundTruth && rows.labeled == 0 {
        let detail = format!(
            "no training row of {id} has a \"label\"; the teacher's are learned with \"label_source\": \"teacher\""
        );
        refusals.add(pointer, "missing_labels", detail);
    }
    Ok(())
}

/// What an annotation has left is a file like any other, and may have been deleted like any other.
async fn check_output(
    state: &AppState,
    refusals: &mut Refusals,
    wanted: &Wanted<'_>,
    pointer: &str,
    job: &Job,
) -> Result<(), ApiError> {
    let Some(output) = job.output_file() else {
        refusals.add(pointer, "file_not_found", format!("{} left no output file; annotate its file again", job.id));
        return Ok(());
    };
    if state.store.file(Store::default_project(), output).await?.is_none() {
        let detail = format!("{output}, which {} wrote, was deleted; annotate its file again", job.id);
        refusals.add(pointer, "file_not_found", detail);
        return Ok(());
    }
    check_training_file(state, refusals, wanted, pointer, output).await
}

/// Validation rows, checked.
pub async fn validation(
    state: &AppState,
    refusals: &mut Refusals,
    wanted: &Wanted<'_>,
    given: Option<ValidationRows>,
) -> Result<Validating, ApiError> {
    let given = given.unwrap_or_default();
    let Some(id) = given.file else {
        let fraction = given.fraction.unwrap_or(DEFAULT_FRACTION);
        refusals.require((0.0..1.0).contains(&fraction), "#/validation/fraction", || {
            format!("fraction is {fraction}; send 0 to less than 1")
        });
        return Ok(Validating::Fraction { fraction, seed: given.seed.unwrap_or_default() });
    };
    let alone = given.fraction.is_none() && given.seed.is_none();
    refusals.require(alone, "#/validation", || "send either a file or a fraction with its seed".to_owned());
    check_scored_file(state, refusals, wanted, "#/validation/file", (id, &[Split::Validation])).await?;
    Ok(Validating::File(id))
}

/// Test rows, checked.
pub async fn test(
    state: &AppState,
    refusals: &mut Refusals,
    wanted: &Wanted<'_>,
    given: Option<TestRows>,
) -> Result<Option<FileId>, ApiError> {
    let Some(TestRows { file: id }) = given else { return Ok(None) };
    check_scored_file(state, refusals, wanted, "#/test/file", (id, &[Split::Test])).await?;
    Ok(Some(id))
}

/// A file whose rows of these splits answers are compared with: by people's labels, or by those that are learned.
async fn check_scored_file(
    state: &AppState,
    refusals: &mut Refusals,
    wanted: &Wanted<'_>,
    pointer: &str,
    (id, splits): (FileId, &'static [Split]),
) -> Result<(), ApiError> {
    let Some((file, rows)) = usable_for(state, refusals, pointer, id, splits).await? else { return Ok(()) };
    if rows.labeled + rows.labeled_by(wanted.label_source) == 0 {
        let detail = format!("no row of {id} that answers would be compared with has a \"label\"");
        refusals.add(pointer, "missing_labels", detail);
    }
    let strangers = Strangers { task: wanted.task, source: LabelSource::GroundTruth, splits };
    check_labels(state, refusals, pointer, &file, &strangers).await
}
