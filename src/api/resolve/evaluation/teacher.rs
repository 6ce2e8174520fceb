//! The teacher's stored answers that models are compared with.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    api::{
        ProjectState,
        error::ApiError,
        resolve::{Refusals, submission::parent},
    },
    domain::{FileRows, JobId, JobKind, JobState, TeacherAnswers},
};

const POINTER: &str = "#/teacher/annotation_job";

/// Where a teacher's answers are.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TeacherSource {
    /// An annotation job of the same inputs. Its valid answers belong to the rows of the same input.
    #[schema(value_type = String, example = "job-0199f3c2a5b87e4d9c1f2a3b4c5d6e7f")]
    annotation_job: JobId,
}

/// The answers as a worker will find them.
#[derive(Debug, Default)]
pub struct Teacher {
    /// Where they are.
    pub answers: Option<TeacherAnswers>,
    /// The annotation job, if it is not over.
    pub waits_for: Option<JobId>,
}

/// The answers that the request names; without a name the file's own, where the evaluated rows have any.
pub async fn check(
    state: &ProjectState,
    refusals: &mut Refusals,
    given: Option<TeacherSource>,
    rows: &FileRows,
) -> Result<Teacher, ApiError> {
    let Some(TeacherSource { annotation_job: id }) = given else {
        let has_answers = rows.teacher_labeled > 0;
        return Ok(Teacher { answers: has_answers.then_some(TeacherAnswers::File), waits_for: None });
    };
    let Some(job) = parent(state, refusals, POINTER, id).await? else { return Ok(Teacher::default()) };
    if job.kind() != JobKind::Annotation {
        let detail = format!("{id} is not an annotation job but of kind {}", job.kind());
        refusals.add(POINTER, "invalid_value", detail);
    }
    let waits_for = (job.state != JobState::Succeeded).then_some(id);
    Ok(Teacher { answers: Some(TeacherAnswers::AnnotationJob(id)), waits_for })
}
