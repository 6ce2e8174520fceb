//! `stepwise work`: a worker.

use super::{
    CommandError,
    launch::{self, Parts},
    require_database,
};
use crate::{config::GivenSettings, shutdown};

/// Works until a signal, then gives its jobs back to the queue.
pub fn run(given: GivenSettings) -> Result<(), CommandError> {
    let settings = given.resolve()?;
    let url = require_database(settings.database_url.as_deref())?;
    launch::block_on(async {
        let shutdown = shutdown::on_signal()?;
        let parts = Parts::assemble(settings, url)?;
        parts.migrate(&shutdown).await?;
        let worked = parts.work(&shutdown).await;
        parts.engine.stop().await;
        worked
    })
}
