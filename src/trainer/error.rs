//! Why a training gave up, and what a job says of it.

use std::io;
use std::path::PathBuf;

use super::snapshot::SnapshotError;
use crate::device::DeviceError;
use crate::domain::{JobError, out_of_memory};
use crate::student::StudentError;
use crate::student::unigram::UnigramError;

/// Why a training gave up.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The spec or its rows cannot be learned from; the same attempt would end the same way.
    #[error("{}: {}", .0.code, .0.message)]
    Refused(JobError),
    /// A file of the attempt's folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The student's files are broken or do not fit each other.
    #[error(transparent)]
    Student(#[from] StudentError),
    /// The tokenizer of a student from scratch.
    #[error(transparent)]
    Tokenizer(#[from] UnigramError),
    /// The snapshot to continue from cannot be believed, or not be read at the moment.
    #[error("the snapshot cannot be continued from: {0}")]
    Snapshot(#[from] SnapshotError),
    /// The device is not there, or libtorch gave up on it.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Loss or gradients stayed infinite or not a number.
    #[error("the loss was not finite for {steps} steps in a row, at step {step}")]
    NonFinite {
        /// The last of these steps.
        step: i64,
        /// How many there were.
        steps: u32,
    },
}

impl TrainError {
    /// What the job shows.
    pub fn job_error(&self) -> JobError {
        let error = |code: &str| JobError::new(code, self.to_string());
        match self {
            Self::Refused(refusal) => refusal.clone(),
            Self::File { .. } => error("attempt_file"),
            // The worker forgets a snapshot that is unusable: a good one must not be called so.
            Self::Snapshot(snapshot) if snapshot.is_passing() => error("attempt_file"),
            Self::Student(_) => error("student_unusable"),
            Self::Tokenizer(UnigramError::TooSmall { .. }) => {
                error("vocabulary_too_small").with_hint("raise from_scratch.vocabulary_size")
            }
            Self::Tokenizer(_) => error("tokenizer_training"),
            Self::Snapshot(_) => error(JobError::SNAPSHOT_UNUSABLE),
            Self::Device(DeviceError::OutOfMemory { .. }) => {
                error(JobError::OUT_OF_MEMORY).with_hint(out_of_memory::HINT)
            }
            Self::Device(_) => error("device_failed"),
            Self::NonFinite { .. } => {
                error("non_finite_loss").with_hint("lower learning_rate, or lengthen warmup_steps")
            }
        }
    }

    /// Whether another attempt could do better: training is deterministic, so only where the machine was at fault.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Device(DeviceError::OutOfMemory { .. }) => false,
            Self::File { .. } | Self::Device(_) | Self::Snapshot(_) => true,
            _ => false,
        }
    }

    pub(super) fn refused(code: &str, message: impl Into<String>, hint: &str) -> Self {
        Self::Refused(JobError::new(code, message).with_hint(hint))
    }

    pub(super) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_given_up_for_what_is_wrong_with_it_and_not_for_trouble_of_the_machine() {
        let code = |error: io::Error| {
            let error = TrainError::from(SnapshotError::file("snapshot-7/parameters.safetensors")(error));
            assert!(error.is_retryable());
            error.job_error().code
        };
        for passing in [libc::EMFILE, libc::ENFILE, libc::EIO, libc::ENOMEM, libc::EACCES] {
            assert_eq!(code(io::Error::from_raw_os_error(passing)), "attempt_file", "{passing}");
        }
        for lasting in [libc::ENOENT, libc::EISDIR, libc::ENOTDIR] {
            assert_eq!(code(io::Error::from_raw_os_error(lasting)), JobError::SNAPSHOT_UNUSABLE, "{lasting}");
        }
        let damaged = TrainError::from(SnapshotError::damaged("snapshot-7/snapshot.json", "is cut off"));
        assert_eq!(damaged.job_error().code, JobError::SNAPSHOT_UNUSABLE);
    }
}
