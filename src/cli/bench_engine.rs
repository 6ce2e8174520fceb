//! `stepwise bench-engine`: the engine alone on rows of a file, without service and database, timed as clients of its own process
//! see it: tokens and queue included. Not for people: `examples/serving_benchmark/run` starts it and prints the ratios.

mod bench;
mod labels;

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use serde_json::json;

use self::bench::{Bench, of_length};
use super::{CommandError, bench_rows, launch};
use crate::{
    domain::ServingPrecision,
    inference::{Engine, EngineSettings, ModelFiles},
};

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
    /// Tokens of each input, whose texts are joined and cut for it; by default each row is an input, and labels are weighed too
    #[arg(long, value_delimiter = ',')]
    input_tokens: Vec<usize>,
    /// Models that are in memory: the same files under so many names, asked in turn
    #[arg(long, default_value_t = 1)]
    copies: usize,
    /// Times nothing: counts the rows whose label is another one in this arithmetic
    #[arg(long, value_parser = precision)]
    against: Option<ServingPrecision>,
    /// Labels that are weighed
    #[arg(long, value_delimiter = ',', default_value = "entailment,neutral,contradiction")]
    labels: Vec<String>,
    /// auto, bf16, fp32 or int8
    #[arg(long, default_value = "auto", value_parser = precision)]
    precision: ServingPrecision,
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

fn precision(text: &str) -> Result<ServingPrecision, String> {
    serde_json::from_value(text.into()).map_err(|_| "must be auto, bf16, fp32 or int8".to_owned())
}

/// Prints a line of JSON for each kind of work and size of a batch: the median of its runs, in seconds.
pub fn run(arguments: &Arguments) -> Result<(), CommandError> {
    let texts = bench_rows::read(&arguments.rows)?;
    if let Some(other) = arguments.against {
        return launch::block_on(async { report(labels::compare(arguments, other, &texts).await?) });
    }
    let largest = arguments.batches.iter().copied().max().unwrap_or(1);
    let engine = Engine::start(EngineSettings {
        device: arguments.device.clone(),
        max_waiting: largest,
        max_batch: largest,
        max_models: arguments.copies.max(1),
        ..EngineSettings::on_cpu(arguments.threads, arguments.precision)
    })?;
    let copy = |number| ModelFiles::folder(&format!("model {number}"), arguments.model.clone());
    let bench = Bench { engine, models: (0..arguments.copies.max(1)).map(copy).collect(), texts };
    launch::block_on(async {
        if arguments.input_tokens.is_empty() {
            time_rows(arguments, &bench).await?;
        } else {
            time_lengths(arguments, &bench).await?;
        }
        bench.engine.stop().await;
        Ok(())
    })
}

async fn time_rows(arguments: &Arguments, bench: &Bench) -> Result<(), CommandError> {
    let prompts = bench.prompts();
    for &batch in &arguments.batches {
        for &tokens in &arguments.tokens {
            let work = async |run| bench.generate(run, &prompts, batch, tokens).await;
            let seconds = bench.median(arguments.runs, work).await?;
            report(json!({"work": "generate", "batch": batch, "tokens": tokens, "seconds": seconds}))?;
        }
        let labels: Arc<[String]> = arguments.labels.as_slice().into();
        let seconds = bench.median(arguments.runs, async |run| bench.score(run, batch, &labels).await).await?;
        report(json!({"work": "score", "batch": batch, "labels": labels.len(), "seconds": seconds}))?;
    }
    Ok(())
}

async fn time_lengths(arguments: &Arguments, bench: &Bench) -> Result<(), CommandError> {
    for &length in &arguments.input_tokens {
        let prompts = of_length(&arguments.model, &bench.texts, length)?;
        for (&batch, &tokens) in
            arguments.batches.iter().flat_map(|batch| arguments.tokens.iter().map(move |tokens| (batch, tokens)))
        {
            let work = async |run| bench.generate(run, &prompts, batch, tokens).await;
            let seconds = bench.median(arguments.runs, work).await?;
            let line = json!({"work": "generate", "input_tokens": length, "batch": batch, "tokens": tokens, "seconds": seconds});
            report(line)?;
        }
    }
    Ok(())
}

fn report(line: serde_json::Value) -> Result<(), CommandError> {
    super::print(&format!("{line}\n"))
}
