//! Shares of rows and how far to trust them: an accuracy's interval, the interval of a paired difference, and whether a
//! difference may be chance. Formulas from the papers that are named; the tests hold them to published examples.

use statrs::distribution::{Binomial, DiscreteCDF};

/// The 97.5 % point of the standard normal distribution: 95 % lie within it on both sides.
const Z: f64 = 1.959_963_984_540_054;

/// How two subjects did on the same rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Paired {
    /// Rows that both have right.
    pub both: u64,
    /// Rows that only the first has right.
    pub only_first: u64,
    /// Rows that only the second has right.
    pub only_second: u64,
    /// Rows that neither has right.
    pub neither: u64,
}

impl Paired {
    /// Counts one row.
    pub fn add(&mut self, first: bool, second: bool) {
        *match (first, second) {
            (true, true) => &mut self.both,
            (true, false) => &mut self.only_first,
            (false, true) => &mut self.only_second,
            (false, false) => &mut self.neither,
        } += 1;
    }

    /// All rows.
    pub fn rows(&self) -> u64 {
        self.both + self.only_first + self.only_second + self.neither
    }

    /// The first's share of right rows less the second's; 0 without a row.
    pub fn difference(&self) -> f64 {
        // Of the counts, not of two shares, whose rounding would show in the last digits.
        (self.only_first as f64 - self.only_second as f64) / self.rows().max(1) as f64
    }

    /// The difference's 95 % interval: Newcombe (1998), "Improved confidence intervals for the difference between
    /// binomial proportions based on paired data", Statistics in Medicine 17:2635-2650, method 10. Each share's Wilson
    /// limits, squared and added with their correlation, which is corrected for continuity. It never leaves -1..1, and
    /// holds where a difference is 0 or all rows are right, where Wald's interval has no width.
    pub fn difference_ci95(&self) -> [f64; 2] {
        let (rows, first, second) = (self.rows(), self.both + self.only_first, self.both + self.only_second);
        let (share1, share2) = (share(first, rows), share(second, rows));
        let ([low1, high1], [low2, high2]) = (wilson_ci95(first, rows), wilson_ci95(second, rows));
        let correlation = self.correlation();
        let reach =
            |one: f64, other: f64| (one * one - 2.0 * correlation * one * other + other * other).max(0.0).sqrt();
        let difference = self.difference();
        [
            (difference - reach(share1 - low1, high2 - share2)).max(-1.0),
            (difference + reach(high1 - share1, share2 - low2)).min(1.0),
        ]
    }

    /// The correlation of the two subjects' right answers, positive ones brought nearer to 0 for continuity.
    fn correlation(&self) -> f64 {
        let [a, b, c, d] = [self.both, self.only_first, self.only_second, self.neither].map(|count| count as f64);
        let product = (a + b) * (c + d) * (a + c) * (b + d);
        let agreement = a * d - b * c;
        let corrected = if agreement > 0.0 { (agreement - (a + b + c + d) / 2.0).max(0.0) } else { agreement };
        if product > 0.0 { corrected / product.sqrt() } else { 0.0 }
    }

    /// McNemar's exact two-sided p (McNemar 1947, Psychometrika 12:153-157): the rows that only one subject has right
    /// would split like coin tosses if both were equally good. 1 where there is no such row.
    pub fn mcnemar_p(&self) -> f64 {
        let (fewer, tosses) = (self.only_first.min(self.only_second), self.only_first + self.only_second);
        let coin = Binomial::new(0.5, tosses).expect("0.5 is a probability");
        (2.0 * coin.cdf(fewer)).min(1.0)
    }
}

