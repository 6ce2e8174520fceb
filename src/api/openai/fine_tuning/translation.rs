//! From a fine-tuning's request to the distillation's that means the same, and the places of its refusals back.

use serde_json::{Map, Value};

use super::{
    knobs::{RENAMED, knobs},
    method::MethodKind,
    pointers::Pointers,
    request::{FineTuningJobRequest, MethodOptions, MethodRequest, TrainingRows},
};
use crate::{
    api::{
        error::ApiError,
        openai::parameters::unsupported,
        resolve::{
            Refusals,
            distillation::{DistillationJobRequest, TestRows, Training, ValidationRows},
            model::is_plain,
        },
        shapes::OneOrMany,
    },
    domain::LabelSource,
};

/// OpenAI's limit.
const MAX_SUFFIX: usize = 64;

/// The request in this service's own words, and where it stood in OpenAI's.
pub fn translate(request: FineTuningJobRequest) -> Result<(DistillationJobRequest, Pointers), ApiError> {
    let mut refusals = Refusals::default();
    let asks = request.integrations.as_ref().is_some_and(|integrations| !integrations.is_empty());
    unsupported(&mut refusals, "integrations", asks, "leave it out: figures are at /v1/jobs/{id}/metrics");
    check_suffix(&mut refusals, request.suffix.as_deref());
    let (kind, mut options) = options(&mut refusals, request.method);
    let own = options.hyperparameters.take();
    let (pointers, given) = place_of_knobs(&mut refusals, kind, request.hyperparameters, own);
    check_seed(&mut refusals, &pointers, &given, request.seed);
    let mut hyperparameters = knobs(&mut refusals, &pointers.knobs, given);
    hyperparameters.seed = request.seed.unwrap_or(hyperparameters.seed);
    refusals.finish()?;
    let native = DistillationJobRequest {
        training: OneOrMany::One(training(request.training_file)),
        validation: request
            .validation_file
            .map(|file| ValidationRows { file: Some(file), ..ValidationRows::default() }),
        test: options.test_file.map(|file| TestRows { file }),
        student: request.model,
        task: options.task,
        method: Some(kind.method()),
        label_source: Some(options.label_source.unwrap_or_else(|| usual_source(kind))),
        alpha: options.alpha,
        rationales: options.rationales,
        prefixes: options.prefixes,
        hyperparameters: Some(hyperparameters),
        model_name: None,
        max_dropped_ratio: options.max_dropped_ratio,
        priority: request.priority,
        metadata: request.metadata,
        depends_on: request.depends_on,
    };
    Ok((native, pointers))
}

fn training(rows: TrainingRows) -> Training {
    match rows {
        TrainingRows::File(file) => Training { file: Some(file), annotation_job: None },
        TrainingRows::Annotation(job) => Training { file: None, annotation_job: Some(job) },
    }
}

/// OpenAI's files hold the labels that are wanted; rationales are a teacher's.
fn usual_source(kind: MethodKind) -> LabelSource {
    if kind == MethodKind::Supervised { LabelSource::GroundTruth } else { LabelSource::Teacher }
}

/// The suffix becomes a part of a model's name.
fn check_suffix(refusals: &mut Refusals, suffix: Option<&str>) {
    let Some(suffix) = suffix else { return };
    refusals.require(is_plain(suffix, MAX_SUFFIX), "#/suffix", || {
        format!("a suffix has 1 to {MAX_SUFFIX} letters, digits, '-', '_' or '.'; leave it out for none")
    });
}

/// The method and its options; those of another one would be ignored, and are refused.
fn options(refusals: &mut Refusals, method: Option<MethodRequest>) -> (MethodKind, MethodOptions) {
    let Some(method) = method else { return (MethodKind::Supervised, MethodOptions::default()) };
    let given = [
        (MethodKind::Supervised, method.supervised),
        (MethodKind::StepByStep, method.step_by_step),
        (MethodKind::RationaleThenLabel, method.rationale_then_label),
    ];
    let mut chosen = None;
    for (kind, options) in given {
        if kind == method.kind {
            chosen = options;
        } else if options.is_some() {
            let (name, wanted) = (kind.as_str(), method.kind.as_str());
            let detail =
                format!("the type is {wanted:?}, so that {name} is not read; leave it out, or send it as {wanted}");
            refusals.add(format!("#/method/{name}"), "invalid_value", detail);
        }
    }
    (method.kind, chosen.unwrap_or_default())
}

/// The hyperparameters, which have two places in OpenAI's request.
fn place_of_knobs(
    refusals: &mut Refusals,
    kind: MethodKind,
    older: Option<Map<String, Value>>,
    own: Option<Map<String, Value>>,
) -> (Pointers, Map<String, Value>) {
    let (older, own) = (older.unwrap_or_default(), own.unwrap_or_default());
    let place = format!("#/method/{}/hyperparameters", kind.as_str());
    refusals.require(older.is_empty() || own.is_empty(), "#/hyperparameters", || {
        format!("hyperparameters stand here and at {place}; send them there alone")
    });
    let (knobs, given) =
        if own.is_empty() && !older.is_empty() { ("#/hyperparameters".to_owned(), older) } else { (place, own) };
    let renamed = RENAMED.iter().map(|(theirs, _)| *theirs).filter(|name| given.contains_key(*name)).collect();
    (Pointers { kind, knobs, renamed }, given)
}

/// The seed has a place of its own in OpenAI's request, and one among this service's hyperparameters.
fn check_seed(refusals: &mut Refusals, pointers: &Pointers, given: &Map<String, Value>, seed: Option<u64>) {
    let other = given.get("seed").and_then(Value::as_u64);
    if let (Some(seed), Some(other)) = (seed, other) {
        refusals.require(seed == other, "#/seed", || {
            format!("the seed is {seed} here and {other} at {}/seed; send one of them", pointers.knobs)
        });
    }
}
