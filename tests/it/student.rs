//! The student against values that transformers computed (shared/reference), and against itself.

use std::fs;
use std::path::Path;

use serde_json::Value;
use stepwise::domain::{FromScratch, ServingPrecision, StudentCard};
use stepwise::student::batch::pad;
use stepwise::student::unigram::train_tokenizer;
use stepwise::student::{
    FeedForwardKind, Student, StudentTokenizer, T5, T5Config, Weights,
    beam_search::{self, BeamSearch, EarlyStopping},
    generation, initial_weights, load_weights, save_checkpoint, save_weights, scoring,
};
use tch::{Device, Kind, Tensor};

use crate::support::shared::shared;

pub fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn assert_close(found: f64, expected: f64, relative: f64, what: &str) {
    let error = (found - expected).abs() / expected.abs().max(1e-9);
    assert!(error <= relative, "{what}: {found} where {expected} is right, off by {error:.2e} of it");
}

pub fn encode_all(tokenizer: &StudentTokenizer, texts: &[String], length: usize) -> Vec<Vec<i64>> {
    texts.iter().map(|text| tokenizer.encode(text, length).ids).collect()
}

#[test]
fn token_ids_are_those_of_transformers() {
    let Some(folder) = shared("reference") else { return };
    let tokenizer = StudentTokenizer::from_dir(&folder.join("t5_v1_1_gated_gelu")).unwrap();
    for case in json(&folder.join("tokens.json")).as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        let expected: Vec<i64> = case["ids"].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect();
        assert_eq!(tokenizer.encode(text, usize::MAX).ids, expected, "{text:?}");
        assert_eq!(tokenizer.decode(&expected), case["decoded"].as_str().unwrap().trim_end(), "{text:?}");
    }
}

/// A small T5 with random weights.
pub fn small_student(kind: FeedForwardKind, tied: bool) -> (T5Config, Weights) {
    let shape = FromScratch { d_model: 24, d_kv: 8, d_ff: 32, num_layers: 2, num_heads: 3, ..FromScratch::default() };
    let config = T5Config { feed_forward_proj: kind, tie_word_embeddings: tied, ..T5Config::from_scratch(&shape, 90) };
    let mut weights = initial_weights(&config, 7);
    if let Some(output) = weights.get_mut("lm_head.weight") {
        // Larger scores: the likeliest token must not hang on rounding.
        *output = &*output * 20.0;
    }
    (config, weights)
}

/// A small T5 to which </s> is likely, so that its answers end at different steps.
fn quick_to_end() -> T5 {
    let (config, mut weights) = small_student(FeedForwardKind::GatedGelu, false);
    let output = weights.get_mut("lm_head.weight").unwrap();
    let end = output.get(1) * 3.0;
    output.get(1).copy_(&end);
    T5::new(&config, &weights).unwrap()
}

/// A complete folder of a small student, whose tokenizer knows a few words.
pub fn small_checkpoint(folder: &Path, card: &StudentCard) {
    let text = "predict explain refund exchange reject the box was torn on day nine so rule two decides";
    let tokenizer = StudentTokenizer::from_tokenizer(train_tokenizer([text], 60).unwrap()).unwrap();
    let shape = FromScratch { d_model: 24, d_kv: 8, d_ff: 32, num_layers: 2, num_heads: 3, ..FromScratch::default() };
    let config = T5Config::from_scratch(&shape, tokenizer.vocabulary_size() + 5);
    save_checkpoint(folder, &config, &initial_weights(&config, 7), &tokenizer, card).unwrap();
}

fn rows_of_many_lengths() -> Vec<Vec<i64>> {
    (0..7).map(|row| (0..2 + row * 3).map(|at| 3 + (at * 7 + row * 11) % 85).chain([1]).collect()).collect()
}

