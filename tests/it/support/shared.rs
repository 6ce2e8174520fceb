//! The shared data outside of the repository: real rows, a small student, and what transformers computed.

use std::{
    env,
    path::{Path, PathBuf},
};

/// A part of it: in the folder that `STEPWISE_SHARED` names, where nothing may be missing, or beside the checkout, where its
/// test is skipped without it and says so.
pub fn shared(part: &str) -> Option<PathBuf> {
    let named = env::var_os("STEPWISE_SHARED").map(PathBuf::from);
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let path = named.clone().unwrap_or_else(beside).join(part);
    if path.exists() {
        return Some(path);
    }
    assert!(named.is_none(), "{} is not there, though STEPWISE_SHARED names its folder", path.display());
    println!("SKIPPED: {} is not here; set STEPWISE_SHARED to the shared data's folder", path.display());
    None
}
