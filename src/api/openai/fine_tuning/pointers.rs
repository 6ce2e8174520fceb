//! From the pointers of a distillation's request to those of the fine-tuning's that it was made of, so that a refusal names what
//! the client has sent.

use super::{knobs::RENAMED, method::MethodKind};
use crate::api::error::{ApiError, FieldError};

/// Members that are called otherwise, by their beginning.
const PLACES: [(&str, &str); 6] = [
    ("training/file", "training_file"),
    ("training/annotation_job", "training_file"),
    ("training", "training_file"),
    ("validation/file", "validation_file"),
    ("validation", "validation_file"),
    ("student", "model"),
];
/// Members that are called the same.
const SAME: [&str; 3] = ["priority", "depends_on", "metadata"];
const KNOBS: &str = "hyperparameters";

/// Where a request's options stood.
#[derive(Debug, Clone)]
pub struct Pointers {
    /// Whose options they are.
    pub kind: MethodKind,
    /// The pointer of the hyperparameters.
    pub knobs: String,
    /// OpenAI's names among them.
    pub renamed: Vec<&'static str>,
}

impl Pointers {
    /// The refusal with its pointers in the client's request.
    pub fn refused(&self, error: ApiError) -> ApiError {
        match error {
            ApiError::Invalid(fields) => ApiError::Invalid(fields.into_iter().map(|field| self.field(field)).collect()),
            other => other,
        }
    }

    fn field(&self, field: FieldError) -> FieldError {
        let place = field.pointer.trim_start_matches("#/");
        FieldError { pointer: self.place(place), ..field }
    }

    fn place(&self, place: &str) -> String {
        let below = |name: &str| place.strip_prefix(name).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        if let Some(rest) = below(KNOBS) {
            let name = rest.trim_start_matches('/');
            let theirs = RENAMED.iter().find(|(theirs, ours)| *ours == name && self.renamed.contains(theirs));
            return theirs
                .map_or_else(|| format!("{}{rest}", self.knobs), |(theirs, _)| format!("{}/{theirs}", self.knobs));
        }
        if SAME.iter().any(|name| below(name).is_some()) || place.is_empty() {
            return if place.is_empty() { "#".to_owned() } else { format!("#/{place}") };
        }
        if below("test").is_some() {
            return format!("#/method/{}/test_file", self.kind.as_str());
        }
        match PLACES.iter().find_map(|(ours, theirs)| Some((theirs, below(ours)?))) {
            Some((theirs, rest)) => format!("#/{theirs}{rest}"),
            None => format!("#/method/{}/{place}", self.kind.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_one_of_the_clients_request() {
        let knobs = "#/method/step_by_step/hyperparameters".to_owned();
        let pointers = Pointers { kind: MethodKind::StepByStep, knobs, renamed: vec!["n_epochs"] };
        for (ours, theirs) in [
            ("training/file", "#/training_file"),
            ("validation/file", "#/validation_file"),
            ("student", "#/model"),
            ("student/from_scratch/d_model", "#/model/from_scratch/d_model"),
            ("hyperparameters/epochs", "#/method/step_by_step/hyperparameters/n_epochs"),
            ("hyperparameters/learning_rate", "#/method/step_by_step/hyperparameters/learning_rate"),
            ("metadata/team", "#/metadata/team"),
            ("test/file", "#/method/step_by_step/test_file"),
            ("task/name", "#/method/step_by_step/task/name"),
            ("alpha", "#/method/step_by_step/alpha"),
            ("", "#"),
        ] {
            assert_eq!(pointers.place(ours), theirs, "{ours}");
        }
    }
}