/// The likeliest token from a whole forward pass a step, one input at a time.
fn greedy_without_cache(model: &T5, input: &[i64], most: usize) -> Vec<i64> {
    let (ids, mask) = pad(&[input.to_vec()], 0, Device::Cpu);
    let encoded = model.encode(&ids, &mask);
    let mut said = vec![0];
    while said.len() <= most && (said.len() == 1 || said[said.len() - 1] != 1) {
        let logits = model.logits(&model.decode(&Tensor::from_slice(&said).unsqueeze(0), &encoded, &mask));
        said.push(logits.select(1, -1).argmax(-1, false).int64_value(&[0]));
    }
    said[1..].to_vec()
}

#[test]
fn cached_generation_says_what_whole_forward_passes_say() {
    for (kind, tied) in [(FeedForwardKind::Relu, true), (FeedForwardKind::GatedGelu, false)] {
        let (config, weights) = small_student(kind, tied);
        let model = T5::new(&config, &weights).unwrap();
        let rows = rows_of_many_lengths();
        let (ids, mask) = pad(&rows, 0, Device::Cpu);
        for (row, together) in rows.iter().zip(generation::greedy(&model, &ids, &mask, 20)) {
            assert_eq!(together.ids, greedy_without_cache(&model, row, 20));
            let (ids, mask) = pad(std::slice::from_ref(row), 0, Device::Cpu);
            let alone = &generation::greedy(&model, &ids, &mask, 20)[0];
            assert_eq!(alone.ids, together.ids);
            assert!((alone.log_probability - together.log_probability).abs() < 1e-3);
        }
    }
}

#[test]
fn rows_that_finish_leave_the_others_alone() {
    let model = quick_to_end();
    let rows = rows_of_many_lengths();
    let (ids, mask) = pad(&rows, 0, Device::Cpu);
    let generated = generation::greedy(&model, &ids, &mask, 30);
    let lengths: std::collections::BTreeSet<usize> = generated.iter().map(|generated| generated.ids.len()).collect();
    assert!(lengths.len() > 2 && lengths.first() < Some(&30), "the rows end at {lengths:?}");
    for (row, generated) in rows.iter().zip(generated) {
        assert_eq!(generated.ids, greedy_without_cache(&model, row, 30));
    }
}

#[test]
fn a_search_scores_answers_as_labels_are_scored_and_leaves_other_rows_alone() {
    let model = quick_to_end();
    let rows = rows_of_many_lengths();
    let (ids, mask) = pad(&rows, 0, Device::Cpu);
    for early_stopping in [EarlyStopping::Unlikely, EarlyStopping::Full, EarlyStopping::Impossible] {
        let settings =
            BeamSearch { beams: 3, max_new_tokens: 9, min_new_tokens: 2, length_penalty: 0.7, early_stopping };
        let together = beam_search::search(&model, &ids, &mask, &settings);
        for (row, together) in rows.iter().zip(together) {
            let (ids, mask) = pad(std::slice::from_ref(row), 0, Device::Cpu);
            let alone = &beam_search::search(&model, &ids, &mask, &settings)[0];
            let said: Vec<Vec<i64>> = together.iter().map(|found| found.ids.clone()).collect();
            assert_eq!(alone.iter().map(|found| found.ids.clone()).collect::<Vec<_>>(), said);
            assert!(said.len() == 3 && together.is_sorted_by(|one, other| one.score >= other.score));
            let scores = scoring::label_log_likelihoods(&model, &model.encode(&ids, &mask), &mask, &[said]);
            for (found, score) in together.iter().zip(&scores[0]) {
                assert_close(found.score, score / (found.ids.len() as f64).powf(0.7), 1e-4, "score of an answer");
                let (ended, length) = (found.ids.iter().position(|id| *id == 1), found.ids.len());
                assert!(ended.map_or(length == 9, |end| end + 1 == length && length > 2), "{:?}", found.ids);
            }
        }
    }
}

