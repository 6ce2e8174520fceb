//! What it takes to train a student.

use futures::TryStreamExt;

use super::{
    PAST_JOBS, Unknown,
    memory::{Asked, Lengths},
    sample, tokens,
};
use crate::{
    api::ProjectState,
    domain::{
        DistillationSpec, Estimate, Example, FileId, Job, JobKind, JobSpec, ModelTarget, RationalesPerExample, Span,
        Split, StudentSource, StudentSpec, TrainingSource, Validating,
    },
    inference::StudentShape,
    layout, machine,
    store::PastJob,
};

/// Characters of a label and of a rationale that are not written yet.
const LABEL_CHARACTERS: f64 = 12.0;
const RATIONALE_CHARACTERS: f64 = 160.0;
/// Operations a second where no finished training tells: a laptop's fp32, a server's bf16, a GPU.
const OPERATIONS_A_SECOND: Span = Span { low: 5e10, expected: 3e11, high: 2e13 };
/// Forward and backward pass: operations for each parameter and token.
const OPERATIONS: f64 = 6.0;
/// What reading, the tokenizer, evaluations and the checkpoint add.
const OVERHEAD_SECONDS: Span = Span { low: 2.0, expected: 10.0, high: 60.0 };

pub(super) async fn estimate(state: &ProjectState, spec: &DistillationSpec) -> Result<Estimate, Unknown> {
    let rows = Rows::of(state, spec).await?;
    let shape = shape(state, spec).await?;
    let hyperparameters = &spec.hyperparameters;
    let steps = hyperparameters.steps(rows.learned as usize) * hyperparameters.seeds().len() as i64;
    let asked = Asked { shape: &shape, method: spec.method, knobs: hyperparameters, lengths: &rows.lengths };
    let memory = asked.table(machine::memory_bytes());
    let example = rows.lengths.tokens_of_example(spec.method);
    let tokens = steps as f64 * f64::from(hyperparameters.batch_size) * example;
    let work = shape.parameters as f64 * tokens;
    let past = state.store.past_jobs(state.project, JobKind::Distillation, PAST_JOBS).await?;
    let paces: Vec<f64> = past.iter().filter_map(pace).collect();
    Ok(Estimate {
        rows: rows.learned,
        steps: u64::try_from(steps).ok(),
        parameters: Some(shape.parameters),
        input_tokens: Some(Span::exactly(tokens)),
        memory_bytes: Some(memory.total_bytes),
        memory: Some(memory),
        seconds: Some(seconds(work, &paces)),
        drawn_from_jobs: paces.len().try_into().unwrap_or(u32::MAX),
        ..Estimate::default()
    })
}

/// Seconds for each parameter and token, as a finished training had them.
fn pace(past: &PastJob) -> Option<f64> {
    let work = past.estimate.parameters? as f64 * past.estimate.input_tokens?.expected;
    Some(past.taken.seconds? / work).filter(|pace| pace.is_finite() && *pace > 0.0)
}

fn seconds(work: f64, paces: &[f64]) -> Span {
    if paces.is_empty() {
        let by = |operations: f64| OPERATIONS * work / operations;
        let rule = Span {
            low: by(OPERATIONS_A_SECOND.high),
            expected: by(OPERATIONS_A_SECOND.expected),
            high: by(OPERATIONS_A_SECOND.low),
        };
        return rule.plus(OVERHEAD_SECONDS);
    }
    // The middle one: a single training on another machine must not spoil the guess.
    let mut sorted = paces.to_vec();
    sorted.sort_by(f64::total_cmp);
    let low = 0.5 * sorted.first().copied().unwrap_or_default();
    let high = 2.0 * sorted.last().copied().unwrap_or_default();
    Span { low, expected: sorted[sorted.len() / 2], high }.times(work)
}

/// The rows that are learned from.
struct Rows {
    learned: u64,
    lengths: Lengths,
}

