//! `/v1/files`: what was uploaded or written by a job. Bytes come and go as streams (`upload.rs` has the way in).

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    AppState,
    error::ApiError,
    extract::{Id, Query, from_text},
    list::{List, page_size},
    openapi::{OfOne, Plain},
};
use crate::{
    domain::{File, FileId, FileStatus, Purpose, Validation},
    store::{DeletedFile, FileFilter, Store},
};

/// Files are light, and OpenAI's clients ask for up to so many at once.
const MAX_FILES: u32 = 10_000;

/// A file as clients see it (OpenAI's file object, with `digest` and `validation`).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = File)]
#[serde(deny_unknown_fields)]
pub struct FileResource {
    /// Its id.
    id: FileId,
    /// Always `file`.
    object: FileObject,
    /// Its size.
    bytes: i64,
    /// When it was stored, in Unix seconds.
    created_at: i64,
    /// Files do not expire yet: null.
    #[schema(required = true)]
    expires_at: Option<i64>,
    /// The name it was uploaded under.
    filename: String,
    /// What it is for.
    purpose: Purpose,
    /// Whether its lines can be used: jobs take `processed` files only.
    status: FileStatus,
    /// What is wrong with its lines, in a sentence; null where nothing is.
    #[schema(required = true)]
    status_details: Option<String>,
    /// `sha256:` and the digest of its bytes in hexadecimal.
    digest: String,
    /// What was found in its lines.
    validation: Validation,
}

/// The one value of a file's `object`.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileObject {
    /// It is a file.
    File,
}

/// The answer to a deletion.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FileDeleted {
    /// The id that is free of meaning now.
    id: FileId,
    /// Always `file`.
    object: FileObject,
    /// Always true.
    deleted: bool,
}

/// Which files to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FilesQuery {
    /// Only files of this purpose.
    #[serde(default, deserialize_with = "from_text")]
    purpose: Option<Purpose>,
    /// The last id of the page before.
    #[serde(default, deserialize_with = "from_text")]
    after: Option<FileId>,
    /// Files of a page, 1 to 10000; default 20.
    #[serde(default, deserialize_with = "from_text")]
    limit: Option<u32>,
    /// `asc` or `desc` (the default) by time.
    order: Option<Order>,
}

/// A list's direction in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Oldest first.
    Asc,
    /// Newest first.
    Desc,
}

/// List files.
#[utoipa::path(get, path = "/v1/files", tag = "files", params(FilesQuery),
    responses((status = 200, description = "A page of files", body = List<FileResource>), Plain))]
pub async fn list_files(
    State(state): State<AppState>,
    Query(query): Query<FilesQuery>,
) -> Result<axum::Json<List<FileResource>>, ApiError> {
    let limit = page_size(query.limit, MAX_FILES)?;
    let ascending = query.order == Some(Order::Asc);
    let filter = FileFilter { purpose: query.purpose, after: query.after, limit, ascending };
    let page = state.store.list_files(Store::default_project(), &filter).await?;
    Ok(axum::Json(List::new(page.items.into_iter().map(FileResource::from).collect(), page.has_more)))
}

/// Look at a file: its size, digest and what is wrong with its lines.
#[utoipa::path(get, path = "/v1/files/{id}", tag = "files", params(("id" = FileId, Path, description = "The file")),
    responses((status = 200, description = "The file", body = FileResource), OfOne))]
pub async fn get_file(State(state): State<AppState>, id: Id<FileId>) -> Result<axum::Json<FileResource>, ApiError> {
    find(&state, id).await.map(FileResource::from).map(axum::Json)
}

/// Download a file's bytes, as they were uploaded or written.
#[utoipa::path(get, path = "/v1/files/{id}/content", tag = "files", params(("id" = FileId, Path, description = "The file")),
    responses((status = 200, description = "Its bytes", content_type = "application/jsonl", body = Vec<u8>), OfOne))]
pub async fn get_file_content(State(state): State<AppState>, id: Id<FileId>) -> Result<Response, ApiError> {
    let file = find(&state, id).await?;
    let bytes = state.artifacts.read(&file.artifact_key).await?;
    let logged = bytes.inspect(|chunk| {
        if let Err(error) = chunk {
            tracing::error!(%error, "a download broke off");
        }
    });
    let disposition = format!("attachment; filename=\"{}\"", plain_name(&file.filename));
    let disposition = HeaderValue::from_str(&disposition).unwrap_or(HeaderValue::from_static("attachment"));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/jsonl")),
        (header::CONTENT_LENGTH, HeaderValue::from(file.bytes)),
        (header::CONTENT_DISPOSITION, disposition),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    Ok((headers, Body::from_stream(logged)).into_response())
}

/// Delete a file. Refused while a job that is not over reads it.
#[utoipa::path(delete, path = "/v1/files/{id}", tag = "files", params(("id" = FileId, Path, description = "The file")),
    responses((status = 200, description = "It is deleted", body = FileDeleted),
        (status = 409, description = "A job that is not over reads it", body = super::problem::Problem,
            content_type = "application/problem+json"), OfOne))]
pub async fn delete_file(State(state): State<AppState>, id: Id<FileId>) -> Result<axum::Json<FileDeleted>, ApiError> {
    match state.store.delete_file(Store::default_project(), id.0).await? {
        DeletedFile::NotFound => Err(id.missing()),
        DeletedFile::InUse(job) => Err(ApiError::FileInUse { file: id.0.to_string(), job }),
        DeletedFile::Deleted(file) => {
            // The row is gone; bytes that stay behind cost space and nothing else.
            if let Err(error) = state.artifacts.delete(&file.artifact_key).await {
                tracing::warn!(%error, key = file.artifact_key, "a deleted file's bytes stay");
            }
            Ok(axum::Json(FileDeleted { id: id.0, object: FileObject::File, deleted: true }))
        }
    }
}

async fn find(state: &AppState, id: Id<FileId>) -> Result<File, ApiError> {
    state.store.file(Store::default_project(), id.0).await?.ok_or_else(|| id.missing())
}

/// A name that is safe between the quotes of a header.
fn plain_name(filename: &str) -> String {
    filename.chars().map(|c| if c.is_ascii_graphic() && c != '"' && c != '\\' { c } else { '_' }).collect()
}

impl From<File> for FileResource {
    fn from(file: File) -> Self {
        Self {
            id: file.id,
            object: FileObject::File,
            bytes: file.bytes,
            created_at: file.created_at.timestamp(),
            expires_at: None,
            filename: file.filename,
            purpose: file.purpose,
            status: file.status,
            status_details: status_details(&file.validation),
            digest: format!("sha256:{}", file.sha256),
            validation: file.validation,
        }
    }
}

/// `3 of 1200 lines are invalid; first: line 17: …`
fn status_details(validation: &Validation) -> Option<String> {
    let first = validation.errors.first()?;
    let bad = validation.rows.saturating_sub(validation.valid_rows);
    Some(format!("{bad} of {} lines are invalid; first: line {}: {}", validation.rows, first.line, first.message))
}
