//! The fields of an upload's form that are not the file: short texts, read whole.

use std::ops::RangeInclusive;

use utoipa::ToSchema;

use super::{error::ApiError, upload_body::Part};
use crate::domain::Purpose;

/// A form field that is not the file is never longer.
const MAX_FIELD_BYTES: usize = 1024;
/// OpenAI's: between an hour and thirty days.
const EXPIRY_SECONDS: RangeInclusive<u32> = 3600..=2_592_000;
/// The field that says what a file's time is counted from.
pub const ANCHOR: &str = "expires_after[anchor]";
/// The field that says how long a file stays.
pub const SECONDS: &str = "expires_after[seconds]";

/// The form of an upload; `purpose` and `file` in any order.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the form in the OpenAPI document")]
pub struct UploadForm {
    /// `fine-tune`, `evals` or `user_data`.
    #[schema(example = "fine-tune")]
    purpose: String,
    /// JSON lines with a filename.
    #[schema(example = "{\"input\": \"It came late.\", \"label\": \"refund\"}\n", format = Binary, content_media_type = "application/octet-stream")]
    file: String,
    /// Always `created_at`; goes with `expires_after[seconds]`.
    #[serde(rename = "expires_after[anchor]")]
    #[schema(example = "created_at")]
    expires_after_anchor: Option<String>,
    /// Seconds after which the file goes away by itself, 3600 to 2592000; a job that is not over keeps it longer.
    #[serde(rename = "expires_after[seconds]")]
    #[schema(example = 86400)]
    expires_after_seconds: Option<u32>,
}

/// A form field that is a short text.
async fn read_text(mut part: Part<'_>, name: &str) -> Result<String, ApiError> {
    let mut text = Vec::new();
    while let Some(chunk) = part.chunk().await? {
        text.extend_from_slice(&chunk);
        if text.len() > MAX_FIELD_BYTES {
            return Err(ApiError::field(format!("#/{name}"), "invalid_value", format!("{name} is too long")));
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// What the time is counted from; there is one choice.
pub async fn read_anchor(part: Part<'_>) -> Result<(), ApiError> {
    let text = read_text(part, ANCHOR).await?;
    let refused = || ApiError::field(format!("#/{ANCHOR}"), "invalid_value", format!("{ANCHOR} is created_at"));
    if text == "created_at" { Ok(()) } else { Err(refused()) }
}

/// How long the file stays.
pub async fn read_seconds(part: Part<'_>) -> Result<u32, ApiError> {
    let text = read_text(part, SECONDS).await?;
    let (first, last) = (EXPIRY_SECONDS.start(), EXPIRY_SECONDS.end());
    let refused = || {
        let detail = format!("{SECONDS} is {text:?}; send {first} to {last}");
        ApiError::field(format!("#/{SECONDS}"), "invalid_value", detail)
    };
    text.parse().ok().filter(|seconds| EXPIRY_SECONDS.contains(seconds)).ok_or_else(refused)
}

/// What the file is for, of what an upload may be for.
pub async fn read_purpose(part: Part<'_>) -> Result<Purpose, ApiError> {
    let text = read_text(part, "purpose").await?;
    let refused = |detail: String| ApiError::field("#/purpose", "invalid_value", detail);
    let purpose: Purpose = text.parse().map_err(refused)?;
    if purpose.is_written_by_jobs() {
        return Err(refused(format!("{text} is for files that jobs write; use fine-tune")));
    }
    Ok(purpose)
}
