//! The form of an upload, read in bounded memory.
//!
//! The parser of forms keeps whatever it cannot use yet: without a limit, a body that never comes to its first boundary, or a
//! part whose head never ends, would be kept whole. So it is given one piece of the body at a time, and no more of them once
//! it has made nothing of the last [`MAX_UNUSED`] bytes.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    body::{Body, BodyDataStream, Bytes},
    extract::{
        FromRequest, Multipart, Request,
        multipart::{Field, MultipartError, MultipartRejection},
    },
};
use futures::{Stream, StreamExt};

use super::error::ApiError;

/// Bytes that may come without a part, its head or a piece of it being complete.
const MAX_UNUSED: usize = 64 << 10;

/// An upload's form.
pub struct Form {
    parts: Multipart,
    unused: Unused,
}

/// A part of a form.
pub struct Part<'a> {
    field: Field<'a>,
    unused: &'a Unused,
}

/// Bytes of the body that the parser has had since it last gave something.
#[derive(Clone, Default)]
struct Unused(Arc<AtomicUsize>);

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = MultipartRejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let unused = Unused::default();
        let metered = |body: Body| {
            Body::from_stream(Metered { body: body.into_data_stream(), unused: unused.clone(), given: false })
        };
        let parts = Multipart::from_request(request.map(metered), state).await?;
        Ok(Self { parts, unused })
    }
}

impl Form {
    /// The next part.
    ///
    /// # Errors
    /// [`ApiError::BrokenUpload`] for what is no form, breaks off, or has too long a head.
    pub async fn next_part(&mut self) -> Result<Option<Part<'_>>, ApiError> {
        let field = self.parts.next_field().await.map_err(|error| self.unused.broken(&error))?;
        self.unused.clear();
        Ok(field.map(|field| Part { field, unused: &self.unused }))
    }
}

impl Part<'_> {
    /// The form field's name; empty where it has none.
    pub fn name(&self) -> &str {
        self.field.name().unwrap_or_default()
    }

    /// The file's name; empty where it has none.
    pub fn file_name(&self) -> &str {
        self.field.file_name().unwrap_or_default()
    }

    /// The next piece of the part's bytes.
    ///
    /// # Errors
    /// As [`Form::next_part`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ApiError> {
        let chunk = self.field.chunk().await.map_err(|error| self.unused.broken(&error))?;
        self.unused.clear();
        Ok(chunk)
    }
}

impl Unused {
    fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn is_too_much(&self) -> bool {
        self.0.load(Ordering::Relaxed) > MAX_UNUSED
    }

    fn broken(&self, error: &MultipartError) -> ApiError {
        ApiError::BrokenUpload(if self.is_too_much() {
            format!("no part begins or ends within {MAX_UNUSED} bytes; is the boundary in content-type the body's own?")
        } else {
            error.body_text()
        })
    }
}

/// A body by pieces, with a rest after each, in which the parser uses it.
struct Metered {
    body: BodyDataStream,
    unused: Unused,
    given: bool,
}

impl Stream for Metered {
    type Item = Result<Bytes, axum::BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.given) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.unused.is_too_much() {
            return Poll::Ready(Some(Err(io::Error::other("too long a head").into())));
        }
        let piece = std::task::ready!(self.body.poll_next_unpin(context));
        if let Some(Ok(bytes)) = &piece {
            self.unused.add(bytes.len());
            self.given = true;
        }
        Poll::Ready(piece.map(|piece| piece.map_err(Into::into)))
    }
}
