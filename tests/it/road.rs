//! The whole road through real processes: `stepwise up`, a scripted teacher, and the API from outside.

use std::{fs, net::SocketAddr, path::Path};

use serde_json::{Value, json};

use crate::support::service::{Client, Process, free_address, head, processes_mentioning, returns_desk, until};

/// A running `stepwise up` with a scripted teacher and the demo's data.
struct Road {
    folder: tempfile::TempDir,
    client: Client,
    task: Value,
    teacher: Option<Process>,
    up: Process,
    listen: SocketAddr,
}

impl Road {
    async fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = returns_desk(&folder.path().join("desk"));
        let (listen, teacher_listen) = (free_address(), free_address());
        let config = folder.path().join("stepwise.toml");
        fs::write(
            &config,
            format!("[[teachers]]\nname = \"desk\"\nbase_url = \"http://{teacher_listen}/v1\"\nmodel = \"recorded\"\n"),
        )
        .unwrap();
        let answers = data.join("answers.jsonl");
        let teacher = Process::start(
            &["scripted-teacher", "--answers", answers.to_str().unwrap(), "--listen", &teacher_listen.to_string()],
            &[],
            &folder.path().join("teacher.log"),
        );
        let up = start_up(folder.path(), listen);
        let client = Client::new(listen);
        client.until_ready().await;
        let task = serde_json::from_str(&fs::read_to_string(data.join("task.json")).unwrap()).unwrap();
        Self { folder, client, task, teacher: Some(teacher), up, listen }
    }

    async fn upload(&self, name: &str, lines: usize) -> String {
        self.client.upload(&head(&self.folder.path().join("desk").join(name), lines)).await
    }

    async fn submit(&self, kind: &str, body: Value) -> String {
        let job = self.client.post(&format!("/v1/{kind}-jobs"), &body).await;
        job["id"].as_str().unwrap().to_owned()
    }

    fn student(&self, max_steps: u32) -> Value {
        json!({
            "task": self.task,
            "student": {"from_scratch": {"vocabulary_size": 400, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2}},
            "hyperparameters": {"max_steps": max_steps, "batch_size": 8, "eval_steps": 1000, "eval_rows": 8, "log_every": 5},
        })
    }
}

fn start_up(folder: &Path, listen: SocketAddr) -> Process {
    let (config, data) = (folder.join("stepwise.toml"), folder.join("data"));
    let (config, data, listen) = (config.to_str().unwrap(), data.to_str().unwrap(), listen.to_string());
    let arguments = ["up", "--config", config, "--listen", &listen, "--data-dir", data, "--threads", "1"];
    Process::start(&arguments, &[], &folder.join("up.log"))
}

fn with(mut base: Value, more: Value) -> Value {
    base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    base
}

