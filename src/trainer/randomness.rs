//! Stateless randomness: everything random is drawn from a hash of the job's seed and where it is used, so that there is
//! nothing to save and a resumed training draws what an uninterrupted one would have drawn.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha12Rng;

/// What a draw is for; keeps the draws of one seed apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Draw {
    /// Dropout of one optimizer step.
    Step = 1,
    /// Order of the rows in one epoch.
    Epoch = 2,
    /// Which rows are validation rows.
    Validation = 3,
    /// Which share of the training rows is used.
    Fraction = 4,
    /// Which of a row's rationales comes first.
    Rationale = 5,
    /// Order of the words in a rationale.
    Words = 6,
    /// Which row gets whose rationales.
    Rows = 7,
}

/// A number for the `index`-th draw of a kind under a seed. Not for secrets.
pub fn hash(seed: u64, draw: Draw, index: u64) -> u64 {
    [draw as u64, index].into_iter().fold(mix(seed), |state, word| mix(state ^ word))
}

/// The numbers below `length` in an order that depends on the hash alone.
pub fn order(length: usize, hash: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..length).collect();
    order.shuffle(&mut ChaCha12Rng::seed_from_u64(hash));
    order
}

/// The finalizer of SplitMix64: every bit of the input moves half the bits of the output.
fn mix(state: u64) -> u64 {
    let mut mixed = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_depends_on_seed_kind_and_index_alone() {
        let draw = |seed, kind, index| order(50, hash(seed, kind, index));
        assert_eq!(draw(7, Draw::Epoch, 0), draw(7, Draw::Epoch, 0));
        assert_ne!(draw(7, Draw::Epoch, 0), draw(7, Draw::Epoch, 1));
        assert_ne!(draw(7, Draw::Epoch, 0), draw(8, Draw::Epoch, 0));
        assert_ne!(draw(7, Draw::Epoch, 0), draw(7, Draw::Fraction, 0));
    }

    #[test]
    fn an_order_holds_every_number_once() {
        let mut order = order(100, 3);
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }
}
