//! Settled answers of a teacher, as rows.

use serde_json::json;
use sqlx::PgPool;
use stepwise::domain::{JobId, JobKind, Lease};

use super::{
    app::TestApp,
    seed::{annotation_of, long_terms, new_job, new_worker},
};

/// Claims a new annotation of which these answers are settled.
pub async fn running_annotation(app: &TestApp, statuses: &[&str]) -> Lease {
    let file = app.file(&[json!({"input": "a"})]).await;
    let job = app.store.create_job(&new_job(annotation_of(file.parse().unwrap()))).await.unwrap().id;
    let lease = app.store.claim(new_worker(), &[JobKind::Annotation], &long_terms()).await.unwrap().unwrap().1;
    assert_eq!(lease.job_id, job);
    settle(app.pool(), job, 0, statuses).await;
    lease
}

/// Writes an answer of each status, in the file's order from this place. What is valid says `yes`.
pub async fn settle(pool: &PgPool, job: JobId, first: i64, statuses: &[&str]) {
    let statement = "insert into annotations (job_id, example_index, project_id, example_id, input, status, reason,
            teacher_label, agreement, rationale, raw_output, input_tokens, output_tokens, latency_ms)
        select j.id, $2 + s.place - 1, j.project_id, 'line-' || $2 + s.place, 'question ' || $2 + s.place - 1, s.status,
            case when s.status <> 'valid' then 'it is ' || s.status end, case when s.status = 'valid' then 'yes' end,
            case when s.status = 'valid' then 1 end, case when s.status = 'valid' then 'It is so.' end, case when s.status <> 'failed' then 'as it came' end, 7, 3, 5
        from jobs j, unnest($3::text[]) with ordinality as s (status, place)
        where j.id = $1";
    let statuses: Vec<String> = statuses.iter().map(|&status| status.to_owned()).collect();
    let done = sqlx::query(statement).bind(job.0).bind(first).bind(&statuses).execute(pool).await.unwrap();
    assert_eq!(done.rows_affected(), statuses.len() as u64);
    sum_up(pool, job).await;
}

/// Brings the job's sums up to its rows, each of them one call.
async fn sum_up(pool: &PgPool, job: JobId) {
    let statement = "insert into annotation_sums as s (job_id, project_id, valid, invalid, refused, truncated, failed,
            answered_calls, input_tokens, output_tokens)
        select job_id, project_id, count(*) filter (where status = 'valid'), count(*) filter (where status = 'invalid'),
            count(*) filter (where status = 'refused'), count(*) filter (where status = 'truncated'),
            count(*) filter (where status = 'failed'), count(*), sum(input_tokens), sum(output_tokens)
        from annotations where job_id = $1 group by job_id, project_id
        on conflict (job_id) do update set valid = excluded.valid, invalid = excluded.invalid,
            refused = excluded.refused, truncated = excluded.truncated, failed = excluded.failed,
            answered_calls = excluded.answered_calls, input_tokens = excluded.input_tokens,
            output_tokens = excluded.output_tokens";
    sqlx::query(statement).bind(job.0).execute(pool).await.unwrap();
}

/// Writes so many valid answers with a rationale of so many bytes.
pub async fn settle_long(pool: &PgPool, job: JobId, count: i64, bytes: i32) {
    let statement =
        "insert into annotations (job_id, example_index, project_id, example_id, input, status, teacher_label,
            agreement, rationale, input_tokens, output_tokens, latency_ms)
        select id, number, project_id, number::text, 'question ' || number, 'valid', 'yes', 1, repeat('y', $3), 7, 3, 5
        from jobs, generate_series(0, $2 - 1) as number
        where id = $1";
    sqlx::query(statement).bind(job.0).bind(count).bind(bytes).execute(pool).await.unwrap();
    sum_up(pool, job).await;
}
