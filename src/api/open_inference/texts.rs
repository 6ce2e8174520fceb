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
const DATA: &str = "#/inputs/0/data";

/// Texts and the form that they came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// The texts.
    pub texts: Vec<String>,
    /// Their form.
    pub form: Form,
}

/// The form of a tensor of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// `[n]` or `[n, 1]`, which the answers have as well.
    pub shape: Vec<u64>,
    are_nested: bool,
}

impl Form {
    /// Where a text stood in the request.
    pub fn place(&self, index: usize) -> String {
        place(index, self.are_nested)
    }
}

fn place(index: usize, is_nested: bool) -> String {
    format!("{DATA}/{index}{}", if is_nested { "/0" } else { "" })
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
        refusals.add(DATA, "missing_field", format!("the field \"data\" is missing; {NO_BINARY}"));
        return None;
    };
    let are_nested = data.first().is_some_and(Value::is_array);
    let count = data.len();
    let elements = data.into_iter().enumerate();
    let texts = elements.filter_map(|(index, element)| text(refusals, index, element, are_nested)).collect();
    check_shape(refusals, &input.shape, count, are_nested);
    Some(Texts { texts, form: Form { shape: input.shape, are_nested } })
}

fn check_shape(refusals: &mut Refusals, shape: &[u64], texts: usize, are_nested: bool) {
    let rows = match shape {
        [rows] | [rows, 1] => *rows,
        _ => {
            let detail = format!("the shape is {shape:?}; send [n] or [n, 1]");
            return refusals.add("#/inputs/0/shape", "invalid_value", detail);
        }
    };
    refusals.require(!are_nested || shape.len() == 2, "#/inputs/0/shape", || {
        format!("the shape is {shape:?}, and data has a row for each text; send [{texts}, 1], or the texts flat")
    });
    refusals.require(rows == texts as u64, "#/inputs/0/shape", || {
        format!("the shape is {shape:?}, and data has {texts} texts")
    });
    refusals.require((1..=MAX_INPUTS as u64).contains(&rows), "#/inputs/0/shape", || {
        format!("{rows} texts; send 1 to {MAX_INPUTS}")
    });
}

/// A text, which stands in a row of its own where the first one does.
fn text(refusals: &mut Refusals, index: usize, element: Value, is_nested: bool) -> Option<String> {
    let element = if is_nested { in_row(refusals, index, element)? } else { element };
    let place = place(index, is_nested);
    let Value::String(text) = element else {
        refusals.add(place, "wrong_type", "an element is no text; send texts, flat or one to a row");
        return None;
    };
    refusals.require(!text.trim().is_empty(), &place, || "the text is empty".to_owned());
    Some(text)
}

/// The one element of a row.
fn in_row(refusals: &mut Refusals, index: usize, row: Value) -> Option<Value> {
    let Value::Array(row) = row else {
        let detail = "an element is no row, and the first one is; send all texts flat, or each in a row";
        refusals.add(format!("{DATA}/{index}"), "wrong_type", detail);
        return None;
    };
    match <[Value; 1]>::try_from(row) {
        Ok([element]) => Some(element),
        Err(row) => {
            let detail = format!("the row has {} texts; send one text to a row", row.len());
            refusals.add(format!("{DATA}/{index}"), "invalid_value", detail);
            None
        }
    }
}
