//! How an engine is set up.

use std::time::Duration;

use crate::domain::ServingPrecision;

/// How an engine computes and how much it takes on.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Processor threads of one tensor operation.
    pub threads: usize,
    /// Arithmetic.
    pub precision: ServingPrecision,
    /// Inputs that may wait or be answered at once; past it, `Overloaded`.
    pub max_waiting: usize,
    /// Their tokens, counted as one a byte of text and as no more than their model reads; past it, `Overloaded`.
    pub max_waiting_tokens: usize,
    /// How long an input may wait for its work to begin; after it, `Expired`.
    pub max_queue_time: Duration,
    /// Inputs computed at once.
    pub max_batch: usize,
    /// Models kept in memory; past it, the least recently used one goes.
    pub max_models: usize,
    /// Bytes that they may take; past it, the least recently used ones go. None: whatever the device has.
    pub max_model_bytes: Option<u64>,
}

impl EngineSettings {
    /// Usual bounds, on the processor.
    pub fn on_cpu(threads: usize, precision: ServingPrecision) -> Self {
        Self {
            device: "cpu".to_owned(),
            threads,
            precision,
            max_waiting: 1024,
            max_waiting_tokens: 1 << 20,
            max_queue_time: Duration::from_secs(60),
            max_batch: 32,
            max_models: 32,
            max_model_bytes: None,
        }
    }
}
