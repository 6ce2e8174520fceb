//! Gradient checkpointing (Chen et al., 2016, arXiv 1604.06174): forwards, only what goes into each layer is kept; backwards,
//! each layer is computed again before its gradient. A third more arithmetic for a fraction of the memory. What was dropped is
//! dropped again, because dropout is a hash of seed and place.

use tch::{Kind, Tensor, no_grad};

use super::batch::size;
use super::t5::{Passage, T5};

/// Computes the gradient of a scalar: adds the weights' to a sum, and gives those of some more tensors.
pub type Backward<'a> = dyn FnMut(&Tensor, &[&Tensor]) -> Vec<Tensor> + 'a;

impl T5 {
    /// The gradient of `end`, a scalar made of what [`T5::forward`] gives, layer by layer.
    pub fn backward_by_layer(
        &self,
        passage: &Passage<'_>,
        end: &mut dyn FnMut(&Tensor) -> Tensor,
        backward: &mut Backward<'_>,
    ) {
        let (reading, writing) = (passage.dropout.at(0), passage.dropout.at(1));
        let ended = |hidden: &Tensor| reading.at(-2).of(self.encoder_norm.forward(hidden));
        let (mut read, mut written) = (Vec::new(), Vec::new());
        let read_last = leaf(no_grad(|| {
            self.through_encoder(passage.inputs, reading, &mut |hidden| read.push(hidden.shallow_clone()))
        }));
        let encoded = leaf(no_grad(|| ended(&read_last)));
        let last = leaf(no_grad(|| {
            self.through_decoder(passage, &encoded, &mut |hidden| written.push(hidden.shallow_clone()))
        }));

        let total = end(&writing.at(-2).of(self.decoder_norm.forward(&last)));
        let mut gradient = backward(&total, &[&last]).remove(0);
        let mut of_encoded = encoded.zeros_like().to_kind(Kind::Float);
        for (number, layer) in self.decoder.iter().enumerate().rev() {
            let hidden = leaf(last_of(&mut written));
            let bias = self.decoder_positions.by_distance_within(passage.said.longest());
            let out = layer.forward(&hidden, &encoded, passage.looks(&bias), writing.at(size(number)));
            let mut found = backward(&product(&out, &gradient), &[&hidden, &encoded]);
            of_encoded += found.remove(1);
            gradient = found.remove(0);
        }
        backward(&product(&writing.at(-1).of(self.embed(&passage.said.ids)), &gradient), &[]);

        let of_encoded = of_encoded.to_kind(encoded.kind());
        gradient = backward(&product(&ended(&read_last), &of_encoded), &[&read_last]).remove(0);
        for (number, layer) in self.encoder.iter().enumerate().rev() {
            let hidden = leaf(last_of(&mut read));
            let bias = self.encoder_positions.by_distance_within(passage.inputs.longest());
            let out = layer.forward(&hidden, passage.look_at_inputs(&bias), reading.at(size(number)));
            gradient = backward(&product(&out, &gradient), &[&hidden]).remove(0);
        }
        backward(&product(&reading.at(-1).of(self.embed(&passage.inputs.ids)), &gradient), &[]);
    }
}

fn last_of(states: &mut Vec<Tensor>) -> Tensor {
    states.pop().expect("what went into each layer was kept")
}

fn leaf(tensor: Tensor) -> Tensor {
    tensor.detach().set_requires_grad(true)
}

/// A scalar whose gradient with respect to `out` is `gradient`.
fn product(out: &Tensor, gradient: &Tensor) -> Tensor {
    (out * gradient).sum(Kind::Float)
}
