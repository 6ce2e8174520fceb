//! `/v2`: the Open Inference Protocol (KServe, Triton, MLServer) over the same students, so that whatever speaks it can ask one.
//! Texts go in as a tensor of `BYTES`, answers come out as tensors of the same shape. Its errors are `{"error": "…"}`, which
//! `problem.rs` writes. The binary extension is not offered, and refused in words.

mod asked;
mod health;
mod infer;
mod metadata;
mod outputs;
mod parameters;
mod refused;
mod request;
pub mod routes;
mod texts;

pub use refused::{OpenInferenceError, is_of_protocol, refusal};
