//! `stepwise gc`: it says what it would remove, removes that, and nothing that anybody needs or is writing.

use std::{
    fs::{self, File},
    path::Path,
    time::Duration,
};

use serde_json::json;

use crate::support::{
    app::TestApp,
    fleet::Fleet,
    service::{Ended, head, run, until},
};

const TWO_DAYS: Duration = Duration::from_secs(2 * 86_400);
const ORPHAN: &str = "files/file-0199f3c2a5b87e4d9c1f2a3b4c5d6e7f";

/// Makes everything below a folder two days older.
fn age(path: &Path) {
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| age(&entry.unwrap().path()));
    }
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    File::open(path).unwrap().set_modified(modified - TWO_DAYS).unwrap();
}

fn leave(data: &Path, place: &str, bytes: usize) {
    let path = data.join(place);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, vec![b'x'; bytes]).unwrap();
}

fn gc(data: &Path, url: &str, more: &[&str]) -> Ended {
    let arguments = [&["gc", "--data-dir", data.to_str().unwrap()], more].concat();
    let ended = run(&arguments, &[("DATABASE_URL", url)]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    ended
}

/// The places that it printed, each with its bytes, and the last line.
fn printed(ended: &Ended) -> (Vec<(u64, String)>, String) {
    let mut lines: Vec<&str> = ended.out.lines().map(str::trim).collect();
    let sum = lines.pop().unwrap().to_owned();
    let place = |line: &str| {
        let (bytes, place) = line.split_once(' ').unwrap();
        (bytes.parse().unwrap(), place.to_owned())
    };
    let mut places: Vec<_> = lines.into_iter().map(place).collect();
    places.sort();
    (places, sum)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_what_goes_and_the_next_run_removes_just_that() {
    let fleet = Fleet::begin().await;
    let (data, url) = (fleet.folder.path().join("data"), fleet.database.url.as_str());
    let rows = head(&fleet.folder.path().join("desk/labeled.jsonl"), 5);
    let file = fleet.client.upload(&rows).await;
    let job = "job-0199f3c2a5b87e4d9c1f2a3b4c5d6e7f";
    leave(&data, &format!("artifacts/{ORPHAN}"), 100);
    leave(&data, &format!("artifacts/{ORPHAN}.fingerprint"), 20);
    leave(&data, &format!("artifacts/jobs/{job}/e1/checkpoint/config.json"), 3);
    leave(&data, &format!("artifacts/jobs/{job}/e1/checkpoint/model.safetensors"), 4000);
    leave(&data, "artifacts/files/file-1#1", 50);
    leave(&data, &format!("scratch/{job}-e1/spec.json"), 7);
    age(&data);
    leave(&data, "artifacts/files/file-0199f3c2a5b87e4d9c1f2a3b4c5d6e80", 9);

    let (places, sum) = printed(&gc(&data, url, &["--dry-run"]));
    let at = |place: &str| data.join(place).to_str().unwrap().to_owned();
    let mut expected = vec![
        (120, format!("artifacts/{ORPHAN}")),
        (4003, format!("artifacts/jobs/{job}/e1/checkpoint")),
        (50, at("artifacts/files/file-1#1")),
        (7, at(&format!("scratch/{job}-e1"))),
    ];
    expected.sort();
    assert_eq!((&places, sum.as_str()), (&expected, "4180 bytes in 4 places to be removed"));
    assert!(data.join(format!("artifacts/{ORPHAN}")).exists() && data.join(format!("scratch/{job}-e1")).exists());

    let (places, sum) = printed(&gc(&data, url, &[]));
    assert_eq!((&places, sum.as_str()), (&expected, "4180 bytes in 4 places removed"));
    for (_, place) in &expected {
        assert!(!data.join(place).exists(), "{place}");
    }
    assert_eq!(printed(&gc(&data, url, &[])), (Vec::new(), "0 bytes in 0 places removed".to_owned()));
    assert!(data.join("artifacts/files/file-0199f3c2a5b87e4d9c1f2a3b4c5d6e80").exists(), "it is young");
    assert_eq!(fleet.client.text(&format!("/v1/files/{file}/content")).await, fs::read_to_string(&rows).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_under_way_is_left_alone_and_becomes_a_file() {
    let app = TestApp::start().await;
    let data = app.artifacts_dir.parent().unwrap().to_owned();
    let id = app.file(&[json!({"input": "a"})]).await;
    age(&app.artifacts_dir);
    // More than the store keeps in memory, so that a part of it lies on the disk.
    let mut upload = app.rooms.artifacts.writer(ORPHAN).await.unwrap();
    upload.write(&vec![b'x'; 6 << 20]).await.unwrap();
    let staged = app.artifacts_dir.join(format!("{ORPHAN}#1"));
    until("a part is on the disk", async || staged.exists().then_some(())).await;
    assert_eq!(printed(&gc(&data, app.database_url(), &[])), (Vec::new(), "0 bytes in 0 places removed".to_owned()));
    assert_eq!(upload.finish().await.unwrap().bytes, 6 << 20);
    assert_eq!(app.get(&format!("/v1/files/{id}/content")).await.status, 200);
}

#[test]
fn without_a_database_nothing_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    leave(&data, "cache/models/fetching-1/config.json", 5);
    age(&data);
    let nowhere = format!("postgres://stepwise@localhost/none?host={}", folder.path().display());
    let ended = run(&["gc", "--data-dir", data.to_str().unwrap()], &[("DATABASE_URL", &nowhere)]);
    assert!(ended.code == Some(1) && ended.err.contains("the database cannot be reached"), "{ended:?}");
    assert!(data.join("cache/models/fetching-1").exists());
}
