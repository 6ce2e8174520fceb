//! The engine: what it answers, what it refuses, and what it survives.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::poll;
use stepwise::device;
use stepwise::domain::{LabelSet, Method, ServingPrecision, StudentCard, TaskDefinition};
use stepwise::inference::{
    CompletionRequest, Engine, EngineSettings, InferenceError, ModelFiles, News, PredictionRequest, Prompt,
};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::student::small_checkpoint;
use crate::support::exposition::Exposition;

/// Nothing that a test waits for takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(120);

fn engine(max_waiting: usize, max_models: usize) -> Engine {
    engine_of(EngineSettings { max_waiting, max_models, ..settings() })
}

fn engine_of(settings: EngineSettings) -> Engine {
    Engine::start(settings).unwrap()
}

fn settings() -> EngineSettings {
    let usual = EngineSettings::on_cpu(1, ServingPrecision::Fp32);
    EngineSettings { max_waiting: 64, max_batch: 4, max_models: 1, ..usual }
}

fn card(method: Method) -> StudentCard {
    StudentCard {
        task: TaskDefinition { label_set: LabelSet::Fixed(labels()), ..TaskDefinition::default() },
        method,
        max_label_length: 6,
        max_rationale_length: 12,
        max_input_length: 48,
        ..StudentCard::default()
    }
}

fn labels() -> Vec<String> {
    ["refund", "exchange", "reject"].map(str::to_owned).to_vec()
}

fn model(folder: &Path, key: &str) -> ModelFiles {
    ModelFiles::folder(key, folder.to_owned())
}

fn ask(input: &str) -> PredictionRequest {
    PredictionRequest { input: input.to_owned(), ..PredictionRequest::default() }
}

/// So many tokens, no more and no less.
fn write(prompt: &str, tokens: usize) -> CompletionRequest {
    CompletionRequest {
        prompt: Prompt::Text(prompt.to_owned()),
        max_tokens: tokens,
        min_tokens: tokens,
        ..CompletionRequest::default()
    }
}

