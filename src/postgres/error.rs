//! Why the private cluster does not run.

use std::{
    io,
    path::{Path, PathBuf},
    process::Output,
};

/// Why the private cluster does not run.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The server's programs are not on this machine.
    #[error(
        "PostgreSQL's server programs (postgres, initdb, pg_ctl; version {oldest} or newer) were not found: run scripts/setup"
    )]
    NoPrograms {
        /// The oldest version that will do.
        oldest: u32,
    },
    /// The data was made by a version whose programs are gone.
    #[error("{} was made by PostgreSQL {version}, whose programs were not found; install them or use another data directory", folder.display())]
    OtherVersion {
        /// The data.
        folder: PathBuf,
        /// What made it.
        version: u32,
    },
    /// Another process uses the folder.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// PostgreSQL refuses to run as root, and there is no account to run it as.
    #[error("PostgreSQL refuses to run as root, and this machine has neither an account postgres nor nobody")]
    NoAccount,
    /// The server's account cannot reach the data.
    #[error("the account {account} cannot reach {}: {} does not let it through (chmod o+x would)", folder.display(), blocked.display())]
    OutOfReach {
        /// The account that the server runs as.
        account: &'static str,
        /// The data.
        folder: PathBuf,
        /// The folder on the way that is closed.
        blocked: PathBuf,
    },
    /// Something else lies where the data should.
    #[error("{} is neither empty nor a PostgreSQL data directory", .0.display())]
    NotACluster(PathBuf),
    /// A file or folder could not be used.
    #[error("{what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// One of PostgreSQL's programs failed.
    #[error("{program} failed: {output}")]
    Program {
        /// Which one.
        program: &'static str,
        /// What it said, or the end of the server's log.
        output: String,
    },
    /// Not a name for a database.
    #[error("{0:?} is not a database name: use lower-case letters, digits and underscores")]
    Name(String),
    /// The server refused a statement.
    #[error("the private Postgres server refused a statement")]
    Statement(#[from] sqlx::Error),
}

impl ClusterError {
    /// Names what was tried on which path.
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }

    /// A program that ended badly, with what it wrote.
    pub(super) fn program(program: &'static str, output: &Output) -> Self {
        let text = [output.stderr.as_slice(), output.stdout.as_slice()].concat();
        Self::Program { program, output: String::from_utf8_lossy(&text).trim().to_owned() }
    }
}
