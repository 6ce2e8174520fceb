//! `stepwise bench-http`: a running service under the load of so many clients, each of which asks again as soon as it is answered.
//! Not for people: `examples/serving_benchmark/http` starts service and load, and puts what they say beside the engine alone.

mod load;

use std::{path::PathBuf, time::Duration};

use clap::Args;
use serde_json::{Value, json};

use self::load::{Load, Target};
use super::{CommandError, bench_rows, launch};
use crate::outbound::install_tls;

/// What to ask, and how hard.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The service's address
    #[arg(long)]
    url: String,
    /// The model's name
    #[arg(long)]
    model: String,
    /// Inputs, one a line of JSON: {"input": …}
    #[arg(long)]
    rows: PathBuf,
    /// Clients at once, each with a connection of its own that is kept open
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    clients: Vec<usize>,
    /// Tokens that are written to each input, no more and no less
    #[arg(long, value_delimiter = ',', default_values_t = [4, 32])]
    tokens: Vec<usize>,
    /// Labels that are weighed
    #[arg(long, value_delimiter = ',', default_value = "entailment,neutral,contradiction")]
    labels: Vec<String>,
    /// Seconds of each kind of load
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

/// Prints a line of JSON for each kind of work and number of clients: answers a second, and their latencies in seconds.
pub fn run(arguments: &Arguments) -> Result<(), CommandError> {
    install_tls();
    let texts = bench_rows::read(&arguments.rows)?;
    launch::block_on(async {
        for &clients in &arguments.clients {
            for &tokens in &arguments.tokens {
                let load = generate(arguments, &texts, tokens).of(clients).await?;
                report(&json!({"work": "generate", "clients": clients, "tokens": tokens}), &load)?;
            }
            let load = score(arguments, &texts).of(clients).await?;
            report(&json!({"work": "score", "clients": clients, "labels": arguments.labels.len()}), &load)?;
        }
        Ok(())
    })
}

fn generate(arguments: &Arguments, texts: &[String], tokens: usize) -> Target {
    let request = |text: &String| {
        let prompt = bench_rows::prompt(text);
        json!({"model": arguments.model, "prompt": prompt, "max_tokens": tokens, "min_tokens": tokens})
    };
    target(arguments, "/v1/completions", texts.iter().map(request))
}

fn score(arguments: &Arguments, texts: &[String]) -> Target {
    let request = |text: &String| json!({"model": arguments.model, "inputs": [text], "label_set": arguments.labels});
    target(arguments, "/v1/predictions", texts.iter().map(request))
}

fn target(arguments: &Arguments, path: &str, requests: impl Iterator<Item = Value>) -> Target {
    Target {
        url: format!("{}{path}", arguments.url.trim_end_matches('/')),
        requests: requests.map(|request| request.to_string().into()).collect(),
        time: Duration::from_secs(arguments.seconds),
    }
}

fn report(what: &Value, load: &Load) -> Result<(), CommandError> {
    let mut line = what.clone();
    line["answers_per_second"] = json!(load.answers_per_second());
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        line[name] = json!(load.latency(share).as_secs_f64());
    }
    super::print(&format!("{line}\n"))
}
