//! The ways that a student takes on a GPU, taken on a processor: the kernels serve no fp64, so an fp64 student goes without
//! them.

use stepwise::{
    domain::FromScratch,
    student::{Dropout, Packed, Passage, T5, T5Config, Weights, initial_weights},
};
use tch::{Device, Kind, Tensor};

const VOCABULARY: i64 = 60;

fn student(kind: Kind) -> (Weights, T5) {
    let shape = FromScratch { d_model: 24, d_kv: 8, d_ff: 16, num_layers: 2, num_heads: 3, ..FromScratch::default() };
    let config = T5Config::from_scratch(&shape, VOCABULARY);
    let weights: Weights = initial_weights(&config, 3)
        .into_iter()
        .map(|(name, weight)| (name, weight.to_kind(kind).set_requires_grad(true)))
        .collect();
    let model = T5::new(&config, &weights).unwrap();
    (weights, model)
}

fn packed(lengths: &[usize]) -> Packed {
    let sequences: Vec<Vec<i64>> =
        lengths.iter().map(|&length| (0..length).map(|at| (7 * at + length) as i64 % 50 + 3).collect()).collect();
    Packed::new(&sequences, Device::Cpu)
}

#[derive(Clone, Copy)]
enum Backwards {
    Whole,
    LayerByLayer,
}

/// The loss of three sequences, and the gradient of each weight, in fp64.
fn gradients(kind: Kind, dropout: Dropout, backwards: Backwards) -> Vec<(String, Tensor)> {
    let (weights, model) = student(kind);
    let (inputs, said) = (packed(&[5, 30, 1]), packed(&[4, 9, 2]));
    let passage = Passage { inputs: &inputs, said: &said, dropout };
    let targets = Tensor::from_slice(&(0..15).map(|at| (11 * at) % 50 + 3).collect::<Vec<i64>>());
    let of_tokens = Tensor::full([15], 1.0 / 15.0, (Kind::Float, Device::Cpu));
    let mut loss = None;
    let mut end = |hidden: &Tensor| {
        let (total, _) = model.cross_entropy(hidden, &targets, &of_tokens);
        loss = Some(total.detach());
        total
    };
    let mut sums: Vec<Tensor> =
        weights.values().map(|weight| weight.detach().zeros_like().to_kind(Kind::Double)).collect();
    let mut backward = |loss: &Tensor, leaves: &[&Tensor]| {
        let inputs: Vec<&Tensor> = leaves.iter().copied().chain(weights.values()).collect();
        let mut found = Tensor::run_backward(&[loss], &inputs, false, false);
        for (sum, one) in sums.iter_mut().zip(found.split_off(leaves.len())).filter(|(_, one)| one.defined()) {
            *sum += one.to_kind(Kind::Double);
        }
        found
    };
    match backwards {
        Backwards::Whole => drop(backward(&end(&model.forward(&passage)), &[])),
        Backwards::LayerByLayer => model.backward_by_layer(&passage, &mut end, &mut backward),
    }
    let loss = ("loss".to_owned(), loss.unwrap().to_kind(Kind::Double));
    std::iter::once(loss).chain(weights.into_keys().zip(sums)).collect()
}

#[track_caller]
fn assert_same(one: &[(String, Tensor)], other: &[(String, Tensor)], tolerance: f64) {
    assert_eq!(one.len(), other.len());
    for ((name, one), (_, other)) in one.iter().zip(other) {
        let size = other.abs().max().double_value(&[]);
        let off = (one - other).abs().max().double_value(&[]) / size.max(1e-6);
        assert!(off < tolerance && size > 0.0, "{name} is off by {off} of {size}");
    }
}

#[test]
fn without_kernels_losses_and_gradients_are_the_same() {
    let by_kernels = gradients(Kind::Float, Dropout::NONE, Backwards::Whole);
    let plainly = gradients(Kind::Double, Dropout::NONE, Backwards::Whole);
    assert_same(&by_kernels, &plainly, 1e-4);
}

#[test]
fn without_kernels_a_layer_that_is_computed_again_drops_the_same_numbers() {
    let dropout = Dropout::new(0.2, 5);
    let whole = gradients(Kind::Double, dropout, Backwards::Whole);
    // Scores are summed in fp32 in either way.
    assert_same(&gradients(Kind::Double, dropout, Backwards::LayerByLayer), &whole, 1e-5);
    let undropped = gradients(Kind::Double, Dropout::NONE, Backwards::Whole);
    let off = (&undropped[0].1 - &whole[0].1).abs().double_value(&[]);
    assert!(off > 1e-3, "{off}");
}
