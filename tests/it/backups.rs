//! A backup of a running service by the README's own commands, and what is restored from it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    str::FromStr,
};

use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use stepwise::domain::Job;

use crate::support::{
    database::TestDatabase,
    fleet::Fleet,
    service::{Client, Process, free_address, head, until},
};

const README: &str = include_str!("../../README.md");
/// Longer than any test runs.
const ENDLESS: u32 = 10_000_000;

/// The commands of the README that begin with this comment.
fn commands(comment: &str) -> String {
    let (_, section) = README.split_once("\n## Backups\n").expect("the README tells how to make backups");
    let blocks = section.split("\n## ").next().unwrap().split("\n```sh\n").skip(1);
    let mut blocks = blocks.map(|block| block.split("\n```").next().unwrap());
    blocks.find(|block| block.starts_with(comment)).expect("the README has these commands").to_owned()
}

/// The address as PostgreSQL's own programs read it: sqlx writes more into it than they know.
fn plain(url: &str) -> String {
    let options = PgConnectOptions::from_str(url).unwrap();
    let Some(socket) = options.get_socket() else { return url.split('?').next().unwrap().to_owned() };
    let (user, port, database) = (options.get_username(), options.get_port(), options.get_database().unwrap());
    format!("postgres://{user}@localhost:{port}/{database}?host={}", socket.display())
}

fn run(comment: &str, url: &str, data: &Path, backup: &Path) {
    let programs = stepwise::postgres::find_programs().unwrap();
    let path = std::env::join_paths(
        [programs].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &commands(comment)]).env("PATH", path.unwrap());
    shell.env("DATABASE_URL", plain(url)).env("DATA", data).env("BACKUP", backup);
    let ended = shell.output().unwrap();
    assert!(ended.status.success(), "{comment}: {}", String::from_utf8_lossy(&ended.stderr));
}

/// A service, and a worker if wanted, in a place where nothing but a backup was restored.
struct Restored {
    data: PathBuf,
    database: TestDatabase,
    client: Client,
    _serve: Process,
}

impl Restored {
    async fn begin(folder: &Path, backup: &Path) -> Self {
        let (data, database) = (folder.join("restored"), TestDatabase::empty().await);
        run("# restore:", &database.url, &data, backup);
        let listen = free_address();
        let address = ["--listen", &listen.to_string()].map(str::to_owned);
        let serve = Self::start("serve", &data, &database, &address);
        let client = Client::new(listen);
        client.until_ready().await;
        Self { data, database, client, _serve: serve }
    }

    fn start(command: &str, data: &Path, database: &TestDatabase, more: &[String]) -> Process {
        let models = data.join("models");
        let mut arguments = vec![command, "--threads", "1", "--data-dir", data.to_str().unwrap()];
        arguments.extend(["--models-dir", models.to_str().unwrap()]);
        arguments.extend(more.iter().map(String::as_str));
        Process::start(&arguments, &[("DATABASE_URL", &database.url)], &data.with_extension(command))
    }
}

async fn ask(client: &Client, model: &str) -> Value {
    let question =
        json!({"model": model, "inputs": ["A guest bought a lamp."], "include": ["confidence", "label_probs"]});
    client.post("/v1/predictions", &question).await["data"].clone()
}

