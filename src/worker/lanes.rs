//! The worker's loops. Annotations wait for a teacher, trainings and evaluations for the device: they have lanes of
//! their own, so that neither holds up the other.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::{FutureExt, future::join_all};
use tokio::task::JoinHandle;

use super::{
    Attempt, AttemptError, Stop, Worker, annotate, annotation_ends, distill, evaluate, help, snapshots, sweep,
};
use crate::{
    domain::{Job, JobError, JobKind, JobSpec, Lease},
    leakage::Leakage,
    shutdown::Shutdown,
    store::{JobListener, Store, StoreError},
    teacher::TeacherClient,
    telemetry::chain,
};

/// Annotations that one process runs side by side; each has its teacher's concurrency besides.
const ANNOTATION_LANES: usize = 4;
/// Jobs looked at in one sweep of the reaper.
const REAP_LIMIT: u32 = 100;
/// Idempotency keys forgotten in one statement, and such statements in one sweep.
const KEYS: u32 = 1000;
const KEY_BATCHES: u32 = 20;
const REAP_EVERY: Duration = Duration::from_secs(5);

/// Works until shutdown, then drains: attempts stop, and their jobs go back to the queue without losing an attempt.
pub async fn run(worker: Arc<Worker>, database_url: &str, shutdown: &Shutdown) {
    let takes = |kind: &JobKind| worker.kinds.contains(kind);
    let device: Vec<_> = [JobKind::Distillation, JobKind::Evaluation].into_iter().filter(takes).collect();
    let mut lanes = Vec::new();
    if !device.is_empty() {
        lanes.push(tokio::spawn(lane(Arc::clone(&worker), device, shutdown.clone())));
    }
    if takes(&JobKind::Annotation) {
        for _ in 0..ANNOTATION_LANES {
            lanes.push(tokio::spawn(lane(Arc::clone(&worker), vec![JobKind::Annotation], shutdown.clone())));
        }
    }
    let ends =
        takes(&JobKind::Annotation).then(|| tokio::spawn(annotation_ends::run(Arc::clone(&worker), shutdown.clone())));
    let helper = takes(&JobKind::Annotation).then(|| tokio::spawn(help::run(Arc::clone(&worker), shutdown.clone())));
    let listener = tokio::spawn(listen(Arc::clone(&worker), database_url.to_owned(), shutdown.clone()));
    let reaper = tokio::spawn(reap(Arc::clone(&worker), shutdown.clone()));
    let sweeper = tokio::spawn(sweep::run(Arc::clone(&worker), shutdown.clone()));
    lanes.extend(helper);
    join_all(lanes).await;
    join_all(worker.teachers.iter().map(TeacherClient::leave)).await;
    // Half-written files get no row, and another worker begins anew.
    ends.iter().for_each(JoinHandle::abort);
    reaper.abort();
    sweeper.abort();
    listener.abort();
}

/// One look into the queue and, when there was a job, the whole attempt. Returns whether there was one.
pub async fn work_once(worker: &Arc<Worker>, kinds: &[JobKind], shutdown: &Shutdown) -> Result<bool, StoreError> {
    let Some((job, lease)) = worker.store.claim(worker.id, kinds, &worker.terms).await? else {
        return Ok(false);
    };
    attempt(worker, job, lease, shutdown).await;
    Ok(true)
}

/// One sweep: jobs whose lease ran out, cancels that nobody acknowledged, children of failed jobs; then what finished
/// jobs leave to be compared, snapshots that nobody needs, and idempotency keys that are a week old.
pub async fn reap_once(worker: &Worker) -> Result<(), StoreError> {
    for (job, state) in worker.store.reap(REAP_LIMIT).await? {
        tracing::warn!(%job, %state, "took a job from a worker that no longer renews its lease");
    }
    for (hand, calls) in worker.store.reap_hands(REAP_LIMIT).await? {
        tracing::warn!(job = %hand.job_id, hand = hand.epoch, calls, "took a hand away that nobody renews");
    }
    worker.store.fail_orphans().await?;
    worker.store.compare_estimates(REAP_LIMIT).await?;
    forget_keys(&worker.store).await?;
    snapshots::remove_of_succeeded(worker).await
}

/// Keys go faster than any service can be asked for new ones, yet not all in one sweep after a long silence.
async fn forget_keys(store: &Store) -> Result<(), StoreError> {
    for _ in 0..KEY_BATCHES {
        if store.forget_keys(KEYS).await? < u64::from(KEYS) {
            break;
        }
    }
    Ok(())
}

async fn lane(worker: Arc<Worker>, kinds: Vec<JobKind>, shutdown: Shutdown) {
    let mut outage = Outage::default();
    while !shutdown.is_cancelled() {
        match work_once(&worker, &kinds, &shutdown).await {
            Ok(true) => continue,
            Ok(false) => outage.over(),
            Err(error) => outage.report("cannot look into the queue", &error),
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = worker.wake.notified() => {}
            () = tokio::time::sleep(jittered(worker.poll)) => {}
        }
    }
}

