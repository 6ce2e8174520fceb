//! What an annotation has found, for its result and for whoever asks while it runs. The database adds up; what passes through
//! here does not grow with the number of rows, but for one pass over the pairs of ground truth and label, whose rule of
//! being right is the task's. Both `api` and `worker` must see the same figures, so it is neither's.

mod worst;

use futures::TryStreamExt;

use crate::{
    domain::{
        AgreementCount, AgreementReport, AnnotationReport, AnnotationSpec, AnnotationStatus, AnnotationSums,
        CallCounts, JobId, Prices, RationaleFault, RationaleReport, TeacherAccuracy, VerdictCounts,
    },
    store::{Faulty, LabelPair, Store, StoreError},
    task::{proportions, scoring},
};

/// The report on a job as it stands now. While it runs, its figures may be a moment apart.
pub async fn of(
    store: &Store,
    job: JobId,
    spec: &AnnotationSpec,
    prices: Option<Prices>,
) -> Result<AnnotationReport, StoreError> {
    let sums = store.annotation_sums(job).await?;
    let lengths = store.annotation_lengths(job).await?;
    let pairs = Pairs::read(store, job, spec).await?;
    let (examined, faulty, faults) = store.rationale_faults(job).await?;
    let rejections = store.rejections(job, worst::CASES as i64).await?;
    let worst = worst::cases(store, job, &pairs.wrong, &rejections, &faults).await?;
    let counts = counts(&sums);
    Ok(AnnotationReport {
        counts,
        accuracy: pairs.accuracy(),
        agreement: agreement(store.agreements(job).await?),
        labels: store.annotation_labels(job).await?,
        input_characters: lengths.input,
        rationale_characters: lengths.rationale,
        latency_ms: store.call_latencies(job).await?,
        calls: CallCounts {
            answered: sums.answered_calls,
            failed: sums.failed_calls,
            unknown: sums.unknown_calls,
            reused: sums.reused_calls,
        },
        input_tokens: sums.answered.input,
        output_tokens: sums.answered.output,
        tokens_per_example: (counts.total > 0).then(|| sums.answered.total() as f64 / counts.total as f64),
        cost_usd: prices.and_then(|prices| prices.known_cost_usd(sums.answered)),
        unknown_cost_usd: prices.and_then(|prices| prices.known_cost_usd(sums.unknown)),
        rejections: rejections.into_iter().map(|rejections| rejections.alike).collect(),
        rationales: rationales(examined, faulty, &faults),
        worst,
    })
}

fn counts(sums: &AnnotationSums) -> VerdictCounts {
    let mut counts = VerdictCounts::default();
    AnnotationStatus::ALL.iter().for_each(|&status| counts.add(status, sums.of(status)));
    counts
}

fn agreement(histogram: Vec<AgreementCount>) -> AgreementReport {
    let examples: i64 = histogram.iter().map(|count| count.examples).sum();
    let sum: f64 = histogram.iter().map(|count| count.agreement * count.examples as f64).sum();
    AgreementReport { mean: (examples > 0).then(|| sum / examples as f64), histogram }
}

fn rationales(examined: i64, faulty: i64, found: &[Faulty]) -> RationaleReport {
    let mut faults: std::collections::BTreeMap<_, _> = RationaleFault::ALL.map(|fault| (fault, 0)).into();
    faults.extend(found.iter().map(|faulty| (faulty.fault, faulty.rationales)));
    RationaleReport { examined, faulty, faults }
}

/// Ground truth against the teacher's labels.
#[derive(Debug, Default)]
struct Pairs {
    examples: i64,
    correct: i64,
    /// The commonest confusions.
    wrong: Vec<LabelPair>,
}

impl Pairs {
    async fn read(store: &Store, job: JobId, spec: &AnnotationSpec) -> Result<Self, StoreError> {
        let mut found = Self::default();
        let mut pairs = std::pin::pin!(store.label_pairs(job));
        while let Some(pair) = pairs.try_next().await? {
            found.examples += pair.examples;
            // An answer that did not parse counts as wrong, and stands among the rejections.
            let Some(said) = &pair.teacher_label else { continue };
            if scoring::is_correct(&spec.task, said, &pair.label) {
                found.correct += pair.examples;
            } else if found.wrong.len() < worst::CASES {
                found.wrong.push(pair);
            }
        }
        Ok(found)
    }

    fn accuracy(&self) -> Option<TeacherAccuracy> {
        let [examples, correct] = [self.examples, self.correct].map(|count| u64::try_from(count).unwrap_or_default());
        (examples > 0).then(|| TeacherAccuracy {
            examples,
            correct,
            accuracy: proportions::share(correct, examples),
            accuracy_ci95: proportions::wilson_ci95(correct, examples),
        })
    }
}
