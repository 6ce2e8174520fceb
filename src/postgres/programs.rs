//! Finding PostgreSQL's server programs, in the same places as `scripts/setup`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::ClusterError;

/// The oldest version that the schema and the statements are written for.
const OLDEST: u32 = 14;

/// A folder with the server's programs.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// The newest programs, or those of the version that made the data.
    pub(super) fn find(made_by: Option<(u32, &Path)>) -> Result<Self, ClusterError> {
        let found = candidates().into_iter().filter_map(|folder| Some((version_of(&folder)?, folder)));
        let fitting = found.filter(|(version, _)| made_by.is_none_or(|(wanted, _)| wanted == *version));
        let fitting = fitting.filter(|(version, _)| *version >= OLDEST);
        let best = fitting.reduce(|best, next| if next.0 > best.0 { next } else { best });
        match (best, made_by) {
            (Some((_, folder)), _) => Ok(Self { folder }),
            (None, Some((version, data))) => Err(ClusterError::OtherVersion { folder: data.to_owned(), version }),
            (None, None) => Err(ClusterError::NoPrograms { oldest: OLDEST }),
        }
    }

    /// The path of one program.
    pub(super) fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }
}

fn candidates() -> Vec<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = installed.map(|entry| entry.path().join("bin")).collect();
    folders.extend(env::var_os("PATH").iter().flat_map(env::split_paths));
    folders
}

/// The major version of the programs in a folder that has them all.
fn version_of(folder: &Path) -> Option<u32> {
    if !["postgres", "initdb", "pg_ctl"].iter().all(|name| folder.join(name).is_file()) {
        return None;
    }
    let answer = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
    major_version(&String::from_utf8_lossy(&answer.stdout))
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` and `17beta1` alike.
fn major_version(text: &str) -> Option<u32> {
    let (_, version) = text.split_once(") ")?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_the_server_says() {
        assert_eq!(major_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(major_version("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major_version("something else"), None);
    }
}
