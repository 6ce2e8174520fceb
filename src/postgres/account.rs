//! Who the server runs as: PostgreSQL refuses to run as root, so root hands it to an account without rights.

use std::{
    ffi::CString,
    fs::{self, Metadata},
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
};

use super::ClusterError;

/// The account that the server and its programs run as.
#[derive(Debug, Clone, Copy)]
pub(super) enum Account {
    /// Our own.
    Own,
    /// Another one, because we are root.
    Dropped {
        /// Its name.
        name: &'static str,
        /// Its user id.
        user: u32,
        /// Its main group's id.
        group: u32,
    },
}

impl Account {
    /// Our own unless we are root; then `postgres`, else `nobody`.
    pub(super) fn choose() -> Result<Self, ClusterError> {
        // SAFETY: geteuid only reads.
        if unsafe { libc::geteuid() } != 0 {
            return Ok(Self::Own);
        }
        let found = ["postgres", "nobody"].into_iter().find_map(|name| Some((name, look_up(name)?)));
        let (name, (user, group)) = found.ok_or(ClusterError::NoAccount)?;
        Ok(Self::Dropped { name, user, group })
    }

    /// A program that will run as this account, in a folder that every account can read.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        // The server outlives us and belongs to another account: what our environment holds (keys) is not its business.
        let kept = ["PATH", "LD_LIBRARY_PATH", "TMPDIR", "TZ"];
        let kept = kept.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        command.current_dir("/").env_clear().envs(kept).env("LC_ALL", "C");
        if let Self::Dropped { user, group, .. } = self {
            // The standard library drops root's other groups along with these.
            command.uid(*user).gid(*group);
        }
        command
    }

    /// Makes a file or folder the account's own.
    pub(super) fn give(&self, path: &Path) -> Result<(), ClusterError> {
        match self {
            Self::Own => Ok(()),
            Self::Dropped { user, group, .. } => {
                chown(path, Some(*user), Some(*group)).map_err(ClusterError::io("cannot change the owner of", path))
            }
        }
    }

    /// The first folder above `path` that does not let the account through.
    pub(super) fn blocked_at(&self, path: &Path) -> Option<PathBuf> {
        let Self::Dropped { user, group, .. } = *self else { return None };
        let closed = |folder: &&Path| fs::metadata(folder).is_ok_and(|found| !lets_through(&found, user, group));
        path.ancestors().skip(1).filter(closed).last().map(Path::to_owned)
    }
}

fn lets_through(folder: &Metadata, user: u32, group: u32) -> bool {
    let bit = match folder {
        _ if folder.uid() == user => 0o100,
        _ if folder.gid() == group => 0o010,
        _ => 0o001,
    };
    folder.mode() & bit != 0
}

/// User and group id of an account.
fn look_up(name: &str) -> Option<(u32, u32)> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name ends in a nul byte; the answer is read before any other call could overwrite it, and clusters
    // are started one after another.
    unsafe { libc::getpwnam(name.as_ptr()).as_ref() }.map(|entry| (entry.pw_uid, entry.pw_gid))
}
