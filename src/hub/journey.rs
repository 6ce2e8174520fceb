//! One request with its redirects, which are followed by hand: the token may go to the endpoint alone.

use std::time::Duration;

use reqwest::{
    Client, ClientBuilder, Method, Response, StatusCode, Url,
    header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RANGE},
};

use super::{HubError, refusal, remote::Remote};
use crate::{domain::HubId, outbound};

/// A connection that is not there after this long will not come.
const CONNECT: Duration = Duration::from_secs(10);
/// A server that has sent nothing for this long will send no more.
const SILENCE: Duration = Duration::from_secs(30);
/// The digest of a large file, on the redirect to its bytes.
pub const LINKED_DIGEST: &str = "x-linked-etag";
/// The size of a large file, on the redirect to its bytes.
pub const LINKED_SIZE: &str = "x-linked-size";
/// Redirects of one request; the Hub's own are one or two.
const MAX_HOPS: usize = 5;

impl Remote {
    /// Asks, and goes where the answer sends. Returned beside the last response: the headers of all, later ones over earlier
    /// ones. A `HEAD` of a large file ends where the Hub sends on to its storage, since it has told all by then.
    pub async fn send(
        &self,
        method: Method,
        id: &HubId,
        first: Url,
        from: Option<u64>,
    ) -> Result<(HeaderMap, Response), HubError> {
        let (mut url, mut told) = (first, HeaderMap::new());
        for _ in 0..=MAX_HOPS {
            let response = self.ask(method.clone(), &url, from).await?;
            let headers = response.headers().iter().map(|(name, value)| (Some(name.clone()), value.clone()));
            told.extend(headers);
            if !is_redirect(response.status()) {
                let heeded = response.status().is_success()
                    || from.is_some() && response.status() == StatusCode::RANGE_NOT_SATISFIABLE;
                return if heeded {
                    Ok((told, response))
                } else {
                    Err(refusal::of(self, id, &url, response, self.clock.now()))
                };
            }
            let next = self.next(&url, &response)?;
            let has_told = told.contains_key(LINKED_DIGEST) && told.contains_key(LINKED_SIZE);
            if method == Method::HEAD && !self.is_own(&next) && has_told {
                return Ok((told, response));
            }
            url = next;
        }
        Err(self.bad_reply(format!("it redirects more than {MAX_HOPS} times")))
    }

    async fn ask(&self, method: Method, url: &Url, from: Option<u64>) -> Result<Response, HubError> {
        // Compressed, a file would have another size and another digest.
        let mut request = self.client()?.request(method, url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(from) = from {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        if let Some(token) = self.settings.token.as_ref().filter(|_| self.is_own(url)) {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.reveal()))
                .expect("the configuration refuses a token that is not plain ASCII text");
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        request.send().await.map_err(|error| self.unreachable(error))
    }

    /// Where a redirect leads. From an encrypted connection it never leads to an open one.
    fn next(&self, from: &Url, response: &Response) -> Result<Url, HubError> {
        let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let next = location.and_then(|location| from.join(location).ok());
        let next = next.ok_or_else(|| self.bad_reply("it redirects to no address".to_owned()))?;
        match (from.scheme(), next.scheme()) {
            ("http" | "https", "https") | ("http", "http") => Ok(next),
            (_, scheme) => Err(self.bad_reply(format!("it redirects to an address of {scheme}"))),
        }
    }

    fn client(&self) -> Result<&Client, HubError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let endpoint = &self.settings.endpoint;
        let timed = |builder: ClientBuilder| builder.connect_timeout(CONNECT).read_timeout(SILENCE).build();
        let built = timed(outbound::client_from(endpoint)).or_else(|error| {
            // A mirror beside us needs no certificates.
            if endpoint.scheme() == "http" { timed(outbound::client_for(endpoint)) } else { Err(error) }
        });
        let built = built.map_err(|error| self.unreachable(error))?;
        Ok(self.client.get_or_init(|| built))
    }

    /// Whether an address is the endpoint's own.
    pub fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.settings.endpoint.origin()
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}
