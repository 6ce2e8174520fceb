//! A job's events and figures as server-sent events, written by one process and read from another.

use std::collections::BTreeMap;

use futures::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};
use stepwise::{
    clock::Clock,
    domain::{JobError, JobKind, Lease, LeaseTerms, WorkerId},
    store::{EventLevel, NewEvent},
    worker::write_end_once,
};

use crate::support::app::{Answer, TestApp};

/// One frame: its id, event and data.
#[derive(Debug, Default, PartialEq)]
struct Frame {
    id: Option<String>,
    event: Option<String>,
    data: Option<String>,
}

impl Frame {
    fn json(&self) -> Value {
        serde_json::from_str(self.data.as_deref().unwrap()).unwrap()
    }
}

fn frames(answer: &Answer) -> Vec<Frame> {
    let text = std::str::from_utf8(&answer.bytes).unwrap();
    let mut found = Vec::new();
    for block in text.split("\n\n").filter(|block| !block.is_empty()) {
        let mut frame = Frame::default();
        for line in block.lines() {
            match line.split_once(':').unwrap() {
                ("id", value) => frame.id = Some(value.trim().to_owned()),
                ("event", value) => frame.event = Some(value.trim().to_owned()),
                ("data", value) => frame.data = Some(value.trim().to_owned()),
                ("retry", value) => assert_eq!((value.trim(), found.len()), ("3000", 0)),
                ("", _) => {}
                other => panic!("an unknown line {other:?}"),
            }
        }
        if frame != Frame::default() {
            found.push(frame);
        }
    }
    found
}

fn names(frames: &[Frame]) -> Vec<&str> {
    frames.iter().map(|frame| frame.event.as_deref().unwrap_or("message")).collect()
}

async fn running_job(app: &TestApp) -> (String, Lease) {
    let file = app.file(&[json!({"input": "a"})]).await;
    let id = app.post("/v1/annotation-jobs", json!({"file": file, "teacher": "scripted"})).await.id();
    let worker = WorkerId(Clock::system().new_id());
    let (_, lease) = app.store.claim(worker, &JobKind::ALL, &LeaseTerms::default()).await.unwrap().unwrap();
    (id, lease)
}

async fn follow(app: &TestApp, path: &str, last_id: Option<&str>) -> Answer {
    app.request(Method::GET, path, |request| {
        let request = request.header("accept", "text/event-stream");
        last_id.into_iter().fold(request, |request, id| request.header("last-event-id", id))
    })
    .await
}

fn note(code: &str) -> NewEvent {
    NewEvent { level: EventLevel::Info, code: code.to_owned(), message: "seen".to_owned(), data: json!({}) }
}

#[tokio::test]
async fn a_stream_of_events_follows_a_job_to_its_end_and_closes() {
    let app = TestApp::start().await;
    let (id, lease) = running_job(&app).await;
    let path = format!("/v1/jobs/{id}/events");
    let work = async {
        app.store.append_event(lease, &note("half_way")).await.unwrap();
        app.store.finish(lease, &json!({"counts": {"total": 1}})).await.unwrap();
    };
    let (answer, ()) = tokio::join!(follow(&app, &path, None), work);
    assert_eq!(answer.headers["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(
        (&answer.headers["cache-control"], &answer.headers["x-accel-buffering"]),
        (&"no-cache".parse().unwrap(), &"no".parse().unwrap())
    );
    let frames = frames(&answer);
    let events: Vec<_> = frames.iter().filter(|frame| frame.event.as_deref() == Some("job.event")).collect();
    let codes: Vec<_> = events.iter().map(|frame| frame.json()["code"].clone()).collect();
    assert_eq!(codes, ["queued", "started", "half_way", "succeeded"]);
    assert!(events.iter().all(|frame| frame.id.as_deref() == Some(frame.json()["id"].to_string().as_str())));
    let end = &frames[frames.len() - 2..];
    assert_eq!((end[0].event.as_deref(), end[0].json()["state"].as_str()), (Some("job.done"), Some("succeeded")));
    assert_eq!((end[1].event.as_deref(), end[1].data.as_deref()), (None, Some("[DONE]")));
    let states: Vec<_> = frames
        .iter()
        .filter(|frame| frame.event.as_deref() == Some("job.state"))
        .map(|frame| frame.json()["state"].clone())
        .collect();
    assert_eq!(states.last().unwrap(), "succeeded", "{states:?}");
}

#[tokio::test]
async fn a_client_that_comes_back_misses_nothing_and_sees_nothing_twice() {
    let app = TestApp::start().await;
    let (id, lease) = running_job(&app).await;
    app.store.fail(lease, &JobError::new("teacher_refused", "no"), false).await.unwrap();
    assert!(write_end_once(&app.worker()).await.unwrap());
    let path = format!("/v1/jobs/{id}/events");
    let all = frames(&follow(&app, &path, None).await);
    let ids: Vec<_> = all
        .iter()
        .filter(|frame| frame.event.as_deref() == Some("job.event"))
        .map(|frame| frame.id.clone().unwrap())
        .collect();
    assert_eq!(ids.len(), 4);
    for (address, header) in [(path.clone(), Some(ids[0].as_str())), (format!("{path}?after={}", ids[0]), None)] {
        let rest = frames(&follow(&app, &address, header).await);
        let seen: Vec<_> = rest
            .iter()
            .filter(|frame| frame.event.as_deref() == Some("job.event"))
            .map(|frame| frame.id.clone().unwrap())
            .collect();
        assert_eq!(seen, ids[1..]);
        assert_eq!(rest[rest.len() - 2].id.as_deref(), Some("done"));
    }
    // The header wins: a browser repeats the address with its old cursor.
    let both = frames(&follow(&app, &format!("{path}?after={}", ids[0]), Some(&ids[3])).await);
    assert_eq!(names(&both), ["job.state", "job.done", "message"]);
    assert_eq!(follow(&app, &path, Some("done")).await.status, 204);
    follow(&app, &path, Some("yesterday")).await.refused(400, "invalid_value", "#/Last-Event-ID");
}

#[tokio::test]
async fn the_stream_of_a_cancelled_annotation_goes_on_until_its_result_is_there() {
    let app = TestApp::start().await;
    let (id, lease) = running_job(&app).await;
    app.post(&format!("/v1/jobs/{id}/cancel"), json!({})).await;
    app.store.cancelled(lease).await.unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/v1/jobs/{id}/events?stream=true", app.address);
    let mut body = client.get(url).send().await.unwrap().bytes_stream();
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).contains("its worker has stopped") {
        bytes.extend_from_slice(&body.next().await.unwrap().unwrap());
    }
    // All that happened has come, and the job is over; only the result is missing.
    assert!(write_end_once(&app.worker()).await.unwrap());
    while let Some(chunk) = body.next().await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    let text = String::from_utf8(bytes).unwrap();
    let data = |name: &str| {
        let found = text.rsplit_once(&format!("event: {name}\n")).unwrap().1;
        let line = found.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
        serde_json::from_str::<Value>(line).unwrap()
    };
    assert_eq!(data("job.event")["code"], "result_written");
    let done = data("job.done");
    assert_eq!((&done["state"], &done["result"]["counts"]["total"]), (&json!("cancelled"), &json!(0)), "{done:#}");
    assert!(text.trim_end().ends_with("data: [DONE]"), "{text}");
}

