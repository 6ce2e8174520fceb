//! Finished students answer: a bounded queue in front of one thread that owns the device. Knows nothing of HTTP, SQL or
//! jobs; which labels an input may have is the caller's to say.
//!
//! ```text
//! Engine::predict, complete ─ permit (none left: Overloaded) ─▶ channel ─▶ device thread
//!                                                                  │ takes the oldest request's model, and with it all
//!                                                                  │ waiting requests for that model, up to a limit
//!                                                                  │ shelf: loads it, least recently used one out
//!                                                                  │ serving: batches of like lengths are read, labels
//!                                                                  │ weighed, and rows written side by side; between two
//!                                                                  │ steps rows that ended leave, and whoever came joins
//!            ◀───────────── one answer a request, followed ────────┘ a failed batch fails its requests alone
//!                            while it is written where that is wanted
//! ```

mod answer;
mod asked;
mod complete;
mod completion;
mod consistency;
mod device_thread;
mod draw;
mod engine;
mod error;
mod following;
mod growing;
mod inbox;
mod labels;
mod model_tokenizer;
mod prediction;
mod read;
mod searching;
mod serving;
mod shape;
mod shelf;
mod spelling;
mod under_way;
mod warm_up;

pub use completion::{Completion, CompletionRequest, Finish, Prompt};
pub use engine::{Engine, EngineSettings};
pub use error::InferenceError;
pub use following::{Following, Fragment, News};
pub use model_tokenizer::ModelTokenizer;
pub use prediction::{ModelFiles, Prediction, PredictionRequest};
pub use shape::StudentShape;
pub use spelling::{LikelyToken, ScoredToken};
pub use under_way::Part;

pub use crate::student::choice::{Sampling, seed_of_answer};
