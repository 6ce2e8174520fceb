//! How often the scripted teacher does what wrong.

use std::str::FromStr;

/// The share of calls that meet each fault; what is left goes well.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FaultMix {
    /// 429, half with `Retry-After` in seconds and half with a date; one in twenty absurd.
    pub limited: f64,
    /// 500, 502 or 529.
    pub failing: f64,
    /// The connection breaks after the reply's head.
    pub reset: f64,
    /// Nothing comes for two minutes.
    pub hang: f64,
    /// A byte a second.
    pub trickle: f64,
    /// 200, and garbage, truncated JSON, no choices, a label of no set, an answer cut at its length, or 100 MB.
    pub bad: f64,
    /// The same answer twice in one reply.
    pub twice: f64,
}

impl Default for FaultMix {
    fn default() -> Self {
        Self { limited: 0.10, failing: 0.10, reset: 0.05, hang: 0.05, trickle: 0.05, bad: 0.05, twice: 0.02 }
    }
}

/// `limited=0.2,hang=0.1`: what is not named does not happen.
impl FromStr for FaultMix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut mix = Self { limited: 0.0, failing: 0.0, reset: 0.0, hang: 0.0, trickle: 0.0, bad: 0.0, twice: 0.0 };
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (name, share) =
                part.split_once('=').ok_or_else(|| format!("{part:?} is not of the form name=share"))?;
            *mix.share(name.trim())? =
                share.trim().parse().map_err(|_| format!("{share:?} is not a share between 0 and 1"))?;
        }
        let shares = [mix.limited, mix.failing, mix.reset, mix.hang, mix.trickle, mix.bad, mix.twice];
        if shares.iter().any(|share| !(0.0..=1.0).contains(share)) || shares.iter().sum::<f64>() > 1.0 + 1e-9 {
            return Err("shares must be between 0 and 1, and no more than 1 together".to_owned());
        }
        Ok(mix)
    }
}

impl FaultMix {
    fn share(&mut self, name: &str) -> Result<&mut f64, String> {
        Ok(match name {
            "limited" => &mut self.limited,
            "failing" => &mut self.failing,
            "reset" => &mut self.reset,
            "hang" => &mut self.hang,
            "trickle" => &mut self.trickle,
            "bad" => &mut self.bad,
            "twice" => &mut self.twice,
            _ => return Err(format!("no fault {name:?}: limited, failing, reset, hang, trickle, bad, twice")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_written_as_shares() {
        let mix: FaultMix = "limited=0.25, hang=0.5".parse().unwrap();
        assert_eq!((mix.limited, mix.hang, mix.reset), (0.25, 0.5, 0.0));
        for wrong in ["limited", "slow=0.1", "hang=much", "hang=0.6,reset=0.6", "hang=-1"] {
            assert!(wrong.parse::<FaultMix>().is_err(), "{wrong}");
        }
    }
}
