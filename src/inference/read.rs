//! What the encoder made of a batch.

use tch::Tensor;

use crate::student::Student;
use crate::student::batch::pad;

/// Inputs as the decoder sees them.
pub(super) struct Read {
    /// (inputs, length, d_model)
    pub encoded: Tensor,
    /// (inputs, length) bool, true for real tokens.
    pub mask: Tensor,
}

impl Read {
    /// Reads inputs, at least one.
    pub fn new(student: &Student, inputs: &[impl AsRef<[i64]>]) -> Self {
        let (ids, mask) = pad(inputs, student.tokenizer.pad_id(), student.device);
        Self { encoded: student.model.encode(&ids, &mask), mask }
    }

    /// Some of them, by their places.
    pub fn select(&self, places: &[usize]) -> Self {
        let places: Vec<i64> = places.iter().map(|place| i64::try_from(*place).unwrap_or_default()).collect();
        let places = Tensor::from_slice(&places).to_device(self.mask.device());
        Self { encoded: self.encoded.index_select(0, &places), mask: self.mask.index_select(0, &places) }
    }

    /// Several, below each other; at least one. Shorter ones are filled up.
    pub fn together(reads: &[Self]) -> Self {
        let longest = reads.iter().map(|read| read.mask.size()[1]).max().unwrap_or_default();
        let filled = |tensor: &Tensor| {
            let mut shape = tensor.size();
            shape[1] = longest;
            let filled = Tensor::zeros(shape, (tensor.kind(), tensor.device()));
            filled.narrow(1, 0, tensor.size()[1]).copy_(tensor);
            filled
        };
        let all = |part: fn(&Self) -> &Tensor| {
            Tensor::cat(&reads.iter().map(|read| filled(part(read))).collect::<Vec<_>>(), 0)
        };
        Self { encoded: all(|read| &read.encoded), mask: all(|read| &read.mask) }
    }
}
