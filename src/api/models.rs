//! `/v1/models`: registered checkpoints, the folders below `models_dir`, and what was brought from the Hub. A name is one percent-encoded segment.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    ProjectState,
    error::ApiError,
    extract::{Name, Query, from_text},
    list::{List, MAX_LIMIT, page_size},
    model_resource::{ModelObject, ModelResource},
    openapi::{OfOne, Plain},
    problem::Problem,
    resolve::model,
};
use crate::{
    artifacts::ArtifactError,
    domain::{HubId, ModelFiles, ModelId, StudentSource},
    registry::RegistryError,
    store::{Deletion, Removed},
    telemetry::chain,
    tidy,
};

/// The answer to a deletion.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelDeleted {
    /// The name that is free again.
    #[schema(example = "desk-1")]
    id: String,
    /// Always `model`.
    object: ModelObject,
    /// Always true.
    #[schema(example = true)]
    deleted: bool,
}

/// Which models to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ModelsQuery {
    /// The last `id` or `model_id` of the page before.
    #[param(example = "desk-1")]
    after: Option<String>,
    /// Models of a page, 1 to 1000; default 1000, because OpenAI's clients ask for no second page.
    #[serde(default, deserialize_with = "from_text")]
    #[param(example = 1000)]
    limit: Option<u32>,
}

/// List models: registered ones, newest first; behind the last of them the folders below `models_dir`, by name; behind these the
/// models of the Hugging Face Hub that are whole in this machine's cache, by id.
#[utoipa::path(get, path = "/v1/models", tag = "models", params(ModelsQuery),
    responses((status = 200, description = "A page of models", body = List<ModelResource>), Plain))]
pub async fn list_models(
    state: ProjectState,
    Query(query): Query<ModelsQuery>,
) -> Result<axum::Json<List<ModelResource>>, ApiError> {
    let limit = page_size(query.limit.or(Some(MAX_LIMIT)), MAX_LIMIT)?;
    let (mut sources, after) = match cursor(&state, query.after).await? {
        Cursor::Registered(after) => {
            let page = state.store.list_models(state.project, after, limit).await?;
            let registered = page.items.into_iter().map(|model| StudentSource::Registered(Box::new(model))).collect();
            if page.has_more {
                return Ok(axum::Json(List::new(ModelResource::page(&state, registered).await?, true)));
            }
            (registered, Unregistered::default())
        }
        Cursor::Unregistered(after) => (Vec::new(), after),
    };
    sources.extend(unregistered(&state, &after).await?);
    let has_more = sources.len() > limit as usize;
    sources.truncate(limit as usize);
    Ok(axum::Json(List::new(ModelResource::page(&state, sources).await?, has_more)))
}

/// Where a page begins.
enum Cursor {
    /// Behind this registered model, or with the first.
    Registered(Option<ModelId>),
    /// Behind one of the others.
    Unregistered(Unregistered),
}

/// Which of the folders and models of the Hub come: those behind these names. Every folder comes before every model of the
/// Hub.
#[derive(Default)]
struct Unregistered {
    folder: Option<String>,
    hub: Option<HubId>,
}

async fn unregistered(state: &ProjectState, after: &Unregistered) -> Result<Vec<StudentSource>, ApiError> {
    let names = if after.hub.is_some() { Vec::new() } else { state.registry.directory_names()? };
    let names = names.iter().filter(|name| after.folder.as_ref().is_none_or(|after| *name > after));
    let folders: Vec<StudentSource> = names.filter_map(|name| state.registry.folder(name)).collect();
    let comes = |model: &StudentSource| match (&after.hub, model) {
        (Some(after), StudentSource::Hub { id, .. }) => id > after,
        _ => true,
    };
    Ok(folders.into_iter().chain(state.registry.hub_models().await?.into_iter().filter(comes)).collect())
}

