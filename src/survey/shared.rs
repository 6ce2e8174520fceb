//! Which inputs several groups of files have in common: all their fingerprints read side by side, once, in memory for a
//! few chunks of each.

use bytes::{Buf, Bytes};
use futures::{Stream, StreamExt};

use super::{
    fingerprint::{SPLIT_BITS, fingerprint_key},
    repeats::bit,
};
use crate::{
    artifacts::{ArtifactError, Artifacts},
    domain::Split,
};

/// Files whose rows stand together, such as all training files of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct RowGroup {
    /// Where the files lie in the artifact store.
    pub artifact_keys: Vec<String>,
    /// Rows of these splits count, and those without a split.
    pub splits: Vec<Split>,
}

/// Inputs that groups have in common; each different input counts once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedInputs {
    /// Different inputs of each group, in the groups' order.
    pub inputs: Vec<u64>,
    /// For each pair of groups, the first before the second, the inputs that both have.
    pub both: Vec<((usize, usize), u64)>,
}

/// Compares groups of files that all have a fingerprint.
pub async fn shared_inputs(artifacts: &Artifacts, groups: &[RowGroup]) -> Result<SharedInputs, ArtifactError> {
    let mut cursors = Vec::new();
    for (group, rows) in groups.iter().enumerate() {
        let splits = rows.splits.iter().fold(bit(None), |bits, split| bits | bit(Some(*split)));
        for key in &rows.artifact_keys {
            let mut cursor =
                Cursor { group, splits, head: None, bytes: open(artifacts, key).await?, chunk: Bytes::new() };
            cursor.advance().await?;
            cursors.push(cursor);
        }
    }
    let mut shared = SharedInputs::of(groups.len());
    while let Some(hash) = cursors.iter().filter_map(|cursor| cursor.head).map(|head| head.hash).min() {
        let mut having = vec![false; groups.len()];
        for cursor in &mut cursors {
            if let Some(head) = cursor.head.filter(|head| head.hash == hash) {
                having[cursor.group] |= head.splits & cursor.splits != 0;
                cursor.advance().await?;
            }
        }
        shared.count(&having);
    }
    Ok(shared)
}

impl SharedInputs {
    fn of(groups: usize) -> Self {
        let pairs = (0..groups).flat_map(|first| (first + 1..groups).map(move |second| ((first, second), 0)));
        Self { inputs: vec![0; groups], both: pairs.collect() }
    }

    fn count(&mut self, having: &[bool]) {
        self.inputs.iter_mut().zip(having).for_each(|(count, has)| *count += u64::from(*has));
        for ((first, second), count) in &mut self.both {
            *count += u64::from(having[*first] && having[*second]);
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u64,
    splits: u8,
}

const ENTRY_BYTES: usize = size_of::<u64>();

/// A fingerprint being read.
struct Cursor<S> {
    group: usize,
    splits: u8,
    head: Option<Entry>,
    bytes: S,
    chunk: Bytes,
}

async fn open(
    artifacts: &Artifacts,
    key: &str,
) -> Result<impl Stream<Item = Result<Bytes, ArtifactError>> + Unpin + use<>, ArtifactError> {
    artifacts.read(&fingerprint_key(key)).await
}

impl<S: Stream<Item = Result<Bytes, ArtifactError>> + Unpin> Cursor<S> {
    /// Moves to the next entry; a piece of one at the end of a chunk waits for the next chunk.
    async fn advance(&mut self) -> Result<(), ArtifactError> {
        while self.chunk.len() < ENTRY_BYTES {
            let Some(next) = self.bytes.next().await.transpose()? else {
                self.head = None;
                return Ok(());
            };
            self.chunk = if self.chunk.is_empty() { next } else { [&self.chunk[..], &next[..]].concat().into() };
        }
        let entry = self.chunk.get_u64_le();
        let splits = u8::try_from(entry & ((1 << SPLIT_BITS) - 1)).expect("four bits fit into a byte");
        self.head = Some(Entry { hash: entry >> SPLIT_BITS, splits });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::survey::Survey;

    async fn store(artifacts: &Artifacts, key: &str, rows: &[(&str, Option<&str>)]) {
        let folder = tempfile::tempdir().unwrap();
        let line = |(input, split): &(&str, Option<&str>)| {
            format!("{}\n", serde_json::json!({"input": input, "split": split}))
        };
        let file = Bytes::from(rows.iter().map(line).collect::<String>());
        artifacts.put(key, file.clone()).await.unwrap();
        let survey = Survey::begin(folder.path().to_owned());
        survey.push(file).await;
        survey.finish().await.unwrap().store(artifacts, key).await.unwrap();
    }

    fn group(keys: &[&str], split: Split) -> RowGroup {
        RowGroup { artifact_keys: keys.iter().map(|key| (*key).to_owned()).collect(), splits: vec![split] }
    }

    #[tokio::test]
    async fn inputs_are_counted_once_however_many_files_have_them() {
        let root = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::local(root.path()).unwrap();
        store(&artifacts, "one", &[("a", None), ("b", None), ("b", None), ("c", None)]).await;
        store(&artifacts, "two", &[("b", None), ("d", None)]).await;
        store(&artifacts, "test", &[("b", None), ("d", None), ("e", None)]).await;
        let groups =
            [group(&["one", "two"], Split::Train), group(&["test"], Split::Test), group(&["two"], Split::Test)];
        let found = shared_inputs(&artifacts, &groups).await.unwrap();
        assert_eq!(found.inputs, [4, 3, 2]);
        assert_eq!(found.both, [((0, 1), 2), ((0, 2), 2), ((1, 2), 2)]);
    }

    #[tokio::test]
    async fn one_file_may_hold_several_splits() {
        let root = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::local(root.path()).unwrap();
        store(&artifacts, "all", &[("a", Some("train")), ("b", Some("test")), ("c", None)]).await;
        let groups = [group(&["all"], Split::Train), group(&["all"], Split::Test)];
        let found = shared_inputs(&artifacts, &groups).await.unwrap();
        assert_eq!((found.inputs, found.both), (vec![2, 2], vec![((0, 1), 1)]));
    }

    #[tokio::test]
    async fn a_file_without_a_fingerprint_cannot_be_compared() {
        let root = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::local(root.path()).unwrap();
        let compared = shared_inputs(&artifacts, &[group(&["none"], Split::Train)]).await;
        assert!(matches!(compared, Err(ArtifactError::Missing { .. })));
    }
}
