//! Dry runs and estimates: what a job would take, and how far off that was.

use serde_json::{Value, json};
use stepwise::{
    clock::Clock,
    domain::{AnswerForm, JobId, JobKind, LeaseTerms, TaskDefinition, WorkerId},
    store::Store,
    task::prompt,
};

use crate::support::{app::TestApp, seed::new_worker};

async fn rows(app: &TestApp, count: usize) -> String {
    let row = |n| json!({"input": format!("The jacket number {n} came torn."), "label": "refund", "rationale": "It is broken."});
    app.file(&(0..count).map(row).collect::<Vec<_>>()).await
}

fn span(value: &Value) -> [f64; 3] {
    ["low", "expected", "high"].map(|name| value[name].as_f64().unwrap_or_else(|| panic!("{value}")))
}

#[tokio::test]
async fn a_dry_run_shows_the_resolved_spec_and_an_estimate_and_changes_nothing() {
    let app = TestApp::start().await;
    let file = rows(&app, 50).await;
    let request = json!({"file": file, "teacher": "large", "task": "returns", "max_examples": 30, "priority": 2});
    let answer = app.post("/v1/annotation-jobs?dry_run=true", request).await;
    assert_eq!((answer.status, &answer.body["object"]), (200, &json!("dry_run")), "{:#}", answer.body);
    assert_eq!((&answer.body["spec"]["temperature"], &answer.body["priority"]), (&json!(0.0), &json!(2)));
    let estimate = &answer.body["estimate"];
    assert_eq!((&estimate["rows"], &estimate["drawn_from_jobs"]), (&json!(30), &json!(0)));
    let [low, expected, high] = span(&estimate["usd"]);
    assert!(0.0 < low && low < expected && expected < high, "{estimate:#}");
    // 60 requests a minute.
    assert!(span(&estimate["seconds"])[0] >= 30.0, "{estimate:#}");
    assert!(app.get("/v1/jobs").await.body["data"].as_array().unwrap().is_empty());
    let wrong = json!({"file": file, "teacher": "nobody"});
    app.post("/v1/annotation-jobs?dry_run=true", wrong).await.refused(400, "teacher_not_found", "#/teacher");
    app.post("/v1/annotation-jobs?dry_run=yes", json!({})).await.refused(400, "invalid_value", "#/dry_run");
    app.post("/v1/annotation-jobs?dryrun=true", json!({})).await.refused(400, "unknown_parameter", "#/dryrun");
}

#[tokio::test]
async fn a_dry_run_shows_what_the_teacher_would_be_asked_first_word_for_word() {
    let app = TestApp::start().await;
    let file = rows(&app, 5).await;
    let questions = async |changes: Value| {
        let mut request = json!({"file": file, "teacher": "large", "task": "returns", "repair": false});
        request.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        app.post("/v1/annotation-jobs?dry_run=true", request).await.body
    };
    let asked = questions(json!({"answer_form": "json"})).await;
    let task: TaskDefinition = serde_json::from_value(asked["spec"]["task"].clone()).unwrap();
    let first = prompt::chat(&task, AnswerForm::Json, "The jacket number 0 came torn.");
    assert_eq!(asked["questions"].as_array().unwrap().len(), 3);
    assert_eq!((&asked["questions"][0]["messages"], &asked["questions"][0]["prompt"]), (&json!(first), &Value::Null));
    assert_eq!(asked["questions"][2]["example_id"], "line-3");
    let tokens = asked["questions"][0]["input_tokens"].as_u64().unwrap();
    let expected = span(&asked["estimate"]["input_tokens"])[1];
    assert!((expected - 5.0 * tokens as f64).abs() < 1e-6, "alike rows: {asked:#}");
    let one = questions(json!({"max_examples": 1, "teacher": "base"})).await;
    assert_eq!(one["questions"].as_array().unwrap().len(), 1);
    let text = prompt::as_text(&prompt::chat(&task, AnswerForm::default(), "The jacket number 0 came torn."));
    assert_eq!((&one["questions"][0]["messages"], &one["questions"][0]["prompt"]), (&Value::Null, &json!(text)));
}

