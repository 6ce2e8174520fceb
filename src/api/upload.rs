//! `POST /v1/files`: a form's file goes to the artifact store while it arrives, hashed and surveyed line by line, so that
//! memory does not grow with the file. The bytes come first and the row last: an upload that breaks off leaves nothing.

use axum::{
    extract::multipart::MultipartRejection,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::TimeDelta;

use super::{
    ProjectState,
    error::ApiError,
    extract::{Id, Nothing, Query, nearest},
    files::FileResource,
    idempotency::{Key, KeyHeader, digest, once},
    openapi::Submitted,
    upload_body::{Form, Part},
    upload_form::{ANCHOR, SECONDS, UploadForm, read_anchor, read_purpose, read_seconds},
};
use crate::{
    artifacts::{ArtifactWriter, Stored},
    domain::{File, FileId, FileStatus, Purpose, Validation},
    store::{RemovedFile, StoreError},
    survey::{Survey, remove_file},
    telemetry::chain,
};

/// A file's name is a label; longer ones are cut.
const MAX_NAME_CHARS: usize = 255;

/// Upload a file of JSON lines. Every line is checked; a file with bad lines is stored with status `error` and lists
/// them under `validation.errors`, and no job takes it.
#[utoipa::path(post, path = "/v1/files", tag = "files", params(KeyHeader),
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses((status = 201, description = "It is stored", body = FileResource,
        headers(("location" = String, description = "Where the file is"))), Submitted))]
pub async fn upload_file(
    state: ProjectState,
    _: Query<Nothing>,
    key: Key,
    form: Result<Form, MultipartRejection>,
) -> Result<Response, ApiError> {
    let form = form.map_err(|rejection| not_a_form(&rejection))?;
    // A task of its own: a client that goes away drops this handler, and half an upload must still be cleaned up.
    let received = tokio::spawn(receive(state, form, key)).await;
    received.map_err(|error| ApiError::Internal(Box::new(error)))?
}

fn created(file: File) -> Response {
    let location = HeaderValue::try_from(format!("/v1/files/{}", file.id)).expect("an id is plain ASCII");
    (StatusCode::CREATED, [(header::LOCATION, location)], axum::Json(FileResource::from(file))).into_response()
}

/// What the form has held so far.
#[derive(Default)]
struct Received {
    purpose: Option<Purpose>,
    anchor: Option<()>,
    seconds: Option<u32>,
    file: Option<(String, Stored, Validation)>,
}

async fn receive(state: ProjectState, mut form: Form, repeat: Key) -> Result<Response, ApiError> {
    let id = FileId(state.clock.new_id());
    let key = format!("files/{id}");
    let mut received = Received::default();
    let read = read_form(&state, &key, &mut form, &mut received).await;
    match read.and_then(|()| describe(&state, id, &key, received)) {
        Ok(file) => register(&state, &file, repeat).await,
        Err(error) => {
            discard(&state, &key).await;
            Err(error)
        }
    }
}

/// Removes a file's bytes and its fingerprint; whether that worked.
async fn discard(state: &ProjectState, key: &str) -> bool {
    let removed = remove_file(&state.artifacts, key).await;
    if let Err(error) = &removed {
        tracing::warn!(error = %chain(error), key, "the bytes of a file that is gone stay for now");
    }
    removed.is_ok()
}

/// Removes the bytes of a file whose row is gone. What stays behind here is swept by a worker.
pub async fn discard_removed(state: &ProjectState, file: &RemovedFile) {
    if discard(state, &file.artifact_key).await
        && let Err(error) = state.store.file_purged(file.id).await
    {
        tracing::warn!(%error, file = %file.id, "cannot note that a file's bytes are gone");
    }
}

async fn read_form(state: &ProjectState, key: &str, form: &mut Form, received: &mut Received) -> Result<(), ApiError> {
    while let Some(part) = form.next_part().await? {
        let name = part.name().to_owned();
        match name.as_str() {
            "purpose" if received.purpose.is_none() => received.purpose = Some(read_purpose(part).await?),
            ANCHOR if received.anchor.is_none() => received.anchor = Some(read_anchor(part).await?),
            SECONDS if received.seconds.is_none() => received.seconds = Some(read_seconds(part).await?),
            "file" if received.file.is_none() => received.file = Some(read_file(state, key, part).await?),
            "purpose" | "file" | ANCHOR | SECONDS => {
                let detail = format!("the form field {name:?} is given twice");
                return Err(ApiError::field(format!("#/{name}"), "invalid_value", detail));
            }
            _ => {
                let detail =
                    format!("unknown form field {name:?}{}", nearest(&name, ["file", "purpose", ANCHOR, SECONDS]));
                return Err(ApiError::field(format!("#/{name}"), "unknown_parameter", detail));
            }
        }
    }
    Ok(())
}

