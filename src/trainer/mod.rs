//! The training loop of one attempt. It is given a folder and a spec and gives frames and a checkpoint back; it knows no
//! job, no SQL and no HTTP.
//!
//! What is learned, by method:
//!
//! | method | input | target |
//! |---|---|---|
//! | `step_by_step` | label prefix + input | label |
//! | | rationale prefix + input | rationale |
//! | `standard` | label prefix + input | label |
//! | `rationale_then_label` | label prefix + input | `{rationale} So the answer is: {label}` |
//!
//! The research code's `standard` learns without a prefix. Here every student learns with the label prefix, so that a
//! server asks all of them alike; the prefix is in the checkpoint's `stepwise.json`.
//!
//! Randomness is stateless (`randomness`): on a CPU the same spec, files, thread count, micro-batch size and kind of processor give
//! the same bytes, whether the training was interrupted (`snapshot`) or not. A GPU does not promise that.

mod adafactor;
mod batch;
mod best;
mod calibration;
mod curriculum;
mod data;
mod division;
mod dropped;
mod error;
mod evaluation;
mod faulty_rationales;
mod fitting;
mod gradient;
mod learner;
mod lessons;
mod loss;
mod micro_batch;
mod mutual_information;
mod optimizer;
mod parameters;
mod patience;
mod randomness;
mod rationales;
mod report;
mod rounds;
mod schedule;
mod snapshot;
mod stop;
mod targets;
mod texts;
mod training;
mod way_back;

use std::path::Path;

use serde_json::json;

pub use error::TrainError;
pub use snapshot::SnapshotError;
pub use stop::{Interrupted, StopRequest};

use self::batch::Order;
use self::curriculum::Curriculum;
use self::data::Data;
use self::evaluation::Exam;
use self::learner::Learner;
use self::lessons::LessonWriter;
use self::report::Reporter;
use self::rounds::Rounds;
use self::schedule::Course;
use self::snapshot::Snapshot;
use self::training::{Assignment, Training};
use crate::device;
use crate::domain::{Accuracies, AttemptOutcome, AttemptSpec, Frame, SeedOutcome, Split, StudentCard};

/// How a training ends that does not fail.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one to a training; a box would cost more to read than it saves"
)]
pub enum Ended {
    /// It is done: a checkpoint lies in `checkpoint/`.
    Finished(AttemptOutcome),
    /// It was asked to stop, and its last frame was about its snapshot.
    Stopped,
}

/// Trains a student as `spec` says, from files in `folder`, and writes `folder/checkpoint`; when asked to stop, a
/// snapshot instead, from which another call goes on to the same checkpoint.
///
/// # Errors
///
/// Rows that cannot be learned from, broken student files, a damaged snapshot to continue from, a device that is not
/// there or gives up, and a loss that stays infinite or not a number.
pub fn train(
    folder: &Path,
    spec: &AttemptSpec,
    stop: &StopRequest,
    report: &mut dyn FnMut(Frame),
) -> Result<Ended, TrainError> {
    device::catch("training", || attempt(folder, spec, stop, report))?
}

