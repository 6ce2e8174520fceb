//! Parameters that several of OpenAI's routes share, and the refusal of what a student cannot do.

use serde_json::{Map, Value};

use super::forms::OneOrMoreTexts;
use crate::api::resolve::Refusals;

/// Tokens that an answer may have at most: the engine sets memory aside for all of them.
pub const MAX_TOKENS: u32 = 2048;
const MAX_STOPS: usize = 4;

/// Refuses a parameter by its name where it `asks` for something. Its neutral value asks for nothing, so a client that sends
/// every parameter is served.
pub fn unsupported(refusals: &mut Refusals, name: &str, asks: bool, advice: &str) {
    if asks {
        let detail = format!("{name} is not supported with this value; {advice}");
        refusals.add(format!("#/{name}"), "unsupported_parameter", detail);
    }
}

/// Penalties and biases change the tokens' scores; students are asked as they were trained.
pub fn check_scores(
    refusals: &mut Refusals,
    [presence, frequency]: [Option<f64>; 2],
    bias: Option<&Map<String, Value>>,
) {
    let asks = |penalty: Option<f64>| penalty.is_some_and(|penalty| penalty != 0.0);
    unsupported(refusals, "presence_penalty", asks(presence), "send 0");
    unsupported(refusals, "frequency_penalty", asks(frequency), "send 0");
    unsupported(refusals, "logit_bias", bias.is_some_and(|bias| !bias.is_empty()), "leave it out");
}

/// The tokens that an answer may have.
pub fn check_max_tokens(refusals: &mut Refusals, name: &str, given: Option<u32>) {
    let tokens = given.unwrap_or(1);
    refusals.require((1..=MAX_TOKENS).contains(&tokens), &format!("#/{name}"), || {
        format!("{name} is {tokens}; send 1 to {MAX_TOKENS}")
    });
}

/// The texts to stop at.
pub fn stops(refusals: &mut Refusals, given: Option<OneOrMoreTexts>) -> Vec<String> {
    let stops = given.map(OneOrMoreTexts::into_texts).unwrap_or_default();
    refusals.require(stops.len() <= MAX_STOPS, "#/stop", || format!("{} texts; send {MAX_STOPS} at most", stops.len()));
    refusals.require(stops.iter().all(|stop| !stop.is_empty()), "#/stop", || "a text to stop at is empty".to_owned());
    stops
}
