//! The rows that a distillation is judged by: each source is there, and holds what answers are compared with.

use super::request::{TestRows, ValidationRows};
use crate::{
    api::{
        ProjectState,
        error::ApiError,
        resolve::{
            Refusals,
            file::usable_for,
            strangers::{self, Strangers},
        },
    },
    domain::{FileId, LabelSource, Method, RationaleFilter, Split, TaskDefinition, Validating},
};

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
    /// Which rationales are kept out.
    pub filter: RationaleFilter,
    /// The largest share of rows that may be useless.
    pub max_dropped_ratio: f64,
}

/// Validation rows, checked.
pub async fn validation(
    state: &ProjectState,
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
    state: &ProjectState,
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
    state: &ProjectState,
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
    let look_for = Strangers { task: wanted.task, source: LabelSource::GroundTruth, splits };
    strangers::refuse(state, refusals, pointer, &file, &look_for).await
}
