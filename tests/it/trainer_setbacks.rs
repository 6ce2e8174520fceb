//! Trainings that meet what they cannot compute or hold: they go back once, or go on in smaller parts, or say why not.

use std::{collections::BTreeMap, fs};

use serde_json::json;
use stepwise::{
    domain::{AttemptStudent, Frame, FromScratch, JobError, Optimizer, Precision},
    trainer::Ended,
};

use crate::support::attempt::{Attempt, events, figures, row, snapshots, train_within};

/// A training whose rate rises until its weights cannot be computed with.
fn overflowing(snapshot_every: u32, eval_steps: u32) -> Attempt {
    let mut attempt = Attempt::new();
    let knobs = &mut attempt.spec.hyperparameters;
    (knobs.snapshot_every, knobs.eval_steps) = (snapshot_every, eval_steps);
    (knobs.learning_rate, knobs.warmup_steps, knobs.scale_by_weight) = (Some(1e7), 1000, Some(false));
    (knobs.precision, knobs.max_steps) = (Precision::Fp32, Some(400));
    // It ends before half the rate meets the same wall.
    let (_, frames) = attempt.train();
    let first = events(&frames, "step_skipped")[0]["step"].as_u64().unwrap();
    attempt.spec.hyperparameters.max_steps = Some(u32::try_from(first + 12).unwrap());
    attempt
}

/// As whoever watches a training does: takes every snapshot away as soon as it is told of.
fn train_watched(attempt: &Attempt, enough: impl Fn(&Frame) -> bool) -> (Ended, Vec<Frame>) {
    let stored = attempt.folder.path().join("stored");
    fs::create_dir_all(&stored).unwrap();
    let (ended, frames) = attempt.train_until(|frame| {
        if let Frame::Snapshot { folder, .. } = frame {
            drop(fs::remove_dir_all(stored.join(folder)));
            fs::rename(attempt.folder.path().join(folder), stored.join(folder)).unwrap();
        }
        enough(frame)
    });
    (ended.unwrap(), frames)
}

#[test]
fn a_training_that_cannot_be_computed_goes_back_once_and_on_at_half_the_rate() {
    let attempt = overflowing(7, 1000);
    let (ended, frames) = train_watched(&attempt, |_| false);
    let Ended::Finished(outcome) = ended else { panic!("{ended:?}") };
    assert_eq!(Some(outcome.steps), attempt.spec.hyperparameters.max_steps.map(i64::from));
    let [back] = events(&frames, "rolled_back")[..] else { panic!("{frames:?}") };
    assert_eq!(back["to"], "snapshot", "{back}");
    let (from, to) = (back["from_step"].as_i64().unwrap(), back["step"].as_i64().unwrap());
    assert!(to % 7 == 0 && from - to > 10, "{back}");
    let written: Vec<i64> = snapshots(&frames).into_iter().map(|(step, _)| step).collect();
    let mut once = written.clone();
    once.dedup();
    assert_eq!(written, once, "a snapshot of one step is written twice");
    let rate = |step: i64| figures(&frames)[&(step, "learning_rate".to_owned())];
    let ratio = rate(to + to % 2 + 2) / (1e7 * (to + to % 2 + 2) as f64 / 1000.0);
    assert!((ratio - 0.5).abs() < 1e-9, "{ratio}");
}

#[test]
fn a_training_goes_back_to_its_best_weights_or_its_start_where_it_has_no_snapshot() {
    for (eval_steps, place) in [(8, "best"), (1000, "start")] {
        let attempt = overflowing(0, eval_steps);
        let (ended, frames) = train_watched(&attempt, |_| false);
        assert!(matches!(ended, Ended::Finished(_)), "{ended:?}");
        let [back] = events(&frames, "rolled_back")[..] else { panic!("{frames:?}") };
        assert_eq!(back["to"], place, "{back}");
    }
}

/// Tokens of the first so many steps, each number of steps trained once; those that are learned from do not depend on the learning
/// rate.
#[derive(Default)]
struct Calm(BTreeMap<u64, u64>);

impl Calm {
    fn tokens(&mut self, steps: u64) -> u64 {
        *self.0.entry(steps).or_insert_with(|| if steps == 0 { 0 } else { Self::learned_from(steps) })
    }

    fn learned_from(steps: u64) -> u64 {
        let mut calm = Attempt::new();
        let knobs = &mut calm.spec.hyperparameters;
        (knobs.max_steps, knobs.eval_steps, knobs.snapshot_every) = (u32::try_from(steps).ok(), 1000, 0);
        calm.train().0.unwrap().tokens
    }
}

