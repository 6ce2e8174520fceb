//! Evaluation jobs through the API and a worker: students against each other and against the teacher.

use serde_json::{Value, json};
use stepwise::{
    domain::{Annotation, AnnotationStatus, JobKind, LabelSet},
    shutdown::Shutdown,
    worker::work_once,
};

use crate::support::{
    app::TestApp,
    seed::{long_terms, new_file, new_worker, settle},
    student::{desk_labels, write_seeded_student, write_student},
};

const LABELS: [&str; 3] = ["refund", "exchange", "reject"];

/// Inputs that a random student has opinions on.
fn inputs() -> Vec<String> {
    (0..150)
        .map(|at| format!("order {at} came {} days late because of the {}", at % 7, ["rule", "box"][at % 2]))
        .collect()
}

/// What the model predicts for each input.
async fn predictions(app: &TestApp, model: &str, inputs: &[String]) -> Vec<String> {
    let mut labels = Vec::new();
    for part in inputs.chunks(50) {
        let answer = app.post("/v1/predictions", json!({"model": model, "inputs": part})).await;
        let data = answer.body["data"].as_array().unwrap().clone();
        labels.extend(data.iter().map(|answer| answer["label"].as_str().unwrap().to_owned()));
    }
    labels
}

/// Rows whose ground truth is what the model predicts, but for every fifth one.
fn rows_after(inputs: &[String], predicted: &[String]) -> Vec<Value> {
    let rows = inputs.iter().zip(predicted).enumerate().map(|(at, (input, label))| {
        let other = LABELS.into_iter().find(|other| other != label).unwrap();
        json!({"id": format!("row-{at}"), "input": input, "label": if at % 5 == 0 { other } else { label.as_str() }})
    });
    rows.collect()
}

/// Submits an evaluation, works on it, and gives the job as it ended.
async fn evaluate(app: &TestApp, request: Value) -> Value {
    let submitted = app.post("/v1/evaluation-jobs", request).await;
    assert_eq!(submitted.status, 201, "{:#}", submitted.body);
    app.work_on(JobKind::Evaluation).await;
    app.get(&format!("/v1/jobs/{}", submitted.id())).await.body
}

/// The lines of a job's output file.
async fn output(app: &TestApp, result: &Value) -> Vec<Value> {
    let id = result["output_file"].as_str().unwrap();
    let file = app.get(&format!("/v1/files/{id}")).await.body;
    assert_eq!((&file["purpose"], &file["filename"]), (&json!("batch_output"), &json!("rows-evaluated.jsonl")));
    let content = app.get(&format!("/v1/files/{id}/content")).await;
    let text = String::from_utf8(content.bytes).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn count(lines: &[Value], wanted: impl Fn(&Value) -> bool) -> u64 {
    lines.iter().filter(|line| wanted(line)).count() as u64
}

/// The expected calibration error of a model, by its lines: 15 bins of one width.
fn calibration_error(lines: &[Value], model: &str) -> f64 {
    let mut bins = [0.0; 15];
    for said in lines.iter().map(|line| &line["models"][model]) {
        let confidence = said["confidence"].as_f64().unwrap();
        bins[((confidence * 15.0) as usize).min(14)] +=
            confidence - f64::from(u8::from(said["scored_correct"] == true));
    }
    bins.iter().map(|excess: &f64| excess.abs()).sum::<f64>() / lines.len() as f64
}

fn pair<'a>(result: &'a Value, first: &str, second: &str, measure: &str) -> &'a Value {
    let pairs = result["pairs"].as_array().unwrap();
    let wanted = |pair: &&Value| pair["first"] == first && pair["second"] == second && pair["measure"] == measure;
    pairs.iter().find(wanted).unwrap_or_else(|| panic!("no {first}, {second}, {measure}: {pairs:#?}"))
}

