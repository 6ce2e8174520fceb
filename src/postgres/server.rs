//! Starting and stopping the server of a cluster that is there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{Account, ClusterError, Durability, Programs, folder::SETTINGS};

/// Part of the socket's name; there is no network port.
pub(super) const PORT: u16 = 5432;

/// Longest path of a Unix socket on Linux.
const SOCKET_PATH_BYTES: usize = 107;

/// Processes of a server that was killed notice within moments; until then a new one refuses to start.
const PATIENCE: Duration = Duration::from_secs(15);

/// A cluster's server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) programs: Programs,
    pub(super) account: Account,
    pub(super) folder: PathBuf,
    /// Where its socket lies: in its folder, whose mode keeps others out, unless that path is too long.
    pub(super) sockets: Sockets,
}

/// Where the socket lies.
#[derive(Debug)]
pub(super) enum Sockets {
    /// In the cluster's own folder.
    Inside,
    /// In a folder of its own under /tmp, removed with us.
    Apart(tempfile::TempDir),
}

/// Where the socket of the server lies that works in this folder: the fifth line of what it writes about itself.
pub(super) fn sockets_of_running(folder: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(folder.join("postmaster.pid")).ok()?;
    let sockets = PathBuf::from(text.lines().nth(4)?);
    works_in(folder, &text).then_some(sockets)
}

/// A server works in its cluster's folder; no other process has a reason to.
fn works_in(folder: &Path, pid_file: &str) -> bool {
    let pid = pid_file.lines().next().unwrap_or_default().trim();
    fs::read_link(Path::new("/proc").join(pid).join("cwd")).is_ok_and(|found| found == folder)
}

impl Server {
    /// Writes the settings and starts the server, which is ready when this returns.
    pub(super) fn start(&self, durability: Durability) -> Result<(), ClusterError> {
        self.take_over()?;
        let settings = self.folder.join(SETTINGS);
        fs::write(&settings, self.settings(durability)).map_err(ClusterError::io("cannot write", &settings))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.pg_ctl(&["start", "--wait", "--timeout=60", "--silent", "--log=server.log"]) {
                Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(300)),
                Err(error) => return Err(self.with_log(error)),
                Ok(()) => return Ok(()),
            }
        }
    }

    /// Stops the server: clients are cut off, everything committed is on disk.
    pub(super) fn stop(&self) -> Result<(), ClusterError> {
        let pid_file = fs::read_to_string(self.folder.join("postmaster.pid"));
        if !pid_file.is_ok_and(|text| works_in(&self.folder, &text)) {
            return Ok(());
        }
        self.pg_ctl(&["stop", "--wait", "--timeout=30", "--silent", "--mode=fast"])
            .or_else(|_| self.pg_ctl(&["stop", "--wait", "--timeout=30", "--silent", "--mode=immediate"]))
    }

    /// The folder of the socket.
    pub(super) fn socket_directory(&self) -> &Path {
        match &self.sockets {
            Sockets::Inside => &self.folder,
            Sockets::Apart(folder) => folder.path(),
        }
    }

    /// Stops a server that a crashed owner left running, or removes what a crashed server left: its pid may by now be
    /// somebody else's, and the new server would wait for that process to end.
    fn take_over(&self) -> Result<(), ClusterError> {
        let file = self.folder.join("postmaster.pid");
        let Ok(text) = fs::read_to_string(&file) else { return Ok(()) };
        if works_in(&self.folder, &text) {
            tracing::info!(folder = %self.folder.display(), "stopping the server that an earlier process left running");
            return self.stop();
        }
        fs::remove_file(&file).map_err(ClusterError::io("cannot remove", &file))
    }

    fn settings(&self, durability: Durability) -> String {
        let sockets = self.socket_directory().to_string_lossy().replace('\'', "''");
        let mut text = format!(
            "# Written at every start.\n\
             listen_addresses = ''\nport = {PORT}\nunix_socket_directories = '{sockets}'\nunix_socket_permissions = 0700\n\
             max_connections = 100\nlog_min_messages = warning\nlog_checkpoints = off\nlog_timezone = 'UTC'\ntimezone = 'UTC'\n"
        );
        if durability == Durability::None {
            text += "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nautovacuum = off\n";
        }
        text
    }

    fn pg_ctl(&self, arguments: &[&str]) -> Result<(), ClusterError> {
        let program = self.programs.path("pg_ctl");
        let mut command: Command = self.account.command(&program);
        // By environment, because pg_ctl hands its arguments to a shell. The server inherits the standard streams, so a
        // pipe would stay open for as long as it runs.
        command.env("PGDATA", &self.folder).current_dir(&self.folder).args(arguments).stdin(Stdio::null());
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        let status = status.map_err(ClusterError::io("cannot run", &program))?;
        if status.success() {
            return Ok(());
        }
        Err(ClusterError::Program { program: "pg_ctl", output: format!("{} ended with {status}", arguments[0]) })
    }

    /// Adds the end of the server's log, which says why.
    fn with_log(&self, error: ClusterError) -> ClusterError {
        let path = self.folder.join("server.log");
        let log = fs::read(&path).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        let lines: Vec<&str> = lines.into_iter().rev().collect();
        ClusterError::Program {
            program: "pg_ctl",
            output: format!("{error}; {}: {}", path.display(), lines.join(" | ")),
        }
    }
}

impl Sockets {
    /// Inside the cluster's folder where the path is short enough.
    pub(super) fn choose(folder: &Path, account: &Account) -> Result<Self, ClusterError> {
        let socket = folder.join(format!(".s.PGSQL.{PORT}"));
        if socket.as_os_str().len() <= SOCKET_PATH_BYTES {
            return Ok(Self::Inside);
        }
        let root = Path::new("/tmp");
        let made = tempfile::Builder::new().prefix("stepwise-").tempdir_in(root);
        let made = made.map_err(ClusterError::io("cannot create a folder in", root))?;
        account.give(made.path())?;
        Ok(Self::Apart(made))
    }
}
