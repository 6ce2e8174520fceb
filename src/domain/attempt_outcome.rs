//! What a finished training found, seed by seed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Calibration, LearnedTexts};

/// What a finished training found. Its steps are counted over all seeds, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AttemptOutcome {
    /// The seed whose weights were kept: the one with the best validation accuracy, the earlier of equals; without
    /// validation rows the first.
    #[serde(default)]
    pub seed: u64,
    /// The step whose weights were kept.
    pub best_step: i64,
    /// Accuracy of the kept weights on the validation rows, 0..1; null without validation rows.
    #[schema(required = true)]
    pub validation_accuracy: Option<f64>,
    /// Accuracy of the kept weights on the test rows, 0..1; null without test rows.
    #[schema(required = true)]
    pub test_accuracy: Option<f64>,
    /// How the kept weights' label probabilities were fitted to the validation rows; null without such rows, without a label
    /// set, and for a job of an earlier version.
    #[serde(default)]
    #[schema(required = true)]
    pub calibration: Option<Calibration>,
    /// Optimizer steps taken, under all seeds.
    pub steps: i64,
    /// The step after which the training under the kept seed stopped because its accuracy no longer became better; null: it
    /// took all its steps.
    #[serde(default)]
    #[schema(required = true)]
    pub stopped_early_at: Option<i64>,
    /// Input and target tokens that were learned from, padding left out, those of steps that the training went back from among
    /// them; 0 in results that are older than this figure.
    #[serde(default)]
    #[schema(example = 1_950_000)]
    pub tokens: u64,
    /// Seconds of training over all seeds and attempts, without the time between them and without steps that were lost.
    pub seconds: f64,
    /// Every seed, in the order in which they were trained.
    #[serde(default)]
    pub seeds: Vec<SeedOutcome>,
    /// The mean over the seeds.
    #[serde(default)]
    pub mean: Accuracies,
    /// The standard error of that mean; null where there was one seed.
    #[serde(default)]
    pub standard_error: Accuracies,
    /// Rows that were learned from.
    pub training_examples: u64,
    /// Rows that could not be used, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// The maximum lengths that were in force, and what was cut at them.
    #[serde(flatten)]
    pub texts: LearnedTexts,
    /// Parameters of the student.
    pub parameters: u64,
}

/// What was found under one seed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SeedOutcome {
    /// The seed.
    pub seed: u64,
    /// The step whose weights were kept, counted over all seeds.
    pub best_step: i64,
    /// Accuracy of the kept weights on the validation rows, 0..1; null without validation rows.
    #[schema(required = true)]
    pub validation_accuracy: Option<f64>,
    /// Accuracy of the kept weights on the test rows, 0..1; null without test rows.
    #[schema(required = true)]
    pub test_accuracy: Option<f64>,
    /// How the kept weights' label probabilities were fitted to the validation rows; null without such rows or a label set.
    #[serde(default)]
    #[schema(required = true)]
    pub calibration: Option<Calibration>,
    /// Optimizer steps taken under this seed.
    pub steps: i64,
    /// The step, counted over all seeds, after which it stopped early; null: it took all its steps.
    #[serde(default)]
    #[schema(required = true)]
    pub stopped_early_at: Option<i64>,
    /// Input and target tokens that were learned from, padding left out, those of steps that the training went back from among
    /// them; 0 in results that are older than this figure.
    #[serde(default)]
    #[schema(example = 1_950_000)]
    pub tokens: u64,
    /// Seconds that it took.
    pub seconds: f64,
}

/// A figure of each accuracy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Accuracies {
    /// On the validation rows; null where it is not known.
    #[schema(required = true)]
    pub validation_accuracy: Option<f64>,
    /// On the test rows; null where it is not known.
    #[schema(required = true)]
    pub test_accuracy: Option<f64>,
}

impl Accuracies {
    /// The means over the seeds.
    pub fn mean(seeds: &[SeedOutcome]) -> Self {
        Self::over(seeds, mean)
    }

    /// The standard errors of the means: the sample's standard deviation over the square root of the number of seeds.
    pub fn standard_error(seeds: &[SeedOutcome]) -> Self {
        Self::over(seeds, standard_error)
    }

    fn over(seeds: &[SeedOutcome], figure: impl Fn(&[f64]) -> Option<f64>) -> Self {
        let of =
            |accuracy: fn(&SeedOutcome) -> Option<f64>| figure(&seeds.iter().filter_map(accuracy).collect::<Vec<_>>());
        Self {
            validation_accuracy: of(|outcome| outcome.validation_accuracy),
            test_accuracy: of(|outcome| outcome.test_accuracy),
        }
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn standard_error(values: &[f64]) -> Option<f64> {
    let (count, mean) = (values.len() as f64, mean(values)?);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (count - 1.0) / count).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds(accuracies: &[f64]) -> Vec<SeedOutcome> {
        let outcome = |&accuracy| SeedOutcome { validation_accuracy: Some(accuracy), ..SeedOutcome::default() };
        accuracies.iter().map(outcome).collect()
    }

    #[test]
    fn a_standard_error_is_the_samples_deviation_over_the_root_of_its_size() {
        let four = seeds(&[0.6, 0.7, 0.7, 0.8]);
        assert!((Accuracies::mean(&four).validation_accuracy.unwrap() - 0.7).abs() < 1e-12);
        // The squares sum to 0.02: a variance of 0.02 / 3, and the mean's of a quarter of that.
        let error = Accuracies::standard_error(&four).validation_accuracy.unwrap();
        assert!((error - (0.02_f64 / 12.0).sqrt()).abs() < 1e-12, "{error}");
        assert_eq!(Accuracies::mean(&four).test_accuracy, None);
    }

    #[test]
    fn one_seed_has_a_mean_and_no_standard_error() {
        let one = seeds(&[0.6]);
        assert_eq!(Accuracies::mean(&one).validation_accuracy, Some(0.6));
        assert_eq!(Accuracies::standard_error(&one), Accuracies::default());
    }
}
