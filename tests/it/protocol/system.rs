//! Jobs, workers and what may happen to them: every order of claims, beats, writes, deaths, requests and reaps.
//!
//! A lease may expire at any time and a worker may act on a hold that it lost long ago, so that clocks that differ, processes that
//! stand still and statements that come late are all in it. Time does not pass otherwise.

use stateright::{Model, Property};

use super::job::{Cancel, Fence, Hold, Job, State, Write};

pub const JOBS: usize = 2;
pub const WORKERS: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Worker {
    Idle,
    Holding(Hold),
    /// It beats, and does nothing else.
    Hanging(Hold),
}

impl Worker {
    fn hold(self) -> Option<Hold> {
        match self {
            Self::Idle => None,
            Self::Holding(hold) | Self::Hanging(hold) => Some(hold),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A worker that dies before the answer comes does not know what it holds.
    Claim {
        worker: usize,
        job: usize,
        is_heard: bool,
    },
    Beat {
        worker: usize,
    },
    /// A write whose answer is lost is carried out all the same, and repeated.
    Write {
        worker: usize,
        write: Write,
        is_heard: bool,
    },
    /// It is killed; another takes its place.
    Die {
        worker: usize,
    },
    Hang {
        worker: usize,
    },
    Expire {
        job: usize,
    },
    BecomeDue {
        job: usize,
    },
    BecomeOverdue {
        job: usize,
    },
    Reap {
        job: usize,
    },
    FailOrphan {
        job: usize,
    },
    Cancel {
        job: usize,
    },
    Pause {
        job: usize,
    },
    Resume {
        job: usize,
    },
    Retry {
        job: usize,
    },
}

/// What may happen so many times at most, so that there is an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Attempts that do not count: each is one more claim.
    pub releases: u8,
    pub retries: u8,
    pub steps: u8,
    pub hangs: u8,
}

/// What must never come to be, found where it happens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Found {
    pub late_write_accepted: bool,
    pub late_write_refused: bool,
    pub end_changed: bool,
    pub epoch_fell: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct System {
    pub jobs: [Job; JOBS],
    pub workers: [Worker; WORKERS],
    /// Claims of each job.
    pub claims: [u8; JOBS],
    /// Results of each job that were accepted.
    pub results: [u8; JOBS],
    pub left: Limits,
    pub found: Found,
}

/// What a protocol that is nearly right does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// A cancel that is not answered in time takes no job from its worker.
    WaitsForCancels,
    /// A job that is retried begins as a new one does, its epoch too.
    ForgetsEpochs,
    /// Nobody looks for jobs whose workers are silent.
    NeverReaps,
    /// Nobody looks for jobs whose parents came to nothing.
    LeavesOrphans,
}

/// The protocol; the second job depends on the first where `child_waits`.
#[derive(Debug, Clone)]
pub struct Protocol {
    pub fence: Fence,
    pub flaw: Option<Flaw>,
    pub child_waits: bool,
    pub limits: Limits,
    /// As they stand in the beginning.
    pub jobs: [Job; JOBS],
}

