//! A model as others can use it: a folder of Hugging Face's layout with a model card, packed into a tar while it is sent.
//! It knows folders and what is known of a model, never where a model comes from.
//!
//! The bytes depend on the model alone: entries are sorted, their time is fixed, their mode is 0644.

mod card;
mod tar;

pub use card::{Subject, render};
pub use tar::Export;
