//! The cluster's folder: where it lies, its lock, its first contents.

use std::{
    fs::{self, File, TryLockError},
    os::unix::fs::{DirBuilderExt, symlink},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::{Account, ClusterError, Durability, Programs, ROLE, elsewhere};

/// How long a lock may look held before somebody else has it.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// The settings that we write at every start; the server reads them after its own.
pub(super) const SETTINGS: &str = "stepwise.conf";

/// Makes sure that no other process uses the folder. The lock goes with the process that holds it, however it ends.
pub(super) fn lock(data_dir: &Path) -> Result<File, ClusterError> {
    let path = beside(data_dir, "lock");
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(ClusterError::io("cannot create", parent))?;
    }
    let open = File::options().create(true).truncate(false).write(true).open(&path);
    let file = open.map_err(ClusterError::io("cannot open", &path))?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            // A process that some other thread is just starting holds a copy of every open file until it becomes the
            // new program: a lock that was given up may look held for a moment.
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_PATIENCE => thread::sleep(LOCK_PATIENCE / 20),
            Err(TryLockError::WouldBlock) => return Err(ClusterError::InUse(data_dir.to_owned())),
            Err(TryLockError::Error(source)) => return Err(ClusterError::Io { what: "cannot lock", path, source }),
        }
    }
}

/// The real folder, absolute and without links. It need not exist yet, and whoever runs the server can get to it.
pub(super) fn place(data_dir: &Path, account: &Account) -> Result<PathBuf, ClusterError> {
    let parent = data_dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = parent.canonicalize().map_err(ClusterError::io("cannot find", parent))?;
    let wanted = parent.join(data_dir.file_name().unwrap_or_default());
    let found = fs::canonicalize(&wanted).ok();
    let folder = found.unwrap_or_else(|| wanted.clone());
    let Some(blocked) = account.blocked_at(&folder) else { return Ok(folder) };
    match account {
        Account::Dropped { name, .. } if holds_something(&folder) => {
            Err(ClusterError::OutOfReach { account: name, folder, blocked })
        }
        _ => link_elsewhere(&wanted),
    }
}

/// Puts the data where every account gets to, and leaves a link to it where it was wanted. The name there is new each
/// time: whoever deletes the link gets an empty cluster, not the old one.
fn link_elsewhere(wanted: &Path) -> Result<PathBuf, ClusterError> {
    let root = elsewhere();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(&root)
        .map_err(ClusterError::io("cannot create", &root))?;
    let made = tempfile::Builder::new().prefix("postgres-").tempdir_in(&root);
    let folder = made.map_err(ClusterError::io("cannot create a folder in", &root))?.keep();
    if fs::symlink_metadata(wanted).is_ok() {
        // An empty folder, or a link whose target is gone.
        let removed = fs::remove_dir(wanted).or_else(|_| fs::remove_file(wanted));
        removed.map_err(ClusterError::io("cannot replace", wanted))?;
    }
    symlink(&folder, wanted).map_err(ClusterError::io("cannot link", wanted))?;
    tracing::info!(link = %wanted.display(), folder = %folder.display(), "the server's account cannot reach the link's place");
    Ok(folder)
}

/// The version that made the data; `None` if there is none yet.
pub(super) fn version(folder: &Path) -> Result<Option<(u32, &Path)>, ClusterError> {
    match fs::read_to_string(folder.join("PG_VERSION")) {
        Ok(text) => {
            let version = text.trim().parse().map_err(|_| ClusterError::NotACluster(folder.to_owned()))?;
            Ok(Some((version, folder)))
        }
        Err(_) if holds_something(folder) => Err(ClusterError::NotACluster(folder.to_owned())),
        Err(_) => Ok(None),
    }
}

/// Makes a new cluster unless there is one. It is made aside and renamed when it is whole, so that a crash in between
/// leaves nothing that looks like a cluster.
pub(super) fn initialize(
    folder: &Path,
    programs: &Programs,
    account: &Account,
    durability: Durability,
) -> Result<(), ClusterError> {
    if folder.join("PG_VERSION").exists() {
        return Ok(());
    }
    let aside = beside(folder, "new");
    if aside.exists() {
        fs::remove_dir_all(&aside).map_err(ClusterError::io("cannot remove", &aside))?;
    }
    fs::DirBuilder::new().mode(0o700).create(&aside).map_err(ClusterError::io("cannot create", &aside))?;
    account.give(&aside)?;
    run_initdb(&aside, programs, account, durability)?;
    let settings = fs::read_to_string(aside.join("postgresql.conf")).unwrap_or_default();
    let settings = format!("{settings}\ninclude_if_exists '{SETTINGS}'\n");
    fs::write(aside.join("postgresql.conf"), settings).map_err(ClusterError::io("cannot write in", &aside))?;
    fs::rename(&aside, folder).map_err(ClusterError::io("cannot move the new cluster to", folder))
}

fn run_initdb(
    aside: &Path,
    programs: &Programs,
    account: &Account,
    durability: Durability,
) -> Result<(), ClusterError> {
    let mut command = account.command(&programs.path("initdb"));
    command.arg("--pgdata").arg(aside).args([
        "--username",
        ROLE,
        "--auth",
        "trust",
        "--encoding",
        "UTF8",
        "--no-locale",
    ]);
    if durability == Durability::None {
        command.arg("--no-sync");
    }
    let output = command.output().map_err(ClusterError::io("cannot run", &programs.path("initdb")))?;
    if output.status.success() { Ok(()) } else { Err(ClusterError::program("initdb", &output)) }
}

fn holds_something(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

/// `data` gives `data.lock`, beside it.
fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(extension);
    path.with_file_name(name)
}
