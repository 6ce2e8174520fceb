//! Dropout. On a processor libtorch draws it number by number on one thread, a quarter of a small student's training
//! step; here one random byte a number is drawn instead. Seeded through libtorch like every draw of a step.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

/// What a random byte can be.
const BYTES: f64 = 256.0;

/// Zeroes each number with a probability and scales the others up to keep the mean; 0 is off. On a processor the
/// probability is rounded to 256ths.
pub(super) fn drop_out(tensor: Tensor, probability: f64) -> Tensor {
    if probability <= 0.0 {
        return tensor;
    }
    let on_processor = tensor.device() == Device::Cpu && matches!(tensor.kind(), Kind::Float | Kind::BFloat16);
    if on_processor { &tensor * mask(&tensor, probability) } else { tensor.dropout(probability, true) }
}

/// Zeroes and scales, of the tensor's shape and kind.
fn mask(tensor: &Tensor, probability: f64) -> Tensor {
    let dropped = (probability * BYTES).round().clamp(0.0, BYTES - 1.0);
    let kept = random_bytes(tensor.numel()).ge(dropped).to_kind(tensor.kind());
    (kept * (BYTES / (BYTES - dropped))).view(tensor.size().as_slice())
}

fn random_bytes(count: usize) -> Tensor {
    let seed = Tensor::zeros([1], (Kind::Int64, Device::Cpu)).random_().int64_value(&[0]);
    let mut bytes = vec![0; count];
    ChaCha8Rng::seed_from_u64(seed.cast_unsigned()).fill_bytes(&mut bytes);
    Tensor::from_slice(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_dropped_and_the_mean_is_kept() {
        for kind in [Kind::Float, Kind::BFloat16] {
            tch::manual_seed(1);
            let dropped = drop_out(Tensor::ones([200, 500], (kind, Device::Cpu)), 0.1).to_kind(Kind::Float);
            let zeros = dropped.eq(0.0).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
            assert!((zeros - 0.1).abs() < 0.005, "{zeros}");
            assert!((dropped.mean(Kind::Float).double_value(&[]) - 1.0).abs() < 0.01);
        }
    }

    #[test]
    fn the_seed_decides() {
        let draw = |seed| {
            tch::manual_seed(seed);
            drop_out(Tensor::ones([100], (Kind::Float, Device::Cpu)), 0.5)
        };
        assert!(draw(1).equal(&draw(1)));
        assert!(!draw(1).equal(&draw(2)));
    }
}
