//! An annotation: ask the teacher about every example that has no verdict yet, and commit each verdict as it comes.
//!
//! ```text
//! questions ──▶ verdict ──▶ sample (k of them) ──▶ call ──▶ teacher
//! the file, a    their vote   an answer,              reuse, near, begin, turn, send, settle
//! part at a time              perhaps its repair           │
//!                                                    ledger ──▶ writer ──▶ one transaction for all that waits
//! ```
//! A restart asks again only for what the ledger has no answer for. A 429 waits and never counts as a try; a teacher that
//! answers nobody fails the attempt, whose job then comes back later with everything settled so far.

mod asking;
mod call;
mod chunks;
mod judgment;
mod ledger;
mod patience;
mod pause;
mod plan;
mod questions;
mod sample;
mod verdict;
mod writer;

use std::{future, ops::Range, sync::atomic::AtomicBool, time::Duration};

use futures::StreamExt;

use self::{
    asking::{Asked, Asking, Part},
    chunks::Until,
    ledger::Ledger,
    patience::Patience,
    writer::Writer,
};
use super::{Attempt, AttemptError, Stop, Worker, annotation_files, inputs, tally::Tally};
use crate::{
    domain::{Allowance, AnnotationSpec, AnnotationStatus, File, Hand, JobError, Smoke},
    teacher::TeacherClient,
};

/// Examples in hand for each call that may be under way: while one waits for its verdict to be committed, another asks.
const EXAMPLES_PER_CALL: usize = 2;
/// Time between two looks for what other workers have yet to do.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Hands that one look takes away, at most.
const REAPED: u32 = 100;

/// What is asked, and whom.
struct Work<'a> {
    spec: &'a AnnotationSpec,
    file: File,
    teacher: &'a TeacherClient,
    /// The place after that of the last example.
    end: u64,
}

/// Leads the annotation of the file of `spec` and finishes the job with its output and rejection files.
pub async fn annotate(worker: &Worker, attempt: &Attempt, spec: &AnnotationSpec) -> Result<(), AttemptError> {
    let work = Work::of(worker, attempt, spec).await?;
    attempt.persist(|| attempt.store().open_ledger(attempt.lease)).await?;
    let prices = work.teacher.prices();
    let tally = Tally::begin(attempt.held(), prices, work.end.try_into().unwrap_or(i64::MAX)).await?;
    let hand = attempt.persist(|| attempt.store().take_hand(attempt.lease, worker.id, worker.terms.duration)).await?;
    let asked = ask(worker, &attempt.with_hand(worker, hand), hand, Part::Leads(attempt), &work).await;
    // A cancel waits for the others too, who stop at once; a drain only for as long as it may.
    match attempt.stopped() {
        Some(stop) if stop.is_gentle() => attempt.in_time(until_alone(attempt)).await?,
        _ => until_alone(attempt).await?,
    }
    tally.close().await?;
    asked.map_err(|error| if_held(attempt, error))?;
    attempt.check()?;
    annotation_files::finish(worker, attempt, spec, &work.file).await
}

/// A leader that was held up so long that its hand was taken away, and that has the job all the same, gives it back at once.
fn if_held(attempt: &Attempt, error: AttemptError) -> AttemptError {
    match error {
        AttemptError::Stopped(Stop::Lost) if attempt.stopped() != Some(Stop::Lost) => {
            AttemptError::Stopped(Stop::Draining)
        }
        error => error,
    }
}

/// Lends a hand in an annotation that another worker leads, until it has no open chunk or is to stop.
pub async fn help(worker: &Worker, attempt: &Attempt, hand: Hand, spec: &AnnotationSpec) -> Result<(), AttemptError> {
    let work = Work::of(worker, attempt, spec).await?;
    ask(worker, attempt, hand, Part::Helps, &work).await
}

impl<'a> Work<'a> {
    async fn of(worker: &'a Worker, attempt: &Attempt, spec: &'a AnnotationSpec) -> Result<Self, AttemptError> {
        let file = inputs::file(worker, attempt.job.project_id, spec.file).await?;
        let teacher = worker.teachers.iter().find(|teacher| teacher.name() == spec.teacher).ok_or_else(|| {
            let message = format!("this worker's configuration has no teacher {:?}", spec.teacher);
            AttemptError::passing(JobError::new("teacher_unknown", message))
        })?;
        let is_limited_in_dollars = spec.budget.is_some_and(|budget| budget.max_usd.is_some());
        if is_limited_in_dollars && !teacher.prices().are_known() {
            let message = format!(
                "this worker's configuration has no prices for the teacher {:?}, so that no limit in dollars would ever be \
                 reached; name them in `[[teachers]]`",
                spec.teacher
            );
            return Err(AttemptError::passing(JobError::new("teacher_misconfigured", message)));
        }
        let end = spec.max_examples.unwrap_or(u64::MAX).min(file.validation.valid_rows);
        Ok(Self { spec, file, teacher, end })
    }
}

/// Lets all hands end before the job is let go: no verdict comes after its end. A hand that does not end expires.
async fn until_alone(attempt: &Attempt) -> Result<(), AttemptError> {
    let (store, job) = (attempt.store(), attempt.job.id);
    attempt.persist(|| store.close_ledger(attempt.lease)).await?;
    while attempt.persist(|| store.has_hands(job)).await? && attempt.stopped() != Some(Stop::Lost) {
        attempt.persist(|| store.reap_hands(REAPED)).await?;
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// Asks under a hand, with a writer for the ledger beside it, which ends the hand.
async fn ask(
    worker: &Worker,
    attempt: &Attempt,
    hand: Hand,
    part: Part<'_>,
    work: &Work<'_>,
) -> Result<(), AttemptError> {
    let (ledger, inbox) = Ledger::open();
    let sums = attempt.persist(|| attempt.store().annotation_sums(attempt.job.id)).await?;
    let patience = Patience::new(sums.answered_calls.try_into().unwrap_or_default());
    let asking = Asking::new(attempt, (hand, part), work.spec, work.teacher, ledger, patience);
    let allowance = Allowance { budget: work.spec.budget.unwrap_or_default(), prices: work.teacher.prices() };
    let writer = Writer::new(attempt.held().clone(), hand, allowance, inbox, asking.ended());
    let writer = tokio::spawn(writer.run());
    // Whatever ended it is kept in `asking`.
    drop(match part {
        Part::Leads(leader) => lead(worker, leader, &asking, work).await,
        Part::Helps => chunks::ask(worker, &asking, &work.file, Until::NoneIsOpen).await,
    });
    let asked = asking.finish();
    let written = writer.await.map_err(|error| AttemptError::passing(JobError::new("internal", error.to_string())))?;
    written.and(asked)
}

/// The first rows first, where they must turn out well before the rest. Then the leader plans, and asks beside the others.
async fn lead(worker: &Worker, leader: &Attempt, asking: &Asking<'_>, work: &Work<'_>) -> Asked<()> {
    if let Some(smoke) = work.spec.smoke {
        smoke_first(worker, asking, &work.file, smoke, work.end).await?;
    }
    let planned = AtomicBool::new(false);
    let end = work.end.try_into().unwrap_or(i64::MAX);
    let planning = async {
        let plan = plan::plan(worker, leader, &work.file, end, &planned);
        asking.unless_ended(plan).await?.map_err(|error| asking.end(error))
    };
    let (asked, planning) =
        tokio::join!(chunks::ask(worker, asking, &work.file, Until::AllIsSettled(&planned)), planning);
    planning.and(asked)
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
