//! A chat completion's request: every parameter of OpenAI's by name, so that none is ignored.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::messages::{ChatMessage, input};
use crate::{
    api::{
        error::ApiError,
        included::Included,
        openai::{
            event_stream::{self, StreamOptions},
            forms::OneOrMoreTexts,
            parameters::{check_max_tokens, check_scores, unsupported},
            sampling::{SamplingForm, answers},
        },
        resolve::{self, Refusals},
    },
    inference::Sampling,
};

/// OpenAI's.
const MAX_TOP_LOGPROBS: u64 = 20;

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
    /// 0, the default, to 2. Above 0 a label of a set is drawn from its probabilities to the power of 1/temperature; the student's own
    /// words, and a rationale, are drawn token by token.
    #[schema(example = 0)]
    temperature: Option<f64>,
    /// More than 0, to 1, the default: labels, or tokens, are drawn from the likeliest ones that are as likely as this together.
    #[schema(example = 1)]
    top_p: Option<f64>,
    /// Labels, or tokens, are drawn from so many of the likeliest, before `top_p`; 0, the default, or -1: from all. Not OpenAI's.
    #[schema(example = 0)]
    top_k: Option<i64>,
    /// Draws the same answer to the same input again, whatever else is asked meanwhile; default: a new one each time.
    #[schema(example = 1)]
    seed: Option<i64>,
    /// Answers, 1, the default, to 16; more than 1 only at a temperature above 0.
    #[schema(example = 1)]
    n: Option<u64>,
    /// Whether the answer comes in chunks as it is written.
    #[schema(example = false)]
    stream: Option<bool>,
    /// How it is streamed, where it is.
    #[schema(value_type = Option<StreamOptions>)]
    stream_options: Option<StreamOptions>,
    /// Not supported: a label is not cut.
    #[schema(example = json!(null))]
    stop: Option<OneOrMoreTexts>,
    /// Whether the log-probabilities of the label's tokens are wanted, as the student writes them: among all tokens, not among the
    /// labels of a set, so they say less of a label of a set than `label_probs` does. Not for a model that writes its rationale and its
    /// label as one text.
    #[schema(example = false)]
    logprobs: Option<bool>,
    /// With `logprobs`: how many of the likeliest tokens are wanted in each place, 0, the default, to 20.
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
    /// How labels, or words, are drawn; none where they are not.
    pub sampling: Option<Sampling>,
    /// How many answers are wanted.
    pub answers: usize,
    /// How many of the likeliest tokens are wanted in each place, where log-probabilities are.
    pub logprobs: Option<usize>,
    /// How the answer is streamed, where it is.
    pub stream: Option<StreamOptions>,
}

impl ChatBody {
    /// What is asked, or everything that is wrong. `fresh` is the seed of a request that names none.
    pub fn check(self, fresh: u64) -> Result<Asked, ApiError> {
        let mut refusals = Refusals::default();
        let stream = event_stream::wanted(&mut refusals, self.stream, self.stream_options);
        let Self { temperature, top_p, top_k, seed, .. } = self;
        let sampling = SamplingForm { temperature, top_p, top_k, seed }.check(&mut refusals, fresh);
        let answers = answers(&mut refusals, self.n, sampling);
        let logprobs = self.logprobs(&mut refusals);
        check_scores(&mut refusals, [self.presence_penalty, self.frequency_penalty], self.logit_bias.as_ref());
        self.check_what_no_student_does(&mut refusals);
        let included = Included::check(&mut refusals, self.include.as_deref(), self.abstain_below);
        if let Some(labels) = &self.label_set {
            resolve::check_labels(&mut refusals, "#/label_set", labels);
        }
        let max_tokens = self.limit(&mut refusals);
        let (input, pointer) = input(&mut refusals, &self.messages);
        refusals.finish()?;
        let (model, label_set) = (self.model, self.label_set);
        Ok(Asked { model, input, pointer, label_set, included, max_tokens, sampling, answers, logprobs, stream })
    }

    fn logprobs(&self, refusals: &mut Refusals) -> Option<usize> {
        let (wanted, count) = (self.logprobs == Some(true), self.top_logprobs.unwrap_or_default());
        refusals.require(count <= MAX_TOP_LOGPROBS, "#/top_logprobs", || {
            format!("top_logprobs is {count}; send 0 to {MAX_TOP_LOGPROBS}")
        });
        unsupported(refusals, "top_logprobs", count > 0 && !wanted, "send logprobs: true with it");
        wanted.then(|| usize::try_from(count).unwrap_or_default())
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
