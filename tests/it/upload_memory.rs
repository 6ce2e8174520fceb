//! An upload's memory does not grow with the file: the real process, watched by the kernel's own count.

use std::net::SocketAddr;

use serde_json::Value;

use crate::support::{
    database::TestDatabase,
    service::{Client, Process, free_address},
};

const MEGABYTE: usize = 1 << 20;

/// A megabyte of rows with ids and labels of their own, from a number on: so many that they do not stay in memory.
fn rows(number: &mut u64) -> Vec<u8> {
    let (mut text, filler) = (String::with_capacity(MEGABYTE + 400), "x".repeat(300));
    while text.len() < MEGABYTE {
        *number += 1;
        let line = format!(
            "{{\"id\":\"row-{number}\",\"input\":\"an order with the number {number} {filler}\",\"label\":\"l{number}\"}}\n"
        );
        text.push_str(&line);
    }
    text.into_bytes()
}

async fn upload(address: SocketAddr, megabytes: usize) -> Value {
    let boundary = "the-boundary";
    let head = format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nfine-tune\r\n\
         --{boundary}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"rows.jsonl\"\r\n\r\n"
    );
    let tail = format!("\r\n--{boundary}--\r\n");
    let mut number = 0;
    let chunks = (0..megabytes).map(move |_| rows(&mut number));
    let parts = std::iter::once(head.into_bytes()).chain(chunks).chain(std::iter::once(tail.into_bytes()));
    let body = reqwest::Body::wrap_stream(futures::stream::iter(parts.map(Ok::<_, std::io::Error>)));
    let request = reqwest::Client::new().post(format!("http://{address}/v1/files")).body(body);
    let request = request.header("content-type", format!("multipart/form-data; boundary={boundary}"));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 201);
    answer.json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_upload_takes_a_small_fixed_amount_of_memory() {
    let (folder, database, listen) = (tempfile::tempdir().unwrap(), TestDatabase::new().await, free_address());
    let data = folder.path().join("data");
    let serve = Process::start(
        &["serve", "--listen", &listen.to_string(), "--data-dir", data.to_str().unwrap(), "--threads", "1"],
        &[("DATABASE_URL", database.url.as_str())],
        &folder.path().join("serve.log"),
    );
    Client::new(listen).until_ready().await;
    upload(listen, 1).await;
    let before = serve.peak_memory();
    let file = upload(listen, 64).await;
    let grown = serve.peak_memory() - before;
    assert!(file["validation"]["rows"].as_u64() > Some(150_000), "{file:#}");
    assert_eq!(file["validation"]["rows"], file["validation"]["valid_rows"]);
    assert!(grown < 32 * MEGABYTE, "{} MiB for 64 MiB", grown / MEGABYTE);
}
