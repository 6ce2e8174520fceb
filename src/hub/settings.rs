//! Where the Hub is, and where its cache.

use std::path::PathBuf;

use reqwest::Url;

use crate::domain::Secret;

/// Tries in a row that bring nothing before a download is given up.
const TRIES: u32 = 6;

/// How to reach the Hub.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// Its address, or a mirror's.
    pub endpoint: Url,
    /// The folder that has `models--owner--name`; it need not be there.
    pub cache: PathBuf,
    /// Sent to the endpoint and to nobody else.
    pub token: Option<Secret>,
    /// Whether nothing may be asked of it: what is in the cache is all there is.
    pub offline: bool,
    /// Tries in a row that bring nothing before a download is given up.
    pub tries: u32,
}

impl HubSettings {
    /// The Hub at this address, with its cache in this folder; asked without a token.
    ///
    /// # Errors
    /// Says what is wrong with the address.
    pub fn new(endpoint: &str, cache: PathBuf) -> Result<Self, String> {
        let endpoint: Url = endpoint.parse().map_err(|error| format!("{endpoint:?} is no address: {error}"))?;
        if !matches!(endpoint.scheme(), "http" | "https") || endpoint.cannot_be_a_base() {
            return Err(format!("{endpoint} must be an address such as https://huggingface.co"));
        }
        // It stands in messages.
        if !endpoint.username().is_empty() || endpoint.password().is_some() {
            return Err("the Hub's address must hold no user or password; a token belongs into HF_TOKEN".to_owned());
        }
        Ok(Self { endpoint, cache, token: None, offline: false, tries: TRIES })
    }
}
