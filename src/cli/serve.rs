//! `stepwise serve`: the HTTP API and inference.

use super::{
    CommandError,
    launch::{self, Parts},
    preflight,
};
use crate::{config::GivenSettings, shutdown};

/// Serves until a signal. It answers at once, 503 until the database does.
pub fn run(given: &GivenSettings) -> Result<(), CommandError> {
    let settings = preflight::settings_for("serve", given)?;
    let url = launch::database_url(&settings);
    launch::block_on(async {
        let shutdown = shutdown::on_signal()?;
        let parts = Parts::assemble(settings, url)?;
        let migrated = async {
            parts.migrate(&shutdown).await?;
            if !shutdown.is_cancelled() {
                parts.refuse_without_keys().await?;
            }
            shutdown.cancelled().await;
            Ok::<_, CommandError>(())
        };
        let served = tokio::try_join!(parts.serve(&shutdown), migrated);
        parts.engine.stop().await;
        served.map(drop)
    })
}
