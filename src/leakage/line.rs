//! How a model came to be: the training that made it, and those that its bases came from.

use super::{Leakage, LeakageError};
use crate::domain::{DistillationSpec, JobId, JobSpec, ModelTarget, StudentSource, StudentSpec};
use crate::registry;

/// Trainings that a line has, at most: each costs some look-ups, and a longer line is a loop of names.
const MAX_TRAININGS: usize = 32;

impl Leakage<'_> {
    /// The training that made a model or will make it, and before that its bases', nearest first. The line ends at a
    /// student from scratch, at a folder of unknown origin, and at a model whose job is not ours.
    pub(super) async fn trainings_of(
        &self,
        model: &str,
        target: Option<&ModelTarget>,
    ) -> Result<Vec<DistillationSpec>, LeakageError> {
        let job = self.job_behind(model, target).await?;
        self.line(job).await
    }

    /// The trainings that a student had before this one.
    pub(super) async fn trained_before(&self, spec: &DistillationSpec) -> Result<Vec<DistillationSpec>, LeakageError> {
        match &spec.student {
            StudentSpec::Model(name) => self.trainings_of(name, spec.student_target.as_ref()).await,
            StudentSpec::FromScratch(_) => Ok(Vec::new()),
        }
    }

    async fn line(&self, first: Option<JobId>) -> Result<Vec<DistillationSpec>, LeakageError> {
        let (mut found, mut seen, mut next) = (Vec::new(), Vec::new(), first);
        while let Some(id) = next
            && seen.len() < MAX_TRAININGS
            && !seen.contains(&id)
        {
            seen.push(id);
            let job = self.store.job(self.project, id).await?;
            let Some(JobSpec::Distillation(spec)) = job.map(|job| job.spec) else { break };
            next = self.base_of(id, &spec).await?;
            found.push(spec);
        }
        Ok(found)
    }

    /// The training behind the student that a training began with. A finished model knows its base by id, whatever has
    /// become of the name since.
    async fn base_of(&self, id: JobId, spec: &DistillationSpec) -> Result<Option<JobId>, LeakageError> {
        let StudentSpec::Model(name) = &spec.student else { return Ok(None) };
        let made = self.store.model_of_job(self.project, id).await?;
        if let Some(base) = made.and_then(|model| model.base_model_id) {
            return Ok(self.store.relative(base).await?.map(|base| base.job_id));
        }
        self.job_behind(name, spec.student_target.as_ref()).await
    }

    /// The job that made what a name means to a job, or that will make it.
    async fn job_behind(&self, name: &str, target: Option<&ModelTarget>) -> Result<Option<JobId>, LeakageError> {
        Ok(match self.registry.find_for_job(self.project, name, target).await? {
            Some(StudentSource::Registered(model)) => Some(model.job_id),
            Some(StudentSource::Checkpoint(checkpoint)) => Some(checkpoint.job_id),
            // A folder that was exported here still says which job made it.
            Some(StudentSource::Directory { path, .. } | StudentSource::Hub { path, .. }) => {
                registry::card(&path).ok().as_ref().and_then(registry::lineage).map(|lineage| lineage.job)
            }
            None => name.parse().ok(),
        })
    }
}
