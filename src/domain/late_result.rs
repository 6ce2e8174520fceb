//! The result of a job that is over: an annotation that was cancelled or failed gets one as well, a little after its end.

use std::time::Duration;

use serde_json::Value;

use super::{JobKind, JobState};

/// How long whoever follows a job that is over waits for its result, which no worker may be there to write.
pub const RESULT_WITHIN: Duration = Duration::from_secs(60);

/// Whether a worker has yet to write the result of a job that is over: only annotations get one without success.
pub fn awaits_result(kind: JobKind, state: JobState, result: Option<&Value>) -> bool {
    kind == JobKind::Annotation && state.is_terminal() && result.is_none()
}
