//! Rows to start from: files, jobs in each state, models.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, json};
use stepwise::{
    clock::Clock,
    domain::{
        Annotation, AnnotationSpec, AnswerForm, CallKey, CallPurpose, DistillationSpec, File, FileId, FileStatus,
        FromScratch, Hand, Hyperparameters, Job, JobId, JobKind, JobSpec, LabelSource, Lease, LeaseTerms, Method,
        Model, ModelId, NewCall, Purpose, RationaleChoice, RationaleKeeping, StudentSpec, TaskDefinition,
        TrainingSource, Validating, Validation, WorkerId,
    },
    store::{LedgerBatch, NewJob, Store, StoreError},
};

use super::database::TestDatabase;

impl TestDatabase {
    /// A stored file.
    pub async fn file(&self) -> File {
        self.store.insert_file(&new_file(), None).await.unwrap()
    }

    /// A queued annotation job.
    pub async fn job(&self) -> Job {
        let file = self.file().await;
        self.store.create_job(&new_job(annotation_of(file.id))).await.unwrap()
    }

    /// A running annotation job with a long lease.
    pub async fn running_job(&self) -> (Job, Lease) {
        let job = self.job().await;
        let (claimed, lease) = self.claim().await.unwrap();
        assert_eq!(claimed.id, job.id);
        (claimed, lease)
    }

    /// Claims whatever comes next.
    pub async fn claim(&self) -> Option<(Job, Lease)> {
        self.store.claim(new_worker(), &JobKind::ALL, &long_terms()).await.unwrap()
    }

    /// A job as it stands now.
    pub async fn read(&self, id: JobId) -> Job {
        self.store.job(Store::default_project(), id).await.unwrap().unwrap()
    }

    /// Codes of a job's events, oldest first.
    pub async fn event_codes(&self, id: JobId) -> Vec<String> {
        let events = self.store.list_events(id, None, 100).await.unwrap();
        events.items.into_iter().map(|event| event.code).collect()
    }

    /// Lets a lease run out.
    pub async fn expire(&self, id: JobId) {
        self.set(id, "lease_expires_at = clock_timestamp() - interval '1 second'").await;
    }

    /// An annotation in a database of an earlier schema, written as the API wrote it then.
    pub async fn old_annotation(&self) {
        let job = "insert into jobs (id, project_id, kind, state, spec, priority, max_attempts, metadata, run_at, sort_at)
            select '00000000-0000-7000-8000-00000000000a', id, 'annotation', 'queued', '{\"kind\": \"annotation\"}', 0, 5,
                '{}', now(), now() from projects";
        sqlx::query(job).execute(&self.pool).await.unwrap();
    }

    /// Makes every hand look as old as a dead worker's.
    pub async fn expire_hands(&self) {
        let expire = "update annotation_hands set expires_at = clock_timestamp() - interval '1 second'";
        sqlx::query(expire).execute(&self.pool).await.unwrap();
    }

    /// Makes a job claimable now, whatever it waits for.
    pub async fn make_due(&self, id: JobId) {
        self.set(id, "run_at = clock_timestamp()").await;
    }

    /// Writes columns of a job behind the store's back.
    pub async fn set(&self, id: JobId, assignment: &str) {
        let statement = format!("update jobs set {assignment} where id = $1");
        let done = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(id.0).execute(&self.pool).await.unwrap();
        assert_eq!(done.rows_affected(), 1);
    }
}

/// Commits a verdict by itself.
pub async fn settle(store: &Store, lease: Lease, verdict: &Annotation) -> Result<(), StoreError> {
    let hand = hand_in(store, lease).await?;
    let verdict = Annotation { samples: verdict.samples.max(1), ..verdict.clone() };
    let batch = LedgerBatch { verdicts: vec![verdict], ..LedgerBatch::default() };
    store.commit_ledger(hand, Arc::new(batch), false).await?;
    store.end_hand(hand).await
}

