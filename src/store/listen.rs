//! Hearing that the queue moved. A signal makes a worker look sooner; that it looks at all does not depend on it.
//!
//! A connection that only listens never learns by itself that its peer is gone: a half-open socket is silent for hours.
//! So the listener asks it something every [`PROBE_INTERVAL`], makes a new connection when there is no answer, and says
//! so, because signals of the meantime are lost.

use std::time::Duration;

use sqlx::{
    ConnectOptions,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{StoreError, connect_options};

/// What the schema's trigger signals.
const CHANNEL: &str = "stepwise_jobs";

/// Time between questions to a silent connection.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// Time for an answer, and for a new connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Time between attempts to connect.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(500);

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Something in the queue moved.
    Notified,
    /// The connection was lost or made again: something may have moved unheard.
    Reconnected,
    /// Nothing was heard.
    TimedOut,
}

/// A connection that hears when a job is submitted, moves, or is asked to stop.
#[derive(Debug)]
pub struct JobListener {
    url: String,
    connection: Option<PgListener>,
    probe_at: Instant,
}

impl JobListener {
    /// Connects if the database answers; otherwise the waits do, and also whenever the connection is lost.
    ///
    /// # Errors
    /// Only on an address that cannot be read.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        connect_options(url)?;
        let mut listener = Self { url: url.to_owned(), connection: None, probe_at: Instant::now() };
        listener.try_connect().await;
        Ok(listener)
    }

    /// Waits until something moved, at most for `limit`. Whoever asks should look at the queue whatever the answer is.
    pub async fn wait(&mut self, limit: Duration) -> Wake {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            let wake = match self.connection {
                Some(_) => self.hear(deadline).await,
                None => self.reconnect(deadline).await,
            };
            if let Some(wake) = wake {
                return wake;
            }
        }
        Wake::TimedOut
    }

    /// Listens until the next probe or the deadline. May be dropped half-way: a message is read whole or not at all.
    async fn hear(&mut self, deadline: Instant) -> Option<Wake> {
        let connection = self.connection.as_mut()?;
        match timeout_at(deadline.min(self.probe_at), connection.try_recv()).await {
            Ok(Ok(Some(_))) => {
                // Signals carry nothing: one look at the queue answers all that have come.
                while connection.next_buffered().is_some() {}
                Some(Wake::Notified)
            }
            Ok(lost) => {
                tracing::warn!(error = ?lost.err(), "the listening connection is lost");
                self.connection = None;
                Some(Wake::Reconnected)
            }
            Err(_) if Instant::now() < self.probe_at => None,
            Err(_) => self.probe().await,
        }
    }

    /// Asks the connection for a sign of life. It is taken out meanwhile, so that a probe that is dropped half-way drops
    /// the connection too, whose state nobody would know.
    async fn probe(&mut self) -> Option<Wake> {
        let mut connection = self.connection.take()?;
        match timeout(ANSWER_TIMEOUT, sqlx::query("-- probe\nselect 1").execute(&mut connection)).await {
            Ok(Ok(_)) => {
                self.keep(connection);
                None
            }
            _ => {
                tracing::warn!("the listening connection does not answer");
                Some(Wake::Reconnected)
            }
        }
    }

    async fn reconnect(&mut self, deadline: Instant) -> Option<Wake> {
        self.try_connect().await;
        if self.connection.is_some() {
            return Some(Wake::Reconnected);
        }
        sleep(RECONNECT_INTERVAL.min(deadline.saturating_duration_since(Instant::now()))).await;
        None
    }

    async fn try_connect(&mut self) {
        match timeout(ANSWER_TIMEOUT, listen(&self.url)).await {
            Ok(Ok(connection)) => self.keep(connection),
            Ok(Err(error)) => tracing::debug!(%error, "cannot listen for jobs"),
            Err(_) => tracing::debug!("cannot listen for jobs: no answer"),
        }
    }

    fn keep(&mut self, connection: PgListener) {
        self.connection = Some(connection);
        self.probe_at = Instant::now() + PROBE_INTERVAL;
    }
}

/// A connection of its own, outside the store's pool, and without sqlx's silent reconnecting: that would hide lost
/// signals.
async fn listen(url: &str) -> Result<PgListener, StoreError> {
    let options = connect_options(url)?.disable_statement_logging();
    let pool =
        PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None).connect_with(options).await?;
    let mut connection = PgListener::connect_with(&pool).await?;
    connection.ignore_pool_close_event(true);
    connection.eager_reconnect(false);
    connection.listen(CHANNEL).await?;
    Ok(connection)
}
