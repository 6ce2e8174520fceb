//! The private Postgres cluster of `stepwise up` and of the tests: made, started, taken over and stopped without any
//! configuration, also as root. It listens on a Unix socket that only its own account (and root) can reach, never on
//! the network. It knows nothing of the schema.
//!
//! The server is not our child: it has a session of its own, so that an interrupt from the terminal reaches the service
//! first, which drains, and stops the server last. If we are killed the server stays; the next start, which the lock
//! beside the folder lets in because the kernel dropped it, stops that server and starts its own. If the server is
//! killed, the next start removes what it left behind and the server recovers from its log.

mod account;
mod error;
mod folder;
mod programs;
mod server;

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

pub use error::ClusterError;

use account::Account;
use programs::Programs;
use server::{Server, Sockets};

/// Every cluster's only role.
const ROLE: &str = "stepwise";

/// The folder of the newest server programs on this machine.
///
/// # Errors
/// Says where they were looked for and how to get them.
pub fn find_programs() -> Result<PathBuf, ClusterError> {
    Ok(Programs::find(None)?.path("").components().collect())
}

/// What a cluster does for its data's safety.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// Everything that was committed survives a power cut.
    #[default]
    Full,
    /// Nothing is forced to the disk: for tests, which throw the cluster away.
    None,
}

/// A running private cluster; stopped when dropped.
#[derive(Debug)]
pub struct Cluster {
    server: Server,
    /// Held open for its lock: nobody else uses the folder while we live.
    _lock: File,
}

impl Cluster {
    /// Makes the cluster in `data_dir` if it is not there and starts it, taking over from an owner that crashed. Blocks
    /// for up to some seconds.
    ///
    /// As root the server runs as `postgres` or `nobody`. Where that account cannot reach `data_dir`, as below /root,
    /// the data lies in /var/lib/stepwise and `data_dir` becomes a link to it.
    ///
    /// # Errors
    /// [`ClusterError`] says what is missing on this machine, or what the server's program said.
    pub fn start(data_dir: &Path) -> Result<Self, ClusterError> {
        Self::start_with(data_dir, Durability::Full)
    }

    /// The same with a choice of what is done for the data's safety.
    pub fn start_with(data_dir: &Path, durability: Durability) -> Result<Self, ClusterError> {
        let lock = folder::lock(data_dir)?;
        let account = Account::choose()?;
        let folder = folder::place(data_dir, &account)?;
        let programs = Programs::find(folder::version(&folder)?)?;
        folder::initialize(&folder, &programs, &account, durability)?;
        let sockets = Sockets::choose(&folder, &account)?;
        let server = Server { programs, account, folder, sockets };
        server.start(durability)?;
        Ok(Self { server, _lock: lock })
    }

    /// The address of one of its databases; `postgres` is always there.
    pub fn url(&self, database: &str) -> String {
        address(self.server.socket_directory(), database)
    }

    /// The address of a database of the cluster that another process runs in `data_dir`, for commands beside it; none where no
    /// server runs there.
    pub fn url_of_running(data_dir: &Path, database: &str) -> Option<String> {
        server::sockets_of_running(&data_dir.canonicalize().ok()?).map(|sockets| address(&sockets, database))
    }

    /// The folder that holds the server's files.
    pub fn folder(&self) -> &Path {
        &self.server.folder
    }

    /// Makes a database unless it is there.
    ///
    /// # Errors
    /// [`ClusterError::Name`] when the name is anything but lower-case letters, digits and underscores.
    pub async fn create_database(&self, name: &str) -> Result<(), ClusterError> {
        if name.is_empty() || !name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
            return Err(ClusterError::Name(name.to_owned()));
        }
        let mut connection = PgConnection::connect(&self.url("postgres")).await?;
        let statement = format!("create database \"{name}\"");
        match sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P04") => {}
            made => {
                made?;
            }
        }
        connection.close().await?;
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.server.stop() {
            tracing::warn!(folder = %self.server.folder.display(), %error, "the private Postgres server did not stop");
        }
    }
}

fn address(sockets: &Path, database: &str) -> String {
    let directory: String = sockets.to_string_lossy().bytes().map(percent_encoded).collect();
    format!("postgres://{ROLE}@localhost:{}/{database}?host={directory}", server::PORT)
}

fn percent_encoded(byte: u8) -> String {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    }
}

/// Where the data lies when the server's account cannot reach the place that was asked for.
fn elsewhere() -> PathBuf {
    PathBuf::from("/var/lib/stepwise")
}
