//! Names of variants, in the database and in requests.

/// A name that no variant has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {name:?}; send {known}")]
pub struct UnknownName {
    what: &'static str,
    name: String,
    known: String,
}

/// The variant of this name.
pub(super) fn by_name<T: Copy>(
    what: &'static str,
    all: &[T],
    as_str: impl Fn(T) -> &'static str,
    name: &str,
) -> Result<T, UnknownName> {
    all.iter().copied().find(|variant| as_str(*variant) == name).ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|variant| as_str(*variant)).collect();
        let name = name.chars().take(80).collect();
        UnknownName { what, name, known: names.join(", ") }
    })
}
