//! A T5's tensors by name: drawn anew, read from and written to `model.safetensors`.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Metadata, TensorInfo, View, serialize_to_file};
use safetensors::{Dtype, SafeTensorError};
use tch::{Device, Kind, Tensor};

use super::parameters::{Initial, parameters};
use super::{StudentError, T5Config};

/// A T5's tensors by their Hugging Face names, such as `encoder.block.0.layer.0.SelfAttention.q.weight`.
/// `lm_head.weight` is absent when the output layer is tied to the embedding.
pub type Weights = BTreeMap<String, Tensor>;

/// The file that holds the tensors.
const WEIGHTS_FILE: &str = "model.safetensors";

/// Headers of published models are below 1 MB; this is the limit of the safetensors format's own implementation.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Copies of `shared.weight` that older exports store.
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

/// Reads a folder's `model.safetensors` (F32 or BF16) as `kind` on `device`. Names and shapes are checked where a
/// `T5` is made of them.
pub fn load_weights(dir: &Path, config: &T5Config, device: Device, kind: Kind) -> Result<Weights, StudentError> {
    let path = dir.join(WEIGHTS_FILE);
    if !path.exists() {
        return Err(StudentError::Missing { directory: dir.to_owned(), name: WEIGHTS_FILE, hint: found_instead(dir) });
    }
    let mut file = File::open(&path).map_err(StudentError::file(&path))?;
    let header = read_header(&mut file, &path)?;
    let mut weights = Weights::new();
    for name in header.offset_keys() {
        let info = header.info(&name).ok_or_else(|| StudentError::malformed(&path, "header changed while read"))?;
        let tensor = read_tensor(&mut file, &path, &name, info)?;
        let tensor = tensor.f_to_device(device).and_then(|tensor| tensor.f_to_kind(kind));
        weights.insert(name, tensor.map_err(|error| StudentError::malformed(&path, error))?);
    }
    drop_copies(&mut weights, config);
    Ok(weights)
}

fn found_instead(dir: &Path) -> String {
    let supported = "supported is one file of safetensors with F32 or BF16 tensors";
    let other =
        ["model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json", "flax_model.msgpack"]
            .into_iter()
            .find(|name| dir.join(name).exists());
    other.map_or_else(
        || format!("; {supported}"),
        |name| format!(", but a {name}, which is not supported yet; {supported}"),
    )
}

/// The header, checked against the file's length; the file is left at the first tensor's first byte.
fn read_header(file: &mut File, path: &Path) -> Result<Metadata, StudentError> {
    let file_bytes = file.metadata().map_err(StudentError::file(path))?.len();
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|_| StudentError::malformed(path, "is shorter than a safetensors header"))?;
    let header_bytes = u64::from_le_bytes(length);
    if header_bytes > MAX_HEADER_BYTES.min(file_bytes) {
        return Err(StudentError::malformed(path, format!("is not a safetensors file of {header_bytes} header bytes")));
    }
    let mut header = vec![0; usize::try_from(header_bytes).unwrap_or_default()];
    file.read_exact(&mut header).map_err(StudentError::file(path))?;
    let header: Metadata = serde_json::from_slice(&header)
        .map_err(|error| StudentError::malformed(path, format!("has no safetensors header: {error}")))?;
    let expected = 8 + header_bytes + header.data_len() as u64;
    if expected != file_bytes {
        let reason = format!("has {file_bytes} bytes where its header promises {expected}: an incomplete copy?");
        return Err(StudentError::malformed(path, reason));
    }
    Ok(header)
}

/// The next tensor of the file; tensors lie in the header's order without gaps. Read rather than mapped: a file that
/// shrinks under a map kills the process.
fn read_tensor(file: &mut File, path: &Path, name: &str, info: &TensorInfo) -> Result<Tensor, StudentError> {
    let kind = match info.dtype {
        Dtype::F32 => Kind::Float,
        Dtype::BF16 => Kind::BFloat16,
        other => {
            let reason = format!("{name} is stored as {other:?}; supported are F32 and BF16");
            return Err(StudentError::malformed(path, reason));
        }
    };
    let mut bytes = vec![0; info.data_offsets.1 - info.data_offsets.0];
    file.read_exact(&mut bytes).map_err(StudentError::file(path))?;
    let shape: Result<Vec<i64>, _> = info.shape.iter().map(|size| i64::try_from(*size)).collect();
    let shape = shape.map_err(|_| StudentError::malformed(path, format!("{name} has an impossible shape")))?;
    Tensor::f_from_data_size(&bytes, &shape, kind).map_err(|error| StudentError::malformed(path, error))
}

/// Older exports store the embedding up to four times; one is kept.
fn drop_copies(weights: &mut Weights, config: &T5Config) {
    for copy in EMBEDDING_COPIES {
        if let Some(tensor) = weights.remove(copy) {
            weights.entry("shared.weight".to_owned()).or_insert(tensor);
        }
    }
    if config.tie_word_embeddings {
        weights.remove("lm_head.weight");
    }
}

/// Writes `model.safetensors` with the tensors in the kind they have. The bytes depend on the tensors alone.
pub fn save_weights(dir: &Path, weights: &Weights) -> Result<(), StudentError> {
    let path = dir.join(WEIGHTS_FILE);
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