async fn cursor(state: &ProjectState, after: Option<String>) -> Result<Cursor, ApiError> {
    let Some(after) = after else { return Ok(Cursor::Registered(None)) };
    if let Ok(id) = after.parse() {
        return Ok(Cursor::Registered(Some(id)));
    }
    if let Ok(id) = after.parse::<HubId>() {
        return Ok(Cursor::Unregistered(Unregistered { folder: None, hub: Some(id) }));
    }
    // A folder hides a registered model of its name everywhere but in this list.
    match state.store.model(state.project, &after).await? {
        Some(found) if found.name == after && state.registry.folder(&after).is_none() => {
            Ok(Cursor::Registered(Some(found.id)))
        }
        _ if state.registry.folder(&after).is_some() => {
            Ok(Cursor::Unregistered(Unregistered { folder: Some(after), hub: None }))
        }
        _ => {
            let detail = format!("there is no model {after:?}; send the model_id of the page's last item");
            Err(ApiError::field("#/after", "invalid_value", detail))
        }
    }
}

/// Look at a model by its name, its id, an alias, an id of the Hugging Face Hub, or the id of the distillation that made it: what it
/// was made of, how, and what was made of it.
#[utoipa::path(get, path = "/v1/models/{id}", tag = "models",
    params(("id" = String, Path, description = "The model; the slash of a Hub id is sent as `%2F`", example = "desk-2")),
    responses((status = 200, description = "The model", body = ModelResource), OfOne))]
pub async fn get_model(state: ProjectState, Name(name): Name) -> Result<axum::Json<ModelResource>, ApiError> {
    ModelResource::whole(&state, find(&state, &name).await?).await.map(axum::Json)
}

/// Delete a registered model: its name is free again and its files are removed. Refused while an alias points to it or a
/// job that is not over uses it. A folder's owner is not this service.
#[utoipa::path(delete, path = "/v1/models/{id}", tag = "models",
    params(("id" = String, Path, description = "The model", example = "desk-1")),
    responses((status = 200, description = "It is deleted", body = ModelDeleted),
        (status = 409, description = "An alias or a job that is not over uses it, it is an alias, or a folder below models_dir",
            body = Problem, content_type = "application/problem+json"), OfOne))]
pub async fn delete_model(state: ProjectState, Name(name): Name) -> Result<axum::Json<ModelDeleted>, ApiError> {
    let project = state.project;
    let deleted = match find(&state, &name).await? {
        StudentSource::Directory { name, .. } => return Err(ApiError::ModelIsDirectory(name)),
        StudentSource::Hub { name, .. } => return Err(ApiError::ModelIsInHubCache(name)),
        StudentSource::Registered(model) => {
            refuse_alias(&state, &name, &model.name).await?;
            let change = state.names.change();
            let deletion = state.store.delete_model(project, model.id).await;
            drop(change);
            let model = settled(&state, model.name, deletion?).await?;
            remove_files(&state, &Removed::from(&model)).await;
            model.name
        }
        StudentSource::Checkpoint(checkpoint) => {
            refuse_alias(&state, &name, &checkpoint.name).await?;
            let change = state.names.change();
            let deletion = state.store.delete_checkpoint(project, checkpoint.id).await;
            drop(change);
            settled(&state, checkpoint.name.clone(), deletion?).await?;
            remove_files(&state, &Removed::from(checkpoint.as_ref())).await;
            checkpoint.name
        }
    };
    Ok(axum::Json(ModelDeleted { id: deleted, object: ModelObject::Model, deleted: true }))
}

async fn refuse_alias(state: &ProjectState, name: &str, model: &str) -> Result<(), ApiError> {
    match state.store.alias(state.project, name).await? {
        Some(alias) => Err(ApiError::ModelIsAlias { alias: alias.name, model: model.to_owned() }),
        None => Ok(()),
    }
}

