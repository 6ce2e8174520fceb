//! An annotation by a teacher that does everything wrong that real ones do, and by workers that are killed in the midst of
//! it: nothing is lost, nothing stands twice, nothing is paid for twice, and no more is asked than it takes.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    path::{Path, PathBuf},
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use serde_json::{Value, json};
use stepwise::{
    domain::{AnnotationSpec, Budget, JobId, JobSpec, JobState, LabelSet, TaskDefinition},
    store::NewJob,
    teacher::scripted::{FaultMix, Faults, Memory, ScriptedSettings, ScriptedTeacher, Tally},
};

use crate::support::{
    fleet::Fleet,
    seed::{annotation_spec, new_job},
    service::{Process, until},
};

const LABELS: [&str; 3] = ["refund", "exchange", "reject"];
/// Calls at once.
const CONCURRENCY: usize = 64;
/// A hang of two minutes is 0.4 s; the deadline is a little less.
const SCALE: f64 = 1.0 / 300.0;
const DEADLINE_SECONDS: f64 = 0.35;

fn input(row: usize) -> String {
    format!("order {row} holds a lamp that came late")
}

fn label(row: usize) -> &'static str {
    LABELS[row % LABELS.len()]
}

/// What is to be survived.
struct Trial {
    rows: usize,
    kills: usize,
    seed: u64,
    memory: Memory,
    budget: Option<Budget>,
}

/// What came of it.
struct Outcome {
    job: Value,
    books: Tally,
    /// Output and rejections, line by line.
    lines: Vec<Value>,
    calls: BTreeMap<String, i64>,
}

impl Trial {
    async fn survive(&self) -> Outcome {
        let fleet = Fleet::begin().await;
        let folder = fleet.folder.path();
        let teacher = self.teacher(folder).await;
        let (address, books) = (teacher.local_addr(), teacher.books());
        tokio::spawn(teacher.run(std::future::pending()));
        let config = folder.join("worker.toml");
        let settings = format!(
            "[[teachers]]\nname = \"wild\"\nmodel = \"m\"\nbase_url = \"http://{address}/v1\"\n\
             max_concurrency = {CONCURRENCY}\nrequest_timeout_seconds = {DEADLINE_SECONDS}\n"
        );
        fs::write(&config, settings).unwrap();
        let rows = folder.join("rows.jsonl");
        write_lines(&rows, (0..self.rows).map(|row| json!({"id": row.to_string(), "input": input(row)})));
        let file = fleet.client.upload(&rows).await;
        let job = fleet.database.store.create_job(&self.job(&file)).await.unwrap().id;

        let mut crew = Crew { fleet: &fleet, config, workers: VecDeque::new(), started: 0 };
        self.kill_workers(&mut crew, job).await;
        let rests = |job: &Value| job["terminal"] == true || job["state"] == "paused";
        let ended = fleet.client.until_job(&job.to_string(), "rests", rests).await;
        let calls = "select state, count(*) from teacher_calls group by state";
        let calls: Vec<(String, i64)> = sqlx::query_as(calls).fetch_all(&fleet.database.pool).await.unwrap();
        let lines = lines_of(&fleet, &ended).await;
        Outcome { job: ended, books: books.tally(), lines, calls: calls.into_iter().collect() }
    }

    async fn teacher(&self, folder: &Path) -> ScriptedTeacher {
        let answers = folder.join("answers.jsonl");
        let answer = |row| format!("The rules for order {row} say so.\nAnswer: {}", label(row));
        write_lines(&answers, (0..self.rows).map(|row| json!({"input": input(row), "llm_output": answer(row)})));
        let faults = Faults { mix: FaultMix::default(), seed: self.seed, scale: SCALE };
        let settings = ScriptedSettings { faults: Some(faults), memory: self.memory, ..ScriptedSettings::new(answers) };
        ScriptedTeacher::bind(settings).await.unwrap()
    }

    fn job(&self, file: &str) -> NewJob {
        let labels = LABELS.map(str::to_owned).to_vec();
        let spec = AnnotationSpec {
            teacher: "wild".to_owned(),
            task: TaskDefinition {
                name: "returns".to_owned(),
                label_set: LabelSet::Fixed(labels),
                ..TaskDefinition::default()
            },
            max_output_tokens: 64,
            budget: self.budget,
            ..annotation_spec(file.parse().unwrap())
        };
        let spec = JobSpec::Annotation(spec);
        NewJob { max_attempts: 1000, ..new_job(spec) }
    }

    /// Whether a job with a budget has come to its end.
    async fn rests(&self, fleet: &Fleet, job: JobId) -> bool {
        self.budget.is_some() && fleet.database.read(job).await.state == JobState::Paused
    }

    /// Has two workers share the job, and kills the older one again and again, each time somewhere in the next part of the
    /// work: now the one that leads, now the one that helps.
    async fn kill_workers(&self, crew: &mut Crew<'_>, job: JobId) {
        let mut chance = ChaCha12Rng::seed_from_u64(self.seed);
        let part = self.rows * 9 / 10 / self.kills;
        crew.start();
        for number in 0..self.kills {
            crew.start();
            let target = i64::try_from(number * part + chance.random_range(1..part)).unwrap();
            until(&format!("{target} examples are settled"), async || {
                let count = "select count(*) from annotations where job_id = $1";
                let pool = &crew.fleet.database.pool;
                let count: i64 = sqlx::query_scalar(count).bind(job.0).fetch_one(pool).await.unwrap();
                (count >= target || self.rests(crew.fleet, job).await).then_some(())
            })
            .await;
            if self.rests(crew.fleet, job).await {
                return;
            }
            crew.kill_the_oldest(job).await;
        }
    }
}