impl Rows {
    async fn of(state: &ProjectState, spec: &DistillationSpec) -> Result<Self, Unknown> {
        let mut rows = 0;
        let mut examples = Vec::new();
        for source in &spec.training {
            let Source { file, limit, is_labeled } = source_of(state, source).await?;
            let file = sample::file(state, file).await?;
            let counts = file.validation.rows_of(&[Split::Train]);
            rows += if is_labeled { counts.labeled_by(spec.label_source) } else { counts.rows }.min(limit);
            examples.extend(sample::examples(state, &file, &[Split::Train]).await?);
        }
        let kept = match spec.validation {
            Validating::Fraction { fraction, .. } => 1.0 - fraction,
            Validating::File(_) => 1.0,
        };
        let learned = rows as f64 * kept * spec.hyperparameters.train_fraction;
        let label = |example: &Example| example.label_from(spec.label_source).map(str::to_owned);
        let labels: Vec<_> = examples.iter().map(label).collect();
        let cut = |characters: f64, most: u32| tokens(characters).min(f64::from(most)) + 1.0;
        let inputs = sample::mean_characters(examples.iter().map(|example| Some(example.input.as_str())), 0.0);
        let prefix = spec.label_prefix.chars().count() as f64;
        let label = sample::mean_characters(labels.iter().map(Option::as_deref), LABEL_CHARACTERS);
        let rationales = || examples.iter().flat_map(Example::rationales).map(|rationale| Some(rationale.as_str()));
        let rationale = sample::mean_characters(rationales(), RATIONALE_CHARACTERS);
        let limits = spec.hyperparameters.limits();
        let lengths = Lengths {
            input: cut(inputs + prefix, limits.input),
            label: cut(label, limits.label),
            rationale: cut(rationale, limits.rationale),
            rationales: match spec.rationales.per_example {
                RationalesPerExample::All => (rationales().count() as f64 / examples.len().max(1) as f64).max(1.0),
                RationalesPerExample::First | RationalesPerExample::OnePerEpoch => 1.0,
            },
        };
        Ok(Self { learned: learned.round() as u64, lengths })
    }
}

/// Where training rows are.
struct Source {
    file: FileId,
    /// Rows of it that come, at most.
    limit: u64,
    /// Whether the labels that are learned are there; else the teacher has yet to write them.
    is_labeled: bool,
}

/// The file whose rows are learned, or whose rows will be once they are annotated.
async fn source_of(state: &ProjectState, source: &TrainingSource) -> Result<Source, Unknown> {
    let id = match source {
        TrainingSource::File(id) => return Ok(Source { file: *id, limit: u64::MAX, is_labeled: true }),
        TrainingSource::AnnotationJob(id) => *id,
    };
    let job = state.store.job(state.project, id).await?;
    let written = job.as_ref().and_then(Job::output_file);
    match job.map(|job| job.spec) {
        Some(JobSpec::Annotation(spec)) => {
            let limit = spec.max_examples.unwrap_or(u64::MAX);
            Ok(Source { file: written.unwrap_or(spec.file), limit, is_labeled: written.is_some() })
        }
        _ => Err(Unknown::Unreadable(format!("{id} is no annotation job"))),
    }
}

/// The student's sizes, from its configuration.
async fn shape(state: &ProjectState, spec: &DistillationSpec) -> Result<StudentShape, Unknown> {
    let name = match &spec.student {
        StudentSpec::FromScratch(shape) => return Ok(StudentShape::from_scratch(shape)),
        StudentSpec::Model(name) => name,
    };
    let found = state.registry.find_for_job(state.project, name, spec.student_target.as_ref()).await;
    let config = match found.map_err(|error| Unknown::Unreadable(error.to_string()))? {
        None if matches!(spec.student_target, Some(ModelTarget::Hub(_))) => {
            return Err(Unknown::Unreadable(format!("{name:?} is not on this machine yet")));
        }
        None => return Err(Unknown::Unreadable(format!("there is no model {name:?} any more"))),
        Some(StudentSource::Directory { path, .. } | StudentSource::Hub { path, .. }) => {
            tokio::fs::read(path.join(layout::CONFIG))
                .await
                .map_err(|error| Unknown::Unreadable(format!("{}: {error}", path.display())))?
        }
        Some(StudentSource::Registered(model)) => published_config(state, &model.artifact_prefix).await?,
        Some(StudentSource::Checkpoint(checkpoint)) => published_config(state, &checkpoint.artifact_prefix).await?,
    };
    StudentShape::from_config(&config).map_err(|error| Unknown::Unreadable(error.to_string()))
}

async fn published_config(state: &ProjectState, prefix: &str) -> Result<Vec<u8>, Unknown> {
    let unreadable = |error: crate::artifacts::ArtifactError| Unknown::Unreadable(error.to_string());
    let chunks = state.artifacts.read(&format!("{prefix}/config.json")).await.map_err(unreadable)?;
    let whole = chunks.try_fold(Vec::new(), async |mut all, chunk| {
        all.extend_from_slice(&chunk);
        Ok(all)
    });
    whole.await.map_err(unreadable)
}
