//! `GET /v1/files/{id}/content`: a file's bytes, all of them or one range, and not again for whoever has them already. A
//! file never changes, so its digest is its entity tag.

use std::ops::Range;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http_range_header::{EndPosition, RangeUnsatisfiableError, StartPosition, parse_range_header};

use super::{
    ProjectState,
    error::ApiError,
    extract::Id,
    files::{find, unreadable},
    openapi::OfOne,
};
use crate::{
    artifacts::ArtifactError,
    domain::{File, FileId, Purpose},
    telemetry::chain,
};

/// Download a file's bytes, as they were uploaded or written.
///
/// Takes one byte range (`Range: bytes=0-1023`, `bytes=1024-`, `bytes=-512`), which `If-Range` makes depend on the entity tag,
/// and answers 304 to an `If-None-Match` with it. Several ranges at once, or a range that cannot be read, give the whole
/// file. A `HEAD` tells size and entity tag.
#[utoipa::path(get, path = "/v1/files/{id}/content", tag = "files",
    params(("id" = FileId, Path, description = "The file"),
        ("range" = Option<String>, Header, description = "One range of bytes", example = "bytes=0-1023"),
        ("if-range" = Option<String>, Header, description = "The entity tag that the range is of",
            example = "\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\""),
        ("if-none-match" = Option<String>, Header, description = "Entity tags that the client has",
            example = "\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"")),
    responses(
        (status = 200, description = "Its bytes", content((Vec<u8> = "application/jsonl"), (Vec<u8> = "text/csv")),
            headers(("etag" = String, description = "Its digest"), ("accept-ranges" = String, description = "`bytes`"))),
        (status = 206, description = "The bytes of the range",
            content((Vec<u8> = "application/jsonl"), (Vec<u8> = "text/csv")),
            headers(("content-range" = String, description = "Which bytes of how many"))),
        (status = 304, description = "The client has them"),
        (status = 416, description = "The range begins behind the end; `content-range` has the size",
            body = super::problem::Problem, content_type = "application/problem+json"),
        OfOne))]
pub async fn get_file_content(state: ProjectState, id: Id<FileId>, headers: HeaderMap) -> Result<Response, ApiError> {
    let file = find(&state, id).await?;
    let tag = format!("\"{}\"", file.sha256);
    let tag_header = HeaderValue::try_from(&tag).expect("a digest is hexadecimal");
    if text(&headers, header::IF_NONE_MATCH).is_some_and(|tags| names(tags, &tag)) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag_header)]).into_response());
    }
    let size = u64::try_from(file.bytes).unwrap_or_default();
    let same = text(&headers, header::IF_RANGE).is_none_or(|wanted| wanted == tag);
    let range = text(&headers, header::RANGE).filter(|_| same);
    let range = range.map_or(Ok(None), |range| satisfy(range, size))?;
    let mut response = match &range {
        None => match state.artifacts.read(&file.artifact_key).await {
            Ok(bytes) => Body::from_stream(logged(bytes)).into_response(),
            Err(error) => return Err(unreadable(&state, file.id, error).await),
        },
        Some(range) => {
            let bytes = match state.artifacts.read_range(&file.artifact_key, range.clone()).await {
                Ok(bytes) => bytes,
                Err(error) => return Err(unreadable(&state, file.id, error).await),
            };
            let mut response = Body::from_stream(logged(bytes)).into_response();
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let place = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            let place = HeaderValue::try_from(place).expect("numbers are plain ASCII");
            response.headers_mut().insert(header::CONTENT_RANGE, place);
            response
        }
    };
    let length = range.map_or(size, |range| range.end - range.start);
    let headers = response.headers_mut();
    headers.extend(described(&file));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::ETAG, tag_header);
    Ok(response)
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// Whether a list of entity tags names this one; a weak one does as well, as comparisons for a cache go.
fn names(tags: &str, tag: &str) -> bool {
    tags.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

/// The bytes that a range means; none where the whole file is meant, by several ranges or by one that cannot be read.
fn satisfy(range: &str, size: u64) -> Result<Option<Range<u64>>, ApiError> {
    let unsatisfiable = ApiError::RangeNotSatisfiable { bytes: size };
    let ranges = match parse_range_header(range) {
        Ok(parsed) => parsed.ranges,
        Err(RangeUnsatisfiableError::ZeroSuffix) => return Err(unsatisfiable),
        Err(_) => return Ok(None),
    };
    let [range] = ranges[..] else { return Ok(None) };
    let start = match range.start {
        StartPosition::Index(start) => start,
        StartPosition::FromLast(count) => size.saturating_sub(count),
    };
    let end = match range.end {
        EndPosition::Index(last) if last < start => return Ok(None),
        EndPosition::Index(last) => last.saturating_add(1).min(size),
        EndPosition::LastByte => size,
    };
    if start < end { Ok(Some(start..end)) } else { Err(unsatisfiable) }
}

fn logged(bytes: impl Stream<Item = Result<Bytes, ArtifactError>>) -> impl Stream<Item = Result<Bytes, ArtifactError>> {
    bytes.inspect(|chunk| {
        if let Err(error) = chunk {
            tracing::error!(error = %chain(error), "a download broke off");
        }
    })
}

fn described(file: &File) -> [(HeaderName, HeaderValue); 4] {
    let disposition = format!("attachment; filename=\"{}\"", plain_name(&file.filename));
    let disposition = HeaderValue::from_str(&disposition).unwrap_or(HeaderValue::from_static("attachment"));
    [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type(file.purpose))),
        (header::CONTENT_DISPOSITION, disposition),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ]
}

fn content_type(purpose: Purpose) -> &'static str {
    if purpose == Purpose::FineTuneResults { "text/csv" } else { "application/jsonl" }
}

/// A name that is safe between the quotes of a header.
fn plain_name(filename: &str) -> String {
    filename.chars().map(|c| if c.is_ascii_graphic() && c != '"' && c != '\\' { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_the_bytes_that_are_there() {
        for (range, bytes) in [
            ("bytes=0-0", Some(0..1)),
            ("bytes=2-5", Some(2..6)),
            ("bytes=2-", Some(2..10)),
            ("bytes=-3", Some(7..10)),
            ("bytes=-99", Some(0..10)),
            ("bytes=9-99", Some(9..10)),
            ("bytes=0-18446744073709551615", Some(0..10)),
            ("bytes=5-2", None),
            ("bytes=0-1,3-4", None),
            ("bytes=", None),
            ("bytes=a-b", None),
            ("lines=0-1", None),
            ("", None),
        ] {
            assert_eq!(satisfy(range, 10).unwrap(), bytes, "{range}");
        }
        for range in ["bytes=10-", "bytes=10-20", "bytes=-0"] {
            assert!(matches!(satisfy(range, 10), Err(ApiError::RangeNotSatisfiable { bytes: 10 })), "{range}");
        }
        assert!(satisfy("bytes=0-0", 0).is_err(), "an empty file has no range");
    }

    #[test]
    fn an_entity_tag_is_found_in_a_list() {
        assert!(names("\"a\", W/\"b\"", "\"b\"") && names("*", "\"b\""));
        assert!(!names("\"a\"", "\"b\"") && !names("", "\"b\""));
    }
}
