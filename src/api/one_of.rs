//! The form of an answer that has one of several forms, for the document.

use std::borrow::Cow;

use utoipa::openapi::{Ref, RefOr, Schema, schema::OneOfBuilder};

/// One of the forms of these names.
pub fn one_of(description: &str, names: impl IntoIterator<Item = Cow<'static, str>>) -> RefOr<Schema> {
    let forms = OneOfBuilder::new().description(Some(description));
    names.into_iter().fold(forms, |forms, name| forms.item(Ref::from_schema_name(name))).into()
}
