//! `stepwise work`: a worker.

use super::{
    CommandError,
    launch::{self, Parts},
    preflight,
};
use crate::{config::GivenSettings, shutdown};

/// Works until a signal, then gives its jobs back to the queue.
pub fn run(given: &GivenSettings) -> Result<(), CommandError> {
    let settings = preflight::settings_for("work", given)?;
    let url = launch::database_url(&settings);
    launch::block_on(async {
        let shutdown = shutdown::on_signal()?;
        let parts = Parts::assemble(settings, url)?;
        parts.migrate(&shutdown).await?;
        let worked = parts.work(&shutdown).await;
        parts.engine.stop().await;
        worked
    })
}
