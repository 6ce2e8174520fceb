//! The tensor of texts that a request brings.

use serde_json::Value;

use super::{
    parameters::{NO_BINARY, flags},
    request::InputTensor,
};
use crate::api::{extract::nearest, predictions::MAX_INPUTS, resolve::Refusals};

/// The one input's name.
pub const NAME: &str = "text";
const DATATYPE: &str = "BYTES";

/// Texts and the shape that they came in, which the answers have as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// `[n]` or `[n, 1]`.
    pub shape: Vec<u64>,
    /// The texts.
    pub texts: Vec<String>,
}

/// The request's texts; none where something was refused.
pub fn read(refusals: &mut Refusals, inputs: Vec<InputTensor>) -> Option<Texts> {
    let count = inputs.len();
    refusals.require(count == 1, "#/inputs", || format!("{count} tensors; send one, named {NAME:?}"));
    let input = inputs.into_iter().next()?;
    refusals.require(input.name == NAME, "#/inputs/0/name", || {
        format!("{:?} is no input{}", input.name, nearest(&input.name, [NAME]))
    });
    refusals.require(input.datatype == DATATYPE, "#/inputs/0/datatype", || {
        format!("{:?} is not read; send {DATATYPE}, texts", input.datatype)
    });
    flags(refusals, "#/inputs/0/parameters", &[], input.parameters.as_ref());
    let Some(data) = input.data else {
        refusals.add("#/inputs/0/data", "missing_field", format!("the field \"data\" is missing; {NO_BINARY}"));
        return None;
    };
    let texts = texts(refusals, data);
    check_shape(refusals, &input.shape, texts.len());
    Some(Texts { shape: input.shape, texts })
}

fn check_shape(refusals: &mut Refusals, shape: &[u64], texts: usize) {
    let rows = match shape {
        [rows] | [rows, 1] => Some(*rows),
        _ => None,
    };
    let Some(rows) = rows else {
        return refusals.add(
            "#/inputs/0/shape",
            "invalid_value",
            format!("the shape is {shape:?}; send [n] or [n, 1]"),
        );
    };
    refusals.require(rows == texts as u64, "#/inputs/0/shape", || {
        format!("the shape is {shape:?}, and data has {texts} texts")
    });
    refusals.require((1..=MAX_INPUTS as u64).contains(&rows), "#/inputs/0/shape", || {
        format!("{rows} texts; send 1 to {MAX_INPUTS}")
    });
}

/// The texts in row-major order, however they are nested.
fn texts(refusals: &mut Refusals, data: Vec<Value>) -> Vec<String> {
    let mut found = Vec::new();
    for (index, element) in data.into_iter().enumerate() {
        match element {
            Value::Array(row) => row.into_iter().for_each(|text| push(refusals, index, text, &mut found)),
            text => push(refusals, index, text, &mut found),
        }
    }
    found
}

fn push(refusals: &mut Refusals, index: usize, element: Value, found: &mut Vec<String>) {
    let place = format!("#/inputs/0/data/{index}");
    match element {
        Value::String(text) => {
            refusals.require(!text.trim().is_empty(), &place, || "the text is empty".to_owned());
            found.push(text);
        }
        _ => refusals.add(place, "wrong_type", "an element is no text; send texts, flat or one to a row"),
    }
}
