//! Which rationales a training learns, by what it leaves behind.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stepwise::{
    domain::{Frame, Method, Precision, RationaleFault, RationaleFilter, RationaleShuffle, RationalesPerExample},
    trainer::Ended,
};

use crate::support::attempt::{Attempt, row};

/// A row with three rationales.
fn talkative(number: usize) -> Value {
    let mut row = row(number);
    let first = row["rationale"].clone();
    let again = format!("{}, and it came so", first.as_str().unwrap());
    row["rationales"] = json!([first, again, format!("order {} says so", number / 8)]);
    row
}

fn attempt(per_example: RationalesPerExample) -> Attempt {
    let mut attempt = Attempt::new();
    attempt.write("training.jsonl", (0..64).map(talkative));
    attempt.spec.rationales.per_example = per_example;
    attempt.spec.hyperparameters.dropout = Some(0.0);
    attempt
}

fn weights(attempt: &Attempt) -> Vec<u8> {
    attempt.train().0.unwrap();
    attempt.checkpoint().remove("model.safetensors").unwrap()
}

#[test]
fn further_rationales_are_not_learned_unless_they_are_asked_for() {
    let alone = Attempt::new();
    let mut given = attempt(RationalesPerExample::First);
    given.spec.hyperparameters.dropout = None;
    assert!(
        weights(&given) == weights(&alone),
        "a file's further rationales changed a training that does not ask for them"
    );
}

#[test]
fn micro_batches_do_not_change_the_mathematics_of_several_rationales() {
    let learned = |micro_batch_size| {
        let mut attempt = attempt(RationalesPerExample::All);
        let knobs = &mut attempt.spec.hyperparameters;
        (knobs.micro_batch_size, knobs.precision) = (micro_batch_size, Precision::Fp32);
        let (outcome, frames) = attempt.train();
        outcome.unwrap();
        let path = attempt.folder.path().join("checkpoint/model.safetensors");
        let tensors: BTreeMap<_, _> = tch::Tensor::read_safetensors(path).unwrap().into_iter().collect();
        (tensors, last_figure(&frames, "rationale_loss"))
    };
    let ((whole, loss), (parts, same)) = (learned(None), learned(Some(5)));
    assert!((loss - same).abs() < 1e-3, "{loss} and {same}");
    for (name, whole) in whole {
        let difference = (whole - &parts[&name]).abs().max().double_value(&[]);
        assert!(difference < 1e-4, "{name} differs by {difference}");
    }
}

#[test]
fn one_rationale_an_epoch_goes_on_where_it_stood() {
    let long = || {
        let mut attempt = attempt(RationalesPerExample::OnePerEpoch);
        // 48 rows learn: three steps of an epoch, and each epoch has other rationales.
        attempt.spec.hyperparameters.max_steps = Some(10);
        attempt
    };
    let (whole, mut parts) = (long(), long());
    let whole = weights(&whole);
    let (ended, frames) = parts.train_until(|frame| matches!(frame, Frame::Metrics { step: 4, .. }));
    assert!(matches!(ended, Ok(Ended::Stopped)), "{ended:?}");
    let Some(Frame::Snapshot { folder, .. }) = frames.last() else { panic!("{frames:?}") };
    parts.spec.resume = Some(folder.clone());
    assert!(weights(&parts) == whole);
    let (mut first, mut all) = (attempt(RationalesPerExample::First), attempt(RationalesPerExample::All));
    (first.spec.hyperparameters.max_steps, all.spec.hyperparameters.max_steps) = (Some(10), Some(10));
    assert!(weights(&first) != whole && weights(&all) != whole);
}

fn last_figure(frames: &[Frame], name: &str) -> f64 {
    let figure = |frame: &Frame| match frame {
        Frame::Metrics { values, .. } => values.get(name).copied(),
        _ => None,
    };
    frames.iter().filter_map(figure).next_back().unwrap()
}

/// Every fourth row's teacher was wrong, and of two rows nobody knows the truth.
fn checked(number: usize) -> Value {
    let mut row = row(number);
    row["label"] = row["teacher_label"].clone();
    if number.is_multiple_of(4) {
        row["teacher_label"] = json!(if row["label"] == "refund" { "reject" } else { "refund" });
    }
    if number == 1 || number == 2 {
        row.as_object_mut().unwrap().remove("label");
    }
    row
}

