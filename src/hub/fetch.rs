//! A whole model into the cache.

use super::{
    Hub, HubError, Progress, Snapshot, Transfer,
    download::Download,
    files,
    remote::{RemoteFile, Revision},
};
use crate::{
    domain::{HubCommit, HubId},
    layout::ShardIndex,
};

/// The model's files. Where the Hub cannot be asked what the revision means, what it meant before is taken, if that is whole.
pub async fn fetch(hub: &Hub, id: &HubId, progress: &Progress) -> Result<Snapshot, HubError> {
    if let Some(snapshot) = hub.cached(id).filter(|_| id.commit().is_some()) {
        return Ok(snapshot);
    }
    if hub.settings().offline {
        let cache = hub.cache.root().to_owned();
        return hub.cached(id).ok_or_else(|| HubError::Offline { id: id.clone(), cache });
    }
    match hub.remote.revision(id).await {
        Ok(revision) => update(hub, id, revision, progress).await,
        Err(error) if error.is_outage() => {
            let snapshot = hub.cached(id).ok_or(error)?;
            tracing::warn!(%id, commit = %snapshot.commit, "the Hub cannot be asked; taking what the cache has");
            Ok(snapshot)
        }
        Err(error) => Err(error),
    }
}

/// Brings what is missing of a commit. Once it is known what the revision means now, nothing older takes its place.
async fn update(hub: &Hub, id: &HubId, revision: Revision, progress: &Progress) -> Result<Snapshot, HubError> {
    let (commit, pinned) = (&revision.commit, id.at(&revision.commit));
    if hub.cached(&pinned).is_none() {
        let download = Download { hub, id, commit, progress };
        let selection = files::select(id, &revision.files)?;
        let mut names: Vec<String> = selection.small.iter().map(|name| (*name).to_owned()).collect();
        match selection.index() {
            Some(index) => names.extend(shards(&download, index, &revision.files).await?),
            None => names.push(selection.weights.to_owned()),
        }
        bring_all(&download, names).await?;
    }
    // Only now: whoever reads it finds a whole model behind it.
    hub.cache.refer(id, commit)?;
    let snapshot = hub.cached(&pinned).map(|found| Snapshot { id: id.clone(), ..found });
    snapshot.ok_or_else(|| HubError::NoStudent { id: id.clone(), lacks: "files that its own list names".to_owned() })
}

/// The names of the shards, by the index, which is brought first.
async fn shards(download: &Download<'_>, index: &str, listed: &[String]) -> Result<Vec<String>, HubError> {
    let (hub, id, commit) = (download.hub, download.id, download.commit);
    if !hub.cache.has(id, commit, index) {
        download.bring(&hub.remote.file(id, commit, index).await?).await?;
    }
    let place = hub.cache.snapshot_folder(id, commit).join(index);
    let read = ShardIndex::read(&place);
    let read = read.map_err(|error| hub.remote.bad_reply(format!("{index} of {id} cannot be used: {error}")))?;
    let names: Vec<String> = read.shards().into_keys().map(str::to_owned).collect();
    match names.iter().find(|name| !listed.contains(name)) {
        Some(name) => Err(HubError::NoStudent { id: id.clone(), lacks: format!("{name}, which {index} names") }),
        None => Ok(names),
    }
}

/// Brings the files that the commit lacks here, telling first how much that is.
async fn bring_all(download: &Download<'_>, names: Vec<String>) -> Result<(), HubError> {
    let (hub, id, commit) = (download.hub, download.id, download.commit);
    let mut missing: Vec<RemoteFile> = Vec::new();
    for name in names.iter().filter(|name| !hub.cache.has(id, commit, name)) {
        missing.push(hub.remote.file(id, commit, name).await?);
    }
    begin(download.progress, commit, &missing);
    for file in &missing {
        download.bring(file).await?;
    }
    Ok(())
}

fn begin(progress: &Progress, commit: &HubCommit, missing: &[RemoteFile]) {
    if missing.is_empty() {
        return;
    }
    let transfer = Transfer {
        commit: commit.clone(),
        files: missing.len(),
        total_bytes: missing.iter().map(|file| file.bytes).sum(),
        done_bytes: 0,
        received_bytes: 0,
    };
    progress.send_replace(Some(transfer));
}
