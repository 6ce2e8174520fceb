//! Secrets with recognizable names go through real processes, in right and wrong settings; then everything that these
//! processes wrote, said, stored or passed on is searched for them.

use std::{fs, path::Path};

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};

use crate::support::{
    database::TestDatabase,
    service::{Client, Process, free_address, head, processes_mentioning, returns_desk, run, until},
};

const PASSWORD: &str = "canary-password";
const KEY: &str = "canary-teacher-key";
const TOKEN: &str = "canary-hub-token";

/// Panics where a text holds a secret.
#[track_caller]
fn clean(what: &str, text: &str) {
    for secret in [PASSWORD, KEY, TOKEN] {
        let shown = text.lines().find(|line| line.contains(secret));
        assert!(shown.is_none(), "{what} shows a secret: {shown:?}");
    }
}

#[test]
fn wrong_settings_are_refused_without_showing_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let table = "[[teachers]]\nname = 'a'\nmodel = 'm'\n";
    let configs = [
        format!("database_url = 'mysql://u:{PASSWORD}@h/d'"),
        format!("database_url = 'postgres://u:{PASSWORD}@h:port/d'"),
        format!("database_url = 'postgres://u:x/{PASSWORD}@h/d?no_such={PASSWORD}'"),
        format!("database_url = 'postgres://u:{PASSWORD}@127.0.0.1:1/d'"),
        format!("database_url = postgres://u:{PASSWORD}@h/d"),
        format!("database_url = ['{PASSWORD}', {{ a = '{PASSWORD}' }}]"),
        format!("{table}base_url = 'http://h/v1'\napi_key = '{KEY}'"),
        format!("{table}base_url = 'http://h/v1'\napi_key_env = '{KEY}'"),
        format!("{table}base_url = 'http://h/v1'\nmax_concurrency = '{KEY}'"),
        format!("{table}base_url = 'http://u:{KEY}@h/v1'"),
        format!("{table}base_url = 'http://h/v1?key={KEY}'"),
        format!("teachers = '{KEY}'"),
        format!("hub_token = '{TOKEN} with a space'"),
        format!("hub_endpoint = 'https://{TOKEN}@huggingface.co'"),
    ];
    let data = folder.path().join("data").display().to_string();
    let listen = free_address().to_string();
    for (number, config) in configs.iter().enumerate() {
        let path = folder.path().join(format!("{number}.toml"));
        fs::write(&path, config).unwrap();
        let path = path.to_str().unwrap();
        for command in [&["migrate"][..], &["doctor", "--data-dir", &data, "--listen", &listen], &["settings"]] {
            let arguments = [command, &["--config", path]].concat();
            let ended = run(&arguments, &[("STEPWISE_LOG", "trace")]);
            clean(&format!("{arguments:?} with {config:?}"), &format!("{}{}", ended.out, ended.err));
            assert!(ended.code != Some(0) || command == ["settings"], "{arguments:?} with {config:?}: {ended:?}");
        }
    }
}

/// A service with secrets in its settings, and a worker, both logging all that they can.
struct Guarded {
    folder: tempfile::TempDir,
    database: TestDatabase,
    client: Client,
    task: Value,
    processes: Vec<Process>,
}

