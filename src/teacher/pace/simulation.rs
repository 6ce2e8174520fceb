//! What must hold of a pace whatever happens: workers that come, go, die, stall and lose the database, against a teacher
//! that answers or pushes back, in simulated time with seeded chance.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    exchange::{Exchange, Limits, SHARE_KEEPS},
    local::{Local, May, Ticket},
};
use crate::domain::{PaceShare, TeacherPace, WorkerId};

/// One step of simulated time.
const TICK: Duration = Duration::from_millis(10);

/// The rows, as the store would keep them.
#[derive(Default)]
struct Rows {
    pace: TeacherPace,
    shares: BTreeMap<WorkerId, (PaceShare, DateTime<Utc>)>,
}

struct Worker {
    id: WorkerId,
    local: Local,
    /// Calls under way: when each was sent and when it ends.
    calls: Vec<(Ticket, Instant, Instant)>,
    /// Calls that it would begin if it could.
    waiting: u32,
    next_exchange: Instant,
    reaches_the_database: bool,
}

struct World {
    chance: ChaCha12Rng,
    limits: Limits,
    rows: Rows,
    workers: Vec<Worker>,
    begun: Instant,
    now: Instant,
    sent: Vec<Instant>,
}

impl World {
    fn new(seed: u64, limits: Limits) -> Self {
        let now = Instant::now();
        let chance = ChaCha12Rng::seed_from_u64(seed);
        Self { chance, limits, rows: Rows::default(), workers: Vec::new(), begun: now, now, sent: Vec::new() }
    }

    fn clock(&self) -> DateTime<Utc> {
        let since = TimeDelta::from_std(self.now - self.begun).unwrap();
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + since
    }

    fn join(&mut self, number: u128, waiting: u32) {
        self.workers.push(Worker {
            id: WorkerId(Uuid::from_u128(number)),
            local: Local::new(self.limits.has_rates()),
            calls: Vec::new(),
            waiting,
            next_exchange: self.now,
            reaches_the_database: true,
        });
    }

    fn under_way(&self) -> usize {
        self.workers.iter().map(|worker| worker.calls.len()).sum()
    }

    /// One tick: calls end, as `pushes_back` says; exchanges that are due happen; calls begin, each to last `lasting`.
    fn tick(&mut self, lasting: Duration, pushes_back: impl Fn(Instant) -> bool) {
        self.now += TICK;
        let (now, clock) = (self.now, self.clock());
        for worker in &mut self.workers {
            let urgent = end_calls(worker, now, &pushes_back);
            if (urgent || worker.next_exchange <= now) && worker.reaches_the_database {
                exchange(worker, &mut self.rows, self.limits, (now, clock), self.chance.random());
                worker.next_exchange = now + Duration::from_millis(self.chance.random_range(200..300));
            }
            while (worker.calls.len() as u32) < worker.waiting
                && let May::Begin(ticket) = worker.local.begin(now)
            {
                worker.calls.push((ticket, now, now + lasting));
                self.sent.push(now);
            }
        }
    }

    /// The most calls that were sent in any span of this length.
    fn most_in(&self, span: Duration) -> usize {
        let within =
            |first: usize| self.sent[first..].iter().take_while(|sent| **sent < self.sent[first] + span).count();
        (0..self.sent.len()).map(within).max().unwrap_or_default()
    }
}

/// Whether somebody pushed back.
fn end_calls(worker: &mut Worker, now: Instant, pushes_back: impl Fn(Instant) -> bool) -> bool {
    let (ended, calls): (Vec<_>, Vec<_>) = worker.calls.drain(..).partition(|(_, _, ends)| *ends <= now);
    worker.calls = calls;
    let mut urgent = false;
    for (ticket, sent, ends) in ended {
        worker.local.end();
        if pushes_back(ends) {
            worker.local.pushed_back(sent, Duration::ZERO, now);
            urgent = true;
        } else {
            worker.local.answered(ticket, Some(100));
        }
    }
    urgent
}

fn exchange(worker: &mut Worker, rows: &mut Rows, limits: Limits, (now, clock): (Instant, DateTime<Utc>), chance: f64) {
    let waiting = worker.waiting.saturating_sub(worker.calls.len() as u32);
    let (report, _) = worker.local.report(waiting, now);
    let others = rows.shares.values().filter(|(share, expires)| share.worker != worker.id && *expires > clock);
    let others: Vec<_> = others.map(|(share, _)| *share).collect();
    let exchange = Exchange { limits, report: Some(report), chance };
    let (share, grant) = exchange.settle(worker.id, &mut rows.pace, &others, clock);
    rows.shares.insert(worker.id, (share.unwrap(), clock + TimeDelta::from_std(SHARE_KEEPS).unwrap()));
    worker.local.take(&grant, now, now);
}

fn concurrency(max_concurrency: u32) -> Limits {
    Limits { max_concurrency, requests_per_minute: None, tokens_per_minute: None }
}

