//! Names of models that nobody has named.

use super::{ID_PREFIXES, JobId, Method};

/// Characters of a base's name that are taken.
const BASE: usize = 80;
/// Characters of a name, less those that stand around base and word.
const BASE_AND_WORD: usize = 128 - "from---1a2b3c".len();

/// What a model is called that a job makes of `base`: `from-scratch-step-by-step-1a2b3c`.
pub fn default_model_name(base: &str, method: Method, job: JobId) -> String {
    named_after(base, &method.as_str().replace('_', "-"), job)
}

/// The same with a word of the user's own, which has a model name's characters, 64 at most: `flan-t5-small-desk-1a2b3c`.
///
/// A folder may have any name; a model's has an alphabet.
pub fn named_after(base: &str, word: &str, job: JobId) -> String {
    let id = job.0.simple().to_string();
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let base: String = base.chars().map(plain).take(BASE.min(BASE_AND_WORD - word.len())).collect();
    let base = base.trim_start_matches(['.', '-']);
    // A checkpoint of a job that has made no model is called after the job.
    let from = if ID_PREFIXES.iter().any(|prefix| base.starts_with(prefix)) { "from-" } else { "" };
    format!("{from}{base}-{word}-{}", &id[id.len() - 6..])
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_default_name_is_plain_and_never_looks_like_an_id() {
        let name = |base: &str| default_model_name(base, Method::StepByStep, JobId(Uuid::from_u128(0xabc)));
        assert_eq!(name("from_scratch"), "from-scratch-step-by-step-000abc");
        assert_eq!(name("../T5 (mine)"), "T5--mine--step-by-step-000abc");
        assert_eq!(name("job-1:ckpt-step-2"), "from-job-1-ckpt-step-2-step-by-step-000abc");
    }

    #[test]
    fn a_name_is_never_longer_than_a_models_may_be() {
        let name = |base: &str| named_after(base, &"w".repeat(64), JobId(Uuid::from_u128(0xabc)));
        assert_eq!((name(&"b".repeat(200)).len(), name(&format!("job-{}", "b".repeat(200))).len()), (123, 128));
    }
}
