//! `stepwise up`: `serve` and `work` in one process, on a private PostgreSQL in the data directory.

use super::{
    CommandError,
    launch::{self, Parts},
    preflight,
};
use crate::{
    config::GivenSettings,
    postgres::Cluster,
    shutdown::{self, Shutdown},
};

/// The private cluster's database.
pub const DATABASE: &str = "stepwise";

/// Runs everything until a signal; the database is stopped last.
pub fn run(given: &GivenSettings) -> Result<(), CommandError> {
    let settings = preflight::settings_for("up", given)?;
    launch::block_on(async {
        let shutdown = shutdown::on_signal()?;
        std::fs::create_dir_all(&settings.data_dir)?;
        tracing::info!("starting the private PostgreSQL in {}", settings.data_dir.join("postgres").display());
        let cluster = Cluster::start(&settings.data_dir.join("postgres"))?;
        cluster.create_database(DATABASE).await?;
        let parts = Parts::assemble(settings, cluster.url(DATABASE))?;
        parts.migrate(&shutdown).await?;
        parts.refuse_without_keys().await?;
        let served = until_either(&parts, &shutdown).await;
        parts.engine.stop().await;
        drop(cluster);
        served
    })
}

/// When one half ends, the other is asked to end as well.
async fn until_either(parts: &Parts, shutdown: &Shutdown) -> Result<(), CommandError> {
    let (served, worked) = tokio::join!(
        async {
            let result = parts.serve(shutdown).await;
            shutdown.cancel();
            result
        },
        async {
            let result = parts.work(shutdown).await;
            shutdown.cancel();
            result
        },
    );
    served.and(worked)
}
