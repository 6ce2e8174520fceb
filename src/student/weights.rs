//! A T5's tensors by name: drawn anew, and written to `model.safetensors`. Their reading is in `stored_weights`.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{View, serialize_to_file};
use safetensors::{Dtype, SafeTensorError};
use tch::{Device, Kind, Tensor};

use super::parameters::{Initial, parameters};
use super::{StudentError, T5Config};
use crate::layout::SAFETENSORS;

/// A T5's tensors by their Hugging Face names, such as `encoder.block.0.layer.0.SelfAttention.q.weight`.
/// `lm_head.weight` is absent when the output layer is tied to the embedding.
pub type Weights = BTreeMap<String, Tensor>;

/// The embedding.
pub(super) const EMBEDDING: &str = "shared.weight";
/// The output layer, where it has weights of its own.
pub(super) const OUTPUT: &str = "lm_head.weight";

/// Copies of the embedding that older exports store.
const EMBEDDING_COPIES: [&str; 2] = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"];

/// T5's own initialization in fp32 on the processor. Drawn without libtorch's global random state, so that nothing
/// else in the process changes it.
pub fn initial_weights(config: &T5Config, seed: u64) -> Weights {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let draw = |(name, parameter): (String, super::parameters::Parameter)| {
        let tensor = match parameter.initial {
            Initial::Ones => Tensor::ones(&parameter.shape, (Kind::Float, Device::Cpu)),
            Initial::Normal(deviation) => normal(&parameter.shape, deviation, &mut random),
        };
        (name, tensor)
    };
    parameters(config).into_iter().map(draw).collect()
}

/// Normal numbers by Box and Muller's transform.
#[expect(clippy::cast_possible_truncation, reason = "fp32 is what weights are")]
fn normal(shape: &[i64], deviation: f64, random: &mut ChaCha8Rng) -> Tensor {
    let count = usize::try_from(shape.iter().product::<i64>()).unwrap_or_default();
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        // 1 - u lies in (0, 1], where the logarithm is finite.
        let radius = deviation * (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
        let angle = std::f64::consts::TAU * random.random::<f64>();
        values.extend([(radius * angle.cos()) as f32, (radius * angle.sin()) as f32]);
    }
    values.truncate(count);
    Tensor::from_slice(&values).view(shape)
}

/// Older exports store the embedding up to four times; one is kept.
pub(super) fn drop_copies(weights: &mut Weights, config: &T5Config) {
    for copy in EMBEDDING_COPIES {
        if let Some(tensor) = weights.remove(copy) {
            weights.entry(EMBEDDING.to_owned()).or_insert(tensor);
        }
    }
    // A version that says of every T5 that it is tied means those whose output layer is the embedding.
    let is_tied = match config.scale_decoder_outputs {
        None => config.tie_word_embeddings,
        Some(_) => is_copy(weights, OUTPUT, EMBEDDING),
    };
    if is_tied {
        weights.remove(OUTPUT);
    }
}

fn is_copy(weights: &Weights, one: &str, other: &str) -> bool {
    let pair = weights.get(one).zip(weights.get(other));
    pair.is_some_and(|(one, other)| one.size() == other.size() && one.equal(other))
}

/// Refuses weights of which one is not finite, as the numbers that they were read as: nothing that is computed with it is a number.
pub(super) fn check_finite(weights: &Weights) -> Result<(), StudentError> {
    let is_finite = |tensor: &Tensor| {
        // Both are no number where one of the tensor's is none.
        let (least, most) = tensor.aminmax(None, false);
        least.double_value(&[]).is_finite() && most.double_value(&[]).is_finite()
    };
    match weights.iter().find(|(_, tensor)| !is_finite(tensor)) {
        Some((name, _)) => {
            let reason = format!("{name} has numbers that are not finite: were they damaged in training?");
            Err(StudentError::Weights(reason))
        }
        None => Ok(()),
    }
}

/// Writes `model.safetensors` with the tensors in the kind they have. The bytes depend on the tensors alone.
pub fn save_weights(dir: &Path, weights: &Weights) -> Result<(), StudentError> {
    let path = dir.join(SAFETENSORS);
    let stored: Result<Vec<(&str, Stored)>, StudentError> =
        weights.iter().map(|(name, tensor)| Ok((name.as_str(), Stored::new(name, tensor)?))).collect();
    // transformers refuses a file that does not say which framework's layout it has.
    let layout = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    serialize_to_file(stored?, Some(layout), &path).map_err(|error| match error {
        SafeTensorError::IoError(source) => StudentError::File { path, source },
        other => StudentError::malformed(&path, other),
    })
}

/// A tensor as the safetensors writer wants to see it.
struct Stored {
    tensor: Tensor,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl Stored {
    fn new(name: &str, tensor: &Tensor) -> Result<Self, StudentError> {
        let dtype = match tensor.kind() {
            Kind::Float => Dtype::F32,
            Kind::BFloat16 => Dtype::BF16,
            other => return Err(StudentError::Weights(format!("{name} is {other:?}; F32 and BF16 can be written"))),
        };
        let shape = tensor.size().iter().map(|size| usize::try_from(*size).unwrap_or_default()).collect();
        Ok(Self { tensor: tensor.detach().to_device(Device::Cpu).contiguous(), dtype, shape })
    }
}

impl View for Stored {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = vec![0; self.data_len()];
        self.tensor.copy_data_u8(&mut bytes, self.tensor.numel());
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        self.tensor.numel() * self.dtype.bitsize() / 8
    }
}
