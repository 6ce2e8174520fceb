//! What a benchmark or a user's task is: line formats, prompts, answer parsing, label sets, scoring, and what scores add
//! up to. Pure: text in, values out; knows no HTTP, database, clock or tensor.

pub mod answer;
pub mod arithmetic;
pub mod builtin;
pub mod calibration;
pub mod chat;
pub mod definition;
pub mod examples;
mod faults;
mod fields;
pub mod labels;
pub mod lines;
mod lists;
pub mod majority;
mod members;
pub mod prompt;
pub mod proportions;
pub mod rationale_quality;
pub mod scoreboard;
pub mod scoring;
pub mod statistics;
pub mod tally;
pub mod votes;
