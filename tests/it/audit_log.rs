//! Who changed what, over HTTP and through a crash.

use std::fs;

use reqwest::Method;
use serde_json::{Value, json};
use stepwise::domain::Scope;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::support::{
    app::TestApp,
    database::TestDatabase,
    keys::{ALL, id_of, keys, make_key},
    service::{Client, Process, free_address, until},
};

/// The log, oldest first, by what matters of each entry.
async fn log(app: &TestApp, key: &str) -> Vec<Value> {
    let answer = app.get_with("/v1/audit-log?limit=1000", key).await;
    let mut entries = answer.body["data"].as_array().unwrap().clone();
    entries.reverse();
    entries
}

fn told(entry: &Value) -> (&str, &Value, &Value, &Value) {
    (entry["operation"].as_str().unwrap(), &entry["resource"], &entry["outcome"], &entry["status"])
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_in_the_log_with_who_asked_and_how_it_ended() {
    let app = TestApp::start().await;
    let key = app.key(&Scope::ALL, None).await;
    let header = format!("Bearer {key}");
    let send = async |method: Method, path: &str, body: Value| {
        app.request(method, path, |request| request.header("authorization", header.as_str()).json(&body)).await
    };
    let boundary = "--b\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nfine-tune\r\n--b\r\n\
         content-disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\n\r\n{\"input\":\"a\"}\n\r\n--b--\r\n";
    let uploaded = app
        .request(Method::POST, "/v1/files", |request| {
            let request = request.header("authorization", header.as_str());
            request.header("content-type", "multipart/form-data; boundary=b").body(boundary)
        })
        .await;
    let file = uploaded.id();
    let request = json!({"file": file, "teacher": "scripted"});
    let job = send(Method::POST, "/v1/annotation-jobs", request.clone()).await.id();
    send(Method::POST, "/v1/annotation-jobs?dry_run=true", request).await;
    assert_eq!(send(Method::DELETE, &format!("/v1/files/{file}"), json!({})).await.status, 409);
    send(Method::POST, &format!("/v1/jobs/{job}/cancel"), json!({})).await;
    send(Method::PUT, "/v1/aliases/live", json!({"model": "none"})).await;
    send(Method::POST, "/v1/predictions", json!({"model": "none", "inputs": ["a"]})).await;
    app.get_with("/v1/jobs", &key).await;
    app.get("/v1/jobs").await;

    let entries = log(&app, &key).await;
    let found: Vec<_> = entries.iter().map(told).collect();
    let (done, refused) = (json!("done"), json!("refused"));
    let (key_id, file, job) = (json!(id_of(&key)), json!(file), json!(job));
    assert_eq!(
        found,
        [
            ("keys create", &key_id, &done, &Value::Null),
            ("POST /v1/files", &file, &done, &json!(201)),
            ("POST /v1/annotation-jobs", &job, &done, &json!(201)),
            ("POST /v1/annotation-jobs", &Value::Null, &done, &json!(200)),
            ("DELETE /v1/files/{id}", &file, &refused, &json!(409)),
            ("POST /v1/jobs/{id}/cancel", &job, &done, &json!(200)),
            ("PUT /v1/aliases/{name}", &json!("live"), &refused, &json!(404)),
        ]
    );
    assert!(entries[1..].iter().all(|entry| entry["key"] == key_id), "{entries:#?}");
    assert_eq!(entries[1]["request_id"], uploaded.headers["x-request-id"].to_str().unwrap());

    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = app.get_with(&format!("/v1/audit-log?limit=3{after}"), &key).await.body;
        let data = page["data"].as_array().unwrap();
        seen.extend(data.iter().cloned());
        after = format!("&after={}", data.last().unwrap()["id"]);
        if page["has_more"] == false {
            break;
        }
    }
    seen.reverse();
    assert_eq!(seen, entries, "pages are the whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_a_crash_cut_off_is_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let (database, listen) = (TestDatabase::new().await, free_address());
    let key = make_key(&database.url, ALL);
    let (address, data) = (listen.to_string(), folder.path().join("data").display().to_string());
    let process = Process::start(
        &["serve", "--listen", &address, "--data-dir", &data, "--threads", "1"],
        &[("DATABASE_URL", &database.url), ("STEPWISE_LOG", "trace")],
        &folder.path().join("serve.log"),
    );
    Client::new(listen).until_ready().await;
    // An upload that never ends.
    let mut upload = TcpStream::connect(listen).await.unwrap();
    let head = format!(
        "POST /v1/files HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\nx-request-id: cut-off\r\n\
         content-type: multipart/form-data; boundary=b\r\ncontent-length: 100000\r\n\r\n--b\r\n"
    );
    upload.write_all(head.as_bytes()).await.unwrap();
    let rows = "select key_id, status, ended_at is null from audit_log where request_id = 'cut-off'";
    let row =
        async || sqlx::query_as::<_, (String, Option<i32>, bool)>(rows).fetch_optional(&database.pool).await.unwrap();
    until("it is written down", row).await;
    process.signal(libc::SIGKILL);
    assert_eq!(row().await, Some((id_of(&key).to_owned(), None, true)));
    // Nothing of the secret is in a log that has all there is to log.
    let log = fs::read_to_string(folder.path().join("serve.log")).unwrap();
    assert!(log.contains("TRACE") && log.contains("cut-off") && !log.contains(&key[12..56]));
}

#[tokio::test]
async fn what_the_command_line_does_to_keys_is_in_the_log() {
    let database = TestDatabase::new().await;
    let key = make_key(&database.url, "read");
    let revoke = || keys(&database.url, &["revoke", id_of(&key)]);
    assert_eq!((revoke().code, revoke().code), (Some(0), Some(0)));
    let rows = "select operation, resource, ended_at is not null and key_id is null from audit_log order by id";
    let rows: Vec<(String, String, bool)> = sqlx::query_as(rows).fetch_all(&database.pool).await.unwrap();
    let id = id_of(&key).to_owned();
    assert_eq!(rows, [("keys create".to_owned(), id.clone(), true), ("keys revoke".to_owned(), id, true)]);
}
