//! Why there is no answer.

use crate::device::DeviceError;

/// Why the engine does not answer. It can be copied because one failed batch fails each of its requests.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InferenceError {
    /// As many requests as may wait are waiting: try again later.
    #[error("the inference engine is busy: as many inputs as it may hold are waiting")]
    Overloaded {
        /// In how many seconds what waits now is answered, at the pace of late.
        seconds: u64,
    },
    /// The request waited as long as it may, and nothing was computed for it.
    #[error("the input waited as long as it may, and its work had not begun")]
    Expired,
    /// The model's files cannot be used; other models can.
    #[error("the model's files cannot be used: {reason}")]
    ModelBroken {
        /// The file or tensor at fault.
        reason: String,
    },
    /// The copy of a registered model on this machine is not what was published. It was thrown away, to be fetched anew.
    #[error("this machine's copy of the model was damaged, and is thrown away: {reason}")]
    ModelDamaged {
        /// The file at fault.
        reason: String,
    },
    /// The model's files on this machine could not be read just now. They stay: nothing is known against them.
    #[error("the model's files on this machine could not be read: {reason}")]
    ModelUnreadable {
        /// The file, and what the operating system said.
        reason: String,
    },
    /// There is not as much memory for models as this one needs, whatever else leaves.
    #[error("{}", no_room(*.bytes, *.most, *.pinned, *.count))]
    ModelTooLarge {
        /// Bytes that it needs.
        bytes: u64,
        /// Bytes that models may have together.
        most: u64,
        /// Bytes of pinned models, which stay.
        pinned: u64,
        /// Models that may be in memory.
        count: usize,
    },
    /// The input is longer than the model reads.
    #[error("the input has {tokens} tokens, end token included; the model reads {most}")]
    TooLong {
        /// Tokens of the input.
        tokens: usize,
        /// Tokens that the model reads.
        most: usize,
    },
    /// A label to choose from is longer than a model weighs.
    #[error(
        "the label {label:?}… has {tokens} tokens of the model, end token included; it weighs labels of {most} at most"
    )]
    LabelTooLong {
        /// Its place in the set, from 0.
        index: usize,
        /// How it begins.
        label: String,
        /// Its tokens.
        tokens: usize,
        /// Tokens that a label may have.
        most: usize,
    },
    /// A token id that the model does not have.
    #[error("the model has no token {id}; its ids are 0 to {}", vocabulary - 1)]
    UnknownToken {
        /// The id.
        id: i64,
        /// How many ids there are.
        vocabulary: i64,
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

fn no_room(bytes: u64, most: u64, pinned: u64, count: usize) -> String {
    let beside = if pinned > 0 { format!(", of which pinned ones have {pinned}") } else { String::new() };
    if most == u64::MAX || pinned + bytes <= most {
        return format!("all {count} models that may be in memory are pinned (max_models, pinned)");
    }
    format!("the model takes {bytes} bytes of memory, and models may have {most} (max_model_bytes){beside}")
}

impl InferenceError {
    /// Weights with a NaN answer NaN; that is no answer.
    pub(super) fn no_numbers() -> Self {
        Self::ModelBroken { reason: "its scores are not numbers; were its weights damaged in training?".to_owned() }
    }
}