impl Guarded {
    async fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = returns_desk(&folder.path().join("desk"));
        let database = TestDatabase::new().await;
        // The test server trusts its socket, so that the password only has to be carried.
        let url = database.url.replacen('@', &format!(":{PASSWORD}@"), 1);
        let (listen, teacher) = (free_address(), free_address());
        let config = folder.path().join("stepwise.toml");
        let text = format!(
            "database_url = '{url}'\n[[teachers]]\nname = 'desk'\nbase_url = 'http://{teacher}/v1'\nmodel = 'm'\napi_key_env = 'GUARDED_KEY'\n"
        );
        fs::write(&config, text).unwrap();
        let (config, dir) = (config.to_str().unwrap(), folder.path().join("data").display().to_string());
        let (listening, asking) = (listen.to_string(), teacher.to_string());
        let variables =
            [("GUARDED_KEY", KEY), ("PGPASSWORD", PASSWORD), ("HF_TOKEN", TOKEN), ("STEPWISE_LOG", "trace")];
        let answers = data.join("answers.jsonl").display().to_string();
        let start = |name: &str, arguments: &[&str]| {
            Process::start(arguments, &variables, &folder.path().join(format!("{name}.log")))
        };
        let common = ["--config", config, "--data-dir", &dir, "--threads", "1"];
        let processes = vec![
            start("teacher", &["scripted-teacher", "--answers", &answers, "--listen", &asking]),
            start("serve", &[&["serve", "--listen", &listening], &common[..]].concat()),
            start("work", &[&["work"], &common[..]].concat()),
        ];
        let client = Client::new(listen);
        client.until_ready().await;
        let task = serde_json::from_str(&fs::read_to_string(data.join("task.json")).unwrap()).unwrap();
        Self { folder, database, client, task, processes }
    }

    async fn upload(&self, name: &str) -> String {
        self.client.upload(&head(&self.folder.path().join("desk").join(name), 30)).await
    }

    async fn submit(&self, kind: &str, body: Value) -> String {
        self.client.post(&format!("/v1/{kind}-jobs"), &body).await["id"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_answer_row_or_child_holds_a_secret() {
    let mut guarded = Guarded::begin().await;
    let file = guarded.upload("unlabeled.jsonl").await;
    let annotation = guarded.submit("annotation", json!({"file": file, "teacher": "desk", "task": guarded.task})).await;
    let ended = guarded.client.until_ended(&annotation).await;
    assert_eq!(ended["state"], "succeeded", "{ended:#}");
    let file = guarded.upload("labeled.jsonl").await;
    let training = guarded
        .submit(
            "distillation",
            json!({
                "training": {"file": file}, "label_source": "ground_truth", "method": "standard", "task": guarded.task,
                "student": {"from_scratch": {"vocabulary_size": 300, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2}},
                "hyperparameters": {"max_steps": 1_000_000, "batch_size": 4, "eval_steps": 1_000_000},
            }),
        )
        .await;
    guarded.client.until_job(&training, "trains", |job| job["progress"]["step"].as_i64() > Some(0)).await;
    let child = until("the child is there", async || child_environment(&training)).await;
    assert!(child.contains("OMP_NUM_THREADS"), "{child}");
    assert!(child.contains("STEPWISE_LOG_FORMAT=text"), "it logs as its worker does: {child}");
    clean("the child's environment", &child);
    clean("a command line", &processes_mentioning(guarded.folder.path().to_str().unwrap()).join("\n"));

    for path in ["/v1/jobs", "/v1/files", "/v1/models", "/readyz", "/openapi.json"] {
        clean(path, &guarded.client.get(path).await.to_string());
    }
    for list in ["events", "annotations", "metrics"] {
        let path = format!("/v1/jobs/{annotation}/{list}?limit=1000");
        clean(&path, &guarded.client.get(&path).await.to_string());
    }
    clean("the database", &every_row(&guarded.database.pool).await);
    for process in &mut guarded.processes {
        process.signal(libc::SIGTERM);
        assert!(process.wait());
    }
    for name in ["teacher", "serve", "work"] {
        let log = fs::read_to_string(guarded.folder.path().join(format!("{name}.log"))).unwrap();
        assert!(name == "teacher" || log.contains("TRACE"), "{name} logs all that it can");
        clean(&format!("the log of {name}"), &log);
    }
}

/// The variables of the process that trains a job.
fn child_environment(job: &str) -> Option<String> {
    let trains = |folder: &Path| {
        let line = fs::read(folder.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(job)
    };
    let folder = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()).find(|folder| trains(folder))?;
    Some(String::from_utf8_lossy(&fs::read(folder.join("environ")).ok()?).replace('\0', "\n"))
}

/// Every row of every table, as text.
async fn every_row(pool: &PgPool) -> String {
    let tables = "select table_name::text from information_schema.tables where table_schema = 'public'";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(pool).await.unwrap();
    assert!(tables.contains(&"annotations".to_owned()), "{tables:?}");
    let mut text = String::new();
    for table in tables {
        let rows = format!("select coalesce(string_agg(whole::text, E'\\n'), '') from \"{table}\" whole");
        text += &sqlx::query_scalar::<_, String>(AssertSqlSafe(rows)).fetch_one(pool).await.unwrap();
    }
    text
}