/// Waits until so many places are taken: what nobody waits for is found between two steps.
async fn until_waiting(engine: &Engine, places: usize) {
    let waiting = async {
        while engine.waiting() != places {
            yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{} places are held", engine.waiting()));
}

const INPUTS: [&str; 6] = [
    "the box was torn",
    "on day nine",
    "rule two decides so the box was torn on day nine and the box was torn on day nine and so on and on",
    "",
    "torn torn torn",
    "day two",
];

#[tokio::test]
async fn a_label_set_gets_probabilities_and_a_free_answer_its_own() {
    let folder = tempfile::tempdir().unwrap();
    small_checkpoint(folder.path(), &card(Method::StepByStep));
    let (engine, model) = (engine(64, 1), model(folder.path(), "a"));
    let all = PredictionRequest { rationale: true, generated_label: true, ..ask("the box was torn") };
    let open = PredictionRequest { label_set: Some([].into()), ..ask("the box was torn") };
    let long = INPUTS[2].repeat(9);
    let answers = engine.predict(&model, vec![all, open, ask(&long)]).await.unwrap();
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let shares = answers[0].label_probs.as_ref().unwrap();
    assert!((shares.values().sum::<f64>() - 1.0).abs() < 1e-9 && shares.len() == 3);
    assert_eq!(shares[&answers[0].label], answers[0].confidence);
    assert!(shares.values().all(|share| *share <= answers[0].confidence));
    assert!(answers[0].rationale.is_some() && !answers[0].truncated);
    assert_eq!(answers[0].generated_label.as_ref(), Some(&answers[1].label));
    assert!(answers[1].label_probs.is_none() && (0.0..=1.0).contains(&answers[1].confidence));
    assert!(answers[2].truncated && answers[2].input_tokens == 48);
    assert!(answers[2].generated_label.is_none() && answers[2].rationale.is_none());
}

#[tokio::test]
async fn a_batch_answers_what_each_input_alone_is_answered() {
    for method in [Method::StepByStep, Method::RationaleThenLabel] {
        let folder = tempfile::tempdir().unwrap();
        small_checkpoint(folder.path(), &card(method));
        let (engine, model) = (engine(64, 1), model(folder.path(), "a"));
        let asked = INPUTS.map(|input| PredictionRequest { rationale: true, generated_label: true, ..ask(input) });
        let together = engine.predict(&model, asked.to_vec()).await.unwrap();
        for (asked, together) in asked.into_iter().zip(together) {
            let alone = engine.predict(&model, vec![asked]).await.unwrap().remove(0);
            assert_eq!(together.unwrap(), alone.unwrap());
        }
    }
}

/// An answer that goes on for as long as any test takes, in an engine that has room beside it.
fn endless() -> CompletionRequest {
    write("the box was torn", 300_000)
}

/// So many rows at once, however long they are.
fn roomy(rows: usize) -> EngineSettings {
    EngineSettings { max_batch: rows * 2000, max_waiting_tokens: 1 << 20, ..settings() }
}

#[tokio::test]
async fn a_late_short_answer_does_not_wait_for_an_early_long_one() {
    let folder = tempfile::tempdir().unwrap();
    small_checkpoint(folder.path(), &card(Method::StepByStep));
    let (engine, model) = (engine_of(roomy(4)), model(folder.path(), "a"));
    let mut long = engine.follow_completions(&model, vec![endless()]).await.unwrap();
    assert!(matches!(long.next().await, Some((0, News::Fragment(_)))), "the long answer has begun");
    let short = engine.complete(&model, vec![write("day two", 2), write("torn", 3)]);
    let short = timeout(PATIENCE, short).await.expect("the short answers wait for the long one").unwrap();
    let tokens = short.into_iter().map(|written| written.unwrap().completion_tokens).collect::<Vec<_>>();
    assert_eq!(tokens, [2, 3]);
    drop(long);
    engine.warm_up().await.unwrap();
    // Rows came and left between steps: alone at first, then three, two and one.
    let found = Exposition::of_engine(&engine);
    let steps =
        |most: &str| found.value("stepwise_inference_batch_size_bucket", &[("model", "a"), ("le", most)]).unwrap();
    assert!(steps("1") >= 1.0, "the long answer goes on alone");
    assert_eq!((steps("2") - steps("1"), steps("4") - steps("2"), steps("+Inf") - steps("4")), (1.0, 2.0, 0.0));
}

#[tokio::test]
async fn rows_of_a_client_that_went_away_stop_between_two_steps() {
    let folder = tempfile::tempdir().unwrap();
    small_checkpoint(folder.path(), &card(Method::StepByStep));
    // Two rows of such a length at once.
    let (engine, model) = (engine_of(EngineSettings { max_batch: 16, ..settings() }), model(folder.path(), "a"));
    let mut left = engine.follow_completions(&model, vec![write("the box was torn", 2000)]).await.unwrap();
    assert!(matches!(left.next().await, Some((0, News::Fragment(_)))));
    let mut stays =
        engine.follow_completions(&model, vec![write("on day nine", 1900), write("torn", 1)]).await.unwrap();
    let mut order = Vec::new();
    let mut left = Some(left);
    while let Some((number, news)) = stays.next().await {
        left.take();
        if let News::Whole(answer) = news {
            answer.unwrap();
            order.push(number);
        }
    }
    // The short answer had no room beside two long ones, and would have waited for the end of one of them.
    assert_eq!(order, [1, 0]);
    assert_eq!(engine.waiting(), 2, "places are held until whoever follows has let go");
    drop(stays);
    assert_eq!(engine.waiting(), 0);
}

#[tokio::test]
async fn a_search_goes_on_between_the_steps_of_others() {
    let folder = tempfile::tempdir().unwrap();
    small_checkpoint(folder.path(), &card(Method::StepByStep));
    let (engine, model) = (engine(64, 1), model(folder.path(), "a"));
    let search = CompletionRequest { beams: 3, ..write("the box was torn", 200) };
    let other = CompletionRequest { beams: 2, ..write("day two", 12) };
    let alone = engine.complete(&model, vec![search.clone()]).await.unwrap();
    let asked = vec![search, write("on day nine", 3), other.clone(), write("torn", 400)];
    let mut following = engine.follow_completions(&model, asked).await.unwrap();
    let (mut order, mut found) = (Vec::new(), Vec::new());
    while let Some((number, news)) = following.next().await {
        if let News::Whole(answer) = news {
            order.push(number);
            found.push(answer.unwrap());
        }
    }
    // The short answer does not wait for the search, nor the search for the long answer.
    assert_eq!(order, [1, 0, 2, 3]);
    assert_eq!(found[1], alone[0].clone().unwrap());
    assert_eq!(found[2], engine.complete(&model, vec![other]).await.unwrap().remove(0).unwrap());
}

#[tokio::test]
async fn whatever_is_written_beside_it_an_answer_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    small_checkpoint(folder.path(), &card(Method::StepByStep));
    for precision in precisions() {
        let settings = EngineSettings { precision, max_batch: 3, ..settings() };
        answers_are_those_in_company(&engine_of(settings), &model(folder.path(), "a")).await;
    }
}

/// All that this processor has instructions for.
fn precisions() -> impl Iterator<Item = ServingPrecision> {
    let all = [ServingPrecision::Fp32, ServingPrecision::Bf16, ServingPrecision::Int8];
    all.into_iter().filter(|precision| *precision == ServingPrecision::Fp32 || device::processor_multiplies_bf16())
}

async fn answers_are_those_in_company(engine: &Engine, model: &ModelFiles) {
    let asked: Vec<_> = INPUTS.iter().enumerate().map(|(at, input)| write(input, 1 + 5 * (5 - at))).collect();
    let mut alone = Vec::new();
    for asked in &asked {
        alone.extend(engine.complete(model, vec![asked.clone()]).await.unwrap());
    }
    let labeled = |input: &&str| PredictionRequest { rationale: true, generated_label: true, ..ask(input) };
    let mut labels_alone = Vec::new();
    for input in &INPUTS {
        labels_alone.extend(engine.predict(model, vec![labeled(input)]).await.unwrap());
    }
    // Six answers of all lengths in a batch of three, with labels and rationales of others between them.
    let together = join_all(asked.iter().map(|asked| engine.complete(model, vec![asked.clone()])));
    let labels = join_all(INPUTS.iter().map(|input| engine.predict(model, vec![labeled(input)])));
    let (together, labels) = tokio::join!(together, labels);
    for (together, alone) in together.into_iter().zip(&alone) {
        assert_eq!(&together.unwrap()[0], alone);
    }
    for (together, alone) in labels.into_iter().zip(labels_alone) {
        assert_eq!(together.unwrap().remove(0), alone);
    }
    assert_eq!(engine.waiting(), 0);
}

#[tokio::test]
async fn an_endless_label_costs_its_own_question_alone() {
    let folder = tempfile::tempdir().unwrap();
    small_checkpoint(folder.path(), &card(Method::StepByStep));
    let (engine, model) = (engine(64, 1), model(folder.path(), "a"));
    let labels: Arc<[String]> = ["refund".to_owned(), "torn ".repeat(50_000)].into();
    let endless = PredictionRequest { label_set: Some(labels), ..ask("the box was torn") };
    let asked = vec![ask("torn"), endless.clone(), endless, ask("day two")];
    let answers = engine.predict(&model, asked).await.unwrap();
    for answer in &answers[1..3] {
        let Err(InferenceError::LabelTooLong { index: 1, label, tokens, most }) = answer else { panic!("{answer:?}") };
        assert!(label.chars().count() == 80 && tokens > most, "{label}");
    }
    let alone = engine.predict(&model, vec![ask("torn")]).await.unwrap();
    assert_eq!(answers[0].as_ref().unwrap().label, alone[0].as_ref().unwrap().label);
    assert!(answers[3].is_ok());
}

#[tokio::test]
async fn sets_of_all_sizes_are_weighed_beside_each_other_and_again() {
    let folder = tempfile::tempdir().unwrap();
    small_checkpoint(folder.path(), &card(Method::StepByStep));
    let (engine, model) = (engine(64, 1), model(folder.path(), "a"));
    let set =
        |labels: &[&str]| -> Option<Arc<[String]>> { Some(labels.iter().map(|label| (*label).to_owned()).collect()) };
    // One label is the beginning of another, one set the other way around, one as large as several trees.
    let many: Vec<String> = (0..300).map(|number| format!("torn on day {number} and day two")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let sets = [
        None,
        set(&["torn", "torn box", "torn box on day two"]),
        set(&["torn box on day two", "torn box", "torn"]),
        set(&many),
        set(&["day"]),
        set(&["reject", "refund", "exchange"]),
    ];
    let asked: Vec<_> = sets.into_iter().map(|label_set| PredictionRequest { label_set, ..ask("the box") }).collect();
    let together = engine.predict(&model, asked.clone()).await.unwrap();
    let again = engine.predict(&model, asked.clone()).await.unwrap();
    let mut shares = Vec::new();
    for ((asked, together), again) in asked.into_iter().zip(together).zip(again) {
        let alone = engine.predict(&model, vec![asked]).await.unwrap().remove(0).unwrap().label_probs.unwrap();
        for answer in [together.unwrap(), again.unwrap()] {
            let found = answer.label_probs.unwrap();
            assert!((found.values().sum::<f64>() - 1.0).abs() < 1e-9);
            assert_eq!(found, alone);
            assert_eq!((found[&answer.label], alone.len()), (answer.confidence, found.len()));
        }
        shares.push(alone);
    }
    let same =
        |one: usize, other: usize| shares[one].iter().all(|(label, share)| (share - shares[other][label]).abs() < 1e-5);
    assert!(same(1, 2) && same(0, 5));
    assert_eq!((shares[3].len(), shares[4]["day"]), (300, 1.0));
}

#[tokio::test]
async fn more_than_may_wait_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    small_checkpoint(folder.path(), &card(Method::StepByStep));
    let (engine, model) = (engine(4, 1), model(folder.path(), "a"));
    let mut first = Box::pin(engine.predict(&model, vec![ask("torn"); 3]));
    assert!(poll!(&mut first).is_pending());
    assert_eq!(engine.predict(&model, vec![ask("torn"); 4]).await, Err(InferenceError::Overloaded { seconds: 1 }));
    assert!(first.await.unwrap().iter().all(Result::is_ok));
    // A call larger than the whole queue is taken by an idle engine.
    assert_eq!(engine.predict(&model, vec![ask("torn"); 9]).await.unwrap().len(), 9);
    assert_eq!(engine.waiting(), 0);
}

#[tokio::test]
async fn who_left_is_not_worked_for() {
    let folder = tempfile::tempdir().unwrap();
    small_checkpoint(folder.path(), &card(Method::StepByStep));
    // One row at a time.
    let (engine, model) = (engine_of(EngineSettings { max_batch: 1, ..settings() }), model(folder.path(), "a"));
    let mut long = engine.follow_completions(&model, vec![endless()]).await.unwrap();
    assert!(matches!(long.next().await, Some((0, News::Fragment(_)))));
    let begun = || {
        let name = "stepwise_inference_queue_time_seconds_count";
        Exposition::of_engine(&engine).value(name, &[("model", "a")])
    };
    let mut left = Box::pin(engine.complete(&model, vec![write("torn", 3); 5]));
    assert!(poll!(&mut left).is_pending());
    // Messages are taken in turn, so these have come to the thread.
    engine.warm_up().await.unwrap();
    assert_eq!((engine.waiting(), begun()), (6, Some(1.0)));
    drop(left);
    until_waiting(&engine, 1).await;
    assert_eq!(begun(), Some(1.0), "the places are free before the answer in front of them is over");
    drop(long);
    assert_eq!(
        engine.complete(&model, vec![write("day two", 2)]).await.unwrap()[0].as_ref().unwrap().completion_tokens,
        2
    );
    assert_eq!((engine.waiting(), begun()), (0, Some(2.0)), "the work of one who had left began");
}

#[tokio::test]
async fn who_left_before_the_turn_of_his_search_holds_no_place() {
    let folder = tempfile::tempdir().unwrap();
    small_checkpoint(folder.path(), &card(Method::StepByStep));
    let (engine, model) = (engine(64, 1), model(folder.path(), "a"));
    engine.load(&model).await.unwrap();
    let search = |beams, prompt| vec![CompletionRequest { beams, ..write(prompt, 300_000) }];
    let mut long = Box::pin(engine.complete(&model, search(2, "the box was torn")));
    assert!(poll!(&mut long).is_pending());
    // Another kind of search, which comes after it.
    let mut left = Box::pin(engine.complete(&model, search(3, "day two")));
    assert!(poll!(&mut left).is_pending());
    engine.warm_up().await.unwrap();
    assert_eq!(engine.waiting(), 2);
    drop(left);
    until_waiting(&engine, 1).await;
    assert!(poll!(&mut long).is_pending(), "the place was held until the other search was over");
    drop(long);
    until_waiting(&engine, 0).await;
}

#[tokio::test]
async fn models_take_turns_in_little_memory() {
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    folders.iter().for_each(|folder| small_checkpoint(folder.path(), &card(Method::StepByStep)));
    let engine = engine(64, 1);
    let models: Vec<ModelFiles> = (0..3).map(|at| model(folders[at].path(), &at.to_string())).collect();
    let calls = (0..9).map(|at| engine.predict(&models[at % 3], vec![ask("torn"), ask("the box")]));
    for answers in join_all(calls).await {
        assert!(answers.unwrap().iter().all(Result::is_ok));
    }
}

#[tokio::test]
async fn a_stopped_engine_says_so() {
    let engine = engine(64, 1);
    engine.warm_up().await.unwrap();
    engine.stop().await;
    assert_eq!(engine.warm_up().await, Err(InferenceError::Stopped));
    let gone = engine.predict(&model(Path::new("nowhere"), "a"), vec![ask("torn")]).await;
    assert_eq!(gone, Err(InferenceError::Stopped));
}

#[test]
fn a_gpu_that_is_not_there_is_refused_at_start() {
    let settings = EngineSettings { device: "cuda:99".to_owned(), ..settings() };
    let error = Engine::start(settings).err().unwrap().to_string();
    assert!(error.contains("cuda:99"), "{error}");
}
