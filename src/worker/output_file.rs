//! A file that a job leaves: JSON lines streamed into the artifact store. Its row is for the store to write, together
//! with the job's end.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Attempt, AttemptError, Worker};
use crate::{
    artifacts::{ArtifactWriter, Stored},
    domain::{File, FileId, FileStatus, Purpose, Validation},
};

/// A file being written.
pub struct OutputFile {
    /// Its id.
    pub id: FileId,
    /// What a validation of it would find; `push` counts the rows, its owner the rest.
    pub validation: Validation,
    key: String,
    writer: ArtifactWriter,
    created_at: DateTime<Utc>,
}

impl OutputFile {
    /// A file `name.jsonl` in the attempt's own folder, so that two attempts never write the same one.
    pub async fn open(worker: &Worker, attempt: &Attempt, name: &str) -> Result<Self, AttemptError> {
        let key = format!("jobs/{}/e{}/{name}.jsonl", attempt.job.id, attempt.lease.epoch);
        let writer = worker.artifacts.writer(&key).await?;
        let id = FileId(worker.clock.new_id());
        Ok(Self { id, validation: Validation::default(), key, writer, created_at: worker.clock.now() })
    }

    /// Appends a line.
    pub async fn push(&mut self, line: &impl Serialize) -> Result<(), AttemptError> {
        let mut text = serde_json::to_vec(line).expect("a line is plain data with text keys");
        text.push(b'\n');
        self.validation.rows += 1;
        Ok(self.writer.write(&text).await?)
    }

    /// Makes the file durable; it is named after the file whose rows it is about.
    pub async fn close(self, attempt: &Attempt, source: &File, suffix: &str) -> Result<File, AttemptError> {
        let Stored { bytes, sha256 } = self.writer.finish().await?;
        let stem = source.filename.strip_suffix(".jsonl").unwrap_or(&source.filename);
        Ok(File {
            id: self.id,
            project_id: attempt.job.project_id,
            filename: format!("{stem}-{suffix}.jsonl"),
            purpose: Purpose::BatchOutput,
            bytes,
            sha256,
            status: FileStatus::Processed,
            validation: self.validation,
            artifact_key: self.key,
            created_at: self.created_at,
        })
    }

    /// Gives the file up and removes what was staged of it.
    pub async fn discard(self) {
        if let Err(error) = self.writer.abort().await {
            tracing::warn!(key = self.key, %error, "an unfinished file could not be removed");
        }
    }
}
