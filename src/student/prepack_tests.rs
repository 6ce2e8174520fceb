//! Prepacked students beside the tensors that they were made of, and in company and alone.

use tch::{Kind, no_grad};

use super::*;
use crate::domain::FromScratch;
use crate::native::t5::in_storage;
use crate::student::batch::pad;
use crate::student::decoding::Decoding;
use crate::student::{T5, initial_weights, scoring};

/// Sizes that fill no register: a T5 of version 1.1, one of 1.0, which is tied and has no gates, and one of UL2's kind.
fn configs() -> [T5Config; 3] {
    let config = |d_model, d_kv, d_ff, heads| {
        let shape = FromScratch { d_model, d_kv, d_ff, num_layers: 2, num_heads: heads, ..FromScratch::default() };
        T5Config::from_scratch(&FromScratch { num_decoder_layers: Some(3), ..shape }, 90)
    };
    let old =
        T5Config { feed_forward_proj: FeedForwardKind::Relu, tie_word_embeddings: true, ..config(64, 16, 100, 4) };
    let ul2 = T5Config { feed_forward_proj: FeedForwardKind::GatedSilu, ..config(40, 80, 72, 1) };
    [config(24, 8, 40, 3), old, ul2]
}

/// Kinds of tensors, and how they are kept when they are prepacked, of those that this processor computes in.
fn arithmetics() -> impl Iterator<Item = (Kind, Storage)> {
    let all = [(Kind::Float, Storage::Numbers), (Kind::BFloat16, Storage::Numbers), (Kind::BFloat16, Storage::Levels)];
    all.into_iter().filter(|(kind, _)| multiplies(*kind))
}

/// What is left of a tensor where the layers' are kept in a storage.
fn kept(name: &str, tensor: &Tensor, storage: Storage) -> Tensor {
    let is_of_layer = name.contains("block") && !name.contains("relative_attention_bias") && tensor.dim() == 2;
    in_storage(tensor, if is_of_layer { storage } else { Storage::Numbers })
}

/// The tensors of a T5 in fp32, as they are kept, and prepacked from a kind.
fn both(config: &T5Config, (kind, storage): (Kind, Storage)) -> (T5, T5) {
    let weights: Weights =
        initial_weights(config, 5).into_iter().map(|(name, tensor)| (name, tensor.to_kind(kind))).collect();
    let plain = |(name, tensor): (&String, &Tensor)| (name.clone(), kept(name, tensor, storage));
    let plain = T5::new(config, &weights.iter().map(plain).collect()).unwrap();
    let mut prepacked = weights;
    let mut answers = T5::new(config, &prepacked).unwrap();
    answers.prepack(storage, &mut prepacked);
    assert!(prepacked.is_empty());
    answers.prepacked.as_ref().expect("this processor computes in it").use_threads(2);
    (plain, answers)
}

/// Some are longer than the farthest distance that has a bias of its own.
fn inputs() -> Vec<Vec<i64>> {
    [3, 150, 1, 40, 17].iter().map(|length| (0..*length).map(|at| 5 + (at * 7 + length) % 80).collect()).collect()
}

/// What the encoder makes of inputs, what the decoder makes of some tokens after each other, and the labels' log-likelihoods.
fn results(t5: &T5, inputs: &[Vec<i64>]) -> Vec<Tensor> {
    no_grad(|| {
        let (ids, mask) = pad(inputs, 0, Device::Cpu);
        let encoded = t5.encode(&ids, &mask);
        let mut decoding = Decoding::new(t5, &encoded, &mask, 2, 1);
        let said = |step: i64| Tensor::from_slice(&vec![step * 11; inputs.len()]);
        let mut results: Vec<Tensor> = (0..70).map(|step| t5.logits(&decoding.step(&said(step % 8)))).collect();
        let labels = vec![vec![vec![7, 8, 1], vec![7, 8, 9, 1], vec![7, 1], vec![20, 1]]; inputs.len()];
        let likelihoods = scoring::label_log_likelihoods(t5, &encoded, &mask, &labels);
        results.push(Tensor::from_slice(&likelihoods.concat()).view([-1, 4]));
        results.push(encoded);
        results.into_iter().map(|result| result.to_kind(Kind::Float)).collect()
    })
}

fn off(found: &[Tensor], right: &[Tensor]) -> f64 {
    let off = |(found, right): (&Tensor, &Tensor)| {
        (found - right).abs().max().double_value(&[]) / right.abs().max().double_value(&[])
    };
    found.iter().zip(right).map(off).fold(0.0, f64::max)
}

#[test]
fn prepacked_weights_answer_as_tensors_do() {
    for config in configs() {
        let (plain, prepacked) = both(&config, (Kind::Float, Storage::Numbers));
        let off = off(&results(&prepacked, &inputs()), &results(&plain, &inputs()));
        assert!(off < 2e-5, "{config:?} is off by {off}");
    }
}

#[test]
fn in_bf16_they_are_nearer_to_fp32_than_tensors_are() {
    if !multiplies(Kind::BFloat16) {
        println!("SKIPPED: this processor has no instructions for bf16");
        return;
    }
    for config in configs() {
        let (plain, prepacked) = both(&config, (Kind::BFloat16, Storage::Numbers));
        let right = results(&plain, &inputs());
        let rounded =
            initial_weights(&config, 5).into_iter().map(|(name, weight)| (name, weight.to_kind(Kind::BFloat16)));
        let tensors = T5::new(&config, &rounded.collect()).unwrap();
        let (ours, theirs) = (off(&results(&prepacked, &inputs()), &right), off(&results(&tensors, &inputs()), &right));
        assert!(ours < 0.05 && ours <= theirs, "{config:?} is off by {ours}, tensors by {theirs}");
    }
}

