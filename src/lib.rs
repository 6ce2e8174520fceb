//! stepwise: unlabeled text, an LLM endpoint and a T5 in; a small served model out.
//!
//! ARCHITECTURE.md is the map of these rooms; `domain` holds the glossary.

pub mod artifacts;
pub mod catalogue;
pub mod clock;
pub mod domain;
pub mod export;
pub mod hub;
pub mod outbound;
pub mod postgres;
pub mod store;
pub mod survey;
pub mod task;
pub mod teacher;

#[cfg(feature = "engine")]
pub mod api;
#[cfg(feature = "engine")]
pub mod cli;
#[cfg(feature = "engine")]
pub mod config;
#[cfg(feature = "engine")]
pub mod device;
#[cfg(feature = "engine")]
pub mod inference;
pub mod layout;
pub mod leakage;
pub mod machine;
#[cfg(feature = "engine")]
pub mod native;
pub mod registry;
pub mod report;
pub mod shutdown;
#[cfg(feature = "engine")]
pub mod student;
pub mod telemetry;
#[cfg(feature = "engine")]
pub mod tidy;
#[cfg(feature = "engine")]
pub mod trainer;
#[cfg(feature = "engine")]
pub mod worker;
