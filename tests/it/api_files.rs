//! Files after their upload: lists, deletion, and that jobs hold on to them.

use serde_json::json;

use crate::support::app::TestApp;

async fn three_files(app: &TestApp) -> Vec<String> {
    let mut ids = Vec::new();
    for input in ["a", "b", "c"] {
        ids.push(app.file(&[json!({"input": input, "label": "refund"})]).await);
    }
    ids
}

fn ids(answer: &crate::support::app::Answer) -> Vec<String> {
    let data = answer.body["data"].as_array().unwrap();
    data.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn pages_follow_each_other_without_gaps() {
    let app = TestApp::start().await;
    let made = three_files(&app).await;
    let first = app.get("/v1/files?limit=2").await;
    assert_eq!((ids(&first), &first.body["has_more"]), (vec![made[2].clone(), made[1].clone()], &json!(true)));
    let second = app.get(&format!("/v1/files?limit=2&after={}", made[1])).await;
    assert_eq!((ids(&second), &second.body["has_more"]), (vec![made[0].clone()], &json!(false)));
    let oldest = app.get("/v1/files?order=asc&limit=1").await;
    assert_eq!(ids(&oldest), [made[0].clone()]);
    assert_eq!(ids(&app.get("/v1/files?purpose=evals").await), Vec::<String>::new());
    assert_eq!(ids(&app.get("/v1/files?purpose=fine-tune").await).len(), 3);
}

#[tokio::test]
async fn a_wrong_query_names_its_parameter() {
    let app = TestApp::start().await;
    app.get("/v1/files?limit=0").await.refused(400, "invalid_value", "#/limit");
    app.get("/v1/files?limit=many").await.refused(400, "invalid_value", "#/limit");
    app.get("/v1/files?order=up").await.refused(400, "invalid_value", "#/order");
    app.get("/v1/files?purpose=x").await.refused(400, "invalid_value", "#/purpose");
    app.get("/v1/files?after=job-1").await.refused(400, "invalid_value", "#/after");
    app.get("/v1/files?limit=1&limit=2").await.refused(400, "invalid_value", "#/limit");
    let answer = app.get("/v1/files?limmit=3").await;
    assert!(answer.refused(400, "unknown_parameter", "#/limmit").contains("did you mean \"limit\""));
}

#[tokio::test]
async fn a_deleted_file_is_gone_with_its_bytes() {
    let app = TestApp::start().await;
    let id = app.file(&[json!({"input": "a"})]).await;
    let answer = app.delete(&format!("/v1/files/{id}")).await;
    assert_eq!(answer.body, json!({"id": id, "object": "file", "deleted": true}));
    assert!(app.artifact_files().is_empty());
    for path in ["", "/content"] {
        let gone = app.get(&format!("/v1/files/{id}{path}")).await;
        assert_eq!((gone.status, gone.code()), (404, "not_found"));
    }
    assert_eq!(app.delete(&format!("/v1/files/{id}")).await.status, 404);
}

#[tokio::test]
async fn a_file_that_a_job_needs_cannot_be_deleted_until_the_job_is_over() {
    let app = TestApp::start().await;
    let id = app.file(&[json!({"input": "a"})]).await;
    let job = app.post("/v1/annotation-jobs", json!({"file": id, "teacher": "scripted"})).await.id();
    let answer = app.delete(&format!("/v1/files/{id}")).await;
    assert_eq!((answer.status, answer.code()), (409, "file_in_use"));
    assert_eq!(answer.headers["x-should-retry"], "false");
    assert!(answer.detail().contains(&job), "{}", answer.detail());
    app.post(&format!("/v1/jobs/{job}/cancel"), json!({})).await;
    assert_eq!(app.delete(&format!("/v1/files/{id}")).await.status, 200);
}

#[tokio::test]
async fn an_id_of_another_kind_is_not_found() {
    let app = TestApp::start().await;
    for id in ["job-00000000000000000000000000000000", "file-1", "x%2F..%2Fy"] {
        let answer = app.get(&format!("/v1/files/{id}")).await;
        assert_eq!((answer.status, answer.code()), (404, "not_found"));
    }
}

#[tokio::test]
async fn a_list_shows_files_without_what_makes_them_large() {
    let app = TestApp::start().await;
    let good = app.file(&[json!({"input": "a", "label": "refund"})]).await;
    let bad = app.upload("{\"input\":1}\n{\"inputs\":\"a\"}\n{\"input\":\"b\"}\nno JSON\n").await.id();
    let [whole_bad, whole_good] =
        [app.get(&format!("/v1/files/{bad}")).await, app.get(&format!("/v1/files/{good}")).await];
    let list = app.get("/v1/files?limit=10000").await.body["data"].clone();
    for (light, whole) in [(&list[0], &whole_bad.body), (&list[1], &whole_good.body)] {
        for member in ["id", "bytes", "digest", "filename", "status", "status_details", "expires_at"] {
            assert_eq!(light[member], whole[member], "{member}");
        }
        for member in ["rows", "valid_rows", "error_counts"] {
            assert_eq!(light["validation"][member], whole["validation"][member], "{member}");
        }
        assert!(light["validation"]["statistics"].is_null() && whole["validation"]["statistics"].is_object());
    }
    let errors = |file: &serde_json::Value| file["validation"]["errors"].as_array().unwrap().clone();
    assert_eq!((errors(&list[0]), errors(&whole_bad.body).len()), (vec![errors(&whole_bad.body)[0].clone()], 3));
    assert_eq!((&list[0]["validation"]["errors_truncated"], errors(&list[1]).len()), (&json!(true), 0));
    assert_eq!(list[1]["validation"]["errors_truncated"], false);
}
