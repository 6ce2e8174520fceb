//! Calls to other servers: what a teacher's client and the Hub's have in common. A client of here follows no redirect by
//! itself, because a key would go along; whoever follows one decides what goes with it.

pub mod retry;

use std::net::IpAddr;

use reqwest::{ClientBuilder, Url, redirect};

/// Chooses the process's cryptography, which reqwest is built without. Every HTTP client needs it, even for plain http;
/// calling it again does nothing.
pub fn install_tls() {
    // An error means that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A client for the server at this address alone, without timeouts.
pub fn client_for(address: &Url) -> ClientBuilder {
    let builder = client_from(address);
    // Without this a machine that has no certificates could not even talk to a server beside it.
    if address.scheme() == "http" { builder.tls_certs_only([]) } else { builder }
}

/// A client for the server at this address and those that it sends on to, without timeouts. It cannot be built on a machine
/// that has no certificates.
pub fn client_from(address: &Url) -> ClientBuilder {
    install_tls();
    let builder = reqwest::Client::builder()
        .redirect(redirect::Policy::none())
        .user_agent(concat!("stepwise/", env!("CARGO_PKG_VERSION")));
    if is_this_machine(address) { builder.no_proxy() } else { builder }
}

fn is_this_machine(address: &Url) -> bool {
    let host = address.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
