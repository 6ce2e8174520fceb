//! What a student reads, computes and says.

use std::{collections::BTreeSet, path::PathBuf};

use serde_json::{Value, json};
use stepwise::{
    domain::ServingPrecision,
    student::{
        Student,
        batch::pad,
        beam_search::{self, BeamSearch, EarlyStopping},
        generation, save_checkpoint, scoring,
    },
};
use tch::{Device, Kind, Reduction, Tensor};

use super::{Case, Pair, cases, compare};
use crate::student::encode_all;

/// Tokens that the reference reads of an input.
const INPUT: usize = 128;
/// Tokens that the reference learns of a target.
const TARGET: usize = 96;

/// A case with its student in memory.
struct Loaded {
    case: Case,
    student: Student,
}

fn loaded() -> impl Iterator<Item = Loaded> {
    cases().into_iter().map(|case| {
        let student = Student::load(&case.folder, Device::Cpu, ServingPrecision::Fp32).unwrap();
        Loaded { case, student }
    })
}

/// Each case twice: the student as it is trained, and prepacked as it is served.
fn answering() -> impl Iterator<Item = Loaded> {
    let prepacked = loaded().map(|mut loaded| {
        loaded.student.prepack();
        loaded.student.model.use_threads(2);
        loaded
    });
    loaded().chain(prepacked)
}

impl Loaded {
    /// Token ids of a member of every example, or of the first so many.
    fn texts(&self, prefix: &str, member: &str, most: usize, length: usize) -> Vec<Vec<i64>> {
        let examples = self.case.expected["examples"].as_array().unwrap().iter().take(most);
        let texts = examples.map(|example| format!("{prefix}{}", example[member].as_str().unwrap()));
        encode_all(&self.student.tokenizer, &texts.collect::<Vec<_>>(), length)
    }

    /// The first so many questions for a label: ids and mask.
    fn questions(&self, most: usize) -> (Tensor, Tensor) {
        pad(&self.texts("predict: ", "input", most, INPUT), 0, Device::Cpu)
    }

    /// The decoder's last hidden states: (rows, length, d_model).
    fn hidden(&self, (input_ids, mask): &(Tensor, Tensor), decoder_ids: &Tensor) -> Tensor {
        let model = &self.student.model;
        model.decode(decoder_ids, &model.encode(input_ids, mask), mask)
    }

    /// The mean cross-entropy of the targets' tokens.
    fn loss(&self, prefix: &str, target: &str) -> f64 {
        let input = pad(&self.texts(prefix, "input", usize::MAX, INPUT), 0, Device::Cpu);
        let (target_ids, target_mask) = pad(&self.texts("", target, usize::MAX, TARGET), 0, Device::Cpu);
        let start = Tensor::zeros([target_ids.size()[0], 1], (Kind::Int64, Device::Cpu));
        let decoder_ids = Tensor::cat(&[start, target_ids.narrow(1, 0, target_ids.size()[1] - 1)], 1);
        let hidden = self.hidden(&input, &decoder_ids);
        let places = target_mask.reshape([-1]).nonzero().squeeze_dim(1);
        let hidden = hidden.reshape([-1, hidden.size()[2]]).index_select(0, &places);
        let answers = target_ids.masked_select(&target_mask);
        let logits = self.student.model.logits(&hidden);
        logits.cross_entropy_loss(&answers, None::<Tensor>, Reduction::Mean, -100, 0.0).double_value(&[])
    }
}

fn pair(what: String, found: f64, right: &Value) -> Pair {
    Pair { what, found, right: right.as_f64().unwrap(), least_size: 0.0 }
}

fn ids(row: &Value) -> Vec<i64> {
    serde_json::from_value(row.clone()).unwrap()
}

/// As transformers gives generated rows: behind the start token, filled up with padding.
fn padded(said: &[i64], length: usize) -> Vec<i64> {
    let mut row = [&[0], said].concat();
    row.resize(length, 0);
    row
}

#[test]
fn losses_and_logits_are_those_of_transformers() {
    for loaded in loaded() {
        let (case, expected) = (&loaded.case, &loaded.case.expected);
        for (prefix, target, name) in
            [("predict: ", "llm_label", "label_loss"), ("explain: ", "rationale", "rationale_loss")]
        {
            compare(case, name, 1e-5, [pair(name.to_owned(), loaded.loss(prefix, target), &expected[name])]);
        }
        let label = &loaded.texts("", "llm_label", 1, TARGET)[0];
        let (decoder_ids, _) = pad(&[padded(label, 1 + label.len())], 0, Device::Cpu);
        let logits = loaded.student.model.logits(&loaded.hidden(&loaded.questions(1), &decoder_ids));
        let rows = expected["logits_first_example_first_3_positions"].as_array().unwrap();
        let pairs = rows.iter().zip(0..).flat_map(|(row, position)| {
            let logits = logits.get(0).get(position);
            row.as_array().unwrap().iter().zip(0..).map(move |(right, id)| Pair {
                least_size: 1.0,
                ..pair(format!("position {position}, id {id}"), logits.double_value(&[id]), right)
            })
        });
        compare(case, "logits", 1e-4, pairs.collect::<Vec<_>>());
    }
}

