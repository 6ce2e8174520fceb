//! What of a request a teacher may want otherwise: reasoning models refuse `max_tokens`, `temperature` and `stop`, and some
//! servers every member that they do not know.

use serde::Deserialize;

/// By which name the limit on an answer's tokens is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensParameter {
    /// What most self-hosted servers know.
    #[default]
    MaxTokens,
    /// What OpenAI's reasoning models want; their thoughts count.
    MaxCompletionTokens,
}

/// What a request can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dispensable {
    /// The teacher then samples at a temperature of its own.
    Temperature,
    /// A teacher that runs on is cut when its answer is read, and paid for until then.
    Stop,
    /// Samples then differ by chance alone.
    Seed,
    /// The header `Idempotency-Key`: a question that is asked again is then paid for again.
    IdempotencyKey,
}

/// By what words servers say that they do not want a parameter.
const UNWANTED: [&str; 8] =
    ["unsupported", "not support", "unrecognized", "unknown", "unexpected", "not permitted", "not allowed", "extra"];
/// A parameter as complaints spell it, and what to set in the teacher's table.
const REMEDIES: [(&str, &str); 6] = [
    ("max_tokens", "max_tokens_parameter = \"max_completion_tokens\""),
    ("temperature", "leave_out = [\"temperature\"]"),
    ("stop", "leave_out = [\"stop\"]"),
    ("seed", "leave_out = [\"seed\"]"),
    ("idempotency", "leave_out = [\"idempotency_key\"]"),
    ("response_format", "json_schema = false"),
];

/// What to set where a complaint is about a parameter.
pub(super) fn remedy(complaint: &str) -> Option<&'static str> {
    let complaint = complaint.to_lowercase();
    let is_unwanted = UNWANTED.iter().any(|word| complaint.contains(word));
    let words = || complaint.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let named = REMEDIES.into_iter().find(|(parameter, _)| words().any(|word| word == *parameter));
    named.filter(|_| is_unwanted).map(|(_, remedy)| remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_parameter_has_its_remedy_and_other_complaints_have_none() {
        for (complaint, part) in [
            (
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
                Some("max_tokens_parameter"),
            ),
            ("Unsupported value: 'temperature' does not support 0 with this model.", Some("[\"temperature\"]")),
            ("body.seed: Extra inputs are not permitted", Some("[\"seed\"]")),
            ("response_format is not supported", Some("json_schema")),
            ("Header Idempotency-Key is not allowed", Some("idempotency_key")),
            ("max_tokens is too large: 16384", None),
            ("This model's maximum context length is 4096 tokens", None),
            ("nonstop is unknown", None),
        ] {
            let found = remedy(complaint);
            assert_eq!(found.is_some(), part.is_some(), "{complaint}: {found:?}");
            assert!(found.unwrap_or_default().contains(part.unwrap_or_default()), "{complaint}: {found:?}");
        }
    }
}
