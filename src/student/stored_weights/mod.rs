//! A T5's tensors read from its folder: from safetensors or from what `torch.save` wrote, in one file or in shards with an
//! index.

mod pickle;
mod torch_archive;
mod torch_legacy;
mod torch_storage;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use tch::{Device, Kind, Tensor};

use self::torch_archive::read_archive;
use self::torch_legacy::{is_legacy, read_legacy};
use super::error::is_there;
use super::weights::drop_copies;
use super::{StudentError, T5Config, Weights};
use crate::layout::{SAFETENSORS, ShardIndex, TORCH_ARCHIVE, WEIGHT_FILES};

/// How a file's tensors are read.
type ReadFile = fn(&Path, Device, Kind) -> Result<Weights, StudentError>;

/// Headers of published models are below 1 MB; this is the limit of the safetensors format's own implementation.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The pickle of a state dict holds names and shapes alone.
const MAX_PICKLE_BYTES: u64 = 64 << 20;

/// Reads a folder's `model.safetensors` (F32, BF16, F16 or F64), the shards that `model.safetensors.index.json` lists, or the same of
/// `pytorch_model.bin`, as `kind` on `device`. Names and shapes are checked where a `T5` is made of them.
///
/// # Errors
/// Names the file, and the tensor, at fault: a shard that is not there, a tensor that is not in the shard that the index
/// says, one that no index knows; of a `pytorch_model.bin` everything that is no tensor.
pub fn load_weights(dir: &Path, config: &T5Config, device: Device, kind: Kind) -> Result<Weights, StudentError> {
    for (name, index) in WEIGHT_FILES {
        let read: ReadFile = if name == TORCH_ARCHIVE { read_torch } else { read_safetensors };
        let (whole, index) = (dir.join(name), dir.join(index));
        let weights = if is_there(&whole)? {
            read(&whole, device, kind)
        } else if is_there(&index)? {
            read_shards(dir, &index, |path| read(path, device, kind))
        } else {
            continue;
        };
        let mut weights = weights?;
        drop_copies(&mut weights, config);
        return Ok(weights);
    }
    Err(StudentError::Missing { directory: dir.to_owned(), name: SAFETENSORS, hint: found_instead(dir) })
}

/// Every shard of an index, each with exactly the tensors that the index places there.
fn read_shards(
    dir: &Path,
    index: &Path,
    read: impl Fn(&Path) -> Result<Weights, StudentError>,
) -> Result<Weights, StudentError> {
    let mut weights = Weights::new();
    for (shard, names) in ShardIndex::read(index).map_err(StudentError::file(index))?.shards() {
        let path = dir.join(shard);
        let tensors = read(&path)?;
        let found: BTreeSet<&str> = tensors.keys().map(String::as_str).collect();
        if let Some(name) = names.symmetric_difference(&found).next() {
            let has = if found.contains(name) { "holds" } else { "lacks" };
            let reason = format!("{has} {name}, otherwise than {} says: shards of two models?", index.display());
            return Err(StudentError::malformed(&path, reason));
        }
        weights.extend(tensors);
    }
    Ok(weights)
}

/// The tensors of what `torch.save` wrote, in either of its formats.
fn read_torch(path: &Path, device: Device, kind: Kind) -> Result<Weights, StudentError> {
    if is_legacy(path) { read_legacy(path, device, kind) } else { read_archive(path, device, kind) }
}

/// The tensors of one file of safetensors.
fn read_safetensors(path: &Path, device: Device, kind: Kind) -> Result<Weights, StudentError> {
    let mut file = File::open(path).map_err(StudentError::file(path))?;
    let header = read_header(&mut file, path)?;
    let mut weights = Weights::new();
    for name in header.offset_keys() {
        let info = header.info(&name).ok_or_else(|| StudentError::malformed(path, "header changed while read"))?;
        let tensor = read_tensor(&mut file, path, &name, info)?;
        let tensor = tensor.f_to_device(device).and_then(|tensor| tensor.f_to_kind(kind));
        weights.insert(name, tensor.map_err(|error| StudentError::malformed(path, error))?);
    }
    Ok(weights)
}

fn found_instead(dir: &Path) -> String {
    let supported = "supported are safetensors and pytorch_model.bin, in one file or in shards";
    let other = ["flax_model.msgpack", "tf_model.h5"].into_iter().find(|name| dir.join(name).exists());
    other
        .map_or_else(|| format!("; {supported}"), |name| format!(", but a {name}, which is not supported; {supported}"))
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
        Dtype::F16 => Kind::Half,
        Dtype::F64 => Kind::Double,
        other => {
            let reason = format!("{name} is stored as {other:?}; supported are F32, BF16, F16 and F64");
            return Err(StudentError::malformed(path, reason));
        }
    };
    let mut bytes = vec![0; info.data_offsets.1 - info.data_offsets.0];
    file.read_exact(&mut bytes).map_err(StudentError::file(path))?;
    let shape: Result<Vec<i64>, _> = info.shape.iter().map(|size| i64::try_from(*size)).collect();
    let shape = shape.map_err(|_| StudentError::malformed(path, format!("{name} has an impossible shape")))?;
    Tensor::f_from_data_size(&bytes, &shape, kind).map_err(|error| StudentError::malformed(path, error))
}
