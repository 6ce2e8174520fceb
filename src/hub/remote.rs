//! The Hub's routes, and trying again.

use std::sync::OnceLock;

use reqwest::{
    Client, Method, Response, Url,
    header::{CONTENT_LENGTH, ETAG},
};
use serde::Deserialize;

use super::{
    HubError, HubSettings,
    journey::{LINKED_DIGEST, LINKED_SIZE},
};
use crate::{
    clock::Clock,
    domain::{HubCommit, HubId},
    outbound::retry,
};

/// Bytes of a list of files; the largest honest ones have a few megabytes.
const MAX_LIST_BYTES: usize = 16 << 20;

/// The endpoint.
#[derive(Debug)]
pub struct Remote {
    pub settings: HubSettings,
    pub clock: Clock,
    /// Built when it is first needed: a machine that never asks the Hub needs no certificates.
    pub client: OnceLock<Client>,
}

/// What a revision means.
#[derive(Debug)]
pub struct Revision {
    pub commit: HubCommit,
    /// The files' paths.
    pub files: Vec<String>,
}

/// A file as the Hub knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    pub name: String,
    /// sha256 for a large file, another digest for a small one; the blob's name in the cache.
    pub digest: String,
    pub bytes: u64,
}

impl RemoteFile {
    /// The sha256 of its bytes, where the digest is one.
    pub fn sha256(&self) -> Option<&str> {
        (self.digest.len() == 64 && self.digest.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(&self.digest)
    }
}

/// What the Hub says of a revision; more than is read here.
#[derive(Deserialize)]
struct Info {
    sha: HubCommit,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

impl Remote {
    pub fn new(settings: HubSettings, clock: Clock) -> Self {
        Self { settings, clock, client: OnceLock::new() }
    }

    /// Who is asked, for messages.
    pub fn endpoint(&self) -> String {
        self.settings.endpoint.as_str().trim_end_matches('/').to_owned()
    }

    /// What the id's revision means now.
    pub async fn revision(&self, id: &HubId) -> Result<Revision, HubError> {
        let url = self.url(&["api", "models", id.owner(), id.name(), "revision", id.revision()]);
        self.patiently(|| self.ask_revision(id, &url)).await
    }

    async fn ask_revision(&self, id: &HubId, url: &Url) -> Result<Revision, HubError> {
        let (_, response) = self.send(Method::GET, id, url.clone(), None).await?;
        let body = self.body(response).await?;
        let info: Info = serde_json::from_slice(&body).map_err(|error| self.bad_reply(error.to_string()))?;
        // A commit means itself alone; a mirror that takes another one for it would have a job learn from other files.
        if id.commit().is_some_and(|asked| asked != info.sha) {
            return Err(self.bad_reply(format!("asked for {id}, it tells of the commit {}", info.sha)));
        }
        Ok(Revision { commit: info.sha, files: info.siblings.into_iter().map(|file| file.rfilename).collect() })
    }

    /// Digest and size of a file of a commit.
    pub async fn file(&self, id: &HubId, commit: &HubCommit, name: &str) -> Result<RemoteFile, HubError> {
        let url = self.file_url(id, commit, name);
        self.patiently(|| self.ask_file(id, &url, name)).await
    }

    async fn ask_file(&self, id: &HubId, url: &Url, name: &str) -> Result<RemoteFile, HubError> {
        let (headers, _) = self.send(Method::HEAD, id, url.clone(), None).await?;
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        // A large file's own digest and size; the redirect to its bytes has others.
        let digest = text(LINKED_DIGEST).or_else(|| text(ETAG.as_str())).and_then(digest_of);
        let bytes = text(LINKED_SIZE).or_else(|| text(CONTENT_LENGTH.as_str())).and_then(|text| text.parse().ok());
        match (digest, bytes) {
            (Some(digest), Some(bytes)) => Ok(RemoteFile { name: name.to_owned(), digest, bytes }),
            _ => Err(self.bad_reply(format!("it tells no digest and size of {name}"))),
        }
    }

    /// The bytes of a file from an offset on, in one try. The status tells whether the offset was heeded.
    pub async fn bytes(&self, id: &HubId, commit: &HubCommit, name: &str, from: u64) -> Result<Response, HubError> {
        let url = self.file_url(id, commit, name);
        Ok(self.send(Method::GET, id, url, (from > 0).then_some(from)).await?.1)
    }

    /// Tries again what fails in passing.
    async fn patiently<T, F: Future<Output = Result<T, HubError>>>(&self, ask: impl Fn() -> F) -> Result<T, HubError> {
        let mut failures = 0;
        loop {
            match ask().await {
                Err(error) if error.is_outage() => {
                    failures += 1;
                    self.pause(failures, error).await?;
                }
                ended => return ended,
            }
        }
    }

    /// Waits after so many failures in a row.
    ///
    /// # Errors
    /// The last failure, where it was one too many.
    pub async fn pause(&self, failures: u32, error: HubError) -> Result<(), HubError> {
        if failures >= self.settings.tries {
            return Err(error);
        }
        tracing::warn!(%error, failures, "the Hub is asked again");
        tokio::time::sleep(retry::pause(failures, error.retry_after())).await;
        Ok(())
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, HubError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            if body.len() + chunk.len() > MAX_LIST_BYTES {
                return Err(self.bad_reply(format!("its list of files has more than {MAX_LIST_BYTES} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// An address below the endpoint's; each segment is encoded.
    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.settings.endpoint.clone();
        url.path_segments_mut()
            .expect("the settings refuse an address that can have no path")
            .pop_if_empty()
            .extend(segments);
        url
    }

    fn file_url(&self, id: &HubId, commit: &HubCommit, name: &str) -> Url {
        self.url(&[id.owner(), id.name(), "resolve", commit.as_str(), name])
    }

    /// A failure of the network. The address may be a signed one, which is a secret for as long as it lives.
    pub fn unreachable(&self, error: reqwest::Error) -> HubError {
        HubError::Unreachable { endpoint: self.endpoint(), source: error.without_url() }
    }

    pub fn bad_reply(&self, reason: String) -> HubError {
        HubError::BadReply { endpoint: self.endpoint(), reason }
    }
}

/// `"abc"` and `W/"abc"` as `abc`, which is a file's name in the cache: nothing else is taken for a digest.
fn digest_of(tag: &str) -> Option<String> {
    let digest = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    ((1..=128).contains(&digest.len()) && digest.bytes().all(plain)).then(|| digest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_a_plain_name() {
        assert_eq!(digest_of("\"abc-2\"").as_deref(), Some("abc-2"));
        assert_eq!(digest_of("W/\"abc\"").as_deref(), Some("abc"));
        for tag in ["\"\"", "\"../../x\"", "\".hidden\"", "a/b", "a b"] {
            assert_eq!(digest_of(tag), None, "{tag}");
        }
    }
}