#[tokio::test]
async fn models_and_the_teacher_are_scored_and_paired_on_the_same_rows() {
    let app = TestApp::start().await;
    write_seeded_student(&app, "a", desk_labels(), 7);
    write_seeded_student(&app, "b", desk_labels(), 8);
    let inputs = inputs();
    let predicted = predictions(&app, "a", &inputs).await;
    let mut rows = rows_after(&inputs, &predicted);
    for row in &mut rows[..90] {
        row["teacher_label"] = row["label"].clone();
    }
    rows[0]["teacher_label"] = json!("none of them");
    rows.push(json!({"input": "nobody knows"}));
    let file = app.file(&rows).await;

    let job = evaluate(&app, json!({"file": file, "models": ["a", "b"]})).await;
    assert_eq!((&job["state"], &job["spec"]["teacher"]), (&json!("succeeded"), &json!("file")), "{job:#}");
    assert_eq!((&job["progress"]["step"], &job["progress"]["percent"]), (&json!(300), &json!(100.0)));
    let result = &job["result"];
    app.contract.check_form("Evaluation", result);
    assert_eq!(
        (&result["examples"], &result["unlabeled_rows"], &result["task"]),
        (&json!(150), &json!(1), &json!("returns"))
    );

    let (a, teacher) = (&result["models"][0], &result["teacher"]);
    assert_eq!((&a["model"], &a["scored_correct"], &a["scored_accuracy"]), (&json!("a"), &json!(120), &json!(0.8)));
    assert_eq!((&teacher["correct"], &teacher["unanswered"], &teacher["other"]), (&json!(89), &json!(60), &json!(61)));
    let within = |ci: &Value, share: f64| ci[0].as_f64().unwrap() < share && share < ci[1].as_f64().unwrap();
    assert!(within(&a["scored_accuracy_ci95"], 0.8) && within(&teacher["accuracy_ci95"], 89.0 / 150.0), "{result:#}");
    let cells = teacher["confusion"]["counts"].as_array().unwrap().iter();
    let cells: u64 = cells.flat_map(|row| row.as_array().unwrap()).map(|cell| cell.as_u64().unwrap()).sum();
    assert_eq!((cells, &teacher["confusion"]["labels"]), (150, &json!(LABELS)));

    let lines = output(&app, result).await;
    assert_eq!((lines.len(), &lines[7]["id"], &lines[7]["input"]), (150, &json!("row-7"), &json!(inputs[7])));
    for (line, predicted) in lines.iter().zip(&predicted) {
        assert_eq!(&line["models"]["a"]["scored_label"], predicted);
        assert!((0.0..=1.0).contains(&line["models"]["b"]["confidence"].as_f64().unwrap()), "{line}");
    }
    let off = (a["calibration_error"].as_f64().unwrap() - calibration_error(&lines, "a")).abs();
    assert!(off < 1e-9, "{a:#}");
    let right = |line: &Value, model: &str| line["models"][model]["scored_correct"] == true;
    let taught = |line: &Value| line["teacher"]["correct"] == true;
    let both = pair(result, "a", "b", "scored_accuracy");
    assert_eq!(both["only_first_correct"], count(&lines, |line| right(line, "a") && !right(line, "b")));
    assert_eq!(both["only_second_correct"], count(&lines, |line| !right(line, "a") && right(line, "b")));
    let with_teacher = pair(result, "b", "teacher", "scored_accuracy");
    assert_eq!(with_teacher["both_correct"], count(&lines, |line| right(line, "b") && taught(line)));
    assert_eq!((&with_teacher["with_teacher"], result["pairs"].as_array().unwrap().len()), (&json!(true), 6));
    assert_eq!(a["correct"], count(&lines, |line| line["models"]["a"]["correct"] == true));
    assert_eq!(
        (&lines[0]["teacher"]["label"], &lines[100]["teacher"]["label"]),
        (&json!("none of them"), &json!(null))
    );
}

/// An annotation job over the inputs whose answers, `None` for one that could not be read, are settled.
async fn annotated(app: &TestApp, inputs: &[String], label: impl Fn(usize) -> Option<String>) -> String {
    let rows: Vec<Value> = inputs.iter().map(|input| json!({"input": input})).collect();
    let file = app.file(&rows).await;
    let job = app.post("/v1/annotation-jobs", json!({"file": file, "teacher": "scripted"})).await.id();
    let (_, lease) = app.store.claim(new_worker(), &[JobKind::Annotation], &long_terms()).await.unwrap().unwrap();
    for (at, input) in inputs.iter().enumerate() {
        let label = label(at);
        let annotation = Annotation {
            example_index: at as i64,
            example_id: format!("line-{}", at + 1),
            input: input.clone(),
            split: None,
            label: None,
            status: if label.is_some() { AnnotationStatus::Valid } else { AnnotationStatus::Invalid },
            reason: None,
            agreement: label.as_ref().map(|_| 1.0),
            teacher_label: label,
            rationale: None,
            raw_output: None,
            input_tokens: 1,
            output_tokens: 1,
            latency_ms: 1,
            ..Annotation::default()
        };
        settle(&app.store, lease, &annotation).await.unwrap();
    }
    app.store.finish_with_files(lease, &json!({}), &[&new_file(), &new_file()]).await.unwrap();
    job
}