#[test]
fn in_eight_bits_they_answer_as_what_is_kept_of_them() {
    if !multiplies(Kind::BFloat16) {
        println!("SKIPPED: this processor has no instructions for bf16");
        return;
    }
    for arithmetic in arithmetics().filter(|(_, storage)| *storage == Storage::Levels) {
        for config in configs() {
            let (plain, prepacked) = both(&config, arithmetic);
            let off = off(&results(&prepacked, &inputs()), &results(&plain, &inputs()));
            assert!(off < 0.05, "{config:?} is off by {off}");
        }
    }
}

#[test]
fn the_likeliest_token_is_that_of_all_scores() {
    for (arithmetic, config) in arithmetics().flat_map(|arithmetic| configs().map(|config| (arithmetic, config))) {
        let prepacked = both(&config, arithmetic).1;
        tch::manual_seed(17);
        let hidden = Tensor::randn([37, config.d_model], (arithmetic.0, Device::Cpu));
        let _ = hidden.get(5).fill_(f64::NAN);
        let logits = prepacked.logits(&hidden);
        let find = |barred: &Tensor| prepacked.prepacked.as_ref().unwrap().likeliest(&hidden, barred);
        let free = find(&Tensor::full([37], -1, (Kind::Int64, Device::Cpu)));
        // With the best one barred, the second.
        let (scores, tokens) = logits.nan_to_num(0.0, None::<f64>, None::<f64>).topk(2, -1, true, true);
        let next = find(&tokens.select(1, 0).contiguous());
        for row in (0..37).filter(|row| *row != 5) {
            for (found, place) in [(&free, 0), (&next, 1)] {
                assert_eq!(found.double_value(&[0, row]), tokens.double_value(&[row, place]), "{arithmetic:?}, {row}");
                assert_eq!(found.double_value(&[1, row]), scores.double_value(&[row, place]), "{arithmetic:?}, {row}");
            }
        }
        assert!(free.double_value(&[1, 5]).is_nan() && free.double_value(&[0, 5]) == 0.0);
    }
}

/// A prepacked T5 of 90 tokens, in fp32, some of whose rows of the output layer are changed.
fn with_output(change: impl Fn(&Tensor)) -> T5 {
    let config = &configs()[0];
    let mut weights = initial_weights(config, 5);
    change(&weights["lm_head.weight"]);
    let mut t5 = T5::new(config, &weights).unwrap();
    t5.prepack(Storage::Numbers, &mut weights);
    t5
}

/// The likeliest token of a hidden state of ones, and its score, where one does not count.
fn likeliest(t5: &T5, barred: i64) -> [f64; 2] {
    let hidden = Tensor::ones([1, 24], (Kind::Float, Device::Cpu));
    let found = t5.prepacked.as_ref().unwrap().likeliest(&hidden, &Tensor::from_slice(&[barred]));
    [0, 1].map(|part| found.double_value(&[part, 0]))
}

#[test]
fn of_equal_scores_the_first_token_is_the_likeliest() {
    // Two in one panel of 32, and one in the last.
    let t5 = with_output(|output| [3, 5, 70].into_iter().for_each(|token| drop(output.get(token).fill_(2.0))));
    assert_eq!([-1, 3].map(|barred| likeliest(&t5, barred)), [[3.0, 48.0], [5.0, 48.0]]);
    let t5 = with_output(|output| [40, 70].into_iter().for_each(|token| drop(output.get(token).fill_(2.0))));
    assert_eq!([-1, 40].map(|barred| likeliest(&t5, barred)), [[40.0, 48.0], [70.0, 48.0]]);
}

#[test]
fn a_score_that_is_no_number_is_seen_in_every_panel() {
    for token in [0, 33, 89] {
        let t5 = with_output(|output| drop(output.get(token).fill_(f64::NAN)));
        assert!(likeliest(&t5, -1)[1].is_nan(), "token {token}");
        assert!(likeliest(&t5, token)[1].is_finite(), "token {token} does not count");
    }
}

#[test]
fn what_was_said_lies_where_it_was_put_until_there_is_no_room() {
    for arithmetic in arithmetics() {
        let prepacked = both(&configs()[0], arithmetic).1;
        no_grad(|| {
            let (ids, mask) = pad(&inputs()[..2], 0, Device::Cpu);
            // Room is made for a multiple of 32 tokens.
            let mut decoding = Decoding::new(&prepacked, &prepacked.encode(&ids, &mask), &mask, 64, 1);
            let mut step = || {
                let _ = decoding.step(&Tensor::from_slice(&[3_i64, 4]));
                let Decoding::Prepacked(answers) = &decoding else { panic!("it answers with tensors") };
                [answers.place(0), answers.place(1)]
            };
            let first = step();
            assert!((1..64).all(|_| step() == first), "{arithmetic:?}");
            assert_ne!(step(), first, "there was room for 64");
        });
    }
}

#[test]
fn an_answer_is_the_same_to_the_last_bit_in_any_company() {
    for arithmetic in arithmetics() {
        for config in configs() {
            let prepacked = both(&config, arithmetic).1;
            let many: Vec<Vec<i64>> = inputs().into_iter().cycle().take(37).collect();
            let together = results(&prepacked, &many);
            for row in [0, 1, 33] {
                let alone = results(&prepacked, &many[row..=row]);
                for (alone, together) in alone.iter().zip(&together) {
                    let own = together.narrow(0, i64::try_from(row).unwrap(), 1);
                    // A grid is as long as its longest row.
                    let own = if alone.dim() == 3 { own.narrow(1, 0, alone.size()[1]) } else { own };
                    assert!(alone.equal(&own), "{arithmetic:?}, row {row}");
                }
            }
        }
    }
}
