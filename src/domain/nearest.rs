//! Help with a name that is not known.

/// The end of a sentence about an unknown name: the nearest known one if one is near, and what is known.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let closeness = |candidate: &str| strsim::jaro_winkler(&name.to_lowercase(), &candidate.to_lowercase());
    let best = known.iter().max_by(|left, right| closeness(left).total_cmp(&closeness(right)));
    let list = known.iter().take(30).copied().collect::<Vec<_>>().join(", ");
    match best {
        None => String::new(),
        Some(best) if closeness(best) > 0.8 => format!("; did you mean {best:?}? (known: {list})"),
        Some(_) => format!("; known: {list}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_offered_and_a_far_one_is_not() {
        assert_eq!(nearest("treads", ["threads", "listen"]), "; did you mean \"threads\"? (known: threads, listen)");
        assert_eq!(nearest("zzz", ["threads"]), "; known: threads");
        assert_eq!(nearest("zzz", []), "");
    }
}
