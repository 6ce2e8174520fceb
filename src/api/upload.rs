//! `POST /v1/files`: a form's file goes to the artifact store while it arrives, hashed and checked line by line, so that
//! memory does not grow with the file. The bytes come first and the row last: an upload that breaks off leaves nothing.

use axum::{
    extract::{
        Multipart, State,
        multipart::{Field, MultipartError, MultipartRejection},
    },
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use utoipa::ToSchema;

use super::{
    AppState,
    error::ApiError,
    extract::{Nothing, Query, nearest},
    files::FileResource,
    openapi::Create,
};
use crate::{
    artifacts::{ArtifactWriter, Stored},
    domain::{File, FileId, FileStatus, Purpose, Validation},
    store::Store,
    task::Validator,
};

/// A form field that is not the file is never longer.
const MAX_FIELD_BYTES: usize = 1024;
/// A file's name is a label; longer ones are cut.
const MAX_NAME_CHARS: usize = 255;

/// The form of an upload; `purpose` and `file` in any order.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the form in the OpenAPI document")]
pub struct UploadForm {
    /// `fine-tune`, `evals` or `user_data`.
    purpose: String,
    /// JSON lines with a filename.
    #[schema(format = Binary, content_media_type = "application/octet-stream")]
    file: String,
}

/// Upload a file of JSON lines. Every line is checked; a file with bad lines is stored with status `error` and lists
/// them under `validation.errors`, and no job takes it.
#[utoipa::path(post, path = "/v1/files", tag = "files",
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses((status = 201, description = "It is stored", body = FileResource,
        headers(("location" = String, description = "Where the file is"))), Create))]
pub async fn upload_file(
    State(state): State<AppState>,
    _: Query<Nothing>,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Response, ApiError> {
    let form = form.map_err(|rejection| not_a_form(&rejection))?;
    // A task of its own: a client that goes away drops this handler, and half an upload must still be cleaned up.
    let received = tokio::spawn(receive(state, form)).await;
    let file = received.map_err(|error| ApiError::Internal(Box::new(error)))??;
    let location = HeaderValue::try_from(format!("/v1/files/{}", file.id)).expect("an id is plain ASCII");
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], axum::Json(FileResource::from(file))).into_response())
}

/// What the form has held so far.
#[derive(Default)]
struct Received {
    purpose: Option<Purpose>,
    file: Option<(String, Stored, Validation)>,
}

async fn receive(state: AppState, mut form: Multipart) -> Result<File, ApiError> {
    let id = FileId(state.clock.new_id());
    let key = format!("files/{id}");
    let mut received = Received::default();
    let outcome = match read_form(&state, &key, &mut form, &mut received).await {
        Ok(()) => register(&state, id, &key, &mut received).await,
        Err(error) => Err(error),
    };
    if outcome.is_err()
        && let Err(error) = state.artifacts.delete(&key).await
    {
        tracing::warn!(%error, key, "the bytes of a refused upload stay");
    }
    outcome
}

async fn read_form(state: &AppState, key: &str, form: &mut Multipart, received: &mut Received) -> Result<(), ApiError> {
    while let Some(field) = form.next_field().await.map_err(|error| broken(&error))? {
        let name = field.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "purpose" if received.purpose.is_none() => received.purpose = Some(read_purpose(field).await?),
            "file" if received.file.is_none() => received.file = Some(read_file(state, key, field).await?),
            "purpose" | "file" => {
                let detail = format!("the form field {name:?} is given twice");
                return Err(ApiError::field(format!("#/{name}"), "invalid_value", detail));
            }
            _ => {
                let detail = format!("unknown form field {name:?}{}", nearest(&name, ["file", "purpose"]));
                return Err(ApiError::field(format!("#/{name}"), "unknown_parameter", detail));
            }
        }
    }
    Ok(())
}

async fn read_purpose(mut field: Field<'_>) -> Result<Purpose, ApiError> {
    let mut text = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|error| broken(&error))? {
        text.extend_from_slice(&chunk);
        if text.len() > MAX_FIELD_BYTES {
            return Err(ApiError::field("#/purpose", "invalid_value", "purpose is too long"));
        }
    }
    let text = String::from_utf8_lossy(&text);
    let refused = |detail: String| ApiError::field("#/purpose", "invalid_value", detail);
    match text.parse().map_err(refused)? {
        Purpose::BatchOutput => Err(refused("batch_output is for files that jobs write; use fine-tune".to_owned())),
        purpose => Ok(purpose),
    }
}

async fn read_file(state: &AppState, key: &str, field: Field<'_>) -> Result<(String, Stored, Validation), ApiError> {
    let name = label(field.file_name().unwrap_or_default());
    let mut writer = state.artifacts.writer(key).await?;
    match stream(&mut writer, field, state.max_upload_bytes).await {
        Ok(validation) => Ok((name, writer.finish().await?, validation)),
        Err(error) => {
            if let Err(error) = writer.abort().await {
                tracing::warn!(%error, key, "what a refused upload staged stays");
            }
            Err(error)
        }
    }
}

async fn stream(writer: &mut ArtifactWriter, mut field: Field<'_>, limit_bytes: u64) -> Result<Validation, ApiError> {
    let mut validator = Validator::new();
    while let Some(chunk) = field.chunk().await.map_err(|error| broken(&error))? {
        if writer.bytes() + chunk.len() as u64 > limit_bytes {
            return Err(ApiError::TooLarge { limit_bytes });
        }
        validator.push(&chunk);
        writer.write(&chunk).await?;
    }
    if writer.bytes() == 0 { Err(ApiError::EmptyFile) } else { Ok(validator.finish()) }
}

async fn register(state: &AppState, id: FileId, key: &str, received: &mut Received) -> Result<File, ApiError> {
    let missing = |name: &str, advice: &str| {
        ApiError::field(format!("#/{name}"), "missing_field", format!("the form field {name:?} is missing; {advice}"))
    };
    let purpose = received.purpose.ok_or_else(|| missing("purpose", "send fine-tune, evals or user_data"))?;
    let file = received.file.take().ok_or_else(|| missing("file", "send JSON lines with a filename"))?;
    let (filename, stored, validation) = file;
    if validation.rows == 0 {
        return Err(ApiError::EmptyFile);
    }
    let status = if validation.errors.is_empty() { FileStatus::Processed } else { FileStatus::Error };
    let file = File {
        id,
        project_id: Store::default_project(),
        filename,
        purpose,
        bytes: stored.bytes,
        sha256: stored.sha256,
        status,
        validation,
        artifact_key: key.to_owned(),
        created_at: state.clock.now(),
    };
    Ok(state.store.insert_file(&file).await?)
}

/// A client's filename as a label: the last part of any path, without control characters.
fn label(filename: &str) -> String {
    let last = filename.rsplit(['/', '\\']).next().unwrap_or_default();
    let label: String = last.chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect();
    if label.trim().is_empty() { "upload.jsonl".to_owned() } else { label }
}

fn not_a_form(rejection: &MultipartRejection) -> ApiError {
    ApiError::ContentType {
        wanted: "multipart/form-data with a boundary",
        found: format!("not one ({})", rejection.body_text()),
    }
}

fn broken(error: &MultipartError) -> ApiError {
    ApiError::BrokenUpload(error.body_text())
}
