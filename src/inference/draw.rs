//! A label that is drawn instead of chosen.

use super::Prediction;
use crate::student::drawing::{Sampling, drawn_place};

impl Prediction {
    /// Puts a label in place of the likeliest one that is drawn from the probabilities of the set, which the temperature and the cuts
    /// change as they change those of tokens. Nothing changes without a set. A rationale that leads to the likeliest label does not lead
    /// to another one; where it leads otherwise is not known.
    pub fn draw(&mut self, sampling: &Sampling) {
        let Some(probabilities) = &self.label_probs else { return };
        // Beside the best, so that a low temperature leaves something of it.
        let best = probabilities.values().copied().fold(0.0, f64::max);
        let weight = |share: &f64| (share / best).powf(sampling.temperature.recip()) as f32;
        let weights: Vec<f32> = probabilities.values().map(weight).collect();
        if let Some((label, share)) = probabilities.iter().nth(drawn_place(&weights, sampling, 0)) {
            if self.label != *label {
                self.consistency = self.consistency.filter(|leads_there| *leads_there).map(|_| false);
            }
            (self.label, self.confidence) = (label.clone(), *share);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prediction(probabilities: &[(&str, f64)]) -> Prediction {
        let label_probs = probabilities.iter().map(|(label, share)| ((*label).to_owned(), *share)).collect();
        Prediction { label_probs: Some(label_probs), ..Prediction::default() }
    }

    #[test]
    fn labels_are_drawn_as_often_as_the_temperature_says() {
        let set = [("exchange", 0.5), ("refund", 0.3), ("reject", 0.2)];
        let share = |temperature: f64, top_k: Option<usize>| {
            let drawn = (0..9_000).filter(|seed| {
                let mut prediction = prediction(&set);
                prediction.draw(&Sampling { temperature, top_p: 1.0, top_k, seed: *seed });
                assert_eq!(prediction.confidence, set.iter().find(|(label, _)| *label == prediction.label).unwrap().1);
                prediction.label == "refund"
            });
            drawn.count() as f64 / 9_000.0
        };
        for (found, right) in [(share(1.0, None), 0.3), (share(0.5, None), 0.09 / 0.38), (share(1.0, Some(2)), 0.375)] {
            assert!((found - right).abs() < 0.026, "{found} instead of {right}");
        }
        assert_eq!(share(1.0, Some(1)), 0.0);
    }

    #[test]
    fn a_set_of_hopeless_odds_still_gives_its_likeliest_label_at_a_low_temperature() {
        let mut prediction = prediction(&[("a", 1e-9), ("b", 2e-9)]);
        prediction.draw(&Sampling { temperature: 0.01, top_p: 1.0, top_k: None, seed: 4 });
        assert_eq!(prediction.label, "b");
    }
}