/// The workers.
struct Crew<'a> {
    fleet: &'a Fleet,
    config: PathBuf,
    /// With their names, the oldest first.
    workers: VecDeque<(String, Process)>,
    started: usize,
}

impl Crew<'_> {
    fn start(&mut self) {
        let name = format!("worker-{}", self.started);
        self.started += 1;
        let arguments = ["--kinds", "annotation", "--config", self.config.to_str().unwrap()];
        self.workers.push_back((name.clone(), self.fleet.worker_with(&name, &arguments)));
    }

    /// Kills it and lets what it held go at once: a lease lasts half a minute.
    async fn kill_the_oldest(&mut self, job: JobId) {
        let (name, worker) = self.workers.pop_front().unwrap();
        worker.signal(libc::SIGKILL);
        drop(worker);
        self.fleet.forget_the_dead(&name, job).await;
    }
}

async fn lines_of(fleet: &Fleet, job: &Value) -> Vec<Value> {
    let mut lines = Vec::new();
    for file in ["output_file", "rejections_file"] {
        let Some(id) = job["result"][file].as_str() else { continue };
        let text = fleet.client.text(&format!("/v1/files/{id}/content")).await;
        lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
    }
    lines
}

fn write_lines(path: &Path, lines: impl Iterator<Item = Value>) {
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    fs::write(path, text).unwrap();
}

impl Outcome {
    /// Every row is there once, and those that are valid have their label.
    fn assert_whole(&self, rows: usize) {
        assert_eq!(self.job["state"], "succeeded", "{:#}", self.job);
        let ids: BTreeSet<&str> = self.lines.iter().map(|line| line["id"].as_str().unwrap()).collect();
        assert_eq!((self.lines.len(), ids.len()), (rows, rows), "rows are lost, or stand twice");
        for line in &self.lines {
            if line["status"] == "valid" {
                let row: usize = line["id"].as_str().unwrap().parse().unwrap();
                assert_eq!(line["teacher_label"], label(row), "{line}");
            }
        }
        let valid = self.lines.iter().filter(|line| line["status"] == "valid").count();
        assert!(valid * 100 >= rows * 97, "{valid} of {rows} are valid");
    }

    fn calls(&self, state: &str) -> u64 {
        u64::try_from(self.calls.get(state).copied().unwrap_or_default()).unwrap()
    }

    /// Calls that were not turned away with a 429.
    fn attempts(&self) -> u64 {
        self.books.calls - self.books.faults.get("limited").copied().unwrap_or_default()
    }

    fn figures(&self, rows: usize) -> String {
        let Tally { calls, billed, billed_twice, billed_tokens, most_at_once, faults, .. } = &self.books;
        let [share, tried] = [*calls, self.attempts()].map(|calls| calls as f64 / rows as f64);
        format!(
            "{calls} calls ({share:.3} an example, {tried:.3} without 429s), {billed} charged for, {billed_twice} of them twice, {billed_tokens} tokens, \
             {most_at_once} at once; the ledger: {:?}; faults: {faults:?}",
            self.calls
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_examples_survive_a_wild_teacher_and_twenty_killed_workers() {
    let trial = Trial { rows: 5000, kills: 20, seed: 10, memory: Memory::ByKey, budget: None };
    let outcome = trial.survive().await;
    println!("{}", outcome.figures(trial.rows));
    outcome.assert_whole(trial.rows);
    assert_eq!(outcome.books.billed_twice, 0, "the teacher honors the key");
    assert!(outcome.books.most_at_once <= CONCURRENCY, "{}", outcome.figures(trial.rows));
    // Whoever asks until there is an answer needs 1 / (1 - 0.383) = 1.62 calls of this mix, and a tenth of these are 429s,
    // which never use up an attempt.
    assert!(outcome.attempts() * 10 <= trial.rows as u64 * 16, "{}", outcome.figures(trial.rows));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_forgetful_teacher_charges_for_twice_is_in_the_ledger_as_unknown() {
    let trial = Trial { rows: 1000, kills: 4, seed: 11, memory: Memory::None, budget: None };
    let outcome = trial.survive().await;
    println!("{}", outcome.figures(trial.rows));
    outcome.assert_whole(trial.rows);
    let twice = outcome.books.billed_twice;
    assert!(twice > 0 && twice <= outcome.calls("unknown"), "{}", outcome.figures(trial.rows));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_holds_whatever_the_teacher_does_and_whoever_is_killed() {
    let budget = Budget { max_usd: None, max_tokens: Some(100_000) };
    let trial = Trial { rows: 2000, kills: 4, seed: 12, memory: Memory::None, budget: Some(budget) };
    let outcome = trial.survive().await;
    println!("{}", outcome.figures(trial.rows));
    assert_eq!(outcome.job["pause_reason"], "budget", "{:#}", outcome.job);
    assert!(outcome.books.billed_tokens <= 100_000, "{}", outcome.figures(trial.rows));
}
