//! A file's bytes over HTTP: whole, in ranges, and not again for whoever has them.

use reqwest::{Method, header};
use serde_json::json;

use crate::support::app::{Answer, TestApp};

const CONTENT: &str = "{\"input\":\"a\"}\n{\"input\":\"b\"}\n{\"input\":\"c\"}\n";

struct Download {
    app: TestApp,
    path: String,
}

impl Download {
    async fn of(content: &str) -> Self {
        let app = TestApp::start().await;
        let id = app.upload(content).await.id();
        Self { path: format!("/v1/files/{id}/content"), app }
    }

    async fn with(&self, headers: &[(&str, &str)]) -> Answer {
        let with = |request: reqwest::RequestBuilder| {
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
        };
        self.app.request(Method::GET, &self.path, with).await
    }
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

#[tokio::test]
async fn a_range_is_answered_with_its_bytes_alone() {
    let file = Download::of(CONTENT).await;
    let size = CONTENT.len();
    for (range, first, last) in
        [("bytes=0-4", 0, 4), ("bytes=14-27", 14, 27), ("bytes=30-", 30, size - 1), ("bytes=-7", size - 7, size - 1)]
    {
        let answer = file.with(&[("range", range)]).await;
        assert_eq!(answer.status, 206, "{range}");
        assert_eq!(answer.bytes, &CONTENT.as_bytes()[first..=last], "{range}");
        assert_eq!(header(&answer, "content-range"), format!("bytes {first}-{last}/{size}"));
        assert_eq!(header(&answer, "content-length"), (last - first + 1).to_string());
    }
    // A range of more than a chunk.
    let long = format!("{{\"input\":\"{}\"}}\n", "x".repeat(900_000));
    let file = Download::of(&long).await;
    let answer = file.with(&[("range", "bytes=100000-800000")]).await;
    assert_eq!((answer.status, answer.bytes.len()), (206, 700_001));
}

#[tokio::test]
async fn a_range_behind_the_end_is_refused_with_the_size() {
    let file = Download::of(CONTENT).await;
    let answer = file.with(&[("range", &format!("bytes={}-", CONTENT.len()))]).await;
    assert_eq!((answer.status, answer.code()), (416, "range_not_satisfiable"));
    assert_eq!(header(&answer, "content-range"), format!("bytes */{}", CONTENT.len()));
}

#[tokio::test]
async fn a_range_that_is_not_understood_gives_the_whole_file() {
    let file = Download::of(CONTENT).await;
    for range in ["bytes=0-1,4-5", "bytes=5-2", "lines=1-2", "bytes=x"] {
        let answer = file.with(&[("range", range)]).await;
        assert_eq!((answer.status, answer.bytes.len()), (200, CONTENT.len()), "{range}");
        assert_eq!(header(&answer, "accept-ranges"), "bytes");
    }
}

#[tokio::test]
async fn whoever_has_the_bytes_is_told_so() {
    let file = Download::of(CONTENT).await;
    let whole = file.with(&[]).await;
    let tag = header(&whole, "etag").to_owned();
    let digest = file.app.get(file.path.trim_end_matches("/content")).await.body["digest"].clone();
    assert_eq!(json!(format!("sha256:{}", tag.trim_matches('"'))), digest);
    for tags in [tag.as_str(), "*", &format!("\"other\", W/{tag}")] {
        let answer = file.with(&[("if-none-match", tags)]).await;
        assert_eq!((answer.status, answer.bytes.len(), header(&answer, "etag")), (304, 0, tag.as_str()), "{tags}");
    }
    assert_eq!(file.with(&[("if-none-match", "\"other\"")]).await.status, 200);
    let ranged = file.with(&[("range", "bytes=0-1"), ("if-range", &tag)]).await;
    assert_eq!((ranged.status, ranged.bytes.len()), (206, 2));
    for stale in ["\"other\"", "Sat, 21 Nov 2026 06:00:00 GMT"] {
        let whole = file.with(&[("range", "bytes=0-1"), ("if-range", stale)]).await;
        assert_eq!((whole.status, whole.bytes.len()), (200, CONTENT.len()), "{stale}");
    }
}

#[tokio::test]
async fn a_head_tells_the_size_without_the_bytes() {
    let file = Download::of(CONTENT).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.head(format!("http://{}{}", file.app.address, file.path)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()[header::CONTENT_LENGTH], CONTENT.len().to_string());
    assert_eq!(answer.headers()[header::ACCEPT_RANGES], "bytes");
    assert!(answer.bytes().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_meets_a_deletion_is_whole_or_a_404() {
    let app = TestApp::start().await;
    for _ in 0..100 {
        let id = app.upload(CONTENT).await.id();
        let (file, content) = (format!("/v1/files/{id}"), format!("/v1/files/{id}/content"));
        let (deleted, whole, part) = tokio::join!(
            app.delete(&file),
            app.get(&content),
            app.request(Method::GET, &content, |request| request.header("range", "bytes=0-0"))
        );
        assert_eq!(deleted.status, 200);
        assert!(whole.status == 404 || (whole.status == 200 && whole.bytes == CONTENT.as_bytes()), "{}", whole.status);
        assert!([206, 404].contains(&part.status), "{}", part.status);
    }
}
