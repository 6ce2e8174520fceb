//! Uploads: what is taken, what is refused with which words, and that nothing stays of what was refused.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::app::{MAX_UPLOAD_BYTES, TestApp};

const GOOD: &str =
    "{\"input\":\"a\",\"label\":\"refund\"}\n{\"input\":\"b\",\"teacher_label\":\"reject\",\"rationale\":\"r\"}\n";

#[tokio::test]
async fn a_good_file_is_stored_with_its_digest_and_counts() {
    let app = TestApp::start().await;
    let answer = app.upload(GOOD).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.headers["location"].to_str().unwrap(), format!("/v1/files/{}", answer.id()));
    let body = &answer.body;
    assert_eq!(
        (&body["status"], &body["bytes"], &body["purpose"]),
        (&json!("processed"), &json!(GOOD.len()), &json!("fine-tune"))
    );
    assert_eq!((&body["filename"], &body["status_details"]), (&json!("rows.jsonl"), &json!(null)));
    let counts = ["rows", "valid_rows", "labeled_rows", "teacher_labeled_rows", "rationale_rows"];
    assert_eq!(counts.map(|name| body["validation"][name].as_u64().unwrap()), [2, 2, 1, 1, 1]);
    let content = app.get(&format!("/v1/files/{}/content", answer.id())).await;
    assert_eq!(content.bytes, GOOD.as_bytes());
    assert_eq!(content.headers["content-length"], GOOD.len().to_string());
}

#[tokio::test]
async fn a_byte_order_mark_and_carriage_returns_are_accepted() {
    let app = TestApp::start().await;
    let answer = app.upload("\u{feff}{\"input\":\"a\"}\r\n\r\n{\"input\":\"b\"}\r\n").await;
    assert_eq!((answer.status, &answer.body["status"]), (201, &json!("processed")), "{:#}", answer.body);
    assert_eq!(answer.body["validation"]["rows"], 2);
}

#[tokio::test]
async fn bad_lines_are_listed_with_number_field_and_code() {
    let app = TestApp::start().await;
    let long = format!("{{\"input\":\"{}\"}}", "x".repeat(1 << 20));
    let mut file = b"{\"input\":\"a\",\"id\":\"1\"}\n{\"inputs\":\"b\"}\n{\"input\":7}\n\xff\xfe\nnot json\n".to_vec();
    file.extend_from_slice(format!("{long}\n{{\"input\":\"c\",\"id\":\"1\"}}\n").as_bytes());
    let answer = app.upload(file).await;
    assert_eq!((answer.status, &answer.body["status"]), (201, &json!("error")));
    let errors = answer.body["validation"]["errors"].as_array().unwrap();
    let found: Vec<_> =
        errors.iter().map(|error| (error["line"].as_u64().unwrap(), error["code"].as_str().unwrap())).collect();
    assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7], "{errors:#?}");
    for code in ["wrong_type", "invalid_utf8", "invalid_json", "too_long", "duplicate_id"] {
        assert!(found.iter().any(|(_, found)| *found == code), "{code} is missing: {found:?}");
    }
    assert!(errors[0]["message"].as_str().unwrap().contains("input"), "{}", errors[0]);
    assert!(answer.body["status_details"].as_str().unwrap().starts_with("6 of 7 lines are invalid; first: line 2"));
}

#[tokio::test]
async fn a_json_array_is_told_apart_from_lines() {
    let app = TestApp::start().await;
    let answer = app.upload("[{\"input\":\"a\"},\n{\"input\":\"b\"}]\n").await;
    assert_eq!(answer.body["status"], "error");
    assert!(answer.body["validation"]["errors"][0]["message"].as_str().unwrap().contains("JSONL"), "{:#}", answer.body);
}

#[tokio::test]
async fn an_empty_file_is_refused_and_leaves_nothing() {
    let app = TestApp::start().await;
    for content in ["", "\n\r\n"] {
        let answer = app.upload(content).await;
        assert_eq!((answer.status, answer.code()), (400, "empty_file"));
    }
    assert_eq!(app.artifact_files(), Vec::<std::path::PathBuf>::new());
    assert_eq!(app.get("/v1/files").await.body["data"], json!([]));
}

