//! What a benchmark or a user's task is, as data; `task/` knows what to do with it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which labels an answer may have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LabelSet {
    /// Any text.
    #[default]
    Open,
    /// One of these, 2 to 1000 of 500 characters at most.
    Fixed(Vec<String>),
    /// One of the choices listed in the input (CommonsenseQA's `(a) … (e)`).
    Choices,
}

/// When an answer is right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scorer {
    /// Equal to the ground truth, letter by letter.
    #[default]
    ExactMatch,
    /// Of equal value as arithmetic (SVAMP).
    Arithmetic,
}

/// How a question is put to the teacher and its answer read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SurfaceForm {
    /// `Input: … Reasoning: … Answer: …`
    #[default]
    Text,
    /// `Premise: … Hypothesis: … Reasonings: … Answer: …`
    Esnli,
    /// `Premise: … Hypothesis: … Answer: … So the answer is …`
    Anli,
    /// `Q: … Answer Choices: … A: … So the answer is (c) ….`
    Cqa,
    /// `Q: … A: … The answer is (84 / 2).`
    Svamp,
}

/// How the teacher writes its reasoning and its label.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerForm {
    /// The reasoning, then the label, in the words of the surface form: the teacher thinks before it answers (the paper's).
    #[default]
    RationaleThenLabel,
    /// The label alone on a line, then the reasoning: an answer first, explained afterwards.
    LabelThenRationale,
    /// One JSON object of `rationale` and `label`; kept to by a schema where the teacher's `json_schema` is set.
    Json,
}

impl AnswerForm {
    /// Every form.
    pub const ALL: [Self; 3] = [Self::RationaleThenLabel, Self::LabelThenRationale, Self::Json];
}

/// A question with a good answer, shown to the teacher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkedExample {
    /// The question, as an example's `input`.
    pub input: String,
    /// Its reasoning.
    pub rationale: String,
    /// Its label.
    pub label: String,
}

/// A task: built in, from the configuration, or inline in a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TaskDefinition {
    /// Its name.
    pub name: String,
    /// Which labels an answer may have.
    pub label_set: LabelSet,
    /// When an answer is right.
    pub scorer: Scorer,
    /// How a question is put and its answer read.
    pub form: SurfaceForm,
    /// What the teacher is told first; null: the form's own words.
    pub instructions: Option<String>,
    /// Questions with good answers, shown to the teacher before the real one.
    pub worked_examples: Vec<WorkedExample>,
}
