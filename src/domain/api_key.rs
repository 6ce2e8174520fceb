//! API keys: what they may do, and how one is written. A key is `sw_`, its id, `_`, its secret and a checksum:
//!
//! ```text
//! sw_ 1hTqe9Xb _ 3mB…44 letters and digits…Zk 0aB3xQ
//!     id: 8      secret: 32 random bytes      CRC-32 of all before it: 6
//! ```
//! The id is no secret: lists, logs and the audit log name a key by it. The secret is shown when the key is made and stored
//! nowhere; the service keeps its SHA-256, which is enough because a secret of 256 random bits cannot be guessed. The checksum
//! tells a slip of the pen from a wrong key without asking a database, and lets scanners know a key where it was left lying.

use std::{collections::BTreeSet, fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use utoipa::ToSchema;

use super::{ProjectId, Secret, UnknownName, unknown_name::by_name};

/// What every key begins with.
const MARK: &str = "sw_";
/// Letters and digits of an id.
const ID_LENGTH: usize = 8;
/// Those of half a secret: the largest number of 128 bits has so many.
const HALF_LENGTH: usize = 22;
/// Those of a checksum.
const CHECKSUM_LENGTH: usize = 6;
/// Random bytes that a new key takes: for its id, then for its secret.
pub const KEY_ENTROPY: usize = 40;

/// What a key may do. None includes another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Look at files, jobs, models and what they have told.
    Read,
    /// Upload files; submit jobs, and cancel, pause, resume and retry them.
    Submit,
    /// Ask students.
    Infer,
    /// Delete, move aliases, and look at the audit log.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Read, Self::Submit, Self::Infer, Self::Admin];

    /// The scope's name in SQL, JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Submit => "submit",
            Self::Infer => "infer",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        by_name("scope", &Self::ALL, Self::as_str, name)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Names a key: 8 letters and digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(String);

impl KeyId {
    /// The id as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        let fits = text.len() == ID_LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if fits { Ok(Self(text.to_owned())) } else { Err(NoKey) }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no key: another form, or another checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("that is not a whole API key")]
pub struct NoKey;

/// What is stored of a secret.
#[derive(Clone, Copy)]
pub struct KeyDigest(pub [u8; 32]);

impl KeyDigest {
    /// Whether both are of one secret; takes as long whether or not they are.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(…)")
    }
}

/// A key as its holder has it. Nothing prints its secret but [`KeyText::reveal`].
#[derive(Debug, Clone)]
pub struct KeyText {
    /// Which key it is, or says it is.
    pub id: KeyId,
    secret: Secret,
}

impl KeyText {
    /// A new key of these random bytes.
    pub fn new(chance: &[u8; KEY_ENTROPY]) -> Self {
        let number = |from: usize, to: usize| {
            chance[from..to].iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte))
        };
        let id = number(0, 8) % 62_u128.pow(8);
        let secret = format!("{}{}", digits(number(8, 24), HALF_LENGTH), digits(number(24, 40), HALF_LENGTH));
        Self { id: KeyId(digits(id, ID_LENGTH)), secret: Secret::new(secret) }
    }

    /// Reads a key. Asks nobody whether there is such a one.
    ///
    /// # Errors
    /// [`NoKey`], which does not repeat the text.
    pub fn parse(text: &str) -> Result<Self, NoKey> {
        if !text.is_ascii() || text.len() != MARK.len() + ID_LENGTH + 1 + 2 * HALF_LENGTH + CHECKSUM_LENGTH {
            return Err(NoKey);
        }
        let (body, sum) = text.split_at(text.len() - CHECKSUM_LENGTH);
        let (id, secret) = body.strip_prefix(MARK).and_then(|rest| rest.split_once('_')).ok_or(NoKey)?;
        let is_plain = secret.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_plain || sum != checksum(body) {
            return Err(NoKey);
        }
        Ok(Self { id: id.parse()?, secret: Secret::new(secret.to_owned()) })
    }

    /// The whole key, for whoever it is made for and for nobody else.
    pub fn reveal(&self) -> String {
        let body = format!("{MARK}{}_{}", self.id, self.secret.reveal());
        let sum = checksum(&body);
        body + &sum
    }

    /// What is stored of its secret.
    pub fn digest(&self) -> KeyDigest {
        KeyDigest(Sha256::digest(self.secret.reveal()).into())
    }

    /// Its end, by which its holder knows it again. It is of the checksum, and so tells little of the secret.
    pub fn last_four(&self) -> String {
        let whole = self.reveal();
        whole[whole.len() - 4..].to_owned()
    }
}

fn checksum(body: &str) -> String {
    digits(u128::from(crc32fast::hash(body.as_bytes())), CHECKSUM_LENGTH)
}

/// A number in base 62, always of this length.
fn digits(number: u128, length: usize) -> String {
    format!("{:0>length$}", base62::encode(number))
}

/// A key as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    /// Whose rows it reaches.
    pub project_id: ProjectId,
    /// What people call that project.
    pub project: String,
    /// What people call it.
    pub name: String,
    /// How it ends.
    pub last_four: String,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// From when on it is refused.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was last used, to about two minutes.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Whether its time is over.
    pub is_expired: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> KeyText {
        KeyText::new(&std::array::from_fn(|index| u8::try_from(index).unwrap() * 5))
    }

    #[test]
    fn a_key_survives_a_round_trip_and_hides_its_secret() {
        let (key, text) = (key(), key().reveal());
        assert_eq!(text.len(), 62);
        let read = KeyText::parse(&text).unwrap();
        assert_eq!((&read.id, read.reveal()), (&key.id, text.clone()));
        assert!(read.digest().matches(&key.digest()) && text.ends_with(&key.last_four()));
        assert!(!format!("{key:?} {:?}", key.digest()).contains(key.secret.reveal()));
    }

    #[test]
    fn bytes_of_zeros_and_of_ones_make_keys_of_the_same_form() {
        for byte in [0, 255] {
            KeyText::parse(&KeyText::new(&[byte; KEY_ENTROPY]).reveal()).unwrap();
        }
    }

    #[test]
    fn every_wrong_letter_is_noticed() {
        let text = key().reveal();
        for place in 0..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[place] = if wrong[place] == b'x' { b'y' } else { b'x' };
            assert!(KeyText::parse(std::str::from_utf8(&wrong).unwrap()).is_err(), "letter {place}");
        }
        for wrong in ["", "sw_", &text[..61], &format!("{text}0"), &text.replace('_', "-"), "ü".repeat(31).as_str()] {
            assert!(KeyText::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn another_secret_has_another_digest() {
        let other = KeyText::new(&[9; KEY_ENTROPY]);
        assert!(!key().digest().matches(&other.digest()));
    }
}