#[test]
fn greedy_ids_and_texts_are_those_of_transformers() {
    for loaded in answering() {
        let right = loaded.case.expected["greedy_ids"].as_array().unwrap();
        let (input_ids, mask) = loaded.questions(right.len());
        let found = generation::greedy(&loaded.student.model, &input_ids, &mask, 24);
        let texts = loaded.case.expected["greedy_text"].as_array().unwrap();
        assert_eq!(found.len(), right.len());
        for (row, (found, right)) in found.iter().zip(right).enumerate() {
            let right = ids(right);
            assert_eq!(padded(&found.ids, right.len()), right, "{}, row {row}", loaded.case.name);
            assert_eq!(loaded.student.tokenizer.decode(&found.ids), texts[row].as_str().unwrap().trim_end());
        }
    }
}

#[test]
fn candidates_have_the_log_likelihoods_of_transformers() {
    for loaded in answering() {
        let expected = &loaded.case.expected;
        let candidates: Vec<String> = serde_json::from_value(expected["candidates"].clone()).unwrap();
        let labels = encode_all(&loaded.student.tokenizer, &candidates, TARGET);
        let right = expected["candidate_log_likelihood"].as_array().unwrap();
        let (input_ids, mask) = loaded.questions(right.len());
        let encoded = loaded.student.model.encode(&input_ids, &mask);
        let labels = vec![labels; right.len()];
        let found = scoring::label_log_likelihoods(&loaded.student.model, &encoded, &mask, &labels);
        let pairs = found.iter().zip(right).flat_map(|(found, right)| {
            let labels = candidates.iter().zip(found).zip(right.as_array().unwrap());
            labels.map(|((label, found), right)| pair(label.clone(), *found, right))
        });
        compare(&loaded.case, "log-likelihood of a candidate", 1e-4, pairs.collect::<Vec<_>>());
    }
}

/// The searches of a case with what they find: ids and scores of one or more answers to each of the first rows.
fn searches(expected: &Value) -> Vec<(BeamSearch, Value)> {
    let four = json!({"ids": expected["beam4_ids"], "scores": expected["beam4_scores"], "max_new_tokens": 16});
    let further = expected["beam_searches"].as_array().cloned().unwrap_or_default();
    let settings = |search: &Value| {
        let count = |name: &str, default: u64| usize::try_from(search[name].as_u64().unwrap_or(default)).unwrap();
        BeamSearch {
            beams: count("num_beams", 4),
            max_new_tokens: count("max_new_tokens", 0),
            min_new_tokens: count("min_new_tokens", 0),
            length_penalty: search["length_penalty"].as_f64().unwrap_or(1.0),
            early_stopping: match &search["early_stopping"] {
                Value::Bool(true) => EarlyStopping::Full,
                Value::String(never) if never == "never" => EarlyStopping::Impossible,
                _ => EarlyStopping::Unlikely,
            },
        }
    };
    [four].into_iter().chain(further).map(|search| (settings(&search), search)).collect()
}

#[test]
fn beam_searches_find_what_transformers_finds() {
    for loaded in answering() {
        for (settings, right) in searches(&loaded.case.expected) {
            let scores = right["scores"].as_array().unwrap();
            let answers = right["answers"].as_u64().map_or(1, |answers| usize::try_from(answers).unwrap());
            let (input_ids, mask) = loaded.questions(scores.len() / answers);
            let found = beam_search::search(&loaded.student.model, &input_ids, &mask, &settings);
            assert!(found.iter().all(|row| row.len() == settings.beams), "{settings:?}");
            let found: Vec<_> = found.iter().flat_map(|row| &row[..answers]).collect();
            for (place, (found, right)) in found.iter().zip(right["ids"].as_array().unwrap()).enumerate() {
                // Behind its end transformers fills a row up with the end token, since the padding token is 0.
                let said = ids(right)[1..].split_inclusive(|id| *id == 1).next().unwrap().to_vec();
                assert_eq!(found.ids, said, "{}, {settings:?}, answer {place}", loaded.case.name);
            }
            let pairs = found.iter().zip(scores).map(|(found, right)| pair(String::new(), found.score, right));
            compare(&loaded.case, "score of a beam", 1e-4, pairs.collect::<Vec<_>>());
        }
    }
}

#[test]
fn what_is_saved_holds_each_tensor_once_and_reads_back_as_the_same_student() {
    let kept = std::env::var_os("STEPWISE_REFERENCE_EXPORTS").map(PathBuf::from);
    for Loaded { case, student } in loaded() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = kept.as_deref().unwrap_or(temporary.path()).join(&case.name);
        save_checkpoint(&folder, &student.config, &student.weights, &student.tokenizer, &student.card).unwrap();
        let stored = Tensor::read_safetensors(folder.join("model.safetensors")).unwrap();
        let names: BTreeSet<&str> = stored.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.len(), stored.len());
        let embeddings: Vec<&&str> =
            names.iter().filter(|name| name.contains("embed_tokens") || **name == "lm_head.weight").collect();
        assert_eq!(embeddings, if student.config.tie_word_embeddings { vec![] } else { vec![&"lm_head.weight"] });
        let again = Student::load(&folder, Device::Cpu, ServingPrecision::Fp32).unwrap();
        assert_eq!(again.config, student.config);
        assert!(again.weights.iter().all(|(name, tensor)| tensor.equal(&student.weights[name])), "{}", case.name);
    }
}
