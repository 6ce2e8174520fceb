//! What an engine counts, by model. A series lives as long as its model is in memory: names are what clients ask for, and only
//! those of loaded models are bounded in number.

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, exponential_buckets,
};

/// The one label of what is counted by model.
const MODEL: &[&str] = &["model"];

/// Seconds, from a tenth of a millisecond to about a minute.
fn short_times() -> Vec<f64> {
    exponential_buckets(1e-4, 2.0, 20).expect("start, factor and count are positive")
}

/// Counters, gauges and histograms of one engine; cheap to clone.
#[derive(Debug, Clone)]
pub struct EngineMetrics {
    waiting: IntGaugeVec,
    running: IntGaugeVec,
    answered: IntCounterVec,
    prompt_tokens: IntCounterVec,
    generation_tokens: IntCounterVec,
    batch_size: HistogramVec,
    read_size: HistogramVec,
    queue_time: HistogramVec,
    first_token: HistogramVec,
    per_token: HistogramVec,
    latency: HistogramVec,
    rejected: IntCounterVec,
    models: IntGauge,
    model_bytes: IntGaugeVec,
    loads: IntCounterVec,
    load_time: Histogram,
    evictions: IntCounter,
}

/// Those of one model.
#[derive(Debug, Clone)]
pub(super) struct ModelMetrics {
    pub waiting: IntGauge,
    pub running: IntGauge,
    pub answered: IntCounter,
    pub failed: IntCounter,
    /// Not of this model alone.
    pub expired: IntCounter,
    pub prompt_tokens: IntCounter,
    pub generation_tokens: IntCounter,
    pub batch_size: Histogram,
    pub read_size: Histogram,
    pub queue_time: Histogram,
    pub first_token: Histogram,
    pub per_token: Histogram,
    pub latency: Histogram,
}

/// Why a request was turned away.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rejection {
    Requests,
    Tokens,
    QueueTime,
}

impl EngineMetrics {
    /// Nothing counted yet.
    pub(super) fn new() -> Self {
        let steps = exponential_buckets(1.0, 2.0, 10).expect("start, factor and count are positive");
        let metrics = Self {
            waiting: gauges(
                "stepwise_inference_requests_waiting",
                "Inputs that wait for the model, which is in memory",
            ),
            running: gauges("stepwise_inference_requests_running", "Inputs that the model answers now"),
            answered: counters(
                "stepwise_inference_requests_total",
                "Inputs answered, by outcome",
                &["model", "outcome"],
            ),
            prompt_tokens: counters("stepwise_inference_prompt_tokens_total", "Tokens read", MODEL),
            generation_tokens: counters("stepwise_inference_generation_tokens_total", "Tokens written", MODEL),
            batch_size: histograms(
                "stepwise_inference_batch_size",
                "Rows computed at one step of the decoder",
                steps.clone(),
            ),
            read_size: histograms(
                "stepwise_inference_read_size",
                "Different inputs read at one pass of the encoder; an input is read once for all that is written for it",
                steps,
            ),
            queue_time: histograms(
                "stepwise_inference_queue_time_seconds",
                "Time from an input's arrival to the begin of its work, the loading of its model included",
                short_times(),
            ),
            first_token: histograms(
                "stepwise_inference_time_to_first_token_seconds",
                "Time from an input's arrival to its first token, or to its label where none is written, the loading of its model included",
                short_times(),
            ),
            per_token: histograms(
                "stepwise_inference_time_per_output_token_seconds",
                "Mean time of an input's tokens after the first",
                short_times(),
            ),
            latency: histograms(
                "stepwise_inference_e2e_latency_seconds",
                "Time from an input's arrival to its answer, the loading of its model included",
                short_times(),
            ),
            rejected: counters(
                "stepwise_inference_rejections_total",
                "Inputs turned away: too many requests or tokens waited, or they waited too long",
                &["reason"],
            ),
            models: IntGauge::new("stepwise_models_loaded", "Models in memory").expect("the name is valid"),
            model_bytes: gauges("stepwise_model_memory_bytes", "Memory that a model's tensors take"),
            loads: counters("stepwise_model_loads_total", "Models read into memory, by outcome", &["outcome"]),
            load_time: Histogram::with_opts(
                HistogramOpts::new("stepwise_model_load_seconds", "Time to check, read and warm up a model")
                    .buckets(exponential_buckets(0.01, 2.0, 15).expect("start, factor and count are positive")),
            )
            .expect("the name is valid"),
            evictions: IntCounter::new("stepwise_model_evictions_total", "Models put away").expect("the name is valid"),
        };
        // A series that is there from the start says 0 before the first event.
        for why in [Rejection::Requests, Rejection::Tokens, Rejection::QueueTime] {
            metrics.rejected(why, 0);
        }
        for outcome in ["loaded", "failed"] {
            metrics.loads.with_label_values(&[outcome]).inc_by(0);
        }
        metrics
    }

