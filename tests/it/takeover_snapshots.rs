//! Pausing, draining and dying in the midst of the work, as real processes: what was done is kept, and the end is the
//! same as without.

use std::{collections::HashSet, fs};

use serde_json::json;

use crate::support::{
    fleet::{Fleet, annotate},
    service::{processes_mentioning, until},
    teacher::GatedTeacher,
};

/// Steps of a training that is long enough to be interrupted.
const STEPS: i64 = 600;

/// The figures that a training has left as a file.
async fn step_metrics(fleet: &Fleet, job: &str) -> String {
    let file =
        fleet.client.get(&format!("/v1/jobs/{job}")).await["result"]["metrics_file"].as_str().unwrap().to_owned();
    fleet.client.text(&format!("/v1/files/{file}/content")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_training_continues_from_its_snapshot_to_the_same_model() {
    let fleet = Fleet::begin().await;
    let _worker = fleet.worker("worker");
    let settings = json!({"max_steps": STEPS, "eval_steps": 250, "snapshot_every": 0});
    let whole = fleet.training_with(settings.clone()).await;
    let ended = fleet.client.until_ended(&whole).await;
    assert_eq!(ended["state"], "succeeded", "{ended:#}");

    let paused = fleet.training_with(settings).await;
    fleet.until_training(&paused).await;
    let asked = fleet.client.post(&format!("/v1/jobs/{paused}/pause"), &json!({})).await;
    assert!(asked["pause_requested"] == true && asked["state"] == "running", "{asked:#}");
    let job = fleet.client.until_job(&paused, "is paused", |job| job["state"] != "running").await;
    assert_eq!(
        (&job["state"], &job["pause_reason"], &job["pause_requested"], &job["attempt"]),
        (&json!("paused"), &json!("user"), &json!(false), &json!(0)),
        "{job:#}"
    );
    assert_eq!(processes_mentioning(&paused), Vec::<String>::new());
    let stored = fleet.event(&paused, "snapshot").await.unwrap();
    let step = stored["data"]["step"].as_i64().unwrap();
    assert!(step > 0 && step < STEPS, "{stored:#}");
    assert!(fleet.artifacts(&paused).contains_key(&format!("e1/snapshot-{step}/manifest.json")));

    fleet.client.post(&format!("/v1/jobs/{paused}/resume"), &json!({})).await;
    let ended = fleet.client.until_ended(&paused).await;
    assert_eq!((&ended["state"], &ended["attempt"]), (&json!("succeeded"), &json!(1)), "{ended:#}");
    assert_eq!(fleet.event(&paused, "resumed").await.unwrap()["data"]["step"], step);
    let figures = step_metrics(&fleet, &paused).await;
    assert_eq!(figures, step_metrics(&fleet, &whole).await);
    let head = "step,train_loss,label_loss,learning_rate,gradient_norm,skipped_steps,label_accuracy";
    assert_eq!((figures.lines().next(), figures.lines().count()), (Some(head), 1 + 60), "{figures}");
    let (whole, resumed) = (fleet.checkpoint(&whole), fleet.checkpoint(&paused));
    assert!(whole.contains_key("model.safetensors") && whole.contains_key("tokenizer.json"));
    assert!(whole == resumed, "the models differ");
    // Nobody needs its snapshot any more.
    until("the snapshot is gone", async || {
        let rows: i64 =
            sqlx::query_scalar("select count(*) from snapshots").fetch_one(&fleet.database.pool).await.unwrap();
        let files = fleet.artifacts(&paused).into_keys().filter(|path| path.contains("snapshot-")).count();
        (rows == 0 && files == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_worker_gives_its_training_back_and_another_continues_it() {
    let fleet = Fleet::begin().await;
    let job = fleet.training_with(json!({"max_steps": STEPS, "eval_steps": 1_000_000, "snapshot_every": 0})).await;
    let mut first = fleet.worker("first");
    fleet.until_training(&job).await;
    first.signal(libc::SIGTERM);
    assert!(first.wait(), "a drained worker ends with success");
    let given_back = fleet.client.get(&format!("/v1/jobs/{job}")).await;
    assert_eq!((&given_back["state"], &given_back["attempt"]), (&json!("queued"), &json!(0)), "{given_back:#}");
    assert_eq!(processes_mentioning(&job), Vec::<String>::new());
    let step = fleet.event(&job, "snapshot").await.unwrap()["data"]["step"].clone();

    let _second = fleet.worker("second");
    let ended = fleet.client.until_ended(&job).await;
    assert_eq!((&ended["state"], &ended["attempt"]), (&json!("succeeded"), &json!(1)), "{ended:#}");
    assert_eq!(fleet.event(&job, "resumed").await.unwrap()["data"]["step"], step);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_time_to_drain_lets_its_training_go_at_once() {
    let fleet = Fleet::begin().await;
    let job = fleet.training(1_000_000).await;
    let mut worker = fleet.worker_with("hasty", &["--drain-seconds", "0"]);
    fleet.until_training(&job).await;
    worker.signal(libc::SIGTERM);
    assert!(worker.wait());
    let given_back = fleet.client.get(&format!("/v1/jobs/{job}")).await;
    assert_eq!((&given_back["state"], &given_back["attempt"]), (&json!("queued"), &json!(0)), "{given_back:#}");
    assert_eq!(processes_mentioning(&job), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_training_continues_from_the_last_snapshot_it_stored() {
    let fleet = Fleet::begin().await;
    let settings = json!({"max_steps": STEPS, "eval_steps": 1_000_000, "snapshot_every": 40});
    let job = fleet.training_with(settings.clone()).await;
    let first = fleet.worker("first");
    until("a snapshot is stored", async || fleet.event(&job, "snapshot").await).await;
    first.signal(libc::SIGKILL);
    until("the child of the killed worker is gone", async || processes_mentioning(&job).is_empty().then_some(())).await;

    fleet.expire_leases().await;
    let _second = fleet.worker("second");
    let ended = fleet.client.until_ended(&job).await;
    assert_eq!((&ended["state"], &ended["attempt"]), (&json!("succeeded"), &json!(2)), "{ended:#}");
    let step = fleet.event(&job, "resumed").await.unwrap()["data"]["step"].as_i64().unwrap();
    assert!(step > 0 && step % 40 == 0, "{step}");

    let whole = fleet.training_with(settings).await;
    assert_eq!(fleet.client.until_ended(&whole).await["state"], "succeeded");
    assert_eq!(
        step_metrics(&fleet, &job).await,
        step_metrics(&fleet, &whole).await,
        "steps that were lost are there once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_whose_snapshot_is_damaged_begins_anew_and_says_so() {
    let fleet = Fleet::begin().await;
    let _worker = fleet.worker("worker");
    let job = fleet.training(STEPS.try_into().unwrap()).await;
    fleet.until_training(&job).await;
    fleet.client.post(&format!("/v1/jobs/{job}/pause"), &json!({})).await;
    fleet.client.until_job(&job, "is paused", |job| job["state"] == "paused").await;
    let damaged = fleet.artifacts(&job).into_keys().find(|path| path.ends_with("parameters.safetensors")).unwrap();
    fs::write(fleet.folder.path().join("data/artifacts/jobs").join(&job).join(damaged), "other bytes").unwrap();

    fleet.client.post(&format!("/v1/jobs/{job}/resume"), &json!({})).await;
    let ended = fleet.client.until_ended(&job).await;
    assert_eq!((&ended["state"], &ended["result"]["steps"]), (&json!("succeeded"), &json!(STEPS)), "{ended:#}");
    let warning = fleet.event(&job, "snapshot_unusable").await.unwrap();
    assert!(warning["message"].as_str().unwrap().contains("parameters.safetensors"), "{warning:#}");
    assert_eq!(fleet.event(&job, "resumed").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_training_that_is_retried_continues_from_its_snapshot() {
    let fleet = Fleet::begin().await;
    let _worker = fleet.worker("worker");
    let job = fleet.training_with(json!({"max_steps": STEPS, "eval_steps": 1_000_000, "snapshot_every": 40})).await;
    until("a snapshot is stored", async || fleet.event(&job, "snapshot").await).await;
    fleet.client.post(&format!("/v1/jobs/{job}/cancel"), &json!({})).await;
    let cancelled = fleet.client.until_ended(&job).await;
    assert_eq!(cancelled["state"], "cancelled", "{cancelled:#}");

    fleet.client.post(&format!("/v1/jobs/{job}/retry"), &json!({})).await;
    let ended = fleet.client.until_job(&job, "succeeds", |job| job["state"] == "succeeded").await;
    assert_eq!((&ended["attempt"], &ended["cancel_requested"]), (&json!(1), &json!(false)), "{ended:#}");
    assert!(fleet.event(&job, "resumed").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_annotation_asks_nothing_and_pays_nothing_twice() {
    const ROWS: usize = 40;
    let (fleet, teacher) = (Fleet::begin().await, GatedTeacher::start().await);
    let (_worker, job) = annotate(&fleet, &teacher, ROWS).await;
    until("four questions are out", async || (teacher.asked().len() == 4).then_some(())).await;

    fleet.client.post(&format!("/v1/jobs/{job}/pause"), &json!({})).await;
    // Its answers come only now, one round after the other until the worker has heard of the pause.
    let settled = until("the job is paused", async || {
        teacher.let_through(4);
        let job = fleet.client.get(&format!("/v1/jobs/{job}")).await;
        (job["state"] == "paused").then(|| job["progress"]["step"].as_i64().unwrap())
    })
    .await;
    let asked = teacher.asked();
    assert_eq!(settled, i64::try_from(asked.len()).unwrap(), "every answer that was on its way is kept");
    assert!(asked.len() < ROWS, "the worker never heard of the pause");
    let rows = fleet.client.get(&format!("/v1/jobs/{job}/annotations?limit=100")).await;
    assert_eq!(rows["data"].as_array().unwrap().len(), asked.len());

    teacher.let_through(ROWS);
    assert_eq!(teacher.asked(), asked, "nothing is asked while the job is paused");
    fleet.client.post(&format!("/v1/jobs/{job}/resume"), &json!({})).await;
    let ended = fleet.client.until_ended(&job).await;
    assert_eq!(
        (&ended["state"], &ended["result"]["counts"]["total"]),
        (&json!("succeeded"), &json!(ROWS)),
        "{ended:#}"
    );
    let asked = teacher.asked();
    assert_eq!(asked.len(), ROWS);
    assert_eq!(asked.iter().collect::<HashSet<_>>().len(), ROWS, "a question was asked twice: {asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_worker_keeps_the_answers_that_are_on_their_way() {
    let (fleet, teacher) = (Fleet::begin().await, GatedTeacher::start().await);
    let (mut worker, job) = annotate(&fleet, &teacher, 4).await;
    until("all questions are out", async || (teacher.asked().len() == 4).then_some(())).await;
    worker.signal(libc::SIGTERM);
    teacher.let_through(4);
    assert!(worker.wait());
    let rows = fleet.client.get(&format!("/v1/jobs/{job}/annotations")).await;
    assert_eq!(rows["data"].as_array().unwrap().len(), 4, "{rows:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_stops_a_draining_worker_at_once() {
    let (fleet, teacher) = (Fleet::begin().await, GatedTeacher::start().await);
    let (mut worker, job) = annotate(&fleet, &teacher, 4).await;
    until("all questions are out", async || (teacher.asked().len() == 4).then_some(())).await;
    worker.signal(libc::SIGTERM);
    let log = fleet.folder.path().join("worker.log");
    until("it drains", async || fs::read_to_string(&log).unwrap().contains("shutting down").then_some(())).await;
    worker.signal(libc::SIGTERM);
    assert!(!worker.wait(), "it had no time to give its job back");
    assert_eq!(fleet.client.get(&format!("/v1/jobs/{job}")).await["state"], "running");
}
