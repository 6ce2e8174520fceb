//! Distillations in OpenAI's shapes: the same jobs as at `/v1/jobs`, by the same ids.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use stepwise::{
    domain::{JobError, JobKind, KeepCheckpoints, Lease},
    store::{EventLevel, NewEvent},
};

use crate::support::{
    app::{Answer, TestApp},
    seed::{long_terms, new_worker},
    student::{desk_labels, write_student},
};

const JOBS: &str = "/v1/fine_tuning/jobs";
/// Every member of OpenAI's job, and the two that are added.
const MEMBERS: [&str; 21] = [
    "created_at",
    "error",
    "estimated_finish",
    "fine_tuned_model",
    "finished_at",
    "hyperparameters",
    "id",
    "integrations",
    "metadata",
    "method",
    "model",
    "object",
    "organization_id",
    "progress",
    "result_files",
    "seed",
    "status",
    "terminal",
    "trained_tokens",
    "training_file",
    "validation_file",
];

/// An API with a student `tiny` and a file of rows.
async fn desk() -> (TestApp, String) {
    let app = TestApp::start().await;
    write_student(&app, "tiny", desk_labels());
    let file = app.file(&[row("it is torn", "refund"), row("it is late", "reject")]).await;
    (app, file)
}

fn row(input: &str, label: &str) -> Value {
    json!({"input": input, "label": label})
}

fn supervised(hyperparameters: Value) -> Value {
    json!({"type": "supervised", "supervised": {"hyperparameters": hyperparameters, "task": "returns"}})
}

async fn create(app: &TestApp, request: Value) -> Answer {
    let answer = app.post(JOBS, request).await;
    assert_eq!(answer.status, 200, "{:#}", answer.body);
    answer
}

async fn ask(app: &TestApp, id: &str, action: &str) -> Answer {
    app.request(Method::POST, &format!("{JOBS}/{id}/{action}"), |request| request).await
}

/// Claims the only job of the queue.
async fn claim(app: &TestApp) -> Lease {
    app.store.claim(new_worker(), &JobKind::ALL, &long_terms()).await.unwrap().unwrap().1
}

#[tokio::test]
async fn a_fine_tuning_is_a_distillation_under_the_same_id() {
    let (app, file) = desk().await;
    let knobs = json!({"n_epochs": 3, "batch_size": "auto", "learning_rate_multiplier": 2, "eval_steps": 7});
    let request = json!({
        "model": "tiny", "training_file": file, "validation_file": file, "suffix": "desk", "seed": 5,
        "metadata": {"team": "returns"}, "integrations": [], "method": supervised(knobs),
    });
    let made = create(&app, request).await;
    let members: Vec<&str> = made.body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, MEMBERS);
    let shown = json!({"batch_size": 64, "learning_rate_multiplier": 2, "n_epochs": 3});
    assert_eq!(
        (&made.body["hyperparameters"], &made.body["method"]["supervised"]["hyperparameters"]),
        (&shown, &shown)
    );
    let said = ["status", "model", "training_file", "validation_file"].map(|name| made.body[name].as_str().unwrap());
    assert_eq!(said, ["queued", "tiny", &file, &file]);
    for unknown in ["error", "fine_tuned_model", "trained_tokens", "estimated_finish", "finished_at", "progress"] {
        assert_eq!(made.body[unknown], Value::Null, "{unknown}");
    }
    let native = app.get(&format!("/v1/jobs/{}", made.id())).await.body;
    let (spec, id) = (&native["spec"], made.id());
    let knobs = &spec["hyperparameters"];
    assert_eq!((&spec["method"], &spec["label_source"]), (&json!("standard"), &json!("ground_truth")));
    assert_eq!((&knobs["epochs"], &knobs["learning_rate"], &knobs["seed"]), (&json!(3.0), &json!(1e-4), &json!(5)));
    assert_eq!((&knobs["eval_steps"], &knobs["batch_size"]), (&json!(7), &json!(64)));
    assert_eq!(spec["model_name"], format!("tiny-desk-{}", &id[id.len() - 6..]));
    assert_eq!(app.get(&format!("{JOBS}/{id}")).await.body, made.body);
}

