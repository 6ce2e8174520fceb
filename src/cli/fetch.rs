//! `stepwise fetch`: a model of the Hub into this machine's cache, for a machine that will be offline, or to be served by its id.

use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::watch;

use super::{CommandError, launch, preflight};
use crate::{
    config::GivenSettings,
    domain::HubId,
    hub::{Hub, Snapshot, Transfer},
};

/// A large download, bit by bit.
const TEMPLATE: &str = "{prefix} [{bar:24}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
/// Time between two looks at the bar.
const REDRAW: Duration = Duration::from_millis(100);

/// What to bring.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Models of the Hugging Face Hub: owner/name, or owner/name@revision with a branch, a tag or a commit
    #[arg(value_name = "ID", required = true)]
    ids: Vec<HubId>,
    #[command(flatten)]
    given: GivenSettings,
}

/// Brings each model, and prints a line for it: the id, its commit and its folder.
pub fn run(arguments: &Arguments) -> Result<(), CommandError> {
    let settings = preflight::settings_for("fetch", &arguments.given)?;
    let hub = launch::hub(&settings)?;
    launch::block_on(async {
        for id in &arguments.ids {
            let Snapshot { id, commit, folder } = bring(&hub, id).await?;
            writeln!(std::io::stdout(), "{id} {commit} {}", folder.display())?;
        }
        Ok(())
    })
}

async fn bring(hub: &Hub, id: &HubId) -> Result<Snapshot, CommandError> {
    let (progress, watched) = watch::channel(None);
    let bar = bar(id);
    let fetched = tokio::select! {
        fetched = hub.fetch(id, &progress) => fetched,
        never = show(&bar, watched) => match never {},
    };
    bar.finish_and_clear();
    Ok(fetched?)
}

/// A bar on a terminal; nothing elsewhere, where standard error is a log.
fn bar(id: &HubId) -> ProgressBar {
    let target =
        if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(0), target);
    let style = ProgressStyle::with_template(TEMPLATE).expect("the template is a constant that a test reads");
    bar.set_style(style.progress_chars("=> "));
    bar.set_prefix(id.to_string());
    bar
}

async fn show(bar: &ProgressBar, watched: watch::Receiver<Option<Transfer>>) -> std::convert::Infallible {
    loop {
        if let Some(transfer) = watched.borrow().as_ref() {
            bar.set_length(transfer.total_bytes);
            bar.set_position(transfer.done_bytes);
        }
        tokio::time::sleep(REDRAW).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_can_be_read() {
        ProgressStyle::with_template(TEMPLATE).unwrap();
    }
}
