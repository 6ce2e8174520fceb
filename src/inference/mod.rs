//! Finished students answer: a bounded queue in front of one thread that owns the device. Knows nothing of HTTP, SQL or
//! jobs; which labels an input may have is the caller's to say.
//!
//! ```text
//! Engine::predict, complete ─ places in the queue (none left: Overloaded)
//!        │ library: is the student in memory? ─ no ─▶ shelf: who makes room ─▶ loading, on a thread of its own: files checked,
//!        │                                                                     read, asked once ─▶ channel ─▶ device thread
//!        └─▶ channel ─▶ device thread: takes the oldest request's model, and with it all waiting requests for that model, up to a
//!                                │ limit
//!                                │ serving: batches of like lengths are read, labels weighed, and rows written side by side;
//!                                │ between two steps rows that ended leave, and whoever came joins
//!            ◀── one answer a request, followed while it is written where that is wanted
//!                                └ a failed batch fails its requests alone
//! ```

mod answer;
mod asked;
mod asking;
mod batching;
mod bounds;
mod broken;
mod complete;
mod completion;
mod consistency;
mod course;
mod device_thread;
mod draw;
mod encoded_inputs;
mod engine;
mod entry;
mod error;
mod following;
mod growing;
mod inbox;
mod labels;
mod library;
mod loading;
mod metrics;
mod model_tokenizer;
mod pace;
mod prediction;
mod question;
mod returning;
mod searching;
mod serving;
mod settings;
mod shape;
mod shelf;
mod spelling;
mod under_way;
mod warm_up;

pub use asked::weighs_at_once;
pub use bounds::Places;
pub use completion::{Completion, CompletionRequest, Finish, Prompt};
pub use engine::Engine;
pub use error::InferenceError;
pub use following::{Following, Fragment, News};
pub use metrics::EngineMetrics;
pub use model_tokenizer::ModelTokenizer;
pub use prediction::{Prediction, PredictionRequest};
pub use settings::EngineSettings;
pub use shape::StudentShape;
pub use spelling::{LikelyToken, ScoredToken};
pub use under_way::Part;

pub use crate::domain::ModelFiles;
pub use crate::student::drawing::{Sampling, seed_of_answer};
