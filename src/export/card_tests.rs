//! The card's words, by what is known of the model.

use serde_json::json;

use super::*;
use crate::domain::{Calibration, Measurement, SeedOutcome};

fn card(method: Method, measured: &[Measurement]) -> StudentCard {
    StudentCard { method, measured: measured.to_vec(), ..StudentCard::default() }
}

fn lineage(method: &str, label_source: &str, change: Value) -> Lineage {
    let file = |name: &str| json!({"file": "file-0198c0de000070008000000000000003", "filename": name, "digest": "sha256:00", "rows": 500});
    let mut lineage = json!({
        "base": "from_scratch", "job": "job-0198c0de000070008000000000000002", "method": method,
        "label_source": label_source, "alpha": 0.5, "hyperparameters": {}, "training": [file("rows.jsonl")],
        "validation_fraction": 0.1, "test": file("test.jsonl"),
    });
    lineage.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    serde_json::from_value(lineage).unwrap()
}

fn rendered(card: Option<&StudentCard>, metrics: Value, lineage: Option<&Lineage>) -> String {
    let metrics = metrics.as_object().unwrap();
    render(&Subject { name: "desk", card, id: None, metrics, lineage })
}

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}

fn lacks(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(!text.contains(part), "{part:?} in:\n{text}");
    }
}

#[test]
fn each_way_of_learning_is_called_by_its_name() {
    for (method, by_file, label_source, said, unsaid) in [
        (
            Method::StepByStep,
            "step_by_step",
            "teacher",
            "a teacher's labels and rationales by Distilling",
            "fine-tuning",
        ),
        (Method::StepByStep, "step_by_step", "ground_truth", "ground truth and rationales by Distilling", "teacher's"),
        (Method::Standard, "standard", "teacher", "a teacher's labels alone (standard distillation)", "Step-by-Step"),
        (Method::Standard, "standard", "ground_truth", "ground truth alone (standard fine-tuning)", "istil"),
        (Method::RationaleThenLabel, "rationale_then_label", "teacher", "rationales and labels as one", "Step-by-Step"),
        (Method::RationaleThenLabel, "rationale_then_label", "ground_truth", "rationales and ground truth", "istil"),
    ] {
        let (card, lineage) = (card(method, &[]), lineage(by_file, label_source, json!({})));
        let text = rendered(Some(&card), json!({}), Some(&lineage));
        has(&text, &[said, "\n- stepwise\n", "No figure of its training is recorded."]);
        lacks(&text, &[unsaid]);
        assert_eq!(text.contains("- distilling-step-by-step"), method == Method::StepByStep);
        assert_eq!(text.contains("with a rationale on request"), method == Method::StepByStep);
    }
}

#[test]
fn a_folder_that_says_nothing_of_itself_is_credited_with_nothing() {
    let text = rendered(None, json!({}), None);
    has(&text, &["A T5. Nothing came with it", "print(ask(text, 64))", "Nothing is known here of the data"]);
    lacks(&text, &["istil", "- stepwise", "Accuracy", "## What it learned", "on request", "held back", "base_model"]);
}

#[test]
fn a_folder_whose_making_is_not_known_says_only_how_it_is_asked() {
    let text = rendered(Some(&card(Method::StepByStep, &[])), json!({"validation_accuracy": 0.9}), None);
    has(&text, &["with a rationale on request.\n", "| validation | not recorded | 0.9000 |"]);
    lacks(&text, &["istil", "- stepwise", "model-index", "held back", "had a say"]);
}

#[test]
fn agreement_with_the_teacher_is_not_called_accuracy_on_the_hub() {
    let measured = |split, by_ground_truth| Measurement { split, accuracy: 0.75, rows: 40, by_ground_truth };
    let lineage = lineage("step_by_step", "teacher", json!({}));
    let text = rendered(
        Some(&card(Method::StepByStep, &[measured(Split::Validation, 0), measured(Split::Test, 40)])),
        json!({"validation_accuracy": 0.5}),
        Some(&lineage),
    );
    has(
        &text,
        &[
            "| validation: held back from rows.jsonl, 40 rows | the teacher's labels | 0.7500 |",
            "| test: test.jsonl, 40 rows | ground truth | 0.7500 |",
            "agrees with the teacher, mistakes included",
            "name: \"test.jsonl\", type: jsonl, split: test",
            "name: test accuracy, value: 0.75}",
            "The validation rows had a say",
        ],
    );
    lacks(&text, &["validation accuracy", "0.5000"]);

    let mixed = card(Method::StepByStep, &[measured(Split::Test, 30)]);
    let text = rendered(Some(&mixed), json!({}), Some(&lineage));
    has(&text, &["| ground truth in 30 rows, the teacher's labels in 10 | 0.7500 |"]);
    lacks(&text, &["model-index", "had a say"]);
}

#[test]
fn a_figure_without_its_labels_is_accuracy_only_where_nothing_else_is_possible() {
    let metrics = json!({"test_accuracy": 0.8});
    let card = card(Method::Standard, &[]);
    let learned_truth = lineage("standard", "ground_truth", json!({}));
    has(&rendered(Some(&card), metrics.clone(), Some(&learned_truth)), &["| ground truth | 0.8000 |", "value: 0.8}"]);
    let learned_teacher = lineage("standard", "teacher", json!({}));
    let text = rendered(Some(&card), metrics, Some(&learned_teacher));
    has(&text, &["| test: test.jsonl | not recorded | 0.8000 |"]);
    lacks(&text, &["model-index"]);
}