#[test]
fn tokens_of_steps_that_were_gone_back_from_stay_counted() {
    let (mut calm, mut places) = (Calm::default(), Vec::new());
    for (snapshot_every, eval_steps) in [(7, 1000), (0, 8), (0, 1000)] {
        let attempt = overflowing(snapshot_every, eval_steps);
        let (ended, frames) = train_watched(&attempt, |_| false);
        let Ended::Finished(outcome) = ended else { panic!("{ended:?}") };
        let [back] = events(&frames, "rolled_back")[..] else { panic!("{frames:?}") };
        let (from, to) = (back["from_step"].as_u64().unwrap(), back["step"].as_u64().unwrap());
        let taken = calm.tokens(from) + calm.tokens(outcome.steps.cast_unsigned()) - calm.tokens(to);
        let skipped = events(&frames, "step_skipped").into_iter().map(|skipped| skipped["step"].as_u64().unwrap());
        let lost: u64 = skipped.map(|step| calm.tokens(step) - calm.tokens(step - 1)).sum();
        assert!(lost > 0, "{frames:?}");
        assert_eq!(outcome.tokens, taken - lost, "{back}");
        places.push(back["to"].as_str().unwrap().to_owned());
    }
    assert_eq!(places, ["snapshot", "best", "start"]);
}

#[test]
fn what_was_gone_back_from_is_remembered_over_an_interruption() {
    let (whole, mut parts) = (overflowing(0, 8), overflowing(0, 8));
    let is_back = |frame: &Frame| matches!(frame, Frame::Event { code, .. } if code == "rolled_back");
    train_watched(&whole, |_| false);
    let (ended, frames) = train_watched(&parts, is_back);
    assert!(matches!(ended, Ended::Stopped), "{ended:?}");
    parts.spec.resume = Some(format!("stored/{}", snapshots(&frames).pop().unwrap().1));
    let (_, rest) = train_watched(&parts, |_| false);
    assert_eq!(events(&rest, "rolled_back").len(), 0);
    assert!(whole.checkpoint() == parts.checkpoint(), "the checkpoints differ");
}

/// Very wide layers: what a whole batch keeps of them is gigabytes, and quickly computed.
fn wide(num_layers: u32) -> Attempt {
    let mut attempt = Attempt::new();
    let shape = FromScratch {
        vocabulary_size: 90,
        d_model: 16,
        d_kv: 8,
        d_ff: 16_384,
        num_heads: 2,
        num_layers,
        ..FromScratch::default()
    };
    attempt.spec.student = AttemptStudent::FromScratch(shape);
    let long = |number: usize| {
        let mut row = row(number);
        row["input"] = json!(format!("{} {}", row["input"].as_str().unwrap(), "torn worn ".repeat(150)));
        row
    };
    attempt.write("training.jsonl", (0..80).map(long));
    let knobs = &mut attempt.spec.hyperparameters;
    (knobs.batch_size, knobs.max_steps, knobs.max_input_length) = (32, Some(2), Some(300));
    (knobs.precision, knobs.eval_steps, knobs.optimizer) = (Precision::Fp32, 2, Optimizer::Adafactor);
    attempt
}

#[test]
fn a_batch_that_does_not_fit_is_computed_in_halves_to_the_same_weights() {
    let (mut fitting, tight) = (wide(2), wide(2));
    let frames = train_within(&tight, 2_500_000);
    let Some(Frame::Finished { .. }) = frames.last() else { panic!("{:?}", frames.last()) };
    let halved = events(&frames, "micro_batch_halved");
    assert_eq!((&halved[0]["was"], &halved[0]["is"], &halved[0]["step"]), (&json!(32), &json!(16), &json!(1)));
    // From the second step on it knows, and begins with what fits.
    assert!(halved.iter().all(|halved| halved["step"] == 1), "{halved:?}");
    let at_once = halved.last().unwrap()["is"].as_u64().unwrap();
    fitting.spec.hyperparameters.micro_batch_size = u32::try_from(at_once).ok();
    let frames = train_within(&fitting, 2_500_000);
    assert_eq!(events(&frames, "micro_batch_halved").len(), 0);
    assert!(tight.checkpoint() == fitting.checkpoint(), "the checkpoints differ");
}

#[test]
fn a_training_of_which_no_example_fits_says_so() {
    let mut attempt = wide(12);
    let endless = |number: usize| {
        let mut row = row(number);
        row["input"] = json!("torn worn ".repeat(6000));
        row
    };
    attempt.write("training.jsonl", (0..8).map(endless));
    let knobs = &mut attempt.spec.hyperparameters;
    (knobs.batch_size, knobs.max_input_length) = (4, Some(8192));
    let frames = train_within(&attempt, 2_500_000);
    let Some(Frame::Failed { error, retryable: false }) = frames.last() else { panic!("{:?}", frames.last()) };
    assert_eq!(error.code, "out_of_memory");
    assert!(error.hint.as_ref().unwrap().contains("adafactor"), "{error}");
    assert_eq!(events(&frames, "micro_batch_halved").last().unwrap()["is"], 1);
}

#[test]
fn a_student_that_can_never_fit_is_refused_before_its_weights_are_made() {
    let mut attempt = Attempt::new();
    let shape = FromScratch { d_model: 8192, d_ff: 65_536, num_layers: 64, num_heads: 64, ..FromScratch::default() };
    attempt.spec.student = AttemptStudent::FromScratch(shape);
    let error = attempt.train().0.unwrap_err();
    assert_eq!(error.code, JobError::OUT_OF_MEMORY);
    assert!(error.message.contains("without a row to learn"), "{}", error.message);
    assert!(error.hint.unwrap().contains("smaller student"));
}
