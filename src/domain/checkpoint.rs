//! A student as it was at some step of its training, published on the way.

use chrono::{DateTime, Utc};

use super::{CheckpointId, JobId, Lineage, ProjectId};

/// What stands between the name of a model, or the id of its job, and the step of a checkpoint.
const SEPARATOR: &str = ":ckpt-step-";

/// A checkpoint that a training left on its way. The row implies complete, verified, immutable files.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Its id.
    pub id: CheckpointId,
    /// The project it belongs to.
    pub project_id: ProjectId,
    /// The name it is asked for by: `desk:ckpt-step-200`, or with the job's id while the job has no model.
    pub name: String,
    /// The distillation that left it.
    pub job_id: JobId,
    /// The optimizer step after which it was left.
    pub step: i64,
    /// Accuracy on the validation rows at that step, 0..1; none where it was not examined then.
    pub accuracy: Option<f64>,
    /// Whether no other checkpoint of the job that is still there is more accurate; the later of equals.
    pub best: bool,
    /// Figures at that step, by metric name.
    pub metrics: serde_json::Map<String, serde_json::Value>,
    /// What it was made of and how.
    pub lineage: Lineage,
    /// The folder of its files in the artifact store.
    pub artifact_prefix: String,
    /// The digest of the manifest there, in hexadecimal.
    pub manifest_sha256: String,
    /// The size of all its files.
    pub bytes: i64,
    /// When it was published.
    pub created_at: DateTime<Utc>,
}

impl Checkpoint {
    /// The name of the checkpoint after `step` of what is called `of`.
    pub fn name_of(of: &str, step: i64) -> String {
        format!("{of}{SEPARATOR}{step}")
    }

    /// What a name says: whose checkpoint, and after which step. None where it is no checkpoint's name.
    pub fn parse_name(name: &str) -> Option<(&str, i64)> {
        let (of, step) = name.rsplit_once(SEPARATOR)?;
        let plain = !of.is_empty() && !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| step.parse().ok()).flatten().map(|step| (of, step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_apart_as_it_was_put_together() {
        assert_eq!(Checkpoint::parse_name(&Checkpoint::name_of("desk", 200)), Some(("desk", 200)));
        for other in
            ["desk", ":ckpt-step-1", "desk:ckpt-step-", "desk:ckpt-step-+1", "desk:ckpt-step-99999999999999999999"]
        {
            assert_eq!(Checkpoint::parse_name(other), None, "{other}");
        }
    }
}
