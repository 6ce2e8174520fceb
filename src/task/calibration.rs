//! How well confidence tells how often an answer is right, and the temperature that makes it tell better.

use crate::domain::{Calibration, shares};

/// Bins of one width that answers are sorted into by their confidence, as many as Guo et al. (2017) take.
const BINS: usize = 15;
/// The temperatures that are tried are `exp(step / 100)`, from about a half to about ten: a hundredth is as near as any number of
/// validation rows can tell, and a bound keeps a few rows that are all right from making the student boundlessly sure.
const STEPS: std::ops::RangeInclusive<i32> = -69..=230;
const STEPS_A_UNIT: f64 = 100.0;

/// Answers by their confidence.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Reliability {
    /// By bin, the confidences' sum less the number of right answers.
    excess: [f64; BINS],
    rows: u64,
}

impl Reliability {
    /// Counts an answer: its confidence, 0..1, and whether it is right.
    pub fn add(&mut self, confidence: f64, is_right: bool) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 15 is a small number")]
        let bin = (confidence.clamp(0.0, 1.0) * BINS as f64) as usize;
        self.excess[bin.min(BINS - 1)] += confidence - f64::from(u8::from(is_right));
        self.rows += 1;
    }

    /// The expected calibration error, 0..1: the bins' differences of mean confidence and accuracy, each weighted by its share of
    /// the rows. None without rows.
    pub fn error(&self) -> Option<f64> {
        let off: f64 = self.excess.iter().map(|excess| excess.abs()).sum();
        (self.rows > 0).then(|| off / self.rows as f64)
    }
}

/// The labels of a row as a student weighed them.
#[derive(Debug, Clone, PartialEq)]
pub struct Weighed {
    /// Each label's log-likelihood, less what is the same for all.
    pub scores: Vec<f64>,
    /// The place of the right one.
    pub right: usize,
}

impl Weighed {
    fn confidence(&self, temperature: f64) -> (f64, bool) {
        let shares = shares(&self.scores, temperature);
        let most = shares.iter().copied().fold(0.0, f64::max);
        // Of equals the first is answered.
        let answered = shares.iter().position(|share| *share == most);
        (most, answered == Some(self.right))
    }
}

/// Fits a temperature to how often the likeliest label is the right one; none for few rows. Rows with a score that is no number
/// say nothing.
pub fn calibrate(rows: &[Weighed]) -> Calibration {
    let rows: Vec<&Weighed> = rows.iter().filter(|row| row.scores.iter().all(|score| score.is_finite())).collect();
    let temperature = (rows.len() >= Calibration::LEAST_ROWS).then(|| fit(&rows));
    let error = |temperature: f64| {
        let mut reliability = Reliability::default();
        for row in &rows {
            let (confidence, is_right) = row.confidence(temperature);
            reliability.add(confidence, is_right);
        }
        reliability.error()
    };
    Calibration {
        rows: rows.len() as u64,
        temperature,
        error_before: temperature.and_then(|_| error(1.0)),
        error_after: temperature.and_then(error),
        fault: None,
    }
}

