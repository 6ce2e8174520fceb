//! The gradient of one step: a tensor for each weight. One micro-batch's stays in the arithmetic that it was computed in; the
//! sum of several is fp32.

use tch::{Kind, Tensor};

use super::parameters::Parameters;
use crate::native;
use crate::student::Weights;

/// A step's gradient: for each weight, in the order of their names, a tensor of its shape.
#[derive(Debug, Default)]
pub struct Gradient {
    pieces: Vec<Option<Tensor>>,
}

impl Gradient {
    /// The sum of several micro-batches' to come, zero in fp32. One buffer holds it: among the tensors of a micro-batch, a
    /// tensor for each weight would leave the heap in pieces that nothing else fits into.
    pub fn of_several(parameters: &Parameters) -> Self {
        let buffer = parameters.values().zeros_like();
        Self { pieces: parameters.pieces(&buffer).into_iter().map(Some).collect() }
    }

    /// Adds the gradient of a scalar with respect to what a step computes with, and gives that of other tensors.
    pub fn add(&mut self, loss: &Tensor, weights: &Weights, leaves: &[&Tensor]) -> Vec<Tensor> {
        let inputs: Vec<&Tensor> = leaves.iter().copied().chain(weights.values()).collect();
        let mut found = Tensor::run_backward(&[loss], &inputs, false, false);
        let of_weights = found.split_off(leaves.len());
        self.pieces.resize_with(weights.len(), || None);
        for (piece, one) in self.pieces.iter_mut().zip(of_weights).filter(|(_, one)| one.defined()) {
            *piece = Some(match piece.take() {
                None => one,
                Some(sum) => added(sum, &one),
            });
        }
        found
    }

    /// A tensor for each weight; none where nothing depends on it, and none at all where nothing was added.
    pub fn pieces(&self) -> &[Option<Tensor>] {
        &self.pieces
    }

    /// The norm of all of it together.
    pub fn norm(&self) -> f64 {
        self.pieces.iter().flatten().map(sum_of_squares).sum::<f64>().sqrt()
    }
}

/// The sum of two gradients, in fp32.
fn added(sum: Tensor, one: &Tensor) -> Tensor {
    let mut sum = sum.to_kind(Kind::Float).contiguous();
    if native::serves(&sum) {
        native::accumulate(&sum, one);
    } else {
        sum += one.to_kind(Kind::Float);
    }
    sum
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
        Self { pieces: pieces.into_iter().map(Some).collect() }
    }
}