#[test]
fn workers_that_come_die_and_lose_the_database_never_have_more_calls_under_way_than_allowed() {
    for seed in 0..20 {
        let mut world = World::new(seed, concurrency(16));
        let mut number = 0;
        let mut busy = 0;
        for tick in 0..6000 {
            if world.workers.len() < 4 && world.chance.random_bool(0.01) {
                number += 1;
                let waiting = world.chance.random_range(0..40);
                world.join(number, waiting);
            }
            if !world.workers.is_empty() && world.chance.random_bool(0.003) {
                let victim = world.chance.random_range(0..world.workers.len());
                match world.chance.random_range(0..3) {
                    // Its connections close, and its calls end with them.
                    0 => drop(world.workers.swap_remove(victim)),
                    1 => world.workers[victim].reaches_the_database ^= true,
                    _ => world.workers[victim].waiting = world.chance.random_range(0..40),
                }
            }
            let lasting = Duration::from_millis(world.chance.random_range(20..400));
            world.tick(lasting, |_| false);
            assert!(world.under_way() <= 16, "seed {seed}, tick {tick}: {}", world.under_way());
            busy += world.under_way();
        }
        assert!(busy > 6000, "seed {seed}: hardly anything was asked");
    }
}

#[test]
fn a_newcomer_gets_its_share_as_others_give_it_up_and_the_share_of_a_dead_worker_expires() {
    let mut world = World::new(7, concurrency(12));
    let run = |world: &mut World, seconds: u32| {
        for _ in 0..seconds * 100 {
            world.tick(Duration::from_millis(100), |_| false);
        }
        world.workers.iter().map(|worker| worker.calls.len()).collect::<Vec<_>>()
    };
    world.join(1, 64);
    assert_eq!(run(&mut world, 1), [12]);
    world.join(2, 64);
    assert_eq!(run(&mut world, 2), [6, 6]);
    world.join(3, 2);
    assert_eq!(run(&mut world, 2), [5, 5, 2]);
    world.workers.remove(0);
    assert_eq!(run(&mut world, 10), [5, 2], "what a dead worker had is nobody's yet");
    assert_eq!(run(&mut world, 7), [10, 2]);
    world.workers[0].reaches_the_database = false;
    assert_eq!(run(&mut world, 5), [10, 2], "it goes on with what it holds");
    assert_eq!(run(&mut world, 7), [0, 2], "until that may soon be another's");
}

#[test]
fn the_limit_on_requests_holds_in_any_ten_seconds_for_all_workers_together() {
    for (seed, per_minute) in [(1, 600), (2, 1800), (3, 6000)] {
        let mut world = World::new(seed, Limits { requests_per_minute: Some(per_minute), ..concurrency(64) });
        for tick in 0..6000 {
            if tick % 700 == 0 && world.workers.len() < 3 {
                world.join(u128::from(tick as u32) + 1, 64);
            }
            // Calls of very different lengths, and workers without anything to ask for a while.
            let idle = world.chance.random_bool(0.002);
            for worker in &mut world.workers {
                worker.waiting = if idle { 0 } else { 64 };
            }
            let lasting = Duration::from_millis(world.chance.random_range(10..900));
            world.tick(lasting, |_| false);
        }
        let (most, allowed) = (world.most_in(Duration::from_secs(10)), per_minute as usize / 6);
        assert!(most as f64 <= allowed as f64 * 1.05 + 1.0, "{most} in ten seconds, {allowed} allowed");
        assert!(world.sent.len() >= allowed * 6 * 9 / 10 - 10, "{} of {}", world.sent.len(), allowed * 6);
    }
}

#[test]
fn the_limit_on_tokens_holds_from_the_first_call_on_whose_answer_all_others_wait_for() {
    let mut world = World::new(5, Limits { tokens_per_minute: Some(60_000), ..concurrency(32) });
    world.join(1, 32);
    world.join(2, 32);
    for _ in 0..6000 {
        world.tick(Duration::from_millis(300), |_| false);
    }
    let first = world.sent[0] + Duration::from_millis(300);
    assert_eq!(world.sent.iter().filter(|sent| **sent < first).count(), 1, "nobody knows what a call takes");
    // A call takes 100 tokens: ten calls a second.
    let most = world.most_in(Duration::from_secs(10));
    assert!((95..=106).contains(&most), "{most} calls in ten seconds");
}

#[test]
fn after_an_outage_the_first_calls_are_the_floor_and_the_window_comes_back() {
    let mut world = World::new(3, concurrency(64));
    (1..=3).for_each(|number| world.join(number, 64));
    let lasting = Duration::from_millis(50);
    let run = |world: &mut World, seconds: u64, from: Instant, to: Instant| {
        for _ in 0..seconds * 100 {
            world.tick(lasting, |ends| ends >= from && ends < to);
        }
    };
    let begin = world.now;
    let (from, to) = (begin + Duration::from_millis(5_500), begin + Duration::from_secs(65));
    run(&mut world, 5, from, to);
    assert_eq!(world.under_way(), 64);
    run(&mut world, 60, from, to);
    let probes = world.sent.iter().filter(|sent| **sent >= from + Duration::from_secs(2) && **sent < to).count();
    assert!((3..60).contains(&probes), "{probes} probes in an outage of a minute");
    world.sent.clear();
    while world.sent.is_empty() {
        run(&mut world, 1, from, to);
    }
    let first = world.sent[0];
    let burst = world.sent.iter().filter(|sent| **sent < first + lasting).count();
    assert_eq!(burst, 1, "before the first answer nobody begins another call");
    run(&mut world, 10, from, to);
    assert_eq!(world.under_way(), 64);
}
