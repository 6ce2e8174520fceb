//! A training's figures by step as `step_metrics.csv`, the form in which OpenAI gives them. They are those of the database, which
//! has each step's once, however often the training was interrupted; and only such as are the same on another day.

use std::fmt::Write;

use super::{Attempt, AttemptError, Worker, output_file::OutputFile};
use crate::{
    domain::{File, metric},
    store::StepFigures,
};

const NAME: &str = "step_metrics";
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
    let mut file = OutputFile::of_figures(worker, &attempt.job, NAME).await?;
    match write(attempt, &mut file).await {
        Ok(()) => file.close(worker, &attempt.job).await,
        Err(error) => {
            file.discard().await;
            Err(error)
        }
    }
}

/// Writes head and rows.
async fn write(attempt: &Attempt, file: &mut OutputFile) -> Result<(), AttemptError> {
    let (store, job) = (attempt.store(), attempt.job.id);
    let there = attempt.persist(|| store.figure_names(job)).await?;
    let columns: Vec<&str> = COLUMNS.into_iter().filter(|name| there.contains(*name)).collect();
    let names = columns.iter().map(|name| metric::openai_name(name));
    let head: Vec<&str> = std::iter::once("step").chain(names).collect();
    file.push_text(head.join(",") + "\n", 0).await?;
    let mut after = None;
    loop {
        let page = attempt.persist(|| store.list_figures(job, after, PAGE)).await?;
        after = page.items.last().map(|figures| figures.step);
        let lines: Vec<String> = page.items.iter().filter_map(|figures| line(&columns, figures)).collect();
        file.push_text(lines.concat(), lines.len() as u64).await?;
        if !page.has_more {
            return Ok(());
        }
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
