//! What can go wrong with one call, and whether another call may do better.

use std::time::Duration;

use reqwest::StatusCode;

/// Why a call to a teacher brought no completion. No variant ever holds the API key.
#[derive(Debug, thiserror::Error)]
pub enum TeacherError {
    /// The configuration cannot be used.
    #[error("teacher {teacher} is misconfigured: {reason}")]
    Settings {
        /// The teacher's name.
        teacher: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// No connection, or one that broke.
    #[error("teacher {teacher} is unreachable at {base_url}")]
    Unreachable {
        /// The teacher's name.
        teacher: String,
        /// Where it was looked for.
        base_url: String,
        /// What the network said.
        #[source]
        source: reqwest::Error,
    },
    /// The whole answer did not come in time.
    #[error("teacher {teacher} did not answer within {} s", .limit.as_secs_f64())]
    TimedOut {
        /// The teacher's name.
        teacher: String,
        /// How long it had.
        limit: Duration,
    },
    /// The reply began and then came too slowly.
    #[error("teacher {teacher} sends its reply too slowly: {reason}")]
    TooSlow {
        /// The teacher's name.
        teacher: String,
        /// How slowly.
        reason: String,
    },
    /// The connection broke in the midst of the reply.
    #[error("teacher {teacher} broke off in the midst of its reply")]
    BrokenOff {
        /// The teacher's name.
        teacher: String,
        /// What the network said.
        #[source]
        source: reqwest::Error,
    },
    /// Too many requests.
    #[error("teacher {teacher} is rate limited: {message}")]
    RateLimited {
        /// The teacher's name.
        teacher: String,
        /// What it said.
        message: String,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The key is missing, wrong or not allowed to do this.
    #[error("teacher {teacher} refused the API key ({status}): {message}")]
    RefusedKey {
        /// The teacher's name.
        teacher: String,
        /// 401 or 403.
        status: StatusCode,
        /// What it said.
        message: String,
    },
    /// It asks for money, or does not have the model.
    #[error("teacher {teacher} does not serve this model or account ({status}): {message}")]
    NotServed {
        /// The teacher's name.
        teacher: String,
        /// The status.
        status: StatusCode,
        /// What it said.
        message: String,
    },
    /// Another status than 200.
    #[error("teacher {teacher} answered {status}: {message}")]
    Status {
        /// The teacher's name.
        teacher: String,
        /// The status.
        status: StatusCode,
        /// What it said.
        message: String,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// Status 200 and no completion in it.
    #[error("teacher {teacher} sent a reply that is no completion: {reason}")]
    BadReply {
        /// The teacher's name.
        teacher: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Status 200 and regular JSON that is no completion: the next call would bring the same.
    #[error("teacher {teacher} sent a reply that is no completion: {reason}")]
    OtherShape {
        /// The teacher's name.
        teacher: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl TeacherError {
    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::TooSlow { .. }
            | Self::BrokenOff { .. }
            | Self::RateLimited { .. }
            | Self::BadReply { .. } => true,
            Self::Status { status, .. } => {
                status.is_server_error() || matches!(status.as_u16(), 408 | 409 | 425) // 409: an idempotent twin is under way
            }
            Self::Settings { .. } | Self::RefusedKey { .. } | Self::NotServed { .. } | Self::OtherShape { .. } => false,
        }
    }

    /// Whether no other question will fare better until somebody changes the configuration or pays.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Settings { .. } | Self::RefusedKey { .. } | Self::NotServed { .. })
    }

    /// Whether the teacher may have done what was asked, and count it, though no answer came: the request was on its way
    /// when the connection broke or the time was over, or a reply came that cannot be read.
    pub fn may_have_been_done(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => !source.is_connect() && !source.is_builder(),
            Self::TimedOut { .. }
            | Self::TooSlow { .. }
            | Self::BrokenOff { .. }
            | Self::BadReply { .. }
            | Self::OtherShape { .. } => true,
            // A gateway has waited in vain for a teacher that may be at work, or that broke off in the midst of it.
            Self::Status { status, .. } => matches!(status.as_u16(), 502 | 504 | 520 | 524),
            Self::Settings { .. } | Self::RateLimited { .. } | Self::RefusedKey { .. } | Self::NotServed { .. } => {
                false
            }
        }
    }

    /// Whether it forbade the request, as gateways do with one text that they do not like, and others with a key.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::RefusedKey { status: StatusCode::FORBIDDEN, .. })
    }

    /// Whether the teacher itself said something, or began to work: neither the network nor a gateway before it is to blame.
    pub fn is_sign_of_life(&self) -> bool {
        match self {
            Self::Status { status, .. } => !matches!(status.as_u16(), 502..=504 | 520..=530),
            Self::Settings { .. } | Self::Unreachable { .. } => false,
            _ => true,
        }
    }

    /// Whether the teacher is well and only wants fewer requests.
    pub fn is_rate_limit(&self) -> bool {
        matches!(self, Self::RateLimited { .. })
    }

    /// Whether the teacher wants fewer calls, from everybody: 429, and what overloaded servers and gateways say instead.
    pub fn is_push_back(&self) -> bool {
        match self {
            Self::RateLimited { .. } => true,
            Self::Status { status, .. } => matches!(status.as_u16(), 503 | 529),
            _ => false,
        }
    }

    /// How long the teacher wants to be left alone, where it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// A stable name to branch on and to count by.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Settings { .. } => "teacher_misconfigured",
            Self::Unreachable { .. } => "teacher_unreachable",
            Self::TimedOut { .. } | Self::TooSlow { .. } => "teacher_timed_out",
            Self::BrokenOff { .. } => "teacher_broke_off",
            Self::RateLimited { .. } => "teacher_rate_limited",
            Self::RefusedKey { .. } => "teacher_refused_key",
            Self::NotServed { .. } => "teacher_not_served",
            Self::Status { .. } => "teacher_error",
            Self::BadReply { .. } | Self::OtherShape { .. } => "teacher_bad_reply",
        }
    }
}
