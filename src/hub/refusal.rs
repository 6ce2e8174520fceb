//! What the Hub means by a status that is no success. It answers 401 to whom it does not know, whether a model is missing,
//! private or gated; `X-Error-Code` says more.

use chrono::{DateTime, Utc};
use reqwest::{Response, StatusCode, Url};

use super::{HubError, remote::Remote};
use crate::{domain::HubId, outbound::retry};

/// The error of a response.
pub fn of(remote: &Remote, id: &HubId, url: &Url, response: Response, now: DateTime<Utc>) -> HubError {
    let (status, headers) = (response.status(), response.headers());
    let code = headers.get("x-error-code").and_then(|code| code.to_str().ok()).unwrap_or_default();
    let retry_after = retry::retry_after(headers, now);
    if !remote.is_own(url) {
        // An address that was signed for us and has expired, perhaps: the way through the endpoint gives a new one.
        let host = url.host_str().unwrap_or_default().to_owned();
        return HubError::Storage { host, status, retry_after };
    }
    let (id, endpoint, has_token) = (id.clone(), remote.endpoint(), remote.settings.token.is_some());
    let missing = |advice| HubError::NotFound { id: id.clone(), endpoint: endpoint.clone(), advice };
    let refused = |advice| HubError::Refused { id: id.clone(), endpoint: endpoint.clone(), status, advice };
    match (code, status) {
        ("GatedRepo", _) => refused(gated(&endpoint, &id, has_token)),
        ("RevisionNotFound", _) => missing("it has no such revision; look for the branch, tag or commit there"),
        ("EntryNotFound", _) => missing("a file that it lists is not there; try again later, or name a commit"),
        (_, StatusCode::FORBIDDEN) if has_token => {
            refused("the token (HF_TOKEN) may not read it; use one that may".to_owned())
        }
        (_, StatusCode::FORBIDDEN) => refused("it wants a token that may read it, in HF_TOKEN".to_owned()),
        (_, StatusCode::UNAUTHORIZED) if has_token && code != "RepoNotFound" => {
            refused("it does not take the token (HF_TOKEN); make a new one in your account there".to_owned())
        }
        (_, StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND) if has_token => {
            missing("check how the id is spelled, and that the token (HF_TOKEN) is of an account that sees it")
        }
        (_, StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND) => {
            missing("check how the id is spelled; a private or gated model needs a token in HF_TOKEN")
        }
        (_, StatusCode::TOO_MANY_REQUESTS) => HubError::RateLimited { endpoint, retry_after },
        _ => HubError::Status { endpoint, path: url.path().to_owned(), status, retry_after },
    }
}

fn gated(endpoint: &str, id: &HubId, has_token: bool) -> String {
    let terms = format!("it is gated: accept its terms at {endpoint}/{}", id.repository());
    if has_token {
        format!("{terms} with the account of the token (HF_TOKEN)")
    } else {
        format!("{terms}, and set HF_TOKEN to a token of that account")
    }
}