/// The temperature at which the right labels are the likeliest, together with a mild belief that none is needed (a normal
/// distribution of its logarithm about 0, as heavy as one row): where the rows say nothing, it stays 1.
fn fit(rows: &[&Weighed]) -> f64 {
    let cost = |step: i32| {
        let logarithm = f64::from(step) / STEPS_A_UNIT;
        let surprise = |row: &&Weighed| -shares(&row.scores, logarithm.exp())[row.right].max(f64::MIN_POSITIVE).ln();
        rows.iter().map(surprise).sum::<f64>() + logarithm * logarithm / 2.0
    };
    let costs = STEPS.map(|step| (step, cost(step)));
    let best = costs.reduce(|best, other| if other.1 < best.1 { other } else { best });
    best.map_or(1.0, |(step, _)| (f64::from(step) / STEPS_A_UNIT).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many rows of which so many are right, all with this share for their best of two labels.
    fn rows(count: usize, right: usize, share: f64) -> Vec<Weighed> {
        let row = |at| Weighed { scores: vec![share.ln(), (1.0 - share).ln()], right: usize::from(at >= right) };
        (0..count).map(row).collect()
    }

    #[test]
    fn who_is_too_sure_becomes_as_sure_as_it_is_right() {
        // Three of four are right, and it says 0.99: log odds of 4.6 that should be 1.1.
        let found = calibrate(&rows(400, 300, 0.99));
        let temperature = found.temperature.unwrap();
        assert!((temperature - 99.0_f64.ln() / 3.0_f64.ln()).abs() < 0.1, "{temperature}");
        assert!((found.error_before.unwrap() - 0.24).abs() < 1e-9, "{found:?}");
        assert!(found.error_after.unwrap() < 0.01, "{found:?}");
        let found = calibrate(&rows(400, 360, 0.75));
        let temperature = found.temperature.unwrap();
        assert!(temperature < 0.6 && found.error_after < found.error_before, "{found:?}");
    }

    #[test]
    fn both_errors_are_those_of_their_definition() {
        // Sure and wrong too often; less sure, and right about as often as it says; right against its own belief.
        let groups = [(40, 30, 0.99), (20, 13, 0.65), (10, 7, 0.52)];
        let found = calibrate(&groups.map(|(count, right, share)| rows(count, right, share)).concat());
        let expected = |temperature: f64| {
            let mut bins = std::collections::BTreeMap::<u64, (f64, f64)>::new();
            for (count, right, share) in groups {
                let odds = (share / (1.0_f64 - share)).powf(temperature.recip());
                let confidence = odds / (1.0 + odds);
                let bin = (0..15).rev().find(|bin| confidence >= *bin as f64 / 15.0).unwrap();
                let (sum, rights) = bins.entry(bin).or_default();
                (*sum, *rights) = (*sum + confidence * count as f64, *rights + right as f64);
            }
            bins.values().map(|(sum, rights)| (sum - rights).abs()).sum::<f64>() / 70.0
        };
        let (before, after) = (found.error_before.unwrap(), found.error_after.unwrap());
        // By hand: 40 * 0.24 in one bin; 20 * 0 and 10 * -0.18, each in its own.
        assert!((before - (9.6 + 1.8) / 70.0).abs() < 1e-12 && (before - expected(1.0)).abs() < 1e-12, "{before}");
        assert!((after - expected(found.temperature.unwrap())).abs() < 1e-12, "{after}");
        assert!(found.temperature.unwrap() > 1.5 && after < before, "{found:?}");
    }

    #[test]
    fn few_rows_fit_nothing_and_say_so() {
        let found = calibrate(&rows(29, 20, 0.9));
        assert_eq!(found, Calibration { rows: 29, ..Calibration::default() });
        let broken = Weighed { scores: vec![f64::NAN, 0.0], right: 0 };
        let found = calibrate(&[rows(29, 20, 0.9), vec![broken]].concat());
        assert_eq!((found.rows, found.temperature), (29, None));
    }

    #[test]
    fn rows_that_say_nothing_leave_the_temperature_at_one() {
        assert_eq!(calibrate(&rows(30, 30, 1.0 - 1e-15)).temperature, Some(1.0));
        assert_eq!(calibrate(&rows(100, 50, 0.5)).temperature, Some(1.0));
        // All right, and not quite sure of it: within the bound.
        let temperature = calibrate(&rows(500, 500, 0.8)).temperature.unwrap();
        assert!((0.5..0.51).contains(&temperature), "{temperature}");
    }

    #[test]
    fn errors_of_bins_do_not_make_up_for_each_other() {
        let mut reliability = Reliability::default();
        assert_eq!(reliability.error(), None);
        for (confidence, is_right) in [(0.9, false), (0.9, true), (0.3, true), (0.3, false), (1.0, true)] {
            reliability.add(confidence, is_right);
        }
        // 0.8 too much in one bin, 0.4 too little in another, nothing in the last.
        assert!((reliability.error().unwrap() - 1.2 / 5.0).abs() < 1e-12);
    }
}
