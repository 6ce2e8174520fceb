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
//! Randomness is stateless (`randomness`): the same spec, files, thread count and device kind give the same bytes, whether
//! the training was interrupted (`snapshot`) or not.

mod adafactor;
mod batch;
mod best;
mod curriculum;
mod data;
mod division;
mod dropped;
mod error;
mod evaluation;
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
mod schedule;
mod snapshot;
mod stop;
mod texts;
mod training;
mod way_back;

use std::path::Path;

pub use error::TrainError;
pub use snapshot::SnapshotError;
pub use stop::StopRequest;

use self::batch::Order;
use self::curriculum::Curriculum;
use self::data::Data;
use self::evaluation::Exam;
use self::learner::Learner;
use self::lessons::LessonWriter;
use self::optimizer::Update;
use self::report::Reporter;
use self::schedule::Course;
use self::snapshot::Snapshot;
use self::training::{Assignment, Training};
use crate::device;
use crate::domain::{AttemptOutcome, AttemptSpec, AttemptStudent, Frame, Split};

/// How a training ends that does not fail.
#[derive(Debug)]
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
    let snapshot = spec.resume.as_ref().map(|place| Snapshot::read(&folder.join(place), spec)).transpose()?;
    let learner = match &snapshot {
        Some(snapshot) => Learner::resume(folder, spec, snapshot)?,
        None => Learner::start(folder, spec, &data)?,
    };

    let tokenizer = learner.tokenizer.clone();
    let mut writer = LessonWriter::new(spec, &tokenizer);
    writer.check_labels()?;
    let curriculum = Curriculum::new(spec, data.training.iter().map(|row| writer.lesson(row)).collect());
    let validation = Exam::new(data.validation, hyperparameters.eval_rows, &mut writer);
    let test = Exam::new(data.test, None, &mut writer);
    let given = Assignment { folder, spec, stop, texts: writer.texts };

    let scale_by_weight = hyperparameters.scale_by_weight.unwrap_or(is_new(&spec.student));
    let course = Course::new(hyperparameters, scale_by_weight, curriculum.rows());
    let mut order = Order::new(hyperparameters.seed, curriculum.rows());
    let update = Update::new(hyperparameters, scale_by_weight, &learner.parameters);
    let mut training = Training::new(given, course, learner, update, reporter);
    match snapshot {
        Some(snapshot) => training.resume(snapshot)?,
        None => training.announce(counts, &data.dropped),
    }

    loop {
        training.examine_when_due(&validation)?;
        training.leave_checkpoint_when_due(&validation);

        let stopping = stop.is_made();
        if stopping || training.snapshot_is_due() {
            training.snapshot();
        }
        if stopping {
            return Ok(Ended::Stopped);
        }

        if training.is_over() {
            break;
        }
        let batch = order.batch(training.standing.step, hyperparameters.batch_size as usize);
        let batch: Vec<_> = batch.into_iter().map(|turn| curriculum.taught(turn)).collect();
        training.step(&batch)?;
    }

    let kept = training.restore_best();
    let Some(test_accuracy) = training.examine_at_the_end(&test)? else {
        training.snapshot();
        return Ok(Ended::Stopped);
    };
    let validation_accuracy = kept.map(|(_, accuracy)| accuracy);
    let mut card = learner::card(spec, &given.texts);
    card.measured.extend(validation_accuracy.map(|accuracy| validation.measured(Split::Validation, accuracy)));
    card.measured.extend(test_accuracy.map(|accuracy| test.measured(Split::Test, accuracy)));
    training.learner.save(&folder.join("checkpoint"), &card)?;
    Ok(Ended::Finished(AttemptOutcome {
        best_step: kept.map_or(training.standing.step, |(step, _)| step),
        validation_accuracy,
        test_accuracy,
        steps: training.standing.step,
        stopped_early_at: training.stopped_early_at(),
        seconds: training.seconds(),
        training_examples: curriculum.rows() as u64,
        dropped: data.dropped.counts,
        texts: given.texts.learned(),
        parameters: training.learner.parameters.count(),
    }))
}

fn set_threads(threads: Option<u32>) {
    if let Some(threads) = threads.and_then(|threads| i32::try_from(threads).ok()) {
        tch::set_num_threads(threads.max(1));
    }
}

fn is_new(student: &AttemptStudent) -> bool {
    matches!(student, AttemptStudent::FromScratch(_))
}
