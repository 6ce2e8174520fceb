//! The one target of `rationale_then_label`: the rationale, a fixed sentence, the label. The trainer writes it and
//! whoever asks such a student reads it, so its form stands here once.

/// What stands between the rationale and the label. A rationale may hold it too: the last one counts.
pub const SEPARATOR: &str = "So the answer is:";

/// The target that teaches both.
pub fn join(rationale: &str, label: &str) -> String {
    format!("{} {}", rationale.trim(), ending(label))
}

/// What follows the rationale.
pub fn ending(label: &str) -> String {
    format!("{SEPARATOR} {}", label.trim())
}

/// The rationale and the label of a generated text; without a separator all of it is taken for the label.
pub fn split(text: &str) -> (Option<&str>, &str) {
    match text.rsplit_once(SEPARATOR) {
        Some((rationale, label)) => (Some(rationale.trim()).filter(|text| !text.is_empty()), label.trim()),
        None => (None, text.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_joined_comes_apart_again() {
        assert_eq!(split(&join("It is torn.", "exchange")), (Some("It is torn."), "exchange"));
        assert_eq!(split("So the answer is: a So the answer is: b"), (Some("So the answer is: a"), "b"));
        assert_eq!(split(" reject "), (None, "reject"));
    }
}
