//! Every state that the protocol can reach, and protocols that are nearly right: each promise is broken by one of them.

use std::collections::BTreeSet;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use super::{
    job::{Fence, Job, State},
    system::{
        CANCEL_FORCED, CANCELS_END, ENDS_STAY, EPOCHS_GROW, Flaw, LATE_WRITE_REFUSED, LATE_WRITES,
        LATER_ATTEMPTS_SUCCEED, Limits, NONE_LOST, ONE_RESULT, POISON, Protocol,
    },
};

const THREADS: usize = 2;

fn protocol() -> Protocol {
    Protocol {
        fence: Fence::Epoch,
        flaw: None,
        child_waits: true,
        limits: Limits { releases: 1, retries: 0, steps: 1, hangs: 1 },
        jobs: [Job::new(2), Job::new(2)],
    }
}

/// One job, the other being over, which has attempts enough to be poison.
fn one_job() -> Protocol {
    let over = Job { state: State::Succeeded, ..Job::new(3) };
    Protocol {
        child_waits: false,
        limits: Limits { releases: 1, retries: 1, steps: 1, hangs: 1 },
        jobs: [Job::new(3), over],
        ..protocol()
    }
}

/// That every promise is kept, and that what makes them hard to keep comes up.
fn assert_holds(protocol: Protocol, comes_up: &[&'static str]) {
    let promises = protocol.properties().into_iter().filter(|property| property.expectation == Expectation::Always);
    let promises: Vec<&'static str> = promises.map(|property| property.name).collect();
    let checker = protocol.checker().threads(THREADS).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!("{} states, {} steps deep", checker.unique_state_count(), checker.max_depth());
    promises.into_iter().for_each(|promise| checker.assert_no_discovery(promise));
    comes_up.iter().for_each(|what| drop(checker.assert_any_discovery(what)));
}

#[test]
fn a_job_and_one_that_waits_for_it_keep_all_promises_in_every_order() {
    assert_holds(protocol(), &[LATE_WRITE_REFUSED, CANCEL_FORCED, LATER_ATTEMPTS_SUCCEED]);
}

#[test]
fn two_jobs_beside_each_other_keep_all_promises_in_every_order() {
    let limits = Limits { releases: 0, retries: 0, steps: 0, hangs: 1 };
    let protocol = Protocol { child_waits: false, limits, ..protocol() };
    assert_holds(protocol, &[LATE_WRITE_REFUSED, CANCEL_FORCED, LATER_ATTEMPTS_SUCCEED]);
}

#[test]
fn a_job_that_is_tried_again_keeps_all_promises_in_every_order() {
    assert_holds(one_job(), &[LATE_WRITE_REFUSED, CANCEL_FORCED, POISON]);
}

/// That this promise is broken, whatever else is, so that its check can fail; and how.
fn assert_breaks(protocol: Protocol, promise: &'static str) {
    let broken = HasDiscoveries::AllOf(BTreeSet::from([promise]));
    let checker = protocol.checker().threads(THREADS).finish_when(broken).spawn_bfs().join();
    let path = checker.assert_any_discovery(promise);
    println!("{promise:?} is broken by {:?}", path.into_actions());
}

#[test]
fn without_a_fence_a_late_write_is_accepted() {
    assert_breaks(Protocol { fence: Fence::Nothing, ..protocol() }, LATE_WRITES);
}

/// What the lease epoch is there for.
#[test]
fn with_the_attempt_as_a_fence_a_late_write_is_accepted() {
    assert_breaks(Protocol { fence: Fence::Attempt, ..protocol() }, LATE_WRITES);
}

#[test]
fn with_a_fence_that_does_not_ask_for_the_state_what_is_over_ends_once_more() {
    for promise in [ONE_RESULT, ENDS_STAY] {
        assert_breaks(Protocol { fence: Fence::EpochAlone, ..protocol() }, promise);
    }
}

#[test]
fn where_a_retried_job_begins_anew_its_epochs_do_so_too() {
    assert_breaks(Protocol { flaw: Some(Flaw::ForgetsEpochs), ..one_job() }, EPOCHS_GROW);
}

#[test]
fn where_nobody_reaps_or_fails_orphans_a_job_is_lost() {
    for flaw in [Flaw::NeverReaps, Flaw::LeavesOrphans] {
        assert_breaks(Protocol { flaw: Some(flaw), ..protocol() }, NONE_LOST);
    }
}

#[test]
fn where_no_cancel_is_forced_a_worker_that_hangs_keeps_its_job() {
    assert_breaks(Protocol { flaw: Some(Flaw::WaitsForCancels), ..protocol() }, CANCELS_END);
}
