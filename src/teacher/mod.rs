//! The teacher over HTTP: a client of chat completions and plain completions that makes one call at a time, and a
//! scripted teacher that replays recorded answers. Knows no jobs and no database; who asks how often is the worker's.

mod client;
mod error;
mod pace;
pub mod scripted;
mod settings;
mod wire;

pub use client::{Completion, CompletionRequest, TeacherClient};
pub use error::TeacherError;
pub use settings::{TEACHER_KEYS, TeacherSettings};
