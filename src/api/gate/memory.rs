//! What the gate remembers: keys that were good of late, addresses that wrong ones came from, and whether there are keys at
//! all. Bounded, the least recently used goes first. It knows no database.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroUsize,
};

use chrono::{DateTime, TimeDelta, Utc};
use lru::LruCache;

use super::{MOST_FAILURES, Peer};
use crate::{
    api::ApiError,
    domain::{KeyDigest, KeyId, ProjectId, Scope},
};

/// Keys that are remembered.
const MOST_KEYS: NonZeroUsize = NonZeroUsize::new(4096).expect("it is not zero");
/// Addresses that are.
const MOST_ADDRESSES: NonZeroUsize = NonZeroUsize::new(4096).expect("it is not zero");
/// The time in which wrong keys are counted together.
const WINDOW: TimeDelta = TimeDelta::minutes(1);

/// All of it.
#[derive(Debug)]
pub struct Memory {
    keys: LruCache<KeyId, Known>,
    pub failures: Failures,
    made: Option<(DateTime<Utc>, bool)>,
}

/// A key that was good.
#[derive(Debug, Clone)]
pub struct Known {
    pub digest: KeyDigest,
    pub project: ProjectId,
    pub scopes: BTreeSet<Scope>,
    /// When the database said so.
    pub at: DateTime<Utc>,
    /// How long that holds.
    pub until: DateTime<Utc>,
}

impl Known {
    /// Whether it need not be looked up again. A clock that was put back makes nothing last longer.
    pub fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        self.at <= now && now < self.until
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self { keys: LruCache::new(MOST_KEYS), failures: Failures::default(), made: None }
    }
}

impl Memory {
    /// Whether keys were made, where that was looked at within this time. Once there are keys there always are.
    pub fn keys_are_made(&self, now: DateTime<Utc>, within: TimeDelta) -> Option<bool> {
        let (at, made) = self.made?;
        (made || at <= now && now < at + within).then_some(made)
    }

    pub fn note_keys_made(&mut self, made: bool, now: DateTime<Utc>) {
        self.made = Some((now, made));
    }

    /// A key that was good once, fresh or not, by its id and its secret.
    pub fn find(&mut self, id: &KeyId, digest: &KeyDigest) -> Option<Known> {
        self.keys.get(id).filter(|known| known.digest.matches(digest)).cloned()
    }

    pub fn remember(&mut self, id: KeyId, known: Known) {
        self.keys.put(id, known);
    }

    pub fn forget(&mut self, id: &KeyId) {
        self.keys.pop(id);
    }
}

/// How many wrong keys came from where.
#[derive(Debug)]
pub struct Failures(LruCache<IpAddr, (DateTime<Utc>, u32)>);

impl Default for Failures {
    fn default() -> Self {
        Self(LruCache::new(MOST_ADDRESSES))
    }
}

impl Failures {
    /// Refuses where too many came.
    pub fn refuse(&mut self, peer: Option<Peer>, now: DateTime<Utc>) -> Result<(), ApiError> {
        let Some((since, count)) = peer.and_then(|peer| self.0.get(&network(peer.0)).copied()) else { return Ok(()) };
        let left = since + WINDOW - now;
        if count < MOST_FAILURES || since > now || left <= TimeDelta::zero() {
            return Ok(());
        }
        Err(ApiError::TooManyWrongKeys { seconds: u64::try_from(left.num_seconds()).unwrap_or_default() + 1 })
    }

    /// Counts one more.
    pub fn count(&mut self, peer: Option<Peer>, now: DateTime<Utc>) {
        let Some(Peer(address)) = peer else { return };
        let window = self.0.get_or_insert_mut(network(address), || (now, 0));
        if window.0 > now || now >= window.0 + WINDOW {
            *window = (now, 0);
        }
        window.1 = window.1.saturating_add(1);
    }
}

/// Whoever has one IPv6 address has the 2^64 of its network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn peer(address: &str) -> Option<Peer> {
        Some(Peer(address.parse().unwrap()))
    }

    #[test]
    fn wrong_keys_are_counted_by_address_and_minute() {
        let mut failures = Failures::default();
        for _ in 0..MOST_FAILURES {
            failures.refuse(peer("10.0.0.1"), at(0)).unwrap();
            failures.count(peer("10.0.0.1"), at(0));
        }
        let refused = failures.refuse(peer("10.0.0.1"), at(20));
        assert!(matches!(refused, Err(ApiError::TooManyWrongKeys { seconds: 41 })), "{refused:?}");
        failures.refuse(peer("10.0.0.2"), at(20)).unwrap();
        failures.refuse(peer("10.0.0.1"), at(60)).unwrap();
        failures.count(peer("10.0.0.1"), at(60));
        failures.refuse(peer("10.0.0.1"), at(61)).unwrap();
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_and_a_mapped_address_as_itself() {
        let network = |text: &str| network(text.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1"));
    }

    #[test]
    fn a_flood_of_addresses_does_not_grow_the_memory() {
        let mut failures = Failures::default();
        for number in 0..20_000_u32 {
            failures.count(Some(Peer(IpAddr::V4(number.into()))), at(0));
        }
        assert_eq!(failures.0.len(), MOST_ADDRESSES.get());
    }

    #[test]
    fn what_was_said_holds_for_a_while_and_keys_that_were_made_for_ever() {
        let mut memory = Memory::default();
        let within = TimeDelta::seconds(30);
        assert_eq!(memory.keys_are_made(at(0), within), None);
        memory.note_keys_made(false, at(0));
        assert_eq!(memory.keys_are_made(at(29), within), Some(false));
        assert_eq!(memory.keys_are_made(at(30), within), None);
        assert_eq!(memory.keys_are_made(at(-1), within), None, "the clock was put back");
        memory.note_keys_made(true, at(30));
        assert_eq!(memory.keys_are_made(at(9000), within), Some(true));
    }
}
