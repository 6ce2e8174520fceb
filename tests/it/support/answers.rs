//! Settled answers of a teacher, as rows.

use sqlx::PgPool;
use stepwise::domain::JobId;

/// Writes an answer of each status, in the file's order from this place. What is valid says `yes`.
pub async fn settle(pool: &PgPool, job: JobId, first: i64, statuses: &[&str]) {
    let statement = "insert into annotations (job_id, example_index, project_id, example_id, input, status, reason,
            teacher_label, rationale, raw_output, input_tokens, output_tokens, latency_ms)
        select j.id, $2 + s.place - 1, j.project_id, 'line-' || $2 + s.place, 'question ' || $2 + s.place - 1, s.status,
            case when s.status <> 'valid' then 'it is ' || s.status end, case when s.status = 'valid' then 'yes' end,
            case when s.status = 'valid' then 'It is so.' end, case when s.status <> 'failed' then 'as it came' end, 7, 3, 5
        from jobs j, unnest($3::text[]) with ordinality as s (status, place)
        where j.id = $1";
    let statuses: Vec<String> = statuses.iter().map(|&status| status.to_owned()).collect();
    let done = sqlx::query(statement).bind(job.0).bind(first).bind(&statuses).execute(pool).await.unwrap();
    assert_eq!(done.rows_affected(), statuses.len() as u64);
}

/// Writes so many valid answers with a rationale of so many bytes.
pub async fn settle_long(pool: &PgPool, job: JobId, count: i64, bytes: i32) {
    let statement =
        "insert into annotations (job_id, example_index, project_id, example_id, input, status, teacher_label,
            rationale, input_tokens, output_tokens, latency_ms)
        select id, number, project_id, number::text, 'question ' || number, 'valid', 'yes', repeat('y', $3), 7, 3, 5
        from jobs, generate_series(0, $2 - 1) as number
        where id = $1";
    sqlx::query(statement).bind(job.0).bind(count).bind(bytes).execute(pool).await.unwrap();
}
