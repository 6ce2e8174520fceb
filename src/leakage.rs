//! Rows that the files of a job have in common: a student that has seen a test row says little about rows that it has not
//! seen. The API looks when a job is submitted, and the worker once more where rows were not there yet; both ask here. It
//! finds and words; what is found never refuses a job.

use serde_json::{Map, Value, json};

use crate::{
    artifacts::{ArtifactError, Artifacts},
    domain::{
        DistillationSpec, EvaluationSpec, FileId, JobId, JobSpec, JobWarning, ProjectId, Split, StudentSource,
        TrainingSource, Validating,
    },
    registry::{Registry, RegistryError},
    store::{Store, StoreError},
    survey::{RowGroup, SharedInputs, shared_inputs},
};

/// The code of the one warning of this kind.
pub const ROWS_SHARED: &str = "rows_shared";

/// Why rows could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum LeakageError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A model could not be looked up.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A fingerprint could not be read.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
}

/// Looks at the rows of jobs of one project.
#[derive(Debug, Clone, Copy)]
pub struct Leakage<'a> {
    /// Files, jobs and models by id.
    pub store: &'a Store,
    /// Fingerprints.
    pub artifacts: &'a Artifacts,
    /// Models by name.
    pub registry: &'a Registry,
    /// Whose they are.
    pub project: ProjectId,
}

/// Rows with what they are called in a warning.
struct Named {
    name: &'static str,
    rows: RowGroup,
}

impl Leakage<'_> {
    /// A warning for each two groups of the job's rows that share inputs, as far as the rows are there.
    ///
    /// # Errors
    /// When a row or a fingerprint cannot be read.
    pub async fn warnings(&self, spec: &JobSpec) -> Result<Vec<JobWarning>, LeakageError> {
        match spec {
            JobSpec::Annotation(_) => Ok(Vec::new()),
            JobSpec::Distillation(spec) => self.of_distillation(spec).await,
            JobSpec::Evaluation(spec) => self.of_evaluation(spec).await,
        }
    }

    async fn of_distillation(&self, spec: &DistillationSpec) -> Result<Vec<JobWarning>, LeakageError> {
        let mut groups = vec![Named { name: "training", rows: self.training_rows(spec).await? }];
        if let Validating::File(id) = spec.validation {
            groups.push(Named { name: "validation", rows: self.rows(id, vec![Split::Validation]).await? });
        }
        if let Some(id) = spec.test {
            groups.push(Named { name: "test", rows: self.rows(id, vec![Split::Test]).await? });
        }
        let shared = self.compare(&groups).await?;
        Ok(pairs(&groups, &shared).map(|pair| pair.warning(None)).collect())
    }

    async fn of_evaluation(&self, spec: &EvaluationSpec) -> Result<Vec<JobWarning>, LeakageError> {
        let mut warnings = Vec::new();
        for model in &spec.models {
            let Some(made_by) = self.distillation_of(model).await? else { continue };
            let rows = self.rows(spec.file, vec![Split::Validation, Split::Test]).await?;
            let groups = [
                Named { name: "training", rows: self.training_rows(&made_by).await? },
                Named { name: "evaluation", rows },
            ];
            let shared = self.compare(&groups).await?;
            warnings.extend(pairs(&groups, &shared).map(|pair| pair.warning(Some(model))));
        }
        Ok(warnings)
    }

    /// How a model was made, if a job of ours made it or will make it.
    async fn distillation_of(&self, model: &str) -> Result<Option<DistillationSpec>, LeakageError> {
        let job = match self.registry.find(self.project, model).await? {
            Some(StudentSource::Registered(model)) => Some(model.job_id),
            Some(StudentSource::Checkpoint(checkpoint)) => Some(checkpoint.job_id),
            Some(StudentSource::Directory { .. }) => None,
            None => model.parse::<JobId>().ok(),
        };
        let Some(job) = job else { return Ok(None) };
        let job = self.store.job(self.project, job).await?;
        Ok(job.and_then(|job| if let JobSpec::Distillation(spec) = job.spec { Some(spec) } else { None }))
    }

    async fn training_rows(&self, spec: &DistillationSpec) -> Result<RowGroup, LeakageError> {
        let mut rows = RowGroup { artifact_keys: Vec::new(), splits: vec![Split::Train] };
        for source in &spec.training {
            let id = match source {
                TrainingSource::File(id) => Some(*id),
                TrainingSource::AnnotationJob(id) => self.output_of(*id).await?,
            };
            if let Some(id) = id {
                rows.artifact_keys.extend(self.rows(id, Vec::new()).await?.artifact_keys);
            }
        }
        Ok(rows)
    }

    /// The file that an annotation has written, if it is done.
    async fn output_of(&self, id: JobId) -> Result<Option<FileId>, LeakageError> {
        let job = self.store.job(self.project, id).await?;
        Ok(job.and_then(|job| job.result?.get("output_file")?.as_str()?.parse().ok()))
    }

    /// A file's rows; none where it is gone.
    async fn rows(&self, id: FileId, splits: Vec<Split>) -> Result<RowGroup, LeakageError> {
        let file = self.store.file(self.project, id).await?;
        Ok(RowGroup { artifact_keys: file.map(|file| file.artifact_key).into_iter().collect(), splits })
    }

    async fn compare(&self, groups: &[Named]) -> Result<SharedInputs, LeakageError> {
        let rows: Vec<_> = groups.iter().map(|group| group.rows.clone()).collect();
        Ok(shared_inputs(self.artifacts, &rows).await?)
    }
}

/// Two groups that share inputs; the second is the one that should have none of the first.
struct Pair {
    first: &'static str,
    second: &'static str,
    shared: u64,
    of: u64,
}

fn pairs(groups: &[Named], shared: &SharedInputs) -> impl Iterator<Item = Pair> {
    let found = shared.both.iter().filter(|(_, count)| *count > 0);
    found.map(|((first, second), count)| Pair {
        first: groups[*first].name,
        second: groups[*second].name,
        shared: *count,
        of: shared.inputs[*second],
    })
}

impl Pair {
    fn warning(&self, model: Option<&str>) -> JobWarning {
        let Self { first, second, shared, of } = self;
        let whose = model.map(|model| format!(" of {model}")).unwrap_or_default();
        let message = format!(
            "{shared} of {of} different inputs of the {second} rows are also among the {first} rows{whose}: accuracy on \
             them does not tell how new inputs are answered"
        );
        let mut data: Map<String, Value> = [
            ("between".to_owned(), json!([first, second])),
            ("shared_inputs".to_owned(), json!(shared)),
            ("inputs".to_owned(), json!(of)),
        ]
        .into_iter()
        .collect();
        data.extend(model.map(|model| ("model".to_owned(), json!(model))));
        JobWarning { code: ROWS_SHARED.to_owned(), message, data }
    }
}
