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
//! Randomness is stateless (`randomness`): the same spec, files, thread count and device kind give the same bytes.

mod adafactor;
mod batch;
mod best;
mod data;
mod error;
mod evaluation;
mod learner;
mod lessons;
mod loss;
mod optimizer;
mod parameters;
mod randomness;
mod report;
mod schedule;

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

pub use error::TrainError;

use self::batch::Order;
use self::best::Best;
use self::data::Data;
use self::evaluation::Exam;
use self::learner::Learner;
use self::lessons::{Lesson, LessonWriter};
use self::loss::{LossSettings, StepLoss};
use self::optimizer::{Update, clip};
use self::report::Reporter;
use self::schedule::Course;
use crate::device;
use crate::domain::{AttemptOutcome, AttemptSpec, AttemptStudent, Frame};

/// An attempt that cannot compute this many steps in a row is lost.
const MOST_NON_FINITE_STEPS: u32 = 20;

/// Trains a student as `spec` says, from files in `folder`, and writes `folder/checkpoint`.
///
/// # Errors
///
/// Rows that cannot be learned from, broken student files, a device that is not there or gives up, and a loss that stays
/// infinite or not a number.
pub fn train(folder: &Path, spec: &AttemptSpec, report: &mut dyn FnMut(Frame)) -> Result<AttemptOutcome, TrainError> {
    device::catch("training", || attempt(folder, spec, report))?
}

fn attempt(folder: &Path, spec: &AttemptSpec, send: &mut dyn FnMut(Frame)) -> Result<AttemptOutcome, TrainError> {
    let started = Instant::now();
    let hyperparameters = &spec.hyperparameters;
    set_threads(hyperparameters.threads);
    let mut reporter = Reporter::new(send, hyperparameters.log_every);

    let data = Data::read(folder, spec)?;
    let counts = data.counts();
    let mut learner = Learner::start(folder, spec, &data)?;
    let tokenizer = learner.tokenizer.clone();
    let mut writer = LessonWriter::new(spec, &tokenizer);
    let lessons: Vec<Lesson> = data.training.iter().map(|row| writer.lesson(row)).collect();
    let validation = Exam::new(data.validation, hyperparameters.eval_rows, &mut writer);
    let test = Exam::new(data.test, None, &mut writer);
    let truncated = writer.truncated;

    let scale_by_weight = hyperparameters.scale_by_weight.unwrap_or(is_new(&spec.student));
    let course = Course::new(hyperparameters, scale_by_weight, lessons.len());
    announce(&mut reporter, &learner, &course, counts, truncated);
    let mut update = Update::new(hyperparameters, scale_by_weight, &learner.parameters);
    let mut order = Order::new(hyperparameters.seed, lessons.len());
    let settings = LossSettings::new(spec, &learner.config);
    let mut best = Best::default();
    let (mut skipped, mut skipped_in_a_row) = (0, 0);

    for step in 0..course.steps {
        let rate = course.rate(step);
        let done = step + 1;

        let batch = order.batch(step, hyperparameters.batch_size as usize);
        let batch: Vec<&Lesson> = batch.into_iter().map(|row| &lessons[row]).collect();
        let mut loss = loss::step_loss(&learner, &batch, &settings, step)?;

        let gradient_norm = clip(&mut loss.gradient, hyperparameters.clip_norm);

        if loss.total.is_finite() && gradient_norm.is_finite() {
            update.step(&mut learner.parameters, &loss.gradient, rate);
            reporter.step(&loss, gradient_norm, batch.len());
            skipped_in_a_row = 0;
        } else {
            skipped += 1;
            skipped_in_a_row += 1;
            report_skipped(&mut reporter, done, &loss, gradient_norm);
            if skipped_in_a_row >= MOST_NON_FINITE_STEPS {
                return Err(TrainError::NonFinite { step: done, steps: skipped_in_a_row });
            }
        }

        reporter.metrics(done, course.steps, rate, skipped);
        reporter.progress(done, course.steps);

        let evaluation_is_due = done % i64::from(hyperparameters.eval_steps.max(1)) == 0 || done == course.steps;
        if evaluation_is_due && !validation.is_empty() {
            let findings = validation.take(&learner, spec)?;
            reporter.evaluated(done, &findings);
            best.offer(done, findings.accuracy, &learner.parameters.values);
        }
    }

    let kept = best.restore(&mut learner.parameters.values);
    let test_accuracy = if test.is_empty() { None } else { Some(test.take(&learner, spec)?.accuracy) };
    learner.save(folder, &learner::card(spec))?;
    Ok(AttemptOutcome {
        best_step: kept.map_or(course.steps, |(step, _)| step),
        validation_accuracy: kept.map(|(_, accuracy)| accuracy),
        test_accuracy,
        steps: course.steps,
        seconds: started.elapsed().as_secs_f64(),
        training_examples: lessons.len() as u64,
        dropped: data.dropped,
        truncated,
        parameters: learner.parameters.count(),
    })
}

fn set_threads(threads: Option<u32>) {
    if let Some(threads) = threads.and_then(|threads| i32::try_from(threads).ok()) {
        tch::set_num_threads(threads.max(1));
    }
}

fn is_new(student: &AttemptStudent) -> bool {
    matches!(student, AttemptStudent::FromScratch(_))
}

fn announce(reporter: &mut Reporter<'_>, learner: &Learner, course: &Course, rows: Value, truncated: u64) {
    let parameters = learner.parameters.count();
    let (kind, device) = (learner.kind, learner.device);
    let message =
        format!("{} steps of a student with {parameters} parameters, in {kind:?} on {device:?}", course.steps);
    let data = json!({
        "rows": rows,
        "truncated": truncated,
        "steps": course.steps,
        "parameters": parameters,
        "vocabulary_size": learner.config.vocab_size,
    });
    reporter.event("info", "training_started", message, data);
}

fn report_skipped(reporter: &mut Reporter<'_>, step: i64, loss: &StepLoss, gradient_norm: f64) {
    let message = format!("step {step} is left out: its loss or its gradient is not finite");
    let data = json!({"step": step, "loss": loss.total.to_string(), "gradient_norm": gradient_norm.to_string()});
    reporter.event("warn", "step_skipped", message, data);
}