#[tokio::test]
async fn the_teachers_answers_can_come_from_an_annotation_job_of_the_same_inputs() {
    let app = TestApp::start().await;
    write_student(&app, "a", desk_labels());
    let inputs = inputs()[..20].to_vec();
    let predicted = predictions(&app, "a", &inputs).await;
    let rows = rows_after(&inputs, &predicted);
    let file = app.file(&rows).await;
    // Annotated in another order, so that only the inputs tell which answer is whose.
    let turned: Vec<String> = inputs.iter().rev().cloned().collect();
    let truth = |at: usize| rows[19 - at]["label"].as_str().unwrap().to_owned();
    let job = annotated(&app, &turned, |at| (at >= 4).then(|| truth(at))).await;
    let request = json!({"file": file, "models": ["a"], "teacher": {"annotation_job": job}});
    let ended = evaluate(&app, request).await;
    assert_eq!(ended["spec"]["teacher"], json!({"annotation_job": job}), "{ended:#}");
    let teacher = &ended["result"]["teacher"];
    assert_eq!(
        (&teacher["correct"], &teacher["examples"], &teacher["unanswered"]),
        (&json!(16), &json!(20), &json!(4))
    );

    let strangers = annotated(&app, &["nothing of the kind".to_owned()], |_| Some("refund".to_owned())).await;
    let request = json!({"file": file, "models": ["a"], "teacher": {"annotation_job": strangers}});
    let ended = evaluate(&app, request).await;
    assert_eq!((&ended["state"], &ended["error"]["code"]), (&json!("failed"), &json!("missing_teacher_answers")));
}

#[tokio::test]
async fn a_teacher_that_answered_only_rows_without_ground_truth_is_left_out_with_a_warning() {
    let app = TestApp::start().await;
    write_student(&app, "a", desk_labels());
    let rows = [json!({"input": "x", "label": "refund"}), json!({"input": "y", "teacher_label": "refund"})];
    let file = app.file(&rows).await;
    let ended = evaluate(&app, json!({"file": file, "models": ["a"]})).await;
    assert_eq!((&ended["state"], &ended["result"]["teacher"]), (&json!("succeeded"), &json!(null)), "{ended:#}");
    let events = app.get(&format!("/v1/jobs/{}/events?limit=100", ended["id"].as_str().unwrap())).await;
    let codes: Vec<_> = events.body["data"].as_array().unwrap().iter().map(|event| &event["code"]).collect();
    assert!(codes.contains(&&json!("teacher_left_out")), "{codes:?}");
}

#[tokio::test]
async fn an_open_task_has_no_figures_by_label_and_arithmetic_counts_by_value() {
    let app = TestApp::start().await;
    write_student(&app, "open", LabelSet::Open);
    let rows = [
        json!({"input": "a", "label": "( 84.0 / 2.0 )", "teacher_label": "(84 / 2)"}),
        json!({"input": "b", "label": "( 3.0 - 1.0 )", "teacher_label": "(x - 1)"}),
        json!({"input": "c", "label": "( 3.0 - 1.0 )", "teacher_label": "2"}),
    ];
    let file = app.file(&rows).await;
    let ended = evaluate(&app, json!({"file": file, "models": ["open"], "task": "svamp", "max_examples": 2})).await;
    let result = &ended["result"];
    app.contract.check_form("Evaluation", result);
    let (open, teacher) = (&result["models"][0], &result["teacher"]);
    assert_eq!((&teacher["correct"], &teacher["examples"], &teacher["other"]), (&json!(1), &json!(2), &json!(1)));
    assert_eq!(
        (&open["scored_accuracy"], &open["per_label"], &open["confusion"]),
        (&json!(null), &json!(null), &json!(null))
    );
    assert_eq!(result["pairs"].as_array().unwrap().len(), 1);
    assert_eq!(output(&app, result).await[0]["models"]["open"]["scored_label"], json!(null));
}

#[tokio::test]
async fn a_cancelled_evaluation_stops_between_batches_and_leaves_no_file() {
    let app = TestApp::start().await;
    write_student(&app, "a", desk_labels());
    // Hundreds of batches, so that the job is far from its end when the cancel comes.
    let lines: String = (0..20_000).map(|at| format!("{{\"input\":\"order {at}\",\"label\":\"refund\"}}\n")).collect();
    let file = app.upload(lines).await.id();
    let before = app.artifact_files().len();
    let job = app.post("/v1/evaluation-jobs", json!({"file": file, "models": ["a"]})).await.id();
    let worker = app.worker();
    let cancel = async {
        while app.get(&format!("/v1/jobs/{job}")).await.body["progress"].is_null() {
            tokio::task::yield_now().await;
        }
        app.post(&format!("/v1/jobs/{job}/cancel"), json!({})).await;
        worker.wake.notify_one();
    };
    let shutdown = Shutdown::new();
    let (worked, ()) = tokio::join!(work_once(&worker, &[JobKind::Evaluation], &shutdown), cancel);
    assert!(worked.unwrap());
    let ended = app.get(&format!("/v1/jobs/{job}")).await.body;
    assert_eq!(ended["state"], "cancelled", "{ended:#}");
    assert!(ended["progress"]["step"].as_i64() < Some(20_000), "{ended:#}");
    assert_eq!(app.artifact_files().len(), before);
}

