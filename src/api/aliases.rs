//! `/v1/aliases`: names that clients keep while an operator moves them from one model to another.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    ProjectState,
    asked_model::in_the_name_of,
    error::ApiError,
    extract::{Json, Name, Query, from_text},
    list::{List, MAX_LIMIT, page_size},
    models,
    openapi::{OfOne, Plain, Put},
    problem::Problem,
    resolve::{
        Refusals,
        model::{self, check_name},
    },
};
use crate::{
    domain::{Alias, AliasMove, ModelId, ModelTarget, StudentSource},
    store::{DeletedAlias, PutAlias, SetAlias},
};

/// Where an alias shall point.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AliasRequest {
    /// A model's or checkpoint's name or id, the id of the distillation that made the model, or another alias, which stands
    /// for what it points to now.
    #[schema(example = "desk-2")]
    model: String,
}

/// An alias as clients see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Alias)]
#[serde(deny_unknown_fields)]
pub struct AliasResource {
    /// What clients ask for; works wherever a model's name does.
    #[schema(example = "desk-live")]
    id: String,
    /// Always `alias`.
    object: AliasObject,
    /// The model that it points to.
    #[schema(example = "desk-2")]
    model: String,
    /// That model's id; null where it is a folder or a checkpoint.
    #[schema(required = true, example = "model-0198c0de000070008000000000000001")]
    model_id: Option<ModelId>,
    /// The model that it pointed to before its last move; null if it never moved.
    #[schema(required = true, example = "desk-1")]
    previous: Option<String>,
    /// When it was made, in Unix seconds.
    #[schema(example = 1_788_000_000)]
    created_at: i64,
    /// When it last came to mean something else, in Unix seconds.
    #[schema(example = 1_788_003_600)]
    moved_at: i64,
    /// Its last 20 moves, newest first, those of an earlier alias of this name among them; in lists null.
    #[schema(required = true)]
    history: Option<Vec<AliasMoveResource>>,
}

/// One move of an alias.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AliasMove)]
#[serde(deny_unknown_fields)]
pub struct AliasMoveResource {
    /// What it pointed to before; null when it was made.
    #[schema(required = true, example = "desk-1")]
    from: Option<String>,
    /// What it points to since; null when it was deleted.
    #[schema(required = true, example = "desk-2")]
    to: Option<String>,
    /// When, in Unix seconds.
    #[schema(example = 1_788_003_600)]
    created_at: i64,
}

/// The one value of an alias's `object`.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AliasObject {
    /// It is an alias.
    Alias,
}

/// The answer to a deletion.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AliasDeleted {
    /// The name that is free again.
    #[schema(example = "desk-live")]
    id: String,
    /// Always `alias`.
    object: AliasObject,
    /// Always true.
    #[schema(example = true)]
    deleted: bool,
    /// What it pointed to; that stays.
    #[schema(example = "desk-2")]
    model: String,
}

/// Which aliases to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AliasesQuery {
    /// The last alias of the page before.
    #[param(example = "desk-live")]
    after: Option<String>,
    /// Aliases of a page, 1 to 1000; default 20.
    #[serde(default, deserialize_with = "from_text")]
    #[param(example = 20)]
    limit: Option<u32>,
}

/// List aliases by name.
#[utoipa::path(get, path = "/v1/aliases", tag = "models", params(AliasesQuery),
    responses((status = 200, description = "A page of aliases", body = List<AliasResource>), Plain))]
pub async fn list_aliases(
    state: ProjectState,
    Query(query): Query<AliasesQuery>,
) -> Result<axum::Json<List<AliasResource>>, ApiError> {
    let limit = page_size(query.limit, MAX_LIMIT)?;
    let page = state.store.list_aliases(state.project, query.after.as_deref(), limit).await?;
    Ok(axum::Json(List::new(page.items.into_iter().map(AliasResource::from).collect(), page.has_more)))
}

/// Look at an alias: what it points to, and its history.
#[utoipa::path(get, path = "/v1/aliases/{name}", tag = "models",
    params(("name" = String, Path, description = "The alias", example = "desk-live")),
    responses((status = 200, description = "The alias", body = AliasResource), OfOne))]
pub async fn get_alias(state: ProjectState, Name(name): Name) -> Result<axum::Json<AliasResource>, ApiError> {
    let alias = state.store.alias(state.project, &name).await?.ok_or_else(|| missing(name))?;
    with_history(&state, alias).await.map(axum::Json)
}

