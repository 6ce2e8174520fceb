//! The same steps in the model and in PostgreSQL: after each, both say the same of every row.

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use stepwise::{
    domain::{JobError, JobId, JobKind, Lease, PauseReason, Progress, TrainingSource},
    store::{Beat, EventLevel, NewEvent, NewJob, Request, Store, StoreError},
};

use super::{
    job::{Cancel, Fence, Job, State, Write},
    system::{Action, JOBS, Limits, Protocol, System, WORKERS, Worker},
};
use crate::support::{
    database::TestDatabase,
    seed::{annotation_of, distillation_of, long_terms, new_job, new_worker},
};

const WALKS: u64 = 40;
const STEPS: usize = 80;
const MAX_ATTEMPTS: u8 = 3;

/// What must have come up in some walk, or they have shown little.
const SEEN: &[&str] = &[
    "claim",
    "accepted",
    "refused",
    "beat",
    "lost",
    "queued by the reaper",
    "paused by the reaper",
    "cancelled by the reaper",
    "failed by the reaper",
    "forced",
    "orphan",
    "cancel",
    "pause",
    "resume",
    "retry",
];

#[tokio::test]
async fn the_store_moves_jobs_as_the_model_does() {
    let mut seen = BTreeSet::new();
    for seed in 0..WALKS {
        let mut walk = Walk::new(seed).await;
        for _ in 0..STEPS {
            walk.step().await;
        }
        seen.append(&mut walk.seen);
    }
    let missing: Vec<_> = SEEN.iter().filter(|what| !seen.contains(*what)).collect();
    assert!(missing.is_empty(), "no walk came to {missing:?}, only to {seen:?}");
}

struct Walk {
    seed: u64,
    random: ChaCha8Rng,
    protocol: Protocol,
    model: System,
    db: TestDatabase,
    jobs: [JobId; JOBS],
    leases: [Option<Lease>; WORKERS],
    path: Vec<Action>,
    seen: BTreeSet<&'static str>,
}

impl Walk {
    async fn new(seed: u64) -> Self {
        let db = TestDatabase::new().await;
        let file = db.file().await;
        let first = new_job(annotation_of(file.id));
        let second = NewJob { depends_on: vec![first.id], ..new_job(distillation_of(TrainingSource::File(file.id))) };
        let jobs = [first.id, second.id];
        for job in [first, second] {
            db.store.create_job(&NewJob { max_attempts: i32::from(MAX_ATTEMPTS), ..job }).await.unwrap();
        }
        let protocol = Protocol {
            fence: Fence::Epoch,
            flaw: None,
            child_waits: true,
            limits: Limits { releases: 99, retries: 99, steps: 99, hangs: 0 },
            jobs: [Job::new(MAX_ATTEMPTS); JOBS],
        };
        let (model, random) = (protocol.begin(), ChaCha8Rng::seed_from_u64(seed));
        let (leases, path, seen) = ([None; WORKERS], Vec::new(), BTreeSet::new());
        Self { seed, random, protocol, model, db, jobs, leases, path, seen }
    }

    async fn step(&mut self) {
        let action = self.choose();
        self.path.push(action);
        let before = self.model;
        self.model = match action {
            // The store looks at all jobs at once.
            Action::Reap { .. } => {
                (0..JOBS).fold(before, |model, job| self.protocol.apply(&model, Action::Reap { job }))
            }
            action => self.protocol.apply(&before, action),
        };
        self.act(&before, action).await;
        for job in 0..JOBS {
            let (expected, actual) = (Row::of(&self.model.jobs[job]), self.read(job).await);
            assert_eq!(actual, expected, "job {job} after {:?} of seed {}", self.path, self.seed);
        }
    }

