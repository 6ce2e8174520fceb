//! Workers that are killed in the midst of asking, as real processes: what was answered is never bought again, and what
//! nobody knows is counted.

use std::{collections::HashSet, fs};

use serde_json::json;

use crate::support::{fleet::Fleet, service::until, teacher::GatedTeacher};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_samples_are_replayed_and_only_its_open_calls_are_asked_again() {
    const ROWS: usize = 6;
    const SAMPLES: usize = 3;
    let (fleet, teacher) = (Fleet::begin().await, GatedTeacher::start().await);
    let (config, questions) = (fleet.folder.path().join("worker.toml"), fleet.folder.path().join("questions.jsonl"));
    let settings =
        format!("name = \"gated\"\nmodel = \"m\"\nmax_concurrency = 4\nbase_url = \"http://{}/v1\"", teacher.address);
    fs::write(&config, format!("[[teachers]]\n{settings}\n")).unwrap();
    let rows: String = (0..ROWS).map(|row| format!("{}\n", json!({"input": format!("question {row}")}))).collect();
    fs::write(&questions, rows).unwrap();
    let file = fleet.client.upload(&questions).await;
    let job = fleet.sampled_annotation(&file, "gated", SAMPLES.try_into().unwrap()).await;
    let worker = |name: &str| fleet.worker_with(name, &["--config", config.to_str().unwrap()]);

    let first = worker("first");
    until("four questions are out", async || (teacher.asked().len() == 4).then_some(())).await;
    teacher.let_through(7);
    // Seven are answered and committed, the next four are out: no example has all its samples but perhaps one.
    let answered = "select count(*) from teacher_calls where state = 'answered'";
    until("seven answers are settled and four questions are out", async || {
        let answered: i64 = sqlx::query_scalar(answered).fetch_one(&fleet.database.pool).await.unwrap();
        (answered == 7 && teacher.asked().len() == 11).then_some(())
    })
    .await;
    first.signal(libc::SIGKILL);
    let paid: HashSet<String> = teacher.answered().into_iter().collect();
    let open: HashSet<String> = teacher.asked().into_iter().filter(|key| !paid.contains(key)).collect();
    assert_eq!((paid.len(), open.len()), (7, 4));

    fleet.expire_leases().await;
    let _second = worker("second");
    // The four that the dead worker waits for hold their places at the gate.
    teacher.let_through(ROWS * SAMPLES + 4);
    let ended = fleet.client.until_ended(&job).await;
    assert_eq!(
        (&ended["state"], &ended["result"]["counts"]["total"]),
        (&json!("succeeded"), &json!(ROWS)),
        "{ended:#}"
    );
    let later = teacher.asked()[11..].to_vec();
    assert_eq!(later.len(), ROWS * SAMPLES - 7, "{later:?}");
    assert!(later.iter().all(|key| !paid.contains(key)), "an answer was bought twice: {later:?}");
    assert!(open.iter().all(|key| later.contains(key)), "an open question is asked again under its key");
    let calls = &ended["result"]["calls"];
    assert_eq!(calls["answered"], json!(ROWS * SAMPLES), "{ended:#}");
    // The four, and perhaps one that was written down and waited for its turn.
    let unknown = calls["unknown"].as_i64().unwrap();
    assert!((4..=5).contains(&unknown), "{ended:#}");
    let told = fleet.event(&job, "calls_unknown").await.unwrap();
    assert_eq!(told["data"]["calls"], unknown, "{told:#}");
}
