//! Gradients, and a whole run of AdamW, through the trainer as jobs use it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stepwise::domain::{AttemptStudent, AttemptValidation, Frame, LabelSet, Precision};
use tch::Tensor;

use super::{Case, Pair, cases, compare};
use crate::support::attempt::Attempt;

/// Adam's mean after one step is this much of the gradient.
const FIRST_MOMENT: f64 = 0.1;

/// A training as `expected.json` describes its run: every row in every step, nothing drawn.
fn attempt(case: &Case, micro_batch_size: Option<u32>) -> Attempt {
    let mut attempt = Attempt::new();
    let rows = case.expected["examples"].as_array().unwrap();
    let row = |row: &Value| json!({"id": row["id"], "input": row["input"], "teacher_label": row["llm_label"], "rationale": row["rationale"]});
    attempt.write("training.jsonl", rows.iter().map(row));
    let (spec, run) = (&mut attempt.spec, &case.expected["adamw_run"]);
    spec.student = AttemptStudent::Directory(case.folder.to_str().unwrap().to_owned());
    spec.task.label_set = LabelSet::Open;
    spec.alpha = case.expected["alpha"].as_f64().unwrap();
    spec.validation = AttemptValidation::Fraction { fraction: 0.0, seed: 0 };
    let hyperparameters = &mut spec.hyperparameters;
    hyperparameters.learning_rate = run["learning_rate"].as_f64();
    hyperparameters.max_steps = run["steps"].as_u64().map(|steps| u32::try_from(steps).unwrap());
    hyperparameters.clip_norm = run["clip_norm"].as_f64().unwrap();
    hyperparameters.batch_size = u32::try_from(rows.len()).unwrap();
    (hyperparameters.micro_batch_size, hyperparameters.log_every) = (micro_batch_size, 1);
    (hyperparameters.dropout, hyperparameters.precision) = (Some(0.0), Precision::Fp32);
    (hyperparameters.max_input_length, hyperparameters.max_label_length) = (Some(128), Some(96));
    hyperparameters.max_rationale_length = Some(96);
    attempt
}

#[test]
fn twenty_steps_of_adamw_have_the_losses_and_gradient_norms_of_transformers() {
    for case in cases() {
        for micro_batch_size in [None, Some(7)] {
            let (outcome, frames) = attempt(&case, micro_batch_size).train();
            outcome.unwrap();
            let steps: Vec<&BTreeMap<String, f64>> = frames
                .iter()
                .filter_map(|frame| if let Frame::Metrics { values, .. } = frame { Some(values) } else { None })
                .collect();
            let curve = case.expected["adamw_run"]["curve"].as_array().unwrap();
            assert_eq!(steps.len(), curve.len());
            for (name, tolerance) in
                [("loss", 5e-4), ("label_loss", 5e-4), ("rationale_loss", 5e-4), ("gradient_norm", 1e-2)]
            {
                let pairs = steps.iter().zip(curve).enumerate().map(|(step, (found, right))| Pair {
                    what: format!("step {step} in micro-batches of {micro_batch_size:?}"),
                    found: found[name],
                    right: right[name].as_f64().unwrap(),
                    least_size: 0.0,
                });
                compare(&case, &format!("{name} of 20 steps"), tolerance, pairs);
            }
        }
    }
}

/// The gradient of the first step, by the parameters' names: what Adam's mean is after it, without clipping.
fn gradients(case: &Case, micro_batch_size: Option<u32>) -> BTreeMap<String, Tensor> {
    let mut attempt = attempt(case, micro_batch_size);
    let hyperparameters = &mut attempt.spec.hyperparameters;
    (hyperparameters.clip_norm, hyperparameters.max_steps, hyperparameters.snapshot_every) = (0.0, Some(2), 1);
    attempt.train().0.unwrap();
    let read = |name: &str| -> BTreeMap<String, Tensor> {
        let path = attempt.folder.path().join("snapshot-1").join(name);
        Tensor::read_safetensors(path).unwrap().into_iter().collect()
    };
    // The optimizer's buffers hold all parameters end to end, in the order of their names.
    let mean = &read("optimizer.safetensors")["mean"];
    let parameters = read("parameters.safetensors");
    let sizes: Vec<i64> = parameters.values().map(|parameter| i64::try_from(parameter.numel()).unwrap()).collect();
    let pieces = (mean / FIRST_MOMENT).split_with_sizes(sizes, 0);
    parameters.into_keys().zip(pieces).collect()
}

#[test]
fn the_gradient_of_every_parameter_is_that_of_transformers() {
    for case in cases() {
        let right: BTreeMap<String, (f64, f64)> =
            serde_json::from_value(case.expected["gradient_norm_and_first"].clone()).unwrap();
        let total = right.values().map(|(norm, _)| norm * norm).sum::<f64>().sqrt();
        // One forward pass for each task, several of unequal size, and one for each row.
        for micro_batch_size in [None, Some(7), Some(1)] {
            let found = gradients(&case, micro_batch_size);
            assert_eq!(found.keys().collect::<Vec<_>>(), right.keys().collect::<Vec<_>>());
            let (mut norms, mut firsts) = (Vec::new(), Vec::new());
            for (name, gradient) in found {
                let (norm, first) = right[&name];
                let what = format!("{name} in micro-batches of {micro_batch_size:?}");
                let pair = |found, right, least_size| Pair { what: what.clone(), found, right, least_size };
                // Within a thousandth, or a hundred-thousandth of the whole gradient's norm.
                norms.push(pair(gradient.norm().double_value(&[]), norm, total / 100.0));
                let found = gradient.reshape([-1]).double_value(&[0]);
                firsts.push(pair(found, first, norm / 10.0));
            }
            compare(&case, "norm of a gradient", 1e-3, norms);
            compare(&case, "first number of a gradient", 1e-3, firsts);
        }
    }
}
