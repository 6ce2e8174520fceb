//! An evaluation job.

mod models;
mod teacher;

use serde::Deserialize;
use utoipa::ToSchema;

use models::Known;
pub use teacher::TeacherSource;

use super::{
    Metadata, Refusals, Submission, file,
    strangers::{self, Strangers},
    task, warn_of_leakage,
};
use crate::{
    api::{ProjectState, error::ApiError, shapes::NameOr},
    domain::{EvaluationSpec, File, FileId, FileRows, JobId, JobSpec, LabelSource, Split, TaskDefinition},
    store::NewJob,
};

/// Score models on the rows of one file.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EvaluationJobRequest {
    /// The rows; only those with ground truth count.
    #[schema(value_type = String, example = "file-0199f3c2a5b87e4d9c1f2a3b4c5d6e7f")]
    file: FileId,
    /// 1 to 16 names of models, ids of the Hugging Face Hub among them, or ids of distillation jobs, which must succeed first. No
    /// model twice.
    #[schema(example = json!(["desk", "job-0199f3c2a5b87e4d9c1f2a3b4c5d6e80"]))]
    models: Vec<String>,
    /// Where the teacher's answers to the same rows are; default: the `teacher_label`s of the file's own rows, where it
    /// has any. Rows without a valid answer count as wrong.
    teacher: Option<TeacherSource>,
    /// A task's name or its definition, by which every subject is scored; default: the first model's own. Needed where that
    /// is a model of the Hugging Face Hub that is not on this machine.
    task: Option<NameOr<TaskDefinition>>,
    /// Only the first so many of the rows that are not kept for training.
    #[schema(example = 1000)]
    max_examples: Option<u64>,
    /// Higher runs sooner; default 0.
    #[schema(example = 0)]
    priority: Option<i32>,
    /// Your own labels: at most 16 texts.
    #[schema(value_type = Option<Object>, example = json!({"team": "returns"}))]
    metadata: Option<Metadata>,
    /// Jobs that must succeed first.
    #[schema(example = json!([]))]
    depends_on: Option<Vec<JobId>>,
}

/// The job to store, or everything that is wrong with the request.
pub async fn resolve(state: &ProjectState, request: EvaluationJobRequest) -> Result<NewJob, ApiError> {
    let mut refusals = Refusals::default();
    let submission =
        Submission { priority: request.priority, metadata: request.metadata, depends_on: request.depends_on };
    submission.check(state, &mut refusals).await?;
    refusals.require(request.max_examples != Some(0), "#/max_examples", || "max_examples is 0; send 1 or more".into());
    let file = check_file(state, &mut refusals, request.file).await?;
    let models = models::check(state, &mut refusals, &request.models).await?;
    let task = match (request.task, models.task) {
        (Some(task), _) => task::resolve(state, &mut refusals, Some(task)),
        (None, Known::Task(task)) => task,
        (None, Known::AfterDownload(id)) => {
            let detail = format!("{id} is not on this machine, so its task is not known; send \"task\"");
            refusals.add("#/task", "missing_field", detail);
            TaskDefinition::default()
        }
        (None, Known::Refused) => TaskDefinition::default(),
    };
    if let Some((file, _)) = &file {
        let look_for = Strangers { task: &task, source: LabelSource::GroundTruth, splits: &Split::EVALUATED };
        strangers::refuse(state, &mut refusals, "#/file", file, &look_for).await?;
    }
    let rows = file.map(|(_, rows)| rows).unwrap_or_default();
    let teacher = teacher::check(state, &mut refusals, request.teacher, &rows).await?;
    refusals.finish()?;
    let spec = EvaluationSpec {
        file: request.file,
        models: models.names,
        targets: models.targets,
        teacher: teacher.answers,
        task,
        max_examples: request.max_examples,
    };
    let implied = models.waits_for.into_iter().chain(teacher.waits_for).collect();
    let job = models.pins.onto(submission.into_job(state, JobSpec::Evaluation(spec), implied));
    Ok(warn_of_leakage(state, job).await)
}

async fn check_file(
    state: &ProjectState,
    refusals: &mut Refusals,
    id: FileId,
) -> Result<Option<(File, FileRows)>, ApiError> {
    let found = file::usable_for(state, refusals, "#/file", id, &Split::EVALUATED).await?;
    if found.as_ref().is_some_and(|(_, rows)| rows.labeled == 0) {
        let advice = "upload rows with ground truth: {\"input\": …, \"label\": …}";
        let detail = format!("no evaluated row of {id} has a \"label\" to score against; {advice}");
        refusals.add("#/file", "missing_labels", detail);
    }
    Ok(found)
}
