//! `pytorch_model.bin` from before PyTorch 1.6, as some models of the Hub still are: five pickles and the storages' numbers, one
//! after the other.
//!
//! ```text
//! magic number | protocol version | about the machine | state dict | [key, …] | count, numbers | count, numbers | …
//! ```

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::Path;

use tch::{Device, Kind};

use super::MAX_PICKLE_BYTES;
use super::pickle::{self, StoredTensor};
use super::torch_storage::{self, Storages};
use crate::student::{StudentError, Weights};

/// The first two pickles: the magic number, and 1001, the one version of this format.
const BEGINNING: &[u8] = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.";

/// Whether a file begins as this format does.
pub fn is_legacy(path: &Path) -> bool {
    let mut beginning = [0; BEGINNING.len()];
    File::open(path).and_then(|mut file| file.read_exact(&mut beginning)).is_ok() && beginning == BEGINNING
}

/// The tensors of such a file, by name.
pub fn read_legacy(path: &Path, device: Device, kind: Kind) -> Result<Weights, StudentError> {
    let file = File::open(path).map_err(StudentError::file(path))?;
    let malformed = |reason: String| StudentError::malformed(path, reason);
    let mut weights = Weights::new();
    let mut reader = BufReader::new(file);
    let (found, keys) = pickles(&mut reader).map_err(|reason| malformed(format!("its pickle is refused: {reason}")))?;
    let mut storages = numbers(&mut reader, &found, &keys).map_err(malformed)?;
    for (name, stored) in &found {
        let tensor = storages.tensor(stored, || Err("its numbers are not in the file".to_owned()));
        let tensor = tensor.map_err(|reason| malformed(format!("{name}: {reason}")))?;
        let tensor = tensor.f_to_device(device).and_then(|tensor| tensor.f_to_kind(kind));
        weights.insert(name.clone(), tensor.map_err(|error| StudentError::malformed(path, error))?);
    }
    Ok(weights)
}

type Pickles = (Vec<(String, StoredTensor)>, Vec<String>);

/// The state dict, and the keys of the storages in the order in which their numbers follow.
fn pickles(reader: &mut impl BufRead) -> Result<Pickles, String> {
    let mut limited = reader.take(MAX_PICKLE_BYTES);
    let mut beginning = [0; BEGINNING.len()];
    limited.read_exact(&mut beginning).map_err(|error| error.to_string())?;
    if !pickle::is_little_endian(&mut limited)? {
        return Err("its numbers are big-endian".to_owned());
    }
    Ok((pickle::state_dict(&mut limited)?, pickle::texts(&mut limited)?))
}

/// Every storage, each with as many numbers as its tensors were promised, up to the file's end.
fn numbers(
    reader: &mut BufReader<File>,
    found: &[(String, StoredTensor)],
    keys: &[String],
) -> Result<Storages, String> {
    let of_key: HashMap<&str, &(String, StoredTensor)> =
        found.iter().rev().map(|named| (named.1.key.as_str(), named)).collect();
    let mut storages = Storages::new(found)?;
    let mut seen = HashSet::new();
    for key in keys {
        let (name, stored) = of_key.get(key.as_str()).ok_or_else(|| format!("has a storage {key} of no tensor"))?;
        if !seen.insert(key) {
            return Err(format!("{name}: its storage comes twice"));
        }
        let (_, bytes) = torch_storage::layout(stored).map_err(|reason| format!("{name}: {reason}"))?;
        let bytes = storage_bytes(reader, stored.numel, bytes).map_err(|reason| format!("{name}: {reason}"))?;
        storages.keep(key, torch_storage::storage(stored, &bytes)?);
    }
    match reader.fill_buf() {
        Ok([]) => Ok(storages),
        _ => Err("goes on after its last tensor".to_owned()),
    }
}

