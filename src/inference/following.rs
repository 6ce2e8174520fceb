//! Answers that are followed while they are being written.

use std::collections::BTreeSet;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use super::InferenceError;
use super::bounds::Places;
use super::question::Reply;
use super::spelling::ScoredToken;
use super::under_way::Part;

/// Whoever waits for an answer.
#[derive(Debug)]
pub(super) enum Listener {
    /// For the whole of it.
    Once(oneshot::Sender<Result<Reply, InferenceError>>),
    /// For each piece, under the number of its question.
    Follower(usize, UnboundedSender<(usize, Told)>),
}

/// What a follower is told.
#[derive(Debug)]
pub(super) enum Told {
    Fragment(Fragment),
    Whole(Result<Reply, InferenceError>),
}

/// What has come of an answer since the last one. All fragments of a part joined are the text of the part.
#[derive(Debug, Clone, PartialEq)]
pub struct Fragment {
    /// What it belongs to.
    pub part: Part,
    /// Whole characters; nothing that a text to stop at takes back.
    pub text: String,
    /// The tokens of the text, where they are wanted.
    pub tokens: Vec<ScoredToken>,
}

/// News of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum News<T> {
    /// More of it.
    Fragment(Fragment),
    /// All of it, or why there will be none.
    Whole(Result<T, InferenceError>),
}

/// Answers on their way, with their places in the queue. Dropping it takes back what is not whole, between two steps.
#[derive(Debug)]
pub struct Following<T> {
    receiver: UnboundedReceiver<(usize, Told)>,
    /// Numbers of the questions whose answers are not whole.
    open: BTreeSet<usize>,
    kind: fn(Reply) -> T,
    places: Places,
}

impl Listener {
    /// Whether nobody waits any more.
    pub fn is_closed(&self) -> bool {
        match self {
            Self::Once(sender) => sender.is_closed(),
            Self::Follower(_, sender) => sender.is_closed(),
        }
    }

    /// Whether fragments are wanted.
    pub fn follows(&self) -> bool {
        matches!(self, Self::Follower(..))
    }

    /// Passes a fragment on, unless there is nothing in it.
    pub fn tell(&self, fragment: Fragment) {
        if let Self::Follower(number, sender) = self
            && !(fragment.text.is_empty() && fragment.tokens.is_empty())
        {
            // Whoever asked may have left meanwhile.
            let _ = sender.send((*number, Told::Fragment(fragment)));
        }
    }

    /// Passes the end on.
    pub fn end(self, answer: Result<Reply, InferenceError>) {
        // Whoever asked may have left meanwhile.
        match self {
            Self::Once(sender) => drop(sender.send(answer)),
            Self::Follower(number, sender) => drop(sender.send((number, Told::Whole(answer)))),
        }
    }
}

impl<T> Following<T> {
    /// Hears of so many questions, which have these places; `kind` takes a reply for what it is.
    pub(super) fn new(
        receiver: UnboundedReceiver<(usize, Told)>,
        questions: usize,
        kind: fn(Reply) -> T,
        places: Places,
    ) -> Self {
        Self { receiver, open: (0..questions).collect(), kind, places }
    }

    /// The places in the queue of the call that is followed.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// The next news, with the number of the question; none when all answers are whole.
    pub async fn next(&mut self) -> Option<(usize, News<T>)> {
        if self.open.is_empty() {
            return None;
        }
        Some(match self.receiver.recv().await {
            Some((number, Told::Fragment(fragment))) => (number, News::Fragment(fragment)),
            Some((number, Told::Whole(answer))) => {
                self.open.remove(&number);
                (number, News::Whole(answer.map(self.kind)))
            }
            // The thread has ended, and with it whoever could tell more.
            None => (self.open.pop_first()?, News::Whole(Err(InferenceError::Stopped))),
        })
    }
}
