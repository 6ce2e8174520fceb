//! The snapshots that a training keeps for itself, to go back to. Whoever watches it takes the ones that it writes and
//! removes them; a further link to each file outlasts that, and costs no room as long as the first one is there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where they lie below the attempt's folder.
const FOLDER: &str = "way-back";
/// So many are kept: the newest may turn out to hold what cannot be computed with.
const KEPT: usize = 2;

/// Snapshots to go back to, the newest last.
#[derive(Debug, Default)]
pub struct WayBack {
    points: Vec<Point>,
}

#[derive(Debug)]
struct Point {
    step: i64,
    folder: PathBuf,
    /// Whether it is ours to remove.
    is_linked: bool,
}

impl WayBack {
    /// The snapshot that the training was continued from; it stays where it is.
    pub fn begin_at(&mut self, step: i64, folder: PathBuf) {
        self.points.push(Point { step, folder, is_linked: false });
    }

    /// Keeps a snapshot that was just written. Where files cannot be linked there is one place less to go back to.
    pub fn keep(&mut self, attempt: &Path, name: &str, step: i64) {
        let folder = attempt.join(FOLDER).join(name);
        if let Err(error) = link(&attempt.join(name), &folder) {
            tracing::warn!(folder = %folder.display(), %error, "a snapshot cannot be kept to go back to");
            return;
        }
        self.points.push(Point { step, folder, is_linked: true });
        while self.points.len() > KEPT {
            self.points.remove(0).leave();
        }
    }

    /// Keeps none of them: they are of a round that is over.
    pub fn forget(&mut self) {
        self.points.drain(..).for_each(Point::leave);
    }

    /// Those that were written before a step, the newest first.
    pub fn before(&self, step: i64) -> impl Iterator<Item = &Path> {
        self.points.iter().rev().filter(move |point| point.step < step).map(|point| point.folder.as_path())
    }
}

impl Point {
    fn leave(self) {
        if self.is_linked {
            // What stays behind costs disk alone, until the attempt's folder goes.
            drop(fs::remove_dir_all(self.folder));
        }
    }
}

fn link(from: &Path, to: &Path) -> io::Result<()> {
    // What an earlier process left there is of another life of this training.
    drop(fs::remove_dir_all(to));
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::hard_link(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_snapshot_outlasts_the_one_that_was_written() {
        let attempt = tempfile::tempdir().unwrap();
        let mut way_back = WayBack::default();
        way_back.begin_at(3, attempt.path().join("resume"));
        for step in [10, 20, 30] {
            let name = format!("snapshot-{step}");
            fs::create_dir(attempt.path().join(&name)).unwrap();
            fs::write(attempt.path().join(&name).join("snapshot.json"), name.as_bytes()).unwrap();
            way_back.keep(attempt.path(), &name, step);
            fs::remove_dir_all(attempt.path().join(&name)).unwrap();
        }
        let read = |before: i64| {
            let folder = way_back.before(before).next()?;
            Some(fs::read_to_string(folder.join("snapshot.json")).unwrap())
        };
        assert_eq!(read(31).as_deref(), Some("snapshot-30"));
        assert_eq!(read(30).as_deref(), Some("snapshot-20"));
        assert_eq!(read(20), None, "two are kept");
        assert_eq!(fs::read_dir(attempt.path().join(FOLDER)).unwrap().count(), 2);
    }
}
