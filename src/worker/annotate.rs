//! An annotation: ask the teacher about every example that has no verdict yet, and commit each verdict as it comes.
//!
//! ```text
//! questions ──▶ verdict ──▶ sample (k of them) ──▶ call ──▶ teacher
//! the file, a    their vote   an answer,              reuse, turn, begin, send, settle
//! part at a time              perhaps its repair           │
//!                                                    ledger ──▶ writer ──▶ one transaction for all that waits
//! ```
//! A restart asks again only for what the ledger has no answer for. A 429 waits and never counts as a try; a teacher that
//! answers nobody fails the attempt, whose job then comes back later with everything settled so far.

mod asking;
mod call;
mod ledger;
mod pause;
mod questions;
mod sample;
mod verdict;
mod writer;

use std::{future, ops::Range};

use futures::StreamExt;
use serde_json::json;

use self::{
    asking::{Asked, Asking},
    ledger::Ledger,
    writer::Writer,
};
use super::{Attempt, AttemptError, Worker, annotation_files, inputs, tally::Tally};
use crate::{
    domain::{Allowance, AnnotationSpec, AnnotationStatus, File, JobError, Smoke, Tokens},
    store::{EventLevel, NewEvent},
    teacher::TeacherClient,
};

/// Examples in hand for each call that may be under way: while one waits for its verdict to be committed, another asks.
const EXAMPLES_PER_CALL: usize = 2;

/// Annotates the file of `spec` and finishes the job with its output and rejection files.
pub async fn annotate(worker: &Worker, attempt: &Attempt, spec: &AnnotationSpec) -> Result<(), AttemptError> {
    let file = inputs::file(worker, attempt.job.project_id, spec.file).await?;
    let teacher = worker.teachers.iter().find(|teacher| teacher.name() == spec.teacher).ok_or_else(|| {
        let message = format!("this worker's configuration has no teacher {:?}", spec.teacher);
        AttemptError::passing(JobError::new("teacher_unknown", message))
    })?;
    let end = spec.max_examples.unwrap_or(u64::MAX).min(file.validation.valid_rows);
    let (_, lost_calls, reserved) = attempt.persist(|| attempt.store().open_ledger(attempt.lease)).await?;
    tell_of_unknown(attempt, lost_calls, reserved).await?;
    let tally = Tally::begin(attempt.hold(), teacher.prices(), end.try_into().unwrap_or(i64::MAX)).await?;
    let asked = ask(worker, attempt, spec, &file, teacher, end).await;
    tally.close().await?;
    asked?;
    attempt.check()?;
    annotation_files::finish(worker, attempt, spec, &file).await
}

/// Asks about all examples before that place, with a writer for the ledger beside it.
async fn ask(
    worker: &Worker,
    attempt: &Attempt,
    spec: &AnnotationSpec,
    file: &File,
    teacher: &TeacherClient,
    end: u64,
) -> Result<(), AttemptError> {
    let (ledger, inbox) = Ledger::open();
    let allowance = Allowance { budget: spec.budget.unwrap_or_default(), prices: teacher.prices() };
    let writer = tokio::spawn(Writer::new(attempt.hold().clone(), allowance, inbox).run());
    let asking = Asking::new(attempt, spec, teacher, ledger);
    // Whatever ended it is kept in `asking`.
    drop(ask_in_order(worker, &asking, file, end).await);
    let asked = asking.finish();
    let written = writer.await.map_err(|error| AttemptError::passing(JobError::new("internal", error.to_string())))?;
    written.and(asked)
}

/// The first rows first, where they must turn out well before the rest.
async fn ask_in_order(worker: &Worker, asking: &Asking<'_>, file: &File, end: u64) -> Asked<()> {
    if let Some(smoke) = asking.spec.smoke {
        smoke_first(worker, asking, file, smoke, end).await?;
    }
    ask_about(worker, asking, file, 0..end).await
}

async fn smoke_first(worker: &Worker, asking: &Asking<'_>, file: &File, smoke: Smoke, end: u64) -> Asked<()> {
    let (attempt, store) = (asking.attempt, asking.attempt.store());
    let ended = |error| asking.end(error);
    if attempt.persist(|| store.is_smoke_judged(attempt.job.id)).await.map_err(ended)? {
        return Ok(());
    }
    let rows = smoke.rows.min(end);
    ask_about(worker, asking, file, 0..rows).await?;
    let place = i64::try_from(rows).unwrap_or(i64::MAX);
    let report = attempt.persist(|| store.smoke_report(attempt.job.id, place)).await.map_err(ended)?;
    let valid = u64::try_from(report.of(AnnotationStatus::Valid)).unwrap_or_default();
    if valid < smoke.min_valid {
        return Err(asking.end(pause::failed_smoke(smoke, &report)));
    }
    attempt.persist(|| store.pass_smoke(attempt.lease)).await.map_err(ended)
}

/// Asks about the examples at these places. When that must end no more questions begin; those that are out are waited for,
/// since each is paid for.
async fn ask_about(worker: &Worker, asking: &Asking<'_>, file: &File, places: Range<u64>) -> Asked<()> {
    let width = EXAMPLES_PER_CALL * asking.teacher.max_concurrency();
    questions::unsettled(worker, asking.attempt, file, places)
        .take_until(asking.until_ended())
        .map(|question| async {
            let question = question.map_err(|error| asking.end(error))?;
            asking.annotate(question).await
        })
        .buffer_unordered(width)
        .for_each(|_: Asked<()>| future::ready(()))
        .await;
    asking.check()
}

/// Says what a worker that died has left in doubt.
async fn tell_of_unknown(attempt: &Attempt, calls: i64, reserved: Tokens) -> Result<(), AttemptError> {
    if calls == 0 {
        return Ok(());
    }
    let message = format!(
        "{calls} calls were under way when the attempt before this one was lost: whether they were done and paid for is not \
         known; they are asked again under the same Idempotency-Key"
    );
    let data = json!({"calls": calls, "input_tokens": reserved.input, "output_tokens": reserved.output});
    attempt.tell(NewEvent { level: EventLevel::Warn, code: "calls_unknown".to_owned(), message, data }).await
}