#[tokio::test]
async fn the_fields_may_come_in_any_order_but_must_be_the_two() {
    let app = TestApp::start().await;
    let (purpose, file) =
        (("purpose", None, b"evals".as_slice()), ("file", Some("f"), b"{\"input\":\"a\"}".as_slice()));
    assert_eq!(app.send_form(&[file, purpose]).await.body["purpose"], "evals");
    app.send_form(&[file]).await.refused(400, "missing_field", "#/purpose");
    app.send_form(&[purpose]).await.refused(400, "missing_field", "#/file");
    let unknown = app.send_form(&[purpose, ("flie", Some("f"), b"{}")]).await;
    assert!(unknown.refused(400, "unknown_parameter", "#/flie").contains("did you mean \"file\""));
    app.send_form(&[purpose, purpose, file]).await.refused(400, "invalid_value", "#/purpose");
    let other = app.send_form(&[("purpose", None, b"finetune"), file]).await;
    assert!(other.refused(400, "invalid_value", "#/purpose").contains("fine-tune"));
    app.send_form(&[("purpose", None, b"batch_output"), file]).await.refused(400, "invalid_value", "#/purpose");
    assert_eq!(app.artifact_files().len(), 2, "the file and its fingerprint");
}

#[tokio::test]
async fn a_name_is_a_label_and_never_a_path() {
    let app = TestApp::start().await;
    for (name, label) in [("../../etc/passwd", "passwd"), ("C:\\x\\rows.jsonl", "rows.jsonl"), ("", "upload.jsonl")] {
        let fields =
            [("purpose", None, b"fine-tune".as_slice()), ("file", Some(name), b"{\"input\":\"a\"}".as_slice())];
        assert_eq!(app.send_form(&fields).await.body["filename"], label);
    }
}

#[tokio::test]
async fn a_file_over_the_limit_is_refused_and_leaves_nothing() {
    let app = TestApp::start().await;
    let answer = app.upload(vec![b' '; usize::try_from(MAX_UPLOAD_BYTES).unwrap() + 1]).await;
    assert_eq!((answer.status, answer.code()), (413, "too_large"));
    assert_eq!(app.artifact_files(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn a_body_that_is_no_form_is_refused() {
    let app = TestApp::start().await;
    let answer = app.post("/v1/files", json!({})).await;
    assert_eq!((answer.status, answer.code()), (415, "unsupported_media_type"));
    assert!(answer.detail().contains("multipart/form-data"));
}

#[tokio::test]
async fn a_form_whose_parts_never_come_is_refused_before_its_end() {
    let app = TestApp::start().await;
    let head = "POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\n";
    let endless = "a".repeat(1 << 20);
    for begun in ["", "--b\r\ncontent-disposition: form-data; name=\""] {
        let mut socket = tokio::net::TcpStream::connect(app.address).await.unwrap();
        let request = format!("{head}content-length: 1000000000\r\n\r\n{begun}");
        socket.write_all(request.as_bytes()).await.unwrap();
        let (mut reading, mut writing) = socket.split();
        // The service may hang up before it has all of it.
        let send = async { drop(writing.write_all(endless.as_bytes()).await) };
        let mut answer = vec![0; 4096];
        let ((), read) = tokio::join!(send, reading.read(&mut answer));
        let answer = String::from_utf8_lossy(&answer[..read.unwrap()]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("within 65536 bytes"), "{answer}");
    }
    assert_eq!(app.artifact_files(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let app = TestApp::start().await;
    let mut socket = tokio::net::TcpStream::connect(app.address).await.unwrap();
    let head = "POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: 100000\r\n\r\n";
    let part = "--b\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nfine-tune\r\n\
        --b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n{\"input\":\"a\"}\n";
    socket.write_all(format!("{head}{part}").as_bytes()).await.unwrap();
    socket.flush().await.unwrap();
    drop(socket);
    // The service hears of it when it reads on; until then what was staged may still lie there.
    for _ in 0..500 {
        let answered = app.get("/metrics").await;
        let text = String::from_utf8(answered.bytes).unwrap();
        if app.artifact_files().is_empty() && text.contains("stepwise_http_requests_total") {
            break;
        }
    }
    assert_eq!(app.artifact_files(), Vec::<std::path::PathBuf>::new());
    assert_eq!(app.get("/v1/files").await.body["data"], json!([]));
}
