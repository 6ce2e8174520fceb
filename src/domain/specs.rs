//! What each kind of job is asked to do, with every default filled in: the form that is stored and that a worker reads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    AnswerForm, Budget, FileId, Hyperparameters, JobId, JobKind, LabelSource, Method, ModelTarget, RationaleChoice,
    RationaleKeeping, Smoke, TaskDefinition,
};

/// A job's spec; the tag is the job's kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "there is one to a job; a box would cost more to read than it saves")]
pub enum JobSpec {
    /// A teacher answers each example.
    Annotation(AnnotationSpec),
    /// A student learns.
    Distillation(DistillationSpec),
    /// Models are scored.
    Evaluation(EvaluationSpec),
}

impl JobSpec {
    /// The kind of job that this describes.
    pub fn kind(&self) -> JobKind {
        match self {
            Self::Annotation(_) => JobKind::Annotation,
            Self::Distillation(_) => JobKind::Distillation,
            Self::Evaluation(_) => JobKind::Evaluation,
        }
    }
}

/// Ask a teacher about every example of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AnnotationSpec {
    /// The examples.
    pub file: FileId,
    /// The teacher's name in the configuration.
    pub teacher: String,
    /// What is asked and how the answer is read.
    pub task: TaskDefinition,
    /// Only the first so many examples; null: all.
    pub max_examples: Option<u64>,
    /// The teacher's sampling temperature.
    pub temperature: f64,
    /// Tokens an answer may have.
    pub max_output_tokens: u32,
    /// How the teacher writes its reasoning and its label.
    #[serde(default)]
    pub answer_form: AnswerForm,
    /// How often each example is asked about.
    #[serde(default = "one")]
    #[schema(example = 5)]
    pub samples: u32,
    /// Whether an answer that cannot be read is asked for once more, with what was wrong with it.
    #[serde(default)]
    #[schema(example = true)]
    pub repair: bool,
    /// Which rationales are kept.
    #[serde(default)]
    #[schema(example = "correct_only")]
    pub rationales: RationaleKeeping,
    /// Whether answers to equal requests are taken from the ledger, also of other jobs.
    #[serde(default)]
    #[schema(example = true)]
    pub reuse: bool,
    /// What the job may cost; null: no limit.
    #[serde(default)]
    #[schema(required = true)]
    pub budget: Option<Budget>,
    /// The first rows, which must turn out well before the rest is paid for; null: there are none.
    #[serde(default)]
    #[schema(required = true)]
    pub smoke: Option<Smoke>,
}

/// Jobs that were stored before there were samples had one.
fn one() -> u32 {
    1
}

/// Train a student.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DistillationSpec {
    /// Where the training rows come from.
    pub training: Vec<TrainingSource>,
    /// Where the validation rows come from.
    pub validation: Validating,
    /// Rows that are looked at once for each seed, after that seed's training. They decide nothing.
    pub test: Option<FileId>,
    /// Who learns.
    pub student: StudentSpec,
    /// What the student's name meant when the job was submitted, and means for it whatever becomes of the name; null for a
    /// student from scratch.
    #[serde(default)]
    pub student_target: Option<ModelTarget>,
    /// What is learned and how it is scored.
    pub task: TaskDefinition,
    /// How it is learned.
    pub method: Method,
    /// Whose labels are learned.
    pub label_source: LabelSource,
    /// Weight of the label's loss; the rationale's is `1 - alpha`. Only `step_by_step` reads it.
    pub alpha: f64,
    /// Which rationales are learned.
    #[serde(default)]
    pub rationales: RationaleChoice,
    /// What tells the student that a label is wanted.
    pub label_prefix: String,
    /// What tells the student that a rationale is wanted.
    pub rationale_prefix: String,
    /// The job fails when a larger share of the rows cannot be used.
    pub max_dropped_ratio: f64,
    /// The name that the finished model gets; null: made from the student, method and job.
    pub model_name: Option<String>,
    /// The knobs of training.
    pub hyperparameters: Hyperparameters,
}

/// Where training rows come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TrainingSource {
    /// An uploaded file.
    File(FileId),
    /// The output of an annotation job, which must succeed first.
    AnnotationJob(JobId),
}

/// Where validation rows come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Validating {
    /// An uploaded file.
    File(FileId),
    /// Carved out of the training rows before `train_fraction` is applied, all rows of one input together.
    Fraction {
        /// Share of the training rows, in [0, 1).
        fraction: f64,
        /// Seed of the choice.
        seed: u64,
    },
}

/// Who learns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StudentSpec {
    /// A model by the name that people know it by: a folder below `models_dir`, a registered model, a checkpoint, an id of the
    /// Hugging Face Hub.
    Model(String),
    /// A new T5 with a tokenizer trained on the training rows.
    FromScratch(FromScratch),
}

impl StudentSpec {
    /// What a student that begins with no weights is called.
    pub const FROM_SCRATCH: &str = "from_scratch";

    /// What it is called.
    pub fn name(&self) -> &str {
        match self {
            Self::Model(name) => name,
            Self::FromScratch(_) => Self::FROM_SCRATCH,
        }
    }
}

/// The shape of a new T5 v1.1 (gated-gelu, untied output).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FromScratch {
    /// Pieces of the tokenizer, at most; sentinels not counted.
    pub vocabulary_size: u32,
    /// Width of the residual stream.
    pub d_model: u32,
    /// Width of one head's key and value.
    pub d_kv: u32,
    /// Width of the feed-forward layer.
    pub d_ff: u32,
    /// Encoder layers, and decoder layers unless they are given apart.
    pub num_layers: u32,
    /// Decoder layers; null: as many as the encoder has.
    pub num_decoder_layers: Option<u32>,
    /// Attention heads.
    pub num_heads: u32,
    /// Dropout probability in percent; 10 is T5's.
    pub dropout_percent: u32,
}

impl Default for FromScratch {
    fn default() -> Self {
        Self {
            vocabulary_size: 4000,
            d_model: 256,
            d_kv: 64,
            d_ff: 640,
            num_layers: 4,
            num_decoder_layers: None,
            num_heads: 4,
            dropout_percent: 10,
        }
    }
}

/// Score models, and the teacher's stored answers, on the rows of one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EvaluationSpec {
    /// The rows; only those with ground truth count.
    pub file: FileId,
    /// The models' names; the id of a distillation job that had yet to end stands for the model it makes.
    #[schema(example = json!(["desk", "desk-standard"]))]
    pub models: Vec<String>,
    /// What each name meant when the job was submitted, and means for it whatever becomes of the name; ids of jobs are left
    /// out.
    #[serde(default)]
    pub targets: BTreeMap<String, ModelTarget>,
    /// Where the teacher's answers to the same rows are; null: nowhere.
    #[serde(default)]
    pub teacher: Option<TeacherAnswers>,
    /// How every subject is scored, and the label set that models choose from.
    pub task: TaskDefinition,
    /// Only the first so many of the rows that are not kept for training; null: all.
    #[schema(example = 1000)]
    pub max_examples: Option<u64>,
}

/// Where a teacher's stored answers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TeacherAnswers {
    /// In the evaluated file: each row's `teacher_label`.
    File,
    /// In an annotation job, which must succeed first: its valid answers to the same inputs.
    AnnotationJob(JobId),
}
