//! Parts of an annotation's file, and a worker's hold on those that it has taken.

use super::JobId;

/// A worker's hand in an annotation: what it asks and writes is fenced by it, as a job by its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hand {
    /// The job.
    pub job_id: JobId,
    /// What tells this hand from every other one.
    pub epoch: i64,
}

/// Some hundred examples of an annotation's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Its place among the chunks, from 0.
    pub number: i32,
    /// The place of its first example in the file, from 0.
    pub first_index: i64,
    /// The place after that of its last example.
    pub end_index: i64,
    /// The number of its first line, from 1.
    pub line_number: i64,
    /// Where its first line begins.
    pub byte_offset: i64,
    /// Where the line after its last one begins, or would.
    pub end_offset: i64,
}
