//! The pace of teachers, kept with all other workers in the database.

use futures::{FutureExt, future::BoxFuture};

use crate::{
    domain::WorkerId,
    store::{PaceKeeper, Store},
    teacher::pace::{BookError, Exchange, Grant, PaceBook, SHARE_KEEPS},
};

/// The rows of all teachers, as one worker sees them.
#[derive(Debug)]
pub struct PaceRows {
    /// Where they are.
    pub store: Store,
    /// Whose share it is.
    pub worker: WorkerId,
}

impl PaceBook for PaceRows {
    fn exchange<'a>(&'a self, teacher: &'a str, exchange: Exchange) -> BoxFuture<'a, Result<Grant, BookError>> {
        let worker = self.worker;
        let keeper = PaceKeeper { teacher: teacher.to_owned(), worker, keeps_for: SHARE_KEEPS };
        let settled =
            self.store.exchange_pace(keeper, move |pace, others, now| exchange.settle(worker, pace, others, now));
        settled.map(|grant| Ok(grant?)).boxed()
    }
}
