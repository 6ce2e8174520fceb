//! What is refused when a job is submitted, and the words that say what would be right.

use serde_json::{Value, json};
use stepwise::{
    domain::{File, FileId, JobKind, Purpose, Validation},
    store::Store,
};

use crate::support::{
    app::{Answer, TestApp},
    seed::{long_terms, new_file, new_worker},
};

const NO_FILE: &str = "file-00000000000000000000000000000000";
const NO_JOB: &str = "job-00000000000000000000000000000000";

/// Rows with everything that a distillation can need.
fn rows() -> Vec<Value> {
    let row = |input: &str, label: &str| json!({"input": input, "label": label, "teacher_label": label, "rationale": "the rule says so"});
    vec![row("a", "refund"), row("b", "reject"), row("c", "exchange")]
}

/// A request that is taken, with some fields changed.
async fn distill(app: &TestApp, changes: Value) -> Answer {
    let file = app.file(&rows()).await;
    let mut request = json!({"training": {"file": file}, "student": {"from_scratch": {}}, "task": "returns"});
    request.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    app.post("/v1/distillation-jobs", request).await
}

#[tokio::test]
async fn a_distillation_is_queued_with_the_defaults_of_the_paper() {
    let app = TestApp::start().await;
    let answer = distill(&app, json!({})).await;
    assert_eq!(answer.status, 201, "{:#}", answer.body);
    let spec = &answer.body["spec"];
    assert_eq!(
        (&spec["method"], &spec["label_source"], &spec["alpha"]),
        (&json!("step_by_step"), &json!("teacher"), &json!(0.5))
    );
    assert_eq!((&spec["label_prefix"], &spec["rationale_prefix"]), (&json!("predict: "), &json!("explain: ")));
    assert_eq!((&spec["hyperparameters"]["batch_size"], &spec["max_dropped_ratio"]), (&json!(64), &json!(0.2)));
    assert_eq!(spec["validation"], json!({"fraction": {"fraction": 0.1, "seed": 0}}));
}

#[tokio::test]
async fn unknown_names_are_refused_with_the_nearest_known_one() {
    let app = TestApp::start().await;
    let file = app.file(&rows()).await;
    let teacher = app.post("/v1/annotation-jobs", json!({"file": file, "teacher": "scriptd"})).await;
    assert!(
        teacher
            .refused(400, "teacher_not_found", "#/teacher")
            .contains("did you mean \"scripted\"? (known: scripted, large, base)")
    );
    assert_eq!(teacher.body["error"]["param"], "teacher");
    let task = distill(&app, json!({"task": "esnly"})).await;
    assert!(task.refused(400, "task_not_found", "#/task").contains("esnli"));
    std::fs::create_dir_all(app.models_dir.join("mini-t5")).unwrap();
    std::fs::write(app.models_dir.join("mini-t5/config.json"), "{}").unwrap();
    let student = distill(&app, json!({"student": "mini-t4"})).await;
    assert!(student.refused(400, "student_not_found", "#/student").contains("did you mean \"mini-t5\""));
    let incomplete = distill(&app, json!({"student": "mini-t5"})).await;
    let detail = incomplete.refused(400, "student_incomplete", "#/student");
    assert!(detail.contains("model.safetensors") && detail.contains("tokenizer.json"), "{detail}");
    let model = app.post("/v1/evaluation-jobs", json!({"file": file, "models": ["mini"]})).await;
    assert!(model.refused(400, "model_not_found", "#/models/0").contains("mini-t5"));
}