impl Protocol {
    pub fn begin(&self) -> System {
        System {
            jobs: self.jobs,
            workers: [Worker::Idle; WORKERS],
            claims: [0; JOBS],
            results: [0; JOBS],
            left: self.limits,
            found: Found::default(),
        }
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn parent(&self, system: &System, job: usize) -> Option<State> {
        (self.child_waits && job == 1).then_some(system.jobs[0].state)
    }

    /// What can happen, whether or not it changes anything.
    pub fn actions_of(&self, system: &System, actions: &mut Vec<Action>) {
        for (worker, does) in system.workers.iter().enumerate() {
            match does {
                Worker::Idle => self.claims_of(system, worker, actions),
                Worker::Holding(hold) => {
                    actions.extend([Action::Beat { worker }, Action::Die { worker }]);
                    if system.left.hangs > 0 {
                        actions.push(Action::Hang { worker });
                    }
                    let writes = Self::writes_of(system, *hold);
                    let heard = [true, false];
                    actions.extend(
                        writes.flat_map(|write| heard.map(|is_heard| Action::Write { worker, write, is_heard })),
                    );
                }
                Worker::Hanging(_) => actions.extend([Action::Beat { worker }, Action::Die { worker }]),
            }
        }
        for (job, row) in system.jobs.iter().enumerate() {
            self.changes_of(system, job, row, actions);
        }
    }

    fn claims_of(&self, system: &System, worker: usize, actions: &mut Vec<Action>) {
        for (job, row) in system.jobs.iter().enumerate() {
            if row.may_be_claimed(self.parent(system, job)) {
                actions.extend([true, false].map(|is_heard| Action::Claim { worker, job, is_heard }));
            }
        }
    }

    fn writes_of(system: &System, hold: Hold) -> impl Iterator<Item = Write> {
        let left = system.left;
        let may_step = system.jobs[hold.job].step < left.steps;
        let may_release = left.releases > 0;
        let always = [Write::Finish, Write::Fail, Write::FailForGood, Write::AcknowledgeCancel];
        let bounded = [(may_step, Write::Progress), (may_release, Write::Release), (may_release, Write::Pause)];
        let bounded = bounded.into_iter().filter_map(|(may, write)| may.then_some(write));
        always.into_iter().chain(bounded)
    }

    fn changes_of(&self, system: &System, job: usize, row: &Job, actions: &mut Vec<Action>) {
        let all = [
            (row.state == State::Running && !row.lease_has_expired, Action::Expire { job }),
            (row.state == State::Queued && !row.is_due, Action::BecomeDue { job }),
            (row.state == State::Running && row.cancel == Cancel::Asked, Action::BecomeOverdue { job }),
            (row.state == State::Running, Action::Reap { job }),
            (self.parent(system, job).is_some_and(State::came_to_nothing), Action::FailOrphan { job }),
            (true, Action::Cancel { job }),
            (true, Action::Pause { job }),
            (true, Action::Resume { job }),
            (system.left.retries > 0, Action::Retry { job }),
        ];
        actions.extend(all.into_iter().filter_map(|(may, action)| may.then_some(action)));
    }

    /// What becomes of it.
    pub fn apply(&self, before: &System, action: Action) -> System {
        let mut system = *before;
        match action {
            Action::Claim { worker, job, is_heard } => {
                let row = &mut system.jobs[job];
                row.claim();
                system.claims[job] += 1;
                let hold = Hold { job, epoch: row.epoch, attempt: row.attempt, claim: system.claims[job] };
                if is_heard {
                    system.workers[worker] = Worker::Holding(hold);
                }
            }
            Action::Beat { worker } => self.beat(&mut system, worker),
            Action::Write { worker, write, is_heard } => self.write(&mut system, worker, write, is_heard),
            Action::Die { worker } => system.workers[worker] = Worker::Idle,
            Action::Hang { worker } => {
                system.left.hangs -= 1;
                system.workers[worker] = system.workers[worker].hold().map_or(Worker::Idle, Worker::Hanging);
            }
            Action::Expire { job } => system.jobs[job].lease_has_expired = true,
            Action::BecomeDue { job } => system.jobs[job].is_due = true,
            Action::BecomeOverdue { job } => system.jobs[job].cancel = Cancel::Overdue,
            Action::Reap { .. } if self.has(Flaw::NeverReaps) => {}
            Action::Reap { job } => {
                system.jobs[job].reap(!self.has(Flaw::WaitsForCancels));
            }
            Action::FailOrphan { .. } if self.has(Flaw::LeavesOrphans) => {}
            Action::FailOrphan { job } => {
                let parent = self.parent(before, job);
                system.jobs[job].fail_as_orphan(parent);
            }
            Action::Cancel { job } => system.jobs[job].cancel(),
            Action::Pause { job } => system.jobs[job].pause(),
            Action::Resume { job } => system.jobs[job].resume(),
            Action::Retry { job } => {
                let parent = self.parent(before, job);
                system.jobs[job].retry(parent);
                let is_retried = system.jobs != before.jobs;
                system.left.retries -= u8::from(is_retried);
                if is_retried && self.has(Flaw::ForgetsEpochs) {
                    system.jobs[job].epoch = 0;
                }
            }
        }
        let retried = if let Action::Retry { job } = action { Some(job) } else { None };
        for (job, (old, new)) in before.jobs.iter().zip(&system.jobs).enumerate() {
            system.found.end_changed |= old.state.is_over() && new.state != old.state && retried != Some(job);
            system.found.epoch_fell |= new.epoch < old.epoch;
        }
        system
    }

    fn beat(&self, system: &mut System, worker: usize) {
        let Some(hold) = system.workers[worker].hold() else { return };
        if system.jobs[hold.job].is_held(hold, self.fence) {
            self.note(system, hold, true);
            system.jobs[hold.job].beat();
        } else {
            system.workers[worker] = Worker::Idle;
        }
    }

    fn write(&self, system: &mut System, worker: usize, write: Write, is_heard: bool) {
        let Some(hold) = system.workers[worker].hold() else { return };
        let is_held = system.jobs[hold.job].is_held(hold, self.fence);
        self.note(system, hold, is_held);
        let is_done = is_held && system.jobs[hold.job].write(write);
        if is_done && matches!(write, Write::Release | Write::Pause) {
            system.left.releases -= 1;
        }
        system.results[hold.job] += u8::from(is_done && write == Write::Finish);
        let goes_on = is_done && write == Write::Progress;
        if is_heard && !goes_on {
            system.workers[worker] = Worker::Idle;
        }
    }

    /// Notes what became of the write of a worker whose claim was not the last.
    fn note(&self, system: &mut System, hold: Hold, is_accepted: bool) {
        let is_late = hold.claim != system.claims[hold.job];
        system.found.late_write_accepted |= is_late && is_accepted;
        system.found.late_write_refused |= is_late && !is_accepted;
    }

    /// What becomes of it once nobody asks for anything and nothing goes wrong any more: those who hold a job finish it, those who hang
    /// go on hanging, leases of the dead expire, and minutes pass.
    pub fn settle(&self, system: &System) -> System {
        let mut system = *system;
        loop {
            let next = self.settle_a_little(&system);
            if next == system {
                return system;
            }
            system = next;
        }
    }

    fn settle_a_little(&self, system: &System) -> System {
        let mut next = *system;
        for worker in 0..WORKERS {
            if matches!(next.workers[worker], Worker::Hanging(_)) {
                next = self.apply(&next, Action::Beat { worker });
            }
            if matches!(next.workers[worker], Worker::Holding(_)) {
                next = self.apply(&next, Action::Write { worker, write: Write::Finish, is_heard: true });
            }
        }
        for job in 0..JOBS {
            let row = next.jobs[job];
            let is_held = next
                .workers
                .iter()
                .filter_map(|worker| worker.hold())
                .any(|hold| hold.job == job && hold.claim == next.claims[job]);
            let passes = [
                (row.state == State::Running && !is_held, Action::Expire { job }),
                (row.state == State::Running && row.cancel == Cancel::Asked, Action::BecomeOverdue { job }),
                (row.state == State::Queued, Action::BecomeDue { job }),
                (row.state == State::Running, Action::Reap { job }),
                (true, Action::FailOrphan { job }),
            ];
            for (comes, action) in passes {
                if comes {
                    next = self.apply(&next, action);
                }
            }
            let idle = next.workers.iter().position(|worker| *worker == Worker::Idle);
            if let Some(worker) = idle.filter(|_| next.jobs[job].may_be_claimed(self.parent(&next, job))) {
                next = self.apply(&next, Action::Claim { worker, job, is_heard: true });
            }
        }
        next
    }

    /// Whether every job ends, except for those that wait for a person, hang, or wait for one of these.
    fn loses_no_job(&self, system: &System) -> bool {
        let end = self.settle(system);
        let waits = |job: usize| {
            let hangs = |worker: &Worker| matches!(worker, Worker::Hanging(hold) if hold.job == job);
            end.jobs[job].state == State::Paused || end.workers.iter().any(hangs)
        };
        (0..JOBS).all(|job| end.jobs[job].state.is_over() || waits(job) || job == 1 && self.child_waits && waits(0))
    }

    fn ends_what_is_cancelled(&self, system: &System) -> bool {
        let end = self.settle(system);
        let ends = |(before, after): (&Job, &Job)| before.cancel == Cancel::No || after.state.is_over();
        system.jobs.iter().zip(&end.jobs).all(ends)
    }
}

/// The names of what must hold.
pub const LATE_WRITES: &str = "a late write changes nothing";
pub const ONE_RESULT: &str = "a job has one result";
pub const ENDS_STAY: &str = "what is over stays over";
pub const EPOCHS_GROW: &str = "a lease epoch only grows";
pub const NONE_LOST: &str = "no job is lost";
pub const CANCELS_END: &str = "what is cancelled ends";

/// And of what must come up.
pub const LATE_WRITE_REFUSED: &str = "a late write is refused";
pub const POISON: &str = "a job is poison";
pub const CANCEL_FORCED: &str = "a cancel is forced";
pub const LATER_ATTEMPTS_SUCCEED: &str = "later attempts succeed";

impl Model for Protocol {
    type State = System;
    type Action = Action;

