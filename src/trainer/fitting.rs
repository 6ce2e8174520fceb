//! Whether a training can fit into this machine at all, told before a weight is read: a student that is far too large would
//! otherwise fill the machine for minutes, and be killed without a word.

use tch::Device;

use super::TrainError;
use crate::domain::{Hyperparameters, JobError, Optimizer};
use crate::machine;
use crate::student::{T5Config, parameter_count};

/// Refuses a training whose weights, gradient and moments alone are more than the machine has. What a GPU has is not known
/// here.
pub fn check(config: &T5Config, knobs: &Hyperparameters, device: Device) -> Result<(), TrainError> {
    match machine::memory_bytes() {
        Some(there_is) if device == Device::Cpu => check_within(there_is, config, knobs.optimizer),
        _ => Ok(()),
    }
}

fn check_within(there_is: u64, config: &T5Config, optimizer: Optimizer) -> Result<(), TrainError> {
    let parameters = parameter_count(config).unsigned_abs();
    let needed = |optimizer| parameters.saturating_mul(bytes_per_parameter(optimizer));
    if needed(optimizer) <= there_is {
        return Ok(());
    }
    let message = format!(
        "a student with {parameters} parameters needs {} GB for its weights, their gradient and what the optimizer keeps, without \
         a row to learn; this machine has {} GB",
        gigabytes(needed(optimizer)),
        gigabytes(there_is)
    );
    let thrifty = needed(Optimizer::Adafactor);
    let hint = if thrifty <= there_is && optimizer != Optimizer::Adafactor {
        format!("with \"optimizer\": \"adafactor\" these take {} GB; see the memory of a dry run", gigabytes(thrifty))
    } else {
        "take a smaller student, or a worker with more memory; see the memory of a dry run".to_owned()
    };
    Err(TrainError::refused(JobError::OUT_OF_MEMORY, message, &hint))
}

/// fp32 weights; their gradient, which with the copies that a bf16 step computes with takes as much as in fp32; the moments.
fn bytes_per_parameter(optimizer: Optimizer) -> u64 {
    match optimizer {
        Optimizer::Adamw => 4 + 4 + 8,
        // A row and a column of each matrix: next to nothing.
        Optimizer::Adafactor => 4 + 4,
    }
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::FromScratch;

    /// T5 v1.1 XXL, of 11 billion parameters.
    fn xxl() -> T5Config {
        let shape = FromScratch {
            d_model: 4096,
            d_kv: 64,
            d_ff: 10_240,
            num_layers: 24,
            num_heads: 64,
            ..FromScratch::default()
        };
        T5Config::from_scratch(&shape, 32_128)
    }

    fn refusal(gigabytes: u64, optimizer: Optimizer) -> Option<JobError> {
        let checked = check_within(gigabytes * 1_000_000_000, &xxl(), optimizer);
        checked.err().map(|error| error.job_error())
    }

    #[test]
    fn eleven_billion_parameters_with_adamw_are_refused_and_told_what_fits() {
        let error = refusal(128, Optimizer::Adamw).unwrap();
        assert_eq!(error.code, JobError::OUT_OF_MEMORY);
        assert!(error.message.contains("178.2 GB") && error.message.contains("128.0 GB"), "{}", error.message);
        assert!(error.hint.unwrap().contains("\"adafactor\" these take 89.1 GB"));
        assert_eq!(refusal(128, Optimizer::Adafactor), None);
        assert_eq!(refusal(200, Optimizer::Adamw), None);
        let hint = refusal(64, Optimizer::Adafactor).unwrap().hint.unwrap();
        assert!(hint.contains("smaller student"), "{hint}");
    }
}