#[tokio::test]
async fn an_estimate_counts_samples_repairs_and_reasons_as_jobs_of_the_like_had_them() {
    let app = TestApp::start().await;
    let file = rows(&app, 20).await;
    let request = |more: Value| {
        let mut request = json!({"file": file, "teacher": "large", "task": "returns", "repair": false});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    let estimate = async |more: Value| {
        let answer = app.post("/v1/annotation-jobs?dry_run=true", request(more)).await;
        assert_eq!(answer.status, 200, "{:#}", answer.body);
        let estimate = &answer.body["estimate"];
        (span(&estimate["input_tokens"])[1], span(&estimate["output_tokens"]), span(&estimate["usd"]))
    };
    let (plain, plain_out, plain_usd) = estimate(json!({})).await;
    let (five, five_out, five_usd) = estimate(json!({"samples": 5})).await;
    assert_eq!((five, five_out[1]), (5.0 * plain, 5.0 * plain_out[1]));
    assert!((five_usd[1] - 5.0 * plain_usd[1]).abs() < 1e-9);
    let (repaired, repaired_out, repaired_usd) = estimate(json!({"repair": true})).await;
    assert!(repaired > 1.03 * plain && repaired < 1.3 * plain, "a repair's prompt is longer: {repaired} and {plain}");
    assert_eq!(repaired_out[0], plain_out[0], "it may be none");
    assert!((repaired_out[2] - 1.1 * plain_out[2]).abs() < 1e-6, "{repaired_out:?} and {plain_out:?}");
    assert!(repaired_usd[1] > plain_usd[1] && repaired_usd[2] > plain_usd[2]);
    let (reasons, ..) = estimate(json!({"rationales": "rationalize"})).await;
    assert!(reasons > repaired, "wrong labels are more than unreadable ones");

    // Half of the answers were asked for again in a job of the like; one that repaired nothing says nothing of that.
    app.post("/v1/annotation-jobs", request(json!({"repair": true}))).await;
    let worker = WorkerId(Clock::system().new_id());
    let (_, lease) = app.store.claim(worker, &JobKind::ALL, &LeaseTerms::default()).await.unwrap().unwrap();
    let result = json!({"counts": {"total": 20}, "calls": {"answered": 28, "reused": 2}, "output_tokens": 1680});
    app.store.finish(lease, &result).await.unwrap();
    assert!(estimate(json!({"repair": true})).await.0 > 1.5 * plain);
    assert_eq!(estimate(json!({})).await.0, plain);
}

#[tokio::test]
async fn a_training_is_estimated_by_its_rows_and_its_student() {
    let app = TestApp::start().await;
    let file = rows(&app, 40).await;
    let request = |layers: u32| {
        json!({"training": {"file": file}, "student": {"from_scratch": {"num_layers": layers}}, "task": "returns",
            "label_source": "ground_truth", "validation": {"fraction": 0.25},
            "hyperparameters": {"epochs": 2.0, "batch_size": 10}})
    };
    let estimate = async |layers| {
        let answer = app.post("/v1/distillation-jobs?dry_run=true", request(layers)).await;
        assert_eq!(answer.status, 200, "{:#}", answer.body);
        answer.body["estimate"].clone()
    };
    let (small, large) = (estimate(2).await, estimate(8).await);
    assert_eq!((&small["rows"], &small["steps"], &small["usd"]), (&json!(30), &json!(6), &json!(null)));
    for figure in ["parameters", "memory_bytes"] {
        assert!(small[figure].as_u64().unwrap() < large[figure].as_u64().unwrap(), "{figure}");
    }
    let memory = &small["memory"];
    let parts = ["weights", "gradients", "optimizer", "compute_copies", "best_weights", "activations", "program"];
    let sum: u64 = parts.iter().map(|part| memory[format!("{part}_bytes")].as_u64().unwrap()).sum();
    assert_eq!((&memory["total_bytes"], &memory["fits"]), (&json!(sum), &json!(true)), "{memory:#}");
    let thrifty = memory["alternatives"].as_array().unwrap().iter().find(|one| {
        one["optimizer"] == "adafactor" && one["gradient_checkpointing"] == true && one["micro_batch_size"] == 1
    });
    assert!(thrifty.unwrap()["total_bytes"].as_u64().unwrap() < sum, "{memory:#}");
    assert!(span(&small["seconds"])[1] < span(&large["seconds"])[1]);
}

#[tokio::test]
async fn the_error_of_an_estimate_is_stored_with_the_finished_job_and_the_next_estimate_learns_from_it() {
    let app = TestApp::start().await;
    let file = rows(&app, 20).await;
    let request = json!({"file": file, "teacher": "large", "task": "returns", "repair": false});
    let id = app.post("/v1/annotation-jobs", request.clone()).await.id();
    let path = format!("/v1/jobs/{id}");
    let submitted = app.get(&path).await.body;
    assert_eq!((&submitted["estimate"]["rows"], &submitted["estimate_error"]), (&json!(20), &json!(null)));
    let worker = WorkerId(Clock::system().new_id());
    let (_, lease) = app.store.claim(worker, &JobKind::ALL, &LeaseTerms::default()).await.unwrap().unwrap();
    let result = json!({"counts": {"total": 20}, "input_tokens": 4000, "output_tokens": 2400, "cost_usd": 0.032});
    app.store.finish(lease, &result).await.unwrap();
    assert_eq!(app.store.compare_estimates(10).await.unwrap().len(), 1);
    assert!(app.store.compare_estimates(10).await.unwrap().is_empty());
    let error = &app.get(&path).await.body["estimate_error"];
    assert_eq!(error["output_tokens"]["actual"], json!(2400.0), "{error:#}");
    assert_eq!(error["output_tokens"]["ratio"], json!(2.0), "{error:#}");
    assert!(error["usd"]["ratio"].as_f64().unwrap() > 0.0 && error["rows"]["ratio"] == json!(1.0));
    let next = app.post("/v1/annotation-jobs?dry_run=true", request).await.body;
    let estimate = &next["estimate"];
    assert_eq!((&estimate["drawn_from_jobs"], span(&estimate["output_tokens"])[1]), (&json!(1), 2400.0));
    let [low, expected, high] = span(&estimate["input_tokens"]);
    assert!(
        low < expected && (expected - 4000.0).abs() < 1e-6 && expected < high,
        "as the teacher counted: {estimate:#}"
    );
    let [low, expected, high] = span(&estimate["usd"]);
    assert!(low < expected && (expected - 0.032).abs() < 1e-9 && expected < high, "{estimate:#}");
}

#[tokio::test]
async fn rows_in_chinese_are_not_estimated_as_if_they_were_english() {
    let app = TestApp::start().await;
    let row = |n| json!({"input": format!("第{n}件外套撕破了。").repeat(40)});
    let file = app.file(&(0..20).map(row).collect::<Vec<_>>()).await;
    let request = json!({"file": file, "teacher": "large", "repair": false});
    let estimate =
        async || app.post("/v1/annotation-jobs?dry_run=true", request.clone()).await.body["estimate"].clone();
    let [low, expected, high] = span(&estimate().await["input_tokens"]);
    // 360 signs of three bytes and a number: about a token for each sign.
    assert!(low > 20.0 * 150.0 && expected > 20.0 * 300.0 && high > 20.0 * 400.0, "{low} {expected} {high}");
    // This teacher's tokenizer knows Chinese well: half as many.
    app.post("/v1/annotation-jobs", request.clone()).await;
    let (_, lease) = app.store.claim(new_worker(), &JobKind::ALL, &LeaseTerms::default()).await.unwrap().unwrap();
    let result = json!({"counts": {"total": 20}, "calls": {"answered": 20, "reused": 0}, "input_tokens": 4200,
        "output_tokens": 400});
    app.store.finish(lease, &result).await.unwrap();
    let [low, expected, high] = span(&estimate().await["input_tokens"]);
    assert!(low < 4200.0 && (expected - 4200.0).abs() < 1e-6 && high < 6000.0, "{low} {expected} {high}");
}

/// Submits an annotation of the file, and lets a worker do it in three holds: one that is released, one that is lost, and
/// the last one. Each looks as if it had taken 100 seconds, and a day lies between the first and the last.
async fn done_with_interruptions(app: &TestApp, request: Value) -> String {
    let set = async |assignment: &str| {
        let statement = format!("update jobs set {assignment} where state in ('queued', 'running')");
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(app.pool()).await.unwrap();
    };
    let claim = async || {
        let claimed = app.store.claim(new_worker(), &JobKind::ALL, &LeaseTerms::default()).await.unwrap();
        set("pace_at = pace_at - interval '100 seconds'").await;
        claimed.unwrap().1
    };
    let id = app.post("/v1/annotation-jobs", request).await.id();
    let first = claim().await;
    set("started_at = started_at - interval '1 day'").await;
    app.store.pause_job(Store::default_project(), first.job_id).await.unwrap();
    app.store.release(first).await.unwrap();
    app.store.resume_job(Store::default_project(), first.job_id, None).await.unwrap();
    claim().await;
    // Nobody noticed for an hour that its worker was gone.
    set("pace_at = pace_at - interval '1 hour', lease_expires_at = clock_timestamp() - interval '1 hour'").await;
    app.store.reap(10).await.unwrap();
    set("run_at = clock_timestamp()").await;
    let last = claim().await;
    let result = json!({"counts": {"total": 20}, "input_tokens": 4000, "output_tokens": 2400, "cost_usd": 0.032});
    app.store.finish(last, &result).await.unwrap();
    app.store.compare_estimates(10).await.unwrap();
    id
}

#[tokio::test]
async fn an_estimate_counts_the_work_of_all_attempts_and_nothing_between_them() {
    let app = TestApp::start().await;
    let request = json!({"file": rows(&app, 20).await, "teacher": "scripted", "task": "returns"});
    let id = done_with_interruptions(&app, request.clone()).await;
    let error = app.get(&format!("/v1/jobs/{id}")).await.body["estimate_error"].clone();
    let worked = error["seconds"]["actual"].as_f64().unwrap();
    assert!((300.0..1000.0).contains(&worked), "{error:#}");
    let next = app.post("/v1/annotation-jobs?dry_run=true", request).await.body;
    let expected = span(&next["estimate"]["seconds"])[1];
    assert!((expected - worked).abs() < 1e-6 * worked, "{next:#}");
}

#[tokio::test]
async fn a_finished_job_that_cannot_be_read_holds_up_no_submission() {
    let app = TestApp::start().await;
    let request = json!({"file": rows(&app, 20).await, "teacher": "scripted", "task": "returns"});
    let (older, newer) =
        (done_with_interruptions(&app, request.clone()).await, done_with_interruptions(&app, request.clone()).await);
    assert_ne!(older, newer);
    let written_by_hand = "update jobs set spec = jsonb_set(spec, '{teacher}', '5') where id = $1";
    let id: JobId = newer.parse().unwrap();
    sqlx::query(written_by_hand).bind(id.0).execute(app.pool()).await.unwrap();
    let next = app.post("/v1/annotation-jobs", request).await;
    assert_eq!((next.status, &next.body["estimate"]["drawn_from_jobs"]), (201, &json!(1)), "{:#}", next.body);
}
