//! The task that exchanges reports for grants while a teacher is in use.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until, timeout};

use super::{Exchange, Pace};

/// Time between two exchanges, on average.
const EVERY: Duration = Duration::from_millis(250);
/// The least time between two exchanges, however urgent.
const LEAST: Duration = Duration::from_millis(25);
/// An exchange that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(2);
/// A teacher that nobody asked for so long is not in use.
const IDLE: Duration = Duration::from_secs(2);

/// Keeps the pace until the teacher is not in use any more.
pub(super) async fn keep(pace: Arc<Pace>) {
    let (mut used, mut away) = (Instant::now(), false);
    loop {
        let begun = Instant::now();
        let failed = exchange(&pace).await;
        if failed != away {
            away = failed;
            report_outage(&pace, away);
        }
        if !is_idle(&pace) {
            used = Instant::now();
        } else if used.elapsed() >= IDLE && leave(&pace).await {
            return;
        }
        until_next(&pace, begun).await;
    }
}

/// One exchange; whether it failed.
async fn exchange(pace: &Arc<Pace>) -> bool {
    let asked = Instant::now();
    let (report, untold) = {
        let mut gate = pace.gate();
        gate.is_urgent = false;
        let waiting = gate.waiting();
        gate.local.report(waiting, asked)
    };
    let exchange = Exchange { limits: pace.limits, report: Some(report), chance: rand::random() };
    match timeout(PATIENCE, pace.book.exchange(&pace.teacher, exchange)).await {
        Ok(Ok(grant)) => {
            pace.gate().local.take(&grant, asked, Instant::now());
            pace.let_near();
            false
        }
        Ok(Err(error)) => {
            tracing::debug!(teacher = pace.teacher, %error, "the pace could not be exchanged");
            pace.gate().local.unheard(untold);
            true
        }
        // Perhaps it was heard after all; a push-back that counts twice does less harm than one that nobody hears of.
        Err(_) => {
            pace.gate().local.unheard(untold);
            true
        }
    }
}

fn report_outage(pace: &Pace, away: bool) {
    let teacher = &pace.teacher;
    if away {
        tracing::warn!(teacher, "its pace cannot be exchanged with other workers; going on with what this one holds");
    } else {
        tracing::info!(teacher, "its pace is exchanged again");
    }
}

/// Lets calls begin as their time comes, until the next exchange is due.
async fn until_next(pace: &Arc<Pace>, begun: Instant) {
    let due = begun + EVERY.mul_f64(rand::random_range(0.8..1.2));
    loop {
        let next = pace.let_begin();
        let due = if pace.gate().is_urgent { due.min(begun + LEAST) } else { due };
        if Instant::now() >= due {
            return;
        }
        tokio::select! {
            () = sleep_until(next.map_or(due, |next| next.min(due))) => {}
            () = pace.look.notified() => {}
        }
    }
}

fn is_idle(pace: &Pace) -> bool {
    let gate = pace.gate();
    gate.local.is_idle() && gate.waiting() == 0
}

/// Gives everything back; whether nobody came meanwhile.
pub(super) async fn leave(pace: &Pace) -> bool {
    pace.gate().local.leave();
    let nothing = Exchange { limits: pace.limits, report: None, chance: 0.0 };
    // Where this fails, the share expires.
    drop(timeout(PATIENCE, pace.book.exchange(&pace.teacher, nothing)).await);
    let mut gate = pace.gate();
    let is_unused = gate.local.is_idle() && gate.waiting() == 0;
    if is_unused {
        gate.keeper = None;
    }
    is_unused
}
