//! What a training says while it runs: frames by the names of `domain::metric`, not too many of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::evaluation::Findings;
use super::loss::StepLoss;
use crate::domain::{Frame, metric};

/// The least time between two progress frames; each becomes a write to the database.
const BETWEEN_PROGRESS: Duration = Duration::from_millis(400);

/// Turns what happens into frames.
pub struct Reporter<'a> {
    send: &'a mut dyn FnMut(Frame),
    log_every: i64,
    progress_at: Option<Instant>,
    window: Window,
    /// Since when the window's seconds have not been counted.
    since: Instant,
}

/// What was summed since the last metrics.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Window {
    seconds: f64,
    steps: f64,
    rationale_steps: f64,
    examples: f64,
    tokens: f64,
    sums: [f64; 4],
    #[serde(default)]
    mutual_information: f64,
}

impl<'a> Reporter<'a> {
    /// A reporter that gives metrics every so many steps.
    pub fn new(send: &'a mut dyn FnMut(Frame), log_every: u32) -> Self {
        let (progress_at, window, since) = (None, Window::default(), Instant::now());
        Self { send, log_every: i64::from(log_every.max(1)), progress_at, window, since }
    }

    /// Goes on with the figures that an interrupted training had summed.
    pub fn resume(&mut self, window: Window) {
        (self.window, self.since) = (window, Instant::now());
    }

    /// The figures summed so far.
    pub fn window(&self) -> Window {
        Window { seconds: self.window.seconds + self.since.elapsed().as_secs_f64(), ..self.window.clone() }
    }

    /// Something that a person should know.
    pub fn event(&mut self, level: &str, code: &str, message: impl Into<String>, data: Value) {
        let (level, code) = (level.to_owned(), code.to_owned());
        (self.send)(Frame::Event { level, code, message: message.into(), data });
    }

    /// `step` steps of `total` are done.
    pub fn progress(&mut self, step: i64, total: i64) {
        let due = self.progress_at.is_none_or(|at| at.elapsed() >= BETWEEN_PROGRESS);
        if due || step == total {
            self.progress_at = Some(Instant::now());
            (self.send)(Frame::Progress { step, total });
        }
    }

    /// A step was taken; every `log_every` of them their means are reported.
    pub fn step(&mut self, loss: &StepLoss, gradient_norm: f64, examples: usize) {
        let window = &mut self.window;
        window.steps += 1.0;
        window.rationale_steps += f64::from(u8::from(loss.rationale.is_some()));
        window.examples += examples as f64;
        window.tokens += loss.tokens as f64;
        window.mutual_information += loss.mutual_information.unwrap_or_default();
        let values = [loss.total, loss.label, loss.rationale.unwrap_or_default(), gradient_norm];
        window.sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }

    /// Reports the means since the last report, when one is due or the training ends.
    pub fn metrics(&mut self, step: i64, total: i64, rate: f64, skipped: u64) {
        if (step % self.log_every != 0 && step != total) || self.window.steps == 0.0 {
            return;
        }
        let window = self.window();
        self.resume(Window::default());
        let seconds = window.seconds.max(1e-9);
        let [loss, label, rationale, norm] = window.sums;
        let mut values = vec![
            (metric::LOSS, loss / window.steps),
            (metric::LABEL_LOSS, label / window.steps),
            (metric::GRADIENT_NORM, norm / window.steps),
            (metric::LEARNING_RATE, rate),
            (metric::EXAMPLES_PER_SECOND, window.examples / seconds),
            (metric::TOKENS_PER_SECOND, window.tokens / seconds),
            (metric::SKIPPED_STEPS, skipped as f64),
        ];
        if window.rationale_steps > 0.0 {
            values.push((metric::RATIONALE_LOSS, rationale / window.rationale_steps));
        }
        if window.mutual_information > 0.0 {
            values.push((metric::MUTUAL_INFORMATION_LOSS, window.mutual_information / window.steps));
        }
        values.extend(peak_memory_bytes().map(|bytes| (metric::MEMORY_BYTES, bytes)));
        self.send_metrics(step, values);
    }

    /// The student was examined on the validation rows.
    pub fn evaluated(&mut self, step: i64, findings: &Findings) {
        self.send_metrics(step, vec![(metric::LABEL_ACCURACY, findings.accuracy)]);
        let message = format!(
            "step {step}: {:.1} % of the validation rows are answered with their label",
            100.0 * findings.accuracy
        );
        let data = json!({"step": step, "label_accuracy": findings.accuracy, "predictions": findings.shown});
        self.event("info", "evaluated", message, data);
        // An evaluation is no part of a step's time.
        self.since = if self.window.steps == 0.0 { Instant::now() } else { self.since };
    }

    /// A checkpoint lies complete in the attempt's folder.
    pub fn checkpoint(&mut self, step: i64, folder: &str, accuracy: Option<f64>, seed: u64) {
        (self.send)(Frame::Checkpoint { step, folder: folder.to_owned(), accuracy, seed: Some(seed) });
    }

    /// A snapshot lies complete in the attempt's folder.
    pub fn snapshot(&mut self, step: i64, folder: &str) {
        (self.send)(Frame::Snapshot { step, folder: folder.to_owned() });
    }

    fn send_metrics(&mut self, step: i64, values: Vec<(&str, f64)>) {
        let values: BTreeMap<String, f64> = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        (self.send)(Frame::Metrics { step, values });
    }
}

/// The process's peak resident memory, where Linux tells it.
fn peak_memory_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}
