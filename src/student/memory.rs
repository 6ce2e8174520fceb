//! How much memory a student takes: before it is read, from its configuration, and once it is there.

use std::path::Path;

use tch::{Device, Kind};

use super::parameters::{Parameter, parameters};
use super::weights::{EMBEDDING, OUTPUT};
use super::{Student, StudentError, T5Config};
use crate::device;
use crate::domain::ServingPrecision;
use crate::native::t5::Storage;

impl Student {
    /// Bytes of its tensors, or of what they were prepacked into.
    pub fn bytes(&self) -> u64 {
        if self.weights.is_empty() {
            return bytes_of_parameters(&self.config, self.kind, self.storage, self.device);
        }
        self.weights.values().map(|tensor| tensor.numel() as u64 * bytes_of(tensor.kind())).sum()
    }
}

/// How prepacked weights are kept in an arithmetic.
pub(super) fn storage_for(precision: ServingPrecision) -> Storage {
    if precision == ServingPrecision::Int8 { Storage::Levels } else { Storage::Numbers }
}

/// Bytes that the student of a folder takes while it is read: as numbers, before they become levels, which take half of that. Nothing
/// but `config.json` is read.
pub fn expected_bytes(directory: &Path, device: Device, precision: ServingPrecision) -> Result<u64, StudentError> {
    let config = T5Config::from_dir(directory)?;
    Ok(bytes_of_parameters(&config, device::kind_for(precision.products(), device), Storage::Numbers, device))
}

/// A prepacked student has an embedding that is its output layer as well twice: as rows to look up, and as a matrix to multiply.
fn bytes_of_parameters(config: &T5Config, kind: Kind, storage: Storage, device: Device) -> u64 {
    let parameters = parameters(config);
    let of_parameter = |(name, parameter): (&String, &Parameter)| {
        let is_end = [EMBEDDING, OUTPUT].contains(&name.as_str()) || name.contains("relative_attention_bias");
        let is_of_layer = parameter.shape.len() == 2 && !is_end;
        bytes_of_tensor(&parameter.shape, kind, if is_of_layer { storage } else { Storage::Numbers })
    };
    let has_two = config.tie_word_embeddings && device == Device::Cpu;
    let output =
        if has_two { bytes_of_tensor(&[config.vocab_size, config.d_model], kind, Storage::Numbers) } else { 0 };
    parameters.iter().map(of_parameter).sum::<u64>() + output
}

/// Levels have a scale in fp32 for each row of their tensor.
fn bytes_of_tensor(shape: &[i64], kind: Kind, storage: Storage) -> u64 {
    let count = |sizes: &[i64]| u64::try_from(sizes.iter().product::<i64>()).unwrap_or_default();
    match storage {
        Storage::Numbers => count(shape) * bytes_of(kind),
        Storage::Levels => count(shape) + count(&shape[..1]) * bytes_of(Kind::Float),
    }
}

fn bytes_of(kind: Kind) -> u64 {
    kind.elt_size_in_bytes() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::FromScratch;

    #[test]
    fn levels_take_a_byte_a_number_of_the_layers() {
        let config = T5Config::from_scratch(&FromScratch::default(), 1000);
        let bytes = |storage| bytes_of_parameters(&config, Kind::BFloat16, storage, Device::Cpu);
        let (numbers, levels) = (bytes(Storage::Numbers), bytes(Storage::Levels));
        let ends = u64::try_from(2 * config.vocab_size * config.d_model).unwrap() * 2;
        let half = (numbers - ends) / 2;
        // Norms and biases stay as they are, and columns have scales.
        assert!(levels > numbers - half && levels < numbers - half * 9 / 10, "{numbers} {levels}");
    }
}
