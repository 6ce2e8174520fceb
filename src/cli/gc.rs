//! `stepwise gc`: what workers remove now and then, at once; or a list of it.

use std::io::Write;

use clap::Args;

use super::{
    CommandError,
    launch::{self, Shelves},
    preflight,
};
use crate::{
    clock::Clock,
    config::GivenSettings,
    worker::{Places, find_leftovers},
};

/// Whether to remove it.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Remove nothing: print what would be removed, and its bytes
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    given: GivenSettings,
}

/// Prints a line for each leftover, its bytes and its place, and their sum at the end.
pub fn run(arguments: &Arguments) -> Result<(), CommandError> {
    let settings = preflight::settings_for("gc", &arguments.given)?;
    launch::block_on(async {
        let Shelves { store, artifacts, registry } = Shelves::open(&settings, &launch::database_url(&settings))?;
        store.ping().await?;
        let scratch = settings.data_dir.join("scratch");
        let now = Clock::system().now();
        let found = find_leftovers(Places {
            store: &store,
            artifacts: &artifacts,
            registry: &registry,
            scratch: &scratch,
            now,
        })
        .await;
        let (mut out, mut removed) = (std::io::stdout(), found.looked);
        let (mut count, mut bytes) = (0, 0);
        for leftover in &found.leftovers {
            if !arguments.dry_run
                && let Err(error) = leftover.remove(&artifacts).await
            {
                removed = removed.and(Err(error));
                continue;
            }
            (count, bytes) = (count + 1, bytes + leftover.bytes);
            writeln!(out, "{:>14} {leftover}", leftover.bytes)?;
        }
        let done = if arguments.dry_run { "to be removed" } else { "removed" };
        writeln!(out, "{bytes:>14} bytes in {count} places {done}")?;
        Ok(removed?)
    })
}
