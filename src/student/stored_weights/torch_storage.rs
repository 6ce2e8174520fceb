//! What the files of `torch.save` have in common: storages of numbers, and the tensors that look at them.

use std::collections::HashMap;

use tch::{Kind, Tensor};

use super::pickle::StoredTensor;

/// The storages of one file, each kept until the last of its tensors is made.
pub struct Storages {
    read: HashMap<String, Tensor>,
    users: HashMap<String, Users>,
}

/// The tensors of a storage.
struct Users {
    all: usize,
    left: usize,
    /// What they say of their storage.
    storage: (String, i64),
}

impl Storages {
    /// None read yet, of a file with these tensors.
    ///
    /// # Errors
    /// Names a tensor that describes its storage otherwise than another one does.
    pub fn new(tensors: &[(String, StoredTensor)]) -> Result<Self, String> {
        let mut users: HashMap<String, Users> = HashMap::new();
        for (name, tensor) in tensors {
            let storage = (tensor.storage_type.clone(), tensor.numel);
            let none = Users { all: 0, left: 0, storage: storage.clone() };
            let users = users.entry(tensor.key.clone()).or_insert(none);
            if users.storage != storage {
                return Err(format!("{name}: another tensor says otherwise what its storage is"));
            }
            (users.all, users.left) = (users.all + 1, users.left + 1);
        }
        Ok(Self { read: HashMap::new(), users })
    }

    /// Keeps a storage that was read.
    pub fn keep(&mut self, key: &str, storage: Tensor) {
        self.read.insert(key.to_owned(), storage);
    }

    /// A tensor of the file, whose storage is read where it is not kept.
    pub fn tensor(
        &mut self,
        stored: &StoredTensor,
        read: impl FnOnce() -> Result<Tensor, String>,
    ) -> Result<Tensor, String> {
        check_view(stored)?;
        let storage = self.read.remove(&stored.key).map_or_else(read, Ok)?;
        let users = self.users.get_mut(&stored.key).ok_or("is no tensor of this file")?;
        users.left = users.left.saturating_sub(1);
        if users.left > 0 {
            self.read.insert(stored.key.clone(), storage.shallow_clone());
        }
        let view = storage.f_as_strided(&stored.size, &stored.stride, stored.offset);
        let whole = view.and_then(|view| view.f_contiguous());
        // A training writes its weights in place: tensors that share numbers in the file must not share memory.
        let own = if users.all > 1 { whole.and_then(|whole| whole.f_detach_copy()) } else { whole };
        own.map_err(|error| error.to_string())
    }
}

/// What a storage holds, and the bytes of it.
pub fn layout(stored: &StoredTensor) -> Result<(Kind, u64), String> {
    let (kind, width) = match stored.storage_type.as_str() {
        "FloatStorage" => (Kind::Float, 4),
        "BFloat16Storage" => (Kind::BFloat16, 2),
        "HalfStorage" => (Kind::Half, 2),
        "DoubleStorage" => (Kind::Double, 8),
        other => return Err(format!("is stored as {other}; supported are F32, BF16, F16 and F64")),
    };
    let bytes = u64::try_from(stored.numel).ok().and_then(|numel| numel.checked_mul(width));
    Ok((kind, bytes.ok_or("has an impossible storage")?))
}

/// A storage of these bytes.
///
/// # Errors
/// Where they are not as many as [`layout`] says.
pub fn storage(stored: &StoredTensor, bytes: &[u8]) -> Result<Tensor, String> {
    let (kind, expected) = layout(stored)?;
    let found = bytes.len() as u64;
    if found != expected {
        return Err(format!("has {found} bytes where {expected} are promised: an incomplete copy?"));
    }
    Tensor::f_from_data_size(bytes, &[stored.numel], kind).map_err(|error| error.to_string())
}

/// A view that stays within its storage; libtorch would grow the storage instead.
fn check_view(stored: &StoredTensor) -> Result<(), String> {
    let last = || {
        let dimensions = stored.size.iter().zip(&stored.stride).map(|(size, stride)| {
            // No T5 has an empty tensor, nor one that runs backwards.
            (*size > 0 && *stride >= 0).then(|| (size - 1).checked_mul(*stride))?
        });
        let mut last = Some(stored.offset).filter(|offset| *offset >= 0);
        for reach in dimensions {
            last = last?.checked_add(reach?);
        }
        last
    };
    let fits = stored.size.len() == stored.stride.len() && last().is_some_and(|last| last < stored.numel);
    if fits { Ok(()) } else { Err("does not lie within its storage".to_owned()) }
}
