//! What a job will probably take, told before it runs, and how far off that was.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::Optimizer;

/// A figure that can only be told within limits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Span {
    /// It will hardly be less.
    #[schema(example = 18_000.0)]
    pub low: f64,
    /// The best guess.
    #[schema(example = 30_000.0)]
    pub expected: f64,
    /// It will hardly be more.
    #[schema(example = 64_000.0)]
    pub high: f64,
}

impl Span {
    /// A figure that is known.
    pub fn exactly(value: f64) -> Self {
        Self { low: value, expected: value, high: value }
    }

    /// The figure of one, for so many.
    pub fn each(self, count: Self) -> Self {
        Self { low: self.low * count.low, expected: self.expected * count.expected, high: self.high * count.high }
    }

    /// The same, so many times.
    pub fn times(self, factor: f64) -> Self {
        Self { low: self.low * factor, expected: self.expected * factor, high: self.high * factor }
    }

    /// Both, one after the other.
    pub fn plus(self, other: Self) -> Self {
        Self { low: self.low + other.low, expected: self.expected + other.expected, high: self.high + other.high }
    }

    /// At least `floor`.
    pub fn at_least(self, floor: f64) -> Self {
        Self { low: self.low.max(floor), expected: self.expected.max(floor), high: self.high.max(floor) }
    }
}

/// What a job will probably take. Figures that do not apply to its kind, or about which nothing can be said, are null.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Estimate {
    /// Rows that will be worked on: examples the teacher is asked about, rows learned from, rows answered by all models.
    #[schema(example = 500)]
    pub rows: u64,
    /// Optimizer steps, under all seeds.
    #[schema(required = true, example = 1200)]
    pub steps: Option<u64>,
    /// Parameters of the student.
    #[schema(required = true, example = 11_000_000)]
    pub parameters: Option<u64>,
    /// Tokens of all prompts to the teacher; tokens that a student reads and learns in all its steps.
    #[serde(default, deserialize_with = "span_or_number")]
    #[schema(required = true)]
    pub input_tokens: Option<Span>,
    /// Tokens of a mean prompt to the teacher by the rule of thumb alone, from which later estimates learn how the teacher
    /// counts; null for other kinds, and for jobs that were stored before it was told.
    #[serde(default)]
    #[schema(required = true, example = 182.5)]
    pub prompt_tokens_by_rule: Option<f64>,
    /// Tokens of all the teacher's answers.
    #[schema(required = true)]
    pub output_tokens: Option<Span>,
    /// The teacher's price by the configuration, in US dollars; null where nobody here knows its prices.
    #[schema(required = true)]
    pub usd: Option<Span>,
    /// Peak memory of the training process.
    #[schema(required = true, example = 1_500_000_000u64)]
    pub memory_bytes: Option<u64>,
    /// The same by its parts, with what else would fit; null for other kinds, and for jobs that were stored before it was told.
    #[serde(default)]
    #[schema(required = true)]
    pub memory: Option<MemoryTable>,
    /// Time of work over all attempts; pauses and waiting in the queue are left out.
    #[schema(required = true)]
    pub seconds: Option<Span>,
    /// Finished jobs of its like that time and tokens are drawn from; 0: rules of thumb, which may be far off.
    #[schema(example = 3)]
    pub drawn_from_jobs: u32,
}

/// A span, or the one number that was stored before it was told within limits.
fn span_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Span>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Told {
        Span(Span),
        Number(f64),
    }
    let told = Option::<Told>::deserialize(deserializer)?;
    Ok(told.map(|told| match told {
        Told::Span(span) => span,
        Told::Number(number) => Span::exactly(number),
    }))
}

/// What a training's memory goes to, at its peak.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemoryTable {
    /// The fp32 weights.
    #[schema(example = 44_000_000)]
    pub weights_bytes: u64,
    /// One step's gradient; with micro-batches, their fp32 sum beside it.
    #[schema(example = 22_000_000)]
    pub gradients_bytes: u64,
    /// The optimizer's moments.
    #[schema(example = 88_000_000)]
    pub optimizer_bytes: u64,
    /// The bf16 weights that a step computes with.
    #[schema(example = 22_000_000)]
    pub compute_copies_bytes: u64,
    /// The weights of the best evaluation.
    #[schema(example = 44_000_000)]
    pub best_weights_bytes: u64,
    /// What a micro-batch keeps for its backward pass.
    #[schema(example = 500_000_000)]
    pub activations_bytes: u64,
    /// The program, its libraries, the tokenizer and the rows.
    #[schema(example = 350_000_000)]
    pub program_bytes: u64,
    /// All of it.
    #[schema(example = 1_070_000_000)]
    pub total_bytes: u64,
    /// What the machine that answers has; the worker's may have more or less. Null where it is not known.
    #[schema(required = true, example = 16_000_000_000u64)]
    pub machine_bytes: Option<u64>,
    /// Whether the total is no more than that; null where that is not known.
    #[schema(required = true, example = true)]
    pub fits: Option<bool>,
    /// What it would be otherwise: by optimizer, gradient checkpointing and micro-batch. None of these changes what is computed
    /// but the optimizer.
    pub alternatives: Vec<MemoryAlternative>,
}