/// `part / whole`; 0 without a whole.
pub fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The 95 % score interval of a share (Wilson 1927, Journal of the American Statistical Association 22:209-212):
/// `(p + z²/2n ± z·sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n)`. All of 0..1 without a row.
pub fn wilson_ci95(part: u64, whole: u64) -> [f64; 2] {
    if whole == 0 {
        return [0.0, 1.0];
    }
    let (p, n) = (share(part, whole), whole as f64);
    let scale = 1.0 + Z * Z / n;
    let center = (p + Z * Z / (2.0 * n)) / scale;
    let reach = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt() / scale;
    // At the ends one limit is the share itself; rounding must not put it on the wrong side.
    [(center - reach).max(0.0).min(p), (center + reach).min(1.0).max(p)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paired(counts: [u64; 4]) -> Paired {
        let [both, only_first, only_second, neither] = counts;
        Paired { both, only_first, only_second, neither }
    }

    #[track_caller]
    fn assert_near(found: &[f64], expected: &[f64], tolerance: f64) {
        let near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() <= tolerance);
        assert!(near, "{found:?} where {expected:?} is right");
    }

    /// statsmodels 0.15, `proportion_confint(part, whole, method="wilson")`.
    #[test]
    fn wilsons_intervals_are_those_of_statsmodels() {
        for (part, whole, expected) in WILSON {
            assert_near(&wilson_ci95(part, whole), &expected, 1e-12);
        }
        assert_eq!(wilson_ci95(0, 0), [0.0, 1.0]);
    }

    /// Newcombe (1998), Table II: 36, 12, 2, 0 of 50. Fagerland, Lydersen, Laake (2014), "Recommended tests and confidence
    /// intervals for paired binomial proportions", Statistics in Medicine 33:2850-2875: airway hyper-responsiveness
    /// before and after a transplantation, 1, 1, 7, 12 of 21.
    #[test]
    fn paired_differences_have_the_published_intervals() {
        let newcombe = paired([36, 12, 2, 0]);
        assert_near(&[newcombe.difference()], &[0.2], 1e-12);
        assert_near(&newcombe.difference_ci95(), &[0.0569, 0.3404], 5e-5);
        let fagerland = paired([1, 1, 7, 12]);
        assert_near(&[fagerland.difference()], &[-0.286], 5e-4);
        assert_near(&fagerland.difference_ci95(), &[-0.507, -0.026], 5e-4);
    }

    #[test]
    fn the_interval_turns_round_with_its_subjects_and_stays_in_bounds() {
        for counts in [[53, 8, 16, 9], [0, 10, 0, 0], [10, 0, 0, 0], [0, 0, 0, 10], [3, 1, 1, 0], [0, 0, 0, 0]] {
            let [both, first, second, neither] = counts;
            let [low, high] = paired(counts).difference_ci95();
            let [turned_low, turned_high] = paired([both, second, first, neither]).difference_ci95();
            assert_near(&[low, high], &[-turned_high, -turned_low], 1e-12);
            let difference = paired(counts).difference();
            assert!(-1.0 <= low && low <= difference && difference <= high && high <= 1.0, "{counts:?}: {low} {high}");
        }
    }

    /// statsmodels 0.15, `mcnemar([[both, first], [second, neither]], exact=True).pvalue`.
    #[test]
    fn mcnemars_p_is_that_of_statsmodels() {
        for (first, second, expected) in MCNEMAR {
            let found = paired([30, first, second, 4]).mcnemar_p();
            assert!(
                (found - expected).abs() <= 1e-9 * expected,
                "{first}, {second}: {found} where {expected} is right"
            );
        }
    }

    const WILSON: [(u64, u64, [f64; 2]); 5] = [
        (81, 263, [0.255_288_519_878_274_2, 0.366_209_576_982_8]),
        (0, 20, [0.0, 0.161_125_158_052_819_4]),
        (29, 29, [0.883_030_201_500_259_2, 1.0]),
        (1, 29, [0.006_113_214_292_762_7, 0.171_755_218_793_202_9]),
        (912, 1000, [0.892_827_748_950_223_5, 0.928_019_002_057_679_2]),
    ];
    const MCNEMAR: [(u64, u64, f64); 7] = [
        (12, 2, 0.012_939_453_125),
        (1, 7, 0.070_312_5),
        (5, 5, 1.0),
        (0, 0, 1.0),
        (0, 9, 0.003_906_25),
        (41, 20, 0.009_853_448_195_259_268),
        (400, 500, 0.000_956_444_136_918_937_3),
    ];
}
