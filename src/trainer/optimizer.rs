//! The rules by which weights follow gradients.

use tch::{Kind, Tensor};

use super::adafactor::Adafactor;
use super::parameters::Parameters;
use crate::domain::{Hyperparameters, Optimizer};
use crate::student::Weights;

/// Adam's decay of the mean gradient.
const FIRST_DECAY: f64 = 0.9;
/// Adam's decay of the mean squared gradient.
const SECOND_DECAY: f64 = 0.999;
/// Keeps Adam's division finite.
const EPSILON: f64 = 1e-8;
/// The least size that a weight counts as having, so that one near zero can grow (Adafactor's epsilon 2).
const LEAST_SIZE: f64 = 1e-3;

/// An optimizer with its state.
pub struct Update {
    rule: Rule,
    scale_by_weight: bool,
    weight_decay: f64,
    steps: i32,
}

enum Rule {
    Adamw { mean: Tensor, square: Tensor },
    Adafactor(Adafactor),
}

/// What an optimizer remembers between two steps.
#[derive(Debug)]
pub struct OptimizerState {
    /// Steps taken.
    pub steps: i32,
    /// Moments by name.
    pub tensors: Weights,
}

impl Update {
    /// An optimizer that has taken no step.
    pub fn new(hyperparameters: &Hyperparameters, scale_by_weight: bool, parameters: &Parameters) -> Self {
        let rule = match hyperparameters.optimizer {
            Optimizer::Adamw => {
                Rule::Adamw { mean: parameters.values.zeros_like(), square: parameters.values.zeros_like() }
            }
            Optimizer::Adafactor => Rule::Adafactor(Adafactor::new(parameters)),
        };
        Self { rule, scale_by_weight, weight_decay: hyperparameters.weight_decay, steps: 0 }
    }

    /// Its state, sharing its memory.
    pub fn state(&self, parameters: &Parameters) -> OptimizerState {
        let tensors = match &self.rule {
            Rule::Adamw { mean, square } => [("mean", mean), ("square", square)]
                .map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone()))
                .into(),
            Rule::Adafactor(state) => state.tensors(parameters),
        };
        OptimizerState { steps: self.steps, tensors }
    }

    /// Takes over the state of an optimizer of the same kind over the same parameters.
    ///
    /// # Errors
    /// The name of a moment that is missing or has another shape; the state is half taken over then.
    pub fn restore(&mut self, parameters: &Parameters, earlier: &OptimizerState) -> Result<(), String> {
        for (name, mut moment) in self.state(parameters).tensors {
            match earlier.tensors.get(&name).filter(|found| found.size() == moment.size()) {
                Some(found) => moment.copy_(found),
                None => return Err(name),
            }
        }
        self.steps = earlier.steps;
        Ok(())
    }

    /// Moves the weights against a gradient buffer.
    pub fn step(&mut self, parameters: &mut Parameters, gradient: &Tensor, rate: f64) {
        self.steps += 1;
        let direction = match &mut self.rule {
            Rule::Adamw { mean, square } => adam_direction(mean, square, gradient, self.steps),
            Rule::Adafactor(state) => state.direction(parameters, gradient, self.steps),
        };
        if self.weight_decay > 0.0 {
            parameters.values *= 1.0 - rate * self.weight_decay;
        }
        if self.scale_by_weight {
            scale(parameters, &direction);
        }
        parameters.values -= direction * rate;
    }
}

/// Adam's step at rate 1, both moments corrected for having started at zero.
fn adam_direction(mean: &mut Tensor, square: &mut Tensor, gradient: &Tensor, steps: i32) -> Tensor {
    let _ = mean.lerp_(gradient, 1.0 - FIRST_DECAY);
    *square *= SECOND_DECAY;
    *square += gradient * gradient * (1.0 - SECOND_DECAY);
    let first_correction = 1.0 - FIRST_DECAY.powi(steps);
    let second_correction = 1.0 - SECOND_DECAY.powi(steps);
    let mut size = square.sqrt();
    size *= 1.0 / second_correction.sqrt();
    size += EPSILON;
    (&*mean / size) * (1.0 / first_correction)
}

/// Adafactor's relative step: each weight tensor moves in proportion to its own root mean square.
fn scale(parameters: &Parameters, direction: &Tensor) {
    let weights = parameters.pieces(&parameters.values);
    for (weight, mut piece) in weights.into_iter().zip(parameters.pieces(direction)) {
        let size = weight.norm().double_value(&[]) / (weight.numel() as f64).sqrt();
        piece *= size.max(LEAST_SIZE);
    }
}

/// Scales a gradient buffer down to a norm and gives the norm it had; 0 does not clip.
pub fn clip(gradient: &mut Tensor, most: f64) -> f64 {
    let norm = gradient.norm_scalaropt_dtype(2.0, Kind::Float).double_value(&[]);
    if most > 0.0 && norm.is_finite() && norm > most {
        *gradient *= most / norm;
    }
    norm
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tch::Device;

    use super::*;

    fn parameters() -> Parameters {
        let weights = BTreeMap::from([
            ("large".to_owned(), Tensor::from_slice2(&[[10.0_f32, -10.0], [10.0, 10.0]])),
            ("small".to_owned(), Tensor::from_slice(&[0.1_f32, 0.1])),
        ]);
        Parameters::new(&weights, Device::Cpu)
    }

    fn after_one_step(hyperparameters: &Hyperparameters, scale_by_weight: bool) -> Vec<f32> {
        let mut parameters = parameters();
        let gradient = Tensor::from_slice(&[1.0_f32, 1.0, 1.0, 1.0, -2.0, -2.0]);
        Update::new(hyperparameters, scale_by_weight, &parameters).step(&mut parameters, &gradient, 0.1);
        Vec::try_from(&parameters.values).unwrap()
    }

    fn assert_close(found: &[f32], wanted: &[f32]) {
        let close = found.iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < 1e-4);
        assert!(close && found.len() == wanted.len(), "{found:?} is not {wanted:?}");
    }

    #[test]
    fn adams_first_step_is_the_rate_against_the_sign() {
        let found = after_one_step(&Hyperparameters::default(), false);
        assert_close(&found, &[9.9, -10.1, 9.9, 9.9, 0.2, 0.2]);
    }

    #[test]
    fn a_scaled_step_is_in_proportion_to_the_weight() {
        let found = after_one_step(&Hyperparameters::default(), true);
        assert_close(&found, &[9.0, -11.0, 9.0, 9.0, 0.11, 0.11]);
    }

    #[test]
    fn weight_decay_shrinks_by_the_rate() {
        let hyperparameters = Hyperparameters { weight_decay: 0.5, ..Hyperparameters::default() };
        assert_close(&after_one_step(&hyperparameters, false)[..1], &[9.4]);
    }

    #[test]
    fn adafactors_first_step_has_the_size_of_the_rate() {
        let hyperparameters = Hyperparameters { optimizer: Optimizer::Adafactor, ..Hyperparameters::default() };
        assert_close(&after_one_step(&hyperparameters, false), &[9.9, -10.1, 9.9, 9.9, 0.2, 0.2]);
    }

    #[test]
    fn clipping_keeps_the_direction() {
        let mut gradient = Tensor::from_slice(&[3.0_f32, 4.0]);
        assert!((clip(&mut gradient, 1.0) - 5.0).abs() < 1e-6);
        assert_close(&Vec::<f32>::try_from(&gradient).unwrap(), &[0.6, 0.8]);
        assert!((clip(&mut gradient, 0.0) - 1.0).abs() < 1e-6);
    }
}