/// The next storage's bytes. Memory is set aside for what is there, not for what is promised.
fn storage_bytes(reader: &mut BufReader<File>, numel: i64, bytes: u64) -> Result<Vec<u8>, String> {
    let mut count = [0; 8];
    reader.read_exact(&mut count).map_err(|_| "breaks off before its numbers: an incomplete copy?")?;
    let count = i64::from_le_bytes(count);
    if count != numel {
        return Err(format!("has {count} numbers where {numel} are promised"));
    }
    let end = reader.get_ref().metadata().map_err(|error| error.to_string())?.len();
    let left = end.saturating_sub(reader.stream_position().map_err(|error| error.to_string())?);
    if bytes > left {
        return Err(format!("has {left} bytes left where {bytes} are promised: an incomplete copy?"));
    }
    let mut read = Vec::new();
    reader.take(bytes).read_to_end(&mut read).map_err(|error| error.to_string())?;
    Ok(read)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tch::Tensor;

    use super::*;

    /// `OrderedDict(a=arange(6.).view(2, 3), b=a.t(), c=tensor([1, 2], dtype=bfloat16))`, as
    /// `torch.save(…, _use_new_zipfile_serialization=False)` of PyTorch 2.11 writes it.
    const WRITTEN: &[u8] = include_bytes!("torch_legacy_sample.bin");

    fn read(bytes: &[u8]) -> Result<Weights, StudentError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        assert!(is_legacy(file.path()) || bytes.len() < BEGINNING.len());
        read_legacy(file.path(), Device::Cpu, Kind::Float)
    }

    /// The file with every `part` replaced.
    fn replaced(bytes: &[u8], part: &[u8], other: &[u8]) -> Vec<u8> {
        let (mut changed, mut rest) = (Vec::new(), bytes);
        while let Some((first, after)) = rest.split_first() {
            match rest.strip_prefix(part) {
                Some(after) => {
                    changed.extend(other);
                    rest = after;
                }
                None => {
                    changed.push(*first);
                    rest = after;
                }
            }
        }
        assert_ne!(changed, bytes);
        changed
    }

    #[test]
    fn what_torch_wrote_is_read_and_tensors_share_no_memory() {
        let mut weights = read(WRITTEN).unwrap();
        let a = Tensor::arange(6, (Kind::Float, Device::Cpu)).view([2, 3]);
        assert!(weights["a"].equal(&a) && weights["b"].equal(&a.tr()) && weights.len() == 3);
        assert!(weights["c"].equal(&Tensor::from_slice(&[1_f32, 2.0])));
        let _ = weights.get_mut("a").unwrap().fill_(9.0);
        assert!(weights["b"].equal(&a.tr()));
    }

    #[test]
    fn a_part_of_a_file_is_refused_and_more_than_a_file_is_too() {
        for length in BEGINNING.len()..WRITTEN.len() {
            read(&WRITTEN[..length]).unwrap_err();
        }
        let error = read(&[WRITTEN, b"\0"].concat()).unwrap_err().to_string();
        assert!(error.contains("goes on after its last tensor"), "{error}");
    }

    #[test]
    fn no_byte_of_a_file_makes_it_panic() {
        for place in BEGINNING.len()..WRITTEN.len() {
            for byte in [0, 0x28, 0x51, 0xff] {
                let mut broken = WRITTEN.to_vec();
                broken[place] = byte;
                drop(read(&broken));
            }
        }
    }

    #[test]
    fn counts_keys_names_and_machines_must_be_right() {
        let refused = |bytes: &[u8], words: &str| {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.contains(words), "{error} lacks {words}");
        };
        let (six, many) = (6_i64.to_le_bytes(), i64::from(i32::MAX).to_le_bytes());
        refused(&replaced(WRITTEN, &six, &7_i64.to_le_bytes()), "a: has 7 numbers where 6 are promised");
        refused(&replaced(WRITTEN, &six, &(-6_i64).to_le_bytes()), "a: has -6 numbers");
        // The pickle and the count agree on 8 GiB that are not there.
        let promised = replaced(WRITTEN, b"K\x06Nt", b"J\xff\xff\xff\x7fNt");
        refused(&replaced(&promised, &six, &many), "24 bytes left where 8589934588 are promised");
        refused(&replaced(WRITTEN, b"q\x0fh\x07K\x06", b"q\x0fh\x07K\x07"), "b: another tensor says otherwise");
        refused(
            &replaced(WRITTEN, b"94275430186528q\x02", b"94275430186529q\x02"),
            "a storage 94275430186529 of no tensor",
        );
        refused(&replaced(WRITTEN, b"94275326900192q\x01", b"94275430186528q\x01"), "a: has 2 numbers");
        refused(&replaced(WRITTEN, b"little_endianq\x02\x88", b"little_endianq\x02\x89"), "big-endian");
        refused(
            &replaced(WRITTEN, b"torch._utils\n_rebuild_tensor_v2", b"posix\nsystem"),
            "posix.system, and only tensors",
        );
        refused(&replaced(WRITTEN, b"FloatStorage\n", b"QuantStorage\n"), "QuantStorage; supported are");
        refused(&replaced(WRITTEN, b"K\x06Nt", b"K\x06K\x00t"), "in a form that is not known");
    }
}
