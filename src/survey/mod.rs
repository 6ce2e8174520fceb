//! What a file's rows are, found in one pass and in memory that does not grow with the file: its errors, its statistics,
//! and which inputs it shares with another file. The API looks at what is uploaded and the worker at what an annotation
//! writes, both by the same eyes. Knows no HTTP and no tensors.
//!
//! ```text
//! bytes ─▶ LineReader ─▶ example ─┬─▶ Describer: labels, lengths            counted on the way
//!                                 ├─▶ Runs of (hash of the input, line, …)  sorted on disk past 131,072 rows
//!                                 └─▶ Runs of (hash of the id, line, …)
//! at the end: each kind of run merged once ─▶ duplicate ids, duplicate and conflicting inputs, inputs in two splits,
//!                                             and the fingerprint: the sorted hashes of the inputs, stored beside the file
//! ```
//! Memory: three runs of 4 MiB (the third of lines at odds with others), some megabytes of counters, and while merging 16 KiB
//! for each run on disk. Disk: 64 bytes a row, and 32 for each error that only all rows together show, in unnamed files that
//! the kernel removes however the process ends.

mod errors;
mod fingerprint;
mod repeats;
mod runs;
mod shared;
mod stream;
mod surveyor;

pub use fingerprint::{Fingerprint, file_key, fingerprint_key, half_written, remove_file};
pub use shared::{RowGroup, SharedInputs, shared_inputs};
pub use stream::{Survey, SurveyError};
pub use surveyor::{Surveyed, Surveyor};
