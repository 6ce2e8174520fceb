//! The one signal that every loop takes: cancelled on SIGINT or SIGTERM.

use tokio::signal::unix::{SignalKind, signal};
pub use tokio_util::sync::CancellationToken as Shutdown;

/// A token that is cancelled by the first SIGINT or SIGTERM; a second one ends the process at once.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn on_signal() -> std::io::Result<Shutdown> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let shutdown = Shutdown::new();
    let token = shutdown.clone();
    tokio::spawn(async move {
        for last in [false, true] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if last {
                std::process::exit(130);
            }
            tracing::info!("shutting down; a second signal stops at once");
            token.cancel();
        }
    });
    Ok(shutdown)
}
