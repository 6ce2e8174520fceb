//! An annotation: ask the teacher about every example that is not settled yet, and settle each answer as it arrives.
//!
//! A restart asks again only for what has no row: an answer that was paid for is in the table before the next one is
//! awaited. A 429 waits and never counts as a try; a teacher that cannot be reached fails the attempt, whose job then
//! comes back later with everything settled so far.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
};

use futures::{Stream, StreamExt, TryStreamExt, future};
use serde_json::json;

use super::{Attempt, AttemptError, Worker, annotation_files, inputs, tally::Tally};
use crate::{
    domain::{Annotation, AnnotationSpec, AnnotationStatus, Example, File, JobError},
    outbound::retry,
    store::{EventLevel, NewEvent},
    task::{answer, prompt},
    teacher::{Completion, CompletionRequest, TeacherClient, TeacherError},
    telemetry::chain,
};

/// Tries at one question before the attempt gives up; a 429 is not a try.
const MAX_TRIES: u32 = 5;

/// Annotates the file of `spec` and finishes the job with its output and rejection files.
pub async fn annotate(worker: &Worker, attempt: &Attempt, spec: &AnnotationSpec) -> Result<(), AttemptError> {
    let file = inputs::file(worker, attempt.job.project_id, spec.file).await?;
    let teacher = worker.teachers.iter().find(|teacher| teacher.name() == spec.teacher).ok_or_else(|| {
        let message = format!("this worker's configuration has no teacher {:?}", spec.teacher);
        AttemptError::passing(JobError::new("teacher_unknown", message))
    })?;
    ask_all(worker, attempt, spec, &file, teacher).await?;
    annotation_files::finish(worker, attempt, spec, &file).await
}

async fn ask_all(
    worker: &Worker,
    attempt: &Attempt,
    spec: &AnnotationSpec,
    file: &File,
    teacher: &TeacherClient,
) -> Result<(), AttemptError> {
    let settled = attempt.persist(|| worker.store.settled_indexes(attempt.job.id)).await?;
    let limit = spec.max_examples.unwrap_or(u64::MAX).min(file.validation.valid_rows);
    let total = limit.try_into().unwrap_or(i64::MAX);
    let asking = Asking { attempt, spec, teacher, complained: AtomicBool::new(false) };
    let tally = Tally::begin(attempt, teacher, total).await?;
    // Every write happens inside these futures: while this function waited for one outside, none of them would be
    // polled, and those amid a statement would keep the connections that it waits for.
    // When the attempt must stop, no more questions begin; those that are out are waited for, since each is paid for.
    let answers = unsettled(worker, file, limit, &settled)
        .take_until(attempt.until_stopped())
        .map(|question| async {
            let (index, example) = question?;
            match asking.ask_and_settle(index, example).await? {
                Some(annotation) => tally.add(&annotation).await,
                None => Ok(()),
            }
        })
        .buffer_unordered(teacher.max_concurrency());
    answers.try_for_each(future::ok).await?;
    tally.close().await?;
    attempt.check()
}

/// The examples that have no row yet, with their place in the file.
fn unsettled<'a>(
    worker: &'a Worker,
    file: &'a File,
    limit: u64,
    settled: &'a HashSet<i64>,
) -> impl Stream<Item = Result<(i64, Example), AttemptError>> + 'a {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let numbered = inputs::examples(worker, file).take(limit).enumerate();
    numbered.filter_map(move |(index, example)| async move {
        let index = i64::try_from(index).ok()?;
        (!settled.contains(&index)).then(|| example.map(|example| (index, example)))
    })
}

/// What every question of one attempt shares.
struct Asking<'a> {
    attempt: &'a Attempt,
    spec: &'a AnnotationSpec,
    teacher: &'a TeacherClient,
    /// Whether the job has been told that the teacher does not answer.
    complained: AtomicBool,
}