#[test]
fn labels_score_the_same_together_and_alone() {
    let (config, weights) = small_student(FeedForwardKind::GatedGelu, false);
    let model = T5::new(&config, &weights).unwrap();
    let rows = rows_of_many_lengths();
    let labels: Vec<Vec<Vec<i64>>> = (0..rows.len())
        .map(|row| (0..=row % 3).map(|label| vec![5 + i64::try_from(label).unwrap(); label + 1]).collect())
        .collect();
    let (ids, mask) = pad(&rows, 0, Device::Cpu);
    let together = scoring::label_log_likelihoods(&model, &model.encode(&ids, &mask), &mask, &labels);
    for (row, found) in rows.iter().zip(&together).enumerate() {
        let (ids, mask) = pad(std::slice::from_ref(found.0), 0, Device::Cpu);
        let encoded = model.encode(&ids, &mask);
        assert_eq!(found.1.len(), labels[row].len());
        for (label, score) in labels[row].iter().zip(found.1) {
            let alone = scoring::label_log_likelihoods(&model, &encoded, &mask, &[vec![label.clone()]]);
            assert_close(*score, alone[0][0], 1e-4, "score of a label");
        }
    }
}

#[test]
fn a_checkpoint_reads_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let card = StudentCard { label_prefix: "label: ".to_owned(), ..StudentCard::default() };
    small_checkpoint(folder.path(), &card);
    let student = Student::load(folder.path(), Device::Cpu, ServingPrecision::Fp32).unwrap();
    assert_eq!(student.card, card);
    let again = tempfile::tempdir().unwrap();
    save_checkpoint(again.path(), &student.config, &student.weights, &student.tokenizer, &student.card).unwrap();
    for file in fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
        let name = file.file_name();
        assert_eq!(fs::read(file.path()).unwrap(), fs::read(again.path().join(&name)).unwrap(), "{name:?} differs");
    }
}

#[test]
fn bf16_weights_keep_their_kind_and_copies_of_the_embedding_are_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let (config, mut weights) = small_student(FeedForwardKind::Relu, true);
    weights.values_mut().for_each(|tensor| *tensor = tensor.to_kind(Kind::BFloat16));
    let names: Vec<String> = weights.keys().cloned().collect();
    for copy in ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"] {
        weights.insert(copy.to_owned(), weights["shared.weight"].copy());
    }
    save_weights(folder.path(), &weights).unwrap();
    let read = load_weights(folder.path(), &config, Device::Cpu, Kind::BFloat16).unwrap();
    assert_eq!(read.keys().cloned().collect::<Vec<_>>(), names);
    assert!(read.iter().all(|(name, tensor)| tensor.equal(&weights[name])));
}

#[test]
fn numbers_of_every_width_are_converted() {
    let folder = tempfile::tempdir().unwrap();
    let (config, weights) = small_student(FeedForwardKind::Relu, true);
    for kind in [Kind::Half, Kind::Double, Kind::BFloat16] {
        let stored: Vec<(&str, Tensor)> =
            weights.iter().map(|(name, tensor)| (name.as_str(), tensor.to_kind(kind))).collect();
        Tensor::write_safetensors(&stored, folder.path().join("model.safetensors")).unwrap();
        let read = load_weights(folder.path(), &config, Device::Cpu, Kind::Float).unwrap();
        assert_eq!(read.len(), weights.len());
        assert!(read.iter().all(|(name, found)| found.equal(&weights[name].to_kind(kind).to_kind(Kind::Float))));
    }
    let whole = weights.iter().map(|(name, tensor)| (name.as_str(), tensor.to_kind(Kind::Int))).collect::<Vec<_>>();
    Tensor::write_safetensors(&whole, folder.path().join("model.safetensors")).unwrap();
    let error = load_weights(folder.path(), &config, Device::Cpu, Kind::Float).err().unwrap().to_string();
    assert!(error.contains("decoder.block.0") && error.contains("I32"), "{error}");
}

