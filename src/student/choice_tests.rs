//! Draws against the distribution that they are drawn from, cuts to the token, and scores against the whole softmax.

use super::*;
use crate::student::drawing::{seed_of_answer, uncut};

const FREE: Sampling = Sampling { temperature: 1.0, top_p: 1.0, top_k: None, seed: 0 };

/// Scores of five tokens that a softmax makes 0.4, 0.3, 0.15, 0.1 and 0.05, in this order: 1, 4, 0, 3, 2.
fn scores() -> [f32; 5] {
    [0.15_f32, 0.4, 0.05, 0.1, 0.3].map(f32::ln)
}

fn matrix(rows: &[[f32; 5]]) -> Tensor {
    Tensor::from_slice(&rows.concat()).view([size(rows.len()), 5])
}

/// How often each token is drawn in so many positions.
fn shares(sampling: Sampling, draws: usize) -> [f64; 5] {
    let (choosing, logits) = (Choosing::Drawn(sampling), matrix(&[scores()]));
    let mut counts = [0_usize; 5];
    for position in 0..draws {
        let wish = Wish { choosing: &choosing, scores: Scores::None, position };
        counts[usize::try_from(choose(&logits, &[wish])[0].token).unwrap()] += 1;
    }
    counts.map(|count| count as f64 / draws as f64)
}

/// Panics where a share lies further from its expectation than five standard deviations: one test in a million of honest draws.
fn close(found: [f64; 5], expected: [f64; 5], draws: usize) {
    for (found, expected) in found.into_iter().zip(expected) {
        let deviation = (expected * (1.0 - expected) / draws as f64).sqrt();
        assert!((found - expected).abs() <= 5.0 * deviation, "{found} instead of {expected}");
    }
}

#[test]
fn tokens_are_drawn_as_often_as_they_are_likely() {
    close(shares(FREE, 20_000), [0.15, 0.4, 0.05, 0.1, 0.3], 20_000);
    for temperature in [0.5_f64, 2.0] {
        let weights = [0.15_f64, 0.4, 0.05, 0.1, 0.3].map(|share| share.powf(1.0 / temperature));
        let total: f64 = weights.iter().sum();
        let sampling = Sampling { temperature, seed: 77, ..FREE };
        close(shares(sampling, 20_000), weights.map(|weight| weight / total), 20_000);
    }
}

#[test]
fn the_lowest_temperature_leaves_the_likeliest_token() {
    for temperature in [1e-3, 1e-30, f64::MIN_POSITIVE] {
        assert_eq!(shares(Sampling { temperature, ..FREE }, 50), [0.0, 1.0, 0.0, 0.0, 0.0]);
    }
}

#[test]
fn another_seed_draws_otherwise_at_the_same_positions_and_as_often() {
    let drawn =
        |seed: u64| (0..200).map(|position| drawn_place(&[0.5, 0.5], &Sampling { seed, ..FREE }, position)).collect();
    let (one, again, other): (Vec<usize>, Vec<usize>, Vec<usize>) = (drawn(1), drawn(1), drawn(2));
    assert_eq!(one, again);
    let alike = one.iter().zip(&other).filter(|(one, other)| one == other).count();
    assert!((65..=135).contains(&alike), "{alike} of 200 alike");
    // Over seeds at one position as well as over positions of one seed: the first token of many answers is drawn like this.
    let ones = (0..20_000).filter(|seed| drawn_place(&[0.7, 0.3], &Sampling { seed: *seed, ..FREE }, 0) == 1).count();
    assert!((5_700..=6_300).contains(&ones), "{ones}");
}

#[test]
fn cuts_leave_what_is_likeliest_and_no_more() {
    let left = |top_k: Option<usize>, top_p: f64| {
        let shares = shares(Sampling { top_k, top_p, ..FREE }, 2_000);
        (0..5).filter(|token| shares[*token] > 0.0).collect::<Vec<_>>()
    };
    assert_eq!(left(Some(1), 1.0), [1]);
    assert_eq!(left(Some(3), 1.0), [0, 1, 4]);
    assert_eq!(left(Some(9), 1.0), [0, 1, 2, 3, 4]);
    assert_eq!(left(None, 0.39), [1]);
    assert_eq!(left(None, 0.41), [1, 4]);
    assert_eq!(left(None, 0.69), [1, 4]);
    assert_eq!(left(None, 0.71), [0, 1, 4]);
    assert_eq!(left(None, 1e-9), [1]);
    // Of three tokens that are 0.47, 0.35 and 0.18 likely among themselves, two are as likely as 0.8.
    assert_eq!(left(Some(3), 0.8), [1, 4]);
    assert_eq!(left(Some(3), 0.83), [0, 1, 4]);
    let kept_shares = shares(Sampling { top_k: Some(2), ..FREE }, 20_000);
    close(kept_shares, [0.0, 4.0 / 7.0, 0.0, 0.0, 3.0 / 7.0], 20_000);
}

