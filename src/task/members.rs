//! A JSON object as it is written: its members in order, and a name that comes twice as often as it comes. Below the
//! object a name that comes twice is found as well: whoever reads a map would take the last value without a word.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Characters of a name that a path shows.
const NAME_CHARS: usize = 40;

/// An object's members; unlike a map it keeps a name that comes twice.
pub(super) struct Members(pub Vec<Member>);

/// One member.
pub(super) struct Member {
    pub name: String,
    pub value: Value,
    /// Where in the value an object has a name twice, such as `[0].content`: the first such place.
    pub repeated: Option<String>,
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Object)
    }
}

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Vec::new();
        while let Some((name, Checked { value, repeated })) = map.next_entry()? {
            members.push(Member { name, value, repeated });
        }
        Ok(Members(members))
    }
}

/// A value, and where in it an object has a name twice.
struct Checked {
    value: Value,
    repeated: Option<String>,
}

fn plain(value: impl Into<Value>) -> Checked {
    Checked { value: value.into(), repeated: None }
}

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Checked;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Checked, E> {
        Ok(plain(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Checked, E> {
        Ok(plain(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Checked, E> {
        Ok(plain(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Checked, E> {
        Ok(plain(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Checked, E> {
        Ok(plain(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Checked, E> {
        Ok(plain(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Checked, E> {
        Ok(plain(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Checked, A::Error> {
        let (mut values, mut repeated) = (Vec::new(), None);
        while let Some(Checked { value, repeated: inside }) = list.next_element()? {
            repeated = repeated.or_else(|| inside.map(|path| format!("[{}]{path}", values.len())));
            values.push(value);
        }
        Ok(Checked { value: Value::Array(values), repeated })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Checked, A::Error> {
        let (mut members, mut repeated) = (Map::new(), None);
        while let Some((name, Checked { value, repeated: inside })) = map.next_entry::<String, Checked>()? {
            let inside = if members.contains_key(&name) { Some(String::new()) } else { inside };
            let shown = || name.chars().take(NAME_CHARS).collect::<String>();
            repeated = repeated.or_else(|| inside.map(|path| format!(".{}{path}", shown())));
            members.insert(name, value);
        }
        Ok(Checked { value: Value::Object(members), repeated })
    }
}