impl Asking<'_> {
    /// The settled annotation; nothing for a question that was not out yet when the attempt had to stop: it is left for
    /// later.
    async fn ask_and_settle(&self, index: i64, example: Example) -> Result<Option<Annotation>, AttemptError> {
        let annotation = match self.ask(index, &example).await? {
            Some(Ok(completion)) => read(self.spec, index, example, completion),
            Some(Err(error)) => refused(index, example, &error),
            None => return Ok(None),
        };
        self.attempt.persist(|| self.attempt.store().settle_annotation(self.attempt.lease, &annotation)).await?;
        Ok(Some(annotation))
    }

    /// One question until it is answered; the inner error is the teacher's last word on this one question. Nothing when
    /// the attempt has to stop before the next try.
    async fn ask(
        &self,
        index: i64,
        example: &Example,
    ) -> Result<Option<Result<Completion, TeacherError>>, AttemptError> {
        let request = CompletionRequest {
            messages: prompt::chat(&self.spec.task, self.spec.answer_form, &example.input),
            temperature: self.spec.temperature,
            max_output_tokens: self.spec.max_output_tokens,
            stop: prompt::stop_sequences(&self.spec.task),
            seed: None,
            answer_schema: prompt::answer_schema(&self.spec.task, self.spec.answer_form),
            // The same over all attempts: a teacher that honors it answers a repeated question from its memory.
            idempotency_key: Some(format!("{}-{index}", self.attempt.job.id)),
        };
        let mut tries = 0;
        loop {
            tokio::select! {
                biased;
                _ = self.attempt.until_stopped() => return Ok(None),
                () = self.teacher.turn() => {}
            }
            // A pause and a drain let the calls in flight end; a cancel or a lost lease does not wait for them.
            let error = match self.attempt.in_time(async { Ok(self.teacher.ask(&request).await) }).await? {
                Ok(completion) => return Ok(Some(Ok(completion))),
                Err(error) => error,
            };
            if error.is_fatal() {
                return Err(AttemptError::fatal(JobError::new(error.code(), chain(&error))));
            }
            if !error.is_retryable() {
                return Ok(Some(Err(error)));
            }
            if !error.is_rate_limit() {
                tries += 1;
            }
            if tries >= MAX_TRIES {
                return Err(AttemptError::passing(JobError::new(error.code(), chain(&error))));
            }
            self.complain(&error).await?;
            tokio::select! {
                () = tokio::time::sleep(retry::backoff(tries.max(1), error.retry_after(), rand::random())) => {}
                _ = self.attempt.until_stopped() => return Ok(None),
            }
        }
    }

    async fn complain(&self, error: &TeacherError) -> Result<(), AttemptError> {
        if self.complained.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let message = format!("the teacher {:?} does not answer; trying on: {}", self.teacher.name(), chain(error));
        let event = NewEvent { level: EventLevel::Warn, code: error.code().to_owned(), message, data: json!({}) };
        self.attempt.tell(event).await
    }
}

fn read(spec: &AnnotationSpec, index: i64, example: Example, completion: Completion) -> Annotation {
    let truncated = completion.finish_reason.as_deref() == Some("length");
    let parsed = answer::parse(&spec.task, spec.answer_form, &example.input, &completion.text, truncated);
    Annotation {
        status: parsed.status,
        reason: parsed.reason,
        teacher_label: parsed.label,
        rationale: parsed.rationale,
        raw_output: Some(completion.text),
        input_tokens: completion.input_tokens,
        output_tokens: completion.output_tokens,
        latency_ms: completion.latency.as_millis().try_into().unwrap_or(i64::MAX),
        ..blank(index, example)
    }
}

fn refused(index: i64, example: Example, error: &TeacherError) -> Annotation {
    Annotation { reason: Some(chain(error)), ..blank(index, example) }
}

/// An annotation of an example that got no answer.
fn blank(example_index: i64, example: Example) -> Annotation {
    Annotation {
        example_index,
        example_id: example.id,
        input: example.input,
        label: example.label,
        split: example.split,
        status: AnnotationStatus::Failed,
        reason: None,
        teacher_label: None,
        rationale: None,
        raw_output: None,
        input_tokens: 0,
        output_tokens: 0,
        latency_ms: 0,
    }
}
