//! What fewer bits change of a student's labels, on real rows.

use std::{path::Path, sync::Arc};

use stepwise::{
    device,
    domain::ServingPrecision,
    inference::{Engine, EngineSettings, ModelFiles, Prediction, PredictionRequest},
};
use tch::Device;

use crate::support::{
    real_rows::{rows, text},
    shared::shared,
};

const ROWS: usize = 64;

/// The labels of rows of e-SNLI in an arithmetic.
async fn labels(student: &Path, inputs: &[String], precision: ServingPrecision) -> Vec<Prediction> {
    let engine = Engine::start(EngineSettings::on_cpu(1, precision)).unwrap();
    let set: Arc<[String]> = ["entailment", "neutral", "contradiction"].map(str::to_owned).into();
    let ask = |input: &String| PredictionRequest {
        input: input.clone(),
        label_set: Some(Arc::clone(&set)),
        ..PredictionRequest::default()
    };
    let model = ModelFiles::folder("mini", student.to_owned());
    let answers = engine.predict(&model, inputs.iter().map(ask).collect()).await.unwrap();
    answers.into_iter().map(Result::unwrap).collect()
}

/// What is counted over thousands of rows of a student that has learned them stands in the README; this holds every row to the same.
#[tokio::test]
async fn fewer_bits_change_a_label_only_where_another_is_nearly_as_likely() {
    let (Some(student), Some(data)) = (shared("mini-t5"), shared("data")) else { return };
    let rows = rows(data.join("esnli/test.jsonl"));
    let inputs: Vec<String> = rows.iter().take(ROWS).map(|row| text(row, "input").to_owned()).collect();
    let right = labels(&student, &inputs, ServingPrecision::Fp32).await;
    for (precision, most) in [(ServingPrecision::Bf16, 0.02), (ServingPrecision::Int8, 0.02)] {
        if device::check_precision(precision, Device::Cpu).is_err() {
            println!("SKIPPED: this processor does not compute in {precision:?}");
            continue;
        }
        let (mut changed, mut farthest) = (0, 0.0_f64);
        for (right, found) in right.iter().zip(labels(&student, &inputs, precision).await) {
            let (right_shares, shares) = (right.label_probs.as_ref().unwrap(), found.label_probs.unwrap());
            for (label, share) in &shares {
                farthest = farthest.max((share - right_shares[label]).abs());
            }
            changed += usize::from(found.label != right.label);
            let lost = right.confidence - right_shares[&found.label];
            assert!(lost <= 2.0 * most, "{precision:?} took a label that is less likely by {lost}");
        }
        println!("{precision:?} changes {changed} of {ROWS} labels, and no share by more than {farthest:.4}");
        assert!(farthest <= most, "{precision:?} changes a share by {farthest}");
    }
}
