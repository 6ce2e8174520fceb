//! What can go wrong between the Hub and the cache, and whether another try may do better.

use std::{io, path::PathBuf, time::Duration};

use reqwest::StatusCode;

use crate::domain::HubId;

/// Why a model could not be brought. No variant ever holds the token.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The Hub has no such model or revision, or does not show it to us.
    #[error("{id} is not on {endpoint}: {advice}")]
    NotFound {
        /// What was asked for.
        id: HubId,
        /// Who was asked.
        endpoint: String,
        /// What helps.
        advice: &'static str,
    },
    /// The model is there, and not for us.
    #[error("{endpoint} refuses {id} ({status}): {advice}")]
    Refused {
        /// What was asked for.
        id: HubId,
        /// Who was asked.
        endpoint: String,
        /// 401 or 403.
        status: StatusCode,
        /// What helps.
        advice: String,
    },
    /// Nothing may be asked, and the cache has not got it.
    #[error(
        "{id} is not whole in the cache at {}, and nothing may be asked of the Hub while it is offline (HF_HUB_OFFLINE); bring \
         it on a machine with a network by `stepwise fetch {id}`",
        cache.display()
    )]
    Offline {
        /// What was asked for.
        id: HubId,
        /// The cache.
        cache: PathBuf,
    },
    /// The model has not got the files of a student.
    #[error("{id} is no model that can be used here: it has no {lacks}")]
    NoStudent {
        /// What was asked for.
        id: HubId,
        /// The missing file.
        lacks: String,
    },
    /// No connection, or one that broke.
    #[error("{endpoint} cannot be reached")]
    Unreachable {
        /// Who was asked.
        endpoint: String,
        /// What the network said.
        #[source]
        source: reqwest::Error,
    },
    /// The connection ended before the file did.
    #[error("{endpoint} sent {there} of the {bytes} bytes of {file}")]
    CutOff {
        /// Who was asked.
        endpoint: String,
        /// The file.
        file: String,
        /// Bytes that are here.
        there: u64,
        /// Bytes that it has.
        bytes: u64,
    },
    /// The Hub wants fewer requests.
    #[error("{endpoint} wants fewer requests")]
    RateLimited {
        /// Who was asked.
        endpoint: String,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// Another status than a good one.
    #[error("{endpoint} answered {status} to {path}")]
    Status {
        /// Who was asked.
        endpoint: String,
        /// What was asked.
        path: String,
        /// The status.
        status: StatusCode,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The host that keeps the Hub's large files does not give one.
    #[error("{host}, where the Hub keeps its large files, answered {status}")]
    Storage {
        /// The host.
        host: String,
        /// The status.
        status: StatusCode,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The answer is not one of the Hub's.
    #[error("{endpoint} does not answer as the Hub does: {reason}")]
    BadReply {
        /// Who was asked.
        endpoint: String,
        /// What is wrong.
        reason: String,
    },
    /// What came is not what was promised.
    #[error("{file} came damaged: {reason}; nothing of it is kept")]
    Damaged {
        /// The file.
        file: String,
        /// What was expected and what came.
        reason: String,
    },
    /// The cache cannot be read or written.
    #[error("the Hub's cache cannot be used at {}", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl HubError {
    /// Whether the same try may succeed later, with nothing changed by a person.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::CutOff { .. } | Self::RateLimited { .. } => true,
            Self::Storage { .. } | Self::Damaged { .. } => true,
            Self::Status { status, .. } => status.is_server_error() || matches!(status.as_u16(), 408 | 425),
            // A full disk may have room again; a folder that is none, or must not be written, wants a person.
            Self::Cache { source, .. } => !matches!(
                source.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotADirectory
            ),
            Self::NotFound { .. }
            | Self::Refused { .. }
            | Self::Offline { .. }
            | Self::NoStudent { .. }
            | Self::BadReply { .. } => false,
        }
    }

    /// Whether the network or the Hub is at fault, and may not be a little later.
    pub(super) fn is_outage(&self) -> bool {
        self.is_passing() && !matches!(self, Self::Cache { .. } | Self::Damaged { .. })
    }

    /// How long the Hub wants to be left alone, where it said so.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. }
            | Self::Status { retry_after, .. }
            | Self::Storage { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// A stable name to branch on.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "hub_not_found",
            Self::Refused { .. } => "hub_refused",
            Self::Offline { .. } => "hub_offline",
            Self::NoStudent { .. } => "hub_no_student",
            Self::Unreachable { .. } | Self::CutOff { .. } => "hub_unreachable",
            Self::RateLimited { .. } => "hub_rate_limited",
            Self::Status { .. } | Self::Storage { .. } => "hub_error",
            Self::BadReply { .. } => "hub_bad_reply",
            Self::Damaged { .. } => "hub_damaged",
            Self::Cache { .. } => "hub_cache_failed",
        }
    }
}
