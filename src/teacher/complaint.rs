//! What an error reply says, and what that means: as messages, ledger and log show it, shortened and without the API key.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use super::{TeacherError, parameters};
use crate::domain::Secret;

/// Characters of an error reply that are kept.
const MAX_CHARS: usize = 400;

/// What an error reply says: OpenAI's `error.message`, or plain text of other servers.
pub(super) struct Complaint {
    pub(super) message: String,
    /// A name or a status; empty where there is none.
    pub(super) code: String,
}

impl Complaint {
    /// What this body says.
    pub(super) fn read(body: &[u8], key: Option<&Secret>) -> Self {
        let reply: Value = serde_json::from_slice(body).unwrap_or_default();
        let error = &reply["error"];
        let told =
            [&error["message"], error, &reply["detail"], &reply["message"]].into_iter().find_map(|told| told.as_str());
        let text = told.map_or_else(|| String::from_utf8_lossy(body), Into::into);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        // Before it is shortened: a key across the cut would leave its beginning.
        let message = without_key(text, key).chars().take(MAX_CHARS).collect();
        let code = error["code"].as_str().map(str::to_owned);
        Self { message, code: code.or_else(|| Some(error["code"].as_u64()?.to_string())).unwrap_or_default() }
    }

    /// The error of a call to `teacher` that was answered with this status.
    pub(super) fn into_error(self, teacher: &str, status: StatusCode, retry_after: Option<Duration>) -> TeacherError {
        let (Self { message, code }, teacher) = (self, teacher.to_owned());
        match status {
            // A spent quota does not come back by waiting, nor does a model or a path that is not there.
            StatusCode::PAYMENT_REQUIRED | StatusCode::NOT_FOUND => {
                TeacherError::NotServed { teacher, status, message }
            }
            _ if matches!(code.as_str(), "insufficient_quota" | "model_not_found") => {
                TeacherError::NotServed { teacher, status, message }
            }
            StatusCode::TOO_MANY_REQUESTS => TeacherError::RateLimited { teacher, message, retry_after },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => TeacherError::RefusedKey { teacher, status, message },
            _ => TeacherError::Status { teacher, status, message: advised(status, message), retry_after },
        }
    }
}

/// What was said of a request that was not taken, with what to set where that is about a parameter.
fn advised(status: StatusCode, message: String) -> String {
    let remedy = parameters::remedy(&message).filter(|_| status.is_client_error());
    match remedy {
        Some(remedy) => format!("{message}; set `{remedy}` in its [[teachers]] table"),
        None => message,
    }
}

/// Some servers repeat the key that they refuse.
pub(super) fn without_key(text: String, key: Option<&Secret>) -> String {
    key.map_or(text.clone(), |key| text.replace(key.reveal(), "…"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> (String, String) {
        let key = Secret::new("sk-0123456789".to_owned());
        let Complaint { message, code } = Complaint::read(body.as_bytes(), Some(&key));
        (message, code)
    }

    #[test]
    fn each_servers_words_and_code_are_found() {
        for (body, message, code) in [
            (r#"{"error":{"message":"no  such\nmodel","code":"model_not_found"}}"#, "no such model", "model_not_found"),
            (r#"{"error":{"message":"no model","code":404}}"#, "no model", "404"),
            (r#"{"error":"no model"}"#, "no model", ""),
            (r#"{"detail":"Not Found"}"#, "Not Found", ""),
            ("404 page not found", "404 page not found", ""),
        ] {
            assert_eq!(read(body), (message.to_owned(), code.to_owned()));
        }
    }

    #[test]
    fn no_part_of_a_key_is_left_at_the_cut() {
        for before in MAX_CHARS - 14..=MAX_CHARS {
            let (message, _) = read(&format!("{}sk-0123456789 is wrong", "x".repeat(before)));
            assert!(!message.contains("sk"), "{message}");
            assert!(message.chars().count() <= MAX_CHARS);
        }
    }
}
