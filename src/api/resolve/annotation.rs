//! An annotation job.

mod terms;

pub(in crate::api) use terms::check_budget;

use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Metadata, Refusals, Submission, file,
    strangers::{self, Strangers},
    task,
};
use crate::{
    api::{ProjectState, error::ApiError, extract::nearest, shapes::NameOr},
    domain::{
        AnnotationSpec, AnswerForm, Budget, FileId, JobId, JobSpec, LabelSource, RationaleKeeping, Smoke, Split,
        TaskDefinition,
    },
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
    /// The teacher's sampling temperature, 0 to 2; default 0, and 0.7 for several samples, which at 0 would be all alike.
    temperature: Option<f64>,
    /// Tokens an answer may have; default 512.
    max_output_tokens: Option<u32>,
    /// How the teacher writes its reasoning and its label; default `rationale_then_label`.
    answer_form: Option<AnswerForm>,
    /// How often each example is asked about, 1 to 40; default 1. The label of most samples is the teacher's, of equally many
    /// the one that the earliest sample gave; `agreement` is its share of all samples.
    #[schema(example = 5)]
    samples: Option<u32>,
    /// Whether an answer that cannot be read is asked for once more, with what was wrong with it; default true.
    #[schema(example = true)]
    repair: Option<bool>,
    /// Which rationales are kept of an example with ground truth; default `all`, those that argue for the teacher's label. With
    /// `correct_only` and `rationalize` they argue for the example's `label`, which may be another than its `teacher_label`:
    /// learn them with `label_source: ground_truth`.
    #[schema(example = "correct_only")]
    rationales: Option<RationaleKeeping>,
    /// Whether answers to equal requests (teacher, model, parameters, messages, number of the sample) are taken from the
    /// ledger, also of other jobs, instead of being paid for again; default true.
    #[schema(example = true)]
    reuse: Option<bool>,
    /// What the job may cost. Each call's worst case is reserved before it is sent; where the next one has no room the job is
    /// paused with the reason `budget`, and a resume may bring a larger one.
    budget: Option<Budget>,
    /// How many rows are asked about first, and how many of them must be valid: with fewer the job is paused with the reason
    /// `smoke` and a report in its events, before the rest is paid for.
    smoke: Option<Smoke>,
    /// Higher runs sooner; default 0.
    priority: Option<i32>,
    /// Your own labels: at most 16 texts.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Metadata>,
    /// Jobs that must succeed first.
    depends_on: Option<Vec<JobId>>,
}

/// The job to store, or everything that is wrong with the request.
pub async fn resolve(state: &ProjectState, mut request: AnnotationJobRequest) -> Result<NewJob, ApiError> {
    let mut refusals = Refusals::default();
    let (metadata, depends_on) = (request.metadata.take(), request.depends_on.take());
    let submission = Submission { priority: request.priority, metadata, depends_on };
    submission.check(state, &mut refusals).await?;
    let answer_form = request.answer_form.unwrap_or_default();
    let task = task::to_be_answered(state, &mut refusals, request.task.take(), answer_form);
    check_teacher(state, &mut refusals, &request.teacher);
    let temperature = terms::temperature(&mut refusals, &request);
    terms::check(state, &mut refusals, &request);
    let max_output_tokens = request.max_output_tokens.unwrap_or(DEFAULT_OUTPUT_TOKENS);
    refusals.require((1..=MAX_OUTPUT_TOKENS).contains(&max_output_tokens), "#/max_output_tokens", || {
        format!("max_output_tokens is {max_output_tokens}; send 1 to {MAX_OUTPUT_TOKENS}")
    });
    refusals.require(request.max_examples != Some(0), "#/max_examples", || "max_examples is 0; send 1 or more".into());
    if let Some(file) = file::usable(state, &mut refusals, "#/file", request.file).await? {
        terms::check_rows(&mut refusals, &request, &file);
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
        answer_form,
        samples: request.samples.unwrap_or(1),
        repair: request.repair.unwrap_or(true),
        rationales: request.rationales.unwrap_or_default(),
        reuse: request.reuse.unwrap_or(true),
        budget: request.budget,
        smoke: request.smoke,
    };
    Ok(submission.into_job(state, JobSpec::Annotation(spec), Vec::new()))
}

fn check_teacher(state: &ProjectState, refusals: &mut Refusals, name: &str) {
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
