//! The examples that have no verdict yet, with what the ledger has of them: the file passes a part at a time, and so does
//! what is known of it.

use std::{collections::HashMap, ops::Range};

use futures::{Stream, StreamExt, TryStreamExt, stream};

use crate::{
    domain::{CallPurpose, Chunk, Example, File, PastCall, Reply},
    worker::{Attempt, AttemptError, Worker, inputs},
};

/// Examples that are looked up at once.
const PART: usize = 256;

/// An example to ask about.
#[derive(Debug)]
pub(super) struct Question {
    /// Its place in the file, from 0.
    pub(super) index: i64,
    pub(super) example: Example,
    /// Earlier calls about it, in the order of their keys.
    past: Vec<PastCall>,
}

impl Question {
    /// The reply to an equal request, of an earlier attempt or of a round that still counts.
    pub(super) fn replay(&self, sample: i32, purpose: CallPurpose, request_sha256: &[u8; 32]) -> Option<Reply> {
        let mut calls = self.of(sample, purpose).filter(|call| call.request_sha256 == *request_sha256);
        calls.find_map(|call| call.reply.clone())
    }

    /// The number of the next call.
    pub(super) fn next_number(&self, sample: i32, purpose: CallPurpose) -> i32 {
        self.of(sample, purpose).map(|call| call.key.number + 1).max().unwrap_or(0)
    }

    /// How often its answers were set aside.
    pub(super) fn round(&self) -> i32 {
        self.past.iter().filter(|call| call.is_set_aside).map(|call| call.round + 1).max().unwrap_or(0)
    }

    fn of(&self, sample: i32, purpose: CallPurpose) -> impl Iterator<Item = &PastCall> {
        self.past.iter().filter(move |call| call.key.sample == sample && call.key.purpose == purpose)
    }
}

/// The examples at these places of the file that have no verdict.
pub(super) fn unsettled<'a>(
    worker: &'a Worker,
    attempt: &'a Attempt,
    file: &'a File,
    places: Range<u64>,
) -> impl Stream<Item = Result<Question, AttemptError>> + 'a {
    let first = usize::try_from(places.start).unwrap_or(usize::MAX);
    let count = usize::try_from(places.end.saturating_sub(places.start)).unwrap_or(usize::MAX);
    let numbered = inputs::examples(worker, file).enumerate().skip(first).take(count);
    let parts = numbered.map(|(index, example)| example.map(|example| (index, example))).try_chunks(PART);
    parts
        .map_err(|error| error.1)
        .and_then(move |part| known(attempt, part))
        .map_ok(|questions| stream::iter(questions).map(Ok))
        .try_flatten()
}

/// Those of a chunk.
pub(super) async fn of_chunk(
    worker: &Worker,
    attempt: &Attempt,
    file: &File,
    chunk: &Chunk,
) -> Result<Vec<Question>, AttemptError> {
    let first = usize::try_from(chunk.first_index).unwrap_or(usize::MAX);
    let examples = inputs::examples_of(worker, file, chunk).await?;
    known(attempt, examples.into_iter().enumerate().map(|(place, example)| (first + place, example)).collect()).await
}

async fn known(attempt: &Attempt, part: Vec<(usize, Example)>) -> Result<Vec<Question>, AttemptError> {
    let place = |index: usize| i64::try_from(index).unwrap_or(i64::MAX);
    let (Some((first, _)), Some((last, _))) = (part.first(), part.last()) else { return Ok(Vec::new()) };
    let (first, last) = (place(*first), place(*last));
    let past = attempt.persist(|| attempt.store().past_calls(attempt.job.id, first, last)).await?;
    let mut calls: HashMap<i64, Vec<PastCall>> = HashMap::new();
    for call in past.calls {
        calls.entry(call.key.example_index).or_default().push(call);
    }
    let open = part.into_iter().filter(|(index, _)| !past.settled.contains(&place(*index)));
    let questions = open.map(|(index, example)| {
        let index = place(index);
        Question { index, example, past: calls.remove(&index).unwrap_or_default() }
    });
    Ok(questions.collect())
}
