//! Proof that the device computes: a T5 of a few numbers, made, read and asked.

use tch::{Device, Kind};

use super::InferenceError;
use crate::domain::FromScratch;
use crate::student::batch::pad;
use crate::student::{T5, T5Config, generation, initial_weights};

/// Reads four tokens and writes two.
pub(super) fn warm_up(device: Device, kind: Kind) -> Result<(), InferenceError> {
    let shape = FromScratch { d_model: 16, d_kv: 8, d_ff: 32, num_layers: 1, num_heads: 2, ..FromScratch::default() };
    let config = T5Config::from_scratch(&shape, 64);
    let mut weights = initial_weights(&config, 0);
    weights.values_mut().for_each(|tensor| *tensor = tensor.to_device(device).to_kind(kind));
    let model =
        T5::new(&config, &weights).map_err(|error| InferenceError::ModelBroken { reason: error.to_string() })?;
    let (ids, mask) = pad(&[vec![5, 6, 7, 1]], config.pad_token_id, device);
    generation::greedy(&model, &ids, &mask, 2);
    Ok(())
}
