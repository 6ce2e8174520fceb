//! What sequences make a decoder read and write.

use tch::{Device, Tensor};

use super::lessons::Sequence;
use crate::student::Packed;

/// What a decoder reads and must write, end to end.
pub struct Targets {
    /// Targets shifted right.
    pub said: Packed,
    /// The target tokens, `(tokens)` i64.
    pub ids: Tensor,
}

impl Targets {
    /// Shifts targets. `start` is what a decoder reads first.
    pub fn new(sequences: &[&Sequence], start: i64, device: Device) -> Self {
        let shifted: Vec<Vec<i64>> = sequences.iter().map(|sequence| shift(&sequence.target, start)).collect();
        let ids: Vec<i64> = sequences.iter().flat_map(|sequence| sequence.target.iter().copied()).collect();
        Self { said: Packed::new(&shifted, device), ids: Tensor::from_slice(&ids).to_device(device) }
    }
}

fn shift(target: &[i64], start: i64) -> Vec<i64> {
    let before_last = target.split_last().map_or(target, |(_, rest)| rest);
    std::iter::once(start).chain(before_last.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_shifted() {
        let long = Sequence { input: vec![1], target: vec![5, 6, 1] };
        let short = Sequence { input: vec![1], target: vec![7, 1] };
        let targets = Targets::new(&[&long, &short], 0, Device::Cpu);
        let values = |tensor: &Tensor| Vec::<i64>::try_from(tensor).unwrap();
        assert_eq!(values(&targets.said.ids), [0, 5, 6, 0, 7]);
        assert_eq!(values(&targets.ids), [5, 6, 1, 7, 1]);
    }
}
