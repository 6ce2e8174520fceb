//! Reports that were just made. One over a large job takes the database seconds, so one client that asks again and again, or
//! many that ask at once, must not hold its connections.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Mutex as Turn, Semaphore};

use crate::{
    domain::{AnnotationReport, AnnotationSpec, AnnotationSums, JobId, Prices},
    report,
    store::{Store, StoreError},
};

/// Reports made at once, over all jobs.
const AT_ONCE: usize = 2;
/// A report of a running job is given again for so many times as long as it took: one who asks without a pause takes a tenth of a
/// connection's time, and a small job's report is as good as new. None is given again for longer than a minute.
const AGAIN_FOR: u32 = 9;
const AT_MOST: Duration = Duration::from_secs(60);
/// Reports that are kept.
const KEPT: usize = 64;

/// The reports of this process, by job.
#[derive(Debug)]
pub struct Reports {
    kept: Mutex<HashMap<JobId, Arc<Place>>>,
    making: Arc<Semaphore>,
}

/// One job's report; whoever finds nothing good here makes it, and the others wait for that one.
type Place = Turn<Option<Kept>>;

#[derive(Debug)]
struct Kept {
    report: AnnotationReport,
    /// What the job had added up to.
    sums: AnnotationSums,
    made_at: Instant,
    took: Duration,
}

impl Kept {
    /// The sums change with every verdict and every call: where they are the same, so is the report.
    fn is_good(&self, sums: &AnnotationSums) -> bool {
        self.sums == *sums || self.made_at.elapsed() < (self.took * AGAIN_FOR).min(AT_MOST)
    }
}

impl Default for Reports {
    fn default() -> Self {
        Self { kept: Mutex::default(), making: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Reports {
    /// The report on a job, of now or of a moment ago.
    pub async fn of(
        &self,
        store: &Store,
        job: JobId,
        spec: &AnnotationSpec,
        prices: Option<Prices>,
    ) -> Result<AnnotationReport, StoreError> {
        let place = self.place(job);
        // A task of its own: a client that goes away, or whose time is up, must not begin it anew with its next question.
        let (store, spec, making) = (store.clone(), spec.clone(), Arc::clone(&self.making));
        let made = tokio::spawn(async move { current(&store, job, &spec, prices, &place, &making).await });
        made.await.map_err(StoreError::Abandoned)?
    }

    fn place(&self, job: JobId) -> Arc<Place> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT && !kept.contains_key(&job) {
            // Those that somebody is waiting for stay; of the others any may go.
            let idle = kept.iter().find(|(_, place)| Arc::strong_count(place) == 1).map(|(job, _)| *job);
            idle.map(|idle| kept.remove(&idle));
        }
        Arc::clone(kept.entry(job).or_default())
    }
}

async fn current(
    store: &Store,
    job: JobId,
    spec: &AnnotationSpec,
    prices: Option<Prices>,
    place: &Place,
    making: &Semaphore,
) -> Result<AnnotationReport, StoreError> {
    let mut kept = place.lock().await;
    let sums = store.annotation_sums(job).await?;
    if let Some(kept) = kept.as_ref().filter(|kept| kept.is_good(&sums)) {
        return Ok(kept.report.clone());
    }
    let _making = making.acquire().await.expect("the semaphore is never closed");
    let made_at = Instant::now();
    let report = report::of(store, job, spec, prices).await?;
    *kept = Some(Kept { report: report.clone(), sums, made_at: Instant::now(), took: made_at.elapsed() });
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_good_while_nothing_has_changed_or_for_nine_times_as_long_as_it_took() {
        let sums = AnnotationSums { answered_calls: 7, ..AnnotationSums::default() };
        let more = AnnotationSums { answered_calls: 8, ..sums };
        let kept = |age, took| {
            let made_at = Instant::now().checked_sub(Duration::from_secs(age)).unwrap();
            Kept { report: AnnotationReport::default(), sums, made_at, took: Duration::from_secs(took) }
        };
        assert!(kept(50, 0).is_good(&sums), "nothing has changed");
        assert!(kept(0, 100).is_good(&more) && !kept(0, 0).is_good(&more));
        assert!(kept(17, 2).is_good(&more) && !kept(18, 2).is_good(&more));
        assert!(!kept(60, 100).is_good(&more), "a minute is the most");
    }
}
