//! What an annotation has settled so far, told while it runs: the job's progress, and figures by the names of
//! `domain::metric` for whoever watches what it brings and costs.

use std::{
    collections::BTreeMap,
    sync::{Mutex as Lock, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use super::{Attempt, AttemptError};
use crate::{
    domain::{Annotation, Progress, metric},
    store::AnnotationCounts,
    teacher::TeacherClient,
};

/// Time between two writes of the progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// Time between two writes of the figures, which stay as rows.
const FIGURES_EVERY: Duration = Duration::from_secs(5);

/// Sums over all settled answers of a job, this attempt's and earlier ones'.
pub struct Tally<'a> {
    attempt: &'a Attempt,
    teacher: &'a TeacherClient,
    total: i64,
    sums: Lock<Sums>,
    /// Held while something is written: one writer at a time, so that nothing goes back.
    written: Mutex<Written>,
}

#[derive(Clone, Copy, Default)]
struct Sums {
    answers: [i64; metric::ANSWERS.len()],
    input_tokens: i64,
    output_tokens: i64,
}

/// What was written last.
struct Written {
    progress_at: Instant,
    figures_at: Instant,
    settled: i64,
}

impl<'a> Tally<'a> {
    /// Begins with what earlier attempts have settled, and writes it as the progress.
    pub async fn begin(attempt: &'a Attempt, teacher: &'a TeacherClient, total: i64) -> Result<Self, AttemptError> {
        let counts = attempt.persist(|| attempt.store().annotation_counts(attempt.job.id)).await?;
        let sums = Sums::of(&counts);
        let now = Instant::now();
        let written = Written { progress_at: now, figures_at: now, settled: sums.settled() };
        let tally = Self { attempt, teacher, total, sums: Lock::new(sums), written: Mutex::new(written) };
        tally.write_progress(sums).await?;
        Ok(tally)
    }

    /// Counts a settled answer; writes when that is due and nobody else is writing.
    pub async fn add(&self, annotation: &Annotation) -> Result<(), AttemptError> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner).add(annotation);
        let Ok(mut written) = self.written.try_lock() else { return Ok(()) };
        if written.progress_at.elapsed() >= PROGRESS_EVERY {
            self.write_progress(self.sums()).await?;
            written.progress_at = Instant::now();
        }
        if written.figures_at.elapsed() >= FIGURES_EVERY {
            self.write_figures(&mut written).await?;
        }
        Ok(())
    }

    /// Writes everything, at the end of the questions.
    pub async fn close(&self) -> Result<(), AttemptError> {
        let mut written = self.written.lock().await;
        self.write_progress(self.sums()).await?;
        self.write_figures(&mut written).await
    }

    fn sums(&self) -> Sums {
        *self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write_progress(&self, sums: Sums) -> Result<(), AttemptError> {
        let progress = Progress { step: sums.settled(), total: self.total };
        self.attempt.persist(|| self.attempt.store().progress(self.attempt.lease, progress)).await
    }

    async fn write_figures(&self, written: &mut Written) -> Result<(), AttemptError> {
        let sums = self.sums();
        let mut values = sums.figures();
        let cost = self.teacher.cost_usd(sums.input_tokens, sums.output_tokens);
        values.insert(metric::COST_USD.to_owned(), cost);
        // Over a shorter time the pace would be chance.
        let seconds = written.figures_at.elapsed().as_secs_f64();
        if seconds >= PROGRESS_EVERY.as_secs_f64() {
            let pace = (sums.settled() - written.settled) as f64 / seconds;
            values.insert(metric::EXAMPLES_PER_SECOND.to_owned(), pace);
        }
        let (store, lease) = (self.attempt.store(), self.attempt.lease);
        self.attempt.persist(|| store.append_metrics(lease, sums.settled(), &values)).await?;
        (written.figures_at, written.settled) = (Instant::now(), sums.settled());
        Ok(())
    }
}

impl Sums {
    fn of(counts: &AnnotationCounts) -> Self {
        let answers = metric::ANSWERS.map(|(status, _)| counts.of(status));
        Self { answers, input_tokens: counts.input_tokens, output_tokens: counts.output_tokens }
    }

    fn add(&mut self, annotation: &Annotation) {
        for (count, (status, _)) in self.answers.iter_mut().zip(metric::ANSWERS) {
            *count += i64::from(status == annotation.status);
        }
        self.input_tokens += annotation.input_tokens;
        self.output_tokens += annotation.output_tokens;
    }

    fn settled(&self) -> i64 {
        self.answers.iter().sum()
    }

    fn figures(&self) -> BTreeMap<String, f64> {
        let answers = metric::ANSWERS.into_iter().zip(self.answers).map(|((_, name), count)| (name, count));
        let tokens = [(metric::INPUT_TOKENS, self.input_tokens), (metric::OUTPUT_TOKENS, self.output_tokens)];
        answers.chain(tokens).map(|(name, count)| (name.to_owned(), count as f64)).collect()
    }
}
