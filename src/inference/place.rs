//! One student's place in memory.

use std::sync::{Arc, OnceLock};

use super::{InferenceError, ModelFiles};

/// A student's way through memory; see the head of `shelf`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Wanted,
    Loading,
    Ready,
    Leaving,
    Going,
}

/// A student that has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loaded {
    pub bytes: u64,
    pub reads: Reads,
}

/// What a student reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reads {
    /// Tokens of an input, at most.
    pub longest: usize,
    /// Bytes that come before every input.
    pub prefix: usize,
}

/// Why a load failed, for all who waited for it.
pub(super) type Failed = Arc<OnceLock<InferenceError>>;

/// One student in memory, or on its way there.
#[derive(Debug)]
pub(super) struct Place {
    pub model: Arc<ModelFiles>,
    pub bytes: u64,
    pub reads: Reads,
    pub stage: Stage,
    /// Those who wait for it.
    pub askers: usize,
    /// Calls whose questions it answers.
    pub uses: usize,
    /// Whether it was used since it was loaded: one that is waited for is not put away before that.
    pub used: bool,
    /// When it was used last, by the shelf's own count.
    pub last_use: u64,
    pub is_pinned: bool,
    /// Whether its files are gone.
    pub is_forgotten: bool,
    pub failed: Failed,
}

impl Place {
    /// One that somebody is about to wait for.
    pub fn wanted(model: &Arc<ModelFiles>, bytes: u64) -> Self {
        Self {
            model: Arc::clone(model),
            bytes,
            reads: Reads::default(),
            stage: Stage::Wanted,
            askers: 0,
            uses: 0,
            used: false,
            last_use: 0,
            is_pinned: false,
            is_forgotten: false,
            failed: Failed::default(),
        }
    }
}
