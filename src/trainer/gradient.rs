//! The gradient of one step: a tensor for each weight. One micro-batch's stays in the arithmetic that it was computed in; the
//! sum of several is fp32.

use tch::{Kind, Tensor};

use super::parameters::Parameters;
use crate::native;
use crate::student::Weights;

/// A step's gradient, in the order of the parameters.
#[derive(Debug, Default)]
pub struct Gradient {
    pieces: Vec<Tensor>,
    is_sum: bool,
}

impl Gradient {
    /// Adds the gradient of a scalar with respect to what a step computes with.
    pub fn add(&mut self, parameters: &Parameters, loss: &Tensor, weights: &Weights) {
        let inputs: Vec<&Tensor> = weights.values().collect();
        let found = Tensor::run_backward(&[loss], &inputs, false, false);
        let found = found.into_iter().zip(&inputs);
        self.add_pieces(parameters, found.map(|(one, weight)| if one.defined() { one } else { weight.zeros_like() }));
    }

    fn add_pieces(&mut self, parameters: &Parameters, found: impl Iterator<Item = Tensor>) {
        if self.pieces.is_empty() {
            self.pieces = found.collect();
            return;
        }
        if !self.is_sum {
            let sum = parameters.pieces(&parameters.values().zeros_like());
            let first = std::mem::replace(&mut self.pieces, sum);
            self.is_sum = true;
            self.sum(first.into_iter());
        }
        self.sum(found);
    }

    fn sum(&mut self, found: impl Iterator<Item = Tensor>) {
        for (sum, one) in self.pieces.iter_mut().zip(found) {
            if native::serves(sum) {
                native::accumulate(sum, &one);
            } else {
                *sum += one.to_kind(Kind::Float);
            }
        }
    }

    /// A tensor for each weight, of its shape.
    pub fn pieces(&self) -> &[Tensor] {
        &self.pieces
    }

    /// The norm of all of it together.
    pub fn norm(&self) -> f64 {
        self.pieces.iter().map(sum_of_squares).sum::<f64>().sqrt()
    }
}

/// The sum of a tensor's squares.
pub fn sum_of_squares(tensor: &Tensor) -> f64 {
    if native::serves(tensor) {
        return native::sum_of_squares(tensor);
    }
    tensor.to_kind(Kind::Float).norm().double_value(&[]).powi(2)
}

#[cfg(test)]
impl Gradient {
    /// One of given numbers.
    pub fn of(pieces: Vec<Tensor>) -> Self {
        Self { pieces, is_sum: false }
    }
}