#[tokio::test(flavor = "multi_thread")]
async fn unlabeled_rows_become_a_model_that_answers() {
    let road = Road::begin().await;
    let (unlabeled, test) = (road.upload("unlabeled.jsonl", 60).await, road.upload("test.jsonl", 20).await);
    let annotation = road.submit("annotation", json!({"file": unlabeled, "teacher": "desk", "task": road.task})).await;
    // Rows that are still to be annotated, in other words not yet there when the distillation is submitted.
    let text = fs::read_to_string(road.folder.path().join("desk/unlabeled.jsonl")).unwrap();
    let seen: Vec<Value> = text.lines().take(10).map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen = seen.iter().map(|row| format!("{}\n", json!({"input": row["input"], "label": "refund"})));
    fs::write(road.folder.path().join("desk/seen.jsonl"), seen.collect::<String>()).unwrap();
    let seen = road.upload("seen.jsonl", 10).await;
    let training = json!({"training": {"annotation_job": annotation}, "test": {"file": seen}, "model_name": "desk",
        "method": "step_by_step"});
    let distillation = road.submit("distillation", with(road.student(20), training)).await;
    // The teacher answers the test rows too, so that the student can be compared with it.
    let taught = road.submit("annotation", json!({"file": test, "teacher": "desk", "task": road.task})).await;
    let teacher = json!({"annotation_job": taught});
    let request = json!({"file": test, "models": [distillation], "teacher": teacher});
    let evaluation = road.submit("evaluation", request).await;

    let evaluation = road.client.until_ended(&evaluation).await;
    assert_eq!(evaluation["state"], "succeeded", "{evaluation:#}");
    let found = &evaluation["result"];
    assert_eq!((&found["models"][0]["examples"], &found["models"][0]["model"]), (&json!(20), &json!("desk")));
    let taught = road.client.get(&format!("/v1/jobs/{taught}")).await;
    assert_eq!(found["teacher"]["accuracy"], taught["result"]["teacher_accuracy"], "{evaluation:#}");
    let pairs = found["pairs"].as_array().unwrap();
    assert!(pairs.iter().all(|pair| pair["second"] == "teacher") && pairs.len() == 2, "{evaluation:#}");

    let distilled = road.client.get(&format!("/v1/jobs/{distillation}")).await;
    let warning = &distilled["warnings"][0];
    assert_eq!((&warning["code"], &warning["data"]["between"]), (&json!("rows_shared"), &json!(["training", "test"])));
    assert!(warning["data"]["shared_inputs"].as_i64() > Some(0), "{warning:#}");

    let annotation = road.client.get(&format!("/v1/jobs/{annotation}")).await;
    let counts = &annotation["result"]["counts"];
    assert_eq!(counts["total"], 60, "{annotation:#}");
    assert!(counts["valid"].as_i64().unwrap() > 50, "{annotation:#}");

    let metrics = road.client.get(&format!("/v1/jobs/{distillation}/metrics?name=loss")).await;
    let steps: Vec<_> =
        metrics["data"].as_array().unwrap().iter().map(|metric| metric["step"].as_i64().unwrap()).collect();
    assert_eq!(steps, [5, 10, 15, 20]);

    let include = json!(["confidence", "label_probs", "rationale"]);
    let question = json!({"model": "desk", "inputs": ["An order."], "include": include});
    let answer = road.client.post("/v1/predictions", &question).await;
    let answer = &answer["data"][0];
    let labels = answer["label_probs"].as_object().unwrap();
    assert!(labels.contains_key(answer["label"].as_str().unwrap()), "{answer:#}");
    let sum: f64 = labels.values().map(|probability| probability.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-6, "{answer:#}");
    assert!(answer["rationale"].is_string() && answer["confidence"].is_number(), "{answer:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_knows_what_it_was_made_of_and_is_a_student_again() {
    let road = Road::begin().await;
    let unlabeled = road.upload("unlabeled.jsonl", 40).await;
    let annotation = road.submit("annotation", json!({"file": unlabeled, "teacher": "desk", "task": road.task})).await;
    let training = json!({"training": {"annotation_job": annotation}, "model_name": "first"});
    let first = road.submit("distillation", with(road.student(4), training)).await;
    assert_eq!(road.client.until_ended(&first).await["state"], "succeeded");

    let made = road.client.get("/v1/models/first").await;
    let (lineage, source) = (&made["lineage"], &made["lineage"]["training"][0]);
    let annotated = road.client.get(&format!("/v1/jobs/{annotation}")).await;
    let output = annotated["result"]["output_file"].as_str().unwrap();
    let file = road.client.get(&format!("/v1/files/{output}")).await;
    assert_eq!((&source["file"], &source["digest"]), (&file["id"], &file["digest"]), "{made:#}");
    assert_eq!((&source["annotation_job"], &source["teacher"]), (&json!(annotation), &json!("desk")));
    assert_eq!((&lineage["base"], &lineage["job"]), (&json!("from_scratch"), &json!(first)));
    assert_eq!(lineage["hyperparameters"]["max_steps"], 4);

    let again = json!({"training": {"file": output}, "model_name": "second", "student": "first", "method": "standard"});
    let second = road.submit("distillation", with(road.student(2), again)).await;
    assert_eq!(road.client.until_ended(&second).await["state"], "succeeded");
    let made = road.client.get("/v1/models/second").await;
    assert_eq!((&made["ancestors"][0]["id"], &made["base"]), (&json!("first"), &json!("first")), "{made:#}");
    assert_eq!(
        made["lineage"]["training"][0]["teacher"], "desk",
        "an output that is named as a file keeps its teacher"
    );
    assert_eq!(road.client.get("/v1/models/first").await["children"][0]["id"], "second");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_card_tells_how_far_probabilities_can_be_taken_at_their_word() {
    let road = Road::begin().await;
    let labeled = road.upload("labeled.jsonl", 60).await;
    let training = json!({"training": {"file": labeled}, "validation": {"fraction": 0.6, "seed": 1},
        "label_source": "ground_truth", "method": "standard", "model_name": "desk"});
    let mut request = with(road.student(4), training);
    request["hyperparameters"].as_object_mut().unwrap().remove("eval_rows");
    let job = road.submit("distillation", request).await;
    let ended = road.client.until_ended(&job).await;
    assert_eq!(ended["state"], "succeeded", "{ended:#}");
    let calibration = &ended["result"]["calibration"];
    let figure = |name: &str| calibration[name].as_f64().unwrap_or_else(|| panic!("no {name}: {calibration:#}"));
    // The files of a tar lie in it as they are.
    let export = road.client.text("/v1/models/desk/export").await;
    let before_and_after = format!("| {:.4} | {:.4} |", figure("error_before"), figure("error_after"));
    let temperature =
        format!("{:.2}, which was fitted on {} validation rows", figure("temperature"), calibration["rows"]);
    for words in [before_and_after, temperature] {
        assert!(export.contains(&words), "{words:?} is not in the card: {calibration:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_of_a_training_are_asked_by_name_and_the_rest_is_removed() {
    let road = Road::begin().await;
    let labeled = road.upload("labeled.jsonl", 60).await;
    let mut request = with(
        road.student(12),
        json!({"training": {"file": labeled}, "label_source": "ground_truth", "model_name": "desk"}),
    );
    let more = json!({"checkpoint_every": 3, "keep_checkpoints": {"last": 1, "best": 1}, "eval_steps": 6});
    request["hyperparameters"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let job = road.submit("distillation", request).await;
    assert_eq!(road.client.until_ended(&job).await["state"], "succeeded");
    let events = road.client.get(&format!("/v1/jobs/{job}/events?limit=100")).await;
    let saved = events["data"].as_array().unwrap().iter().filter(|event| event["code"] == "checkpoint_saved");
    assert_eq!(saved.map(|event| event["data"]["step"].as_i64().unwrap()).collect::<Vec<_>>(), [3, 6, 9, 12]);
    let kept = road.client.get(&format!("/v1/jobs/{job}/checkpoints")).await;
    let kept = kept["data"].as_array().unwrap();
    assert!((1..=2).contains(&kept.len()) && kept.last().unwrap()["step"] == 12, "{kept:#?}");
    assert!(kept.iter().any(|checkpoint| checkpoint["best"] == true), "{kept:#?}");
    let answer =
        road.client.post("/v1/predictions", &json!({"model": "desk:ckpt-step-12", "inputs": ["An order."]})).await;
    assert_eq!((&answer["model"], answer["data"][0]["label"].is_string()), (&json!("desk:ckpt-step-12"), true));
    let files = fs::read_dir(road.folder.path().join(format!("data/artifacts/jobs/{job}/e1"))).unwrap().count();
    assert_eq!(files, kept.len() + 2, "the checkpoints that are kept, the model and its training's figures");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_seeds_are_one_job_that_makes_one_model() {
    let road = Road::begin().await;
    let labeled = road.upload("labeled.jsonl", 60).await;
    let mut request = with(
        road.student(6),
        json!({"training": {"file": labeled}, "label_source": "ground_truth", "model_name": "desk"}),
    );
    let more = json!({"seeds": [4, 7], "checkpoint_every": 6, "keep_checkpoints": {"last": 9, "best": 9}});
    request["hyperparameters"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let job = road.submit("distillation", request).await;
    let ended = road.client.until_ended(&job).await;
    let result = &ended["result"];
    assert_eq!((&ended["state"], &ended["progress"]["total"]), (&json!("succeeded"), &json!(12)), "{ended:#}");
    let of = |name: &str| result["seeds"].as_array().unwrap().iter().map(|seed| seed[name].clone()).collect::<Vec<_>>();
    assert_eq!((of("seed"), of("steps"), &result["steps"]), (vec![json!(4), json!(7)], vec![json!(6); 2], &json!(12)));
    assert!(result["standard_error"]["validation_accuracy"].is_number(), "{result:#}");
    let made = road.client.get("/v1/models/desk").await;
    assert_eq!(made["lineage"]["seed"], result["seed"], "{made:#}");
    for (step, seed) in [(6, 4), (12, 7)] {
        let checkpoint = road.client.get(&format!("/v1/models/desk:ckpt-step-{step}")).await;
        assert_eq!(checkpoint["lineage"]["seed"], seed, "{checkpoint:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_training_leaves_no_process_behind() {
    let mut road = Road::begin().await;
    let labeled = road.upload("labeled.jsonl", 60).await;
    let training = json!({"training": {"file": labeled}, "label_source": "ground_truth", "method": "standard"});
    let job = road.submit("distillation", with(road.student(1_000_000), training)).await;
    road.client.until_job(&job, "trains", |job| job["progress"]["step"].as_i64() > Some(0)).await;
    assert_eq!(processes_mentioning(&job).len(), 1);

    road.client.post(&format!("/v1/jobs/{job}/cancel"), &json!({})).await;
    let ended = road.client.until_ended(&job).await;
    assert_eq!(ended["state"], "cancelled", "{ended:#}");
    assert_eq!(processes_mentioning(&job), Vec::<String>::new());
    let again = road.client.post(&format!("/v1/jobs/{job}/cancel"), &json!({})).await;
    assert_eq!(again["state"], "cancelled");

    road.up.signal(libc::SIGTERM);
    assert!(road.up.wait(), "a drained service ends with success");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_started_again_continues_the_training_it_drained() {
    let mut road = Road::begin().await;
    let labeled = road.upload("labeled.jsonl", 60).await;
    let training = json!({"training": {"file": labeled}, "label_source": "ground_truth", "method": "standard"});
    let job = road.submit("distillation", with(road.student(600), training)).await;
    road.client.until_job(&job, "trains", |job| job["progress"]["step"].as_i64() > Some(0)).await;
    road.up.signal(libc::SIGTERM);
    assert!(road.up.wait(), "a drained service ends with success");

    road.up = start_up(road.folder.path(), road.listen);
    road.client.until_ready().await;
    let ended = road.client.until_ended(&job).await;
    assert_eq!((&ended["state"], &ended["attempt"]), (&json!("succeeded"), &json!(1)), "{ended:#}");
    let events = road.client.get(&format!("/v1/jobs/{job}/events")).await;
    assert!(events["data"].as_array().unwrap().iter().any(|event| event["code"] == "resumed"), "{events:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_teacher_that_cannot_be_reached_is_named_in_the_job_and_asked_again() {
    let mut road = Road::begin().await;
    road.teacher = None;
    let unlabeled = road.upload("unlabeled.jsonl", 5).await;
    let job = road.submit("annotation", json!({"file": unlabeled, "teacher": "desk", "task": road.task})).await;
    let events = until("the job says so", async || {
        let events = road.client.get(&format!("/v1/jobs/{job}/events")).await;
        let said = events["data"].as_array()?.iter().any(|event| event["code"] == "teacher_unreachable");
        said.then_some(events)
    });
    events.await;
    let state = road.client.get(&format!("/v1/jobs/{job}")).await;
    assert_eq!(state["terminal"], false, "{state:#}");
}
