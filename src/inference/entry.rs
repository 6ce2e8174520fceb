//! One student's entry in the books of memory.

use std::sync::{Arc, OnceLock};

use super::metrics::ModelMetrics;
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

/// What a student takes and reads. It is known before its weights are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Measure {
    /// Bytes of its weights in memory.
    pub bytes: u64,
    /// Tokens of an input, at most.
    pub longest: usize,
    /// Bytes that come before every input.
    pub prefix: usize,
}

/// Why a load failed, for all who waited for it.
pub(super) type LoadFailure = Arc<OnceLock<InferenceError>>;

/// What whoever uses a student holds of it.
#[derive(Debug, Clone)]
pub(super) struct Lent {
    pub model: Arc<ModelFiles>,
    /// Looked up once a load, and not at each request.
    pub metrics: Arc<ModelMetrics>,
}

/// One student in memory, or on its way there.
#[derive(Debug)]
pub(super) struct Entry {
    pub model: Arc<ModelFiles>,
    pub measure: Measure,
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
    /// None before it is loaded.
    pub metrics: Option<Arc<ModelMetrics>>,
    pub failure: LoadFailure,
}

impl Entry {
    /// One that somebody is about to wait for.
    pub fn wanted(model: &ModelFiles, measure: Measure) -> Self {
        Self {
            model: Arc::new(model.clone()),
            measure,
            stage: Stage::Wanted,
            askers: 0,
            uses: 0,
            used: false,
            last_use: 0,
            is_pinned: false,
            is_forgotten: false,
            metrics: None,
            failure: LoadFailure::default(),
        }
    }
    /// Whether it is in memory.
    pub fn is_held(&self) -> bool {
        ![Stage::Wanted, Stage::Loading].contains(&self.stage)
    }
}
