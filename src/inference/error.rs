//! Why there is no answer.

use crate::device::DeviceError;

/// Why the engine does not answer. It can be copied because one failed batch fails each of its requests.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InferenceError {
    /// As many requests as may wait are waiting: try again later.
    #[error("the inference engine is busy: as many inputs as it may hold are waiting")]
    Overloaded,
    /// The model's files cannot be used; other models can.
    #[error("the model's files cannot be used: {reason}")]
    ModelBroken {
        /// The file or tensor at fault.
        reason: String,
    },
    /// The device failed at this batch; the engine goes on.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The engine's thread has ended.
    #[error("the inference engine has stopped")]
    Stopped,
    /// The engine's thread could not be started.
    #[error("the inference engine could not start: {0}")]
    Start(String),
}
