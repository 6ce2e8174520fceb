//! `stepwise fetch` through the real binary: what it prints, what it leaves when it is killed, and whose secrets it keeps.

use std::{collections::BTreeMap, fs, os::unix::process::CommandExt, path::Path};

use crate::support::{
    hub::{Access, HubServer, TOKEN, digest, folder_of},
    service::{Ended, program, run},
};

const ID: &str = "google/t5-tiny";

fn files(weights: usize) -> BTreeMap<String, Vec<u8>> {
    let weights: Vec<u8> = (0..weights).map(|at| (at * 31 % 251) as u8).collect();
    [
        ("config.json", b"{\"model_type\": \"t5\"}".to_vec()),
        ("spiece.model", b"pieces".to_vec()),
        ("model.safetensors", weights),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .into()
}

/// Runs the command on a thread of its own: the server answers on this one.
async fn fetch(server: &HubServer, home: &Path, arguments: &[&str], more: &[(&str, &str)]) -> Ended {
    let arguments: Vec<String> = ["fetch"].iter().chain(arguments).map(|text| (*text).to_owned()).collect();
    let home = home.to_str().unwrap().to_owned();
    let mut variables = vec![("HF_ENDPOINT".to_owned(), server.endpoint.clone()), ("HF_HOME".to_owned(), home)];
    variables.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let ended = tokio::task::spawn_blocking(move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        run(&arguments, &variables)
    });
    ended.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_brought_by_the_hubs_own_variables_and_its_place_is_printed() {
    let (server, home) = (HubServer::start().await, tempfile::tempdir().unwrap());
    let commit = server.put_files(ID, "main", files(5000));
    server.restrict(ID, Access::Private);
    let refused = fetch(&server, home.path(), &[ID], &[]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("HF_TOKEN"), "{refused:?}");
    let token = [("HF_TOKEN", TOKEN), ("STEPWISE_LOG", "trace")];
    let brought = fetch(&server, home.path(), &[ID], &token).await;
    assert_eq!(brought.code, Some(0), "{brought:?}");
    let folder = folder_of(&home.path().join("hub"), &ID.parse().unwrap()).join("snapshots").join(commit.as_str());
    assert_eq!(brought.out, format!("{ID} {commit} {}\n", folder.display()));
    assert!(folder.join("model.safetensors").is_file());
    assert!(brought.err.contains("TRACE") || brought.err.contains("DEBUG"), "it logs all that it can: {brought:?}");
    assert!(!brought.err.contains(TOKEN) && !brought.err.contains("signature=canary"), "{}", brought.err);
    server.asked();
    let offline = fetch(&server, home.path(), &[ID], &[("HF_HUB_OFFLINE", "1")]).await;
    assert_eq!((offline.code, &offline.out), (Some(0), &brought.out));
    let nothing = fetch(&server, home.path(), &["google/other"], &[("HF_HUB_OFFLINE", "ON")]).await;
    assert!(nothing.code == Some(1) && nothing.err.contains("HF_HUB_OFFLINE"), "{nothing:?}");
    assert_eq!(server.asked(), []);
    let wrong = fetch(&server, home.path(), &["t5-small"], &[]).await;
    assert!(wrong.code == Some(2) && wrong.err.contains("owner/name@revision"), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_download_is_gone_on_with_by_the_next_process() {
    let (server, home) = (HubServer::start().await, tempfile::tempdir().unwrap());
    let files = files(3_000_000);
    server.put_files(ID, "main", files.clone());
    let (endpoint, place) = (server.endpoint.clone(), home.path().to_owned());
    // The kernel kills it in the midst of a write: no file may have more than 1.5 MB.
    let status = tokio::task::spawn_blocking(move || {
        let mut command = program();
        command.args(["fetch", ID]).env("HF_ENDPOINT", endpoint).env("HF_HOME", place);
        let limit = libc::rlimit { rlim_cur: 1_500_000, rlim_max: 1_500_000 };
        // SAFETY: setrlimit is async-signal-safe, and nothing else happens between fork and exec.
        unsafe {
            command.pre_exec(move || {
                if libc::setrlimit(libc::RLIMIT_FSIZE, &limit) == 0 {
                    Ok(())
                } else {
                    Err(std::io::Error::last_os_error())
                }
            })
        };
        command.output().unwrap().status
    });
    assert!(!status.await.unwrap().success());
    let name = digest("model.safetensors", &files["model.safetensors"]);
    let blobs = folder_of(&home.path().join("hub"), &ID.parse().unwrap()).join("blobs");
    assert!(!blobs.join(&name).exists(), "nothing half has a name");
    let left = fs::metadata(blobs.join(format!("{name}.incomplete"))).unwrap().len();
    assert_eq!(left, 1_500_000);
    server.asked();
    let ended = fetch(&server, home.path(), &[ID], &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(fs::read(blobs.join(&name)).unwrap(), files["model.safetensors"]);
    let asked = server.asked();
    let ranges: Vec<_> = asked.iter().filter(|asked| asked.of_storage).map(|asked| asked.range.as_deref()).collect();
    assert_eq!(ranges, [Some("bytes=1500000-")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_at_once_share_the_work() {
    let (server, home) = (HubServer::start().await, tempfile::tempdir().unwrap());
    let files = files(3_000_000);
    server.put_files(ID, "main", files.clone());
    let (one, other) = tokio::join!(fetch(&server, home.path(), &[ID], &[]), fetch(&server, home.path(), &[ID], &[]));
    assert_eq!((one.code, other.code), (Some(0), Some(0)), "{one:?} {other:?}");
    assert_eq!(one.out, other.out);
    let folder = Path::new(one.out.trim().rsplit(' ').next().unwrap());
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), files["model.safetensors"]);
    let asked = server.asked().into_iter().filter(|asked| asked.of_storage);
    assert_eq!(asked.count(), 2, "each large file came once");
}
