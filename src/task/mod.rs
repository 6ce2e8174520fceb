//! What a benchmark or a user's task is: line formats, prompts, answer parsing, label sets, scoring. Pure: text in,
//! values out; knows no HTTP, database, clock or tensor.

pub mod answer;
pub mod arithmetic;
pub mod builtin;
mod fields;
pub mod labels;
pub mod lines;
pub mod majority;
pub mod prompt;
pub mod scoring;
mod validator;

pub use validator::Validator;