/// A training's peak memory with other knobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemoryAlternative {
    /// The optimizer.
    pub optimizer: Optimizer,
    /// Whether layers are computed again for the gradient.
    #[schema(example = false)]
    pub gradient_checkpointing: bool,
    /// Examples computed at once.
    #[schema(example = 16)]
    pub micro_batch_size: u32,
    /// Its peak memory.
    #[schema(example = 620_000_000)]
    pub total_bytes: u64,
    /// Whether that is no more than the machine has that answers; null where that is not known.
    #[schema(required = true, example = true)]
    pub fits: Option<bool>,
}

impl MemoryTable {
    /// The sum of the parts.
    pub fn parts(&self) -> u64 {
        let weights = self.weights_bytes + self.gradients_bytes + self.optimizer_bytes;
        let copies = self.compute_copies_bytes + self.best_weights_bytes;
        weights + copies + self.activations_bytes + self.program_bytes
    }
}

/// One figure of an estimate against what came.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EstimateFigure {
    /// What was told.
    #[schema(example = 30_000.0)]
    pub estimated: f64,
    /// What came.
    #[schema(example = 33_000.0)]
    pub actual: f64,
    /// Actual / estimated: above 1, it was told too low; null where nothing was told to come.
    #[schema(required = true, example = 1.1)]
    pub ratio: Option<f64>,
}

/// An estimate against what the finished job took, by figure.
pub type EstimateError = BTreeMap<String, EstimateFigure>;

/// What a finished job took; what is not known is left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Taken {
    /// Its result.
    pub result: serde_json::Value,
    /// Seconds that workers held it, over all its attempts: pauses and waiting left out.
    pub seconds: Option<f64>,
    /// Peak memory of its training process.
    pub memory_bytes: Option<f64>,
}

impl Taken {
    /// A number of the result, by its members' names.
    pub fn number(&self, pointer: &str) -> Option<f64> {
        self.result.pointer(pointer)?.as_f64()
    }

    /// The rows that were worked on: answers of a teacher, rows learned from, rows answered by each model.
    pub fn rows(&self) -> Option<f64> {
        let answered = || {
            let models = self.result.get("models")?.as_array()?.len();
            Some(self.number("/examples")? * models as f64)
        };
        self.number("/counts/total").or_else(|| self.number("/training_examples")).or_else(answered)
    }
}

impl Estimate {
    /// The figures that both sides know.
    pub fn compare(&self, taken: &Taken) -> EstimateError {
        let count = |value: Option<u64>| value.map(|value| value as f64);
        let expected = |span: Option<Span>| span.map(|span| span.expected);
        let pairs = [
            ("rows", Some(self.rows as f64), taken.rows()),
            ("steps", count(self.steps), taken.number("/steps")),
            ("parameters", count(self.parameters), taken.number("/parameters")),
            ("input_tokens", expected(self.input_tokens), taken.number("/input_tokens")),
            ("output_tokens", expected(self.output_tokens), taken.number("/output_tokens")),
            ("usd", expected(self.usd), taken.number("/cost_usd")),
            ("memory_bytes", count(self.memory_bytes), taken.memory_bytes),
            ("seconds", expected(self.seconds), taken.seconds),
        ];
        let both = pairs.into_iter().filter_map(|(name, estimated, actual)| {
            let (estimated, actual) = (estimated?, actual?);
            let ratio = (estimated > 0.0).then(|| actual / estimated);
            Some((name.to_owned(), EstimateFigure { estimated, actual, ratio }))
        });
        both.collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_figures_that_both_sides_know_are_compared() {
        let span = Span { low: 1.0, expected: 10.0, high: 20.0 };
        let estimate = Estimate { rows: 4, seconds: Some(span), usd: Some(span.times(0.0)), ..Estimate::default() };
        let taken = Taken {
            result: json!({"counts": {"total": 5}, "cost_usd": 0.0, "input_tokens": 7}),
            seconds: Some(5.0),
            memory_bytes: None,
        };
        let error = estimate.compare(&taken);
        assert_eq!(error.keys().collect::<Vec<_>>(), ["rows", "seconds", "usd"]);
        assert_eq!(error["rows"], EstimateFigure { estimated: 4.0, actual: 5.0, ratio: Some(1.25) });
        assert_eq!((error["seconds"].ratio, error["usd"].ratio), (Some(0.5), None));
    }

    #[test]
    fn an_estimate_that_was_stored_with_one_number_of_tokens_is_read() {
        let stored = json!({"rows": 4, "input_tokens": 250, "drawn_from_jobs": 0});
        let read: Estimate = serde_json::from_value(stored).unwrap();
        assert_eq!((read.input_tokens, read.prompt_tokens_by_rule), (Some(Span::exactly(250.0)), None));
        assert_eq!(serde_json::from_value::<Estimate>(json!(read)).unwrap(), read);
        let without = json!({"rows": 4, "input_tokens": null, "drawn_from_jobs": 0});
        assert_eq!(serde_json::from_value::<Estimate>(without).unwrap().input_tokens, None);
    }

    #[test]
    fn an_evaluation_works_on_its_rows_once_for_each_model() {
        let result = json!({"examples": 300, "models": [{"model": "a"}, {"model": "b"}]});
        assert_eq!(Taken { result, ..Taken::default() }.rows(), Some(600.0));
    }
}
