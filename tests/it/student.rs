//! The student against values that transformers computed (shared/reference), and against itself.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stepwise::domain::{FromScratch, Precision, StudentCard};
use stepwise::student::batch::pad;
use stepwise::student::unigram::train_tokenizer;
use stepwise::student::{
    FeedForwardKind, Student, StudentTokenizer, T5, T5Config, Weights, generation, initial_weights, load_weights,
    save_checkpoint, save_weights, scoring,
};
use tch::{Device, Kind, Reduction, Tensor};

/// A folder of the shared reference data, or a printed reason why its test is skipped.
pub fn shared(part: &str) -> Option<PathBuf> {
    let root = std::env::var_os("STEPWISE_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = root.join(part);
    if !path.exists() {
        println!("SKIPPED: {} is not here; set STEPWISE_SHARED to the shared data's folder", path.display());
        return None;
    }
    Some(path)
}

pub fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn assert_close(found: f64, expected: f64, relative: f64, what: &str) {
    let error = (found - expected).abs() / expected.abs().max(1e-9);
    assert!(error <= relative, "{what}: {found} where {expected} is right, off by {error:.2e} of it");
}

/// The mean cross-entropy of the targets' tokens.
fn loss(model: &T5, inputs: &[Vec<i64>], targets: &[Vec<i64>]) -> f64 {
    let (input_ids, mask) = pad(inputs, 0, Device::Cpu);
    let (target_ids, target_mask) = pad(targets, 0, Device::Cpu);
    let start = Tensor::zeros([target_ids.size()[0], 1], (Kind::Int64, Device::Cpu));
    let decoder_ids = Tensor::cat(&[start, target_ids.narrow(1, 0, target_ids.size()[1] - 1)], 1);
    let hidden = model.decode(&decoder_ids, &model.encode(&input_ids, &mask, 0.0), &mask, 0.0);
    let logits = model.logits(&hidden.masked_select_rows(&target_mask));
    let answers = target_ids.masked_select(&target_mask);
    logits.cross_entropy_loss(&answers, None::<Tensor>, Reduction::Mean, -100, 0.0).double_value(&[])
}

trait Rows {
    fn masked_select_rows(&self, mask: &Tensor) -> Tensor;
}

impl Rows for Tensor {
    fn masked_select_rows(&self, mask: &Tensor) -> Tensor {
        let width = *self.size().last().unwrap();
        self.masked_select(&mask.unsqueeze(-1)).view([-1, width])
    }
}

fn encode_all(tokenizer: &StudentTokenizer, texts: &[String], length: usize) -> Vec<Vec<i64>> {
    texts.iter().map(|text| tokenizer.encode(text, length).ids).collect()
}

fn example_texts(expected: &Value, text: impl Fn(&Value) -> String) -> Vec<String> {
    expected["examples"].as_array().unwrap().iter().map(text).collect()
}

fn field(example: &Value, name: &str) -> String {
    example[name].as_str().unwrap().to_owned()
}

fn reference(variant: &str) -> Option<(Student, Value)> {
    let folder = shared("reference")?.join(variant);
    let student = Student::load(&folder, Device::Cpu, Precision::Fp32).unwrap();
    Some((student, json(&folder.join("expected.json"))))
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

#[test]
fn losses_and_logits_are_those_of_transformers() {
    let Some((student, expected)) = reference("t5_v1_1_gated_gelu") else { return };
    check_losses(&student.model, &student.tokenizer, &expected);
    let input = format!("predict: {}", field(&expected["examples"][0], "input"));
    let (input_ids, mask) = pad(&[student.tokenizer.encode(&input, 128).ids], 0, Device::Cpu);
    let label = student.tokenizer.encode(&field(&expected["examples"][0], "llm_label"), 96).ids;
    let decoder_ids = [vec![0], label].concat();
    let (decoder_ids, _) = pad(&[decoder_ids[..3.min(decoder_ids.len())].to_vec()], 0, Device::Cpu);
    let hidden = student.model.decode(&decoder_ids, &student.model.encode(&input_ids, &mask, 0.0), &mask, 0.0);
    let logits = student.model.logits(&hidden);
    for (position, row) in expected["logits_first_example_first_3_positions"].as_array().unwrap().iter().enumerate() {
        for (id, value) in numbers(row).into_iter().enumerate() {
            let found = logits.double_value(&[0, i64::try_from(position).unwrap(), i64::try_from(id).unwrap()]);
            assert!((found - value).abs() < 1e-3, "position {position}, id {id}: {found} where {value} is right");
        }
    }
}

fn check_losses(model: &T5, tokenizer: &StudentTokenizer, expected: &Value) {
    for (prefix, target, name) in
        [("predict: ", "llm_label", "label_loss"), ("explain: ", "rationale", "rationale_loss")]
    {
        let inputs = example_texts(expected, |example| format!("{prefix}{}", field(example, "input")));
        let targets = example_texts(expected, |example| field(example, target));
        let found = loss(model, &encode_all(tokenizer, &inputs, 128), &encode_all(tokenizer, &targets, 96));
        assert_close(found, expected[name].as_f64().unwrap(), 1e-5, name);
    }
}

#[test]
fn folders_as_the_hub_has_them_compute_what_transformers_computes() {
    // A pytorch_model.bin, and safetensors in shards; both with a spiece.model.
    for name in ["t5_relu_tied", "ul2_gated_silu"] {
        let Some((student, expected)) = reference(name) else { return };
        check_losses(&student.model, &student.tokenizer, &expected);
        check_generation(&student.model, &student.tokenizer, &expected);
    }
}

#[test]
fn greedy_ids_and_label_scores_are_those_of_transformers() {
    let Some((student, expected)) = reference("t5_v1_1_gated_gelu") else { return };
    check_generation(&student.model, &student.tokenizer, &expected);
}

fn check_generation(model: &T5, tokenizer: &StudentTokenizer, expected: &Value) {
    let inputs = example_texts(expected, |example| format!("predict: {}", field(example, "input")));
    let (input_ids, mask) = pad(&encode_all(tokenizer, &inputs, 128), 0, Device::Cpu);
    let generated = generation::greedy(model, &input_ids, &mask, 24);
    let texts = expected["greedy_text"].as_array().unwrap();
    for (row, (found, right)) in generated.iter().zip(expected["greedy_ids"].as_array().unwrap()).enumerate() {
        let mut padded = [vec![0], found.ids.clone()].concat();
        padded.resize(25, 0);
        let mut right: Vec<i64> = right.as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect();
        right.resize(25, 0);
        assert_eq!(padded, right, "row {row}");
        assert_eq!(tokenizer.decode(&found.ids), texts[row].as_str().unwrap().trim_end());
    }
    let candidates = expected["candidates"].as_array().unwrap().iter().map(|label| label.as_str().unwrap().to_owned());
    let labels = encode_all(tokenizer, &candidates.collect::<Vec<_>>(), 96);
    let right = expected["candidate_log_likelihood"].as_array().unwrap();
    let rows = i64::try_from(right.len()).unwrap();
    let (ids, mask) = (input_ids.narrow(0, 0, rows), mask.narrow(0, 0, rows));
    let encoded = model.encode(&ids, &mask, 0.0);
    let found = scoring::label_log_likelihoods(model, &encoded, &mask, &vec![labels; right.len()]);
    for (found, right) in found.iter().zip(right) {
        for (found, right) in found.iter().zip(numbers(right)) {
            assert_close(*found, right, 1e-4, "log-likelihood of a label");
        }
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
    let encoded = model.encode(&ids, &mask, 0.0);
    let mut said = vec![0];
    while said.len() <= most && (said.len() == 1 || said[said.len() - 1] != 1) {
        let logits = model.logits(&model.decode(&Tensor::from_slice(&said).unsqueeze(0), &encoded, &mask, 0.0));
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
    let (config, mut weights) = small_student(FeedForwardKind::GatedGelu, false);
    // Make </s> likely, so that rows end at different steps.
    let output = weights.get_mut("lm_head.weight").unwrap();
    let end = output.get(1) * 3.0;
    output.get(1).copy_(&end);
    let model = T5::new(&config, &weights).unwrap();
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
fn labels_score_the_same_together_and_alone() {
    let (config, weights) = small_student(FeedForwardKind::GatedGelu, false);
    let model = T5::new(&config, &weights).unwrap();
    let rows = rows_of_many_lengths();
    let labels: Vec<Vec<Vec<i64>>> = (0..rows.len())
        .map(|row| (0..=row % 3).map(|label| vec![5 + i64::try_from(label).unwrap(); label + 1]).collect())
        .collect();
    let (ids, mask) = pad(&rows, 0, Device::Cpu);
    let together = scoring::label_log_likelihoods(&model, &model.encode(&ids, &mask, 0.0), &mask, &labels);
    for (row, found) in rows.iter().zip(&together).enumerate() {
        let (ids, mask) = pad(std::slice::from_ref(found.0), 0, Device::Cpu);
        let encoded = model.encode(&ids, &mask, 0.0);
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
    let student = Student::load(folder.path(), Device::Cpu, Precision::Fp32).unwrap();
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
fn what_is_wrong_with_a_folder_is_said() {
    let says = |break_it: &dyn Fn(&Path), words: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        small_checkpoint(folder.path(), &StudentCard::default());
        break_it(folder.path());
        let error = Student::load(folder.path(), Device::Cpu, Precision::Fp32).err().unwrap().to_string();
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
    for precision in [Precision::Fp32, Precision::Bf16] {
        let student = Student::load(&folder, Device::Cpu, precision).unwrap();
        let labels = ["entailment", "neutral", "contradiction"].map(str::to_owned);
        let labels = encode_all(&student.tokenizer, &labels, 64);
        let (ids, mask) = pad(&encode_all(&student.tokenizer, &inputs.map(str::to_owned), 128), 0, Device::Cpu);
        let encoded = student.model.encode(&ids, &mask, 0.0);
        let found = scoring::label_log_likelihoods(&student.model, &encoded, &mask, &[labels.clone(), labels]);
        scores.push(found.concat());
    }
    for (wide, narrow) in scores[0].iter().zip(&scores[1]) {
        println!("fp32 {wide:.4}, bf16 {narrow:.4}");
        assert_close(*narrow, *wide, 2e-2, "a label's log-likelihood in bf16");
    }
}
