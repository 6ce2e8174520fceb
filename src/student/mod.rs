//! The student: a T5 in tensors, its files, its tokenizer, and how it is asked. Knows nothing of jobs, SQL or HTTP.

mod attention;
pub mod batch;
pub mod beam_search;
mod checkpoint;
pub mod choice;
mod config;
mod decoding;
mod dropout;
mod error;
pub mod generation;
mod grid_decoding;
pub mod label_tree;
mod layers;
mod pack;
mod packed;
mod parameters;
mod position;
mod recomputation;
pub mod scoring;
mod sentencepiece;
mod stored_config;
mod stored_weights;
mod t5;
mod tokenizer;
pub mod unigram;
mod weights;

pub use checkpoint::{Student, read_card, save_checkpoint};
pub use config::{FeedForwardKind, T5Config};
pub use dropout::Dropout;
pub use error::StudentError;
pub use packed::Packed;
pub use parameters::parameter_count;
pub use stored_weights::load_weights;
pub use t5::{Passage, T5};
pub use tokenizer::{Encoded, Piece, StudentTokenizer};
pub use weights::{Weights, initial_weights, save_weights};
