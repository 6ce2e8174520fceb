//! The options of a distillation that say which rationales are learned and under which seeds: what is taken, shown and
//! refused.

use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp};

/// Rows with both labels and three rationales.
fn rows() -> Vec<Value> {
    let row = |number: usize| {
        json!({"input": format!("row {number}"), "label": "refund", "teacher_label": "refund",
            "rationale": "because it is torn", "rationales": ["since it came torn", "it is torn, as all can see"]})
    };
    (0..20).map(row).collect()
}

async fn distill(app: &TestApp, rows: &[Value], changes: Value) -> Answer {
    let file = app.file(rows).await;
    let mut request = json!({"training": {"file": file}, "student": {"from_scratch": {}}, "task": "returns"});
    request.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    app.post("/v1/distillation-jobs?dry_run=true", request).await
}

#[tokio::test]
async fn a_dry_run_shows_which_rationales_are_learned_and_what_more_of_them_cost() {
    let app = TestApp::start().await;
    let plain = distill(&app, &rows(), json!({})).await;
    assert_eq!(plain.status, 200, "{:#}", plain.body);
    assert_eq!(
        plain.body["spec"]["rationales"],
        json!({"per_example": "first", "filter": "none", "leave_out": [], "shuffle": "none"}),
        "everything is off by default"
    );
    let lengths = ["max_input_length", "max_label_length", "max_rationale_length"];
    assert!(lengths.iter().all(|name| plain.body["spec"]["hyperparameters"][name].is_null()), "{:#}", plain.body);
    let options =
        json!({"per_example": "all", "filter": "correct_only", "leave_out": ["duplicate"], "shuffle": "rows"});
    let all = distill(&app, &rows(), json!({"rationales": options})).await;
    assert_eq!(all.body["spec"]["rationales"], options, "{:#}", all.body);
    let tokens = |answer: &Answer| answer.body["estimate"]["input_tokens"]["expected"].as_f64().unwrap();
    assert!(tokens(&all) > tokens(&plain) * 1.5, "{} and {}", tokens(&all), tokens(&plain));
}

#[tokio::test]
async fn seeds_are_different_ones_and_each_costs_a_training() {
    let app = TestApp::start().await;
    let with = |seeds: Value| json!({"hyperparameters": {"seeds": seeds, "max_steps": 100}});
    let one = distill(&app, &rows(), with(Value::Null)).await;
    let three = distill(&app, &rows(), with(json!([5, 1, 3]))).await;
    assert_eq!(three.body["spec"]["hyperparameters"]["seeds"], json!([5, 1, 3]), "{:#}", three.body);
    let figure = |answer: &Answer, name: &str| {
        let figure = &answer.body["estimate"][name];
        figure.as_f64().or_else(|| figure["expected"].as_f64()).unwrap()
    };
    assert_eq!((figure(&one, "steps"), figure(&three, "steps")), (100.0, 300.0));
    assert_eq!(3.0 * figure(&one, "input_tokens"), figure(&three, "input_tokens"));
    assert!(figure(&three, "memory_bytes") > figure(&one, "memory_bytes"));
    for wrong in [json!([]), json!([1, 2, 1]), json!((0..101).collect::<Vec<_>>())] {
        let answer = distill(&app, &rows(), with(wrong)).await;
        let detail = answer.refused(400, "invalid_value", "#/hyperparameters/seeds");
        assert!(detail.contains("send 1 to 100 different ones"), "{detail}");
    }
}

#[tokio::test]
async fn a_filter_needs_both_labels() {
    let app = TestApp::start().await;
    let without = |field: &str| {
        let mut rows = rows();
        rows.iter_mut().for_each(|row| drop(row.as_object_mut().unwrap().remove(field)));
        rows
    };
    let filter = json!({"rationales": {"filter": "correct_only"}});
    let answer = distill(&app, &without("label"), filter.clone()).await;
    let detail = answer.refused(400, "missing_labels", "#/training/file");
    assert!(detail.contains("rationales.filter") && detail.contains("leave the filter out"), "{detail}");
    let truth = json!({"rationales": {"filter": "correct_only"}, "label_source": "ground_truth"});
    let answer = distill(&app, &without("teacher_label"), truth).await;
    answer.refused(400, "missing_teacher_labels", "#/training/file");
    assert_eq!(distill(&app, &rows(), filter.clone()).await.status, 200);
    // What an annotation cannot bring is known before it is over.
    let unlabeled = app.file(&[json!({"input": "a"})]).await;
    let job = app.post("/v1/annotation-jobs", json!({"file": unlabeled, "teacher": "scripted"})).await;
    let waiting = json!({"training": {"annotation_job": job.id()}, "rationales": filter["rationales"]});
    distill(&app, &rows(), waiting).await.refused(400, "missing_labels", "#/training/annotation_job");
}

#[tokio::test]
async fn options_that_would_be_ignored_or_are_not_known_are_refused() {
    let app = TestApp::start().await;
    let standard = json!({"method": "standard", "rationales": {"per_example": "all"}});
    let ignored = distill(&app, &rows(), standard).await;
    let detail = ignored.refused(400, "invalid_value", "#/rationales");
    assert!(detail.contains("step_by_step"), "{detail}");
    let neutral = json!({"method": "standard", "rationales": {"per_example": "first"}});
    assert_eq!(distill(&app, &rows(), neutral).await.status, 200);
    for method in ["standard", "rationale_then_label"] {
        let weight = json!({"method": method, "hyperparameters": {"mutual_information_weight": 0.1}});
        let ignored = distill(&app, &rows(), weight).await;
        let detail = ignored.refused(400, "invalid_value", "#/hyperparameters/mutual_information_weight");
        assert!(detail.starts_with(method) && detail.contains("\"method\": \"step_by_step\""), "{detail}");
    }
    let weight = json!({"hyperparameters": {"mutual_information_weight": 0.1}});
    assert_eq!(distill(&app, &rows(), weight).await.status, 200);
    let unknown = distill(&app, &rows(), json!({"rationales": {"filter": "correct"}})).await;
    assert!(unknown.refused(400, "invalid_value", "#/rationales/filter").contains("correct_only"));
    let narrow = distill(&app, &rows(), json!({"hyperparameters": {"precision": "fp16"}})).await;
    let detail = narrow.refused(400, "invalid_value", "#/hyperparameters/precision");
    assert!(detail.contains("fp16") && detail.contains("bf16"), "{detail}");
    distill(&app, &rows(), json!({"rationales": {"filters": "none"}})).await.refused(
        400,
        "unknown_parameter",
        "#/rationales/filters",
    );
}
