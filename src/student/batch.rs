//! Rows of token ids as one tensor.

use tch::{Device, Tensor};

/// Pads rows at their ends to the longest one: ids (rows, longest) as i64 and the mask (rows, longest) as bool, true
/// for real tokens. `rows` must not be empty.
pub fn pad(rows: &[impl AsRef<[i64]>], pad_id: i64, device: Device) -> (Tensor, Tensor) {
    let longest = rows.iter().map(|tokens| tokens.as_ref().len()).max().unwrap_or_default();
    let mut ids = vec![pad_id; rows.len() * longest];
    let mut mask = vec![false; rows.len() * longest];
    for (row, tokens) in rows.iter().map(AsRef::as_ref).enumerate() {
        let start = row * longest;
        ids[start..start + tokens.len()].copy_from_slice(tokens);
        mask[start..start + tokens.len()].fill(true);
    }
    let shape = [size(rows.len()), size(longest)];
    let tensor = |flat: Tensor| flat.view(shape).to_device(device);
    (tensor(Tensor::from_slice(&ids)), tensor(Tensor::from_slice(&mask)))
}

/// A length as libtorch counts.
pub(super) fn size(length: usize) -> i64 {
    i64::try_from(length).expect("nothing in memory is longer than i64 counts")
}
