//! `/v1/files`: what was uploaded or written by a job. Its bytes come in through `upload.rs` and go out through
//! `file_content.rs`.

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    ProjectState,
    error::ApiError,
    extract::{Id, Query, from_text},
    list::{List, page_size},
    openapi::{OfOne, Plain},
    upload::discard_removed,
};
use crate::{
    artifacts::ArtifactError,
    domain::{File, FileId, FileStatus, Purpose, Validation},
    store::{DeletedFile, FileFilter},
};

/// Files are light in a list, and OpenAI's clients ask for up to so many at once.
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
    /// When it goes away by itself, in Unix seconds; null: never.
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
///
/// They are lighter here than each by itself: of `validation.errors` the first, and `validation.statistics` is null.
#[utoipa::path(get, path = "/v1/files", tag = "files", params(FilesQuery),
    responses((status = 200, description = "A page of files", body = List<FileResource>), Plain))]
pub async fn list_files(
    state: ProjectState,
    Query(query): Query<FilesQuery>,
) -> Result<axum::Json<List<FileResource>>, ApiError> {
    let limit = page_size(query.limit, MAX_FILES)?;
    let ascending = query.order == Some(Order::Asc);
    let filter = FileFilter { purpose: query.purpose, after: query.after, limit, ascending };
    let page = state.store.list_files(state.project, &filter).await?;
    Ok(axum::Json(List::new(page.items.into_iter().map(FileResource::from).collect(), page.has_more)))
}

/// Look at a file: its size, digest and what is wrong with its lines.
#[utoipa::path(get, path = "/v1/files/{id}", tag = "files", params(("id" = FileId, Path, description = "The file")),
    responses((status = 200, description = "The file", body = FileResource), OfOne))]
pub async fn get_file(state: ProjectState, id: Id<FileId>) -> Result<axum::Json<FileResource>, ApiError> {
    find(&state, id).await.map(FileResource::from).map(axum::Json)
}

/// Delete a file. Refused while a job that is not over reads it.
#[utoipa::path(delete, path = "/v1/files/{id}", tag = "files", params(("id" = FileId, Path, description = "The file")),
    responses((status = 200, description = "It is deleted", body = FileDeleted),
        (status = 409, description = "A job that is not over reads it", body = super::problem::Problem,
            content_type = "application/problem+json"), OfOne))]
pub async fn delete_file(state: ProjectState, id: Id<FileId>) -> Result<axum::Json<FileDeleted>, ApiError> {
    match state.store.delete_file(state.project, id.0).await? {
        DeletedFile::NotFound => Err(id.missing()),
        DeletedFile::InUse(job) => Err(ApiError::FileInUse { file: id.0.to_string(), job }),
        DeletedFile::Deleted(file) => {
            discard_removed(&state, &file).await;
            Ok(axum::Json(FileDeleted { id: id.0, object: FileObject::File, deleted: true }))
        }
    }
}

/// One file, or 404.
pub async fn find(state: &ProjectState, id: Id<FileId>) -> Result<File, ApiError> {
    state.store.file(state.project, id.0).await?.ok_or_else(|| id.missing())
}

/// What it means that the bytes of a file cannot be read that was there a moment ago: a 404 where it was deleted since.
pub async fn unreadable(state: &ProjectState, id: FileId, error: ArtifactError) -> ApiError {
    match state.store.file(state.project, id).await {
        Ok(None) if matches!(error, ArtifactError::Missing { .. }) => Id(id).missing(),
        _ => error.into(),
    }
}

impl From<File> for FileResource {
    fn from(file: File) -> Self {
        Self {
            id: file.id,
            object: FileObject::File,
            bytes: file.bytes,
            created_at: file.created_at.timestamp(),
            expires_at: file.expires_at.as_ref().map(DateTime::timestamp),
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
