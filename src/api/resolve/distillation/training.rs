//! The training rows of a distillation: each source is there, and holds what the method and the label source need.

use super::{
    data::Wanted,
    learnable::{self, ReadFile},
    request::Training,
};
use crate::{
    api::{
        ProjectState,
        error::ApiError,
        resolve::{
            Refusals,
            file::{refuse_without_rows, usable_for},
            strangers::{self, Found, Strangers},
            submission::parent,
        },
        shapes::OneOrMany,
    },
    domain::{
        FileId, FileRows, Job, JobId, JobSpec, JobState, JobWarning, LabelSource, Method, RationaleFilter, Split,
        TrainingSource,
    },
};

const MAX_SOURCES: usize = 64;

/// The training rows as a worker reads them.
#[derive(Debug, Default)]
pub struct Sources {
    /// Where they come from.
    pub sources: Vec<TrainingSource>,
    /// Annotation jobs that are not over.
    pub waits_for: Vec<JobId>,
    /// What the user should know of them.
    pub warnings: Vec<JobWarning>,
}

/// Training sources, checked.
pub async fn training(
    state: &ProjectState,
    refusals: &mut Refusals,
    wanted: &Wanted<'_>,
    training: OneOrMany<Training>,
) -> Result<Sources, ApiError> {
    let given = training.with_pointers("#/training");
    refusals.require((1..=MAX_SOURCES).contains(&given.len()), "#/training", || {
        format!("{} training sources; send 1 to {MAX_SOURCES}", given.len())
    });
    let (mut found, mut read) = (Sources::default(), Vec::new());
    for (pointer, source) in given.into_iter().take(MAX_SOURCES) {
        match (source.file, source.annotation_job) {
            (Some(id), None) => {
                let pointer = format!("{pointer}/file");
                read.extend(check_training_file(state, refusals, wanted, &pointer, id).await?);
                found.sources.push(TrainingSource::File(id));
            }
            (None, Some(id)) => {
                let pointer = format!("{pointer}/annotation_job");
                if let Some(annotated) = check_annotation(state, refusals, wanted, &pointer, id).await? {
                    found.waits_for.extend((!annotated.is_over).then_some(id));
                    read.extend(annotated.read);
                }
                found.sources.push(TrainingSource::AnnotationJob(id));
            }
            _ => refusals.add(pointer, "invalid_value", "send either {\"file\": …} or {\"annotation_job\": …}"),
        }
    }
    found.warnings = learnable::check(refusals, wanted, &read);
    Ok(found)
}

async fn check_training_file(
    state: &ProjectState,
    refusals: &mut Refusals,
    wanted: &Wanted<'_>,
    pointer: &str,
    id: FileId,
) -> Result<Option<ReadFile>, ApiError> {
    let splits = &[Split::Train];
    let Some((file, rows)) = usable_for(state, refusals, pointer, id, splits).await? else { return Ok(None) };
    let labeled = rows.labeled_by(wanted.label_source);
    if labeled == 0 {
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
        refusals.add(pointer, code, format!("no training row of {id} has a {field:?}; {advice}"));
    }
    if wanted.method != Method::Standard && rows.with_rationale == 0 {
        let detail = format!(
            "no training row of {id} has a \"rationale\", which {} learns; annotate it first, or use \"method\": \"standard\"",
            wanted.method.as_str()
        );
        refusals.add(pointer, "missing_rationales", detail);
    }
    let is_whole = labeled > 0 && (wanted.method == Method::Standard || rows.with_rationale > 0);
    if is_whole {
        check_filter(refusals, wanted, pointer, id, &rows);
    }
    let look_for = Strangers { task: wanted.task, source: wanted.label_source, splits };
    let strangers = strangers::count(state, refusals, pointer, &file, &look_for).await?;
    Ok(is_whole.then(|| ReadFile::of(rows, wanted, pointer, id, strangers)))
}

/// What tells a right rationale from a wrong one is that both labels are there.
fn check_filter(refusals: &mut Refusals, wanted: &Wanted<'_>, pointer: &str, id: FileId, rows: &FileRows) {
    if wanted.filter == RationaleFilter::None {
        return;
    }
    let lacking = match (rows.labeled, rows.teacher_labeled) {
        (0, _) => ("missing_labels", "label"),
        (_, 0) => ("missing_teacher_labels", "teacher_label"),
        _ => return,
    };
    let (code, field) = lacking;
    let detail = format!(
        "no training row of {id} has a {field:?}, and rationales.filter compares \"label\" with \"teacher_label\"; \
         add it, or leave the filter out"
    );
    refusals.add(pointer, code, detail);
}

/// The rows that an annotation gives or will give.
struct Annotated {
    /// What is known of them; none where they were refused.
    read: Option<ReadFile>,
    is_over: bool,
}

async fn check_annotation(
    state: &ProjectState,
    refusals: &mut Refusals,
    wanted: &Wanted<'_>,
    pointer: &str,
    id: JobId,
) -> Result<Option<Annotated>, ApiError> {
    let Some(job) = parent(state, refusals, pointer, id).await? else { return Ok(None) };
    let JobSpec::Annotation(spec) = &job.spec else {
        refusals.add(pointer, "invalid_value", format!("{id} is not an annotation job but of kind {}", job.kind()));
        return Ok(None);
    };
    if job.state != JobState::Succeeded {
        let read = check_annotated_file(state, refusals, wanted, pointer, spec.file).await?;
        return Ok(Some(Annotated { read, is_over: false }));
    }
    let Some(file) = output_of(state, refusals, pointer, &job).await? else { return Ok(None) };
    let read = check_training_file(state, refusals, wanted, pointer, file).await?;
    Ok(Some(Annotated { read, is_over: true }))
}

/// An annotation keeps its rows' ground truth and splits, so what it cannot give is known before it is over. A row that it
/// is yet to answer counts as answered.
async fn check_annotated_file(
    state: &ProjectState,
    refusals: &mut Refusals,
    wanted: &Wanted<'_>,
    pointer: &str,
    id: FileId,
) -> Result<Option<ReadFile>, ApiError> {
    let splits = &[Split::Train];
    let Some(file) = state.store.file(state.project, id).await? else { return Ok(None) };
    let rows = file.validation.rows_of(splits);
    if rows.rows == 0 {
        refuse_without_rows(refusals, pointer, id, splits);
        return Ok(None);
    }
    if wanted.label_source == LabelSource::GroundTruth && rows.labeled == 0 {
        let detail = format!(
            "no training row of {id} has a \"label\"; the teacher's are learned with \"label_source\": \"teacher\""
        );
        refusals.add(pointer, "missing_labels", detail);
        return Ok(None);
    }
    let answered = FileRows { teacher_labeled: rows.rows, with_rationale: rows.rows, ..rows };
    check_filter(refusals, wanted, pointer, id, &answered);
    Ok(Some(ReadFile::of(answered, wanted, pointer, id, Found::default())))
}

/// What an annotation has left is a file like any other, and may have been deleted like any other.
async fn output_of(
    state: &ProjectState,
    refusals: &mut Refusals,
    pointer: &str,
    job: &Job,
) -> Result<Option<FileId>, ApiError> {
    let Some(output) = job.output_file() else {
        refusals.add(pointer, "file_not_found", format!("{} left no output file; annotate its file again", job.id));
        return Ok(None);
    };
    if state.store.file(state.project, output).await?.is_none() {
        let detail = format!("{output}, which {} wrote, was deleted; annotate its file again", job.id);
        refusals.add(pointer, "file_not_found", detail);
        return Ok(None);
    }
    Ok(Some(output))
}
