//! How the window is divided among workers: each gets what it wants where there is enough, and otherwise none has more
//! than another that wants more (max-min fairness). What nobody wants is divided as well, so that no call has to wait
//! for the next division.

use crate::domain::{PaceShare, WorkerId};

/// What `mine`, among the others that are alive, is entitled to of `total`. `round` says whose turn it is to have what
/// cannot be divided, so that of two workers and one permit each gets it at times.
pub(super) fn entitled(total: u32, mine: PaceShare, others: &[PaceShare], round: u64) -> u32 {
    let mut claims: Vec<(WorkerId, u32)> = others.iter().chain([&mine]).map(|one| (one.worker, one.wanted)).collect();
    claims.sort_by_key(|(worker, _)| *worker);
    let turn = usize::try_from(round % claims.len() as u64).unwrap_or_default();
    claims.rotate_left(turn);
    // The modest first; of equals the one whose turn it is comes last, and so gets what is left over.
    claims.reverse();
    claims.sort_by_key(|(_, wanted)| *wanted);
    let mut left = total;
    let mut shares = Vec::with_capacity(claims.len());
    for (place, (worker, wanted)) in claims.iter().enumerate() {
        let share = (*wanted).min(left / (claims.len() - place) as u32);
        left -= share;
        shares.push((*worker, share));
    }
    // What nobody wants.
    let count = shares.len() as u32;
    let place = shares.iter().position(|(worker, _)| *worker == mine.worker).unwrap_or_default();
    let spare = left / count + u32::from((count - 1 - place as u32) < left % count);
    shares[place].1 + spare
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha12Rng;
    use uuid::Uuid;

    use super::*;

    fn share(worker: u128, wanted: u32) -> PaceShare {
        PaceShare { worker: WorkerId(Uuid::from_u128(worker)), permits: 0, wanted }
    }

    fn divide(total: u32, wants: &[u32], round: u64) -> Vec<u32> {
        let all: Vec<_> = wants.iter().zip(1..).map(|(wanted, worker)| share(worker, *wanted)).collect();
        let mine = |place: usize| {
            let others: Vec<_> = all.iter().filter(|one| one.worker != all[place].worker).copied().collect();
            entitled(total, all[place], &others, round)
        };
        (0..all.len()).map(mine).collect()
    }

    #[test]
    fn the_modest_get_what_they_want_and_the_others_the_same() {
        assert_eq!(divide(64, &[64], 0), [64]);
        assert_eq!(divide(64, &[64, 64], 0), [32, 32]);
        assert_eq!(divide(64, &[10, 64, 100], 0), [10, 27, 27]);
        assert_eq!(divide(64, &[3, 5], 0), [31, 33]);
        assert_eq!(divide(64, &[0], 0), [64]);
    }

    #[test]
    fn what_cannot_be_divided_goes_round() {
        assert_eq!([0, 1, 2].map(|round| divide(1, &[5, 5], round)), [[1, 0], [0, 1], [1, 0]]);
    }

    #[test]
    fn every_division_is_whole() {
        let mut chance = ChaCha12Rng::seed_from_u64(1);
        for _ in 0..2000 {
            let wants: Vec<u32> = (0..chance.random_range(1..7)).map(|_| chance.random_range(0..40)).collect();
            let (total, round) = (chance.random_range(1..100), chance.random_range(0..9));
            let shares = divide(total, &wants, round);
            assert_eq!(shares.iter().sum::<u32>(), total, "{wants:?} in round {round}");
            let pairs = wants.iter().zip(&shares);
            let lacking: Vec<u32> = pairs.filter(|(want, share)| share < want).map(|(_, share)| *share).collect();
            // Whoever gets less than it wants has no less than anybody else, but for what cannot be divided.
            let most = *shares.iter().max().unwrap();
            assert!(lacking.iter().all(|share| share + 1 >= most), "{wants:?}: {shares:?}");
        }
    }
}
