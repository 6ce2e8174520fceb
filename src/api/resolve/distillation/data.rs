//! The rows of a distillation: each source is there, and holds what the method and the label source need.

use super::request::{TestRows, Training, ValidationRows};
use crate::{
    api::{
        AppState,
        error::ApiError,
        resolve::{
            Refusals,
            file::{Strangers, check_labels, usable},
            submission::parent,
        },
        shapes::OneOrMany,
    },
    domain::{File, FileId, JobId, JobSpec, JobState, LabelSource, Method, TaskDefinition, TrainingSource, Validating},
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
    let Some(file) = usable(state, refusals, pointer, id).await? else { return Ok(()) };
    let rows = &file.validation;
    let (labeled, code, field, advice) = match wanted.label_source {
        LabelSource::Teacher => (
            rows.teacher_labeled_rows,
            "missing_teacher_labels",
            "teacher_label",
            "annotate it first, or learn people's labels with \"label_source\": \"ground_truth\"",
        ),
        LabelSource::GroundTruth => {
            (rows.labeled_rows, "missing_labels", "label", "or learn the teacher's with \"label_source\": \"teacher\"")
        }
    };
    let dropped = 1.0 - labeled as f64 / rows.valid_rows.max(1) as f64;
    if labeled == 0 {
        refusals.add(pointer, code, format!("no row of {id} has a {field:?}; {advice}"));
    } else if dropped > wanted.max_dropped_ratio {
        let detail = format!(
            "{} of {} rows of {id} have no {field:?}; max_dropped_ratio allows {}",
            rows.valid_rows.saturating_sub(labeled),
            rows.valid_rows,
            wanted.max_dropped_ratio
        );
        refusals.add(pointer, code, detail);
    }
    if wanted.method != Method::Standard && rows.rationale_rows == 0 {
        let detail = format!(
            "no row of {id} has a \"rationale\", which {} learns; annotate it first, or use \"method\": \"standard\"",
            wanted.method.as_str()
        );
        refusals.add(pointer, "missing_rationales", detail);
    }
    let strangers = Strangers { task: wanted.task, source: wanted.label_source };
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
    if wanted.label_source == LabelSource::GroundTruth
        && let Some(file) = state.store.file(Store::default_project(), spec.file).await?
        && file.validation.labeled_rows == 0
    {
        let detail = format!(
            "no row of {} has a \"label\"; the teacher's are learned with \"label_source\": \"teacher\"",
            file.id
        );
        refusals.add(pointer, "missing_labels", detail);
    }
    Ok((job.state != JobState::Succeeded).then_some(id))
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
    check_scored_file(state, refusals, wanted, "#/validation/file", id).await?;
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
    check_scored_file(state, refusals, wanted, "#/test/file", id).await?;
    Ok(Some(id))
}

/// A file that answers are compared with: by people's labels, or by those that are learned.
async fn check_scored_file(
    state: &AppState,
    refusals: &mut Refusals,
    wanted: &Wanted<'_>,
    pointer: &str,
    id: FileId,
) -> Result<Option<File>, ApiError> {
    let Some(file) = usable(state, refusals, pointer, id).await? else { return Ok(None) };
    let rows = &file.validation;
    let learned = if wanted.label_source == LabelSource::Teacher { rows.teacher_labeled_rows } else { 0 };
    if rows.labeled_rows + learned == 0 {
        refusals.add(pointer, "missing_labels", format!("no row of {id} has a \"label\" to score against"));
    }
    let strangers = Strangers { task: wanted.task, source: LabelSource::GroundTruth };
    check_labels(state, refusals, pointer, &file, &strangers).await?;
    Ok(Some(file))
}