async fn epoch(database: &TestDatabase, job: &str) -> i64 {
    let job = job.parse::<stepwise::domain::JobId>().unwrap().0;
    sqlx::query_scalar("select lease_epoch from jobs where id = $1").bind(job).fetch_one(&database.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_running_service_had_is_there_after_its_backup_is_restored() {
    let fleet = Fleet::begin().await;
    let worker = fleet.worker("worker");
    let uploaded = head(&fleet.folder.path().join("desk/labeled.jsonl"), 60);
    let file = fleet.client.upload(&uploaded).await;
    let done = fleet.training(30).await;
    let done = fleet.client.until_ended(&done).await;
    assert_eq!(done["state"], "succeeded", "{done}");
    // That comes a moment after the end.
    let id = done["id"].as_str().unwrap();
    let done =
        fleet.client.until_job(id, "is compared with its estimate", |job| !job["estimate_error"].is_null()).await;
    let model = done["result"]["model"].as_str().unwrap();
    let answer = ask(&fleet.client, model).await;
    let endless = json!({"max_steps": ENDLESS, "eval_steps": ENDLESS, "snapshot_every": 0});
    let paused = fleet.training_with(endless.clone()).await;
    fleet.until_training(&paused).await;
    fleet.client.post(&format!("/v1/jobs/{paused}/pause"), &json!({})).await;
    fleet.client.until_job(&paused, "is paused", |job| job["state"] == "paused").await;
    let step = fleet.event(&paused, "snapshot").await.unwrap()["data"]["step"].clone();
    let running = fleet.training_with(endless).await;
    fleet.until_training(&running).await;

    let backup = fleet.folder.path().join("backup");
    run("# backup:", &fleet.database.url, &fleet.folder.path().join("data"), &backup);
    // What came later is in no backup, and nothing of the old place helps the new one.
    let later = fleet.client.upload(&uploaded).await;
    let (files, before) = (fleet.client.get("/v1/files?limit=100").await, epoch(&fleet.database, &running).await);
    drop(worker);
    fs::rename(fleet.folder.path().join("data"), fleet.folder.path().join("lost")).unwrap();

    let restored = Restored::begin(fleet.folder.path(), &backup).await;
    let client = &restored.client;
    assert_eq!(client.get(&format!("/v1/jobs/{}", done["id"].as_str().unwrap())).await, done);
    assert_eq!(client.get(&format!("/v1/jobs/{running}")).await["state"], "running");
    let ids = |files: &Value| {
        let ids = files["data"].as_array().unwrap().iter().map(|file| file["id"].as_str().unwrap().to_owned());
        ids.filter(|id| *id != later).collect::<Vec<_>>()
    };
    assert_eq!(ids(&client.get("/v1/files?limit=100").await), ids(&files));
    assert_eq!(client.text(&format!("/v1/files/{file}/content")).await, fs::read_to_string(&uploaded).unwrap());
    assert_eq!(client.status(&format!("/v1/files/{later}")).await, Some(404));
    assert_eq!(ask(client, model).await, answer);

    assert_eq!(epoch(&restored.database, &running).await, before + 1000);

    // A training goes on from its snapshot.
    let _worker = Restored::start("work", &restored.data, &restored.database, &[]);
    client.post(&format!("/v1/jobs/{paused}/resume"), &json!({})).await;
    let resumed = until("the training goes on", async || {
        let events = client.get(&format!("/v1/jobs/{paused}/events?limit=1000")).await;
        events["data"].as_array().unwrap().iter().find(|event| event["code"] == "resumed").cloned()
    });
    assert_eq!(resumed.await["data"]["step"], step);
}

#[tokio::test]
async fn a_backup_is_restored_over_the_empty_schema_that_a_first_start_made() {
    let (old, new, folder) = (TestDatabase::new().await, TestDatabase::new().await, tempfile::tempdir().unwrap());
    let (data, backup) = (folder.path().join("data"), folder.path().join("backup"));
    fs::create_dir_all(data.join("artifacts/files")).unwrap();
    fs::write(data.join("artifacts/files/one"), "1").unwrap();
    fs::write(data.join("artifacts/files/two#1"), "half").unwrap();
    let job = old.job().await;
    run("# backup:", &old.url, &data, &backup);
    let restored = folder.path().join("restored");
    run("# restore:", &new.url, &restored, &backup);
    assert_eq!(new.read(job.id).await, Job { lease_epoch: 1000, ..old.read(job.id).await });
    assert_eq!(new.store.identity().await.unwrap(), old.store.identity().await.unwrap());
    assert_eq!(fs::read_to_string(restored.join("artifacts/files/one")).unwrap(), "1");
    assert!(!restored.join("artifacts/files/two#1").exists());
    new.store.migrate().await.unwrap();
}
