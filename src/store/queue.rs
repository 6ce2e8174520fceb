//! The queue: how workers hold jobs.
//!
//! ```text
//!            claim                      finish, finish_with_files, finish_distillation
//! queued ───────────▶ running ─────────────────────────────────────────▶ succeeded
//!   ▲                 │  │ │  fail, not to be retried; reap, three losses
//!   │  fail, release, │  │ └──────────────────────────────────────────▶ failed
//!   └─────────────────┤  │  cancelled; fail, release, reap after a request
//!      reap           │  └───────────────────────────────────────────▶ cancelled
//!                     │     fail, release, reap after a request; pause_running
//!                     └──────────────────────────────────────────────▶ paused
//! ```
//!
//! What people ask for moves the rest ([`Store::pause_job`], [`Store::resume_job`], [`Store::retry_job`],
//! [`Store::cancel_job`]): queued to paused and back, failed or cancelled to queued, and to cancelled from both of the
//! waiting states. A request about a running job is a timestamp that the worker's next beat brings back.
//!
//! A claim gives a *lease*: the job's id and the epoch that the claim counted up. The worker renews it with [`Store::beat`]
//! and carries it in every write. Each write is one statement, or a transaction that holds the row, and changes it only while
//! it is running under that epoch, so a worker that was taken for dead can do no harm when it comes back: it gets
//! [`StoreError::LeaseLost`], stops and throws its work away. The attempt's number would not do: a draining worker takes it down
//! again.
//!
//! What fails, and what happens then:
//! - *A worker dies.* Its lease expires and `Store::reap` requeues the job. Three losses without progress beyond what
//!   an earlier attempt had reached: the job kills its workers, and fails with `poison`.
//! - *The database goes away.* Nobody can renew, and nobody can reap either. A worker stops on its own clock before its
//!   lease could expire ([`LeaseTerms::self_fence`]); when the database is back, whoever is first wins.
//! - *A cancel meets a finish.* A cancel of a running job is a timestamp, not a state: whichever of finish and the
//!   acknowledgment is committed first stands. A worker that does not answer within a minute loses the job.
//! - *A pause meets another end.* It is a request as well, the weakest of all: a finish and a failure for good beat it,
//!   a cancel withdraws it, and every other way of letting the job go ends in `paused` instead of `queued`.
//! - *A statement's answer is lost on the way.* The worker repeats it. If it had been carried out and had ended the hold,
//!   the second one says that the lease is lost, which stops the worker as it should. Under a hold that goes on, what was
//!   written stays as it is: answers, snapshots, checkpoints, figures and warnings are there once. Only an event that
//!   stands alone may be there twice.
//!
//! A model of all this stands in `tests/it/protocol`, where it is checked in every order and compared with these statements: a change
//! here is a change there.
//!
//! Claims skip rows that others have locked, so workers do not wait for one another. Each change of state writes its
//! event in the same statement, and a trigger signals `stepwise_jobs`; listening makes it fast, polling makes it right.

mod claim;
mod end;
mod finish;

pub use claim::{Beat, Request};

#[cfg(doc)]
use super::{Store, StoreError};
#[cfg(doc)]
use crate::domain::LeaseTerms;
