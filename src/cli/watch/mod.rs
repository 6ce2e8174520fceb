//! `stepwise watch JOB`: follows a job over HTTP until it is over, and says by its exit code how it ended.
//!
//! It asks once a second rather than listening to a stream: a question that fails is asked again, so that restarts of
//! the service, proxies and sleeping laptops need no care of their own.

mod outcome;
mod screen;
mod service;
mod words;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;

pub use outcome::{Outcome, exit_codes};

use self::{
    screen::Screen,
    service::{Job, Service, Trouble},
    words::Figures,
};
use super::CommandError;
use crate::{
    config::{Fault, GivenSettings, Refusal},
    domain::{JobState, RESULT_WITHIN, awaits_result},
    telemetry::chain,
};

/// Time between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// What to watch, and how.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The job's id
    #[arg(value_name = "JOB")]
    job: String,
    #[command(flatten)]
    given: GivenSettings,
    /// Seconds without an answer from the service after which to give up
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    give_up_after: u64,
    /// Print a JSON object a line, for programs
    #[arg(long)]
    json: bool,
}

/// Watches until the job is over, the service is gone for too long, or Ctrl-C, which leaves the job running.
pub fn run(arguments: &Arguments) -> Result<ExitCode, CommandError> {
    let settings = arguments.given.read().accept("watch")?;
    let mut watch = Watch {
        service: Service::new(&settings.url, settings.api_key.clone())
            .map_err(|error| no_client(&settings.url, &error))?,
        id: arguments.job.clone(),
        screen: Screen::choose(arguments.json),
        patience: Duration::from_secs(arguments.give_up_after),
        figures: Figures::default(),
        last_event: None,
        last_figure: None,
        over_since: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (outcome, lines) = runtime.block_on(async {
        tokio::select! {
            end = watch.follow() => end,
            _ = tokio::signal::ctrl_c() => watch.leave(&settings.url),
        }
    });
    watch.screen.end(outcome, &lines);
    Ok(outcome.into())
}

/// Why the service cannot be asked at all, before any question: no certificates for HTTPS, most likely.
fn no_client(url: &str, error: &reqwest::Error) -> Refusal {
    let problem = format!("cannot be asked from here ({}); HTTPS takes the system's CA certificates", chain(error));
    Refusal(vec![Fault { setting: "url".to_owned(), value: Some(url.to_owned()), origin: None, problem }])
}

struct Watch {
    service: Service,
    id: String,
    screen: Screen,
    patience: Duration,
    figures: Figures,
    last_event: Option<i64>,
    last_figure: Option<i64>,
    /// Since when the job has been over without the result that it is to get.
    over_since: Option<Instant>,
}

/// How watching ended, with what is to be said last.
type End = (Outcome, Vec<String>);

impl Watch {
    async fn follow(&mut self) -> End {
        let mut away: Option<Instant> = None;
        loop {
            match self.look().await {
                Ok(seen) => {
                    if away.take().is_some() {
                        self.screen.note("the service answers again");
                    }
                    if let Some(end) = self.end(&seen) {
                        return end;
                    }
                }
                Err(Trouble::Away(why)) => {
                    let since = *away.get_or_insert_with(|| {
                        self.screen.note(&format!("no answer, asking again: {why}"));
                        Instant::now()
                    });
                    if since.elapsed() >= self.patience {
                        let waited = words::duration(self.patience.as_secs());
                        return (
                            Outcome::Unreachable,
                            vec![format!("gave up after {waited} without an answer: {why}")],
                        );
                    }
                }
                Err(Trouble::NoSuchJob(said)) => return (Outcome::NoSuchJob, vec![said]),
                Err(Trouble::Refused(said)) => {
                    return (Outcome::Refused, vec![said]);
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// One look at the job, its events and its figures. The job first: what it shows has left its events by then.
    async fn look(&mut self) -> Result<Job, Trouble> {
        let whole = self.service.job(&self.id).await?;
        let job: Job = service::read(whole.clone())?;
        for event in self.service.events(&self.id, self.last_event).await? {
            self.last_event = event["id"].as_i64().or(self.last_event);
            self.screen.event(&event);
        }
        for figure in self.service.metrics(&self.id, self.last_figure).await? {
            self.last_figure = Some(figure.id);
            self.figures.take(figure);
        }
        self.screen.show(&whole, &job, &self.figures);
        Ok(job)
    }

    /// The end of a job that is over, once its result is there where it is to get one.
    fn end(&mut self, job: &Job) -> Option<End> {
        let end = end_of(&self.id, job);
        if !awaits_result(job.kind, job.state, job.result.as_ref()) {
            self.over_since = None;
            return end;
        }
        let since = *self.over_since.get_or_insert_with(|| {
            self.screen.note("it is over, and waits for its files");
            Instant::now()
        });
        end.filter(|_| since.elapsed() >= RESULT_WITHIN)
    }

    fn leave(&self, url: &str) -> End {
        let id = &self.id;
        let lines = vec![
            format!("{id} goes on without being watched; `stepwise watch {id}` looks again"),
            format!("to stop it: curl -X POST {url}/v1/jobs/{id}/cancel"),
        ];
        (Outcome::Interrupted, lines)
    }
}

/// The end of a job that is over.
fn end_of(id: &str, job: &Job) -> Option<End> {
    let outcome = Outcome::of(job.state)?;
    let mut lines = vec![format!("{id} {}", job.state)];
    if let (JobState::Failed, Some(error)) = (job.state, &job.error) {
        lines = vec![format!("{id} failed: {}: {}", error.code, error.message)];
        lines.extend(error.hint.iter().map(|hint| format!("  what may help: {hint}")));
    }
    let found = job.result.as_ref().map(words::result).unwrap_or_default();
    lines.extend(found.into_iter().map(|line| format!("  {line}")));
    Some((outcome, lines))
}
