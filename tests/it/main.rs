//! The integration tests, one binary: linking libtorch is the slow part.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test that cannot go on panics")]

mod api_aliases;
mod api_estimates;
mod api_files;
mod api_idempotency;
mod api_job_requests;
mod api_jobs;
mod api_models;
mod api_openai;
mod api_openapi;
mod api_service;
mod api_streams;
mod api_submissions;
mod api_uploads;
mod architecture;
mod benchmark_parsing;
mod evaluations;
mod inference;
mod openai_sdk;
mod postgres;
mod returns_desk;
mod road;
mod store_cancel;
mod store_listen;
mod store_outage;
mod store_pause;
mod store_queue;
mod store_rows;
mod store_snapshots;
mod student;
mod support;
mod takeover;
mod takeover_snapshots;
mod teacher;
mod trainer;
mod trainer_snapshots;