async fn read_file(state: &ProjectState, key: &str, part: Part<'_>) -> Result<(String, Stored, Validation), ApiError> {
    let name = label(part.file_name());
    let mut writer = state.artifacts.writer(key).await?;
    let survey = Survey::begin(state.scratch.clone());
    match stream(&mut writer, &survey, part, state.max_upload_bytes).await {
        Ok(()) => {
            let stored = writer.finish().await?;
            let validation = survey.finish().await?.store(&state.artifacts, key).await?;
            Ok((name, stored, validation))
        }
        Err(error) => {
            if let Err(error) = writer.abort().await {
                tracing::warn!(%error, key, "what a refused upload staged stays");
            }
            Err(error)
        }
    }
}

async fn stream(
    writer: &mut ArtifactWriter,
    survey: &Survey,
    mut part: Part<'_>,
    limit_bytes: u64,
) -> Result<(), ApiError> {
    while let Some(chunk) = part.chunk().await? {
        if writer.bytes() + chunk.len() as u64 > limit_bytes {
            return Err(ApiError::TooLarge { limit_bytes });
        }
        survey.push(chunk.clone()).await;
        writer.write(&chunk).await?;
    }
    if writer.bytes() == 0 { Err(ApiError::EmptyFile) } else { Ok(()) }
}

/// The row of a file whose bytes are stored, unless something of the form is missing.
fn describe(state: &ProjectState, id: FileId, key: &str, received: Received) -> Result<File, ApiError> {
    let missing = |name: &str, advice: &str| {
        ApiError::field(format!("#/{name}"), "missing_field", format!("the form field {name:?} is missing; {advice}"))
    };
    let purpose = received.purpose.ok_or_else(|| missing("purpose", "send fine-tune, evals or user_data"))?;
    let file = received.file.ok_or_else(|| missing("file", "send JSON lines with a filename"))?;
    let (filename, stored, validation) = file;
    if validation.rows == 0 {
        return Err(ApiError::EmptyFile);
    }
    if received.anchor.is_some() != received.seconds.is_some() {
        let name = if received.anchor.is_some() { SECONDS } else { ANCHOR };
        return Err(missing(name, "a file that expires needs both of them"));
    }
    let created_at = state.clock.now();
    let status = if validation.errors.is_empty() { FileStatus::Processed } else { FileStatus::Error };
    Ok(File {
        id,
        project_id: state.project,
        filename,
        purpose,
        bytes: stored.bytes,
        sha256: stored.sha256,
        status,
        validation,
        artifact_key: key.to_owned(),
        created_at,
        expires_at: received.seconds.map(|seconds| created_at + TimeDelta::seconds(i64::from(seconds))),
    })
}

async fn register(state: &ProjectState, file: &File, repeat: Key) -> Result<Response, ApiError> {
    let seconds = file.expires_at.map(|at| (at - file.created_at).num_seconds()).unwrap_or_default();
    let parts = [file.purpose.as_str().as_bytes(), file.sha256.as_bytes(), &seconds.to_be_bytes()];
    let fingerprint = digest(&parts);
    let mut registered = Registered::No;
    let act = async |holder| {
        let inserted = state.store.insert_file(file, holder).await;
        registered = match &inserted {
            Ok(_) => Registered::Yes,
            Err(StoreError::Unanswered(_)) => Registered::Perhaps,
            Err(_) => Registered::No,
        };
        Ok(created(inserted?))
    };
    let remake = async |id| again(state, FileId(id)).await;
    let outcome = once(state, repeat, "POST /v1/files", fingerprint, act, remake).await;
    match registered {
        Registered::Yes => {}
        Registered::Perhaps => withdraw(state, file).await,
        // Refused, or a repetition, which sends its bytes again before anybody can know them.
        Registered::No => {
            discard(state, &file.artifact_key).await;
        }
    }
    outcome
}

/// Whether a file has its row.
enum Registered {
    No,
    Perhaps,
    Yes,
}

/// Its bytes go only once it is certain that there is no row, nor will be. While nobody can tell, they stay; a sweep removes
/// bytes that no row names.
async fn withdraw(state: &ProjectState, file: &File) {
    match state.store.withdraw_file(file).await {
        Ok(true) => discard_removed(state, &RemovedFile { id: file.id, artifact_key: file.artifact_key.clone() }).await,
        Ok(false) => tracing::info!(file = %file.id, "the file is stored, though the answer to that was lost"),
        Err(error) => tracing::warn!(%error, key = file.artifact_key, "the bytes of a file that may be stored stay"),
    }
}

/// The answer for a file that was stored by a request whose answer was never stored.
async fn again(state: &ProjectState, id: FileId) -> Result<Response, ApiError> {
    let file = state.store.file(state.project, id).await?;
    file.map(created).ok_or_else(|| Id(id).missing())
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
