//! What an annotation has found so far, seen from afar.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    ProjectState,
    error::ApiError,
    extract::{Id, Nothing, Query},
    job_conflict::JobConflict,
    job_resource::find,
    openapi::OfKind,
};
use crate::domain::{AnnotationReport, JobId, JobSpec, JobState};

/// A report on an annotation, as far as it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JobReport)]
pub struct ReportResource {
    /// Always `annotation_report`.
    object: ReportObject,
    /// The job.
    job: JobId,
    /// Where the job stands: while it is not over, the report is of what is settled so far.
    state: JobState,
    /// Examples that it is to settle, once it has said so.
    #[schema(required = true, example = 1000)]
    examples: Option<i64>,
    /// What it has found.
    #[serde(flatten)]
    report: AnnotationReport,
}

/// The one value of a report's `object`.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportObject {
    /// It is a report.
    AnnotationReport,
}

/// What an annotation has found so far: counts, accuracy, agreement, labels, lengths, latencies, calls, tokens, cost, what is
/// wrong with the rationales, and the ten worst cases with what is bad about them.
///
/// In any state of the job, and while it runs. The database adds up, which takes some seconds for a million rows: a report that took
/// long is given again, for nine times as long as it took and a minute at most, while the job goes on. The core of the last report
/// stands in the job's `result`. A job of another kind is refused with 409 `not_an_annotation`.
#[utoipa::path(get, path = "/v1/jobs/{id}/report", tag = "jobs", params(("id" = JobId, Path, description = "The job")),
    responses((status = 200, description = "The report", body = ReportResource), OfKind))]
pub async fn get_job_report(
    state: ProjectState,
    id: Id<JobId>,
    _: Query<Nothing>,
) -> Result<axum::Json<ReportResource>, ApiError> {
    let job = find(&state, id).await?;
    let JobSpec::Annotation(spec) = &job.spec else {
        return Err(JobConflict::NotAnAnnotation { job: job.id, kind: job.kind() }.into());
    };
    let prices = state.teachers.iter().find(|teacher| teacher.name == spec.teacher).map(|teacher| teacher.prices());
    Ok(axum::Json(ReportResource {
        object: ReportObject::AnnotationReport,
        job: job.id,
        state: job.state,
        examples: job.progress.map(|progress| progress.total),
        report: state.reports.of(&state.store, job.id, spec, prices).await?,
    }))
}
