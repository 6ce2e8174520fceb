//! The teacher over HTTP: a chat-completions client that makes one call at a time, the rules of trying again, and a
//! scripted teacher that replays recorded answers. Knows no jobs and no database; who asks how often is the worker's.

mod client;
mod error;
mod pace;
pub mod retry;
pub mod scripted;
mod settings;
mod wire;

pub use client::{Completion, CompletionRequest, TeacherClient, install_tls};
pub use error::TeacherError;
pub use settings::{TEACHER_KEYS, TeacherSettings};