#[test]
fn a_cut_of_a_large_vocabulary_is_that_of_sorting_all_of_it() {
    let weights: Vec<f32> =
        (0..5_000_u32).map(|token| 1.0 / (1 + token.wrapping_mul(2_654_435_761) % 4_999) as f32).collect();
    let total: f64 = weights.iter().copied().map(f64::from).sum();
    let mut sorted: Vec<usize> = (0..weights.len()).collect();
    sorted.sort_by(|one, other| weights[*other].total_cmp(&weights[*one]));
    for top_p in [0.05, 0.5, 0.9, 0.999] {
        let mut sum = 0.0;
        let enough = sorted.iter().take_while(|place| {
            let goes_on = sum < top_p * total;
            sum += f64::from(weights[**place]);
            goes_on
        });
        let mut right: Vec<usize> = enough.copied().collect();
        right.sort_unstable();
        assert_eq!(uncut(&weights, &Sampling { top_p, ..FREE }), right, "{top_p}");
    }
}

#[test]
fn a_row_says_the_same_in_any_company() {
    let rows = [scores(), [0.0; 5], [3.0, -2.0, 0.5, 0.4, 0.3], [-1.0, 2.0, 2.0, -50.0, 1.9]];
    let choosing = [
        Choosing::Drawn(Sampling { temperature: 1.3, top_k: Some(4), ..FREE }),
        Choosing::Drawn(Sampling { seed: 5, top_p: 0.9, ..FREE }),
        Choosing::Likeliest,
        Choosing::Dictated(vec![3, 3, 3]),
    ];
    let wish = |row: usize, position: usize| Wish { choosing: &choosing[row], scores: Scores::Each(row), position };
    for position in 0..40 {
        let together = choose(&matrix(&rows), &[0, 1, 2, 3].map(|row| wish(row, position + row)));
        for (row, together) in together.iter().enumerate() {
            assert_eq!(choose(&matrix(&rows[row..=row]), &[wish(row, position + row)])[0], *together);
        }
        assert_eq!(together[2].token, 0);
        assert_eq!(together[3].token, 1, "of equal ones the first, when the dictation is over");
    }
    assert_eq!(choose(&matrix(&rows[3..]), &[wish(3, 2)])[0].token, 3);
}

#[test]
fn scores_are_those_of_the_softmax_whatever_is_drawn() {
    let choosing = Choosing::Drawn(Sampling { temperature: 2.0, top_k: Some(2), ..FREE });
    let told = |scores_wanted: Scores, choosing: &Choosing| {
        choose(&matrix(&[scores()]), &[Wish { choosing, scores: scores_wanted, position: 3 }]).remove(0)
    };
    let one = told(Scores::Each(3), &choosing);
    let own = f64::from(scores()[usize::try_from(one.token).unwrap()]);
    assert!((one.score.log_probability - own).abs() < 1e-6);
    assert_eq!(one.score.likeliest.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [1, 4, 0]);
    assert!((one.score.likeliest[1].1 - 0.3_f64.ln()).abs() < 1e-6);
    let sum = told(Scores::Sum, &Choosing::Likeliest);
    assert!((sum.score.log_probability - 0.4_f64.ln()).abs() < 1e-6 && sum.score.likeliest.is_empty());
    assert_eq!(told(Scores::None, &Choosing::Likeliest).score.log_probability, 0.0);
    assert_eq!(told(Scores::Each(99), &choosing).score.likeliest.len(), 5);
    let dictated = told(Scores::Each(0), &Choosing::Dictated(vec![9, 9, 9, 2]));
    assert!((dictated.score.log_probability - 0.05_f64.ln()).abs() < 1e-6 && dictated.token == 2);
}

#[test]
fn scores_that_are_no_numbers_are_told_and_not_drawn_from() {
    let logits = matrix(&[[f32::NAN; 5], [f32::NEG_INFINITY; 5]]);
    for choosing in [Choosing::Likeliest, Choosing::Drawn(FREE), Choosing::Drawn(Sampling { top_p: 0.5, ..FREE })] {
        for scores in [Scores::None, Scores::Sum] {
            let wish = Wish { choosing: &choosing, scores, position: 0 };
            let said = choose(&logits, &[wish, wish]);
            assert!(said.iter().all(|choice| choice.score.log_probability.is_nan() && choice.token == 0), "{said:?}");
        }
    }
}

#[test]
fn answers_to_one_input_have_seeds_of_their_own() {
    let seeds: std::collections::BTreeSet<u64> = (0..64).map(|index| seed_of_answer(11, index)).collect();
    assert_eq!((seeds.len(), seed_of_answer(11, 0)), (64, 11));
}