async fn attempt(worker: &Arc<Worker>, job: Job, lease: Lease, shutdown: &Shutdown) {
    let (id, kind, number) = (job.id, job.kind(), job.attempt);
    tracing::info!(job = %id, %kind, attempt = number, "attempt begins");
    let attempt = Attempt::begin(worker, job, lease, shutdown);
    // What the work has in hand is dropped with it: nothing half-changed is looked at afterwards.
    let outcome = AssertUnwindSafe(work(worker, &attempt)).catch_unwind().await.unwrap_or_else(panicked);
    match &outcome {
        Ok(()) => tracing::info!(job = %id, "attempt succeeded"),
        Err(AttemptError::Stopped(stop)) => tracing::info!(job = %id, ?stop, "attempt stopped"),
        Err(AttemptError::Paused { reason, .. }) => tracing::info!(job = %id, reason = reason.as_str(), "job paused"),
        Err(AttemptError::Failed { error, retryable }) => {
            tracing::warn!(job = %id, %error, retryable, "attempt failed")
        }
    }
    let succeeded = outcome.is_ok();
    if let Err(error) = settle(&attempt, outcome).await {
        // The lease runs out and the reaper takes the job: nothing is lost but time.
        tracing::warn!(job = %id, ?error, "the attempt's end could not be written");
    }
    drop(attempt);
    // So that whoever waited for the end sees it at once; what fails here, the next sweep does.
    if succeeded && let Err(error) = worker.store.compare_estimates(REAP_LIMIT).await {
        tracing::debug!(job = %id, %error, "the estimate is compared later");
    }
}

/// A fault of this program costs the attempt. Were the lane to end with it, no job of its kinds would ever run again.
fn panicked(panic: Box<dyn Any + Send>) -> Result<(), AttemptError> {
    let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let message = format!("the worker panicked: {}", words.unwrap_or("without words"));
    Err(AttemptError::passing(JobError::new("internal", message)))
}

async fn work(worker: &Worker, attempt: &Attempt) -> Result<(), AttemptError> {
    attempt.unless_stopped(warn_of_leakage(worker, attempt)).await?;
    match &attempt.job.spec {
        JobSpec::Annotation(spec) => annotate::annotate(worker, attempt, spec).await,
        JobSpec::Distillation(spec) => distill::distill(worker, attempt, spec).await,
        JobSpec::Evaluation(spec) => evaluate::evaluate(worker, attempt, spec).await,
    }
}

/// Compares the job's rows again where some were not there yet when it was submitted.
async fn warn_of_leakage(worker: &Worker, attempt: &Attempt) -> Result<(), AttemptError> {
    let job = &attempt.job;
    if job.depends_on.is_empty() {
        return Ok(());
    }
    let (store, artifacts, registry) = (&worker.store, &worker.artifacts, &worker.registry);
    let leakage = Leakage { store, artifacts, registry, project: job.project_id };
    match leakage.warnings(&job.spec).await {
        Err(error) => tracing::warn!(job = %job.id, error = %chain(&error), "the job's rows could not be compared"),
        Ok(warnings) => {
            for warning in &warnings {
                attempt.persist(|| attempt.store().warn(attempt.lease, warning)).await?;
            }
        }
    }
    Ok(())
}

async fn settle(attempt: &Attempt, outcome: Result<(), AttemptError>) -> Result<(), AttemptError> {
    let (store, lease) = (attempt.store(), attempt.lease);
    match outcome {
        Ok(()) | Err(AttemptError::Stopped(Stop::Lost)) => Ok(()),
        Err(AttemptError::Stopped(Stop::Cancelled)) => attempt.persist(|| store.cancelled(lease)).await,
        // The row says what is still wanted: a pause may have been withdrawn meanwhile, a cancel may have come.
        Err(AttemptError::Stopped(Stop::Paused | Stop::Draining)) => {
            attempt.persist(|| store.release(lease)).await.map(drop)
        }
        Err(AttemptError::Paused { reason, event }) => {
            attempt.persist(|| store.pause_running(lease, reason, &event)).await.map(drop)
        }
        Err(AttemptError::Failed { error, retryable }) => {
            attempt.persist(|| store.fail(lease, &error, retryable)).await.map(|_| ())
        }
    }
}

async fn reap(worker: Arc<Worker>, shutdown: Shutdown) {
    let mut outage = Outage::default();
    while !shutdown.is_cancelled() {
        match reap_once(&worker).await {
            Ok(()) => outage.over(),
            Err(error) => outage.report("cannot look for lost jobs", &error),
        }
        tokio::time::sleep(jittered(REAP_EVERY)).await;
    }
}

/// Turns notifications into wake-ups. They only save time: the poll finds every job without them.
async fn listen(worker: Arc<Worker>, database_url: String, shutdown: Shutdown) {
    while !shutdown.is_cancelled() {
        match JobListener::connect(&database_url).await {
            Ok(mut listener) => loop {
                listener.wait(worker.poll).await;
                worker.wake.notify_waiters();
            },
            // The poll goes on meanwhile.
            Err(_) => tokio::time::sleep(jittered(worker.poll)).await,
        }
    }
}

/// Half to one and a half times the duration, so that many workers do not look at the same moment.
fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(rand::random_range(0.5..1.5))
}

/// Says once that the database is away, and once that it is back.
#[derive(Default)]
struct Outage(bool);

impl Outage {
    fn report(&mut self, what: &str, error: &StoreError) {
        if !std::mem::replace(&mut self.0, true) {
            tracing::warn!(%error, "{what}; trying on");
        }
    }

    fn over(&mut self) {
        if std::mem::take(&mut self.0) {
            tracing::info!("the database answers again");
        }
    }
}
