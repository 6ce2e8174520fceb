//! `/v1/models`: registered checkpoints, and the folders below `models_dir`. A name is one percent-encoded segment.

use std::path::Path;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::{
    AppState,
    error::ApiError,
    extract::{Name, Query, from_text},
    list::{List, MAX_LIMIT, page_size},
    openapi::{OfOne, Plain},
    resolve::model,
};
use crate::{
    domain::{JobId, Model, ModelId, StudentSource, TaskDefinition},
    store::Store,
};

/// A model as clients see it (OpenAI's model object, with its lineage).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Model)]
#[serde(deny_unknown_fields)]
pub struct ModelResource {
    /// The name it is asked for by.
    id: String,
    /// Always `model`.
    object: ModelObject,
    /// When it was published, in Unix seconds; for a folder, when its configuration was written.
    #[schema(example = 1_763_700_000)]
    created: i64,
    /// `stepwise` for a registered checkpoint, `models_dir` for a folder.
    owned_by: String,
    /// The id that stays its own when its name is given to another; null for a folder.
    #[schema(required = true)]
    model_id: Option<ModelId>,
    /// What it was trained from; null for a folder.
    #[schema(required = true)]
    base: Option<String>,
    /// The job that made it; null for a folder.
    #[schema(required = true)]
    job: Option<JobId>,
    /// The task it learned; null where that is not known.
    #[schema(required = true)]
    task: Option<TaskDefinition>,
    /// Accuracies and the like, by metric name.
    #[schema(value_type = Object)]
    metrics: Map<String, Value>,
    /// The size of all its files; null for a folder.
    #[schema(required = true)]
    bytes: Option<i64>,
    /// What its folder lacks; empty for a model that can be used.
    missing_files: Vec<String>,
}

/// The one value of a model's `object`.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelObject {
    /// It is a model.
    Model,
}

/// The answer to a deletion.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelDeleted {
    /// The name that is free again.
    id: String,
    /// Always `model`.
    object: ModelObject,
    /// Always true.
    deleted: bool,
}

/// Which models to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ModelsQuery {
    /// The last `model_id` of the page before.
    #[serde(default, deserialize_with = "from_text")]
    after: Option<ModelId>,
    /// Registered models of a page, 1 to 1000; default 20.
    #[serde(default, deserialize_with = "from_text")]
    limit: Option<u32>,
}

/// List models: registered ones, newest first; behind the last of them the folders below `models_dir`.
#[utoipa::path(get, path = "/v1/models", tag = "models", params(ModelsQuery),
    responses((status = 200, description = "A page of models", body = List<ModelResource>), Plain))]
pub async fn list_models(
    State(state): State<AppState>,
    Query(query): Query<ModelsQuery>,
) -> Result<axum::Json<List<ModelResource>>, ApiError> {
    let limit = page_size(query.limit, MAX_LIMIT)?;
    let page = state.store.list_models(Store::default_project(), query.after, limit).await?;
    let mut models: Vec<ModelResource> = page.items.into_iter().map(ModelResource::registered).collect();
    if !page.has_more {
        for name in state.registry.directory_names()? {
            if let Some(StudentSource::Directory { name, path }) = model::find(&state, &name).await? {
                models.push(ModelResource::folder(name, &path));
            }
        }
    }
    Ok(axum::Json(List::new(models, page.has_more)))
}

/// Look at a model by its name, its id, or the id of the distillation that made it.
#[utoipa::path(get, path = "/v1/models/{id}", tag = "models", params(("id" = String, Path, description = "The model")),
    responses((status = 200, description = "The model", body = ModelResource), OfOne))]
pub async fn get_model(State(state): State<AppState>, Name(name): Name) -> Result<axum::Json<ModelResource>, ApiError> {
    let found = match find(&state, &name).await? {
        StudentSource::Registered(model) => ModelResource::registered(*model),
        StudentSource::Directory { name, path } => ModelResource::folder(name, &path),
    };
    Ok(axum::Json(found))
}

/// Delete a registered model: its name is free again, its files are removed later. A folder's owner is not this service.
#[utoipa::path(delete, path = "/v1/models/{id}", tag = "models", params(("id" = String, Path, description = "The model")),
    responses((status = 200, description = "It is deleted", body = ModelDeleted),
        (status = 409, description = "It is a folder below models_dir", body = super::problem::Problem,
            content_type = "application/problem+json"), OfOne))]
pub async fn delete_model(
    State(state): State<AppState>,
    Name(name): Name,
) -> Result<axum::Json<ModelDeleted>, ApiError> {
    match find(&state, &name).await? {
        StudentSource::Directory { name, .. } => Err(ApiError::ModelIsDirectory(name)),
        StudentSource::Registered(model) => {
            let deleted = state.store.delete_model(Store::default_project(), &model.id.to_string()).await?;
            let deleted = deleted.ok_or_else(|| ApiError::ModelNotFound { name, advice: String::new() })?;
            Ok(axum::Json(ModelDeleted { id: deleted.name, object: ModelObject::Model, deleted: true }))
        }
    }
}

/// A model, or a 404 that names the nearest.
pub async fn find(state: &AppState, name: &str) -> Result<StudentSource, ApiError> {
    match model::find(state, name).await? {
        Some(source) => Ok(source),
        None => {
            let shown: String = name.chars().take(200).collect();
            Err(ApiError::ModelNotFound { advice: model::advice(state, &shown).await?, name: shown })
        }
    }
}

impl ModelResource {
    fn registered(model: Model) -> Self {
        Self {
            id: model.name,
            object: ModelObject::Model,
            created: model.created_at.timestamp(),
            owned_by: "stepwise".to_owned(),
            model_id: Some(model.id),
            base: Some(model.base),
            job: Some(model.job_id),
            task: Some(model.task),
            metrics: model.metrics,
            bytes: Some(model.bytes),
            missing_files: Vec::new(),
        }
    }

    fn folder(name: String, path: &Path) -> Self {
        Self {
            id: name,
            object: ModelObject::Model,
            created: model::written_at(path),
            owned_by: "models_dir".to_owned(),
            model_id: None,
            base: None,
            job: None,
            task: None,
            metrics: Map::new(),
            bytes: None,
            missing_files: model::missing_files(path).into_iter().map(str::to_owned).collect(),
        }
    }
}
