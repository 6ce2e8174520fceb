//! `stepwise bench-engine`: the engine alone on rows of a file, without service and database, timed as clients of its own process
//! see it: tokens and queue included. Not for people: `examples/serving_benchmark/run` starts it and prints the ratios.

use std::{path::PathBuf, sync::Arc, time::Instant};

use clap::Args;
use serde_json::json;

use super::{CommandError, launch};
use crate::{
    domain::Precision,
    inference::{CompletionRequest, Engine, EngineSettings, InferenceError, ModelFiles, PredictionRequest, Prompt},
};

/// Different batches that are asked in turn, so that no run reads what the one before it has read.
const BATCHES_IN_TURN: usize = 4;

/// What to time.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The model's folder
    #[arg(long)]
    model: PathBuf,
    /// Inputs, one a line of JSON: {"input": …}
    #[arg(long)]
    rows: PathBuf,
    /// Inputs that are asked at once
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16])]
    batches: Vec<usize>,
    /// Tokens that are written to each input, no more and no less
    #[arg(long, value_delimiter = ',', default_values_t = [4, 32])]
    tokens: Vec<usize>,
    /// Labels that are weighed
    #[arg(long, value_delimiter = ',', default_value = "entailment,neutral,contradiction")]
    labels: Vec<String>,
    /// auto, bf16 or fp32
    #[arg(long, default_value = "auto", value_parser = precision)]
    precision: Precision,
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Processor threads of one tensor operation
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Timed runs of each kind, after one that is not
    #[arg(long, default_value_t = 9)]
    runs: usize,
}

fn precision(text: &str) -> Result<Precision, String> {
    serde_json::from_value(text.into()).map_err(|_| "must be auto, bf16 or fp32".to_owned())
}

/// Prints a line of JSON for each kind of work and size of a batch: the median of its runs, in seconds.
pub fn run(arguments: &Arguments) -> Result<(), CommandError> {
    let texts = read_inputs(arguments)?;
    let largest = arguments.batches.iter().copied().max().unwrap_or(1);
    let engine = Engine::start(EngineSettings {
        device: arguments.device.clone(),
        max_waiting: largest,
        max_batch: largest,
        ..EngineSettings::on_cpu(arguments.threads, arguments.precision)
    })?;
    let model = ModelFiles::folder("model", arguments.model.clone());
    let bench = Bench { engine, model, texts };
    launch::block_on(async {
        for &batch in &arguments.batches {
            for &tokens in &arguments.tokens {
                let seconds =
                    bench.median(arguments.runs, async |run| bench.generate(run, batch, tokens).await).await?;
                report(json!({"work": "generate", "batch": batch, "tokens": tokens, "seconds": seconds}))?;
            }
            let labels: Arc<[String]> = arguments.labels.as_slice().into();
            let seconds = bench.median(arguments.runs, async |run| bench.score(run, batch, &labels).await).await?;
            report(json!({"work": "score", "batch": batch, "labels": labels.len(), "seconds": seconds}))?;
        }
        bench.engine.stop().await;
        Ok(())
    })
}

fn read_inputs(arguments: &Arguments) -> Result<Vec<String>, CommandError> {
    let path = arguments.rows.display();
    let text = std::fs::read_to_string(&arguments.rows).map_err(|error| format!("{path}: {error}"))?;
    let input = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).map_err(|error| format!("{path}: {error}"))?;
        Ok(row["input"].as_str().ok_or_else(|| format!("{path}: a row without an input"))?.to_owned())
    };
    let inputs: Vec<String> = text.lines().map(input).collect::<Result<_, CommandError>>()?;
    if inputs.is_empty() { Err(format!("{path} has no rows").into()) } else { Ok(inputs) }
}

fn report(line: serde_json::Value) -> Result<(), CommandError> {
    super::print(&format!("{line}\n"))
}

struct Bench {
    engine: Engine,
    model: ModelFiles,
    texts: Vec<String>,
}

impl Bench {
    /// Seconds.
    async fn median(
        &self,
        runs: usize,
        work: impl AsyncFn(usize) -> Result<(), InferenceError>,
    ) -> Result<f64, InferenceError> {
        let mut seconds = Vec::with_capacity(runs);
        for run in 0..=runs {
            let start = Instant::now();
            work(run).await?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        let mut timed = seconds.split_off(1);
        timed.sort_by(f64::total_cmp);
        Ok(timed.get(timed.len() / 2).copied().unwrap_or_default())
    }

    /// The inputs of a run.
    fn inputs(&self, run: usize, batch: usize) -> impl Iterator<Item = &str> {
        let first = run % BATCHES_IN_TURN * batch;
        self.texts.iter().cycle().skip(first).take(batch).map(String::as_str)
    }

    async fn generate(&self, run: usize, batch: usize, tokens: usize) -> Result<(), InferenceError> {
        let request = |input| CompletionRequest {
            prompt: Prompt::Text(format!("explain: {input}")),
            max_tokens: tokens,
            min_tokens: tokens,
            ..CompletionRequest::default()
        };
        let requests = self.inputs(run, batch).map(request).collect();
        for written in self.engine.complete(&self.model, requests).await? {
            let said = written?.completion_tokens;
            assert_eq!(said, tokens as u64, "as many tokens were asked for, no more and no less");
        }
        Ok(())
    }

    async fn score(&self, run: usize, batch: usize, labels: &Arc<[String]>) -> Result<(), InferenceError> {
        let request = |input: &str| PredictionRequest {
            input: input.to_owned(),
            label_set: Some(Arc::clone(labels)),
            ..PredictionRequest::default()
        };
        let requests = self.inputs(run, batch).map(request).collect();
        self.engine.predict(&self.model, requests).await?.into_iter().try_for_each(|scored| scored.map(drop))
    }
}
