//! Pulls jobs and works on them: claims a lease, keeps it alive, does the work and settles it. It does all SQL of an
//! attempt and never calls the API.
//!
//! ```text
//! lane ── claim ──▶ attempt ─┬─ beat every few seconds (its answer says: cancelled? paused? lost?)
//!   ▲                        └─ annotate | distill | evaluate ──▶ finish, at once and fenced by the lease epoch
//!   └── a NOTIFY or the poll wakes it
//! reaper ── jobs whose lease ran out go back to the queue
//! help   ── annotations that another worker leads, a chunk of the file after the other (`store::hands`)
//! ends   ── annotations that failed or were cancelled get their files and result all the same
//! sweep  ── files of deleted models go, and files whose time is over, and what killed processes left
//! ```
//! A worker that is asked to end drains, and so does the attempt at a job that is paused: a training writes a snapshot, an
//! annotation waits for the answers that are on their way, an evaluation begins anew later; then the job is let go. A
//! worker that dies says nothing: its lease runs out and the reaper of any process requeues the job. A worker that
//! cannot reach Postgres stops its attempts on its own clock before anybody else can hold them.

mod annotate;
mod annotation_ends;
mod annotation_files;
mod attempt;
mod attempt_error;
mod attempt_folder;
mod checkpoints;
mod child;
mod distill;
mod evaluate;
mod help;
mod hold;
mod hub;
mod inputs;
mod lanes;
mod leftovers;
mod lineage;
mod models;
mod orphans;
mod output_file;
mod pace_rows;
mod snapshots;
mod step_metrics;
mod supervise;
mod sweep;
mod tally;
mod unusable;

use std::{path::PathBuf, sync::Arc, time::Duration};

pub use annotation_ends::write_end_once;
pub use attempt::Attempt;
pub use attempt_error::AttemptError;
pub use help::help_once;
pub use hold::{Hold, Stop};
pub use lanes::{reap_once, run, work_once};
pub use leftovers::{Found, Leftover, Places, find_leftovers, remove_leftovers};
pub use pace_rows::PaceRows;
pub use sweep::sweep_once;
use tokio::sync::Notify;

use crate::{
    artifacts::Artifacts,
    clock::Clock,
    domain::{JobKind, LeaseTerms, WorkerId},
    inference::Engine,
    registry::Registry,
    store::Store,
    teacher::TeacherClient,
};

/// What a worker works with; one a process.
pub struct Worker {
    /// This process, as the owner of leases.
    pub id: WorkerId,
    /// Jobs and what belongs to them.
    pub store: Store,
    /// The same database through connections of its own, so that a beat never waits behind the work's own writes.
    pub beat_store: Store,
    /// Inputs and results.
    pub artifacts: Artifacts,
    /// Models by name.
    pub registry: Registry,
    /// Answers evaluations.
    pub engine: Engine,
    /// Whom annotations may ask.
    pub teachers: Vec<TeacherClient>,
    /// Kinds of jobs to take.
    pub kinds: Vec<JobKind>,
    /// Where attempts have their folders.
    pub scratch: PathBuf,
    /// The program whose `train` command runs an attempt.
    pub program: PathBuf,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Processor threads of a training.
    pub threads: usize,
    /// How leases are held.
    pub terms: LeaseTerms,
    /// How long a process that is asked to end may keep on, so that what was done is not lost.
    pub drain_for: Duration,
    /// Time between looks into the queue when nothing wakes the worker.
    pub poll: Duration,
    /// Time and ids.
    pub clock: Clock,
    /// Rung when something about a job changed.
    pub wake: Arc<Notify>,
}