#[tokio::test]
async fn an_unknown_field_is_refused_with_the_nearest_known_one() {
    let app = TestApp::start().await;
    let answer = distill(&app, json!({"hyperparameters": {"batchsize": 8}})).await;
    let detail = answer.refused(400, "unknown_parameter", "#/hyperparameters/batchsize");
    assert!(detail.contains("did you mean \"batch_size\""), "{detail}");
    assert_eq!(answer.body["error"]["param"], "hyperparameters.batchsize");
    distill(&app, json!({"aplha": 1})).await.refused(400, "unknown_parameter", "#/aplha");
    distill(&app, json!({"student": {"from_scratch": {"layers": 2}}})).await.refused(
        400,
        "unknown_parameter",
        "#/student/from_scratch/layers",
    );
    distill(&app, json!({"task": {"labels": []}})).await.refused(400, "unknown_parameter", "#/task/labels");
}

#[tokio::test]
async fn a_wrong_type_is_refused_with_its_pointer() {
    let app = TestApp::start().await;
    distill(&app, json!({"alpha": "half"})).await.refused(400, "wrong_type", "#/alpha");
    distill(&app, json!({"hyperparameters": {"batch_size": 1.5}})).await.refused(
        400,
        "wrong_type",
        "#/hyperparameters/batch_size",
    );
    distill(&app, json!({"training": 7})).await.refused(400, "wrong_type", "#/training");
    distill(&app, json!({"training": [{"file": "x"}]})).await.refused(400, "invalid_value", "#/training/0/file");
    distill(&app, json!({"student": []})).await.refused(400, "wrong_type", "#/student");
    let method = distill(&app, json!({"method": "stepwise"})).await;
    assert!(method.refused(400, "invalid_value", "#/method").contains("step_by_step"));
    app.post("/v1/annotation-jobs", json!({"teacher": "scripted"})).await.refused(400, "missing_field", "#/file");
    app.post("/v1/annotation-jobs", json!([])).await.refused(400, "wrong_type", "#");
}

#[tokio::test]
async fn a_query_that_is_not_understood_is_refused_where_something_would_be_made() {
    let app = TestApp::start().await;
    let answer = app.post("/v1/annotation-jobs?dryrun=true", json!({})).await;
    answer.refused(400, "unknown_parameter", "#/dryrun");
    app.post("/v1/files?x=1", json!({})).await.refused(400, "unknown_parameter", "#/x");
    app.post(&format!("/v1/jobs/{NO_JOB}/cancel?force=1"), json!({})).await.refused(
        400,
        "unknown_parameter",
        "#/force",
    );
}

