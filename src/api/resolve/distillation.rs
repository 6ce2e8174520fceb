//! A distillation job.

mod data;
mod learnable;
mod request;
mod training;

use super::{Refusals, Submission, hyperparameters, model::Pins, student, task, warn_of_leakage};
use crate::{
    api::{ProjectState, error::ApiError, shapes::NameOr},
    domain::{DistillationSpec, Hyperparameters, JobSpec, LabelSource, Method, RationaleChoice, StudentSpec},
    store::NewJob,
};

pub use request::{DistillationJobRequest, Prefixes, Student, TestRows, Training, ValidationRows};

/// The job to store, or everything that is wrong with the request.
pub async fn resolve(state: &ProjectState, request: DistillationJobRequest) -> Result<NewJob, ApiError> {
    let mut refusals = Refusals::default();
    let submission =
        Submission { priority: request.priority, metadata: request.metadata, depends_on: request.depends_on };
    submission.check(state, &mut refusals).await?;
    let task = task::resolve(state, &mut refusals, request.task);
    let mut pins = Pins::default();
    let student = student_spec(request.student);
    let (student, student_target) = student::resolve(state, &mut refusals, &mut pins, student).await?;
    if let Some(name) = &request.model_name {
        student::check_new_name(state, &mut refusals, name).await?;
    }
    let method = request.method.unwrap_or(Method::StepByStep);
    let label_source = request.label_source.unwrap_or(LabelSource::Teacher);
    let hyperparameters = request.hyperparameters.unwrap_or_default();
    hyperparameters::check(&mut refusals, &hyperparameters);
    let (alpha, max_dropped_ratio) = (request.alpha.unwrap_or(0.5), request.max_dropped_ratio.unwrap_or(0.2));
    check_share(&mut refusals, "alpha", alpha);
    check_share(&mut refusals, "max_dropped_ratio", max_dropped_ratio);
    let prefixes = request.prefixes.unwrap_or_default();
    check_prefixes(&mut refusals, method, &prefixes);
    let rationales = request.rationales.unwrap_or_default();
    check_rationales(&mut refusals, method, &rationales);
    check_mutual_information(&mut refusals, method, &hyperparameters);
    let wanted = data::Wanted { task: &task, method, label_source, filter: rationales.filter, max_dropped_ratio };
    let training = training::training(state, &mut refusals, &wanted, request.training).await?;
    let validation = data::validation(state, &mut refusals, &wanted, request.validation).await?;
    hyperparameters::check_early_stopping(&mut refusals, &hyperparameters, &validation);
    let test = data::test(state, &mut refusals, &wanted, request.test).await?;
    refusals.finish()?;
    let spec = DistillationSpec {
        training: training.sources,
        validation,
        test,
        student,
        student_target,
        task,
        method,
        label_source,
        alpha,
        rationales,
        label_prefix: prefixes.label,
        rationale_prefix: prefixes.rationale,
        max_dropped_ratio,
        model_name: request.model_name,
        hyperparameters,
    };
    let mut job = pins.onto(submission.into_job(state, JobSpec::Distillation(spec), training.waits_for));
    job.warnings.extend(training.warnings);
    Ok(warn_of_leakage(state, job).await)
}

fn student_spec(student: NameOr<Student>) -> StudentSpec {
    match student {
        NameOr::Name(name) => StudentSpec::Model(name),
        NameOr::Inline(Student { from_scratch }) => StudentSpec::FromScratch(from_scratch),
    }
}

fn check_share(refusals: &mut Refusals, name: &str, share: f64) {
    refusals.require((0.0..=1.0).contains(&share), &format!("#/{name}"), || format!("{name} is {share}; send 0 to 1"));
}

/// What would be ignored is refused.
fn check_rationales(refusals: &mut Refusals, method: Method, rationales: &RationaleChoice) {
    let is_read = method != Method::Standard || *rationales == RationaleChoice::default();
    refusals.require(is_read, "#/rationales", || {
        "standard learns no rationale; leave rationales out, or use \"method\": \"step_by_step\"".to_owned()
    });
}

/// The loss compares two tasks; only one method has two.
fn check_mutual_information(refusals: &mut Refusals, method: Method, knobs: &Hyperparameters) {
    let is_read = method == Method::StepByStep || knobs.mutual_information_weight == 0.0;
    refusals.require(is_read, "#/hyperparameters/mutual_information_weight", || {
        format!(
            "{} has no loss of mutual information; leave mutual_information_weight out, or use \"method\": \"step_by_step\"",
            method.as_str()
        )
    });
}

/// Two tasks that share a prefix cannot be told apart by the student.
fn check_prefixes(refusals: &mut Refusals, method: Method, prefixes: &Prefixes) {
    for (name, prefix) in [("label", &prefixes.label), ("rationale", &prefixes.rationale)] {
        refusals.require(prefix.chars().count() <= 100, &format!("#/prefixes/{name}"), || {
            "a prefix has 100 characters at most".to_owned()
        });
    }
    let told_apart = method != Method::StepByStep || prefixes.label != prefixes.rationale;
    refusals.require(told_apart, "#/prefixes", || "step_by_step needs two different prefixes".to_owned());
}