#[tokio::test]
async fn the_first_rows_are_counted_among_those_that_are_evaluated() {
    let app = TestApp::start().await;
    write_student(&app, "tiny", desk_labels());
    let row = |number: usize| {
        let split = ["train", "test"][usize::from(number >= 6)];
        json!({"input": format!("row {number}"), "label": "refund", "split": split})
    };
    let file = app.file(&(0..10).map(row).collect::<Vec<_>>()).await;
    let job = evaluate(&app, json!({"file": file, "models": ["tiny"], "max_examples": 3})).await;
    assert_eq!(job["state"], "succeeded", "{job:#}");
    assert_eq!((&job["result"]["examples"], &job["result"]["train_rows"]), (&json!(3), &json!(6)));
    let lines = output(&app, &job["result"]).await;
    assert_eq!((&lines[0]["input"], lines.len()), (&json!("row 6"), 3));
    assert_eq!(job["estimate"]["rows"], 3);
}

#[tokio::test]
async fn what_cannot_be_scored_is_refused_with_what_would_be_right() {
    let app = TestApp::start().await;
    write_student(&app, "tiny", desk_labels());
    let file = app.file(&[json!({"input": "a", "label": "refund"})]).await;
    let ask = async |changes: Value| {
        let mut request = json!({"file": file, "models": ["tiny"]});
        request.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        app.post("/v1/evaluation-jobs", request).await
    };
    let unknown = ask(json!({"models": ["tiny", "tinny"]})).await;
    assert!(unknown.refused(400, "model_not_found", "#/models/1").contains("did you mean \"tiny\""));
    ask(json!({"models": ["tiny", "tiny"]})).await.refused(400, "duplicate_model", "#/models/1");
    ask(json!({"models": []})).await.refused(400, "invalid_value", "#/models");
    ask(json!({"teacher": {"annotation": "x"}})).await.refused(400, "unknown_parameter", "#/teacher/annotation");
    let job = format!("job-{}", "0".repeat(32));
    ask(json!({"teacher": {"annotation_job": job}})).await.refused(400, "job_not_found", "#/teacher/annotation_job");
    let evaluation = ask(json!({})).await.id();
    let kind = ask(json!({"teacher": {"annotation_job": evaluation}})).await;
    kind.refused(400, "invalid_value", "#/teacher/annotation_job");
    let unlabeled = app.file(&[json!({"input": "a", "teacher_label": "refund"})]).await;
    let detail = ask(json!({"file": unlabeled})).await;
    assert!(detail.refused(400, "missing_labels", "#/file").contains("ground truth"));
    let stranger = app.file(&[json!({"input": "a", "label": "keep"})]).await;
    let detail = ask(json!({"file": stranger})).await;
    assert!(detail.refused(400, "label_not_in_set", "#/file").contains("refund, exchange, reject"));
    assert_eq!(ask(json!({"file": stranger, "task": "text"})).await.status, 201);
    std::fs::remove_file(app.models_dir.join("tiny/tokenizer.json")).unwrap();
    assert!(ask(json!({})).await.refused(400, "model_incomplete", "#/models/0").contains("tokenizer.json"));
}

#[tokio::test]
async fn the_output_of_an_evaluation_is_no_file_of_examples() {
    let app = TestApp::start().await;
    write_student(&app, "tiny", desk_labels());
    let file = app.file(&[json!({"input": "a", "label": "refund"})]).await;
    let output = evaluate(&app, json!({"file": file, "models": ["tiny"]})).await["result"]["output_file"].clone();
    let answer = app.post("/v1/annotation-jobs", json!({"file": output, "teacher": "scripted"})).await;
    answer.refused(400, "invalid_file", "#/file");
}

#[tokio::test]
async fn a_later_attempt_begins_at_the_first_row_and_its_pace_counts_from_there() {
    let app = TestApp::start().await;
    write_student(&app, "tiny", desk_labels());
    let file = app.file(&[json!({"input": "a", "label": "refund"}), json!({"input": "b", "label": "refund"})]).await;
    let job = app.post("/v1/evaluation-jobs", json!({"file": file, "models": ["tiny"]})).await.id();
    let further = "update jobs set progress_step = 2, progress_total = 2, progress_at = now()";
    sqlx::query(further).execute(app.pool()).await.unwrap();
    app.work_on(JobKind::Evaluation).await;
    let pace: i64 = sqlx::query_scalar("select pace_step from jobs").fetch_one(app.pool()).await.unwrap();
    let ended = app.get(&format!("/v1/jobs/{job}")).await.body;
    assert_eq!((pace, &ended["progress"]["step"], &ended["state"]), (0, &json!(2), &json!("succeeded")));
}
