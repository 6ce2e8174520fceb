//! Uploads whose registration is not answered: their bytes stay exactly where their row does.

use reqwest::Method;
use serde_json::json;

use crate::support::{
    app::{Answer, TestApp},
    latch::Latch,
};

const ROW: &str = "{\"input\":\"a\",\"label\":\"refund\"}\n";
/// Files that are registered, not those that are withdrawn.
const REGISTERED: &str = "new.deleted_at is null";

async fn upload(app: &TestApp, key: Option<&str>) -> Answer {
    let body = format!(
        "--x\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nfine-tune\r\n\
         --x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\n\r\n{ROW}\r\n--x--\r\n"
    );
    app.request(Method::POST, "/v1/files", |request| {
        let request = request.header("content-type", "multipart/form-data; boundary=x").body(body.clone());
        key.into_iter().fold(request, |request, key| request.header("idempotency-key", key))
    })
    .await
}

async fn rows(app: &TestApp) -> i64 {
    sqlx::query_scalar("select count(*) from files").fetch_one(app.pool()).await.unwrap()
}

#[tokio::test]
async fn a_file_keeps_its_bytes_when_only_the_answer_to_its_registration_was_lost() {
    let (app, mut cable) = TestApp::start_on_cable().await;
    let mut latch = Latch::close(app.pool(), "files", REGISTERED).await;
    let lose_the_answer = async {
        latch.until_waiting(1).await;
        cable.mute();
        latch.open().await;
        while rows(&app).await == 0 {}
        cable.cut();
        cable.mend();
    };
    let (answer, ()) = tokio::join!(upload(&app, Some("k")), lose_the_answer);
    assert_eq!((answer.status, answer.code()), (503, "unavailable"));
    let again = upload(&app, Some("k")).await;
    assert_eq!((again.status, again.headers["idempotent-replayed"].to_str().unwrap()), (201, "true"));
    let content = app.get(&format!("/v1/files/{}/content", again.id())).await;
    assert_eq!((content.status, content.bytes.as_slice()), (200, ROW.as_bytes()));
    assert_eq!((rows(&app).await, app.artifact_files().len()), (1, 2), "one file and its fingerprint");
}

#[tokio::test]
async fn a_file_whose_registration_was_given_up_is_never_registered() {
    let (app, mut cable) = TestApp::start_on_cable().await;
    let mut latch = Latch::close(app.pool(), "files", REGISTERED).await;
    let lose_the_connection = async {
        latch.until_waiting(1).await;
        cable.cut();
        cable.mend();
    };
    let (answer, ()) = tokio::join!(upload(&app, None), lose_the_connection);
    assert_eq!((answer.status, answer.code()), (503, "unavailable"));
    assert!(app.artifact_files().is_empty(), "{:?}", app.artifact_files());
    // The server has not noticed that nobody listens any more.
    assert_eq!(latch.waiting().await, 1);
    latch.open().await;
    latch.until_waiting(0).await;
    assert_eq!(upload(&app, None).await.status, 201);
    let files = app.get("/v1/files").await.body["data"].as_array().unwrap().len();
    assert_eq!((files, rows(&app).await, app.artifact_files().len()), (1, 2, 2));
}

#[tokio::test]
async fn bytes_stay_while_nobody_can_tell_whether_their_file_is_registered() {
    let (app, mut cable) = TestApp::start_on_cable().await;
    let mut latch = Latch::close(app.pool(), "files", REGISTERED).await;
    let lose_the_database = async {
        latch.until_waiting(1).await;
        cable.cut();
        latch.open().await;
    };
    let (answer, ()) = tokio::join!(upload(&app, None), lose_the_database);
    assert_eq!((answer.status, answer.code()), (503, "unavailable"));
    while rows(&app).await == 0 {}
    cable.mend();
    let file = app.get("/v1/files").await.body["data"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(app.get(&format!("/v1/files/{file}/content")).await.bytes, ROW.as_bytes());
    assert_eq!(app.get(&format!("/v1/files/{file}")).await.body["validation"]["errors"], json!([]));
}