/// What was taken away, or why it was not.
async fn settled<T>(state: &ProjectState, model: String, deletion: Deletion<T>) -> Result<T, ApiError> {
    match deletion {
        Deletion::NotFound => Err(not_found(state, &model).await?),
        Deletion::HasAlias(alias) => Err(ApiError::ModelHasAlias { model, alias }),
        Deletion::InUse(job) => Err(ApiError::ModelInUse { model, job }),
        Deletion::Deleted(gone) => Ok(gone),
    }
}

/// The row is gone; what stays behind here is swept by a worker.
async fn remove_files(state: &ProjectState, removed: &Removed) {
    if let Err(error) = state.registry.purge(removed).await {
        tracing::warn!(error = %chain(&error), "the files of a deleted model stay for now");
    }
    if let Err(error) = tidy::forget_removed(&state.registry, &state.engine).await {
        tracing::warn!(error = %chain(&error), "the local copy of a deleted model stays for now");
    }
}

/// A model, or a 404 that names the nearest.
pub async fn find(state: &ProjectState, name: &str) -> Result<StudentSource, ApiError> {
    match model::find(state, name).await? {
        Some(source) => Ok(source),
        None => Err(not_found(state, name).await?),
    }
}

/// The model's files on this machine.
pub async fn open(state: &ProjectState, source: &StudentSource) -> Result<ModelFiles, ApiError> {
    match state.registry.open(source).await {
        Ok(files) => Ok(files),
        Err(error) => Err(not_opened(state, source, error).await),
    }
}

/// Why a model that was found cannot be asked.
pub async fn not_opened(state: &ProjectState, source: &StudentSource, error: RegistryError) -> ApiError {
    if matches!(error, RegistryError::Incomplete { .. } | RegistryError::BadCard { .. }) {
        return unusable(source.name(), &error);
    }
    // It may have been deleted since it was found.
    match is_gone(state, source).await {
        Ok(true) => not_found(state, source.name()).await.unwrap_or_else(|error| error),
        Ok(false) if is_lost(&error) => unusable(source.name(), &error),
        Ok(false) if is_unreadable(&error) => ApiError::model_unreadable(error),
        Ok(false) => error.into(),
        Err(error) => error,
    }
}

async fn is_gone(state: &ProjectState, source: &StudentSource) -> Result<bool, ApiError> {
    let Some(id) = source.id() else { return Ok(false) };
    Ok(model::find(state, &id).await?.is_none())
}

/// Whether what was published is not there any more as it was: no time mends that.
fn is_lost(error: &RegistryError) -> bool {
    use ArtifactError::{BrokenManifest, Corrupt, Missing};
    matches!(error, RegistryError::Artifact(Corrupt { .. } | BrokenManifest { .. } | Missing { .. }))
}

/// Whether a file on this machine cannot be read, which may pass.
fn is_unreadable(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Artifact(ArtifactError::Local { .. }) | RegistryError::Unreadable { .. })
}

/// A model that is there and does not work.
pub fn unusable(name: &str, error: &dyn std::error::Error) -> ApiError {
    ApiError::ModelUnusable { name: name.to_owned(), reason: error.to_string() }
}

/// The 404 of a model, with the nearest names.
pub async fn not_found(state: &ProjectState, name: &str) -> Result<ApiError, ApiError> {
    let shown: String = name.chars().take(200).collect();
    let advice = match shown.parse::<HubId>() {
        Ok(id) => absent(state, &id),
        Err(_) => model::advice(state, &shown).await?,
    };
    Ok(ApiError::ModelNotFound { advice, name: shown })
}

/// The end of the sentence about a model of the Hub that is not here. A request does not wait for gigabytes.
fn absent(state: &ProjectState, id: &HubId) -> String {
    let cache = state.registry.hub().settings().cache.display();
    format!(
        " in the Hub's cache of this machine ({cache}), and a request downloads nothing; bring it with `stepwise fetch {id}`. \
         Jobs may name it as it is: their worker brings it"
    )
}
