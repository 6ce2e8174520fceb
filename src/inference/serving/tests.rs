//! Which rows a question has, and that they are written side by side.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use tch::kind::FLOAT_CPU;
use tch::{Device, Kind, Tensor};
use tokio::sync::oneshot;

use super::super::bounds::{Bound, Places};
use super::super::course::{Call, Coming, Course};
use super::super::encoded_inputs::EncodedInputs;
use super::super::following::Listener;
use super::super::inbox::Message;
use super::super::library::Library;
use super::super::pace::Pace;
use super::super::shelf::ShelfLimits;
use super::super::{EngineMetrics, PredictionRequest};
use super::*;
use crate::domain::{FromScratch, ServingPrecision, StudentCard};
use crate::student::generation::Beginning;
use crate::student::{StudentTokenizer, T5Config, initial_weights, save_checkpoint, unigram};

/// A random student of step by step, without a label set.
fn student(folder: &Path) -> Student {
    let texts = ["predict: the order came late so it is a refund", "explain: reject exchange because of the rule"];
    let tokenizer = StudentTokenizer::from_tokenizer(unigram::train_tokenizer(texts, 100).unwrap()).unwrap();
    let shape = FromScratch { d_model: 16, d_kv: 8, d_ff: 16, num_layers: 1, num_heads: 2, ..FromScratch::default() };
    let config = T5Config::from_scratch(&shape, tokenizer.vocabulary_size());
    let weights = initial_weights(&config, 7);
    save_checkpoint(folder, &config, &weights, &tokenizer, &StudentCard::default()).unwrap();
    Student::load(folder, Device::Cpu, ServingPrecision::Fp32).unwrap()
}

/// An engine's parts that a question passes on its way to a student, and how many places it holds.
struct Desk {
    library: Arc<Library>,
    to_thread: Sender<Message>,
    inbox: Inbox,
    model: ModelFiles,
    bound: Bound,
}

/// Whoever waits for an answer.
type Told = oneshot::Receiver<Result<Reply, InferenceError>>;

impl Desk {
    fn new(folder: &Path) -> Self {
        let (to_thread, messages) = channel();
        let (device, limits) = (Device::Cpu, ShelfLimits { bytes: None, count: 1 });
        let library = Library::new((device, ServingPrecision::Fp32), limits, to_thread.clone(), EngineMetrics::new());
        let inbox = Inbox::new((device, Kind::Float), messages, Arc::downgrade(&library));
        let model = ModelFiles::folder("tiny", folder.to_owned());
        Self { library, to_thread, inbox, model, bound: Bound::new(9) }
    }

    /// Takes what waits, and says how much it was.
    fn take(&mut self) -> usize {
        self.inbox.questions_for(&self.model, usize::MAX).len()
    }

    /// A question comes, and is looked at.
    async fn ask(&mut self, request: impl Into<Request>) -> Told {
        let told = self.send(request).await;
        assert!(self.inbox.look().is_ok());
        told
    }

    /// A question comes, and is not looked at yet.
    async fn send(&self, request: impl Into<Request>) -> Told {
        let measure = self.library.measure(&self.model).unwrap();
        let in_use = self.library.open(&self.model, measure).await.unwrap();
        let places = Places::new([self.bound.take(1).unwrap(), self.bound.take(1).unwrap()]);
        let coming = Coming { at: Instant::now(), until: None, is_within: false };
        let course = Course::new(&Call::new(in_use, places, &Arc::new(Pace::new()), coming));
        let (answer, told) = oneshot::channel();
        let recipient = Recipient { listener: Listener::Once(answer), course };
        let question = Question { request: request.into(), recipient };
        self.to_thread.send(Message::Answer(vec![question])).unwrap();
        told
    }
}

fn with_rationale() -> PredictionRequest {
    PredictionRequest { input: "the order came late".to_owned(), rationale: true, ..Default::default() }
}

#[tokio::test]
async fn a_label_and_its_rationale_are_written_side_by_side() {
    let _no_gradients = tch::no_grad_guard();
    let folder = tempfile::tempdir().unwrap();
    let (student, mut desk, mut label_sets) = (student(folder.path()), Desk::new(folder.path()), LabelSets::default());
    let mut told = desk.ask(with_rationale()).await;
    let model = desk.model.clone();
    let mut serving = Serving::new(&student, &model, &mut label_sets, 4);
    serving.take(&mut desk.inbox);
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
    assert_eq!(desk.bound.taken(), 0, "nothing is held for an answer that has come");
}

#[tokio::test]
async fn rows_that_cannot_join_fail_all_that_is_written_once() {
    let _no_gradients = tch::no_grad_guard();
    let folder = tempfile::tempdir().unwrap();
    let (student, mut desk, mut label_sets) = (student(folder.path()), Desk::new(folder.path()), LabelSets::default());
    let mut told = desk.ask(with_rationale()).await;
    let model = desk.model.clone();
    let mut serving = Serving::new(&student, &model, &mut label_sets, 4);
    serving.take(&mut desk.inbox);
    serving.begin();
    serving.step();
    // Wider than the student is.
    let (encoded, mask) = (Tensor::zeros([1, 3, 99], FLOAT_CPU), Tensor::ones([1, 3], (Kind::Bool, Device::Cpu)));
    let joined = serving.join("the prediction", &EncodedInputs { encoded, mask, read: 1 }, vec![Beginning::default()]);
    assert!(joined.is_break() && serving.under_way.is_empty() && serving.writing.is_empty());
    let Ok(Err(InferenceError::Device(error))) = told.try_recv() else { panic!("nobody was told") };
    assert!(error.to_string().contains("the prediction"), "{error}");
    // What comes next is answered.
    let mut told = desk.ask(with_rationale()).await;
    serving.take(&mut desk.inbox);
    serving.begin();
    while !serving.under_way.is_empty() {
        serving.step();
    }
    assert!(told.try_recv().unwrap().is_ok());
    assert_eq!(desk.bound.taken(), 0);
}

#[tokio::test]
async fn who_was_answered_and_comes_back_at_once_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    drop(student(folder.path()));
    let mut desk = Desk::new(folder.path());
    // The student is put on the shelf before its first question.
    let _first = desk.ask(with_rationale()).await;
    assert_eq!(desk.take(), 1);
    let _back = [desk.send(with_rationale()).await, desk.send(with_rationale()).await];
    assert!(desk.inbox.gather(2).is_ok());
    assert_eq!(desk.take(), 2, "both came in the one moment");
    assert!(desk.inbox.gather(1).is_ok());
    assert_eq!(desk.take(), 0, "nobody came");
    let _late = desk.send(with_rationale()).await;
    assert!(desk.inbox.gather(1).is_ok());
    assert_eq!(desk.take(), 0, "the next are not waited for");
    assert!(desk.inbox.gather(1).is_ok());
    assert_eq!(desk.take(), 1, "those after them are");
}
