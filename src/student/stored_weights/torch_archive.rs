//! `pytorch_model.bin`: the archive that `torch.save` writes of a state dict, a zip of a pickle and the tensors' numbers.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use tch::{Device, Kind, Tensor};
use zip::{CompressionMethod, ZipArchive};

use super::MAX_PICKLE_BYTES;
use super::pickle::{StoredTensor, state_dict};
use super::torch_storage::{self, Storages};
use crate::student::{StudentError, Weights};

/// The tensors of one archive, by name.
pub fn read_archive(path: &Path, device: Device, kind: Kind) -> Result<Weights, StudentError> {
    let file = File::open(path).map_err(StudentError::file(path))?;
    let zip = ZipArchive::new(file).map_err(|error| {
        let reason = format!("is no archive of torch.save ({error}): an incomplete copy?");
        StudentError::malformed(path, reason)
    })?;
    let malformed = |reason: String| StudentError::malformed(path, reason);
    let mut archive = Archive { zip };
    let (folder, pickle) = archive.pickle().map_err(malformed)?;
    let found = state_dict(&pickle[..]).map_err(|reason| malformed(format!("its pickle is refused: {reason}")))?;
    let mut storages = Storages::new(&found).map_err(malformed)?;
    let mut weights = Weights::new();
    for (name, stored) in found {
        let tensor = storages.tensor(&stored, || archive.storage(&folder, &stored));
        let tensor = tensor.map_err(|reason| malformed(format!("{name}: {reason}")))?;
        let tensor = tensor.f_to_device(device).and_then(|tensor| tensor.f_to_kind(kind));
        weights.insert(name, tensor.map_err(|error| StudentError::malformed(path, error))?);
    }
    Ok(weights)
}

struct Archive {
    zip: ZipArchive<File>,
}

impl Archive {
    /// The archive's folder and its `data.pkl`.
    fn pickle(&mut self) -> Result<(String, Vec<u8>), String> {
        let folder = {
            let mut names = self.zip.file_names().filter_map(Result::ok);
            names.find_map(|name| Some(name.strip_suffix("/data.pkl")?.to_owned()))
        };
        let folder = folder.ok_or("it has no data.pkl, which torch.save writes")?;
        if let Ok(order) = self.bytes(&format!("{folder}/byteorder"), 16)
            && order != b"little"
        {
            return Err("its numbers are big-endian".to_owned());
        }
        let pickle = self.bytes(&format!("{folder}/data.pkl"), MAX_PICKLE_BYTES)?;
        Ok((folder, pickle))
    }

    /// A file of the archive. Stored, never compressed: what is read is as long as what lies on disk.
    fn bytes(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, String> {
        let entry = self.zip.by_name(name).map_err(|error| format!("its {name} cannot be read: {error}"))?;
        if entry.compression() != CompressionMethod::Stored || entry.size() > limit {
            return Err(format!("its {name} is compressed or larger than {limit} bytes, as torch.save writes none"));
        }
        let mut bytes = Vec::new();
        entry.take(limit).read_to_end(&mut bytes).map_err(|error| format!("its {name} cannot be read: {error}"))?;
        Ok(bytes)
    }

    fn storage(&mut self, folder: &str, stored: &StoredTensor) -> Result<Tensor, String> {
        let (_, expected) = torch_storage::layout(stored)?;
        let bytes = self.bytes(&format!("{folder}/data/{}", stored.key), expected)?;
        torch_storage::storage(stored, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    /// An archive with these files, as `torch.save` writes one.
    fn archive(files: &[(&str, &[u8])]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut zip = ZipWriter::new(file.reopen().unwrap());
        for (name, bytes) in files {
            let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
            zip.start_file(format!("pytorch_model/{name}"), options).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap();
        file
    }

    /// `{"a": tensor}`: two rows of three numbers, of which so many begin at `offset`.
    fn pickle(offset: u8) -> Vec<u8> {
        let mut pickle =
            b"\x80\x02}(X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage".to_vec();
        pickle.extend(b"ctorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQK");
        pickle.push(offset);
        pickle.extend(b"K\x02K\x03\x86K\x01K\x02\x86\x89ccollections\nOrderedDict\n)RtRu.");
        pickle
    }

    fn numbers() -> Vec<u8> {
        (0u8..6).flat_map(|number| f32::from(number).to_le_bytes()).collect()
    }

    #[test]
    fn a_view_of_a_storage_is_read_as_it_lies() {
        let file = archive(&[("data.pkl", &pickle(0)), ("byteorder", b"little"), ("data/0", &numbers())]);
        let weights = read_archive(file.path(), Device::Cpu, Kind::Float).unwrap();
        // Stored column by column.
        assert!(weights["a"].equal(&Tensor::from_slice(&[0f32, 2.0, 4.0, 1.0, 3.0, 5.0]).view([2, 3])));
    }

    #[test]
    fn what_does_not_hold_together_is_refused_with_its_name() {
        let refused = |files: &[(&str, &[u8])], words: &str| {
            let file = archive(files);
            let error = read_archive(file.path(), Device::Cpu, Kind::Float).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains(file.path().to_str().unwrap()), "{error} lacks {words}");
        };
        refused(&[("data/0", &numbers())], "no data.pkl");
        refused(&[("data.pkl", &pickle(0))], "a: its pytorch_model/data/0 cannot be read");
        refused(&[("data.pkl", &pickle(0)), ("data/0", &numbers()[..20])], "20 bytes where 24");
        refused(&[("data.pkl", &pickle(1)), ("data/0", &numbers())], "a: does not lie within its storage");
        refused(&[("data.pkl", &pickle(0)), ("byteorder", b"big"), ("data/0", &numbers())], "big-endian");
        refused(&[("data.pkl", b"cposix\nsystem\n)R.")], "posix.system");
    }
}
