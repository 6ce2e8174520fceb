//! `stepwise healthcheck`: one question to the running service, for container engines and service managers.

use std::time::Duration;

use clap::Args;

use super::{CommandError, launch};
use crate::{config::GivenSettings, outbound::install_tls};

/// A probe that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// What to ask.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    given: GivenSettings,
    /// Ask whether it is ready for work (/readyz), not only whether it is alive (/healthz)
    #[arg(long)]
    ready: bool,
}

/// Succeeds when the service says yes.
pub fn run(arguments: &Arguments) -> Result<(), CommandError> {
    let settings = arguments.given.read().accept("healthcheck")?;
    let url = format!("{}/{}", settings.url, if arguments.ready { "readyz" } else { "healthz" });
    launch::block_on(async {
        install_tls();
        let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build()?;
        let reply =
            client.get(&url).send().await.map_err(|error| format!("{url} does not answer: {}", error.without_url()))?;
        let (status, body) = (reply.status(), reply.text().await.unwrap_or_default());
        super::print(&format!("{} {body}\n", status.as_u16()))?;
        if status.is_success() { Ok(()) } else { Err(format!("{url} answered {status}").into()) }
    })
}
