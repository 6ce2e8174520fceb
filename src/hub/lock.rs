//! One writer for each blob, over all processes that use the cache: `flock` on a file, as `huggingface_hub` does.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    time::Duration,
};

/// Time between looks at a lock that another process holds: a download takes seconds or minutes.
const PAUSE: Duration = Duration::from_millis(100);

/// Waits for the lock; it is held as long as the file lives. Looks again and again instead of waiting in the kernel, so that
/// whoever no longer wants it can leave.
pub async fn acquire(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    loop {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            // Another program may remove the file when it is done; a lock on what has no name holds nobody off.
            Ok(()) if is_there(&file, path) => return Ok(file),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => tokio::time::sleep(PAUSE).await,
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

fn is_there(file: &File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let (held, named) = (file.metadata().map(identity), fs::metadata(path).map(identity));
    matches!((held, named), (Ok(held), Ok(named)) if held == named)
}