#[test]
fn a_base_of_this_service_is_no_base_on_the_hub() {
    let card = card(Method::Standard, &[]);
    for (base, shown) in [("google/t5-v1_1-small", true), ("mini-t5", false), ("desk:ckpt-step-20", false)] {
        let text = rendered(Some(&card), json!({}), Some(&lineage("standard", "teacher", json!({"base": base}))));
        assert_eq!(text.contains("base_model:"), shown, "{text}");
        has(&text, &[&format!("- base: `{base}`")]);
    }
}

#[test]
fn a_card_says_how_long_the_texts_were_that_it_learned_from() {
    let learned = LearnedTexts {
        max_lengths: PartLengths { input: 31, label: 2, rationale: 14 },
        truncated: Truncated { inputs: 0, labels: 0, rationales: 5, rows: 5 },
    };
    let known = StudentCard { learned: Some(learned), ..card(Method::StepByStep, &[]) };
    let text = rendered(Some(&known), json!({}), None);
    has(
        &text,
        &["at most 31 tokens of an input, 2 of a label, 14 of a rationale", "0 labels, 5 rationales, in 5 rows"],
    );
    has(&text, &["An input of more than 1024 tokens is cut", "learned from inputs of at most 31 tokens"]);
    lacks(&rendered(Some(&card(Method::StepByStep, &[])), json!({}), None), &["learned from |", "untried"]);
}

#[test]
fn a_control_with_shuffled_rationales_says_so() {
    let card = card(Method::StepByStep, &[]);
    let told = |rationales: Value| {
        rendered(Some(&card), json!({}), Some(&lineage("step_by_step", "teacher", json!({"rationales": rationales}))))
    };
    let shuffled = told(json!({"shuffle": "words"}));
    has(&shuffled, &["A control: its rationales were shuffled", "\"shuffle\":\"words\""]);
    lacks(&told(json!({})), &["A control", "- rationales:"]);
    let chosen = told(json!({"per_example": "all"}));
    has(&chosen, &["- rationales: `{\"per_example\":\"all\",\"filter\":\"none\""]);
    lacks(&chosen, &["A control"]);
}

#[test]
fn a_model_of_several_seeds_does_not_hide_the_others() {
    let outcome = |seed: u64, test: f64| SeedOutcome {
        seed,
        validation_accuracy: Some(0.5),
        test_accuracy: Some(test),
        ..SeedOutcome::default()
    };
    let measured = [Measurement { split: Split::Test, accuracy: 0.8, rows: 10, by_ground_truth: 10 }];
    let mut card = card(Method::Standard, &measured);
    card.seeds = vec![outcome(7, 0.8), outcome(9, 0.6)];
    let chosen = lineage("standard", "teacher", json!({"seed": 7}));
    let text = rendered(Some(&card), json!({}), Some(&chosen));
    has(&text, &["one of 2 students", "| 9 | 0.5000 | 0.6000 |", "0.5000 ± 0.0000 | 0.7000 ± 0.1000 |", "- seed: 7\n"]);
    card.seeds.truncate(1);
    lacks(&rendered(Some(&card), json!({}), Some(&chosen)), &["students that differ"]);
}

#[test]
fn the_error_of_confidence_is_told_before_and_after_or_why_it_is_not_known() {
    let lineage = |change| lineage("standard", "teacher", change);
    let with = |calibration| {
        let task = crate::domain::TaskDefinition {
            label_set: LabelSet::Fixed(vec!["refund".to_owned(), "reject".to_owned()]),
            ..Default::default()
        };
        StudentCard { calibration, task, ..card(Method::Standard, &[]) }
    };
    let fitted = Calibration {
        rows: 90,
        temperature: Some(1.414),
        error_before: Some(0.25),
        error_after: Some(0.0625),
        fault: None,
    };
    let text = rendered(Some(&with(Some(fitted))), json!({}), Some(&lineage(json!({}))));
    has(&text, &["temperature 1.41", "on 90 validation rows", "| 0.2500 | 0.0625 |", "for its own label set alone"]);
    let few = Calibration { rows: 12, ..Calibration::default() };
    let text = rendered(Some(&with(Some(few))), json!({}), Some(&lineage(json!({}))));
    has(&text, &["of its validation rows 12 have a label of the set, and fewer than 30", "own and not calibrated"]);
    let failed = Calibration::failed(90, "an exam needs more memory than there is: 9 GB".to_owned());
    let text = rendered(Some(&with(Some(failed))), json!({}), Some(&lineage(json!({}))));
    has(
        &text,
        &["its 90 validation rows", "could not be weighed: an exam needs more memory", "own and not calibrated"],
    );
    let text = rendered(Some(&with(None)), json!({}), Some(&lineage(json!({}))));
    has(&text, &["had no validation rows for it"]);
    let text = rendered(Some(&with(None)), json!({}), Some(&lineage(json!({"step": 20}))));
    has(&text, &["weights of its way"]);
    lacks(&rendered(Some(&card(Method::Standard, &[])), json!({}), None), &["## Calibration"]);
}