#[tokio::test]
async fn values_that_no_training_can_use_are_refused_all_at_once() {
    let app = TestApp::start().await;
    let hyperparameters =
        json!({"batch_size": 0, "train_fraction": 0, "epochs": -1, "dropout": 1.0, "max_input_length": 0});
    let answer = distill(&app, json!({"alpha": 1.5, "hyperparameters": hyperparameters, "priority": 5000})).await;
    let pointers: Vec<_> =
        answer.body["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
    for name in [
        "alpha",
        "priority",
        "hyperparameters/batch_size",
        "hyperparameters/train_fraction",
        "hyperparameters/epochs",
        "hyperparameters/dropout",
        "hyperparameters/max_input_length",
    ] {
        assert!(pointers.contains(&format!("#/{name}").as_str()), "{name} is missing: {pointers:?}");
    }
    distill(&app, json!({"prefixes": {"label": "x ", "rationale": "x "}})).await.refused(
        400,
        "invalid_value",
        "#/prefixes",
    );
    distill(&app, json!({"metadata": {"a": 1}})).await.refused(400, "wrong_type", "#/metadata/a");
    distill(&app, json!({"validation": {"fraction": 1}})).await.refused(400, "invalid_value", "#/validation/fraction");
    distill(&app, json!({"training": []})).await.refused(400, "invalid_value", "#/training");
    distill(&app, json!({"training": {}})).await.refused(400, "invalid_value", "#/training");
    distill(&app, json!({"model_name": "../x"})).await.refused(400, "invalid_value", "#/model_name");
}

#[tokio::test]
async fn files_that_lack_what_is_learned_are_refused() {
    let app = TestApp::start().await;
    let labels = app.file(&[json!({"input": "a", "label": "refund"})]).await;
    let teacher = app.file(&[json!({"input": "a", "teacher_label": "refund"})]).await;
    let training = |id: &str| json!({"file": id});
    let answer = distill(&app, json!({"training": training(&labels)})).await;
    let detail = answer.refused(400, "missing_teacher_labels", "#/training/file");
    assert!(detail.contains("ground_truth"), "{detail}");
    let answer = distill(&app, json!({"training": training(&teacher)})).await;
    let detail = answer.refused(400, "missing_rationales", "#/training/file");
    assert!(detail.contains("\"method\": \"standard\""), "{detail}");
    let answer =
        distill(&app, json!({"training": [training(&teacher)], "label_source": "ground_truth", "method": "standard"}))
            .await;
    answer.refused(400, "missing_labels", "#/training/0/file");
    assert_eq!(distill(&app, json!({"training": training(&teacher), "method": "standard"})).await.status, 201);
    let unlabeled = app.post("/v1/evaluation-jobs", json!({"file": teacher, "models": [NO_JOB]})).await;
    unlabeled.refused(400, "missing_labels", "#/file");
    distill(&app, json!({"test": {"file": app.file(&[json!({"input": "a"})]).await}})).await.refused(
        400,
        "missing_labels",
        "#/test/file",
    );
}

/// Training rows that the teacher has answered, and test rows that people have labeled.
fn one_file_for_all() -> Vec<Value> {
    let row = |number: usize| match number {
        0..7 => {
            json!({"input": format!("row {number}"), "teacher_label": "refund", "rationale": "r", "split": "train"})
        }
        _ => json!({"input": format!("row {number}"), "label": "refund", "split": "test"}),
    };
    (0..10).map(row).collect()
}

#[tokio::test]
async fn one_file_is_judged_by_the_rows_that_each_part_of_a_job_reads() {
    let app = TestApp::start().await;
    let mut rows = one_file_for_all();
    let file = app.file(&rows).await;
    // Three of ten rows have no teacher's label, and no training reads them.
    let given = json!({"training": {"file": file}, "test": {"file": file}});
    let job = distill(&app, given.clone()).await;
    assert_eq!((job.status, &job.body["estimate"]["rows"]), (201, &json!(6)), "{:#}", job.body);
    // Nor does an evaluation look at the teacher's answers to training rows.
    let evaluation = app.post("/v1/evaluation-jobs", json!({"file": file, "models": [job.id()]})).await;
    assert_eq!((evaluation.status, &evaluation.body["spec"]["teacher"]), (201, &json!(null)), "{:#}", evaluation.body);
    assert_eq!(evaluation.body["estimate"]["rows"], 3);
    // A label that the task does not know counts where the row is read.
    rows[0]["label"] = json!("keep");
    rows[9]["teacher_label"] = json!("keep");
    let file = app.file(&rows).await;
    assert_eq!(distill(&app, json!({"training": {"file": file}, "test": {"file": file}})).await.status, 201);
    assert_eq!(app.post("/v1/evaluation-jobs", json!({"file": file, "models": [job.id()]})).await.status, 201);
    let people = json!({"training": {"file": file}, "label_source": "ground_truth", "method": "standard",
        "max_dropped_ratio": 0.9});
    distill(&app, people).await.refused(400, "missing_labels", "#/training/file");
}

#[tokio::test]
async fn rows_without_a_label_count_over_all_sources_together_as_in_the_training() {
    let app = TestApp::start().await;
    let good: Vec<_> = (0..8).map(|row| json!({"input": format!("row {row}"), "teacher_label": "refund"})).collect();
    let half = [json!({"input": "a", "teacher_label": "refund"}), json!({"input": "b"})];
    let (good, half) = (app.file(&good).await, app.file(&half).await);
    let alone = json!({"training": [{"file": half}], "method": "standard"});
    let answer = distill(&app, alone).await;
    let detail = answer.refused(400, "missing_teacher_labels", "#/training/0/file");
    assert!(detail.starts_with("1 of 2 training rows"), "{detail}");
    let both = json!([{"file": good}, {"file": half}]);
    assert_eq!(distill(&app, json!({"training": both, "method": "standard"})).await.status, 201);
    let strict = json!({"training": both, "method": "standard", "max_dropped_ratio": 0.05});
    distill(&app, strict).await.refused(400, "missing_teacher_labels", "#/training/1/file");
    // What a teacher is yet to answer counts as answered.
    let annotation = app.post("/v1/annotation-jobs", json!({"file": good, "teacher": "scripted"})).await.id();
    let mixed = json!([{"annotation_job": annotation}, {"file": half}]);
    assert_eq!(distill(&app, json!({"training": mixed, "method": "standard"})).await.status, 201);
}

#[tokio::test]
async fn rows_without_a_rationale_are_dropped_only_where_one_target_holds_both() {
    let app = TestApp::start().await;
    let rationale = |row: usize| if row < 5 { json!("because") } else { json!(null) };
    let row = |row| json!({"input": format!("row {row}"), "teacher_label": "refund", "rationale": rationale(row)});
    let file = app.file(&(0..10).map(row).collect::<Vec<_>>()).await;
    let by = |method: &str| json!({"training": {"file": file}, "method": method});
    assert_eq!(distill(&app, by("step_by_step")).await.status, 201);
    let answer = distill(&app, by("rationale_then_label")).await;
    let detail = answer.refused(400, "missing_rationales", "#/training/file");
    assert!(detail.starts_with("5 of 10 training rows"), "{detail}");
}

#[tokio::test]
async fn a_file_without_a_row_of_the_split_that_it_is_named_for_is_refused() {
    let app = TestApp::start().await;
    let rows = one_file_for_all();
    let (train, test) = (app.file(&rows[..7]).await, app.file(&rows[7..]).await);
    let answer = distill(&app, json!({"training": {"file": test}})).await;
    assert!(answer.refused(400, "no_rows_of_split", "#/training/file").contains("another split than train"));
    let given = |part: &str, file: &str| {
        let mut given = json!({"training": {"file": train}});
        given[part] = json!({"file": file});
        given
    };
    distill(&app, given("test", &train)).await.refused(400, "no_rows_of_split", "#/test/file");
    distill(&app, given("validation", &test)).await.refused(400, "no_rows_of_split", "#/validation/file");
    let job = distill(&app, given("test", &test)).await;
    assert_eq!(job.status, 201, "{:#}", job.body);
    let answer = app.post("/v1/evaluation-jobs", json!({"file": train, "models": [job.id()]})).await;
    assert!(answer.refused(400, "no_rows_of_split", "#/file").contains("validation or test"));
    // What is annotated keeps its split.
    let annotation = app.post("/v1/annotation-jobs", json!({"file": test, "teacher": "scripted"})).await.id();
    let filtered = json!({"training": {"annotation_job": annotation}, "rationales": {"filter": "correct_only"}});
    let answer = distill(&app, filtered).await;
    answer.refused(400, "no_rows_of_split", "#/training/annotation_job");
    assert_eq!(answer.body["errors"].as_array().unwrap().len(), 1, "one fault is told once: {:#}", answer.body);
}

#[tokio::test]
async fn a_refusal_is_short_however_large_the_label_set_is() {
    let app = TestApp::start().await;
    let labels: Vec<String> = (0..1000).map(|number| format!("{number:0>500}")).collect();
    let rows: Vec<_> = (0..20).map(|row| json!({"input": format!("row {row}"), "teacher_label": "keep"})).collect();
    let file = app.file(&rows).await;
    let task = json!({"label_set": {"fixed": labels}});
    let answer = distill(&app, json!({"training": {"file": file}, "method": "standard", "task": task})).await;
    let detail = answer.refused(400, "label_not_in_set", "#/training/file");
    assert!(detail.contains("(1000 in all)"), "{detail}");
    assert_eq!(answer.body["errors"].as_array().unwrap().len(), 10);
    assert!(answer.bytes.len() < 20_000, "{} bytes", answer.bytes.len());
    let task = json!({"label_set": {"fixed": ["a", "b".repeat(501)]}});
    let answer = distill(&app, json!({"task": task})).await;
    assert!(answer.refused(400, "label_too_long", "#/task/label_set/fixed/1").contains("501 characters"));
}

#[tokio::test]
async fn a_label_outside_the_tasks_set_is_refused_with_its_line() {
    let app = TestApp::start().await;
    let mut rows = rows();
    rows[1]["teacher_label"] = json!("keep");
    let file = app.file(&rows).await;
    let answer = distill(&app, json!({"training": {"file": file}})).await;
    let detail = answer.refused(400, "label_not_in_set", "#/training/file");
    assert!(
        detail.contains("line 2") && detail.contains("keep") && detail.contains("refund, exchange, reject"),
        "{detail}"
    );
    assert_eq!(answer.body["errors"][0]["line"], 2);
    assert_eq!(distill(&app, json!({"training": {"file": file}, "label_source": "ground_truth"})).await.status, 201);
}

#[tokio::test]
async fn labels_that_a_student_must_not_learn_are_refused_when_they_are_too_many() {
    let app = TestApp::start().await;
    let label = |row: usize| if row < 3 { json!("(25 + x)") } else { json!("( 84.0 / 2.0 )") };
    let row = |row| json!({"input": format!("row {row}"), "teacher_label": label(row), "rationale": "r"});
    let file = app.file(&(0..20).map(row).collect::<Vec<_>>()).await;
    let by = |ratio: f64| json!({"training": {"file": file}, "task": "svamp", "max_dropped_ratio": ratio});
    let answer = distill(&app, by(0.1)).await;
    let detail = answer.refused(400, "label_without_value", "#/training/file");
    assert!(detail.contains("(25 + x)") && detail.contains("3 of 20 training rows"), "{detail}");
    assert_eq!((answer.body["errors"].as_array().unwrap().len(), &answer.body["errors"][2]["line"]), (3, &json!(3)));
    // Fewer are left out, and the job says so.
    let taken = distill(&app, by(0.15)).await;
    let warning = &taken.body["warnings"][0];
    assert_eq!((taken.status, &warning["code"]), (201, &json!("labels_not_learned")), "{:#}", taken.body);
    assert_eq!((&warning["data"]["not_learned"], &warning["data"]["rows"]), (&json!(3), &json!(20)));
    let by_words = json!({"training": {"file": file}, "task": "text", "max_dropped_ratio": 0});
    assert_eq!(distill(&app, by_words).await.body["warnings"], json!([]));
}

#[tokio::test]
async fn early_stopping_without_validation_rows_is_refused() {
    let app = TestApp::start().await;
    let asked = |fraction: f64| json!({"validation": {"fraction": fraction}, "hyperparameters": {"early_stopping_patience": 3}});
    let refused = distill(&app, asked(0.0)).await;
    refused.refused(400, "invalid_value", "#/hyperparameters/early_stopping_patience");
    let taken = distill(&app, asked(0.4)).await;
    assert_eq!(taken.body["spec"]["hyperparameters"]["early_stopping_patience"], 3, "{:#}", taken.body);
    let delta = json!({"hyperparameters": {"early_stopping_min_delta": 1.0}});
    distill(&app, delta).await.refused(400, "invalid_value", "#/hyperparameters/early_stopping_min_delta");
}

#[tokio::test]
async fn an_arithmetic_that_only_answers_is_refused() {
    let app = TestApp::start().await;
    let refused = distill(&app, json!({"hyperparameters": {"precision": "int8"}})).await;
    refused.refused(400, "invalid_value", "#/hyperparameters/precision");
    assert_eq!(distill(&app, json!({"hyperparameters": {"precision": "bf16"}})).await.status, 201);
}

#[tokio::test]
async fn files_that_are_missing_or_bad_are_refused() {
    let app = TestApp::start().await;
    distill(&app, json!({"training": {"file": NO_FILE}})).await.refused(400, "file_not_found", "#/training/file");
    let bad = app.upload("{\"input\":\"a\"}\n{\"inputs\":1}\n").await.id();
    let answer = app.post("/v1/annotation-jobs", json!({"file": bad, "teacher": "scripted"})).await;
    assert!(answer.refused(400, "invalid_file", "#/file").contains("line 2"));
}

#[tokio::test]
async fn jobs_that_come_from_jobs_wait_for_them() {
    let app = TestApp::start().await;
    let file = app.file(&rows()).await;
    let annotation = app.post("/v1/annotation-jobs", json!({"file": file, "teacher": "scripted"})).await.id();
    let distillation = distill(&app, json!({"training": {"annotation_job": annotation}})).await;
    assert_eq!(distillation.body["depends_on"], json!([annotation]), "{:#}", distillation.body);
    let models = json!({"file": file, "models": [distillation.id()], "task": "returns", "max_examples": 2});
    let evaluation = app.post("/v1/evaluation-jobs", models).await;
    assert_eq!(evaluation.body["depends_on"], json!([distillation.id()]), "{:#}", evaluation.body);
    let wrong_kind = app.post("/v1/evaluation-jobs", json!({"file": file, "models": [annotation]})).await;
    wrong_kind.refused(400, "invalid_value", "#/models/0");
    app.post(&format!("/v1/jobs/{annotation}/cancel"), json!({})).await;
    let late = distill(&app, json!({"training": {"annotation_job": annotation}})).await;
    late.refused(400, "dependency_failed", "#/training/annotation_job");
    distill(&app, json!({"depends_on": [NO_JOB]})).await.refused(400, "job_not_found", "#/depends_on/0");
}

/// An annotation that has left an output of so many rows; its id and the output's.
async fn annotated(app: &TestApp, rows: u64) -> (String, FileId) {
    let file = app.file(&[json!({"input": "a"})]).await;
    let job = app.post("/v1/annotation-jobs", json!({"file": file, "teacher": "scripted"})).await.id();
    let claimed = app.store.claim(new_worker(), &[JobKind::Annotation], &long_terms()).await.unwrap();
    let counted = Validation { rows, valid_rows: rows, teacher_labeled_rows: rows, ..Validation::default() };
    let output = File { purpose: Purpose::BatchOutput, validation: counted, ..new_file() };
    let result = json!({"output_file": output.id});
    app.store.finish_with_files(claimed.unwrap().1, &result, &[&output]).await.unwrap();
    (job, output.id)
}

#[tokio::test]
async fn what_an_annotation_left_is_looked_at_as_a_file_is() {
    let app = TestApp::start().await;
    let learn = async |job: &str, method: &str| {
        let changes = json!({"training": {"annotation_job": job}, "method": method, "task": "text"});
        distill(&app, changes).await
    };
    let (job, output) = annotated(&app, 3).await;
    let refused = learn(&job, "step_by_step").await;
    refused.refused(400, "missing_rationales", "#/training/annotation_job");
    let (empty, _) = annotated(&app, 0).await;
    let refused = learn(&empty, "standard").await;
    assert!(refused.refused(400, "invalid_file", "#/training/annotation_job").contains("is empty"));
    let learning = learn(&job, "standard").await;
    assert_eq!(learning.status, 201, "{:#}", learning.body);
    assert_eq!(app.delete(&format!("/v1/files/{output}")).await.code(), "file_in_use");
    app.post(&format!("/v1/jobs/{}/cancel", learning.id()), json!({})).await;
    app.store.delete_file(Store::default_project(), output).await.unwrap();
    let refused = learn(&job, "standard").await;
    let detail = refused.refused(400, "file_not_found", "#/training/annotation_job");
    assert!(detail.contains(&output.to_string()) && detail.contains("annotate"), "{detail}");
}