#[tokio::test]
async fn jobs_of_either_interface_are_listed_and_jobs_of_other_kinds_are_not() {
    let (app, file) = desk().await;
    let native = json!({"training": {"file": file}, "student": {"from_scratch": {}}, "method": "standard",
        "label_source": "ground_truth", "metadata": {"team": "returns"}});
    let native = app.post("/v1/distillation-jobs", native).await.id();
    let annotation = app.post("/v1/annotation-jobs", json!({"file": file, "teacher": "scripted"})).await.id();
    let step_by_step = json!({
        "model": {"from_scratch": {"d_model": 32}}, "training_file": annotation, "depends_on": [native],
        "method": {"type": "step_by_step", "step_by_step": {"alpha": 0.25, "hyperparameters": {"max_steps": 5}}},
    });
    let made = create(&app, step_by_step).await;
    let said = ["model", "training_file"].map(|name| made.body[name].as_str().unwrap());
    assert_eq!(said, ["from_scratch", &annotation]);
    let method = &made.body["method"];
    assert_eq!((&method["type"], &method["supervised"]), (&json!("step_by_step"), &Value::Null));
    let shown = json!({"alpha": 0.25, "label_source": "teacher",
        "hyperparameters": {"batch_size": 64, "learning_rate_multiplier": "auto", "n_epochs": "auto"}});
    assert_eq!(method["step_by_step"], shown);

    let ids = async |query: &str| {
        let list = app.get(&format!("{JOBS}{query}")).await.body;
        let ids = list["data"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned());
        (ids.collect::<Vec<_>>(), list["has_more"] == true)
    };
    assert_eq!(ids("").await, (vec![made.id(), native.clone()], false));
    assert_eq!(ids("?limit=1").await, (vec![made.id()], true));
    assert_eq!(ids(&format!("?limit=1&after={}", made.id())).await, (vec![native.clone()], false));
    assert_eq!(ids("?metadata[team]=returns").await, (vec![native], false));
    assert_eq!(ids("?metadata=null").await, (vec![made.id()], false));
    for path in ["", "/events", "/checkpoints"] {
        assert_eq!(app.get(&format!("{JOBS}/{annotation}{path}")).await.code(), "not_found", "{path}");
    }
    for action in ["cancel", "pause", "resume"] {
        assert_eq!(ask(&app, &annotation, action).await.code(), "not_found", "{action}");
    }
    assert_eq!(app.get(&format!("/v1/jobs/{annotation}")).await.body["state"], "queued", "nothing was asked of it");
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_at_its_place_in_openais_request() {
    let (app, file) = desk().await;
    let missing = "file-00000000000000000000000000000000";
    let knobs = |knobs: Value| json!({"method": supervised(knobs)});
    let cases = [
        (json!({"modle": "tiny"}), "unknown_parameter", "#/modle"),
        (json!({"model": "tinny"}), "student_not_found", "#/model"),
        (json!({"training_file": "rows.jsonl"}), "invalid_value", "#/training_file"),
        (json!({"training_file": missing}), "file_not_found", "#/training_file"),
        (json!({"validation_file": missing}), "file_not_found", "#/validation_file"),
        (json!({"suffix": "my model"}), "invalid_value", "#/suffix"),
        (json!({"seed": -1}), "invalid_value", "#/seed"),
        (json!({"integrations": [{"type": "wandb"}]}), "unsupported_parameter", "#/integrations"),
        (json!({"method": {"type": "dpo"}}), "invalid_value", "#/method/type"),
        (json!({"method": {"type": "step_by_step"}}), "missing_teacher_labels", "#/training_file"),
        (json!({"method": {"type": "supervised", "step_by_step": {}}}), "invalid_value", "#/method/step_by_step"),
        (
            json!({"method": {"type": "supervised", "supervised": {"alpha": 2}}}),
            "invalid_value",
            "#/method/supervised/alpha",
        ),
        (knobs(json!({"n_epoch": 3})), "unknown_parameter", "#/method/supervised/hyperparameters/n_epoch"),
        (knobs(json!({"n_epochs": -3})), "invalid_value", "#/method/supervised/hyperparameters/n_epochs"),
        (knobs(json!({"batch_size": 0})), "invalid_value", "#/method/supervised/hyperparameters/batch_size"),
        (json!({"hyperparameters": {"batch_size": 0}}), "invalid_value", "#/hyperparameters/batch_size"),
        (json!({"hyperparameters": {"seed": 4}, "seed": 5}), "invalid_value", "#/seed"),
        (json!({"hyperparameters": {"seed": 0}, "seed": 5}), "invalid_value", "#/seed"),
        (json!({"hyperparameters": {"seed": 5}, "seed": 0}), "invalid_value", "#/seed"),
        (json!({"metadata": {"team": 5}}), "wrong_type", "#/metadata/team"),
    ];
    for (wrong, code, pointer) in cases {
        let mut request = json!({"model": "tiny", "training_file": file});
        request.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        let refused = app.post(JOBS, request).await;
        refused.refused(400, code, pointer);
        assert_eq!(refused.body["error"]["param"], pointer.trim_start_matches("#/").replace('/', "."));
    }
    app.post(JOBS, json!({"training_file": file})).await.refused(400, "missing_field", "#/model");
    assert_eq!(app.get(JOBS).await.body["data"], json!([]));
}

#[tokio::test]
async fn a_submission_is_made_once_for_a_key_and_a_dry_run_makes_nothing() {
    let (app, file) = desk().await;
    let request = json!({"model": "tiny", "training_file": file});
    let dry_run = app.post(&format!("{JOBS}?dry_run=true"), request.clone()).await;
    assert_eq!((dry_run.status, &dry_run.body["object"]), (200, &json!("dry_run")));
    let send =
        async || app.request(Method::POST, JOBS, |sent| sent.header("idempotency-key", "k").json(&request)).await;
    let (first, again) = (send().await, send().await);
    assert_eq!((first.body, &again.headers["idempotent-replayed"]), (again.body, &"true".parse().unwrap()));
    assert_eq!(app.get(JOBS).await.body["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_job_is_paused_resumed_and_cancelled_and_what_will_not_change_is_not_to_be_sent_again() {
    let (app, file) = desk().await;
    let id = create(&app, json!({"model": "tiny", "training_file": file})).await.id();
    let status = async |action: &str| ask(&app, &id, action).await.body["status"].clone();
    for (action, is) in [("pause", "paused"), ("pause", "paused"), ("resume", "queued"), ("resume", "queued")] {
        assert_eq!(status(action).await, is, "{action}");
    }
    let lease = claim(&app).await;
    assert_eq!(status("pause").await, "running", "its worker has yet to stop");
    assert_eq!(app.get(&format!("/v1/jobs/{id}")).await.body["pause_requested"], true);
    app.store.fail(lease, &JobError::new("training_process_died", "it broke"), true).await.unwrap();
    assert_eq!(app.get(&format!("{JOBS}/{id}")).await.body["error"], Value::Null, "it will be tried again");
    assert_eq!(status("cancel").await, "cancelled");
    assert_eq!(status("cancel").await, "cancelled");

    let id = create(&app, json!({"model": "tiny", "training_file": file})).await.id();
    let error = JobError::new("training_process_died", "it broke").with_hint("mend it");
    app.store.fail(claim(&app).await, &error, false).await.unwrap();
    let failed = app.get(&format!("{JOBS}/{id}")).await.body;
    let said = json!({"code": "training_process_died", "message": "it broke; mend it", "param": null});
    assert_eq!((&failed["status"], &failed["error"], &failed["terminal"]), (&json!("failed"), &said, &json!(true)));
    for action in ["cancel", "pause", "resume"] {
        let refused = ask(&app, &id, action).await;
        assert_eq!((refused.status, refused.code()), (409, "job_is_over"), "{action}");
        assert_eq!(refused.headers["x-should-retry"], "false", "{action}");
    }
}

/// Tells events and figures in turns, as a training does.
async fn tell(app: &TestApp, lease: Lease) {
    for step in [10, 20, 30] {
        let figures = BTreeMap::from([("loss".to_owned(), 1.0 / step as f64), ("label_loss".to_owned(), 0.5)]);
        app.store.append_metrics(lease, step, &figures).await.unwrap();
        app.store.append_metrics(lease, step, &BTreeMap::from([("label_accuracy".to_owned(), 0.5)])).await.unwrap();
        let (code, message, data) = ("evaluated".to_owned(), format!("step {step}"), json!({"step": step}));
        app.store.append_event(lease, &NewEvent { level: EventLevel::Info, code, message, data }).await.unwrap();
    }
}

#[tokio::test]
async fn events_and_figures_are_one_list_newest_first_and_pages_of_any_size_have_each_once() {
    let (app, file) = desk().await;
    let id = create(&app, json!({"model": "tiny", "training_file": file})).await.id();
    let lease = claim(&app).await;
    app.store.progress(lease, stepwise::domain::Progress { step: 30, total: 40 }).await.unwrap();
    tell(&app, lease).await;
    let whole = app.get(&format!("{JOBS}/{id}/events?limit=1000")).await.body;
    let told: Vec<&Value> = whole["data"].as_array().unwrap().iter().collect();
    let newest = [
        (json!("evaluated"), json!({"step": 30})),
        (json!("metrics"), json!({"step": 30, "label_accuracy": 0.5})),
        (json!("metrics"), json!({"step": 30, "train_loss": 1.0 / 30.0, "label_loss": 0.5})),
        (json!("evaluated"), json!({"step": 20})),
    ];
    for (event, (code, data)) in told.iter().zip(newest) {
        assert_eq!((&event["code"], &event["data"]), (&code, &data));
    }
    assert_eq!(told[2]["message"], "Step 30/40: training loss=0.0333");
    assert_eq!((told.len(), &told[10]["code"], &told[10]["type"]), (11, &json!("queued"), &json!("message")));
    for limit in [1, 2, 3, 10] {
        let (mut paged, mut after) = (Vec::new(), String::new());
        loop {
            let page = app.get(&format!("{JOBS}/{id}/events?limit={limit}{after}")).await.body;
            paged.extend(page["data"].as_array().unwrap().clone());
            after = format!("&after={}", paged.last().unwrap()["id"].as_str().unwrap());
            if page["has_more"] == false {
                break;
            }
        }
        assert_eq!(paged, *whole["data"].as_array().unwrap(), "pages of {limit}");
    }
    let refused = app.get(&format!("{JOBS}/{id}/events?after=41")).await;
    refused.refused(400, "invalid_value", "#/after");
}

#[tokio::test]
async fn checkpoints_come_newest_first_and_their_names_answer_while_the_job_runs() {
    let (app, file) = desk().await;
    let id = create(&app, json!({"model": "tiny", "training_file": file})).await.id();
    let lease = claim(&app).await;
    app.store.append_metrics(lease, 12, &BTreeMap::from([("loss".to_owned(), 0.25)])).await.unwrap();
    for step in 1..=12 {
        app.leave(lease, step, (step == 12).then_some(0.5)).await;
    }
    let page = app.get(&format!("{JOBS}/{id}/checkpoints")).await.body;
    let data = page["data"].as_array().unwrap();
    let steps: Vec<_> = data.iter().map(|checkpoint| checkpoint["step_number"].as_i64().unwrap()).collect();
    assert_eq!((steps, &page["has_more"]), ((3..=12).rev().collect(), &json!(true)), "ten, as OpenAI's");
    assert_eq!(data[0]["metrics"], json!({"step": 12, "train_loss": 0.25, "label_accuracy": 0.5}));
    let name = data[0]["fine_tuned_model_checkpoint"].as_str().unwrap();
    let chat = json!({"model": name, "messages": [{"role": "user", "content": "it is late"}]});
    assert_eq!(app.post("/v1/chat/completions", chat).await.body["model"], name);
    // The last one of the page goes while the page is read.
    let keep = KeepCheckpoints { last: 1, best: 1 };
    app.store.retire_checkpoints(id.parse().unwrap(), keep).await.unwrap();
    let last = data[9]["id"].as_str().unwrap();
    let rest = app.get(&format!("{JOBS}/{id}/checkpoints?after={last}")).await.body;
    assert_eq!((&rest["data"], &rest["has_more"]), (&json!([]), &json!(false)));
}

#[tokio::test]
async fn a_succeeded_job_names_its_model_and_counts_what_it_was_trained_on() {
    let (app, file) = desk().await;
    let knobs = json!({"max_steps": 3, "batch_size": 2});
    let request = json!({"model": "tiny", "training_file": file, "validation_file": file, "suffix": "desk",
        "method": supervised(knobs)});
    let id = create(&app, request).await.id();
    app.work_on(JobKind::Distillation).await;
    let job = app.get(&format!("{JOBS}/{id}")).await.body;
    assert_eq!((&job["status"], &job["error"]), (&json!("succeeded"), &Value::Null), "{job:#}");
    let native = app.get(&format!("/v1/jobs/{id}")).await.body;
    assert_eq!(
        (&job["fine_tuned_model"], &job["trained_tokens"]),
        (&native["result"]["model"], &native["result"]["tokens"])
    );
    // Each of three steps reads both rows, with their prefix, label and end tokens: as many each time.
    let tokens = job["trained_tokens"].as_u64().unwrap();
    assert!(tokens > 0 && tokens % 3 == 0, "{tokens}");
    let model = job["fine_tuned_model"].as_str().unwrap();
    assert_eq!(app.get(&format!("/v1/models/{model}")).await.body["job"], json!(id));
}
