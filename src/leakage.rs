//! Rows that the files of a job have in common: a student that has seen a test row says little about rows that it has not
//! seen. The API looks when a job is submitted, and the worker once more where rows were not there yet; both ask here. It
//! finds and words; what is found never refuses a job.
//!
//! What a student has seen is more than its own training rows: it began with the weights of its base, which had been
//! trained on rows of its own. So the line of bases is walked, as far as it is known.

mod line;

use serde_json::{Map, Value, json};

use crate::{
    artifacts::{ArtifactError, Artifacts},
    domain::{
        DistillationSpec, EvaluationSpec, FileId, JobId, JobSpec, JobWarning, ProjectId, Split, TrainingSource,
        Validating,
    },
    registry::{Registry, RegistryError},
    store::{Store, StoreError},
    survey::{RowGroup, SharedInputs, shared_inputs},
};

/// The code of the one warning of this kind.
pub const ROWS_SHARED: &str = "rows_shared";

/// Files of a student's bases that are looked at, the nearest bases' first: all are open side by side.
const MAX_BASE_FILES: usize = 256;

/// Groups of rows, as warnings call them.
const TRAINING: &str = "training";
const BASE_TRAINING: &str = "base_training";
const VALIDATION: &str = "validation";
const TEST: &str = "test";
const EVALUATION: &str = "evaluation";

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
#[derive(Clone)]
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
        let training = self.training_rows(spec).await?;
        let mut scored = Vec::new();
        if let Validating::File(id) = spec.validation {
            scored.push(Named { name: VALIDATION, rows: self.rows(id, vec![Split::Validation]).await? });
        }
        if let Some(id) = spec.test {
            scored.push(Named { name: TEST, rows: self.rows(id, vec![Split::Test]).await? });
        }
        let bases = self.trained_before(spec).await?;
        let mut groups = vec![Named { name: TRAINING, rows: training.clone() }];
        groups.extend(scored.iter().cloned());
        let shared = self.compare(&groups).await?;
        let mut warnings: Vec<_> = pairs(&groups, &shared).map(|pair| pair.warning(None)).collect();
        warnings.extend(self.of_bases(&bases, &training, &scored, None).await);
        Ok(warnings)
    }

    async fn of_evaluation(&self, spec: &EvaluationSpec) -> Result<Vec<JobWarning>, LeakageError> {
        let mut warnings = Vec::new();
        let evaluated = Named { name: EVALUATION, rows: self.rows(spec.file, Split::EVALUATED.to_vec()).await? };
        for model in &spec.models {
            let trainings = self.trainings_of(model, spec.targets.get(model)).await?;
            let Some((own, bases)) = trainings.split_first() else { continue };
            let training = self.training_rows(own).await?;
            let groups = [Named { name: TRAINING, rows: training.clone() }, evaluated.clone()];
            let shared = self.compare(&groups).await?;
            warnings.extend(pairs(&groups, &shared).map(|pair| pair.warning(Some(model))));
            warnings.extend(self.of_bases(bases, &training, std::slice::from_ref(&evaluated), Some(model)).await);
        }
        Ok(warnings)
    }

    /// Warnings of what bases learned, beside what the student's own training has. Nothing where an old file cannot be
    /// compared: that must not hide what is nearer.
    async fn of_bases(
        &self,
        bases: &[DistillationSpec],
        own: &RowGroup,
        scored: &[Named],
        model: Option<&str>,
    ) -> Vec<JobWarning> {
        let found = async {
            let mut rows = RowGroup { artifact_keys: Vec::new(), splits: own.splits.clone() };
            for base in bases {
                for key in self.training_rows(base).await?.artifact_keys {
                    let is_known = own.artifact_keys.contains(&key) || rows.artifact_keys.contains(&key);
                    if !is_known && rows.artifact_keys.len() < MAX_BASE_FILES {
                        rows.artifact_keys.push(key);
                    }
                }
            }
            let mut warnings = Vec::new();
            for scored in scored.iter().filter(|_| !rows.artifact_keys.is_empty()) {
                let groups = [Named { name: BASE_TRAINING, rows: rows.clone() }, scored.clone()];
                let shared = self.compare(&groups).await?;
                warnings.extend(pairs(&groups, &shared).map(|pair| pair.warning(model)));
            }
            Ok::<_, LeakageError>(warnings)
        };
        found.await.unwrap_or_else(|error| {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "what a student's bases learned could not be compared");
            Vec::new()
        })
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
        Ok(job.and_then(|job| job.output_file()))
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
        let learned = match (*first, model) {
            (BASE_TRAINING, Some(model)) => format!("training rows of a model that {model} was trained from"),
            (BASE_TRAINING, None) => "training rows of a model that the student comes from".to_owned(),
            (first, Some(model)) => format!("{first} rows of {model}"),
            (first, None) => format!("{first} rows"),
        };
        let message = format!(
            "{shared} of {of} different inputs of the {second} rows are also among the {learned}: accuracy on them does \
             not tell how new inputs are answered"
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
