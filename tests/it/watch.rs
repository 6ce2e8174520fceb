//! `stepwise watch` as a process: what it prints, and what it ends with.

use std::{collections::BTreeMap, fs, net::SocketAddr, process::Stdio};

use serde_json::{Value, json};
use stepwise::{
    clock::Clock,
    domain::{JobError, JobKind, Lease, LeaseTerms, Progress, WorkerId},
    store::{EventLevel, NewEvent},
    worker::write_end_once,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::support::{
    app::TestApp,
    database::TestDatabase,
    listening::serve,
    service::{BINARY, Client, Process, free_address, head, program, returns_desk, run},
};

/// A `stepwise watch` whose lines are read as they come.
struct Watching {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    seen: Vec<String>,
}

impl Watching {
    fn start(address: SocketAddr, job: &str, more: &[&str]) -> Self {
        let url = format!("http://{address}");
        let mut command = Command::from(program());
        command.args(["watch", job, "--url", &url]).args(more).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines, seen: Vec::new() }
    }

    /// Reads until a line holds a text.
    async fn until(&mut self, text: &str) {
        while let Some(line) = self.lines.next_line().await.unwrap() {
            assert!(!line.chars().any(char::is_control), "{line:?}");
            self.seen.push(line);
            if self.seen.last().unwrap().contains(text) {
                return;
            }
        }
        panic!("no line holds {text:?}: {:#?}", self.seen);
    }

    /// Reads the rest, and gives the exit code.
    async fn end(&mut self) -> i32 {
        while let Some(line) = self.lines.next_line().await.unwrap() {
            self.seen.push(line);
        }
        self.process.wait().await.unwrap().code().unwrap()
    }
}

async fn queued(app: &TestApp) -> String {
    let file = app.file(&[json!({"input": "a", "label": "refund"})]).await;
    app.post("/v1/annotation-jobs", json!({"file": file, "teacher": "scripted"})).await.id()
}

async fn claim(app: &TestApp) -> Lease {
    let worker = WorkerId(Clock::system().new_id());
    app.store.claim(worker, &JobKind::ALL, &LeaseTerms::default()).await.unwrap().unwrap().1
}

