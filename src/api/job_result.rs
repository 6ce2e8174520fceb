//! The forms of a job's result, for the document: the result itself is stored and shown as its worker wrote it.

use std::borrow::Cow;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Ref, RefOr, Schema,
        schema::{AnyOfBuilder, ObjectBuilder},
    },
};

use crate::domain::{DistillationResult, Evaluation};

/// What a succeeded job found. A job that an earlier version finished may lack members that came later, so that no form
/// excludes the others.
pub struct JobResult;

impl PartialSchema for JobResult {
    fn schema() -> RefOr<Schema> {
        let annotation = ObjectBuilder::new().description(Some(
            "An annotation's: examples by status, the teacher's accuracy, agreement, calls, tokens, cost, and the files that it wrote",
        ));
        AnyOfBuilder::new()
            .description(Some(
                "What a succeeded job found: a distillation has a `DistillationResult`, an evaluation an `Evaluation`",
            ))
            .item(Ref::from_schema_name(DistillationResult::name()))
            .item(Ref::from_schema_name(Evaluation::name()))
            .item(annotation)
            .into()
    }
}

impl ToSchema for JobResult {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("JobResult")
    }
}
