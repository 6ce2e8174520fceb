//! Workers that die or drain, as real processes: what they held is taken up again, and they leave nothing behind.

use std::{fs, net::SocketAddr};

use serde_json::{Value, json};

use crate::support::{
    database::TestDatabase,
    service::{Client, Process, free_address, head, processes_mentioning, returns_desk, until},
};

/// `stepwise serve`, and workers as the test starts them, on one database.
struct Fleet {
    folder: tempfile::TempDir,
    database: TestDatabase,
    client: Client,
    _serve: Process,
}

impl Fleet {
    async fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        returns_desk(&folder.path().join("desk"));
        let database = TestDatabase::new().await;
        let listen: SocketAddr = free_address();
        let data = folder.path().join("data");
        let serve = Process::start(
            &["serve", "--listen", &listen.to_string(), "--data-dir", data.to_str().unwrap(), "--threads", "1"],
            &[("DATABASE_URL", database.url.as_str())],
            &folder.path().join("serve.log"),
        );
        let client = Client::new(listen);
        client.until_ready().await;
        Self { folder, database, client, _serve: serve }
    }

    fn worker(&self, name: &str) -> Process {
        let data = self.folder.path().join("data");
        Process::start(
            &["work", "--data-dir", data.to_str().unwrap(), "--threads", "1"],
            &[("DATABASE_URL", self.database.url.as_str())],
            &self.folder.path().join(format!("{name}.log")),
        )
    }

    /// Submits a training of so many steps on labeled rows.
    async fn training(&self, max_steps: u32) -> String {
        let labeled = self.client.upload(&head(&self.folder.path().join("desk/labeled.jsonl"), 60)).await;
        let task: Value =
            serde_json::from_str(&fs::read_to_string(self.folder.path().join("desk/task.json")).unwrap()).unwrap();
        let body = json!({
            "training": {"file": labeled}, "label_source": "ground_truth", "method": "standard", "task": task,
            "student": {"from_scratch": {"vocabulary_size": 400, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2}},
            "hyperparameters": {"max_steps": max_steps, "batch_size": 8, "eval_steps": 1_000_000, "eval_rows": 8},
        });
        let job = self.client.post("/v1/distillation-jobs", &body).await;
        job["id"].as_str().unwrap().to_owned()
    }

    async fn until_training(&self, job: &str) -> Value {
        self.client
            .until_job(job, "trains", |job| job["state"] == "running" && job["progress"]["step"].as_i64() > Some(0))
            .await
    }

    /// Makes every lease look as old as a dead worker's.
    async fn expire_leases(&self) {
        let expire = "update jobs set lease_expires_at = now() - interval '1 second' where state = 'running'";
        sqlx::query(expire).execute(&self.database.pool).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_training_is_taken_up_again_and_its_child_is_gone() {
    let fleet = Fleet::begin().await;
    let job = fleet.training(400).await;
    let first = fleet.worker("first");
    fleet.until_training(&job).await;
    first.signal(libc::SIGKILL);
    until("the child of the killed worker is gone", async || processes_mentioning(&job).is_empty().then_some(())).await;

    fleet.expire_leases().await;
    let _second = fleet.worker("second");
    let ended = fleet.client.until_ended(&job).await;
    assert_eq!(ended["state"], "succeeded", "{ended:#}");
    assert_eq!(ended["attempt"], 2, "{ended:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_worker_gives_its_training_back_without_losing_an_attempt() {
    let fleet = Fleet::begin().await;
    let job = fleet.training(1_000_000).await;
    let mut worker = fleet.worker("drained");
    fleet.until_training(&job).await;
    worker.signal(libc::SIGTERM);
    assert!(worker.wait(), "a drained worker ends with success");
    let given_back = fleet.client.get(&format!("/v1/jobs/{job}")).await;
    assert_eq!((&given_back["state"], &given_back["attempt"]), (&json!("queued"), &json!(0)), "{given_back:#}");
    assert_eq!(processes_mentioning(&job), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_lost_its_lease_stops_its_training() {
    let fleet = Fleet::begin().await;
    let job = fleet.training(1_000_000).await;
    let _worker = fleet.worker("loser");
    fleet.until_training(&job).await;
    // Somebody else claims it: the epoch moves on, and the owner is not ours any more.
    let take_over = "update jobs set lease_epoch = lease_epoch + 1, lease_owner = gen_random_uuid(),
        lease_expires_at = now() + interval '1 hour' where state = 'running'";
    sqlx::query(take_over).execute(&fleet.database.pool).await.unwrap();
    until("the training is stopped", async || processes_mentioning(&job).is_empty().then_some(())).await;
    let kept = fleet.client.get(&format!("/v1/jobs/{job}")).await;
    assert_eq!(kept["state"], "running", "the loser changed nothing: {kept:#}");
}
