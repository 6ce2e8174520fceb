//! A chat completion's request: every parameter of OpenAI's by name, so that none is ignored.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::messages::{ChatMessage, input};
use crate::api::{
    error::ApiError,
    openai::{
        forms::OneOrMoreTexts,
        parameters::{check_delivery, check_max_tokens, check_sampling, check_scores, unsupported},
    },
    predictions::{check_abstention, check_includes},
    resolve::{self, Refusals},
};

/// Ask a student as if it were a chat model.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ChatCompletionRequest)]
pub struct ChatBody {
    /// A model's name or id, or the id of a distillation job.
    #[schema(example = "desk")]
    model: String,
    /// The last one of role `user` is the input; the others are not read.
    messages: Vec<ChatMessage>,
    /// Extension: what is wanted beside the label, of `rationale`, `confidence`, `label_probs`, `consistency`.
    #[schema(example = json!(["rationale", "confidence"]))]
    include: Option<Vec<String>>,
    /// Extension: labels to choose from, 2 to 1000 of 500 characters at most; default: the model's own task's.
    #[schema(example = json!(["refund", "exchange", "reject"]))]
    label_set: Option<Vec<String>>,
    /// Extension: abstain where the confidence is below this, 0 to 1. The content is empty then, and `stepwise.abstained` true.
    #[schema(example = 0.5)]
    abstain_below: Option<f64>,
    /// Tokens that the student may write for the label and for the rationale, each, 1 to 2048; default: as many as it
    /// learned. A label of a set is never cut.
    #[schema(example = 64)]
    max_completion_tokens: Option<u32>,
    /// The same, by its older name.
    #[schema(example = 64)]
    max_tokens: Option<u32>,
    /// 0, the default: answers are greedy.
    #[schema(example = 0)]
    temperature: Option<f64>,
    /// More than 0, at most 1; changes nothing at temperature 0.
    #[schema(example = 1)]
    top_p: Option<f64>,
    /// Accepted; a greedy answer is the same for every seed.
    #[schema(example = 1)]
    #[expect(dead_code, reason = "accepted by name; it changes nothing")]
    seed: Option<i64>,
    /// 1, the default.
    #[schema(example = 1)]
    n: Option<u64>,
    /// False, the default.
    #[schema(example = false)]
    stream: Option<bool>,
    /// Not supported: null.
    #[schema(value_type = Option<Object>, example = json!(null))]
    stream_options: Option<Value>,
    /// Not supported: a label is not cut.
    #[schema(example = json!(null))]
    stop: Option<OneOrMoreTexts>,
    /// Not supported yet: false.
    #[schema(example = false)]
    logprobs: Option<bool>,
    /// Not supported yet: 0.
    #[schema(example = 0)]
    top_logprobs: Option<u64>,
    /// 0, the default.
    #[schema(example = 0)]
    presence_penalty: Option<f64>,
    /// 0, the default.
    #[schema(example = 0)]
    frequency_penalty: Option<f64>,
    /// Not supported: null or empty.
    #[schema(value_type = Option<Object>, example = json!({}))]
    logit_bias: Option<Map<String, Value>>,
    /// `{"type": "text"}`, the default.
    #[schema(value_type = Option<Object>, example = json!({"type": "text"}))]
    response_format: Option<Value>,
    /// `["text"]`, the default.
    #[schema(example = json!(["text"]))]
    modalities: Option<Vec<String>>,
    /// Not supported: null or empty.
    #[schema(example = json!([]))]
    tools: Option<Vec<Value>>,
    /// `none`, the default.
    #[schema(value_type = Option<String>, example = "none")]
    tool_choice: Option<Value>,
    /// Accepted: there are no tools to call.
    #[schema(example = true)]
    #[expect(dead_code, reason = "accepted by name; it changes nothing")]
    parallel_tool_calls: Option<bool>,
    /// Not supported: null or empty.
    #[schema(example = json!([]))]
    functions: Option<Vec<Value>>,
    /// `none`, the default.
    #[schema(value_type = Option<String>, example = "none")]
    function_call: Option<Value>,
    /// Not supported: null.
    #[schema(value_type = Option<Object>, example = json!(null))]
    audio: Option<Value>,
    /// Not supported: null.
    #[schema(value_type = Option<Object>, example = json!(null))]
    prediction: Option<Value>,
    /// Not supported: null. A student's rationale is asked for with `include`.
    #[schema(example = json!(null))]
    reasoning_effort: Option<String>,
    /// Not supported: null.
    #[schema(value_type = Option<Object>, example = json!(null))]
    web_search_options: Option<Value>,
    /// False, the default: nothing is stored.
    #[schema(example = false)]
    store: Option<bool>,
    /// Accepted and not used: your own labels.
    #[schema(value_type = Option<Object>, example = json!({"team": "returns"}))]
    #[expect(dead_code, reason = "accepted by name; it changes nothing")]
    metadata: Option<Map<String, Value>>,
    /// Accepted and not used: who asks, in your words.
    #[schema(example = "user-17")]
    #[expect(dead_code, reason = "accepted by name; it changes nothing")]
    user: Option<String>,
}

