//! Pages of rows that may be large: they end early, and the next one goes on where they ended.

use stepwise::{domain::JobId, store::Page};

use crate::support::database::TestDatabase;

/// Rows of 1 MiB each.
const ROWS: i64 = 20;

/// Reads every page, and how many rows each had.
async fn pages<T>(mut next: impl AsyncFnMut(Option<i64>) -> (Page<T>, Option<i64>)) -> Vec<usize> {
    let (mut lengths, mut after) = (Vec::new(), None);
    loop {
        let (page, last) = next(after).await;
        lengths.push(page.items.len());
        after = last;
        if !page.has_more {
            return lengths;
        }
    }
}

async fn fill(db: &TestDatabase, job: JobId, statement: &'static str) {
    sqlx::query(statement).bind(job.0).bind(ROWS).execute(&db.pool).await.unwrap();
}

#[tokio::test]
async fn a_page_of_long_answers_ends_early() {
    let db = TestDatabase::new().await;
    let job = db.job().await.id;
    let annotations =
        "insert into annotations (job_id, example_index, project_id, example_id, input, status, rationale,
            teacher_label, agreement, input_tokens, output_tokens, latency_ms)
        select id, number, project_id, number::text, repeat('x', 1 << 19), 'valid', repeat('y', 1 << 19), 'yes', 1, 1, 1, 1
        from jobs, generate_series(0, $2 - 1) as number where id = $1";
    fill(&db, job, annotations).await;
    let list = async |after, limit| {
        let page = db.store.list_annotations(job, &[], after, limit).await.unwrap();
        let last = page.items.last().map(|row| row.example_index);
        (page, last)
    };
    assert_eq!(pages(async |after| list(after, 1000).await).await, [8, 8, 4]);
    assert_eq!(pages(async |after| list(after, 10).await).await, [8, 8, 4]);
    assert_eq!(pages(async |after| list(after, 8).await).await, [8, 8, 4]);
    assert_eq!(pages(async |after| list(after, 5).await).await, [5, 5, 5, 5]);
}

#[tokio::test]
async fn an_answer_larger_than_a_page_is_a_page() {
    let db = TestDatabase::new().await;
    let job = db.job().await.id;
    let annotations = "insert into annotations (job_id, example_index, project_id, example_id, input, status,
            input_tokens, output_tokens, latency_ms)
        select id, number, project_id, number::text, repeat('x', 9 << 20), 'failed', 1, 1, 1
        from jobs, generate_series(19, $2) as number where id = $1";
    fill(&db, job, annotations).await;
    let list = async |after| {
        let page = db.store.list_annotations(job, &[], after, 1000).await.unwrap();
        let last = page.items.last().map(|row| row.example_index);
        (page, last)
    };
    assert_eq!(pages(list).await, [1, 1]);
}

#[tokio::test]
async fn a_page_of_large_events_ends_early() {
    let db = TestDatabase::new().await;
    let job = db.job().await.id;
    let events = "insert into job_events (job_id, project_id, level, code, message, data)
        select id, project_id, 'info', 'large', 'large', jsonb_build_object('text', repeat('x', 1 << 20))
        from jobs, generate_series(1, $2) where id = $1";
    fill(&db, job, events).await;
    let list = async |after| {
        let page = db.store.list_events(job, after, 1000).await.unwrap();
        let last = page.items.last().map(|event| event.id);
        (page, last)
    };
    // The first event says that the job is queued.
    assert_eq!(pages(list).await, [9, 8, 4]);
}
