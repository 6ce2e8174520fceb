//! A snapshot's files: durable when they are written, verified before they are believed.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

use super::SnapshotError;
use crate::student::Weights;

const CHUNK_BYTES: usize = 1 << 20;

/// A file as the manifest lists it.
#[derive(Debug, Serialize, Deserialize)]
pub struct FileRecord {
    pub name: String,
    bytes: u64,
    sha256: String,
}

impl FileRecord {
    /// The record of a file that was just written; it is on the disk then.
    pub fn seal(folder: &Path, name: &str) -> Result<Self, SnapshotError> {
        let path = folder.join(name);
        sync(&path)?;
        let (bytes, sha256) = digest(&path)?;
        Ok(Self { name: name.to_owned(), bytes, sha256 })
    }

    /// Whether the file is still what was written.
    pub fn verify(&self, folder: &Path) -> Result<(), SnapshotError> {
        let path = folder.join(&self.name);
        let (bytes, sha256) = digest(&path)?;
        if bytes != self.bytes {
            return Err(SnapshotError::damaged(path, format!("has {bytes} bytes, and {} were written", self.bytes)));
        }
        if sha256 != self.sha256 {
            return Err(SnapshotError::damaged(path, "its bytes are not those that were written (sha256 differs)"));
        }
        Ok(())
    }
}

/// An empty folder, whatever lay there.
pub fn fresh_folder(folder: &Path) -> Result<(), SnapshotError> {
    remove(folder)?;
    fs::create_dir_all(folder).map_err(SnapshotError::file(folder))
}

/// Makes a complete folder appear under its final name.
pub fn move_into_place(unfinished: &Path, finished: &Path) -> Result<(), SnapshotError> {
    remove(finished)?;
    fs::rename(unfinished, finished).map_err(SnapshotError::file(finished))?;
    finished.parent().map_or(Ok(()), sync)
}

/// Waits until a file or a folder's list of names is on the disk.
pub fn sync(path: &Path) -> Result<(), SnapshotError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(SnapshotError::file(path))
}

/// Writes tensors by name.
pub fn write_tensors(path: &Path, tensors: &Weights) -> Result<(), SnapshotError> {
    let host = |tensor: &Tensor| tensor.detach().to_device(Device::Cpu).contiguous();
    let named: Vec<(&str, Tensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), host(tensor))).collect();
    Tensor::write_safetensors(&named, path).map_err(|error| SnapshotError::damaged(path, error))
}

/// Reads tensors by name. The file is read here and not by libtorch's bindings, whose error does not tell a disk that fails
/// from bytes that are wrong.
pub fn read_tensors(path: &Path) -> Result<Weights, SnapshotError> {
    let bytes = fs::read(path).map_err(SnapshotError::file(path))?;
    let named = SafeTensors::deserialize(&bytes).map_err(|error| SnapshotError::damaged(path, error))?;
    named.iter().map(|(name, view)| Ok((name.to_owned(), read_tensor(path, name, &view)?))).collect()
}

fn read_tensor(path: &Path, name: &str, view: &TensorView) -> Result<Tensor, SnapshotError> {
    if view.dtype() != Dtype::F32 {
        return Err(SnapshotError::damaged(path, format!("{name} is {:?}; a training keeps F32", view.dtype())));
    }
    let shape: Result<Vec<i64>, _> = view.shape().iter().map(|size| i64::try_from(*size)).collect();
    let shape = shape.map_err(|_| SnapshotError::damaged(path, format!("{name} has an impossible shape")))?;
    Tensor::f_from_data_size(view.data(), &shape, Kind::Float).map_err(|error| SnapshotError::damaged(path, error))
}

/// Bytes as text.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn remove(folder: &Path) -> Result<(), SnapshotError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(SnapshotError::file(folder)(error)),
        _ => Ok(()),
    }
}

fn digest(path: &Path) -> Result<(u64, String), SnapshotError> {
    let mut file = File::open(path).map_err(SnapshotError::file(path))?;
    let (mut digest, mut bytes, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK_BYTES]);
    loop {
        let read = file.read(&mut chunk).map_err(SnapshotError::file(path))?;
        if read == 0 {
            return Ok((bytes, hexadecimal(&digest.finalize())));
        }
        digest.update(&chunk[..read]);
        bytes += read as u64;
    }
}
