//! The first forward pass, which proves that the engine answers: a process is not ready before it.

use std::time::Duration;

use super::{AppState, missing::Missing};
use crate::{inference::InferenceError, shutdown::Shutdown};

/// Time between a pass that failed and the next one.
const AGAIN: Duration = Duration::from_secs(5);

/// The first pass, of which none was tried yet.
pub fn first_pass() -> Missing {
    Missing::new(Some("the first forward pass is not done yet".to_owned()))
}

/// Does real forward passes until one goes through, or the process is about to stop.
pub async fn warm_up(state: AppState) {
    until_one_goes_through(|| warm_up_once(&state), AGAIN, &state.shutdown).await;
}

/// Does one real forward pass, of which `/readyz` tells.
///
/// # Errors
/// When it fails.
pub async fn warm_up_once(state: &AppState) -> Result<(), InferenceError> {
    let outcome = state.engine.warm_up().await;
    state.first_pass.found(outcome.as_ref().err().map(|error| format!("the first forward pass failed: {error}")));
    outcome
}

async fn until_one_goes_through<P>(pass: impl Fn() -> P, again: Duration, shutdown: &Shutdown)
where
    P: Future<Output = Result<(), InferenceError>>,
{
    while let Err(error) = pass().await {
        tracing::error!(%error, "the inference engine does not work; trying again in {again:?}");
        tokio::select! {
            () = tokio::time::sleep(again) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::ready};

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[tokio::test]
    async fn a_pass_that_fails_is_tried_again_until_one_goes_through() {
        let tried = Cell::new(0);
        let third = || {
            tried.set(tried.get() + 1);
            ready(if tried.get() < 3 { Err(InferenceError::Stopped) } else { Ok(()) })
        };
        until_one_goes_through(third, Duration::from_millis(1), &Shutdown::new()).await;
        assert_eq!(tried.get(), 3);
    }

    #[tokio::test]
    async fn a_process_that_is_about_to_stop_does_not_try_again() {
        let (tried, shutdown) = (Cell::new(0), Shutdown::new());
        let broken = || {
            tried.set(tried.get() + 1);
            shutdown.cancel();
            ready(Err(InferenceError::Stopped))
        };
        until_one_goes_through(broken, DAY, &shutdown).await;
        assert_eq!(tried.get(), 1);
    }
}
