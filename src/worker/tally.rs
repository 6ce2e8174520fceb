//! What an annotation comes to, told while it runs: the job's progress, and figures by the names of `domain::metric` for
//! whoever watches what it brings and costs. It reads the job's sums, so it tells of all workers' work.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, task::JoinHandle, time::timeout};

use super::{AttemptError, Hold, unusable};
use crate::domain::{AnnotationSums, JobError, Prices, Progress, metric};

/// Time between two looks.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// Time between two writes of the figures, which stay as rows.
const FIGURES_EVERY: Duration = Duration::from_secs(5);

/// Tells what comes, in a task of its own, until it is closed.
#[derive(Debug)]
pub struct Tally {
    enough: oneshot::Sender<()>,
    telling: JoinHandle<Result<(), AttemptError>>,
}

struct Telling {
    hold: Hold,
    prices: Prices,
    total: i64,
    /// What the figures last said.
    told: AnnotationSums,
    told_at: Instant,
    /// Whether it has told that most answers cannot be used.
    has_warned: bool,
}

impl Tally {
    /// Begins with what earlier attempts have settled, and writes it as the progress.
    pub async fn begin(hold: &Hold, prices: Prices, total: i64) -> Result<Self, AttemptError> {
        let (told, told_at) = (AnnotationSums::default(), Instant::now());
        let mut telling = Telling { hold: hold.clone(), prices, total, told, told_at, has_warned: false };
        telling.told = telling.sums().await?;
        telling.progress(&telling.told).await?;
        let (enough, until_enough) = oneshot::channel();
        Ok(Self { enough, telling: tokio::spawn(telling.run(until_enough)) })
    }

    /// Writes everything, at the end of the questions.
    pub async fn close(self) -> Result<(), AttemptError> {
        drop(self.enough);
        let told = self.telling.await;
        told.map_err(|error| AttemptError::passing(JobError::new("internal", error.to_string())))?
    }
}

impl Telling {
    async fn run(mut self, mut until_enough: oneshot::Receiver<()>) -> Result<(), AttemptError> {
        let mut seen = self.told;
        while timeout(PROGRESS_EVERY, &mut until_enough).await.is_err() {
            let sums = self.sums().await?;
            if sums != seen {
                self.progress(&sums).await?;
                self.warn(&sums).await?;
                seen = sums;
            }
            if sums != self.told && self.told_at.elapsed() >= FIGURES_EVERY {
                self.figures(sums).await?;
            }
        }
        let sums = self.sums().await?;
        self.progress(&sums).await?;
        self.warn(&sums).await?;
        self.figures(sums).await
    }

    async fn sums(&self) -> Result<AnnotationSums, AttemptError> {
        self.hold.persist(|| self.hold.store.annotation_sums(self.hold.lease.job_id)).await
    }

    async fn progress(&self, sums: &AnnotationSums) -> Result<(), AttemptError> {
        let progress = Progress { step: sums.settled(), total: self.total };
        self.hold.persist(|| self.hold.store.progress(self.hold.lease, progress)).await
    }

    /// Tells, once, that most answers cannot be used.
    async fn warn(&mut self, sums: &AnnotationSums) -> Result<(), AttemptError> {
        if self.has_warned || !unusable::are_most(sums) {
            return Ok(());
        }
        let (store, lease) = (&self.hold.store, self.hold.lease);
        let found = self.hold.persist(|| store.rejections(lease.job_id, unusable::REASONS)).await?;
        let reasons: Vec<_> = found.into_iter().map(|rejections| rejections.alike).collect();
        let event = unusable::most(sums, &reasons);
        self.hold.persist(|| store.append_event_once(lease, &event)).await?;
        self.has_warned = true;
        Ok(())
    }

    async fn figures(&mut self, sums: AnnotationSums) -> Result<(), AttemptError> {
        let mut values = figures(&sums, self.prices);
        // Over a shorter time the pace would be chance.
        let seconds = self.told_at.elapsed().as_secs_f64();
        if seconds >= PROGRESS_EVERY.as_secs_f64() {
            let pace = (sums.settled() - self.told.settled()) as f64 / seconds;
            values.insert(metric::EXAMPLES_PER_SECOND.to_owned(), pace);
        }
        let (store, lease) = (&self.hold.store, self.hold.lease);
        self.hold.persist(|| store.append_metrics(lease, sums.settled(), &values)).await?;
        (self.told, self.told_at) = (sums, Instant::now());
        Ok(())
    }
}

fn figures(sums: &AnnotationSums, prices: Prices) -> BTreeMap<String, f64> {
    let answers = metric::ANSWERS.map(|(status, name)| (name, sums.of(status)));
    let others = [
        (metric::INPUT_TOKENS, sums.answered.input),
        (metric::OUTPUT_TOKENS, sums.answered.output),
        (metric::ANSWERED_CALLS, sums.answered_calls),
        (metric::FAILED_CALLS, sums.failed_calls),
        (metric::UNKNOWN_CALLS, sums.unknown_calls),
        (metric::REUSED_CALLS, sums.reused_calls),
    ];
    let counts = answers.into_iter().chain(others).map(|(name, count)| (name.to_owned(), count as f64));
    let mut values: BTreeMap<_, _> = counts.collect();
    if let Some(cost) = prices.known_cost_usd(sums.answered) {
        values.insert(metric::COST_USD.to_owned(), cost);
    }
    if sums.settled() > 0 {
        let each = sums.answered.total() as f64 / sums.settled() as f64;
        values.insert(metric::TOKENS_PER_EXAMPLE.to_owned(), each);
    }
    values
}
