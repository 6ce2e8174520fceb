//! Files that go away by themselves: who may ask for it, who no longer sees them, and who holds on to them.

use serde_json::{Value, json};
use stepwise::{domain::FileId, store::Store};

use crate::support::app::{Answer, TestApp};

const ROW: &[u8] = b"{\"input\":\"a\",\"label\":\"refund\"}\n";

async fn upload(app: &TestApp, more: &[(&str, &str)]) -> Answer {
    let mut form = vec![("purpose", None, b"fine-tune".as_slice()), ("file", Some("rows.jsonl"), ROW)];
    form.extend(more.iter().map(|(name, value)| (*name, None, value.as_bytes())));
    app.send_form(&form).await
}

async fn expiring(app: &TestApp) -> String {
    let asked = [("expires_after[anchor]", "created_at"), ("expires_after[seconds]", "3600")];
    upload(app, &asked).await.id()
}

/// Lets a file's time be over for so many minutes.
async fn let_expire(app: &TestApp, id: &str, minutes: i32) {
    let id: FileId = id.parse().unwrap();
    let statement = "update files set created_at = created_at - interval '1 day',
        expires_at = clock_timestamp() - make_interval(mins => $2) where id = $1";
    sqlx::query(statement).bind(id.0).bind(minutes).execute(app.pool()).await.unwrap();
}

#[tokio::test]
async fn an_upload_may_say_when_its_file_goes_away() {
    let app = TestApp::start().await;
    let plain = upload(&app, &[]).await;
    assert_eq!((plain.status, &plain.body["expires_at"]), (201, &Value::Null));
    for seconds in [3600, 2_592_000] {
        let text = seconds.to_string();
        let answer = upload(&app, &[("expires_after[seconds]", &text), ("expires_after[anchor]", "created_at")]).await;
        assert_eq!(answer.status, 201, "{:#}", answer.body);
        let [created, expires] = ["created_at", "expires_at"].map(|name| answer.body[name].as_i64().unwrap());
        assert_eq!(expires - created, seconds);
        assert_eq!(app.get(&format!("/v1/files/{}", answer.id())).await.body["expires_at"], expires);
    }
}

#[tokio::test]
async fn a_time_that_cannot_be_kept_is_refused_and_leaves_nothing() {
    let app = TestApp::start().await;
    let (anchor, seconds) = ("expires_after[anchor]", "expires_after[seconds]");
    for wrong in ["3599", "2592001", "-3600", "1e4", "soon", ""] {
        let answer = upload(&app, &[(anchor, "created_at"), (seconds, wrong)]).await;
        let detail = answer.refused(400, "invalid_value", "#/expires_after[seconds]");
        assert!(detail.contains("3600 to 2592000"), "{detail}");
    }
    let answer = upload(&app, &[(anchor, "last_used_at"), (seconds, "3600")]).await;
    answer.refused(400, "invalid_value", "#/expires_after[anchor]");
    upload(&app, &[(anchor, "created_at")]).await.refused(400, "missing_field", "#/expires_after[seconds]");
    upload(&app, &[(seconds, "3600")]).await.refused(400, "missing_field", "#/expires_after[anchor]");
    let twice = upload(&app, &[(anchor, "created_at"), (seconds, "3600"), (seconds, "3600")]).await;
    twice.refused(400, "invalid_value", "#/expires_after[seconds]");
    assert!(app.artifact_files().is_empty());
}

#[tokio::test]
async fn an_expired_file_is_gone_for_everyone_at_once() {
    let app = TestApp::start().await;
    let id = expiring(&app).await;
    let_expire(&app, &id, 0).await;
    for path in ["", "/content", "/statistics?model=tiny"] {
        let gone = app.get(&format!("/v1/files/{id}{path}")).await;
        assert_eq!((gone.status, gone.code()), (404, "not_found"), "{path}");
    }
    assert_eq!(app.get("/v1/files").await.body["data"], json!([]));
    assert_eq!(app.delete(&format!("/v1/files/{id}")).await.status, 404);
    let job = app.post("/v1/annotation-jobs", json!({"file": id, "teacher": "scripted"})).await;
    job.refused(400, "file_not_found", "#/file");
}

#[tokio::test]
async fn a_sweep_removes_the_rows_and_the_bytes_of_what_has_expired() {
    let app = TestApp::start().await;
    let (kept, gone) = (expiring(&app).await, expiring(&app).await);
    let_expire(&app, &gone, 2).await;
    assert_eq!(app.artifact_files().len(), 4, "two files and two fingerprints");
    stepwise::worker::sweep_once(&app.worker()).await.unwrap();
    let left = app.artifact_files();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left.iter().all(|path| path.to_string_lossy().contains(&kept)), "{left:?}");
    assert_eq!(app.get(&format!("/v1/files/{kept}")).await.status, 200);
    assert_eq!(app.store.expire_files(10).await.unwrap(), Vec::<FileId>::new(), "once is enough");
}

#[tokio::test]
async fn a_job_that_is_not_over_holds_on_to_its_files() {
    let app = TestApp::start().await;
    let id = expiring(&app).await;
    let job = app.post("/v1/annotation-jobs", json!({"file": id, "teacher": "scripted"})).await.id();
    let_expire(&app, &id, 2).await;
    assert_eq!(app.store.expire_files(10).await.unwrap(), Vec::<FileId>::new());
    assert_eq!(app.get(&format!("/v1/files/{id}/content")).await.bytes, ROW);
    assert_eq!(app.delete(&format!("/v1/files/{id}")).await.code(), "file_in_use");
    app.post(&format!("/v1/jobs/{job}/cancel"), json!({})).await;
    assert_eq!(app.get(&format!("/v1/files/{id}")).await.status, 404);
    assert_eq!(app.store.expire_files(10).await.unwrap().len(), 1);
    assert!(app.store.file(Store::default_project(), id.parse().unwrap()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_job_whose_file_has_expired_is_not_retried() {
    let app = TestApp::start().await;
    let id = expiring(&app).await;
    let job = app.post("/v1/annotation-jobs", json!({"file": id, "teacher": "scripted"})).await.id();
    app.post(&format!("/v1/jobs/{job}/cancel"), json!({})).await;
    let_expire(&app, &id, 0).await;
    let refused = app.post(&format!("/v1/jobs/{job}/retry"), json!({})).await;
    assert_eq!((refused.status, refused.code()), (409, "file_deleted"), "{:#}", refused.body);
    assert!(refused.detail().contains("has expired"), "{}", refused.detail());
    assert_eq!(app.get(&format!("/v1/jobs/{job}")).await.body["state"], "cancelled");
}