/// What is wanted beside the label.
#[derive(Debug, Clone, Copy)]
pub struct Included {
    /// The rationale.
    pub rationale: bool,
    /// The confidence.
    pub confidence: bool,
    /// Each label's probability.
    pub label_probs: bool,
    /// Whether the rationale leads to the same label.
    pub consistency: bool,
    /// The confidence below which no label is wanted.
    pub abstain_below: Option<f64>,
}

/// A request that can be answered.
pub struct Asked {
    /// The model's name.
    pub model: String,
    /// What the student reads.
    pub input: String,
    /// JSON pointer to the input.
    pub pointer: String,
    /// Labels to choose from.
    pub label_set: Option<Vec<String>>,
    /// What is wanted beside the label.
    pub included: Included,
    /// Tokens that may be written.
    pub max_tokens: Option<usize>,
}

impl ChatBody {
    /// What is asked, or everything that is wrong.
    pub fn check(self) -> Result<Asked, ApiError> {
        let mut refusals = Refusals::default();
        check_delivery(&mut refusals, self.stream, self.stream_options.is_some(), self.n);
        check_sampling(&mut refusals, self.temperature, self.top_p);
        check_scores(&mut refusals, [self.presence_penalty, self.frequency_penalty], self.logit_bias.as_ref());
        self.check_what_no_student_does(&mut refusals);
        check_includes(&mut refusals, self.include.as_deref());
        check_abstention(&mut refusals, self.abstain_below);
        if let Some(labels) = &self.label_set {
            resolve::check_labels(&mut refusals, "#/label_set", labels);
        }
        let max_tokens = self.limit(&mut refusals);
        let (input, pointer) = input(&mut refusals, &self.messages);
        refusals.finish()?;
        let includes = |name: &str| self.include.iter().flatten().any(|included| included == name);
        let included = Included {
            rationale: includes("rationale"),
            confidence: includes("confidence"),
            label_probs: includes("label_probs"),
            consistency: includes("consistency"),
            abstain_below: self.abstain_below,
        };
        Ok(Asked { model: self.model, input, pointer, label_set: self.label_set, included, max_tokens })
    }

    fn limit(&self, refusals: &mut Refusals) -> Option<usize> {
        check_max_tokens(refusals, "max_completion_tokens", self.max_completion_tokens);
        check_max_tokens(refusals, "max_tokens", self.max_tokens);
        if let (Some(new), Some(old)) = (self.max_completion_tokens, self.max_tokens) {
            refusals.require(new == old, "#/max_tokens", || {
                "max_tokens and max_completion_tokens differ; send one of them".to_owned()
            });
        }
        self.max_completion_tokens.or(self.max_tokens).map(|tokens| tokens as usize)
    }

    fn check_what_no_student_does(&self, refusals: &mut Refusals) {
        let list = |values: &Option<Vec<Value>>| values.as_ref().is_some_and(|values| !values.is_empty());
        let but =
            |value: &Option<Value>, neutral: &[Value]| value.as_ref().is_some_and(|value| !neutral.contains(value));
        let none = [Value::from("none")];
        let text = [serde_json::json!({"type": "text"})];
        let modalities = self.modalities.as_ref().is_some_and(|kinds| *kinds != ["text"]);
        let tools = "a student calls nothing; leave it out";
        let asked = [
            ("stop", self.stop.is_some(), "leave it out: a label is not cut"),
            ("logprobs", self.logprobs == Some(true), "send false; `include` has confidence and label_probs"),
            ("top_logprobs", self.top_logprobs.is_some_and(|count| count > 0), "send 0; `include` has label_probs"),
            (
                "response_format",
                but(&self.response_format, &text),
                "send {\"type\": \"text\"}, or choose labels with label_set",
            ),
            ("modalities", modalities, "send [\"text\"]"),
            ("tools", list(&self.tools), tools),
            ("tool_choice", but(&self.tool_choice, &none), tools),
            ("functions", list(&self.functions), tools),
            ("function_call", but(&self.function_call, &none), tools),
            ("audio", self.audio.is_some(), "leave it out"),
            ("prediction", self.prediction.is_some(), "leave it out"),
            ("reasoning_effort", self.reasoning_effort.is_some(), "leave it out; `include` has rationale"),
            ("web_search_options", self.web_search_options.is_some(), "leave it out"),
            ("store", self.store == Some(true), "send false: nothing is stored"),
        ];
        for (name, asks, advice) in asked {
            unsupported(refusals, name, asks, advice);
        }
    }
}
