//! What the integration tests share.

pub mod answers;
pub mod app;
pub mod asking_routes;
pub mod attempt;
pub mod cable;
pub mod contract;
pub mod database;
pub mod exposition;
pub mod fleet;
pub mod hub;
pub mod latch;
pub mod listening;
pub mod models;
pub mod real_rows;
pub mod seed;
pub mod service;
pub mod shared;
pub mod slow_model;
pub mod spiece;
pub mod sse;
pub mod student;
pub mod talker;
pub mod talking_service;
pub mod teacher;
pub mod wire;
pub mod worker;
