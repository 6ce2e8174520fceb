//! The rules by which weights follow gradients.

use tch::{Kind, Tensor};

use super::adafactor::Adafactor;
use super::gradient::{Gradient, sum_of_squares};
use super::parameters::Parameters;
use crate::domain::{Hyperparameters, Optimizer};
use crate::native::{self, AdamwTensors};
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

/// How far a weight moves in one step, and what it is multiplied by first.
#[derive(Debug, Clone, Copy)]
struct Pace {
    rate: f64,
    keep: f64,
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
                Rule::Adamw { mean: parameters.values().zeros_like(), square: parameters.values().zeros_like() }
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

    /// Forgets every step, in the memory that it has.
    pub fn forget(&mut self, parameters: &Parameters) {
        for mut moment in self.state(parameters).tensors.into_values() {
            let _ = moment.zero_();
        }
        self.steps = 0;
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

    /// Moves the weights against `scale` times a gradient.
    pub fn step(&mut self, parameters: &mut Parameters, gradient: &Gradient, scale: f64, rate: f64) {
        self.steps += 1;
        let weights = parameters.pieces(parameters.values());
        let gradient = whole(gradient, &weights);
        let paces: Vec<Pace> =
            parameters.names().zip(&weights).map(|(name, weight)| self.pace(name, weight, rate)).collect();
        match &mut self.rule {
            Rule::Adamw { mean, square } if native::serves(mean) => {
                let settings = adam_settings(self.steps, scale);
                fused_adam(parameters, &gradient, (mean, square), &paces, &settings);
            }
            Rule::Adamw { mean, square } => {
                let moments = parameters.pieces(mean).into_iter().zip(parameters.pieces(square));
                for (((mut weight, gradient), (mut mean, mut square)), Pace { rate, keep }) in
                    weights.into_iter().zip(&gradient).zip(moments).zip(paces)
                {
                    let gradient = gradient.to_kind(Kind::Float) * scale;
                    weight *= keep;
                    weight -= adam_direction(&mut mean, &mut square, &gradient, self.steps) * rate;
                }
                parameters.refresh_copies();
            }
            Rule::Adafactor(state) => {
                for (number, (mut weight, Pace { rate, keep })) in weights.into_iter().zip(paces).enumerate() {
                    let gradient = gradient[number].to_kind(Kind::Float) * scale;
                    weight *= keep;
                    weight -= state.direction(number, &gradient, self.steps) * rate;
                }
                parameters.refresh_copies();
            }
        }
    }

    /// How a weight moves in one step. Norms and position biases do not decay, as with Hugging Face's Trainer.
    fn pace(&self, name: &str, weight: &Tensor, rate: f64) -> Pace {
        let rate = rate * self.size(weight);
        let decays = !name.contains("norm") && !name.contains("bias");
        Pace { rate, keep: if decays { 1.0 - rate * self.weight_decay } else { 1.0 } }
    }

    /// What a weight's rate is multiplied by. With Adafactor's relative step, the weight's own root mean square.
    fn size(&self, weight: &Tensor) -> f64 {
        if !self.scale_by_weight {
            return 1.0;
        }
        (sum_of_squares(weight) / weight.numel() as f64).sqrt().max(LEAST_SIZE)
    }
}

/// A tensor for each weight; zeros where nothing depends on it.
fn whole(gradient: &Gradient, weights: &[Tensor]) -> Vec<Tensor> {
    let piece = |(number, weight): (usize, &Tensor)| {
        let found = gradient.pieces().get(number).and_then(Option::as_ref);
        found.map_or_else(|| weight.zeros_like(), Tensor::shallow_clone)
    };
    weights.iter().enumerate().map(piece).collect()
}

/// What one step's settings have in common: each weight brings its own pace.
fn adam_settings(steps: i32, scale: f64) -> native::Adamw {
    native::Adamw {
        rate: 0.0,
        keep: 1.0,
        first_decay: FIRST_DECAY as f32,
        second_decay: SECOND_DECAY as f32,
        epsilon: EPSILON as f32,
        first_correction: (1.0 / (1.0 - FIRST_DECAY.powi(steps))) as f32,
        second_root: (1.0 / (1.0 - SECOND_DECAY.powi(steps))).sqrt() as f32,
        gradient_scale: scale as f32,
    }
}

/// Adam in one pass over each weight, which leaves the copies up to date.
fn fused_adam(
    parameters: &Parameters,
    gradient: &[Tensor],
    (mean, square): (&Tensor, &Tensor),
    paces: &[Pace],
    settings: &native::Adamw,
) {
    let weights = parameters.pieces(parameters.values());
    let (means, squares) = (parameters.pieces(mean), parameters.pieces(square));
    let copies = parameters.copies().map(|copies| parameters.pieces(copies));
    for (number, weight) in weights.iter().enumerate() {
        let tensors = AdamwTensors {
            weight,
            gradient: &gradient[number],
            mean: &means[number],
            square: &squares[number],
            copy: copies.as_ref().map(|copies| &copies[number]),
        };
        let Pace { rate, keep } = paces[number];
        native::adamw(&tensors, &native::Adamw { rate: rate as f32, keep: keep as f32, ..*settings });
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

/// What a gradient of this norm is multiplied by, to have at most another one; 0 does not clip.
pub fn clip(norm: f64, most: f64) -> f64 {
    if most > 0.0 && norm.is_finite() && norm > most { most / norm } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tch::{Device, kind};

    use super::*;

    fn parameters() -> Parameters {
        let weights = BTreeMap::from([
            ("large".to_owned(), Tensor::from_slice2(&[[10.0_f32, -10.0], [10.0, 10.0]])),
            ("small".to_owned(), Tensor::from_slice(&[0.1_f32, 0.1])),
        ]);
        Parameters::new(&weights, Device::Cpu, Kind::Float)
    }

    fn after_one_step(hyperparameters: &Hyperparameters, scale_by_weight: bool) -> Vec<f32> {
        let mut parameters = parameters();
        let gradient = Gradient::of(vec![Tensor::ones([2, 2], kind::FLOAT_CPU), Tensor::from_slice(&[-2.0_f32, -2.0])]);
        Update::new(hyperparameters, scale_by_weight, &parameters).step(&mut parameters, &gradient, 1.0, 0.1);
        Vec::try_from(parameters.values()).unwrap()
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
    fn norms_and_position_biases_do_not_decay() {
        let names = ["block.0.layer.0.layer_norm.weight", "relative_attention_bias.weight", "shared.weight"];
        let weights = names.map(|name| (name.to_owned(), Tensor::from_slice(&[1.0_f32])));
        let mut parameters = Parameters::new(&weights.into(), Device::Cpu, Kind::Float);
        let hyperparameters = Hyperparameters { weight_decay: 0.5, ..Hyperparameters::default() };
        let still = Gradient::of((0..3).map(|_| Tensor::from_slice(&[0.0_f32])).collect());
        Update::new(&hyperparameters, false, &parameters).step(&mut parameters, &still, 1.0, 0.1);
        assert_close(&Vec::try_from(parameters.values()).unwrap(), &[1.0, 1.0, 0.95]);
    }

    /// Numbers of `transformers.Adafactor(relative_step=False, weight_decay=0.05, lr=0.1)`, 4.57.
    #[test]
    fn three_steps_of_adafactor_are_those_of_transformers() {
        let still = [0.738396, -1.945147, 0.376096, 0.154318, 2.814022, -0.882011, -0.120579, 0.022072];
        let scaled = [0.586752, -1.89629, 0.303368, 0.102, 2.716613, -0.810359, 0.067255, -0.167038];
        for (scale_by_weight, wanted) in [(false, still), (true, scaled)] {
            let weights = BTreeMap::from([
                ("matrix".to_owned(), Tensor::from_slice2(&[[1.0_f32, -2.0, 0.5], [0.25, 3.0, -1.0]])),
                ("vector".to_owned(), Tensor::from_slice(&[0.1_f32, -0.2])),
            ]);
            let mut parameters = Parameters::new(&weights, Device::Cpu, Kind::Float);
            let hyperparameters =
                Hyperparameters { optimizer: Optimizer::Adafactor, weight_decay: 0.05, ..Hyperparameters::default() };
            let mut update = Update::new(&hyperparameters, scale_by_weight, &parameters);
            for step in [1.0, 2.0, 3.0] {
                let factor = if step == 2.0 { -0.5 } else { 1.0 };
                let matrix = Tensor::from_slice2(&[[1.0_f32, -0.5, 2.0], [0.3, 0.0, -4.0]]) * factor + 0.1 * step;
                let vector = Tensor::from_slice(&[0.5_f32, -2.0]) / step;
                update.step(&mut parameters, &Gradient::of(vec![matrix, vector]), 1.0, 0.1);
            }
            assert_close(&Vec::try_from(parameters.values()).unwrap(), &wanted);
        }
    }

    #[test]
    fn adafactors_first_step_has_the_size_of_the_rate() {
        let hyperparameters = Hyperparameters { optimizer: Optimizer::Adafactor, ..Hyperparameters::default() };
        assert_close(&after_one_step(&hyperparameters, false), &[9.9, -10.1, 9.9, 9.9, 0.2, 0.2]);
    }

    #[test]
    fn clipping_keeps_the_direction() {
        let gradient = Gradient::of(vec![Tensor::from_slice(&[3.0_f32, 4.0])]);
        assert!((gradient.norm() - 5.0).abs() < 1e-6);
        assert!((clip(gradient.norm(), 1.0) - 0.2).abs() < 1e-6);
        assert_eq!([clip(5.0, 0.0), clip(0.5, 1.0), clip(f64::NAN, 1.0)], [1.0; 3]);
    }

    #[test]
    fn adam_in_one_pass_is_adam() {
        let random = |seed| {
            tch::manual_seed(seed);
            Tensor::randn([3, 1000], kind::FLOAT_CPU)
        };
        for kind in [Kind::Float, Kind::BFloat16] {
            let mut parameters = Parameters::new(&BTreeMap::from([("w".to_owned(), random(1))]), Device::Cpu, kind);
            let (mean, square) = (random(2) * 0.1, random(3).square());
            let (mut mean_too, mut square_too) = (mean.copy(), square.copy());
            let gradient = random(4).to_kind(kind);
            let wanted = random(1) * 0.999
                - adam_direction(&mut mean_too, &mut square_too, &(gradient.to_kind(Kind::Float) * 0.5), 3) * 0.01;
            let (settings, pace) = (adam_settings(3, 0.5), Pace { rate: 0.01, keep: 0.999 });
            fused_adam(&parameters, &[gradient], (&mean.view([-1]), &square.view([-1])), &[pace], &settings);
            let off = |one: &Tensor, other: &Tensor| (one - other).abs().max().double_value(&[]);
            assert!(off(parameters.values(), &wanted.view([-1])) < 1e-6);
            assert!(off(&mean, &mean_too) < 1e-6 && off(&square, &square_too) < 1e-6);
            let copies = parameters.copies().map(Tensor::copy);
            parameters.refresh_copies();
            assert!(copies.is_none_or(|copies| Some(copies) == parameters.copies().map(Tensor::copy)));
        }
    }
}
