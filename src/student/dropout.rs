//! Dropout, drawn without state: each place where a T5 drops numbers has a seed of its own, made from the step's.

use tch::Tensor;

use crate::native::{self, Dropping};

/// Dropout at one place, or at all the places below it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout(Dropping);

impl Dropout {
    /// Drops nothing.
    pub const NONE: Self = Self(Dropping { probability: 0.0, seed: 0 });

    /// Drops each number with a probability in [0, 1).
    pub fn new(probability: f64, seed: u64) -> Self {
        Self(Dropping { probability, seed })
    }

    /// The dropout of one of the places inside this one.
    pub fn at(self, place: i64) -> Self {
        let mixed = (self.0.seed ^ place.cast_unsigned().wrapping_add(1)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self(Dropping { seed: mixed ^ (mixed >> 29), ..self.0 })
    }

    /// What a kernel is told.
    pub(super) fn dropping(self) -> Dropping {
        self.0
    }

    /// Zeroes some numbers and scales the others up to keep the mean.
    pub(super) fn of(self, tensor: Tensor) -> Tensor {
        match self.0.probability {
            probability if probability <= 0.0 => tensor,
            _ if native::serves(&tensor) => native::add_dropped(None, &tensor, self.0),
            probability => {
                // libtorch draws from one generator; begun anew at each place, it draws the same again when a layer is
                // computed again.
                tch::manual_seed(self.0.seed.cast_signed());
                tensor.dropout(probability, true)
            }
        }
    }

    /// A residual stream with what is added to it, some of that dropped.
    pub(super) fn add(self, residual: &Tensor, added: Tensor) -> Tensor {
        if self.0.probability > 0.0 && native::serves(&added) {
            return native::add_dropped(Some(residual), &added, self.0);
        }
        residual + self.of(added)
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    fn ones(kind: Kind) -> Tensor {
        Tensor::ones([200, 500], (kind, Device::Cpu))
    }

    #[test]
    fn a_tenth_is_dropped_and_the_mean_is_kept() {
        for kind in [Kind::Float, Kind::BFloat16] {
            let dropped = Dropout::new(0.1, 1).of(ones(kind)).to_kind(Kind::Float);
            let zeros = dropped.eq(0.0).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
            assert!((zeros - 0.1).abs() < 0.005, "{zeros}");
            assert!((dropped.mean(Kind::Float).double_value(&[]) - 1.0).abs() < 0.01);
        }
    }

    #[test]
    fn seed_and_place_decide() {
        let dropout = Dropout::new(0.5, 7);
        // By our kernel, and by libtorch as on a GPU.
        for kind in [Kind::Float, Kind::Double] {
            let draw = |dropout: Dropout| dropout.of(ones(kind));
            assert!(draw(dropout.at(3)).equal(&draw(dropout.at(3))), "{kind:?}");
            for other in [dropout, dropout.at(4), dropout.at(3).at(0), Dropout::new(0.5, 8).at(3)] {
                // Half of two independent draws agree.
                let same = draw(dropout.at(3)).eq_tensor(&draw(other)).to_kind(Kind::Float);
                let same = same.mean(Kind::Float).double_value(&[]);
                assert!((same - 0.5).abs() < 0.02, "{kind:?}, {other:?}: {same}");
            }
        }
    }
}
