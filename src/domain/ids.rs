//! Identifiers: a UUIDv7 behind a prefix that says what it names (`job-0198…`), so that ids sort by time and a wrong
//! kind of id is refused by its looks.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// A text that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an id of the form {prefix}<32 hexadecimal digits>")]
pub struct IdError {
    /// What the id should have begun with.
    pub prefix: &'static str,
    /// What was given.
    pub text: String,
}

/// Defines one newtype; the only macro of the crate, because identical newtypes by hand drift apart.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl $name {
            /// What every id of this kind begins with.
            pub const PREFIX: &'static str = $prefix;
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let uuid = text.strip_prefix($prefix).filter(|hex| hex.len() == 32).and_then(|hex| Uuid::try_parse(hex).ok());
                uuid.map(Self).ok_or_else(|| IdError { prefix: $prefix, text: text.chars().take(80).collect() })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .pattern(Some(concat!("^", $prefix, "[0-9a-f]{32}$")))
                    .description(Some(concat!("`", $prefix, "` and 32 hexadecimal digits; sorts by the time of its making.")))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {}
    };
}

id!(
    /// Names a job of any kind.
    JobId,
    "job-"
);
id!(
    /// Names an uploaded or produced file.
    FileId,
    "file-"
);
id!(
    /// Names a registered checkpoint.
    ModelId,
    "model-"
);
id!(
    /// Names a checkpoint that a training left on its way.
    CheckpointId,
    "checkpoint-"
);
id!(
    /// Names a project; every row belongs to one.
    ProjectId,
    "project-"
);
id!(
    /// Names one start of one worker process: a new one each time, so that a reused host name owns nothing.
    WorkerId,
    "worker-"
);

/// How ids begin that stand where a model's name may: no name that people or the service choose begins like that.
pub const ID_PREFIXES: [&str; 3] = [JobId::PREFIX, ModelId::PREFIX, CheckpointId::PREFIX];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_a_round_trip() {
        let id = JobId(Uuid::from_u128(7));
        assert_eq!(id.to_string().parse::<JobId>(), Ok(id));
    }

    #[test]
    fn an_id_of_another_kind_is_refused_with_the_wanted_form() {
        let error = FileId(Uuid::from_u128(7)).to_string().parse::<JobId>().unwrap_err();
        assert!(error.to_string().ends_with("is not an id of the form job-<32 hexadecimal digits>"), "{error}");
    }
}