fn attempt(
    folder: &Path,
    spec: &AttemptSpec,
    stop: &StopRequest,
    send: &mut dyn FnMut(Frame),
) -> Result<Ended, TrainError> {
    let hyperparameters = &spec.hyperparameters;
    set_threads(hyperparameters.threads);
    let reporter = Reporter::new(send, hyperparameters.log_every);

    let data = Data::read(folder, spec)?;
    let counts = data.counts();
    let mut snapshot = spec.resume.as_ref().map(|place| Snapshot::read(&folder.join(place), spec)).transpose()?;
    let rounds = snapshot.as_mut().map(|snapshot| std::mem::take(&mut snapshot.rounds)).unwrap_or_default();
    let round = rounds.next(hyperparameters).ok_or_else(SnapshotError::after_the_end)?;
    let learner = match &snapshot {
        Some(snapshot) => Learner::resume(folder, spec, snapshot)?,
        None => Learner::start(folder, spec, &data, round.seed)?,
    };

    let tokenizer = learner.tokenizer.clone();
    let mut writer = LessonWriter::new(spec, &tokenizer);
    writer.check_labels()?;
    let curriculum = Curriculum::new(spec, data.training.iter().map(|row| writer.lesson(row)).collect());
    let validation = Exam::new(data.validation, hyperparameters.eval_rows, &mut writer);
    let test = Exam::new(data.test, None, &mut writer);
    let given = Assignment { folder, spec, stop, texts: writer.texts };
    let material = Material { curriculum, validation, test };

    let course = Course::new(hyperparameters, spec.scales_by_weight(), material.curriculum.rows());
    let mut training = Training::new(given, course, learner, (rounds, round), reporter);
    match snapshot {
        Some(snapshot) => training.resume(snapshot)?,
        None => training.announce(counts, &data.dropped),
    }

    loop {
        if !learn(&mut training, &material)? {
            training.snapshot();
            return Ok(Ended::Stopped);
        }
        if !training.begin_next_round()? {
            break;
        }
    }

    let rounds = training.finish();
    let known = AttemptOutcome {
        training_examples: material.curriculum.rows() as u64,
        dropped: data.dropped.counts,
        texts: given.texts.learned(),
        parameters: training.learner.parameters.count(),
        ..AttemptOutcome::default()
    };
    let outcome = outcome(&rounds, known);
    training.learner.save(&folder.join("checkpoint"), &finished_card(&given, &material, &outcome))?;
    Ok(Ended::Finished(outcome))
}

/// What is learned and asked in every round.
struct Material {
    curriculum: Curriculum,
    validation: Exam,
    test: Exam,
}

/// Takes a round from where it stands to its end; false where it was asked to stop before.
fn learn(training: &mut Training<'_>, material: &Material) -> Result<bool, TrainError> {
    let Material { curriculum, validation, test } = material;
    let batch_size = training.given.spec.hyperparameters.batch_size as usize;
    let mut order = Order::new(training.round.seed, curriculum.rows());
    loop {
        training.examine_when_due(validation)?;
        training.leave_checkpoint_when_due(validation);

        if training.given.stop.is_made() {
            return Ok(false);
        }
        if training.snapshot_is_due() {
            training.snapshot();
        }

        if training.is_over() {
            return training.end_round(validation, test);
        }
        let batch = order.batch(training.step_of_round(), batch_size);
        let batch: Vec<_> = batch.into_iter().map(|turn| curriculum.taught(turn)).collect();
        training.step(&batch)?;
    }
}

/// What is told of a training whose rounds are over.
fn outcome(rounds: &Rounds, known: AttemptOutcome) -> AttemptOutcome {
    let seeds = rounds.over();
    let SeedOutcome { seed, best_step, validation_accuracy, test_accuracy, calibration, stopped_early_at, .. } =
        rounds.chosen().cloned().unwrap_or_default();
    AttemptOutcome {
        seed,
        best_step,
        validation_accuracy,
        test_accuracy,
        calibration,
        stopped_early_at,
        steps: seeds.iter().map(|outcome| outcome.steps).sum(),
        tokens: seeds.iter().map(|outcome| outcome.tokens).sum(),
        seconds: seeds.iter().map(|outcome| outcome.seconds).sum(),
        mean: Accuracies::mean(seeds),
        standard_error: Accuracies::standard_error(seeds),
        seeds: seeds.to_vec(),
        ..known
    }
}

/// What the finished student says of itself.
fn finished_card(given: &Assignment<'_>, material: &Material, outcome: &AttemptOutcome) -> StudentCard {
    let measured = |exam: &Exam, split, accuracy: Option<f64>| accuracy.map(|accuracy| exam.measured(split, accuracy));
    let mut card = learner::card(given.spec, &given.texts);
    card.lineage.insert("seed".to_owned(), json!(outcome.seed));
    card.measured.extend(measured(&material.validation, Split::Validation, outcome.validation_accuracy));
    card.measured.extend(measured(&material.test, Split::Test, outcome.test_accuracy));
    card.calibration.clone_from(&outcome.calibration);
    if outcome.seeds.len() > 1 {
        card.seeds.clone_from(&outcome.seeds);
    }
    card
}

fn set_threads(threads: Option<u32>) {
    if let Some(threads) = threads.and_then(|threads| i32::try_from(threads).ok()) {
        tch::set_num_threads(threads.max(1));
    }
}