/// Make an alias or move it, atomically: every prediction is answered by the old model or by the new one. Where the old one is in
/// this process's memory, or the alias is pinned, the new one is loaded before the alias moves, so that nobody waits for it; a model
/// that cannot be loaded is refused then, and the alias stays. Moving it where it points already changes nothing.
#[utoipa::path(put, path = "/v1/aliases/{name}", tag = "models", request_body = AliasRequest,
    params(("name" = String, Path, description = "The alias: 1 to 128 letters, digits, `-`, `_` or `.`", example = "desk-live")),
    responses((status = 200, description = "It points there now", body = AliasResource),
        (status = 201, description = "It is made", body = AliasResource),
        (status = 409, description = "The name is a model's", body = Problem, content_type = "application/problem+json"),
        Put))]
pub async fn put_alias(
    state: ProjectState,
    Name(name): Name,
    Json(request): Json<AliasRequest>,
) -> Result<Response, ApiError> {
    let mut refusals = Refusals::default();
    check_name(&mut refusals, "#/name", "an alias", &name);
    refusals.finish()?;
    if state.registry.folder(&name).is_some() {
        return Err(ApiError::NameOfModel(name));
    }
    let source = models::find(&state, &request.model).await?;
    if let StudentSource::Hub { id, .. } = &source {
        let detail =
            format!("{id} is a model of the Hub: ask for it by its id; an alias points to a model of this service");
        return Err(ApiError::field("#/model", "invalid_value", detail));
    }
    make_ready(&state, &name, &source).await?;
    let new = SetAlias { name, target: source.target(), model: source.name().to_owned() };
    let change = state.names.change();
    let put = state.store.put_alias(state.project, &new).await;
    drop(change);
    let (status, alias) = match put? {
        PutAlias::Created(alias) => (StatusCode::CREATED, alias),
        PutAlias::Moved(alias) => (StatusCode::OK, alias),
        PutAlias::NameOfModel => return Err(ApiError::NameOfModel(new.name)),
        PutAlias::TargetGone => return Err(models::not_found(&state, &request.model).await?),
    };
    Ok((status, axum::Json(with_history(&state, alias).await?)).into_response())
}

/// Delete an alias. What it points to stays.
#[utoipa::path(delete, path = "/v1/aliases/{name}", tag = "models",
    params(("name" = String, Path, description = "The alias", example = "desk-live")),
    responses((status = 200, description = "It is deleted", body = AliasDeleted), OfOne))]
pub async fn delete_alias(state: ProjectState, Name(name): Name) -> Result<axum::Json<AliasDeleted>, ApiError> {
    let change = state.names.change();
    let deleted = state.store.delete_alias(state.project, &name).await;
    drop(change);
    match deleted? {
        DeletedAlias::NotFound => Err(missing(name)),
        DeletedAlias::Deleted(model) => {
            Ok(axum::Json(AliasDeleted { id: name, object: AliasObject::Alias, deleted: true, model }))
        }
    }
}

/// Loads what an alias shall point to, where what it points to now answers from memory.
async fn make_ready(state: &ProjectState, alias: &str, source: &StudentSource) -> Result<(), ApiError> {
    let is_hot = match model::find(state, alias).await? {
        Some(old) => state.engine.has(&state.registry.key(&old)?),
        None => false,
    };
    if !is_hot && !state.pinned.iter().any(|pinned| pinned == alias) {
        return Ok(());
    }
    let files = models::open(state, source).await?;
    state.engine.load(&files).await.map_err(|error| in_the_name_of(source.name(), error))
}

fn missing(name: String) -> ApiError {
    ApiError::NotFound { what: "alias", id: name.chars().take(200).collect() }
}

async fn with_history(state: &ProjectState, alias: Alias) -> Result<AliasResource, ApiError> {
    let moves = state.store.alias_moves(state.project, &alias.name).await?;
    let history = moves.into_iter().map(AliasMoveResource::from).collect();
    Ok(AliasResource { history: Some(history), ..AliasResource::from(alias) })
}

impl From<Alias> for AliasResource {
    fn from(alias: Alias) -> Self {
        Self {
            id: alias.name,
            object: AliasObject::Alias,
            model: alias.model,
            model_id: if let ModelTarget::Model(id) = alias.target { Some(id) } else { None },
            previous: alias.previous,
            created_at: alias.created_at.timestamp(),
            moved_at: alias.moved_at.timestamp(),
            history: None,
        }
    }
}

impl From<AliasMove> for AliasMoveResource {
    fn from(moved: AliasMove) -> Self {
        Self { from: moved.from, to: moved.to, created_at: moved.at.timestamp() }
    }
}
