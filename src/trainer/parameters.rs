//! A student's weights while they are learned: one fp32 buffer that holds them all, so that what treats every number
//! alike (clipping, Adam's moments, casting) is one operation and not one a tensor.

use tch::{Device, Kind, Tensor};

use crate::student::Weights;

/// The fp32 master weights, end to end in one buffer in the order of their names.
pub struct Parameters {
    /// All weights, `(count)`.
    pub values: Tensor,
    layout: Vec<Piece>,
}

/// Where one weight lies in the buffer.
struct Piece {
    name: String,
    shape: Vec<i64>,
    start: i64,
    length: i64,
}

impl Parameters {
    /// Copies weights of any kind into one buffer.
    pub fn new(weights: &Weights, device: Device) -> Self {
        let mut start = 0;
        let mut layout = Vec::with_capacity(weights.len());
        for (name, weight) in weights {
            let shape = weight.size();
            let length = shape.iter().product();
            layout.push(Piece { name: name.clone(), shape, start, length });
            start += length;
        }
        let flat: Vec<Tensor> =
            weights.values().map(|weight| weight.to_device(device).to_kind(Kind::Float).reshape([-1])).collect();
        Self { values: Tensor::cat(&flat, 0), layout }
    }

    /// Numbers in all.
    pub fn count(&self) -> u64 {
        self.values.numel() as u64
    }

    /// Copies for one step's arithmetic, which carry gradients; fp32 ones share the masters' memory.
    pub fn compute_copies(&self, kind: Kind) -> Weights {
        let copies = self.weights(&self.values.to_kind(kind));
        copies.into_iter().map(|(name, copy)| (name, copy.detach().set_requires_grad(true))).collect()
    }

    /// A buffer of this layout as weights by name, sharing its memory.
    pub fn weights(&self, buffer: &Tensor) -> Weights {
        self.layout.iter().map(|piece| (piece.name.clone(), piece.of(buffer))).collect()
    }

    /// The weights' names, in the buffer's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.layout.iter().map(|piece| piece.name.as_str())
    }

    /// The pieces of a buffer of this layout, in order, sharing its memory and having their weights' shapes.
    pub fn pieces(&self, buffer: &Tensor) -> Vec<Tensor> {
        self.layout.iter().map(|piece| piece.of(buffer)).collect()
    }

    /// The gradient of a scalar with respect to copies made by `compute_copies`, as one fp32 buffer.
    pub fn gradient(&self, loss: &Tensor, copies: &Weights) -> Tensor {
        let inputs: Vec<&Tensor> = copies.values().collect();
        let gradients = Tensor::run_backward(&[loss], &inputs, false, false);
        let flat: Vec<Tensor> = gradients
            .into_iter()
            .zip(&inputs)
            .map(|(gradient, input)| if gradient.defined() { gradient } else { input.zeros_like() })
            .map(|gradient| gradient.reshape([-1]))
            .collect();
        Tensor::cat(&flat, 0).to_kind(Kind::Float)
    }
}

impl Piece {
    fn of(&self, buffer: &Tensor) -> Tensor {
        buffer.narrow(0, self.start, self.length).view(self.shape.as_slice())
    }
}
