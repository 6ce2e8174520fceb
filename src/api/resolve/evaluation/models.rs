//! The models of an evaluation: each is there or will be, and none is there twice under two names.

use std::collections::BTreeMap;

use crate::{
    api::{
        ProjectState,
        error::ApiError,
        resolve::{
            Refusals,
            model::{self, Pins},
            submission::parent,
        },
    },
    domain::{HubId, JobId, JobSpec, JobState, ModelTarget, StudentSource, TaskDefinition},
    registry,
};

const MAX_MODELS: usize = 16;

/// The models as a worker will find them.
#[derive(Debug, Default)]
pub struct Models {
    /// The first model's own task.
    pub task: Known,
    /// Their names as the job stores them.
    pub names: Vec<String>,
    /// What these names mean.
    pub targets: BTreeMap<String, ModelTarget>,
    /// What the job keeps from being deleted.
    pub pins: Pins,
    /// Distillation jobs that are not over.
    pub waits_for: Vec<JobId>,
}

/// What is known of a model's own task.
#[derive(Debug, Default)]
pub enum Known {
    /// It is this.
    Task(TaskDefinition),
    /// Only who has this model of the Hub knows, and this machine has not got it.
    AfterDownload(HubId),
    /// Nothing: the model was refused.
    #[default]
    Refused,
}

/// A model, by what stays its own when names move.
#[derive(Debug, PartialEq)]
enum Found {
    Ready(StudentSource),
    Pending(JobId, Box<TaskDefinition>),
    /// On the Hub, for all that is known here.
    Absent(HubId),
}

/// Every model is there or will be.
pub async fn check(state: &ProjectState, refusals: &mut Refusals, names: &[String]) -> Result<Models, ApiError> {
    refusals.require((1..=MAX_MODELS).contains(&names.len()), "#/models", || {
        format!("{} models; send 1 to {MAX_MODELS}", names.len())
    });
    let (mut models, mut known): (Models, Vec<(&str, Found)>) = (Models::default(), Vec::new());
    for (index, name) in names.iter().take(MAX_MODELS).enumerate() {
        let pointer = format!("#/models/{index}");
        let Some(found) = find(state, refusals, &pointer, name).await? else { continue };
        match &found {
            Found::Ready(source) => {
                let (name, target) = models.pins.add(&state.registry, source);
                models.targets.insert(name.clone(), target);
                models.names.push(name);
            }
            Found::Pending(..) => models.names.push(name.clone()),
            Found::Absent(id) => {
                let (name, target) = models.pins.add_absent(state, id.clone());
                models.targets.insert(name.clone(), target);
                models.names.push(name);
            }
        }
        if let Some((other, _)) = known.iter().find(|(_, other)| *other == found) {
            let same = if other == name { "there twice".to_owned() } else { format!("the same as {other:?}") };
            refusals.add(&pointer, "duplicate_model", format!("the model {name:?} is {same}; name each once"));
        }
        if index == 0 {
            models.task = task_of(state, refusals, &pointer, &found).await?;
        }
        if let Found::Pending(id, _) = found {
            models.waits_for.push(id);
        }
        known.push((name, found));
    }
    Ok(models)
}

async fn find(
    state: &ProjectState,
    refusals: &mut Refusals,
    pointer: &str,
    name: &str,
) -> Result<Option<Found>, ApiError> {
    if let Some(source) = model::find(state, name).await? {
        let missing = model::missing(&source);
        if !missing.is_empty() {
            let detail = format!("model {name:?} lacks {} in its folder", missing.join(", "));
            refusals.add(pointer, "model_incomplete", detail);
        }
        return Ok(Some(Found::Ready(source)));
    }
    if let Ok(id) = name.parse::<HubId>() {
        return Ok(Some(Found::Absent(id)));
    }
    let Ok(id) = name.parse::<JobId>() else {
        let advice = model::advice(state, name).await?;
        refusals.add(pointer, "model_not_found", format!("there is no model {name:?}{advice}"));
        return Ok(None);
    };
    pending(state, refusals, pointer, id).await
}

/// A distillation that has yet to make its model.
async fn pending(
    state: &ProjectState,
    refusals: &mut Refusals,
    pointer: &str,
    id: JobId,
) -> Result<Option<Found>, ApiError> {
    let Some(job) = parent(state, refusals, pointer, id).await? else { return Ok(None) };
    match &job.spec {
        JobSpec::Distillation(_) if job.state == JobState::Succeeded => {
            refusals.add(pointer, "model_not_found", format!("the model that {id} made was deleted"));
            Ok(None)
        }
        JobSpec::Distillation(spec) => Ok(Some(Found::Pending(id, Box::new(spec.task.clone())))),
        _ => {
            refusals.add(pointer, "invalid_value", format!("{id} is an {} job; name a distillation job", job.kind()));
            Ok(None)
        }
    }
}

async fn task_of(
    state: &ProjectState,
    refusals: &mut Refusals,
    pointer: &str,
    found: &Found,
) -> Result<Known, ApiError> {
    Ok(match found {
        Found::Pending(_, task) => Known::Task(task.as_ref().clone()),
        Found::Absent(id) => Known::AfterDownload(id.clone()),
        Found::Ready(StudentSource::Registered(model)) => Known::Task(model.task.clone()),
        Found::Ready(StudentSource::Checkpoint(checkpoint)) => {
            Known::Task(model::task_of(state, checkpoint).await?.unwrap_or_default())
        }
        Found::Ready(StudentSource::Directory { name, path } | StudentSource::Hub { name, path, .. }) => {
            match registry::card(path) {
                Ok(card) => Known::Task(card.task),
                Err(error) => {
                    refusals.add(pointer, "model_unusable", format!("model {name:?} cannot be used: {error}"));
                    Known::Refused
                }
            }
        }
    })
}
