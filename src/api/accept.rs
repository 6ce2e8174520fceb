//! What a client can read, by its header `Accept`.

use axum::http::{HeaderMap, header};

/// The first media type of the header, in its order, that is among `offered`. Weights are not read: nobody sends them here.
pub fn named(headers: &HeaderMap, offered: &[&'static str]) -> Option<&'static str> {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accept.flat_map(|value| value.split(',')).find_map(|part| {
        let essence = part.split(';').next().unwrap_or_default().trim();
        offered.iter().find(|media| essence.eq_ignore_ascii_case(media)).copied()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_media_type_that_is_offered_is_taken() {
        let offered = ["application/jsonl", "application/x-ndjson"];
        for (accept, taken) in [
            ("application/jsonl", Some("application/jsonl")),
            ("text/html, Application/X-NDJSON;q=0.9, application/jsonl", Some("application/x-ndjson")),
            ("application/json", None),
            ("*/*", None),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
            assert_eq!(named(&headers, &offered), taken, "{accept}");
        }
        assert_eq!(named(&HeaderMap::new(), &offered), None);
    }
}
