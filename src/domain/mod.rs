//! What the service is about, as plain values: no SQL, HTTP, tensors, clocks or files.
//!
//! # Glossary: one word, one thing, in Rust, SQL, JSON and logs
//!
//! | word | meaning |
//! |---|---|
//! | teacher | the large language model that writes rationales and labels |
//! | student | the T5 that learns from them |
//! | example | one input with what is known of it: label, teacher label, rationale |
//! | label | the answer that the student must give |
//! | ground truth | a label from people, not from the teacher |
//! | rationale | the reasoning in words that leads to a label |
//! | rationale fault | what is wrong with a rationale, as far as that is seen without ground truth |
//! | annotation | what a teacher made of one example: its verdict |
//! | sample | one of the teacher's answers to one example |
//! | call | one HTTP request to a teacher |
//! | ledger | the calls as they are written down before they are sent, and settled after |
//! | verdict | what becomes of an example, drawn from its samples |
//! | repair | asking again with what was wrong with the answer |
//! | rationalization | asking again with the right label, for the reasons |
//! | reuse | taking an answer from the ledger instead of asking |
//! | budget | what a job may spend; reserved before a call, settled after |
//! | method | how a student learns: `standard`, `step_by_step`, `rationale_then_label` |
//! | step | one optimizer step |
//! | attempt | one try of a worker at a job |
//! | round | the steps of a training under one of its seeds |
//! | pace | how fast a teacher may be asked: calls at once, requests and tokens a minute; shared by all workers |
//! | permit, turn | the right to have one call under way, and that right once it is this call's |
//! | near | a call whose turn is one of the next: the time to write it down |
//! | push-back | a 429, 503 or 529: the teacher is well and wants fewer calls |
//! | hand | a worker's hold on its part of an annotation that several workers share |
//! | chunk | some hundred examples of an annotation's file |
//! | lease, lease epoch | a worker's hold on a job, and the number that tells that hold from every earlier one |
//! | settle | to commit the outcome of a paid answer |
//! | snapshot | mid-training state, private to a job |
//! | checkpoint | a student's published, immutable files |
//! | model | a checkpoint by its name, ready to serve or to be a student again |
//! | Hub id | a model of the Hugging Face Hub, `owner/name` or `owner/name@revision` |
//! | commit | what a revision of a Hub id meant when it was first looked up: files that never change |
//! | alias | a further name for a model, which can be moved |
//! | calibration | fitting confidence to how often the answer is right, by one temperature |
//! | lineage | what a model was made of and how |
//! | key | what a request is authenticated with; its id names it, its secret is shown once |
//! | scope | what a key may do: `read`, `submit`, `infer`, `admin` |
//! | prediction | a served answer: label, confidence, rationale |

mod alias;
mod annotation;
mod annotation_line;
mod annotation_report;
mod annotation_sums;
mod annotation_terms;
mod api_key;
mod attempt;
mod attempt_outcome;
mod budget;
mod calibration;
mod checkpoint;
mod chunk;
mod distillation_result;
mod estimate;
mod evaluation;
mod example;
mod file;
mod hub_id;
mod hyperparameters;
mod ids;
mod job;
mod late_result;
mod lease;
mod lineage;
mod measurement;
pub mod metric;
mod model;
mod model_files;
mod model_name;
mod model_target;
mod nearest;
pub mod out_of_memory;
mod part_lengths;
mod rationale_choice;
mod rationale_fault;
mod secret;
mod serving_precision;
pub mod single_target;
mod specs;
mod statistics;
mod task;
mod teacher;
mod teacher_call;
mod teacher_pace;
mod unknown_name;
mod warning;

pub use alias::{Alias, AliasMove};
pub use annotation::{Annotation, AnnotationStatus};
pub use annotation_line::AnnotationLine;
pub use annotation_report::{
    AgreementCount, AgreementReport, AnnotationReport, CallCounts, RationaleReport, RejectionCount, TeacherAccuracy,
    VerdictCounts, WorstCase, WorstReason,
};
pub use annotation_sums::{AnnotationSums, Tokens};
pub use annotation_terms::{RationaleKeeping, Smoke};
pub use api_key::{ApiKey, KEY_ENTROPY, KeyDigest, KeyId, KeyText, NoKey, Scope};
pub use attempt::{AttemptSpec, AttemptStudent, AttemptValidation, Frame, Order, StudentCard};
pub use attempt_outcome::{Accuracies, AttemptOutcome, SeedOutcome};
pub use budget::{Allowance, Budget, Prices};
pub use calibration::{Calibration, shares};
pub use checkpoint::Checkpoint;
pub use chunk::{Chunk, Hand};
pub use distillation_result::DistillationResult;
pub use estimate::{Estimate, EstimateError, EstimateFigure, MemoryAlternative, MemoryTable, Span, Taken};
pub use evaluation::{
    Confusion, Evaluation, LabelScores, Measure, ModelEvaluation, PairEvaluation, Scores, TeacherEvaluation,
};
pub use example::{Example, LabelSource, Method, Split};
pub use file::{File, FileRows, FileStatus, LineError, Purpose, Validation};
pub use hub_id::{HubCommit, HubId, NoHubCommit, NoHubId};
pub use hyperparameters::{Hyperparameters, KeepCheckpoints, Optimizer, Precision, Schedule};
pub use ids::{CheckpointId, FileId, ID_PREFIXES, IdError, JobId, ModelId, ProjectId, WorkerId};
pub use job::{Job, JobError, JobKind, JobState, PauseReason, Progress};
pub use late_result::{RESULT_WITHIN, awaits_result};
pub use lease::{Lease, LeaseTerms};
pub use lineage::{DataSource, Lineage};
pub use measurement::Measurement;
pub use model::{Model, StudentSource};
pub use model_files::ModelFiles;
pub use model_name::{default_model_name, named_after};
pub use model_target::ModelTarget;
pub use nearest::nearest;
pub use part_lengths::{LearnedTexts, PartLengths, Truncated};
pub use rationale_choice::{RationaleChoice, RationaleFilter, RationaleShuffle, RationalesPerExample};
pub use rationale_fault::RationaleFault;
pub use secret::Secret;
pub use serving_precision::ServingPrecision;
pub use specs::{
    AnnotationSpec, DistillationSpec, EvaluationSpec, FromScratch, JobSpec, StudentSpec, TeacherAnswers,
    TrainingSource, Validating,
};
pub use statistics::{FileStatistics, LabelCount, LabelHistogram, Percentiles, SplitCounts, TextLengths};
pub use task::{AnswerForm, LabelSet, Scorer, SurfaceForm, TaskDefinition, WorkedExample};
pub use teacher::{TeacherApi, TeacherTerms};
pub use teacher_call::{CallKey, CallOutcome, CallPurpose, NewCall, PastCall, Reply};
pub use teacher_pace::{PaceShare, TeacherPace};
pub use unknown_name::UnknownName;
pub use warning::JobWarning;