#[tokio::test]
async fn a_stream_of_figures_has_one_frame_each_and_can_be_narrowed() {
    let app = TestApp::start().await;
    let (id, lease) = running_job(&app).await;
    for step in [10, 20] {
        let values = BTreeMap::from([("loss".to_owned(), 1.5), ("learning_rate".to_owned(), 0.1)]);
        app.store.append_metrics(lease, step, &values).await.unwrap();
    }
    app.store.finish(lease, &json!({})).await.unwrap();
    let path = format!("/v1/jobs/{id}/metrics");
    // A stream has no pages: whatever a client says of their size is not read.
    let answer = app.get(&format!("{path}?stream=true&name=loss&limit=5000")).await;
    let frames_of_loss = frames(&answer);
    let figures = frames_of_loss.iter().filter(|frame| frame.event.as_deref() == Some("job.metrics"));
    let steps: Vec<_> = figures.map(|frame| frame.json()["step"].as_i64().unwrap()).collect();
    assert_eq!(steps, [10, 20]);
    assert_eq!(frames_of_loss[1].json()["value"], json!(1.5));
    let last = frames_of_loss.iter().filter_map(|frame| frame.id.as_deref()).nth(1);
    let rest = frames(&follow(&app, &path, last).await);
    assert_eq!(names(&rest), ["job.state", "job.done", "message"]);
    let page = app.get(&format!("{path}?stream=false")).await;
    assert_eq!(page.body["object"], "list");
    assert_eq!(follow(&app, "/v1/jobs/job-1/metrics", None).await.status, 404);
}

#[tokio::test]
async fn streams_end_when_the_service_stops() {
    let app = TestApp::start().await;
    let (id, _) = running_job(&app).await;
    let path = format!("/v1/jobs/{id}/events");
    let stop = async { app.shutdown.cancel() };
    // Whether the request came in before the end or found a closed door, nobody hangs.
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let open = client.get(format!("http://{}{path}?stream=true", app.address)).send().await.unwrap();
    let (text, ()) = tokio::join!(open.text(), stop);
    assert!(!text.unwrap().contains("job.done"));
}

#[tokio::test]
async fn a_figure_that_is_written_late_for_its_step_reaches_a_follower() {
    let app = TestApp::start().await;
    let (id, lease) = running_job(&app).await;
    let write = async |step, name: &str| {
        app.store.append_metrics(lease, step, &BTreeMap::from([(name.to_owned(), 1.0)])).await.unwrap();
    };
    let path = format!("/v1/jobs/{id}/metrics");
    write(250, "loss").await;
    let seen = app.get(&path).await.body["data"][0]["id"].to_string();
    // As after an examination, and as by the next attempt, which begins at an earlier snapshot.
    write(250, "label_accuracy").await;
    write(240, "loss").await;
    app.store.finish(lease, &json!({})).await.unwrap();
    let rest = frames(&follow(&app, &path, Some(&seen)).await);
    let figures: Vec<_> = rest.iter().filter(|frame| frame.event.as_deref() == Some("job.metrics")).collect();
    let shown: Vec<_> =
        figures.iter().map(|frame| (frame.json()["step"].clone(), frame.json()["name"].clone())).collect();
    assert_eq!(shown, [(json!(250), json!("label_accuracy")), (json!(240), json!("loss"))]);
}
