//! Where watching is seen: a bar on a terminal, plain lines elsewhere, JSON lines for machines.

use std::io::{ErrorKind, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::{
    Outcome,
    service::{Event, Job, read},
    words::{self, Figures},
};

/// State, progress, and what the figures say as far as the terminal is wide.
const TEMPLATE: &str = "{prefix} [{bar:24}] {percent:>3} % {pos}/{len}  {wide_msg}";

/// Where everything is shown. Standard output alone: what it shows is the command's product.
pub enum Screen {
    /// A terminal.
    Bar(ProgressBar),
    /// A file or a pipe; with what was said last, so that only a change is a line.
    Lines(String),
    /// A program; with the job as it was said last.
    Json(Value),
}

impl Screen {
    /// The one that fits.
    pub fn choose(json: bool) -> Self {
        if json {
            return Self::Json(Value::Null);
        }
        if !std::io::stdout().is_terminal() {
            return Self::Lines(String::new());
        }
        let style = ProgressStyle::with_template(TEMPLATE);
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stdout());
        bar.set_style(style.expect("the template is a constant that a test reads").progress_chars("=> "));
        Self::Bar(bar)
    }

    /// Something happened to the job.
    pub fn event(&mut self, event: &Value) {
        if let Self::Json(_) = self {
            return line(&json!({"type": "event", "event": event}).to_string());
        }
        let Ok(Event { level, code, message, .. }) = read::<Event>(event.clone()) else { return };
        let level = if level == "info" { String::new() } else { format!("{level}: ") };
        self.line(&words::plain(&format!("{level}{message} ({code})")));
    }

    /// Something about watching itself.
    pub fn note(&mut self, text: &str) {
        match self {
            Self::Json(_) => line(&json!({"type": "note", "message": text}).to_string()),
            _ => self.line(&words::plain(text)),
        }
    }

    /// The job as it is now.
    pub fn show(&mut self, whole: &Value, job: &Job, figures: &Figures) {
        match self {
            Self::Bar(bar) => {
                if let Some(progress) = &job.progress {
                    bar.set_length(progress.total);
                    bar.set_position(progress.step);
                }
                bar.set_prefix(words::state(job));
                bar.set_message(words::figures(job, figures));
                bar.tick();
            }
            Self::Lines(last) => {
                let change = change(job, figures);
                if *last != change {
                    line(&with_figures(job, figures));
                    *last = change;
                }
            }
            Self::Json(last) => {
                let said = json!({"type": "job", "job": whole, "metrics": figures.values()});
                if *last != said {
                    line(&said.to_string());
                    *last = said;
                }
            }
        }
    }

    /// The end.
    pub fn end(&mut self, outcome: Outcome, lines: &[String]) {
        if let Self::Bar(bar) = self {
            bar.abandon();
        }
        if let Self::Json(_) = self {
            let end = json!({"type": "outcome", "outcome": outcome.name(), "exit_code": outcome.code(), "message": lines.join("\n")});
            return line(&end.to_string());
        }
        lines.iter().for_each(|text| line(&words::plain(text)));
    }

    fn line(&self, text: &str) {
        match self {
            Self::Bar(bar) => bar.println(text),
            _ => line(text),
        }
    }
}

/// What makes a new line: state, whole percent, place in the queue, accuracy. The rest changes every second.
fn change(job: &Job, figures: &Figures) -> String {
    let percent = job.progress.as_ref().map(|progress| progress.percent.floor());
    format!("{} {percent:?} {:?}", words::state(job), figures.get(crate::domain::metric::LABEL_ACCURACY))
}

fn with_figures(job: &Job, figures: &Figures) -> String {
    let progress =
        job.progress.as_ref().map(|done| format!("{}/{} ({:.0} %)", done.step, done.total, done.percent.floor()));
    let parts = [Some(words::state(job)), progress, Some(words::figures(job, figures))];
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

/// Writes a line at once. A reader that went away (`| head`) ends the process as it does for other programs; so does a disk
/// that is full, not without a word.
fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
        if error.kind() != ErrorKind::BrokenPipe {
            eprintln!("stepwise: standard output cannot be written: {error}");
        }
        std::process::exit(i32::from(Outcome::Interrupted.code()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_of_the_bar_is_one() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