#[test]
fn rationales_of_wrong_labels_are_kept_out_and_counted() {
    let mut attempt = Attempt::new();
    attempt.write("training.jsonl", (0..64).map(checked));
    attempt.spec.rationales.filter = RationaleFilter::CorrectOnly;
    let outcome = attempt.train().0.unwrap();
    let counts = |counts: &[(&str, u64)]| counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    let lost: BTreeMap<String, u64> = counts(&[("rationale_of_wrong_label", 16), ("rationale_unverified", 2)]);
    let mut expected = lost.clone();
    expected.insert("label_only".to_owned(), 18);
    assert_eq!((outcome.training_examples, outcome.dropped), (48, expected), "every label is still learned");

    // Without its rationale such a row has no target, and it is left out on purpose: not above max_dropped_ratio.
    attempt.spec.method = Method::RationaleThenLabel;
    attempt.spec.max_dropped_ratio = 0.0;
    let outcome = attempt.train().0.unwrap();
    assert_eq!((outcome.training_examples, outcome.dropped), (34, lost));

    attempt.write("training.jsonl", (0..64).step_by(4).map(checked));
    assert_eq!(attempt.train().0.unwrap_err().code, "missing_rationales");
}

/// In turns a row whose rationale is its label, a good one, one whose rationale all of its kind have, and one that argues for
/// the other label and has a second, good rationale.
fn faulty(number: usize) -> Value {
    let mut row = row(number);
    row["rationale"] = match number % 4 {
        0 => json!("Refund."),
        1 => json!(format!("order number {number} came as it should not")),
        2 => json!("it came torn"),
        _ => json!(format!("this one is number {number}, so the answer is refund")),
    };
    if number % 4 == 3 {
        row["rationales"] = json!([format!("number {number} came worn")]);
    }
    row
}

#[test]
fn rationales_with_a_fault_are_left_out_and_counted_one_by_one() {
    let mut attempt = Attempt::new();
    attempt.write("training.jsonl", (0..64).map(faulty));
    let faults = [RationaleFault::ContradictsLabel, RationaleFault::EmptyOfLabel, RationaleFault::Duplicate];
    attempt.spec.rationales.leave_out = faults.into();
    let lost = [("rationale_contradicts_label", 16), ("rationale_empty_of_label", 16), ("rationale_duplicate", 15)];
    let lost: BTreeMap<String, u64> = lost.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    let mut expected = lost.clone();
    expected.insert("label_only".to_owned(), 31);
    let outcome = attempt.train().0.unwrap();
    assert_eq!(
        (outcome.training_examples, outcome.dropped),
        (48, expected),
        "a second rationale takes the first's place"
    );

    attempt.spec.method = Method::RationaleThenLabel;
    attempt.spec.max_dropped_ratio = 0.0;
    assert_eq!(attempt.train().0.unwrap().dropped, lost, "left out on purpose, and so not dropped");

    attempt.write("training.jsonl", (0..64).step_by(4).map(faulty));
    let error = attempt.train().0.unwrap_err();
    assert!(error.code == "missing_rationales" && error.message.contains("leave_out"), "{error}");
}

#[test]
fn shuffled_rationales_are_a_control_that_depends_on_the_seed_alone() {
    let trained = |shuffle, seed| {
        let mut attempt = Attempt::new();
        attempt.spec.rationales.shuffle = shuffle;
        let knobs = &mut attempt.spec.hyperparameters;
        (knobs.max_steps, knobs.eval_steps, knobs.warmup_steps) = (Some(120), 120, 10);
        (knobs.dropout, knobs.seed) = (Some(0.0), seed);
        let (outcome, frames) = attempt.train();
        let accuracy = outcome.unwrap().validation_accuracy;
        (attempt.checkpoint().remove("model.safetensors").unwrap(), last_figure(&frames, "rationale_loss"), accuracy)
    };
    let (plain, learned, _) = trained(RationaleShuffle::None, 0);
    for shuffle in [RationaleShuffle::Rows, RationaleShuffle::Words] {
        let (weights, loss, accuracy) = trained(shuffle, 0);
        assert!(weights == trained(shuffle, 0).0, "{shuffle:?}");
        assert!(weights != plain, "{shuffle:?}");
        // The rationale no longer follows from the input; the label still does.
        assert!(loss > 2.0 * learned && loss > 0.1, "{shuffle:?}: {loss} and {learned}");
        assert!(accuracy >= Some(0.9), "{shuffle:?}: {accuracy:?}");
    }
}
