//! Products in every way that this processor has, and what is refused.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::kind;

use super::*;

/// A T5 without layers, of these ends but for some that are left out.
fn ends_without(missing: &[usize], storage: Storage) -> PrepackedT5 {
    let (d_model, d_kv, heads, d_ff, vocabulary) = (8, 4, 2, 16, 40);
    let (activation, farthest, epsilon, output_scale) = (0, 3, 1e-6, 1.0);
    let sizes = Sizes { d_model, d_kv, heads, d_ff, vocabulary, activation, farthest, epsilon, output_scale };
    let (weight, norm) = (|| Tensor::ones([40, 8], kind::FLOAT_CPU), || Tensor::ones([8], kind::FLOAT_CPU));
    let bias = |distances: i64| Tensor::zeros([2, distances], kind::FLOAT_CPU);
    let mut ends = [weight(), weight(), norm(), norm(), bias(7), bias(4)].map(Some);
    missing.iter().for_each(|place| ends[*place] = None);
    PrepackedT5::new(&sizes, storage, &ends)
}

#[test]
fn the_output_layer_alone_may_be_missing() {
    let hidden = Tensor::ones([1, 8], kind::FLOAT_CPU);
    assert!(
        ends_without(&[1], Storage::Numbers)
            .logits(&hidden)
            .equal(&ends_without(&[], Storage::Numbers).logits(&hidden))
    );
}

#[test]
#[should_panic(expected = "the weight of a norm is missing: tensor 3")]
fn a_tensor_that_is_missing_is_named() {
    ends_without(&[3], Storage::Numbers);
}

#[test]
#[should_panic(expected = "levels are multiplied in bf16 alone")]
fn levels_of_fp32_are_refused() {
    ends_without(&[], Storage::Levels);
}

#[test]
fn what_is_no_number_has_no_level() {
    if best_way() == 0 {
        println!("SKIPPED: this processor has no instructions for bf16");
        return;
    }
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let weight = Tensor::ones([3, 40], kind::FLOAT_CPU).to_kind(Kind::BFloat16);
        let _ = weight.get(2).get(7).fill_(number);
        let refused = catch_unwind(AssertUnwindSafe(|| multiply(&weight, &weight, Storage::Levels, 1, 1)));
        let message = *refused.expect_err("it was packed").downcast::<String>().unwrap();
        assert!(message.contains("a weight is not finite"), "{message}");
    }
}

#[test]
#[should_panic(expected = "a mask is (rows, length) of truths")]
fn a_mask_of_numbers_is_refused() {
    let ids = Tensor::ones([1, 3], (Kind::Int64, tch::Device::Cpu));
    let _ = ends_without(&[], Storage::Numbers).encode(&ids, &ids);
}

/// The product of left (rows, depth) and right (columns, depth) by a way that the processor has.
fn multiply(left: &Tensor, right: &Tensor, storage: Storage, way: i64, threads: i64) -> Tensor {
    let left = left.contiguous();
    // SAFETY: the tensors live through the call.
    one(|out| unsafe {
        kernels::stepwise_t5_multiply(pointer(&left), pointer(right), storage as i64, way, threads, out)
    })
}

fn best_way() -> i64 {
    // SAFETY: it only reads what the processor says of itself.
    let best = unsafe { kernels::stepwise_t5_way() };
    println!("this processor's best way is {best}");
    best
}

#[test]
fn every_way_to_multiply_bf16_gives_the_product_and_each_row_the_same_in_any_company() {
    if best_way() == 0 {
        println!("SKIPPED: this processor has no instructions for bf16");
        return;
    }
    let ways: Vec<(i64, Storage)> =
        (1..=best_way()).flat_map(|way| [(way, Storage::Numbers), (way, Storage::Levels)]).collect();
    for (rows, columns, depth) in [(1, 1, 1), (1, 300, 64), (16, 32, 32), (37, 70, 100), (75, 600, 513)] {
        tch::manual_seed(rows);
        let random = |rows| Tensor::randn([rows, depth], kind::FLOAT_CPU).to_kind(Kind::BFloat16);
        let (left, right) = (random(rows), random(columns));
        for (way, storage) in &ways {
            let plain =
                left.to_kind(Kind::Double).matmul(&in_storage(&right, *storage).to_kind(Kind::Double).transpose(0, 1));
            let product = multiply(&left, &right, *storage, *way, 2);
            let off = (&product - &plain).abs().max().double_value(&[]);
            assert!(off < 1e-3, "{storage:?}, way {way}, {rows} x {depth} x {columns} is off by {off}");
            for row in [0, rows / 2, rows - 1] {
                let alone = multiply(&left.narrow(0, row, 1), &right, *storage, *way, 1);
                assert!(alone.equal(&product.narrow(0, row, 1)), "{storage:?}, way {way}, row {row} of {rows}");
            }
        }
    }
}

#[test]
fn levels_are_no_farther_from_a_weight_than_half_a_step() {
    if best_way() == 0 {
        println!("SKIPPED: this processor has no instructions for bf16");
        return;
    }
    tch::manual_seed(3);
    let right = Tensor::randn([70, 100], kind::FLOAT_CPU).to_kind(Kind::BFloat16);
    let left = Tensor::eye(100, (Kind::BFloat16, tch::Device::Cpu));
    let found = multiply(&left, &right, Storage::Levels, 1, 1);
    let weights = right.to_kind(Kind::Double).transpose(0, 1);
    let steps = weights.abs().amax([0_i64].as_slice(), true) / 127.0;
    let off = ((found - weights).abs() / steps).max().double_value(&[]);
    assert!(off > 0.4 && off < 0.5 + 1e-4, "the farthest is {off} steps away");
}