#[test]
fn a_folder_of_transformers_5_has_the_output_layer_that_its_weights_have() {
    let folder = tempfile::tempdir().unwrap();
    small_checkpoint(folder.path(), &StudentCard::default());
    let own = Student::load(folder.path(), Device::Cpu, ServingPrecision::Fp32).unwrap();
    let (path, hidden) = (folder.path().join("config.json"), Tensor::randn([3, 24], (Kind::Float, Device::Cpu)));
    let mut config = json(&path);
    // What version 5 writes of every student that does not scale, whatever its output layer is.
    config["tie_word_embeddings"] = true.into();
    config["scale_decoder_outputs"] = false.into();
    fs::write(&path, config.to_string()).unwrap();
    let read = Student::load(folder.path(), Device::Cpu, ServingPrecision::Fp32).unwrap();
    assert_eq!(read.config, own.config);
    assert!(read.model.logits(&hidden).equal(&own.model.logits(&hidden)));

    let mut weights = own.weights;
    let embedding = weights["shared.weight"].copy();
    for output in [Some(embedding.copy()), None] {
        weights.remove("lm_head.weight");
        weights.extend(output.map(|output| ("lm_head.weight".to_owned(), output)));
        save_weights(folder.path(), &weights).unwrap();
        let read = Student::load(folder.path(), Device::Cpu, ServingPrecision::Fp32).unwrap();
        assert!(read.config.tie_word_embeddings && !read.weights.contains_key("lm_head.weight"));
        assert!(read.model.logits(&hidden).equal(&hidden.linear(&embedding, None::<Tensor>)));
        let again = tempfile::tempdir().unwrap();
        save_checkpoint(again.path(), &read.config, &read.weights, &read.tokenizer, &read.card).unwrap();
        assert_eq!(Student::load(again.path(), Device::Cpu, ServingPrecision::Fp32).unwrap().config, read.config);
    }
}

/// A small student's folder with its tensors in two shards.
fn sharded(folder: &Path) -> (T5Config, Weights) {
    let (config, weights) = small_student(FeedForwardKind::Relu, true);
    let shard = |place: usize| format!("model-0000{}-of-00002.safetensors", place % 2 + 1);
    let mut map = serde_json::Map::new();
    let mut shards = [Weights::new(), Weights::new()];
    for (place, (name, tensor)) in weights.iter().enumerate() {
        map.insert(name.clone(), shard(place).into());
        shards[place % 2].insert(name.clone(), tensor.copy());
    }
    for (place, tensors) in shards.iter().enumerate() {
        save_weights(folder, tensors).unwrap();
        fs::rename(folder.join("model.safetensors"), folder.join(shard(place))).unwrap();
    }
    let index = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map});
    fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
    (config, weights)
}

#[test]
fn shards_are_read_as_their_index_says_and_what_is_wrong_with_them_is_said() {
    let whole = tempfile::tempdir().unwrap();
    let (config, weights) = sharded(whole.path());
    let read = load_weights(whole.path(), &config, Device::Cpu, Kind::Float).unwrap();
    assert_eq!(read.keys().collect::<Vec<_>>(), weights.keys().collect::<Vec<_>>());
    assert!(read.iter().all(|(name, tensor)| tensor.equal(&weights[name])));

    let (first, second) = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors");
    let index = "model.safetensors.index.json";
    let says = |break_it: &dyn Fn(&Path), words: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        sharded(folder.path());
        break_it(folder.path());
        let error = load_weights(folder.path(), &config, Device::Cpu, Kind::Float).err().unwrap().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error} lacks one of {words:?}");
    };
    says(&|folder| fs::remove_file(folder.join(second)).unwrap(), &[second, "No such file"]);
    says(
        &|folder| fs::write(folder.join(second), fs::read(folder.join(first)).unwrap()).unwrap(),
        &[second, "two models"],
    );
    says(&|folder| fs::write(folder.join(index), "{}").unwrap(), &[index, "weight_map"]);
    let elsewhere = r#"{"weight_map": {"shared.weight": "../model.safetensors"}}"#;
    says(&|folder| fs::write(folder.join(index), elsewhere).unwrap(), &[index, "../model.safetensors"]);
}

