//! From OpenAI's hyperparameters, and this service's beside them, to those of a distillation.

use serde_json::{Map, Value, json};

use crate::{
    api::{
        extract::{describe, nearest},
        field_error::member,
        resolve::Refusals,
    },
    domain::Hyperparameters,
};

/// OpenAI's names that are not this service's, with those that mean the same here.
pub const RENAMED: [(&str, &str); 2] = [("n_epochs", "epochs"), ("learning_rate_multiplier", "learning_rate")];

/// The hyperparameters of a request, whose place is `pointer`. `auto` is the same as leaving one out.
pub fn knobs(refusals: &mut Refusals, pointer: &str, mut given: Map<String, Value>) -> Hyperparameters {
    given.retain(|_, value| *value != "auto");
    if refuse_unknown(refusals, pointer, &given) {
        return Hyperparameters::default();
    }
    for (theirs, ours) in RENAMED {
        let Some(value) = given.remove(theirs).filter(|value| !value.is_null()) else { continue };
        let place = format!("{pointer}/{theirs}");
        refusals.require(!given.contains_key(ours), &place, || format!("send {theirs} or {ours}, not both"));
        let Some(number) = value.as_f64() else {
            refusals.add(place, "wrong_type", format!("{theirs}: send a number, or \"auto\""));
            continue;
        };
        let is_rate = ours == "learning_rate";
        given.insert(ours.to_owned(), json!(if is_rate { number * Hyperparameters::PRETRAINED_RATE } else { number }));
    }
    serde_path_to_error::deserialize(Value::Object(given)).unwrap_or_else(|error| {
        let fault = describe(error.path(), &error.inner().to_string());
        refusals.add(format!("{pointer}{}", fault.pointer.trim_start_matches('#')), fault.code, fault.detail);
        Hyperparameters::default()
    })
}

/// Names are looked at apart, because serde knows this service's alone; whether there was an unknown one.
fn refuse_unknown(refusals: &mut Refusals, pointer: &str, given: &Map<String, Value>) -> bool {
    let ours = serde_json::to_value(Hyperparameters::default()).expect("hyperparameters are plain data");
    let known: Vec<&str> = RENAMED.iter().map(|(theirs, _)| *theirs).chain(keys(&ours)).collect();
    let unknown: Vec<&String> = given.keys().filter(|name| !known.contains(&name.as_str())).collect();
    for name in &unknown {
        let place = member(pointer, name);
        let detail = format!("unknown field {name:?}{}", nearest(name, known.iter().copied()));
        refusals.add(place, "unknown_parameter", detail);
    }
    !unknown.is_empty()
}

fn keys(object: &Value) -> impl Iterator<Item = &str> {
    object.as_object().into_iter().flat_map(|members| members.keys().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: Value) -> Result<Hyperparameters, Vec<(String, &'static str)>> {
        let mut refusals = Refusals::default();
        let knobs = knobs(&mut refusals, "#/method/supervised/hyperparameters", given.as_object().unwrap().clone());
        let named = |error: crate::api::ApiError| {
            let fields = error.fields().iter();
            fields
                .map(|field| (field.pointer.replace("#/method/supervised/hyperparameters/", ""), field.code))
                .collect()
        };
        refusals.finish().map(|()| knobs).map_err(named)
    }

    #[test]
    fn openais_names_and_ours_mean_what_they_say() {
        let given = json!({"n_epochs": 3, "learning_rate_multiplier": 2, "batch_size": "auto", "eval_steps": 7});
        let knobs = read(given).unwrap();
        assert_eq!(
            (knobs.epochs, knobs.learning_rate, knobs.batch_size, knobs.eval_steps),
            (Some(3.0), Some(1e-4), 64, 7)
        );
        let left = read(json!({"n_epochs": "auto", "learning_rate_multiplier": null})).unwrap();
        assert_eq!(left, Hyperparameters::default());
    }

    #[test]
    fn what_cannot_be_read_is_refused_at_its_place() {
        let refused = |given, name: &str, code| assert_eq!(read(given), Err(vec![(name.to_owned(), code)]));
        refused(json!({"n_epoch": 3}), "n_epoch", "unknown_parameter");
        refused(json!({"n_epochs": "three"}), "n_epochs", "wrong_type");
        refused(json!({"batch_size": "many"}), "batch_size", "wrong_type");
        refused(json!({"n_epochs": 3, "epochs": 3}), "n_epochs", "invalid_value");
    }
}
