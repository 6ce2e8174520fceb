//! The student that a distillation starts from, and the name that it ends with.

use super::{
    Refusals,
    model::{self, Pins},
};
use crate::{
    api::{ProjectState, error::ApiError},
    domain::{FromScratch, HubId, ModelTarget, StudentSpec},
};

/// A student by name must exist and be complete, or be one of the Hub's by its form; one from scratch must have a shape that can be built. Returns it as it is
/// stored, with what its name means.
pub async fn resolve(
    state: &ProjectState,
    refusals: &mut Refusals,
    pins: &mut Pins,
    student: StudentSpec,
) -> Result<(StudentSpec, Option<ModelTarget>), ApiError> {
    match &student {
        StudentSpec::FromScratch(shape) => check_shape(refusals, shape),
        StudentSpec::Model(name) => match model::find(state, name).await? {
            Some(source) => {
                let missing = model::missing(&source);
                let (stored, target) = pins.add(&state.registry, &source);
                if !missing.is_empty() {
                    let detail = format!("student {name:?} lacks {} in its folder", missing.join(", "));
                    refusals.add("#/student", "student_incomplete", detail);
                }
                return Ok((StudentSpec::Model(stored), Some(target)));
            }
            None if name.contains('/') => match name.parse::<HubId>() {
                Ok(id) => {
                    let (stored, target) = pins.add_absent(state, id);
                    return Ok((StudentSpec::Model(stored), Some(target)));
                }
                Err(error) => {
                    let detail = format!("there is no student {name:?}; {error}");
                    refusals.add("#/student", "student_not_found", detail);
                }
            },
            None => {
                let advice = model::advice(state, name).await?;
                let detail = format!("there is no student {name:?}{advice}; or send {{\"from_scratch\": {{}}}}");
                refusals.add("#/student", "student_not_found", detail);
            }
        },
    }
    Ok((student, None))
}

/// A name that fits into one path segment, is not an id, and is free.
pub async fn check_new_name(state: &ProjectState, refusals: &mut Refusals, name: &str) -> Result<(), ApiError> {
    if !model::check_name(refusals, "#/model_name", "a model", name) {
        return Ok(());
    }
    if state.store.alias(state.project, name).await?.is_some() {
        let detail = format!("{name:?} is an alias; choose another name, or delete the alias first");
        refusals.add("#/model_name", "name_taken", detail);
    } else if model::find(state, name).await?.is_some() {
        let detail = format!("there is a model {name:?} already; choose another name, or delete the model first");
        refusals.add("#/model_name", "name_taken", detail);
    }
    Ok(())
}

fn check_shape(refusals: &mut Refusals, shape: &FromScratch) {
    let bounds = [
        ("vocabulary_size", shape.vocabulary_size, 64, 250_000),
        ("d_model", shape.d_model, 8, 8192),
        ("d_kv", shape.d_kv, 4, 1024),
        ("d_ff", shape.d_ff, 8, 65_536),
        ("num_layers", shape.num_layers, 1, 64),
        ("num_decoder_layers", shape.num_decoder_layers.unwrap_or(shape.num_layers), 1, 64),
        ("num_heads", shape.num_heads, 1, 256),
        ("dropout_percent", shape.dropout_percent, 0, 90),
    ];
    for (name, value, least, most) in bounds {
        refusals.require((least..=most).contains(&value), &format!("#/student/from_scratch/{name}"), || {
            format!("{name} is {value}; send {least} to {most}")
        });
    }
}
