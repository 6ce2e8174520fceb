//! Copies of published folders on this machine, held to what was published before anything in them is trusted: a disk may have
//! lost a bit, and a person may have written into them.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use sha2::{Digest, Sha256};

use super::{ArtifactError, Manifest, directory::local, manifest::MANIFEST, writer::hex};

const CHUNK_BYTES: usize = 1 << 20;
/// What the name of a copy begins with that is being thrown away.
pub(super) const DISCARDED: &str = "discarded-";
/// The number of the next one.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Reads every byte of a copy and compares it with what was published. Blocks for as long as that takes.
///
/// # Errors
/// [`ArtifactError::Corrupt`] names the first file that differs; a missing one is [`ArtifactError::Local`].
pub fn check_copy(copy: &Path, manifest_sha256: &str) -> Result<(), ArtifactError> {
    for file in published(copy, manifest_sha256)?.files {
        let path = copy.join(&file.name);
        compare(&path, digest(&path).map_err(local(&path))?, &file.sha256)?;
    }
    Ok(())
}

/// The bytes of one small file of a copy, as they were published; none where no file of that name was. A file that only lies
/// there is not looked at.
///
/// # Errors
/// As of [`check_copy`].
pub fn read_published(copy: &Path, manifest_sha256: &str, name: &str) -> Result<Option<Vec<u8>>, ArtifactError> {
    let files = published(copy, manifest_sha256)?.files;
    let Some(file) = files.into_iter().find(|file| file.name == name) else { return Ok(None) };
    let path = copy.join(name);
    let bytes = fs::read(&path).map_err(local(&path))?;
    compare(&path, hex(&Sha256::digest(&bytes)), &file.sha256)?;
    Ok(Some(bytes))
}

/// Throws a copy away, so that it is fetched anew. It loses its name before it loses a file, so that whoever is killed in between
/// leaves nothing that looks whole; what stays is told by its name (`leftovers`). One that is gone already is no error.
pub fn discard_copy(copy: &Path) -> Result<(), ArtifactError> {
    let absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let Some(aside) = aside(copy) else { return Ok(()) };
    match fs::rename(copy, &aside) {
        Ok(()) => {}
        Err(error) if absent(&error) => return Ok(()),
        Err(error) => return Err(local(copy)(error)),
    }
    match fs::remove_dir_all(&aside) {
        Err(error) if !absent(&error) => Err(local(&aside)(error)),
        _ => Ok(()),
    }
}

/// Where a copy goes to be removed: beside it, under a name that no other process takes. None for a path that names nothing.
fn aside(copy: &Path) -> Option<PathBuf> {
    let name = copy.file_name()?.to_string_lossy();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Some(copy.with_file_name(format!("{DISCARDED}{}-{number}-{name}", std::process::id())))
}

/// What was published, by the copy's own manifest.
fn published(copy: &Path, manifest_sha256: &str) -> Result<Manifest, ArtifactError> {
    let path = copy.join(MANIFEST);
    let text = fs::read(&path).map_err(local(&path))?;
    compare(&path, hex(&Sha256::digest(&text)), manifest_sha256)?;
    Manifest::read(&copy.display().to_string(), &text)
}

pub(super) fn compare(path: &Path, found: String, expected: &str) -> Result<(), ArtifactError> {
    if found == expected {
        return Ok(());
    }
    Err(ArtifactError::Corrupt { key: path.display().to_string(), found, expected: expected.to_owned() })
}

pub(super) fn digest(path: &Path) -> io::Result<String> {
    let (mut file, mut digest, mut chunk) = (File::open(path)?, Sha256::new(), vec![0; CHUNK_BYTES]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hex(&digest.finalize())),
            read => digest.update(&chunk[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifacts::Artifacts;

    #[tokio::test]
    async fn a_copy_is_held_to_what_was_published() {
        let root = tempfile::tempdir().unwrap();
        let (folder, cache) = (root.path().join("folder"), root.path().join("cache"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("weights"), vec![7; 3 << 20]).unwrap();
        let artifacts = Artifacts::local(&root.path().join("store")).unwrap();
        let published = artifacts.publish_directory("m", &folder).await.unwrap();
        let fetch = async || artifacts.fetch_directory("m", &published.manifest_sha256, &cache).await.unwrap();
        let copy = fetch().await;
        check_copy(&copy, &published.manifest_sha256).unwrap();
        for (file, bytes) in [("weights", vec![7; 1]), (MANIFEST, b"{\"files\":[]}".to_vec())] {
            fs::write(copy.join(file), bytes).unwrap();
            let error = check_copy(&copy, &published.manifest_sha256).unwrap_err();
            assert!(matches!(error, ArtifactError::Corrupt { .. }) && error.to_string().contains(file), "{error}");
            discard_copy(&copy).unwrap();
            check_copy(&fetch().await, &published.manifest_sha256).unwrap();
        }
        fs::remove_file(copy.join("weights")).unwrap();
        let error = check_copy(&copy, &published.manifest_sha256).unwrap_err().to_string();
        assert!(error.contains("weights"), "{error}");
        fs::remove_dir_all(&copy).unwrap();
        discard_copy(&copy).unwrap();
    }

    #[tokio::test]
    async fn one_file_of_a_copy_is_read_as_it_was_published() {
        let root = tempfile::tempdir().unwrap();
        let (folder, cache) = (root.path().join("folder"), root.path().join("cache"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("card"), b"{}").unwrap();
        fs::write(folder.join("weights"), b"many").unwrap();
        let artifacts = Artifacts::local(&root.path().join("store")).unwrap();
        let digest = artifacts.publish_directory("m", &folder).await.unwrap().manifest_sha256;
        let copy = artifacts.fetch_directory("m", &digest, &cache).await.unwrap();
        fs::write(copy.join("weights"), b"others").unwrap();
        assert_eq!(read_published(&copy, &digest, "card").unwrap().unwrap(), b"{}");
        fs::write(copy.join("more"), b"added").unwrap();
        assert_eq!(read_published(&copy, &digest, "more").unwrap(), None);
        fs::write(copy.join("card"), b"[]").unwrap();
        assert!(matches!(read_published(&copy, &digest, "card"), Err(ArtifactError::Corrupt { .. })));
    }

    #[test]
    fn what_a_kill_leaves_of_a_discarded_copy_has_not_its_name_and_is_swept() {
        let cache = tempfile::tempdir().unwrap();
        let copy = cache.path().join("digest");
        fs::create_dir(&copy).unwrap();
        fs::write(copy.join(MANIFEST), b"{}").unwrap();
        let aside = aside(&copy).unwrap();
        fs::rename(&copy, &aside).unwrap();
        let later = fs::metadata(&aside).unwrap().modified().unwrap() + std::time::Duration::from_secs(60);
        crate::artifacts::remove_unfetched(cache.path(), later).unwrap();
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
    }
}