/// Cancels the job, and writes what it had found.
async fn cancel(app: &TestApp, job: &str) {
    app.post(&format!("/v1/jobs/{job}/cancel"), json!({})).await;
    assert!(write_end_once(&app.worker()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_followed_from_the_queue_to_its_failure() {
    let app = TestApp::start().await;
    let job = queued(&app).await;
    let mut watching = Watching::start(app.address, &job, &[]);
    watching.until("queued at place 1").await;
    let lease = claim(&app).await;
    let message = "the teacher stumbles\u{1b}[2J".to_owned();
    let event = NewEvent { level: EventLevel::Warn, code: "stumbled".to_owned(), message, data: json!({}) };
    app.store.append_event(lease, &event).await.unwrap();
    let figures = [("valid_answers", 30.0), ("input_tokens", 900.0), ("output_tokens", 100.0), ("cost_usd", 0.5)];
    let figures: BTreeMap<String, f64> = figures.map(|(name, value)| (name.to_owned(), value)).into();
    app.store.append_metrics(lease, 30, &figures).await.unwrap();
    app.store.progress(lease, Progress { step: 30, total: 60 }).await.unwrap();
    watching.until("running, 30/60 (50 %), 30 valid, 1000 tokens, $0.5000").await;
    let error = JobError::new("teacher_refused_key", "the key is wrong").with_hint("look at TEACHER_KEY");
    app.store.fail(lease, &error, false).await.unwrap();
    watching.until("it is over, and waits for its files").await;
    assert!(write_end_once(&app.worker()).await.unwrap());
    assert_eq!(watching.end().await, 1, "{:#?}", watching.seen);
    let seen = watching.seen.join("\n");
    assert!(seen.contains("what it had found by its end is there (result_written)"), "{seen}");
    assert!(seen.contains("warn: the teacher stumbles [2J (stumbled)"), "{seen}");
    assert!(
        seen.contains(&format!(
            "{job} failed: teacher_refused_key: the key is wrong\n  what may help: look at TEACHER_KEY\n  calls.answered: 0"
        )),
        "{seen}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_outcome_has_its_exit_code() {
    let app = TestApp::start().await;
    let job = queued(&app).await;
    cancel(&app, &job).await;
    assert_eq!(Watching::start(app.address, &job, &[]).end().await, 3, "cancelled");
    assert_eq!(Watching::start(app.address, "job-00000000000000000000000000000000", &[]).end().await, 5, "no such job");
    assert_eq!(Watching::start(app.address, "nonsense", &[]).end().await, 5, "no such job either");
    let mut gone = Watching::start(free_address(), &job, &["--give-up-after", "0"]);
    assert_eq!(gone.end().await, 4);
    assert!(gone.seen.last().unwrap().starts_with("gave up after 0 s"), "{:#?}", gone.seen);
    let ended = run(&["watch", &job, "--url", "127.0.0.1"], &[]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("such as http://127.0.0.1:8080"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_and_is_not_stepwise_is_told_from_what_does_not_answer() {
    let address = serve(axum::Router::new().fallback(async || "<html>a web page</html>")).await;
    let mut watching = Watching::start(address, "job-1", &[]);
    assert_eq!(watching.end().await, 6, "{:#?}", watching.seen);
}

#[test]
fn the_exit_codes_are_in_the_help_and_the_readme() {
    let help = run(&["watch", "--help"], &[]).out;
    let codes = help.split_once("Exit codes:\n").unwrap().1;
    assert_eq!(codes.lines().count(), 8, "{help}");
    for line in codes.lines() {
        let (code, meaning) = line.trim().split_once("  ").unwrap();
        let row = format!("| {code} | {meaning} |");
        assert!(include_str!("../../README.md").contains(&row), "the README lacks {row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_leaves_the_job_running_and_says_so() {
    let app = TestApp::start().await;
    let job = queued(&app).await;
    let mut watching = Watching::start(app.address, &job, &[]);
    watching.until("queued").await;
    let id = i32::try_from(watching.process.id().unwrap()).unwrap();
    // SAFETY: the process is our child and has not been waited for.
    assert_eq!(unsafe { libc::kill(id, libc::SIGINT) }, 0);
    assert_eq!(watching.end().await, 130);
    assert!(watching.seen.join("\n").contains(&format!("{job} goes on without being watched")), "{:#?}", watching.seen);
    assert_eq!(app.get(&format!("/v1/jobs/{job}")).await.body["state"], "queued");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_reads_json_lines() {
    let app = TestApp::start().await;
    let job = queued(&app).await;
    cancel(&app, &job).await;
    let mut watching = Watching::start(app.address, &job, &["--json"]);
    assert_eq!(watching.end().await, 3);
    let lines: Vec<Value> = watching.seen.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = lines.iter().find(|line| line["type"] == "job").unwrap();
    assert_eq!((&told["job"]["id"], &told["job"]["state"]), (&json!(job), &json!("cancelled")));
    let end = lines.last().unwrap();
    assert_eq!((&end["outcome"], &end["exit_code"]), (&json!("cancelled"), &json!(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_there_is_a_bar() {
    let app = TestApp::start().await;
    let job = queued(&app).await;
    let lease = claim(&app).await;
    app.store.progress(lease, Progress { step: 45, total: 60 }).await.unwrap();
    app.store.fail(lease, &JobError::new("broken", "it broke"), false).await.unwrap();
    assert!(write_end_once(&app.worker()).await.unwrap());
    let url = format!("http://{}", app.address);
    let in_terminal = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let mut command = Command::new("python3");
    command.args(["-c", in_terminal, BINARY, "watch", &job, "--url", &url]).env("TERM", "xterm").stdin(Stdio::null());
    let ended = command.output().await.unwrap();
    let seen = String::from_utf8_lossy(&ended.stdout);
    assert_eq!(ended.status.code(), Some(1), "{seen}");
    assert!(seen.contains("failed [") && seen.contains("==") && seen.contains("75 % 45/60"), "{seen:?}");
    assert!(seen.contains("failed: broken: it broke"), "{seen:?}");
}

/// `stepwise serve` and `work` as processes, with a scripted teacher.
struct Desk {
    folder: tempfile::TempDir,
    database: TestDatabase,
    listen: SocketAddr,
    task: Value,
}

impl Desk {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = returns_desk(&folder.path().join("desk"));
        let task = serde_json::from_str(&fs::read_to_string(data.join("task.json")).unwrap()).unwrap();
        Self { folder, database: TestDatabase::new().await, listen: free_address(), task }
    }

    fn start(&self, name: &str, arguments: &[&str]) -> Process {
        let data = self.folder.path().join("data").display().to_string();
        let config = self.folder.path().join("stepwise.toml").display().to_string();
        let arguments = [arguments, &["--config", &config, "--data-dir", &data, "--threads", "1"]].concat();
        let url = [("DATABASE_URL", self.database.url.as_str())];
        Process::start(&arguments, &url, &self.folder.path().join(format!("{name}.log")))
    }

    fn teacher(&self) -> Process {
        let listen = free_address().to_string();
        let config = format!(
            "[[teachers]]\nname = 'desk'\nbase_url = 'http://{listen}/v1'\nmodel = 'm'\nusd_per_million_input_tokens = 1.0\n"
        );
        fs::write(self.folder.path().join("stepwise.toml"), config).unwrap();
        let answers = self.folder.path().join("desk/answers.jsonl").display().to_string();
        let arguments = ["scripted-teacher", "--answers", &answers, "--listen", &listen];
        Process::start(&arguments, &[], &self.folder.path().join("teacher.log"))
    }

    async fn serve(&self) -> (Process, Client) {
        let process = self.start("serve", &["serve", "--listen", &self.listen.to_string()]);
        let client = Client::new(self.listen);
        client.until_ready().await;
        (process, client)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_annotation_is_followed_to_its_result_through_a_restart_of_the_service() {
    let desk = Desk::open().await;
    let _teacher = desk.teacher();
    let (serve, client) = desk.serve().await;
    let file = client.upload(&head(&desk.folder.path().join("desk/unlabeled.jsonl"), 40)).await;
    let job = client.post("/v1/annotation-jobs", &json!({"file": file, "teacher": "desk", "task": desk.task})).await;
    let job = job["id"].as_str().unwrap();
    let mut watching = Watching::start(desk.listen, job, &[]);
    watching.until("queued").await;
    drop(serve);
    watching.until("no answer, asking again").await;
    let (_serve, _) = desk.serve().await;
    watching.until("the service answers again").await;
    let _work = desk.start("work", &["work"]);
    assert_eq!(watching.end().await, 0, "{:#?}", watching.seen);
    let seen = watching.seen.join("\n");
    let last = watching.seen.iter().rfind(|line| line.starts_with("succeeded, 40/40 (100 %)")).expect(&seen);
    assert!(last.contains(" valid, ") && last.contains(" tokens, $0."), "{seen}");
    assert!(seen.contains(&format!("{job} succeeded")) && seen.contains("  counts.total: 40"), "{seen}");
}
