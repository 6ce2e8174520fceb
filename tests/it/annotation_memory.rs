//! A large file of examples: asked about at once, planned while the first questions are out, and never in memory whole.

use std::fs;

use serde_json::json;

use crate::support::{fleet::Fleet, service::until, teacher::GatedTeacher};

const ROWS: i64 = 150_000;
const MEGABYTE: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_is_planned_while_its_first_rows_are_asked_in_a_small_fixed_amount_of_memory() {
    let (fleet, teacher) = (Fleet::begin().await, GatedTeacher::start().await);
    let worker = fleet.asking_worker("worker", &teacher);
    let count = async |statement: &'static str| -> i64 {
        sqlx::query_scalar(statement).fetch_one(&fleet.database.pool).await.unwrap()
    };
    // One small job first, so that everything is loaded.
    let annotate = async |rows: i64| {
        let path = fleet.folder.path().join(format!("{rows}.jsonl"));
        let filler = "x".repeat(400);
        let rows = (0..rows).map(|row| format!("{}\n", json!({"input": format!("question {row} {filler}")})));
        fs::write(&path, rows.collect::<String>()).unwrap();
        let file = fleet.client.upload(&path).await;
        fleet.annotation(&file, "gated").await
    };
    teacher.let_through(300);
    let small = annotate(300).await;
    fleet.client.until_ended(&small).await;
    let before = worker.peak_memory();

    annotate(ROWS).await;
    until("the first questions are out", async || (teacher.asked().len() == 304).then_some(())).await;
    until("all is planned", async || {
        let planned = count("select coalesce(max(end_index), 0)::bigint from annotation_chunks").await;
        (planned == ROWS).then_some(())
    })
    .await;
    assert_eq!(teacher.asked().len(), 304, "none of them has been answered");
    let taken = count("select count(*) from annotation_chunks where hand is not null").await;
    assert_eq!(taken, 1, "and no further chunk was taken");
    let grown = worker.peak_memory() - before;
    assert!(grown < 24 * MEGABYTE, "{} MiB for a file of 63", grown / MEGABYTE);
}