#[test]
fn shards_of_what_torch_saved_are_read_as_the_whole() {
    let Some(reference) = shared("reference/t5_relu_tied") else { return };
    let config = T5Config::from_dir(&reference).unwrap();
    let whole = load_weights(&reference, &config, Device::Cpu, Kind::Float).unwrap();
    let (folder, shard) = (tempfile::tempdir().unwrap(), "pytorch_model-00001-of-00001.bin");
    fs::copy(reference.join("pytorch_model.bin"), folder.path().join(shard)).unwrap();
    // The copies of the embedding are in the file, and dropped when it is read.
    let copies = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"];
    let names = whole.keys().map(String::as_str).chain(copies);
    let map: std::collections::BTreeMap<&str, &str> = names.map(|name| (name, shard)).collect();
    let index = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map});
    fs::write(folder.path().join("pytorch_model.bin.index.json"), index.to_string()).unwrap();
    let read = load_weights(folder.path(), &config, Device::Cpu, Kind::Float).unwrap();
    assert_eq!(read.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>());
    assert!(read.iter().all(|(name, tensor)| tensor.equal(&whole[name])));
}

#[test]
fn what_is_wrong_with_a_folder_is_said() {
    let says = |break_it: &dyn Fn(&Path), words: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        small_checkpoint(folder.path(), &StudentCard::default());
        break_it(folder.path());
        let error = Student::load(folder.path(), Device::Cpu, ServingPrecision::Fp32).err().unwrap().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error} lacks one of {words:?}");
    };
    let edit = |folder: &Path, from: &str, to: &str| {
        let config = fs::read_to_string(folder.join("config.json")).unwrap();
        assert!(config.contains(from));
        fs::write(folder.join("config.json"), config.replace(from, to)).unwrap();
    };
    says(&|folder| fs::remove_file(folder.join("tokenizer.json")).unwrap(), &["no tokenizer.json"]);
    says(&|folder| fs::remove_file(folder.join("config.json")).unwrap(), &["no config.json"]);
    says(
        &|folder| fs::rename(folder.join("model.safetensors"), folder.join("pytorch_model.bin")).unwrap(),
        &["pytorch_model.bin", "no archive of torch.save"],
    );
    says(
        &|folder| {
            let bytes = fs::read(folder.join("model.safetensors")).unwrap();
            fs::write(folder.join("model.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
        },
        &["incomplete copy"],
    );
    says(&|folder| fs::write(folder.join("model.safetensors"), "no").unwrap(), &["model.safetensors"]);
    says(&|folder| edit(folder, "\"d_ff\": 32", "\"d_ff\": 40"), &["wi_0", "[40, 24]"]);
    says(&|folder| edit(folder, "\"num_layers\": 2", "\"num_layers\": 3"), &["lack", "encoder.block.2"]);
    let fewer = &["besides", "encoder.block.1"];
    says(&|folder| edit(folder, "\"num_layers\": 2", "\"num_layers\": 1"), fewer);
    says(&|folder| edit(folder, "gated-gelu", "gated-gulp"), &["gated-gulp", "gated-silu"]);
    says(&|folder| edit(folder, "\"vocab_size\": ", "\"vocab_size\": 9, \"x\": "), &["rows"]);
    says(&|folder| fs::write(folder.join("stepwise.json"), "{}").unwrap(), &["stepwise.json"]);
}

#[test]
fn bf16_arithmetic_stays_close_to_fp32() {
    let Some(folder) = shared("mini-t5") else { return };
    let inputs =
        ["predict: A man is sleeping.</s>A man is awake.", "predict: Two dogs run in the snow.</s>Dogs are outside."];
    let mut scores = Vec::new();
    for precision in [ServingPrecision::Fp32, ServingPrecision::Bf16] {
        let student = Student::load(&folder, Device::Cpu, precision).unwrap();
        let labels = ["entailment", "neutral", "contradiction"].map(str::to_owned);
        let labels = encode_all(&student.tokenizer, &labels, 64);
        let (ids, mask) = pad(&encode_all(&student.tokenizer, &inputs.map(str::to_owned), 128), 0, Device::Cpu);
        let encoded = student.model.encode(&ids, &mask);
        let found = scoring::label_log_likelihoods(&student.model, &encoded, &mask, &[labels.clone(), labels]);
        scores.push(found.concat());
    }
    for (wide, narrow) in scores[0].iter().zip(&scores[1]) {
        println!("fp32 {wide:.4}, bf16 {narrow:.4}");
        assert_close(*narrow, *wide, 2e-2, "a label's log-likelihood in bf16");
    }
}
