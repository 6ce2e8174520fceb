//! A model whose reading takes as long as a test likes: its tokenizer is a pipe, at which whoever reads waits for whoever writes.

use std::{
    ffi::CString,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// A folder whose `tokenizer.json` nobody can read to its end yet. What says how large the model is can be read.
pub struct SlowModel {
    pipe: PathBuf,
    tokenizer: Vec<u8>,
}

impl SlowModel {
    /// Makes the model of a folder slow.
    pub fn of(folder: &Path) -> Self {
        let pipe = folder.join("tokenizer.json");
        let tokenizer = fs::read(&pipe).unwrap();
        fs::remove_file(&pipe).unwrap();
        let path = CString::new(pipe.as_os_str().as_bytes()).unwrap();
        // SAFETY: the path is a string that ends with a zero and lives until the call is over.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0, "no pipe can be made here");
        Self { pipe, tokenizer }
    }

    /// Lets whoever reads go on, once somebody does.
    pub async fn release(self) {
        tokio::task::spawn_blocking(move || fs::write(&self.pipe, &self.tokenizer)).await.unwrap().unwrap();
    }
}
