//! The request to stop, made by another thread than the one that trains.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Asks a training to write a snapshot and stop. Clones are the same request; once made, it stays.
#[derive(Debug, Clone, Default)]
pub struct StopRequest(Arc<AtomicBool>);

/// What was done was given up in its midst, because somebody asked for a stop: a part of it says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted;

impl StopRequest {
    /// Asks.
    pub fn make(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    pub fn is_made(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
