//! The teacher over HTTP: a client of chat completions and plain completions that makes one call at a time, the pace at
//! which it may, and a scripted teacher that replays recorded answers. Knows no jobs and no database: where workers keep a
//! pace together is the worker's.

mod client;
mod complaint;
mod error;
pub mod pace;
mod parameters;
mod reply;
mod request;
mod said;
pub mod scripted;
mod settings;
mod wire;

pub use client::TeacherClient;
pub use error::TeacherError;
pub use pace::{Near, Turn};
pub use parameters::{Dispensable, MaxTokensParameter};
pub use request::{Completion, CompletionRequest};
pub use settings::{TEACHER_KEYS, TeacherSettings};
