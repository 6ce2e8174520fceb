//! How much memory a student takes: before it is read, from its configuration, and once it is there.

use std::path::Path;

use tch::{Device, Kind};

use super::{Student, StudentError, T5Config, parameter_count};
use crate::device;
use crate::domain::Precision;

impl Student {
    /// Bytes of its tensors, or of what they were prepacked into.
    pub fn bytes(&self) -> u64 {
        if self.weights.is_empty() {
            return bytes_of_parameters(&self.config, self.kind, self.device);
        }
        self.weights.values().map(|tensor| tensor.numel() as u64 * bytes_of(tensor.kind())).sum()
    }
}

/// Bytes that the student of a folder will take. Nothing but `config.json` is read.
pub fn expected_bytes(directory: &Path, device: Device, precision: Precision) -> Result<u64, StudentError> {
    let config = T5Config::from_dir(directory)?;
    Ok(bytes_of_parameters(&config, device::kind_for(precision, device), device))
}

/// A prepacked student has an embedding that is its output layer as well twice: as rows to look up, and as a matrix to multiply.
fn bytes_of_parameters(config: &T5Config, kind: Kind, device: Device) -> u64 {
    let has_two = config.tie_word_embeddings && device == Device::Cpu;
    let output = if has_two { config.vocab_size * config.d_model } else { 0 };
    u64::try_from(parameter_count(config) + output).unwrap_or_default() * bytes_of(kind)
}

fn bytes_of(kind: Kind) -> u64 {
    kind.elt_size_in_bytes() as u64
}