    /// Mostly what leads on: a cancel ends a job, and a pause keeps everybody from it.
    fn choose(&mut self) -> Action {
        let mut actions = Vec::new();
        self.protocol.actions_of(&self.model, &mut actions);
        loop {
            let action = actions[self.random.random_range(0..actions.len())];
            let is_rare = match action {
                Action::Cancel { .. } | Action::Pause { .. } | Action::Write { write: Write::FailForGood, .. } => true,
                Action::Write { .. } | Action::Beat { .. } => false,
                action => self.protocol.apply(&self.model, action) == self.model,
            };
            if !is_rare || self.random.random_range(0..10) == 0 {
                return action;
            }
        }
    }

    async fn act(&mut self, before: &System, action: Action) {
        let (store, project) = (self.db.store.clone(), Store::default_project());
        match action {
            Action::Claim { worker, job, is_heard } => {
                let kind = [JobKind::Annotation, JobKind::Distillation][job];
                let (claimed, lease) = store.claim(new_worker(), &[kind], &long_terms()).await.unwrap().unwrap();
                assert_eq!((claimed.id, lease.epoch), (self.jobs[job], i64::from(self.model.jobs[job].epoch)));
                if is_heard {
                    self.leases[worker] = Some(lease);
                }
                self.seen.insert("claim");
            }
            Action::Beat { worker } => self.beat(before, worker).await,
            Action::Write { worker, write, .. } => self.write(before, worker, write).await,
            Action::Reap { .. } => self.reap(before).await,
            Action::FailOrphan { job } => {
                let failed = store.fail_orphans().await.unwrap();
                let fails = self.model.jobs[job] != before.jobs[job];
                assert_eq!(failed, if fails { vec![self.jobs[job]] } else { Vec::new() });
                self.saw(fails, "orphan");
            }
            Action::Expire { job } => self.db.expire(self.jobs[job]).await,
            Action::BecomeDue { job } => self.db.make_due(self.jobs[job]).await,
            Action::BecomeOverdue { job } => {
                self.db.set(self.jobs[job], "cancel_requested_at = clock_timestamp() - interval '61 seconds'").await;
            }
            Action::Cancel { job } => {
                store.cancel_job(project, self.jobs[job]).await.unwrap().unwrap();
                self.saw(self.model != *before, "cancel");
            }
            Action::Pause { job } => {
                store.pause_job(project, self.jobs[job]).await.unwrap().unwrap();
                self.saw(self.model != *before, "pause");
            }
            Action::Resume { job } => {
                store.resume_job(project, self.jobs[job], None).await.unwrap().unwrap();
                self.saw(self.model != *before, "resume");
            }
            Action::Retry { job } => {
                store.retry_job(project, self.jobs[job]).await.unwrap().unwrap();
                self.saw(self.model.jobs != before.jobs, "retry");
            }
            Action::Die { .. } | Action::Hang { .. } => {}
        }
        for worker in 0..WORKERS {
            if self.model.workers[worker] == Worker::Idle {
                self.leases[worker] = None;
            }
        }
        self.put_off().await;
    }

    async fn beat(&mut self, before: &System, worker: usize) {
        let lease = self.leases[worker].unwrap();
        let beats = self.db.store.beat(&[lease], &long_terms()).await.unwrap();
        let is_held = self.model.workers[worker] != Worker::Idle;
        let row = before.jobs[usize::from(lease.job_id == self.jobs[1])];
        let requested = match (row.cancel, row.pause_is_asked) {
            (Cancel::No, false) => None,
            (Cancel::No, true) => Some(Request::Pause),
            _ => Some(Request::Cancel),
        };
        assert_eq!(beats, if is_held { vec![Beat { lease, requested }] } else { Vec::new() }, "{:?}", self.path);
        self.seen.insert(if is_held { "beat" } else { "lost" });
    }

