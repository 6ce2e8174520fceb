//! A training's figures by step as `step_metrics.csv`, the form in which OpenAI gives them. They are those of the database, which
//! has each step's once, however often the training was interrupted; and only such as are the same on another day.

use std::fmt::Write;

use bytes::Bytes;

use super::{Attempt, AttemptError, Worker};
use crate::{
    artifacts::{ArtifactWriter, Stored},
    domain::{File, FileId, FileStatus, Purpose, Validation, metric},
    store::StepFigures,
};

const FILENAME: &str = "step_metrics.csv";
/// The figures that a training repeats, in the order of their columns.
const COLUMNS: [&str; 8] = [
    metric::LOSS,
    metric::LABEL_LOSS,
    metric::RATIONALE_LOSS,
    metric::MUTUAL_INFORMATION_LOSS,
    metric::LEARNING_RATE,
    metric::GRADIENT_NORM,
    metric::SKIPPED_STEPS,
    metric::LABEL_ACCURACY,
];
/// Steps read at once.
const PAGE: u32 = 1000;

/// Stores the file; its row is for the store to write, together with the job's end.
pub async fn store(worker: &Worker, attempt: &Attempt) -> Result<File, AttemptError> {
    let (job, id) = (&attempt.job, FileId(worker.clock.new_id()));
    let key = format!("jobs/{}/e{}/step_metrics-{id}.csv", job.id, attempt.lease.epoch);
    let mut writer = worker.artifacts.writer(&key).await?;
    let rows = write(worker, attempt, &mut writer).await?;
    let Stored { bytes, sha256 } = writer.finish().await?;
    Ok(File {
        id,
        project_id: job.project_id,
        filename: FILENAME.to_owned(),
        purpose: Purpose::FineTuneResults,
        bytes,
        sha256,
        status: FileStatus::Processed,
        validation: Validation { rows, ..Validation::default() },
        artifact_key: key,
        created_at: worker.clock.now(),
        expires_at: None,
    })
}

/// Writes head and rows; how many rows there are.
async fn write(worker: &Worker, attempt: &Attempt, writer: &mut ArtifactWriter) -> Result<u64, AttemptError> {
    let there = worker.store.figure_names(attempt.job.id).await?;
    let columns: Vec<&str> = COLUMNS.into_iter().filter(|name| there.contains(*name)).collect();
    let names = columns.iter().map(|name| metric::openai_name(name));
    let head: Vec<&str> = std::iter::once("step").chain(names).collect();
    writer.write(&Bytes::from(head.join(",") + "\n")).await?;
    let (mut after, mut rows) = (None, 0);
    loop {
        let page = worker.store.list_figures(attempt.job.id, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(rows) };
        after = Some(last.step);
        let lines: Vec<String> = page.iter().filter_map(|figures| line(&columns, figures)).collect();
        rows += lines.len() as u64;
        writer.write(&Bytes::from(lines.concat())).await?;
    }
}

/// A step's row, with nothing where it has no figure; none where it has none at all.
fn line(columns: &[&str], StepFigures { step, values }: &StepFigures) -> Option<String> {
    let mut line = step.to_string();
    for name in columns {
        line.push(',');
        if let Some(value) = values.get(*name) {
            write!(line, "{value}").expect("a text takes every number");
        }
    }
    columns.iter().any(|name| values.contains_key(*name)).then(|| line + "\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_row_has_a_place_for_every_column() {
        let figures = |pairs: &[(&str, f64)]| StepFigures {
            step: 20,
            values: pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect::<BTreeMap<_, _>>(),
        };
        let columns = [metric::LOSS, metric::LEARNING_RATE, metric::LABEL_ACCURACY];
        let row = |pairs| line(&columns, &figures(pairs));
        assert_eq!(row(&[("label_accuracy", 0.5), ("loss", 0.1)]).as_deref(), Some("20,0.1,,0.5\n"));
        assert_eq!(row(&[("learning_rate", 5e-7), ("loss", 2.0)]).as_deref(), Some("20,2,0.0000005,\n"));
        assert_eq!(row(&[("memory_bytes", 7e9)]), None);
    }
}
