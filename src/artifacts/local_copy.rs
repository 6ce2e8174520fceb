//! Copies of published folders on this machine, held to what was published before anything in them is trusted: a disk may have
//! lost a bit, and a person may have written into them.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{ArtifactError, Manifest, directory::local, leftovers::absent_is_fine, manifest::MANIFEST, writer::hex};

const CHUNK_BYTES: usize = 1 << 20;
/// What the name of a folder begins with in which a copy is being thrown away.
pub(super) const DISCARDED: &str = "discarded-";

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

/// Throws a copy away, so that it is fetched anew, away from the runtime's own threads: a model has gigabytes. What is begun is
/// done, also where nobody waits for it any more.
///
/// # Errors
/// As of [`discard_copy_blocking`].
pub async fn discard_copy(copy: &Path) -> Result<(), ArtifactError> {
    let owned = copy.to_owned();
    let discarded = tokio::task::spawn_blocking(move || discard_copy_blocking(&owned)).await;
    discarded.map_err(|error| local(copy)(io::Error::other(error)))?
}

/// The same for a thread that may wait. A copy loses its name before it loses a file, so that whoever is killed in between leaves
/// nothing that looks whole; what stays lies in a folder that is told by its name (`leftovers`). A copy that is gone already is no
/// error.
///
/// # Errors
/// [`ArtifactError::Local`] where the copy cannot be moved or removed.
pub fn discard_copy_blocking(copy: &Path) -> Result<(), ArtifactError> {
    absent_is_fine(set_aside(copy).and_then(|aside| aside.map_or(Ok(()), TempDir::close))).map_err(local(copy))
}

/// The copy in a folder of its own beside where it lay; none where there is no copy. Containers give all processes the same number,
/// so the folder's name is drawn, and made by whoever has it.
fn set_aside(copy: &Path) -> io::Result<Option<TempDir>> {
    let (Some(cache), Some(name)) = (copy.parent(), copy.file_name()) else { return Ok(None) };
    let aside = tempfile::Builder::new().prefix(DISCARDED).tempdir_in(cache)?;
    fs::rename(copy, aside.path().join(name))?;
    Ok(Some(aside))
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
            discard_copy(&copy).await.unwrap();
            check_copy(&fetch().await, &published.manifest_sha256).unwrap();
        }
        fs::remove_file(copy.join("weights")).unwrap();
        let error = check_copy(&copy, &published.manifest_sha256).unwrap_err().to_string();
        assert!(error.contains("weights"), "{error}");
        fs::remove_dir_all(&copy).unwrap();
        discard_copy(&copy).await.unwrap();
        discard_copy(&cache.join("never/there")).await.unwrap();
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 0);
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
        let fault = || read_published(&copy, &digest, "card").unwrap_err();
        assert!(matches!(fault(), ArtifactError::Corrupt { .. }) && fault().is_damaged_copy());
        fs::remove_file(copy.join("card")).unwrap();
        assert!(matches!(fault(), ArtifactError::Local { .. }) && fault().is_damaged_copy());
        std::os::unix::fs::symlink("card", copy.join("card")).unwrap();
        assert!(matches!(fault(), ArtifactError::Local { .. }) && !fault().is_damaged_copy(), "a circle of links");
    }

    #[test]
    fn what_a_kill_leaves_of_a_discarded_copy_has_not_its_name_and_is_swept() {
        let cache = tempfile::tempdir().unwrap();
        let copy = cache.path().join("digest");
        fs::create_dir(&copy).unwrap();
        fs::write(copy.join(MANIFEST), b"{}").unwrap();
        // A killed process does not clean up.
        let aside = set_aside(&copy).unwrap().unwrap().keep();
        assert!(!copy.exists() && aside.join("digest").join(MANIFEST).exists());
        let later = fs::metadata(&aside).unwrap().modified().unwrap() + std::time::Duration::from_secs(60);
        let half = crate::artifacts::half_copies(cache.path(), later).unwrap();
        crate::artifacts::remove_local(&half).unwrap();
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
    }
}
