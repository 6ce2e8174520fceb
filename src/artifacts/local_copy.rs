//! Copies of published folders on this machine, held to what was published before anything in them is trusted: a disk may have
//! lost a bit, and a person may have written into them.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use sha2::{Digest, Sha256};

use super::{ArtifactError, Manifest, directory::local, manifest::MANIFEST, writer::hex};

const CHUNK_BYTES: usize = 1 << 20;

/// Reads every byte of a copy and compares it with what was published. Blocks for as long as that takes.
///
/// # Errors
/// [`ArtifactError::Corrupt`] names the first file that differs; a missing one is [`ArtifactError::Local`].
pub fn check_copy(copy: &Path, manifest_sha256: &str) -> Result<(), ArtifactError> {
    let path = copy.join(MANIFEST);
    let text = fs::read(&path).map_err(local(&path))?;
    compare(&path, hex(&Sha256::digest(&text)), manifest_sha256)?;
    for file in Manifest::read(&copy.display().to_string(), &text)?.files {
        let path = copy.join(&file.name);
        compare(&path, digest(&path).map_err(local(&path))?, &file.sha256)?;
    }
    Ok(())
}

/// Throws a copy away, so that it is fetched anew. One that is gone already is no error.
pub fn discard_copy(copy: &Path) -> Result<(), ArtifactError> {
    match fs::remove_dir_all(copy) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(local(copy)(error)),
        _ => Ok(()),
    }
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
}