    /// All of them, for a registry.
    pub fn collectors(&self) -> Vec<Box<dyn Collector>> {
        vec![
            Box::new(self.waiting.clone()),
            Box::new(self.running.clone()),
            Box::new(self.answered.clone()),
            Box::new(self.prompt_tokens.clone()),
            Box::new(self.generation_tokens.clone()),
            Box::new(self.batch_size.clone()),
            Box::new(self.read_size.clone()),
            Box::new(self.queue_time.clone()),
            Box::new(self.first_token.clone()),
            Box::new(self.per_token.clone()),
            Box::new(self.latency.clone()),
            Box::new(self.rejected.clone()),
            Box::new(self.models.clone()),
            Box::new(self.model_bytes.clone()),
            Box::new(self.loads.clone()),
            Box::new(self.load_time.clone()),
            Box::new(self.evictions.clone()),
        ]
    }

    /// Those of a model, which must be in memory.
    pub(super) fn of(&self, model: &str) -> ModelMetrics {
        ModelMetrics {
            waiting: self.waiting.with_label_values(&[model]),
            running: self.running.with_label_values(&[model]),
            answered: self.answered.with_label_values(&[model, "answered"]),
            failed: self.answered.with_label_values(&[model, "failed"]),
            expired: self.rejected.with_label_values(&[Rejection::QueueTime.word()]),
            prompt_tokens: self.prompt_tokens.with_label_values(&[model]),
            generation_tokens: self.generation_tokens.with_label_values(&[model]),
            batch_size: self.batch_size.with_label_values(&[model]),
            read_size: self.read_size.with_label_values(&[model]),
            queue_time: self.queue_time.with_label_values(&[model]),
            first_token: self.first_token.with_label_values(&[model]),
            per_token: self.per_token.with_label_values(&[model]),
            latency: self.latency.with_label_values(&[model]),
        }
    }

    pub(super) fn rejected(&self, why: Rejection, inputs: u64) {
        self.rejected.with_label_values(&[why.word()]).inc_by(inputs);
    }

    pub(super) fn loaded(&self, succeeded: bool, seconds: f64) {
        self.loads.with_label_values(&[if succeeded { "loaded" } else { "failed" }]).inc();
        self.load_time.observe(seconds);
    }

    pub(super) fn put_away(&self) {
        self.evictions.inc();
    }

    /// A model is in memory and takes so many bytes; so many are there together.
    pub(super) fn hold(&self, model: &str, bytes: u64, models: usize) {
        self.model_bytes.with_label_values(&[model]).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.models.set(i64::try_from(models).unwrap_or(i64::MAX));
    }

    /// A model is out of memory; so many are left.
    pub(super) fn forget(&self, model: &str, models: usize) {
        self.models.set(i64::try_from(models).unwrap_or(i64::MAX));
        // What was never counted has no series to drop.
        let _ = [&self.waiting, &self.running, &self.model_bytes].map(|gauges| gauges.remove_label_values(&[model]));
        let _ = [&self.prompt_tokens, &self.generation_tokens].map(|counters| counters.remove_label_values(&[model]));
        let _ = ["answered", "failed"].map(|outcome| self.answered.remove_label_values(&[model, outcome]));
        let sizes = [&self.batch_size, &self.read_size];
        let times = [&self.queue_time, &self.first_token, &self.per_token, &self.latency];
        for histogram in sizes.into_iter().chain(times) {
            let _ = histogram.remove_label_values(&[model]);
        }
    }
}

impl Rejection {
    fn word(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::QueueTime => "queue_time",
        }
    }
}

fn gauges(name: &str, help: &str) -> IntGaugeVec {
    IntGaugeVec::new(Opts::new(name, help), MODEL).expect("names and labels are valid")
}

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect("names and labels are valid")
}

fn histograms(name: &str, help: &str, buckets: Vec<f64>) -> HistogramVec {
    HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), MODEL).expect("names and labels are valid")
}
