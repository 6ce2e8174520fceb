//! The temperature that a training leaves: by the validation rows alone, and for what the engine will weigh.

use std::fs;

use serde_json::Value;
use stepwise::domain::{
    AttemptStudent, AttemptValidation, Calibration, Frame, FromScratch, LabelSet, Method, Optimizer, Precision,
    ServingPrecision, StudentCard,
};
use stepwise::inference::{Engine, EngineSettings, ModelFiles, PredictionRequest};
use stepwise::task::calibration::{Weighed, calibrate};

use crate::support::attempt::{Attempt, events, row, train_within};

const VALIDATION: std::ops::Range<usize> = 72..112;

/// A training that ends before its student is sure of anything.
fn attempt(method: Method) -> Attempt {
    let mut attempt = Attempt::new();
    attempt.spec.method = method;
    attempt.spec.hyperparameters.precision = Precision::Fp32;
    attempt.spec.validation = AttemptValidation::File("validation.jsonl".to_owned());
    attempt.write("validation.jsonl", VALIDATION.map(row));
    attempt
}

fn card(attempt: &Attempt) -> StudentCard {
    serde_json::from_slice(&attempt.checkpoint()["stepwise.json"]).unwrap()
}

/// What is fitted to the probabilities that the engine gives without a temperature.
async fn fitted_to_the_engine(attempt: &Attempt) -> Calibration {
    let folder = attempt.folder.path().join("checkpoint");
    let plain = StudentCard { calibration: None, ..card(attempt) };
    fs::write(folder.join("stepwise.json"), serde_json::to_string(&plain).unwrap()).unwrap();
    let settings = EngineSettings::on_cpu(1, ServingPrecision::Fp32);
    let rows: Vec<Value> = VALIDATION.map(row).collect();
    let ask =
        |row: &Value| PredictionRequest { input: row["input"].as_str().unwrap().to_owned(), ..Default::default() };
    let model = ModelFiles::folder("plain", folder);
    let answers = Engine::start(settings).unwrap().predict(&model, rows.iter().map(ask).collect()).await.unwrap();
    let weighed = answers.into_iter().zip(&rows).map(|(answer, row)| {
        let shares = answer.unwrap().label_probs.unwrap();
        let right = shares.keys().position(|label| row["teacher_label"] == label.as_str()).unwrap();
        Weighed { scores: shares.values().map(|share| share.ln()).collect(), right }
    });
    calibrate(&weighed.collect::<Vec<_>>())
}

#[tokio::test]
async fn what_is_fitted_in_training_is_what_would_be_fitted_to_served_probabilities() {
    for method in [Method::StepByStep, Method::Standard, Method::RationaleThenLabel] {
        let attempt = attempt(method);
        let (outcome, frames) = attempt.train();
        let found = outcome.unwrap().calibration.unwrap();
        assert_eq!((card(&attempt).calibration, found.rows), (Some(found.clone()), 40), "{method:?}");
        assert_eq!(events(&frames, "calibrated")[0]["temperature"].as_f64(), found.temperature);
        let served = fitted_to_the_engine(&attempt).await;
        // Temperatures are tried a hundredth apart.
        let apart = (served.temperature.unwrap() / found.temperature.unwrap()).ln().abs();
        assert!(apart < 0.011, "{method:?}: {found:?} {served:?}");
        let off = (served.error_before.unwrap() - found.error_before.unwrap()).abs();
        assert!(off < 1e-3, "{method:?}: {found:?} {served:?}");
    }
}

#[test]
fn test_rows_have_no_part_in_it() {
    let (without, mut with) = (attempt(Method::StepByStep), attempt(Method::StepByStep));
    with.spec.test = Some("test.jsonl".to_owned());
    with.write("test.jsonl", (200..300).map(row));
    let found = [without, with].map(|attempt| attempt.train().0.unwrap().calibration.unwrap());
    assert_eq!(found[0], found[1]);
}

#[test]
fn few_rows_and_open_labels_fit_nothing_and_the_card_says_so() {
    let few = Attempt::new();
    few.train().0.unwrap();
    assert_eq!(card(&few).calibration, Some(Calibration { rows: 16, ..Calibration::default() }));
    let mut open = attempt(Method::StepByStep);
    open.spec.task.label_set = LabelSet::Open;
    let (outcome, frames) = open.train();
    assert_eq!((outcome.unwrap().calibration, card(&open).calibration), (None, None));
    assert!(!frames.iter().any(|frame| matches!(frame, Frame::Event { code, .. } if code == "calibrated")));
}

#[test]
fn every_seed_has_its_own_and_the_chosen_one_is_in_the_card() {
    let mut attempt = attempt(Method::Standard);
    attempt.spec.hyperparameters.seeds = Some(vec![3, 8]);
    let outcome = attempt.train().0.unwrap();
    let chosen = outcome.seeds.iter().find(|seed| seed.seed == outcome.seed).unwrap();
    assert!(outcome.seeds.iter().all(|seed| seed.calibration.is_some()) && outcome.seeds.len() == 2);
    assert_eq!(
        (outcome.calibration, card(&attempt).calibration),
        (chosen.calibration.clone(), chosen.calibration.clone())
    );
}

/// A student whose layers are so wide that it reads a few dozen tokens at once in the memory that it is given, and a label set of
/// which a whole tree is read at once.
fn unweighable() -> Attempt {
    let mut attempt = attempt(Method::Standard);
    let shape = FromScratch {
        vocabulary_size: 90,
        d_model: 8,
        d_kv: 4,
        d_ff: 1 << 19,
        num_heads: 2,
        num_layers: 1,
        ..FromScratch::default()
    };
    attempt.spec.student = AttemptStudent::FromScratch(shape);
    let letters =
        |number: usize| (0..6).map(|place| ['t', 'o', 'r', 'n'][number >> (2 * place) & 3]).collect::<String>();
    let labels =
        ["refund", "reject"].map(str::to_owned).into_iter().chain((0..400).map(|number| letters(number * 10 + 7)));
    attempt.spec.task.label_set = LabelSet::Fixed(labels.collect());
    let knobs = &mut attempt.spec.hyperparameters;
    (knobs.batch_size, knobs.max_steps, knobs.eval_rows) = (2, Some(1), Some(40));
    knobs.optimizer = Optimizer::Adafactor;
    attempt
}

#[test]
fn a_training_whose_validation_rows_cannot_be_weighed_is_not_lost_and_says_why() {
    let attempt = unweighable();
    let frames = train_within(&attempt, 3_000_000);
    let Some(Frame::Finished { outcome }) = frames.last() else { panic!("{:?}", frames.last()) };
    let found = outcome.calibration.clone().unwrap();
    assert_eq!((found.rows, found.temperature, found.error_after), (40, None, None));
    assert!(found.fault.as_ref().unwrap().contains("more memory than there is"), "{found:?}");
    assert_eq!(card(&attempt).calibration, Some(found));
    assert_eq!(events(&frames, "calibration_failed").len(), 1);
}