/// A hand in a running job, its ledger open.
pub async fn hand_in(store: &Store, lease: Lease) -> Result<Hand, StoreError> {
    store.open_ledger(lease).await?;
    store.take_hand(lease, new_worker(), long_terms().duration).await
}

/// A batch that begins one call.
pub fn begin(call: NewCall) -> LedgerBatch {
    LedgerBatch { begins: vec![call], ..LedgerBatch::default() }
}

/// The first call about an example, of 100 tokens at most.
pub fn call(example_index: i64) -> NewCall {
    let key = CallKey { example_index, sample: 0, purpose: CallPurpose::Answer, number: 0 };
    let mut request_sha256 = [0; 32];
    request_sha256[..8].copy_from_slice(&example_index.to_be_bytes());
    NewCall { key, round: 0, request_sha256, input_tokens: 60, output_tokens: 40 }
}

pub fn long_terms() -> LeaseTerms {
    LeaseTerms { duration: Duration::from_secs(600), beat: Duration::from_secs(100) }
}

pub fn new_worker() -> WorkerId {
    WorkerId(Clock::system().new_id())
}

pub fn new_file() -> File {
    let clock = Clock::system();
    let id = FileId(clock.new_id());
    File {
        id,
        project_id: Store::default_project(),
        filename: "examples.jsonl".to_owned(),
        purpose: Purpose::FineTune,
        bytes: 12,
        sha256: "ab".repeat(32),
        status: FileStatus::Processed,
        validation: Validation { rows: 1, valid_rows: 1, ..Validation::default() },
        artifact_key: format!("files/{id}"),
        created_at: clock.now(),
        expires_at: None,
    }
}

pub fn new_job(spec: JobSpec) -> NewJob {
    NewJob {
        id: JobId(Clock::system().new_id()),
        project_id: Store::default_project(),
        spec,
        priority: 0,
        max_attempts: 5,
        depends_on: Vec::new(),
        models: Vec::new(),
        checkpoints: Vec::new(),
        estimate: None,
        holder: None,
        metadata: Map::from_iter([("team".to_owned(), json!("returns"))]),
        warnings: Vec::new(),
    }
}

pub fn annotation_of(file: FileId) -> JobSpec {
    JobSpec::Annotation(annotation_spec(file))
}

/// An annotation with the defaults of a request.
pub fn annotation_spec(file: FileId) -> AnnotationSpec {
    AnnotationSpec {
        file,
        teacher: "scripted".to_owned(),
        task: TaskDefinition::default(),
        max_examples: None,
        temperature: 0.0,
        max_output_tokens: 256,
        answer_form: AnswerForm::default(),
        samples: 1,
        repair: true,
        rationales: RationaleKeeping::All,
        reuse: true,
        budget: None,
        smoke: None,
    }
}

pub fn distillation_of(training: TrainingSource) -> JobSpec {
    JobSpec::Distillation(DistillationSpec {
        training: vec![training],
        validation: Validating::Fraction { fraction: 0.1, seed: 1 },
        test: None,
        student: StudentSpec::FromScratch(FromScratch::default()),
        student_target: None,
        task: TaskDefinition::default(),
        method: Method::StepByStep,
        label_source: LabelSource::Teacher,
        alpha: 0.5,
        rationales: RationaleChoice::default(),
        label_prefix: "predict: ".to_owned(),
        rationale_prefix: "explain: ".to_owned(),
        max_dropped_ratio: 0.1,
        model_name: None,
        hyperparameters: Hyperparameters::default(),
    })
}

pub fn new_model(name: &str, job: JobId) -> Model {
    let clock = Clock::system();
    Model {
        id: ModelId(clock.new_id()),
        project_id: Store::default_project(),
        name: name.to_owned(),
        base: "from_scratch".to_owned(),
        base_model_id: None,
        job_id: job,
        lineage: None,
        task: TaskDefinition::default(),
        metrics: Map::from_iter([("validation_accuracy".to_owned(), json!(0.9))]),
        artifact_prefix: format!("models/{job}"),
        manifest_sha256: "cd".repeat(32),
        bytes: 1000,
        created_at: clock.now(),
    }
}
