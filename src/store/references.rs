//! What a spec refers to: the files that the job reads and the jobs whose outcome it needs.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::domain::{JobId, JobSpec, TeacherAnswers, TrainingSource, Validating};

/// Files that the spec names, each once.
pub(super) fn files(spec: &JobSpec) -> BTreeSet<Uuid> {
    match spec {
        JobSpec::Annotation(spec) => BTreeSet::from([spec.file.0]),
        JobSpec::Evaluation(spec) => BTreeSet::from([spec.file.0]),
        JobSpec::Distillation(spec) => {
            let training = spec.training.iter().filter_map(|source| match source {
                TrainingSource::File(id) => Some(id.0),
                TrainingSource::AnnotationJob(_) => None,
            });
            let validation = match &spec.validation {
                Validating::File(id) => Some(id.0),
                Validating::Fraction { .. } => None,
            };
            training.chain(validation).chain(spec.test.map(|id| id.0)).collect()
        }
    }
}

/// Jobs that must succeed before this one can do its work, each once: annotations to learn from or to compare with, and
/// distillations whose models are scored.
pub(super) fn jobs(spec: &JobSpec) -> BTreeSet<Uuid> {
    match spec {
        JobSpec::Annotation(_) => BTreeSet::new(),
        JobSpec::Evaluation(spec) => {
            let models = spec.models.iter().filter_map(|name| name.parse::<JobId>().ok());
            let teacher = spec.teacher.and_then(|teacher| match teacher {
                TeacherAnswers::File => None,
                TeacherAnswers::AnnotationJob(id) => Some(id),
            });
            models.chain(teacher).map(|id| id.0).collect()
        }
        JobSpec::Distillation(spec) => {
            let training = spec.training.iter().filter_map(|source| match source {
                TrainingSource::File(_) => None,
                TrainingSource::AnnotationJob(id) => Some(id.0),
            });
            training.collect()
        }
    }
}

/// Those of them whose output file or model it reads, each once; a teacher's answers are rows, which stay.
pub(super) fn makers(spec: &JobSpec) -> BTreeSet<Uuid> {
    match spec {
        JobSpec::Evaluation(spec) => {
            spec.models.iter().filter_map(|name| name.parse::<JobId>().ok()).map(|id| id.0).collect()
        }
        JobSpec::Annotation(_) | JobSpec::Distillation(_) => jobs(spec),
    }
}
