//! A student's weights while they are learned: one fp32 buffer that holds them all, and the bf16 copies that steps compute
//! with.

use tch::{Device, Kind, Tensor};

use crate::student::Weights;

/// The fp32 master weights, end to end in one buffer in the order of their names.
pub struct Parameters {
    /// All weights, `(count)`.
    values: Tensor,
    /// The same in what a step computes in, where that is not fp32.
    copies: Option<Tensor>,
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
    /// Copies weights of any kind into one buffer; steps compute in `kind`.
    pub fn new(weights: &Weights, device: Device, kind: Kind) -> Self {
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
        let values = Tensor::cat(&flat, 0);
        let copies = (kind != Kind::Float).then(|| values.to_kind(kind));
        Self { values, copies, layout }
    }

    /// All weights, `(count)`.
    pub fn values(&self) -> &Tensor {
        &self.values
    }

    /// The buffer that steps compute with, where it is not the weights' own.
    pub fn copies(&self) -> Option<&Tensor> {
        self.copies.as_ref()
    }

    /// Other weights take the place of these.
    pub fn set(&mut self, values: &Tensor) {
        self.values.copy_(values);
        self.refresh_copies();
    }

    /// The same from weights by name, of any kind and on any device.
    pub fn set_by_name(&mut self, weights: &Weights) {
        for (name, mut weight) in self.by_name() {
            weight.copy_(&weights[&name]);
        }
        self.refresh_copies();
    }

    /// To be called when the weights were changed through `values`.
    pub fn refresh_copies(&mut self) {
        if let Some(copies) = &mut self.copies {
            copies.copy_(&self.values);
        }
    }

    /// Numbers in all.
    pub fn count(&self) -> u64 {
        self.values.numel() as u64
    }

    /// What a step computes with: tensors that share the memory of the copies, or of the weights, and carry gradients.
    pub fn to_compute(&self) -> Weights {
        let all = self.weights(self.copies.as_ref().unwrap_or(&self.values));
        all.into_iter().map(|(name, weight)| (name, weight.detach().set_requires_grad(true))).collect()
    }

    /// The weights by name, sharing their memory.
    pub fn by_name(&self) -> Weights {
        self.weights(&self.values)
    }

    fn weights(&self, buffer: &Tensor) -> Weights {
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
}

impl Piece {
    fn of(&self, buffer: &Tensor) -> Tensor {
        buffer.narrow(0, self.start, self.length).view(self.shape.as_slice())
    }
}
