//! Ids of what a job has told. Events and figures are numbered apart; an id here is a place in both, so that one list of them
//! has one cursor: the instant in microseconds, the list, and the number in that list.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::store::{ToldAt, ToldList};

const PREFIX: &str = "ftevent-";
/// Bits of the number.
const NUMBER: u32 = 60;
/// The end of the year 9999, in microseconds: PostgreSQL reads every instant up to it.
const LAST: i64 = 253_402_300_799_999_999;

/// A place in a job's history, as clients see it: `ftevent-` and 32 hexadecimal digits, which sort as the places do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToldId(pub ToldAt);

/// A text that is not such an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is not an id of the form {PREFIX}<32 hexadecimal digits>")]
pub struct NoToldId;

impl fmt::Display for ToldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ToldAt { at, list, id } = self.0;
        let bits = (u128::from(at.timestamp_micros().cast_unsigned()) << 64)
            | (u128::from(list == ToldList::Figures) << NUMBER)
            | u128::from(id.cast_unsigned());
        write!(f, "{PREFIX}{}", Uuid::from_u128(bits).simple())
    }
}

impl FromStr for ToldId {
    type Err = NoToldId;

    fn from_str(text: &str) -> Result<Self, NoToldId> {
        let digits = text.strip_prefix(PREFIX).filter(|digits| digits.len() == 32);
        let bits = digits.and_then(|digits| Uuid::try_parse(digits).ok()).ok_or(NoToldId)?.as_u128();
        let micros = ((bits >> 64) as u64).cast_signed();
        let at = DateTime::<Utc>::from_timestamp_micros(micros).filter(|_| (0..=LAST).contains(&micros));
        let at = at.ok_or(NoToldId)?;
        let low = bits as u64;
        let list = if low >> NUMBER == 0 { ToldList::Events } else { ToldList::Figures };
        Ok(Self(ToldAt { at, list, id: (low & ((1 << NUMBER) - 1)).cast_signed() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_a_round_trip_and_sorts_as_its_place_does() {
        let at = DateTime::from_timestamp_micros(1_763_700_000_123_456).unwrap();
        let places = [(ToldList::Events, 41), (ToldList::Events, 5000), (ToldList::Figures, 2)];
        let ids: Vec<String> = places.iter().map(|&(list, id)| ToldId(ToldAt { at, list, id }).to_string()).collect();
        for (&(list, id), text) in places.iter().zip(&ids) {
            assert_eq!(text.parse(), Ok(ToldId(ToldAt { at, list, id })));
        }
        assert!(ids.is_sorted(), "{ids:?}");
        let (early, late) = (format!("ftevent-{:032x}", u128::MAX), format!("ftevent-{:032x}", u128::MAX >> 1));
        for wrong in ["41", "ftevent-41", "job-0198c0de000070008000000000000002", &early, &late] {
            assert_eq!(wrong.parse::<ToldId>(), Err(NoToldId), "{wrong}");
        }
    }
}
