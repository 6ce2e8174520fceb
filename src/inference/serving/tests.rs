//! Which rows a question has, and that they are written side by side.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;

use tch::Device;
use tokio::sync::oneshot;

use super::super::bounds::{Bound, Places};
use super::super::course::{Call, Course};
use super::super::device_thread::Limits;
use super::super::following::Listener;
use super::super::inbox::Message;
use super::super::library::Library;
use super::super::pace::Pace;
use super::super::shelf::ShelfLimits;
use super::super::{EngineMetrics, PredictionRequest};
use super::*;
use crate::domain::{FromScratch, Precision, StudentCard};
use crate::student::{StudentTokenizer, T5Config, initial_weights, save_checkpoint, unigram};

/// A random student of step by step, without a label set.
fn student(folder: &Path) -> Student {
    let texts = ["predict: the order came late so it is a refund", "explain: reject exchange because of the rule"];
    let tokenizer = StudentTokenizer::from_tokenizer(unigram::train_tokenizer(texts, 100).unwrap()).unwrap();
    let shape = FromScratch { d_model: 16, d_kv: 8, d_ff: 16, num_layers: 1, num_heads: 2, ..FromScratch::default() };
    let config = T5Config::from_scratch(&shape, tokenizer.vocabulary_size());
    let weights = initial_weights(&config, 7);
    save_checkpoint(folder, &config, &weights, &tokenizer, &StudentCard::default()).unwrap();
    Student::load(folder, Device::Cpu, Precision::Fp32).unwrap()
}

#[tokio::test]
async fn a_label_and_its_rationale_are_written_side_by_side() {
    let _no_gradients = tch::no_grad_guard();
    let folder = tempfile::tempdir().unwrap();
    let (student, (to_thread, messages)) = (student(folder.path()), channel());
    let (device, precision) = (Device::Cpu, Precision::Fp32);
    let (limits, metrics) = (ShelfLimits { bytes: None, count: 1 }, EngineMetrics::new());
    let library = Library::new((device, precision), limits, to_thread.clone(), metrics.clone());
    let limits = Limits { device, precision, threads: 1, max_batch: 4 };
    let mut inbox = Inbox::new(limits, messages, Arc::downgrade(&library));
    let model = Arc::new(ModelFiles::folder("tiny", folder.path().to_owned()));
    let in_use = library.open(&model).await.unwrap();
    let bound = Bound::new(2);
    let places = Places::new([bound.take(1).unwrap(), bound.take(1).unwrap()]);
    let course = Course::new(&Call::new(in_use, places, &Arc::new(Pace::new()), None));
    let (answer, mut told) = oneshot::channel();
    let asked = PredictionRequest { input: "the order came late".to_owned(), rationale: true, ..Default::default() };
    let recipient = Recipient { listener: Listener::Once(answer), course };
    let question = Question { model: Arc::clone(&model), request: Request::Prediction(asked), recipient };
    to_thread.send(Message::Answer(vec![question])).unwrap();
    assert!(inbox.look().is_ok());

    let mut label_sets = LabelSets::default();
    let mut serving = Serving::new(&student, &model, &mut label_sets, 4);
    serving.take(&mut inbox);
    serving.begin();
    assert_eq!((serving.under_way.len(), serving.writing.len()), (1, 2), "one question, two rows");
    let mut steps = 0;
    while !serving.under_way.is_empty() {
        serving.step();
        steps += 1;
    }
    let Ok(Ok(Reply::Prediction(prediction))) = told.try_recv() else { panic!("no answer") };
    assert!(prediction.rationale.is_some() && prediction.generated_label.is_some());
    // As many steps as the longer of both has tokens; one after the other would take as many as both have.
    assert!(steps < prediction.output_tokens, "{steps} steps for {} tokens", prediction.output_tokens);
    assert_eq!(bound.taken(), 0, "nothing is held for an answer that has come");
}
