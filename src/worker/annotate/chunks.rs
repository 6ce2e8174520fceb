//! Chunk after chunk in one stream: the next one is taken when the last question of the one before is out, not when its last
//! answer is in, so that concurrency does not dip between them.

use std::{
    collections::BTreeSet,
    future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_stream::try_stream;
use futures::{Stream, StreamExt};

use super::{
    EXAMPLES_PER_CALL, LOOK_AGAIN, REAPED,
    asking::{Asked, Asking},
    questions::{self, Question},
};
use crate::{
    domain::File,
    worker::{AttemptError, Worker},
};

/// When there is nothing more to ask.
#[derive(Debug, Clone, Copy)]
pub(super) enum Until<'a> {
    /// For the leader: when all is planned, as this says, and all chunks are settled, also those of others.
    AllIsSettled(&'a AtomicBool),
    /// For a helper: when no chunk is open.
    NoneIsOpen,
}

/// A chunk of which questions are out.
struct Taken {
    number: i32,
    /// Questions without a verdict.
    left: AtomicUsize,
}

/// The numbers of the chunks that the hand knows it has.
#[derive(Default)]
struct Known(Mutex<BTreeSet<i32>>);

impl Known {
    fn all(&self) -> Vec<i32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    fn add(&self, number: i32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
    }

    fn remove(&self, number: i32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }
}

/// Asks about chunk after chunk. When that must end no more questions begin; those that are out are waited for.
pub(super) async fn ask(worker: &Worker, asking: &Asking<'_>, file: &File, until: Until<'_>) -> Asked<()> {
    let width = EXAMPLES_PER_CALL * asking.teacher.max_concurrency();
    let known = Known::default();
    questions(worker, asking, file, until, &known)
        .take_until(asking.until_ended())
        .map(|found| async {
            let (question, chunk) = found.map_err(|error| asking.end(error))?;
            asking.annotate(question).await?;
            if chunk.left.fetch_sub(1, Ordering::AcqRel) == 1 {
                settle(asking, chunk.number, &known).await.map_err(|error| asking.end(error))?;
            }
            Ok(())
        })
        .buffer_unordered(width)
        .for_each(|_: Asked<()>| future::ready(()))
        .await;
    asking.check()
}

fn questions<'a>(
    worker: &'a Worker,
    asking: &'a Asking<'_>,
    file: &'a File,
    until: Until<'a>,
    known: &'a Known,
) -> impl Stream<Item = Result<(Question, Arc<Taken>), AttemptError>> + 'a {
    let attempt = asking.attempt;
    try_stream! {
        loop {
            let have = known.all();
            let Some(chunk) = attempt.persist(|| attempt.store().take_chunk(asking.hand, &have)).await? else {
                if is_over(asking, until).await? {
                    break;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            };
            known.add(chunk.number);
            let questions = questions::of_chunk(worker, attempt, file, &chunk).await?;
            let taken = Arc::new(Taken { number: chunk.number, left: AtomicUsize::new(questions.len()) });
            if questions.is_empty() {
                settle(asking, chunk.number, known).await?;
            }
            for question in questions {
                yield (question, Arc::clone(&taken));
            }
        }
    }
}

async fn settle(asking: &Asking<'_>, number: i32, known: &Known) -> Result<(), AttemptError> {
    let attempt = asking.attempt;
    attempt.persist(|| attempt.store().settle_chunk(asking.hand, number)).await?;
    known.remove(number);
    Ok(())
}

/// Whether no chunk is to be waited for. Hands that nobody renews are taken away here as well, so that the last chunk of a dead
/// worker waits for no sweep.
async fn is_over(asking: &Asking<'_>, until: Until<'_>) -> Result<bool, AttemptError> {
    let Until::AllIsSettled(planned) = until else { return Ok(true) };
    if !planned.load(Ordering::Acquire) {
        return Ok(false);
    }
    let (attempt, store) = (asking.attempt, asking.attempt.store());
    attempt.persist(|| store.reap_hands(REAPED)).await?;
    Ok(!attempt.persist(|| store.has_unsettled_chunks(asking.hand.job_id)).await?)
}
