//! What is known of a job, in words for one line.

use std::collections::BTreeMap;

use serde_json::Value;

use super::service::{Job, Metric};
use crate::domain::{JobKind, JobState, metric};

/// The newest value of each figure.
#[derive(Debug, Default)]
pub struct Figures(BTreeMap<String, f64>);

impl Figures {
    /// Takes a figure in, which was written after all that are here.
    pub fn take(&mut self, figure: Metric) {
        self.0.insert(figure.name.clone(), figure.value);
    }

    /// The newest value of a figure.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// Every figure's newest value.
    pub fn values(&self) -> BTreeMap<&str, f64> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value)).collect()
    }
}

/// Where the job stands: its state, with what it waits for.
pub fn state(job: &Job) -> String {
    let place = job.queue.as_ref().map_or(String::new(), |queue| format!(" at place {}", queue.position));
    match job.state {
        JobState::Queued if !job.depends_on.is_empty() => {
            format!("queued{place}, after {}", job.depends_on.join(", "))
        }
        JobState::Queued => format!("queued{place}"),
        JobState::Paused => format!("paused ({})", job.pause_reason.as_deref().unwrap_or("no reason given")),
        JobState::Running if job.cancel_requested => "running, to be cancelled".to_owned(),
        state => state.to_string(),
    }
}

/// What the figures say, in the order in which a person asks: how good, how fast, how long.
pub fn figures(job: &Job, figures: &Figures) -> String {
    let mut words = match job.kind {
        JobKind::Distillation => losses(figures),
        JobKind::Annotation => answers(figures),
        JobKind::Evaluation => Vec::new(),
    };
    let running = job.state == JobState::Running;
    words.extend(
        figures.get(metric::EXAMPLES_PER_SECOND).filter(|_| running).map(|pace| format!("{pace:.1} examples/s")),
    );
    let left = job.progress.as_ref().and_then(|progress| progress.seconds_remaining).filter(|_| running);
    words.extend(left.map(|seconds| format!("{} left", duration(seconds))));
    words.join(", ")
}

fn losses(figures: &Figures) -> Vec<String> {
    let names = [("label loss", metric::LABEL_LOSS), ("rationale loss", metric::RATIONALE_LOSS)];
    let losses = names.into_iter().filter_map(|(words, name)| Some(format!("{words} {:.3}", figures.get(name)?)));
    let accuracy = figures.get(metric::LABEL_ACCURACY).map(|share| format!("accuracy {:.1} %", 100.0 * share));
    losses.chain(accuracy).collect()
}

fn answers(figures: &Figures) -> Vec<String> {
    let count = |(words, name): (&str, &str)| {
        let count = figures.get(name).filter(|count| *count > 0.0)?;
        Some(format!("{count:.0} {words}"))
    };
    let statuses = metric::ANSWERS.map(|(status, name)| (status.as_str(), name)).into_iter().filter_map(count);
    let tokens =
        Some(figures.get(metric::INPUT_TOKENS).unwrap_or(0.0) + figures.get(metric::OUTPUT_TOKENS).unwrap_or(0.0));
    let tokens = tokens.filter(|tokens| *tokens > 0.0).map(|tokens| format!("{tokens:.0} tokens"));
    let cost = figures.get(metric::COST_USD).filter(|cost| *cost > 0.0).map(|cost| format!("${cost:.4}"));
    statuses.chain(tokens).chain(cost).collect()
}

/// A result as lines of `name: value`; what is null is left out.
pub fn result(value: &Value) -> Vec<String> {
    fn add(lines: &mut Vec<String>, name: &str, value: &Value) {
        let inner = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
        match value {
            Value::Null => {}
            Value::Object(members) => members.iter().for_each(|(key, value)| add(lines, &inner(key), value)),
            Value::Array(items) if items.iter().any(Value::is_object) => {
                items.iter().enumerate().for_each(|(place, item)| add(lines, &format!("{name}[{place}]"), item));
            }
            Value::String(text) => lines.push(format!("{name}: {}", plain(text))),
            other => lines.push(format!("{name}: {}", rounded(other))),
        }
    }
    let mut lines = Vec::new();
    add(&mut lines, "", value);
    lines
}

/// A value with its fractions to four digits: nobody reads a seventeenth. `--json` has all of them.
fn rounded(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(rounded).collect::<Vec<_>>().join(", ")),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(small) if small != 0.0 && small.abs() < 0.001 => format!("{small:.2e}"),
            Some(fraction) => ((fraction * 1e4).round() / 1e4).to_string(),
            None => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// A text without control characters: what a teacher or a file wrote must not command the terminal.
pub fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// Seconds as a person says them.
pub fn duration(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn figure(name: &str, value: f64) -> Metric {
        Metric { id: 0, name: name.to_owned(), value }
    }

    fn job(more: Value) -> Job {
        let mut job = json!({"kind": "distillation", "state": "running", "progress": {"step": 1, "total": 4, "percent": 25.0, "seconds_remaining": 130}});
        job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(job).unwrap()
    }

    #[test]
    fn a_training_tells_its_losses_accuracy_pace_and_time_left() {
        let mut known = Figures::default();
        for (name, value) in
            [("label_loss", 0.5), ("rationale_loss", 1.25), ("label_accuracy", 0.625), ("examples_per_second", 8.0)]
        {
            known.take(figure(name, value));
        }
        let words = figures(&job(json!({})), &known);
        assert_eq!(words, "label loss 0.500, rationale loss 1.250, accuracy 62.5 %, 8.0 examples/s, 2 min 10 s left");
    }

    #[test]
    fn an_annotation_tells_its_answers_tokens_and_cost() {
        let mut known = Figures::default();
        for (name, value) in [
            ("valid_answers", 55.0),
            ("invalid_answers", 2.0),
            ("failed_answers", 0.0),
            ("input_tokens", 900.0),
            ("output_tokens", 100.0),
            ("cost_usd", 0.0123),
        ] {
            known.take(figure(name, value));
        }
        let words = figures(&job(json!({"kind": "annotation"})), &known);
        assert_eq!(words, "55 valid, 2 invalid, 1000 tokens, $0.0123, 2 min 10 s left");
    }

    #[test]
    fn a_state_says_what_it_waits_for() {
        let queued = job(json!({"state": "queued", "queue": {"position": 3}, "depends_on": ["job-1"]}));
        assert_eq!(state(&queued), "queued at place 3, after job-1");
        assert_eq!(state(&job(json!({"state": "paused", "pause_reason": "budget"}))), "paused (budget)");
        assert_eq!(state(&job(json!({"cancel_requested": true}))), "running, to be cancelled");
    }

    #[test]
    fn a_result_is_told_line_by_line_and_cannot_command_the_terminal() {
        let found = json!({"model": "a\u{1b}[2Jb", "none": null, "counts": {"valid": 3}, "models": [{"accuracy": 0.5}], "ci": [0.12345678, 1.0], "p": 0.0000817});
        let mut lines = result(&found);
        lines.sort();
        assert_eq!(
            lines,
            ["ci: [0.1235, 1]", "counts.valid: 3", "model: a [2Jb", "models[0].accuracy: 0.5", "p: 8.17e-5"]
        );
    }

    #[test]
    fn durations_are_said_as_people_say_them() {
        assert_eq!([59, 61, 7325].map(duration), ["59 s", "1 min 1 s", "2 h 2 min"]);
    }
}
