//! Parameters of a request and of its tensors. What is not known is refused by its name; so is what asks for bytes.

use serde_json::{Map, Value};

use crate::api::{extract::nearest, field_error::member, resolve::Refusals};

/// Parameters of the protocol's extension for tensors as bytes, and what each says where it asks for none.
const BINARY: [(&str, Option<bool>); 3] =
    [("binary_data_output", Some(false)), ("binary_data", Some(false)), ("binary_data_size", None)];

/// What binary tensors are answered with.
pub const NO_BINARY: &str = "tensors as bytes (the binary extension) are not offered; send and take them as JSON";

/// Checks parameters at a place, of which these are known: true or false each. Returns the names of those that are true.
pub fn flags<'a>(
    refusals: &mut Refusals,
    pointer: &str,
    known: &[&'a str],
    given: Option<&Map<String, Value>>,
) -> Vec<&'a str> {
    let mut set = Vec::new();
    for (name, value) in given.into_iter().flatten() {
        let place = member(pointer, name);
        let binary = BINARY.iter().find(|(binary, _)| binary == name);
        match (known.iter().find(|known| *known == name), binary, value) {
            (Some(known), _, Value::Bool(true)) => set.push(*known),
            (Some(_), _, Value::Bool(false)) => {}
            (Some(_), _, _) => refusals.add(place, "wrong_type", format!("{name}: send true or false")),
            (None, Some((_, neutral)), value) if neutral.is_some() && value.as_bool() == *neutral => {}
            (None, Some(_), _) => refusals.add(place, "unsupported_parameter", NO_BINARY),
            (None, None, _) => {
                let detail = format!("unknown parameter {name:?}{}", nearest(name, known.iter().copied()));
                refusals.add(place, "unknown_parameter", detail);
            }
        }
    }
    set
}
