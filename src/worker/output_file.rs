//! A file that a job leaves, streamed into the artifact store. Its row is for the store to write, together with the job's end.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{AttemptError, Worker};
use crate::{
    artifacts::{ArtifactWriter, Stored},
    domain::{File, FileId, FileStatus, Job, Purpose, Validation},
    survey::Survey,
};

/// A file being written.
pub struct OutputFile {
    /// Its id.
    pub id: FileId,
    /// A look at its lines as at an upload's, where they are examples.
    survey: Option<Survey>,
    rows: u64,
    filename: String,
    purpose: Purpose,
    key: String,
    writer: ArtifactWriter,
    created_at: DateTime<Utc>,
}

impl OutputFile {
    /// JSON lines of a kind of their own, which no job reads.
    pub async fn of_reports(worker: &Worker, job: &Job, name: &str, filename: String) -> Result<Self, AttemptError> {
        Self::open(worker, job, (name, "jsonl"), (filename, Purpose::BatchOutput)).await
    }

    /// JSON lines that are examples.
    pub async fn of_examples(worker: &Worker, job: &Job, name: &str, filename: String) -> Result<Self, AttemptError> {
        let file = Self::of_reports(worker, job, name, filename).await?;
        Ok(Self { survey: Some(Survey::begin(worker.scratch.clone())), ..file })
    }

    /// A table of figures, as comma-separated values.
    pub async fn of_figures(worker: &Worker, job: &Job, name: &str) -> Result<Self, AttemptError> {
        Self::open(worker, job, (name, "csv"), (format!("{name}.csv"), Purpose::FineTuneResults)).await
    }

    /// A file in the folder of the job's newest attempt, under a name that no other writer has.
    async fn open(
        worker: &Worker,
        job: &Job,
        (name, extension): (&str, &str),
        (filename, purpose): (String, Purpose),
    ) -> Result<Self, AttemptError> {
        let id = FileId(worker.clock.new_id());
        let key = format!("jobs/{}/e{}/{name}-{id}.{extension}", job.id, job.lease_epoch);
        let writer = worker.artifacts.writer(&key).await?;
        Ok(Self { id, survey: None, rows: 0, filename, purpose, key, writer, created_at: worker.clock.now() })
    }

    /// Appends a value as a line of JSON.
    pub async fn push(&mut self, line: &impl Serialize) -> Result<(), AttemptError> {
        let mut text = serde_json::to_vec(line).expect("a line is plain data with text keys");
        text.push(b'\n');
        self.push_text(text, 1).await
    }

    /// Appends text that ends so many rows; a table's head is none.
    pub async fn push_text(&mut self, text: impl Into<Bytes>, rows: u64) -> Result<(), AttemptError> {
        let text = text.into();
        self.rows += rows;
        if let Some(survey) = &self.survey {
            survey.push(text.clone()).await;
        }
        Ok(self.writer.write(&text).await?)
    }

    /// Makes the file durable.
    pub async fn close(self, worker: &Worker, job: &Job) -> Result<File, AttemptError> {
        let Stored { bytes, sha256 } = self.writer.finish().await?;
        let mut validation = match self.survey {
            Some(survey) => survey.finish().await?.store(&worker.artifacts, &self.key).await?,
            // A report: no line of it is an example.
            None => Validation { rows: self.rows, ..Validation::default() },
        };
        // A file without a line is right here: every answer was valid, or none was.
        if self.rows == 0 {
            validation.errors.clear();
            validation.error_counts.clear();
        }
        let good = validation.errors.is_empty();
        Ok(File {
            id: self.id,
            project_id: job.project_id,
            filename: self.filename,
            purpose: self.purpose,
            bytes,
            sha256,
            status: if good { FileStatus::Processed } else { FileStatus::Error },
            validation,
            artifact_key: self.key,
            created_at: self.created_at,
            expires_at: None,
        })
    }

    /// Gives the file up and removes what was staged of it.
    pub async fn discard(self) {
        if let Err(error) = self.writer.abort().await {
            tracing::warn!(key = self.key, %error, "an unfinished file could not be removed");
        }
    }
}

/// The name of a file that is about the rows of another one.
pub fn beside(source: &str, suffix: &str) -> String {
    format!("{}-{suffix}.jsonl", source.strip_suffix(".jsonl").unwrap_or(source))
}
