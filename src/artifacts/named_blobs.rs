//! Files that are links to others which are named by the sha256 of their bytes, as the Hub's cache has its large ones: held to their
//! names before anything in them is trusted.

use std::{fs, path::Path};

use super::{
    ArtifactError,
    directory::local,
    local_copy::{compare, digest},
};

/// Hexadecimal digits of a sha256.
const DIGITS: usize = 64;

/// Reads these files of a folder that are such links, and compares them with their names; what is no such link nobody has told the
/// digest of. Blocks for as long as that takes.
///
/// # Errors
/// [`ArtifactError::Corrupt`] names the first file that differs, [`ArtifactError::Local`] one that cannot be read.
pub fn check_named_blobs(folder: &Path, files: &[String]) -> Result<(), ArtifactError> {
    for file in files {
        let path = folder.join(file);
        let Ok(target) = fs::read_link(&path) else { continue };
        let name = target.file_name().and_then(|name| name.to_str()).filter(|name| is_sha256(name));
        if let Some(name) = name {
            compare(&folder.join(&target), digest(&path).map_err(local(&path))?, name)?;
        }
    }
    Ok(())
}

fn is_sha256(name: &str) -> bool {
    name.len() == DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Of "numbers".
    const NUMBERS: &str = "f3c7807d475073ba009bf4801b2d934e9f0126cb96dd19a27dbffcae23a7f5a3";

    #[test]
    fn a_blob_is_held_to_its_name() {
        let root = tempfile::tempdir().unwrap();
        let (blobs, folder) = (root.path().join("blobs"), root.path().join("snapshot"));
        for path in [&blobs, &folder] {
            fs::create_dir(path).unwrap();
        }
        for (name, digest) in [("weights", NUMBERS), ("config.json", "8d1c8b69c3fce7bea45c73efd06983e3c419a92f")] {
            fs::write(blobs.join(digest), b"numbers").unwrap();
            symlink(Path::new("../blobs").join(digest), folder.join(name)).unwrap();
        }
        fs::write(folder.join("own"), b"whatever").unwrap();
        let files = ["weights", "config.json", "own", "none"].map(str::to_owned);
        check_named_blobs(&folder, &files).unwrap();
        fs::write(blobs.join(NUMBERS), b"number5").unwrap();
        let error = check_named_blobs(&folder, &files).unwrap_err();
        assert!(matches!(error, ArtifactError::Corrupt { .. }) && error.to_string().contains(NUMBERS), "{error}");
        fs::remove_file(blobs.join(NUMBERS)).unwrap();
        let error = check_named_blobs(&folder, &files).unwrap_err();
        assert!(matches!(error, ArtifactError::Local { .. }) && error.to_string().contains("weights"), "{error}");
    }
}
