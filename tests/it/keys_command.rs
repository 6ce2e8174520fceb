//! `stepwise keys` and the processes that ask for keys, as processes.

use std::{fs, net::SocketAddr, path::Path, process::Stdio};

use serde_json::json;
use stepwise::{domain::Scope, worker::write_end_once};

use crate::support::{
    app::TestApp,
    database::TestDatabase,
    keys::{ALL, id_of, keys, make_key},
    service::{Process, free_address, program, run, until},
};

#[tokio::test]
async fn a_key_is_made_shown_once_listed_and_revoked() {
    let database = TestDatabase::new().await;
    let made =
        keys(&database.url, &["create", "--name", "the dashboard", "--scopes", "read,infer", "--expires", "30d"]);
    let key = made.out.trim_end();
    assert_eq!((made.code, key.len(), made.out.lines().count()), (Some(0), 62, 1), "{made:?}");
    let other = make_key(&database.url, "admin");
    let revoked = keys(&database.url, &["revoke", id_of(&other)]);
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    let listed = keys(&database.url, &["list"]);
    let lines: Vec<_> = listed.out.lines().collect();
    let of = |key: &str| *lines.iter().find(|line| line.starts_with(id_of(key))).unwrap();
    assert!(
        of(key).contains("the dashboard") && of(key).contains("read,infer") && of(key).ends_with("good"),
        "{lines:#?}"
    );
    assert!(of(key).contains(&key[58..]) && of(&other).ends_with("revoked"), "{lines:#?}");
    for secret in [&key[12..56], &other[12..56]] {
        assert!(!format!("{}{}{}", listed.out, listed.err, made.err).contains(secret));
    }
    let unknown = keys(&database.url, &["revoke", "nobodys1"]);
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert!(unknown.err.contains("there is no key nobodys1"), "{unknown:?}");
}

#[tokio::test]
async fn what_cannot_be_a_key_is_refused_before_the_database_is_asked() {
    let url = "postgres://u@127.0.0.1:1/d";
    for (arguments, words) in [
        (&["create", "--name", "a", "--scopes", "read,write"][..], "unknown scope"),
        (&["create", "--name", "a"], "--scopes"),
        (&["create", "--name", "", "--scopes", "read"], "1 to 100 characters"),
        (&["create", "--name", "a", "--scopes", "read", "--expires", "soon"], "30d"),
        (&["revoke", "sw_"], "API key"),
        (&["list", "--device", "cpu"], "--device"),
    ] {
        let ended = keys(url, arguments);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains(words), "{words}: {ended:?}");
    }
    let ended = keys(url, &["list"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
}

fn serve(listen: SocketAddr, folder: &Path, database: &str, more: &[&str]) -> Process {
    let (listen, data) = (format!("0.0.0.0:{}", listen.port()), folder.join("data").display().to_string());
    let arguments = [&["serve", "--listen", &listen, "--data-dir", &data, "--threads", "1"], more].concat();
    Process::start(&arguments, &[("DATABASE_URL", database)], &folder.join("serve.log"))
}

async fn status(listen: SocketAddr, path: &str, key: Option<&str>) -> Option<u16> {
    stepwise::outbound::install_tls();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.get(format!("http://{listen}{path}"));
    let request = key.into_iter().fold(request, |request, key| request.bearer_auth(key));
    request.send().await.ok().map(|reply| reply.status().as_u16())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_other_machines_reach_does_not_run_without_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let (database, listen) = (TestDatabase::new().await, free_address());
    let mut refused = serve(listen, folder.path(), &database.url, &[]);
    until("it ends", async || refused.has_ended().then_some(())).await;
    assert!(!refused.wait());
    let log = fs::read_to_string(folder.path().join("serve.log")).unwrap();
    assert!(log.contains("there is no API key yet; make one with `stepwise keys create`"), "{log}");

    let ready = async || (status(listen, "/readyz", None).await == Some(200)).then_some(());
    let consented = serve(listen, folder.path(), &database.url, &["--allow-unauthenticated"]);
    until("it is ready", ready).await;
    assert_eq!(status(listen, "/v1/jobs", None).await, Some(200));
    let key = make_key(&database.url, "read");
    let closed = async || (status(listen, "/v1/jobs", None).await == Some(401)).then_some(());
    until("it asks for the key that there is", closed).await;
    drop(consented);

    let _process = serve(listen, folder.path(), &database.url, &[]);
    until("it is ready", ready).await;
    assert_eq!(status(listen, "/v1/jobs", None).await, Some(401));
    assert_eq!(status(listen, "/v1/jobs", Some(&key)).await, Some(200));
    assert_eq!(status(listen, "/metrics", None).await, Some(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_private_database_is_found_before_up_runs_and_while_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let (listen, data) = (free_address(), folder.path().join("data").display().to_string());
    let here = |arguments: &[&str]| run(&[&["keys", "--data-dir", &data], arguments].concat(), &[]);
    let made = here(&["create", "--name", "the first", "--scopes", ALL]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let first = made.out.trim_end();
    let address = listen.to_string();
    let arguments = ["up", "--listen", &address, "--data-dir", &data, "--threads", "1"];
    let mut up = Process::start(&arguments, &[], &folder.path().join("up.log"));
    until("it is ready", async || (status(listen, "/readyz", None).await == Some(200)).then_some(())).await;
    assert_eq!(status(listen, "/v1/jobs", None).await, Some(401));
    assert_eq!(status(listen, "/v1/jobs", Some(first)).await, Some(200));
    let second = here(&["create", "--name", "the second", "--scopes", "read"]);
    assert_eq!(status(listen, "/v1/jobs", Some(second.out.trim_end())).await, Some(200), "{second:?}");
    let listed = here(&["list"]);
    assert!(listed.out.contains("the first") && listed.out.contains("the second"), "{listed:?}");
    up.signal(libc::SIGTERM);
    assert!(up.wait());
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_asks_with_the_key_of_its_variable() {
    let app = TestApp::start().await;
    let file = app.file(&[json!({"input": "a"})]).await;
    let request = json!({"file": file, "teacher": "scripted"});
    let job = app.post("/v1/annotation-jobs", request).await.id();
    app.post(&format!("/v1/jobs/{job}/cancel"), json!({})).await;
    assert!(write_end_once(&app.worker()).await.unwrap());
    let key = app.key(&[Scope::Read], None).await;
    until("the service wants keys", async || (app.get("/v1/jobs").await.status == 401).then_some(())).await;
    let url = format!("http://{}", app.address);
    let watch = |key: Option<&str>| {
        let mut command = program();
        command
            .args(["watch", &job, "--url", &url])
            .stdin(Stdio::null())
            .envs(key.map(|key| ("STEPWISE_API_KEY", key)));
        command.output().unwrap()
    };
    let refused = watch(None);
    assert_eq!(refused.status.code(), Some(6), "{refused:?}");
    let words = String::from_utf8_lossy(&refused.stderr).into_owned() + &String::from_utf8_lossy(&refused.stdout);
    assert!(words.contains("the key comes from STEPWISE_API_KEY"), "{words}");
    let wrong = watch(Some("sw_wrong"));
    assert_eq!(wrong.status.code(), Some(6), "{wrong:?}");
    assert!(!format!("{wrong:?}").contains("sw_wrong"), "{wrong:?}");
    assert_eq!(watch(Some(&key)).status.code(), Some(3), "the job is cancelled");
}
