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

#[tokio::test]
async fn a_file_that_is_deleted_between_its_row_and_its_bytes_is_a_404() {
    let app = TestApp::start().await;
    let id = app.upload(CONTENT).await.id();
    std::fs::remove_file(app.artifacts_dir.join("files").join(&id)).unwrap();
    let path = format!("/v1/files/{id}/content");
    assert_eq!(app.get(&path).await.status, 500, "a row without bytes is a fault");
    // Whoever looks at a file for the first time sees it, and nobody does after that.
    let gone_at_the_second_look = "create sequence looks;
        create or replace function file_has_expired(file uuid, expires_at timestamptz) returns boolean language sql volatile
            as $$ select nextval('looks') % 2 = 0 $$";
    sqlx::raw_sql(gone_at_the_second_look).execute(app.pool()).await.unwrap();
    for range in ["", "bytes=0-0"] {
        let gone = app.request(Method::GET, &path, |request| request.header("range", range)).await;
        assert_eq!((gone.status, gone.code()), (404, "not_found"), "{range}");
    }
}