    fn init_states(&self) -> Vec<System> {
        vec![self.begin()]
    }

    fn actions(&self, system: &System, actions: &mut Vec<Action>) {
        self.actions_of(system, actions);
    }

    fn next_state(&self, system: &System, action: Action) -> Option<System> {
        let mut next = self.apply(system, action);
        // Workers are all alike: which of them does something makes no difference.
        next.workers.sort_unstable();
        (next != *system).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(LATE_WRITES, |_, system: &System| !system.found.late_write_accepted),
            Property::always(ONE_RESULT, |_, system: &System| system.results.iter().all(|results| *results <= 1)),
            Property::always(ENDS_STAY, |_, system: &System| !system.found.end_changed),
            Property::always(EPOCHS_GROW, |_, system: &System| !system.found.epoch_fell),
            Property::always(NONE_LOST, |protocol: &Protocol, system| protocol.loses_no_job(system)),
            Property::always(CANCELS_END, |protocol: &Protocol, system| protocol.ends_what_is_cancelled(system)),
            Property::sometimes(LATE_WRITE_REFUSED, |_, system: &System| system.found.late_write_refused),
            Property::sometimes(POISON, |_, system: &System| {
                system.jobs.iter().any(|job| job.state == State::Failed && job.lost_count == 3)
            }),
            Property::sometimes(CANCEL_FORCED, |_, system: &System| {
                system.jobs.iter().zip(system.claims).any(|(job, claims)| job.epoch > claims)
            }),
            Property::sometimes(LATER_ATTEMPTS_SUCCEED, |_, system: &System| {
                system.jobs.iter().all(|job| job.state == State::Succeeded && job.attempt > 1)
            }),
        ]
    }
}
