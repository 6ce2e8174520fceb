//! What the encoder made of a batch.

use std::collections::HashMap;

use tch::Tensor;

use crate::student::Student;
use crate::student::batch::pad;

/// Inputs as the decoder sees them.
pub(super) struct EncodedInputs {
    /// (inputs, length, d_model)
    pub encoded: Tensor,
    /// (inputs, length) bool, true for real tokens.
    pub mask: Tensor,
    /// Inputs that the encoder has read for this: the different ones, and none where this is a choice of others.
    pub read: usize,
}

impl EncodedInputs {
    /// Reads inputs, at least one. Equal ones are read once: several answers to one input are drawn side by side.
    pub fn new(student: &Student, inputs: &[impl AsRef<[i64]>]) -> Self {
        let (different, places) = different(inputs.iter().map(AsRef::as_ref));
        let (ids, mask) = pad(&different, student.tokenizer.pad_id(), student.device);
        let read = different.len();
        let encoded = Self { encoded: student.model.encode(&ids, &mask), mask, read };
        if read == inputs.len() { encoded } else { Self { read, ..encoded.select(&places) } }
    }

    /// Some of them, by their places.
    pub fn select(&self, places: &[usize]) -> Self {
        let places: Vec<i64> = places.iter().map(|place| i64::try_from(*place).unwrap_or_default()).collect();
        let places = Tensor::from_slice(&places).to_device(self.mask.device());
        Self { encoded: self.encoded.index_select(0, &places), mask: self.mask.index_select(0, &places), read: 0 }
    }

    /// Several, below each other; at least one. Shorter ones are filled up.
    pub fn together(all: &[Self]) -> Self {
        let longest = all.iter().map(|inputs| inputs.mask.size()[1]).max().unwrap_or_default();
        let filled = |tensor: &Tensor| {
            let mut shape = tensor.size();
            shape[1] = longest;
            let filled = Tensor::zeros(shape, (tensor.kind(), tensor.device()));
            filled.narrow(1, 0, tensor.size()[1]).copy_(tensor);
            filled
        };
        let below = |part: fn(&Self) -> &Tensor| {
            Tensor::cat(&all.iter().map(|inputs| filled(part(inputs))).collect::<Vec<_>>(), 0)
        };
        Self { encoded: below(|inputs| &inputs.encoded), mask: below(|inputs| &inputs.mask), read: 0 }
    }
}

/// The inputs that differ, and the place of each input among them.
fn different<'a>(inputs: impl Iterator<Item = &'a [i64]>) -> (Vec<&'a [i64]>, Vec<usize>) {
    let (mut different, mut numbers) = (Vec::new(), HashMap::new());
    let number = |input| {
        *numbers.entry(input).or_insert_with(|| {
            different.push(input);
            different.len() - 1
        })
    };
    let places = inputs.map(number).collect();
    (different, places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_inputs_are_read_once() {
        let inputs: [&[i64]; 5] = [&[5, 1], &[6, 1], &[5, 1], &[5, 6, 1], &[6, 1]];
        let (read, places) = different(inputs.into_iter());
        assert_eq!(read, [&[5, 1][..], &[6, 1], &[5, 6, 1]]);
        assert_eq!(places.iter().map(|place| read[*place]).collect::<Vec<_>>(), inputs);
    }
}
