//! The weights worth keeping: those of the best evaluation, the later of equals.

use tch::{Device, Tensor};

use super::parameters::Parameters;

/// The best weights so far.
#[derive(Debug, Default)]
pub struct Best {
    kept: Option<Kept>,
}

/// Weights that were kept.
#[derive(Debug)]
pub struct Kept {
    /// The step after which they were examined.
    pub step: i64,
    /// Their accuracy on the validation rows.
    pub accuracy: f64,
    /// The weights, in the parameters' layout.
    pub values: Tensor,
}

impl Best {
    /// What an interrupted training had kept.
    pub fn resume(kept: Option<Kept>, device: Device) -> Self {
        let place = |kept: Kept| Kept { values: kept.values.to_device(device), ..kept };
        Self { kept: kept.map(place) }
    }

    /// What is kept, sharing its memory.
    pub fn kept(&self) -> Option<Kept> {
        let share = |kept: &Kept| Kept { values: kept.values.shallow_clone(), ..*kept };
        self.kept.as_ref().map(share)
    }

    /// Keeps a copy of the weights when no earlier ones were better. At equal accuracy the later ones have learned
    /// longer.
    pub fn offer(&mut self, step: i64, accuracy: f64, values: &Tensor) {
        match &mut self.kept {
            Some(kept) if accuracy < kept.accuracy => {}
            // In the memory of the earlier ones: two copies at once may be more than there is.
            Some(kept) => {
                kept.values.copy_(values);
                (kept.step, kept.accuracy) = (step, accuracy);
            }
            None => self.kept = Some(Kept { step, accuracy, values: values.copy() }),
        }
    }

    /// Whether an accuracy is above that of the kept weights.
    pub fn is_beaten_by(&self, accuracy: f64) -> bool {
        self.kept.as_ref().is_none_or(|kept| accuracy > kept.accuracy)
    }

    /// The step and the accuracy of the kept weights, which are put back; nothing where none were offered.
    pub fn restore(&self, parameters: &mut Parameters) -> Option<(i64, f64)> {
        let kept = self.kept.as_ref()?;
        parameters.set(&kept.values);
        Some((kept.step, kept.accuracy))
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;
    use crate::student::Weights;

    #[test]
    fn the_later_of_equals_is_kept() {
        let mut best = Best::default();
        for (step, accuracy) in [(1, 0.5), (2, 0.7), (3, 0.7), (4, 0.6)] {
            best.offer(step, accuracy, &Tensor::from_slice(&[step as f32]));
        }
        let weights = Weights::from([("w".to_owned(), Tensor::from_slice(&[9.0_f32]))]);
        let mut parameters = Parameters::new(&weights, Device::Cpu, Kind::Float);
        assert_eq!(best.restore(&mut parameters), Some((3, 0.7)));
        assert_eq!(parameters.values().double_value(&[0]), 3.0);
    }
}
