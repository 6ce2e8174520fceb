//! An annotation job.

use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Metadata, Refusals, Submission, file,
    strangers::{self, Strangers},
    task,
};
use crate::{
    api::{AppState, error::ApiError, extract::nearest, shapes::NameOr},
    domain::{AnnotationSpec, AnswerForm, FileId, JobId, JobSpec, LabelSource, Split, TaskDefinition},
    store::NewJob,
};

/// Tokens of an answer when the request does not say: the longest of the paper's rationales fit twice.
const DEFAULT_OUTPUT_TOKENS: u32 = 512;
const MAX_OUTPUT_TOKENS: u32 = 16_384;

/// Ask a teacher about every example of a file.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnnotationJobRequest {
    /// The examples.
    file: FileId,
    /// A teacher's name in the configuration.
    teacher: String,
    /// A task's name, or its definition; default `text`.
    task: Option<NameOr<TaskDefinition>>,
    /// Only the first so many examples.
    max_examples: Option<u64>,
    /// The teacher's sampling temperature, 0 to 2; default 0.
    temperature: Option<f64>,
    /// Tokens an answer may have; default 512.
    max_output_tokens: Option<u32>,
    /// How the teacher writes its reasoning and its label; default `rationale_then_label`.
    answer_form: Option<AnswerForm>,
    /// Higher runs sooner; default 0.
    priority: Option<i32>,
    /// Your own labels: at most 16 texts.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Metadata>,
    /// Jobs that must succeed first.
    depends_on: Option<Vec<JobId>>,
}

/// The job to store, or everything that is wrong with the request.
pub async fn resolve(state: &AppState, request: AnnotationJobRequest) -> Result<NewJob, ApiError> {
    let mut refusals = Refusals::default();
    let submission =
        Submission { priority: request.priority, metadata: request.metadata, depends_on: request.depends_on };
    submission.check(state, &mut refusals).await?;
    let task = task::resolve(state, &mut refusals, request.task);
    check_teacher(state, &mut refusals, &request.teacher);
    let temperature = request.temperature.unwrap_or_default();
    refusals.require((0.0..=2.0).contains(&temperature), "#/temperature", || {
        format!("temperature is {temperature}; send 0 to 2")
    });
    let max_output_tokens = request.max_output_tokens.unwrap_or(DEFAULT_OUTPUT_TOKENS);
    refusals.require((1..=MAX_OUTPUT_TOKENS).contains(&max_output_tokens), "#/max_output_tokens", || {
        format!("max_output_tokens is {max_output_tokens}; send 1 to {MAX_OUTPUT_TOKENS}")
    });
    refusals.require(request.max_examples != Some(0), "#/max_examples", || "max_examples is 0; send 1 or more".into());
    if let Some(file) = file::usable(state, &mut refusals, "#/file", request.file).await? {
        let look_for = Strangers { task: &task, source: LabelSource::GroundTruth, splits: &Split::ALL };
        strangers::refuse(state, &mut refusals, "#/file", &file, &look_for).await?;
    }
    refusals.finish()?;
    let spec = AnnotationSpec {
        file: request.file,
        teacher: request.teacher,
        task,
        max_examples: request.max_examples,
        temperature,
        max_output_tokens,
        answer_form: request.answer_form.unwrap_or_default(),
    };
    Ok(submission.into_job(state, JobSpec::Annotation(spec), Vec::new()))
}

fn check_teacher(state: &AppState, refusals: &mut Refusals, name: &str) {
    let known = &state.teachers;
    if known.iter().any(|known| known.name == name) {
        return;
    }
    let advice = if known.is_empty() {
        "; no teacher is configured: add [[teachers]] to the configuration".to_owned()
    } else {
        nearest(name, known.iter().map(|known| known.name.as_str()))
    };
    refusals.add("#/teacher", "teacher_not_found", format!("there is no teacher {name:?}{advice}"));
}
