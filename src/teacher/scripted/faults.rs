//! What the scripted teacher does wrong, on request: a mix of faults, by a seed. The fate of a call depends on its
//! question and on how often that was asked before, and on nothing else: whoever asks the same questions with the same
//! seed meets the same faults, in whatever order.

use std::time::Duration;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::mix::FaultMix;

/// How long a fault of each kind lasts before the scale is applied.
const HANG: Duration = Duration::from_secs(120);
const TRICKLE: Duration = Duration::from_secs(1);
/// Whatever the scale: faster bytes would be a slow reply and no trickle.
const FASTEST_TRICKLE: Duration = Duration::from_millis(25);
const LONGEST_WISH_SECONDS: f64 = 4.0;
/// What some servers ask for; none of it can be meant.
const ABSURD: [&str; 6] = ["-1", "soon", "31536000", "1e300", "Wed, 21 Oct 2195 07:28:00 GMT", ""];

/// Which faults happen, and how long they last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Faults {
    /// How often each happens.
    pub mix: FaultMix,
    /// Which calls meet them.
    pub seed: u64,
    /// What every duration is multiplied with; a test has no two minutes.
    pub scale: f64,
}

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fault {
    Limited(Wish),
    Failing(u16),
    Reset,
    Hang(Duration),
    Trickle(Duration),
    Garbage,
    Truncated,
    NoChoices,
    WrongLabel,
    CutShort,
    Huge(Announced),
    Twice,
}

/// What `Retry-After` says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Wish {
    Seconds(f64),
    Date(Duration),
    Absurd(&'static str),
}

/// Whether a body's head says how long it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Announced {
    Yes,
    No,
}

impl Fault {
    /// A name to count by.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Limited(_) => "limited",
            Self::Failing(_) => "failing",
            Self::Reset => "reset",
            Self::Hang(_) => "hang",
            Self::Trickle(_) => "trickle",
            Self::Garbage => "garbage",
            Self::Truncated => "truncated",
            Self::NoChoices => "no_choices",
            Self::WrongLabel => "wrong_label",
            Self::CutShort => "cut_short",
            Self::Huge(_) => "huge",
            Self::Twice => "twice",
        }
    }

    /// Whether the question is turned away before anybody has thought about it: that costs nothing.
    pub(super) fn turns_away(self) -> bool {
        matches!(self, Self::Limited(_) | Self::Failing(_))
    }

    /// Whether it is in the answer itself and not in its way: who remembers answers repeats it.
    pub(super) fn is_of_the_answer(self) -> bool {
        matches!(self, Self::WrongLabel | Self::CutShort)
    }
}

impl Faults {
    /// The fate of a question that was asked so often before.
    pub(super) fn fate(&self, question: u64, asked_before: u32) -> Option<Fault> {
        // Golden ratio: neighbors become far apart.
        let place = question ^ u64::from(asked_before).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ self.seed.rotate_left(32);
        let mut chance = ChaCha12Rng::seed_from_u64(place);
        let mut left: f64 = chance.random();
        let FaultMix { limited, failing, reset, hang, trickle, bad, twice } = self.mix;
        let mut falls = |share: f64| {
            left -= share;
            left < 0.0
        };
        if falls(limited) {
            Some(Fault::Limited(self.wish(&mut chance)))
        } else if falls(failing) {
            Some(Fault::Failing([500, 502, 529][chance.random_range(0..3)]))
        } else if falls(reset) {
            Some(Fault::Reset)
        } else if falls(hang) {
            Some(Fault::Hang(HANG.mul_f64(self.scale)))
        } else if falls(trickle) {
            Some(Fault::Trickle(TRICKLE.mul_f64(self.scale).max(FASTEST_TRICKLE)))
        } else if falls(bad) {
            Some(bad_reply(&mut chance))
        } else {
            falls(twice).then_some(Fault::Twice)
        }
    }

    fn wish(&self, chance: &mut impl Rng) -> Wish {
        let seconds = chance.random_range(0.0..LONGEST_WISH_SECONDS) * self.scale;
        if chance.random_bool(0.05) {
            Wish::Absurd(ABSURD[chance.random_range(0..ABSURD.len())])
        } else if chance.random_bool(0.5) {
            Wish::Seconds(seconds)
        } else {
            Wish::Date(Duration::from_secs_f64(seconds))
        }
    }
}

fn bad_reply(chance: &mut impl Rng) -> Fault {
    match chance.random_range(0..6) {
        0 => Fault::Garbage,
        1 => Fault::Truncated,
        2 => Fault::NoChoices,
        3 => Fault::WrongLabel,
        4 => Fault::CutShort,
        _ => Fault::Huge(if chance.random_bool(0.5) { Announced::Yes } else { Announced::No }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_mix_is_met_and_the_same_seed_has_the_same_fates() {
        let faults = Faults { mix: FaultMix::default(), seed: 4, scale: 0.01 };
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        for question in 0..20_000 {
            let fate = faults.fate(question, 1);
            assert_eq!(fate, faults.fate(question, 1));
            *counts.entry(fate.map_or("none", Fault::name)).or_default() += 1;
        }
        let share = |name: &str| f64::from(counts.get(name).copied().unwrap_or_default()) / 20_000.0;
        for (name, expected) in
            [("limited", 0.10), ("failing", 0.10), ("reset", 0.05), ("hang", 0.05), ("trickle", 0.05)]
        {
            assert!((share(name) - expected).abs() < 0.01, "{name}: {}", share(name));
        }
        for name in ["garbage", "truncated", "no_choices", "wrong_label", "cut_short", "huge"] {
            assert!((share(name) - 0.05 / 6.0).abs() < 0.004, "{name}: {}", share(name));
        }
        assert!((share("twice") - 0.02).abs() < 0.005);
        let again = (0..20_000).filter(|question| faults.fate(*question, 1) == faults.fate(*question, 2)).count();
        assert!(again < 12_000, "the second try has a fate of its own");
    }
}