    async fn write(&mut self, before: &System, worker: usize, write: Write) {
        let lease = self.leases[worker].unwrap();
        let store = &self.db.store;
        let error = JobError::new("broken", "it broke");
        let job = usize::from(lease.job_id == self.jobs[1]);
        let result = match write {
            Write::Progress => {
                let step = i64::from(before.jobs[job].step) + 1;
                store.progress(lease, Progress { step, total: 99 }).await
            }
            Write::Finish => store.finish(lease, &json!({})).await,
            Write::Fail => store.fail(lease, &error, true).await.map(drop),
            Write::FailForGood => store.fail(lease, &error, false).await.map(drop),
            Write::Release => store.release(lease).await.map(drop),
            Write::Pause => store.pause_running(lease, PauseReason::Disk, &event()).await.map(drop),
            Write::AcknowledgeCancel => store.cancelled(lease).await,
        };
        let is_accepted = self.model.jobs != before.jobs;
        match result {
            Ok(()) => assert!(is_accepted, "accepted: {:?}", self.path),
            Err(StoreError::LeaseLost(lost)) if lost == lease => assert!(!is_accepted, "refused: {:?}", self.path),
            Err(error) => panic!("{error} after {:?}", self.path),
        }
        self.seen.insert(if is_accepted { "accepted" } else { "refused" });
    }

    async fn reap(&mut self, before: &System) {
        let mut reaped = self.db.store.reap(10).await.unwrap();
        reaped.sort_by_key(|(id, _)| id.0);
        let moved: Vec<usize> = (0..JOBS).filter(|job| self.model.jobs[*job] != before.jobs[*job]).collect();
        let expected: Vec<JobId> = moved.iter().map(|job| self.jobs[*job]).collect();
        assert_eq!(reaped.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), expected, "{:?}", self.path);
        for job in moved {
            self.saw(self.model.jobs[job].epoch > before.jobs[job].epoch, "forced");
            self.seen.insert(match self.model.jobs[job].state {
                State::Queued => "queued by the reaper",
                State::Paused => "paused by the reaper",
                State::Cancelled => "cancelled by the reaper",
                _ => "failed by the reaper",
            });
        }
    }

    fn saw(&mut self, is_so: bool, what: &'static str) {
        if is_so {
            self.seen.insert(what);
        }
    }

    /// What waits for a later try waits until this walk says so, however slow the machine is.
    async fn put_off(&self) {
        let put_off =
            "update jobs set run_at = run_at + interval '1 hour' where state = 'queued' and run_at > clock_timestamp()";
        sqlx::query(put_off).execute(&self.db.pool).await.unwrap();
    }

    async fn read(&self, job: usize) -> Row {
        let row = "select state, lease_epoch, attempt, lost_count, coalesce(progress_step, 0), step_at_loss,
                cancel_requested_at is not null, pause_requested_at is not null, run_at <= clock_timestamp(),
                coalesce(lease_expires_at < clock_timestamp(), false)
            from jobs where id = $1";
        Row(sqlx::query_as(row).bind(self.jobs[job].0).fetch_one(&self.db.pool).await.unwrap())
    }
}

/// State, epoch, attempt, losses, step, step at the last loss; whether a cancel and a pause are asked for, it is due, its lease
/// has expired.
#[derive(Debug, PartialEq)]
struct Row((String, i64, i32, i32, i64, i64, bool, bool, bool, bool));

impl Row {
    fn of(job: &Job) -> Self {
        let state = format!("{:?}", job.state).to_lowercase();
        let counts = (i64::from(job.epoch), i32::from(job.attempt), i32::from(job.lost_count));
        let steps = (i64::from(job.step), i64::from(job.step_at_loss));
        let is_cancelled = job.cancel != Cancel::No;
        Self((
            state,
            counts.0,
            counts.1,
            counts.2,
            steps.0,
            steps.1,
            is_cancelled,
            job.pause_is_asked,
            job.is_due,
            job.lease_has_expired,
        ))
    }
}

fn event() -> NewEvent {
    NewEvent { level: EventLevel::Warn, code: "disk".into(), message: "full".into(), data: json!({}) }
}
