//! The API and workers as processes of their own, on one database.

use std::{collections::BTreeMap, fs, net::SocketAddr};

use serde_json::{Value, json};
use stepwise::domain::{AnnotationSpec, JobId, JobSpec, WorkerId};
use tempfile::TempDir;

use super::{
    database::TestDatabase,
    seed::{annotation_spec, new_job},
    service::{Client, Process, free_address, head, returns_desk},
    teacher::GatedTeacher,
};

/// `stepwise serve`, and workers as the test starts them, on one database.
pub struct Fleet {
    pub folder: TempDir,
    pub database: TestDatabase,
    pub client: Client,
    _serve: Process,
}

impl Fleet {
    pub async fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        returns_desk(&folder.path().join("desk"));
        let database = TestDatabase::new().await;
        let listen: SocketAddr = free_address();
        let (data, models) = (folder.path().join("data"), folder.path().join("models"));
        let folders = ["--data-dir", data.to_str().unwrap(), "--models-dir", models.to_str().unwrap()];
        let serve = Process::start(
            &[&["serve", "--listen", &listen.to_string(), "--threads", "1"], &folders[..]].concat(),
            &[("DATABASE_URL", database.url.as_str())],
            &folder.path().join("serve.log"),
        );
        let client = Client::new(listen);
        client.until_ready().await;
        Self { folder, database, client, _serve: serve }
    }

    pub fn worker(&self, name: &str) -> Process {
        self.worker_with(name, &[])
    }

    /// A worker with more arguments.
    pub fn worker_with(&self, name: &str, more: &[&str]) -> Process {
        let (data, models) = (self.folder.path().join("data"), self.folder.path().join("models"));
        let folders = ["--data-dir", data.to_str().unwrap(), "--models-dir", models.to_str().unwrap()];
        let arguments = [&["work", "--threads", "1"], &folders[..], more].concat();
        let log = self.folder.path().join(format!("{name}.log"));
        Process::start(&arguments, &[("DATABASE_URL", self.database.url.as_str())], &log)
    }

    /// A worker that asks this teacher, four questions at once.
    pub fn asking_worker(&self, name: &str, teacher: &GatedTeacher) -> Process {
        self.asking_worker_with(name, teacher, &[])
    }

    /// The same with more arguments.
    pub fn asking_worker_with(&self, name: &str, teacher: &GatedTeacher, more: &[&str]) -> Process {
        let config = self.folder.path().join("worker.toml");
        let settings = "name = \"gated\"\nmodel = \"m\"\nmax_concurrency = 4";
        fs::write(&config, format!("[[teachers]]\n{settings}\nbase_url = \"http://{}/v1\"\n", teacher.address))
            .unwrap();
        self.worker_with(name, &[&["--config", config.to_str().unwrap()], more].concat())
    }

    /// Submits a training of so many steps on labeled rows.
    pub async fn training(&self, max_steps: u32) -> String {
        self.training_with(json!({"max_steps": max_steps, "eval_steps": 1_000_000})).await
    }

    /// Submits a training on labeled rows.
    pub async fn training_with(&self, hyperparameters: Value) -> String {
        let labeled = self.client.upload(&head(&self.folder.path().join("desk/labeled.jsonl"), 60)).await;
        let task: Value =
            serde_json::from_str(&fs::read_to_string(self.folder.path().join("desk/task.json")).unwrap()).unwrap();
        let mut body = json!({
            "training": {"file": labeled}, "label_source": "ground_truth", "method": "standard", "task": task,
            "student": {"from_scratch": {"vocabulary_size": 400, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2}},
            "hyperparameters": {"batch_size": 8, "eval_rows": 8},
        });
        body["hyperparameters"].as_object_mut().unwrap().extend(hyperparameters.as_object().unwrap().clone());
        let job = self.client.post("/v1/distillation-jobs", &body).await;
        job["id"].as_str().unwrap().to_owned()
    }

    /// Submits an annotation of a file by a teacher that the workers know. `serve` does not know it: the row is written
    /// as the API would write it.
    pub async fn annotation(&self, file: &str, teacher: &str) -> String {
        self.sampled_annotation(file, teacher, 1).await
    }

    /// The same with so many samples of each row.
    pub async fn sampled_annotation(&self, file: &str, teacher: &str, samples: u32) -> String {
        let spec = AnnotationSpec {
            teacher: teacher.to_owned(),
            max_output_tokens: 64,
            samples,
            repair: false,
            ..annotation_spec(file.parse().unwrap())
        };
        let spec = JobSpec::Annotation(spec);
        self.database.store.create_job(&new_job(spec)).await.unwrap().id.to_string()
    }

    /// The first event of a job with this code.
    pub async fn event(&self, job: &str, code: &str) -> Option<Value> {
        let events = self.client.get(&format!("/v1/jobs/{job}/events?limit=1000")).await;
        events["data"].as_array().unwrap().iter().find(|event| event["code"] == code).cloned()
    }

    /// Files of a job in the artifact store, by their paths below the job's folder.
    pub fn artifacts(&self, job: &str) -> BTreeMap<String, Vec<u8>> {
        let root = self.folder.path().join("data/artifacts/jobs").join(job);
        let mut found = BTreeMap::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                    found.insert(name, fs::read(&path).unwrap());
                }
            }
        }
        found
    }

    /// The files of a job's checkpoint, without what names the job.
    pub fn checkpoint(&self, job: &str) -> BTreeMap<String, Vec<u8>> {
        let named = |(path, bytes): (String, Vec<u8>)| {
            let name = path.split_once("/checkpoint/")?.1.to_owned();
            let names_the_job = ["stepwise.json", "manifest.json"].contains(&name.as_str());
            (!names_the_job).then_some((name, bytes))
        };
        self.artifacts(job).into_iter().filter_map(named).collect()
    }

    pub async fn until_training(&self, job: &str) -> Value {
        self.client
            .until_job(job, "trains", |job| job["state"] == "running" && job["progress"]["step"].as_i64() > Some(0))
            .await
    }

    /// Does at once with what a killed worker held what becomes of it when its time is over. The others keep theirs.
    pub async fn forget_the_dead(&self, name: &str, job: JobId) {
        let log = fs::read_to_string(self.folder.path().join(format!("{name}.log"))).unwrap();
        let id = log.split("worker=").nth(1).and_then(|rest| rest.split_whitespace().next());
        // One that was killed before it had begun has nothing.
        let Some(id) = id else { return };
        let id: WorkerId = id.parse().unwrap();
        for statement in [
            "update jobs set lease_expires_at = now() - interval '1 second' where state = 'running' and lease_owner = $1",
            "update annotation_hands set expires_at = now() - interval '1 second' where worker = $1",
            "update teacher_shares set expires_at = now() - interval '1 second' where worker = $1",
        ] {
            sqlx::query(statement).bind(id.0).execute(&self.database.pool).await.unwrap();
        }
        self.database.store.reap(100).await.unwrap();
        self.database.store.reap_hands(100).await.unwrap();
        // More often than any job that does not kill its workers loses them.
        self.database.set(job, "lost_count = 0").await;
        self.database.make_due(job).await;
    }

    /// Makes every lease look as old as a dead worker's.
    pub async fn expire_leases(&self) {
        let expire = "update jobs set lease_expires_at = now() - interval '1 second' where state = 'running'";
        sqlx::query(expire).execute(&self.database.pool).await.unwrap();
        self.database.expire_hands().await;
    }
}

/// A worker that asks this teacher, four questions at once, about so many rows.
pub async fn annotate(fleet: &Fleet, teacher: &GatedTeacher, rows: usize) -> (Process, String) {
    let questions = fleet.folder.path().join("questions.jsonl");
    let rows: String =
        (0..rows).map(|number| format!("{}\n", json!({"input": format!("question {number}")}))).collect();
    fs::write(&questions, rows).unwrap();
    let worker = fleet.asking_worker("worker", teacher);
    let file = fleet.client.upload(&questions).await;
    (worker, fleet.annotation(&file, "gated").await)
}
