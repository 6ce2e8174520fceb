//! The report on an annotation: every figure against rows that are known, also while it runs.

use serde_json::{Value, json};
use stepwise::domain::{JobId, JobKind, TrainingSource};

use uuid::Uuid;

use crate::support::{
    app::TestApp,
    database::TestDatabase,
    seed::{distillation_of, long_terms, new_job, new_worker},
    service::until,
};

/// A running annotation of the task with the labels refund, exchange and reject.
async fn running_job(app: &TestApp) -> JobId {
    let file = app.file(&[json!({"input": "a", "label": "refund"})]).await;
    let request = json!({"file": file, "teacher": "large", "task": "returns"});
    let job = app.post("/v1/annotation-jobs", request).await.id().parse().unwrap();
    let (_, lease) = app.store.claim(new_worker(), &[JobKind::Annotation], &long_terms()).await.unwrap().unwrap();
    app.store.open_ledger(lease).await.unwrap();
    job
}

/// One example: ground truth, the teacher's label (none: invalid), agreement, rationale, faults, fingerprint.
type Row = (Option<&'static str>, Option<&'static str>, f64, &'static str, &'static [&'static str], i64);

const ROWS: &[Row] = &[
    (Some("refund"), Some("refund"), 1.0, "It arrived broken.", &[], 1),
    (Some("refund"), Some("reject"), 1.0, "It is too late, it is too late.", &["repeats_itself"], 2),
    (Some("refund"), Some("reject"), 0.6, "It is late.", &[], 3),
    (Some("reject"), Some("exchange"), 0.8, "It arrived broken.", &[], 1),
    (None, Some("refund"), 0.4, "So a reject.", &["contradicts_label", "empty_of_label"], 4),
    (Some("reject"), None, 0.0, "", &[], 0),
    (None, None, 0.0, "", &[], 0),
];

async fn settle(app: &TestApp, job: JobId) {
    for (place, (label, said, agreement, rationale, faults, fingerprint)) in ROWS.iter().enumerate() {
        let valid = said.is_some();
        let faults: Vec<String> = faults.iter().map(|&fault| fault.to_owned()).collect();
        let statement = "insert into annotations (job_id, example_index, project_id, example_id, input, label, status, reason,
                teacher_label, rationale, raw_output, input_tokens, output_tokens, latency_ms, samples, agreement,
                rationale_faults, rationale_fingerprint)
            select id, $2, project_id, 'line-' || $2 + 1, repeat('x', 10 * ($2::integer + 1)), $3, $4, $5, $6, $7, 'as it came',
                100, 20, 1, 5, $8, $9, $10
            from jobs where id = $1";
        sqlx::query(statement)
            .bind(job.0)
            .bind(i64::try_from(place).unwrap())
            .bind(label)
            .bind(if valid { "valid" } else { "invalid" })
            .bind((!valid).then_some("label \"maybe\" is not one of: refund"))
            .bind(said)
            .bind(valid.then_some(rationale))
            .bind(valid.then_some(agreement))
            .bind(valid.then_some(faults))
            .bind(valid.then_some(fingerprint))
            .execute(app.pool())
            .await
            .unwrap();
    }
    let calls = "insert into teacher_calls (job_id, example_index, sample, purpose, number, project_id, hand, round,
            request_sha256, state, reserved_input_tokens, reserved_output_tokens, reply, input_tokens, output_tokens,
            latency_ms, settled_at)
        select id, place, 0, 'answer', 0, project_id, 1, 0, decode(repeat('ab', 32), 'hex'), 'answered', 100, 20, 'x', 100, 20,
            100 * (place + 1), now()
        from jobs, generate_series(0, 6) as place where id = $1";
    sqlx::query(calls).bind(job.0).execute(app.pool()).await.unwrap();
    let sums =
        "update annotation_sums set valid = 5, invalid = 2, answered_calls = 7, unknown_calls = 1, input_tokens = 700,
        output_tokens = 140, unknown_input_tokens = 100, unknown_output_tokens = 20 where job_id = $1";
    sqlx::query(sums).bind(job.0).execute(app.pool()).await.unwrap();
}

#[tokio::test]
async fn a_report_on_a_running_job_adds_up_what_is_there() {
    let app = TestApp::start().await;
    let job = running_job(&app).await;
    settle(&app, job).await;
    let answer = app.get(&format!("/v1/jobs/{job}/report")).await;
    let report = &answer.body;
    assert_eq!(
        (answer.status, &report["object"], &report["state"]),
        (200, &json!("annotation_report"), &json!("running"))
    );
    assert_eq!(
        report["counts"],
        json!({"valid": 5, "invalid": 2, "refused": 0, "truncated": 0, "failed": 0, "total": 7})
    );
    let accuracy = &report["accuracy"];
    assert_eq!(
        (&accuracy["examples"], &accuracy["correct"], &accuracy["accuracy"]),
        (&json!(5), &json!(1), &json!(0.2))
    );
    assert_eq!(report["agreement"]["mean"], json!(0.76));
    assert_eq!(
        report["agreement"]["histogram"],
        json!([{"agreement": 0.4, "examples": 1}, {"agreement": 0.6, "examples": 1}, {"agreement": 0.8, "examples": 1},
            {"agreement": 1.0, "examples": 2}])
    );
    assert_eq!(
        report["labels"]["top"],
        json!([{"label": "refund", "rows": 2}, {"label": "reject", "rows": 2}, {"label": "exchange", "rows": 1}])
    );
    assert_eq!(
        report["input_characters"],
        json!({"min": 10, "p50": 40, "p90": 70, "p95": 70, "p99": 70, "max": 70, "mean": 40.0})
    );
    assert_eq!(
        (&report["rationale_characters"]["min"], &report["rationale_characters"]["max"]),
        (&json!(11), &json!(31))
    );
    assert_eq!((&report["latency_ms"]["p50"], &report["latency_ms"]["mean"]), (&json!(400), &json!(400.0)));
    assert_eq!(report["calls"], json!({"answered": 7, "failed": 0, "unknown": 1, "reused": 0}));
    assert_eq!((&report["tokens_per_example"], &report["input_tokens"]), (&json!(120.0), &json!(700)));
    // 700 tokens at 2 dollars a million and 140 at 10.
    assert_eq!((&report["cost_usd"], &report["unknown_cost_usd"]), (&json!(0.0028), &json!(0.0004)));
    assert_eq!(
        report["rationales"],
        json!({"examined": 5, "faulty": 3, "faults": {"contradicts_label": 1, "restates_input": 0, "repeats_itself": 1,
            "empty_of_label": 1, "duplicate": 1}})
    );
    let worst: Vec<(&str, i64)> = report["worst"]
        .as_array()
        .unwrap()
        .iter()
        .map(|case| (case["why"].as_str().unwrap(), case["example_index"].as_i64().unwrap()))
        .collect();
    // In turn: the commonest confusion, the commonest reason, the least agreement, a fault; then the second of each.
    assert_eq!(worst, [("wrong", 1), ("rejected", 5), ("disagreement", 4), ("wrong", 3), ("disagreement", 2)]);
    let first = &report["worst"][0];
    assert_eq!(first["message"], "the label is \"reject\" and the ground truth \"refund\", as with 2 examples in all");
    assert_eq!((&first["teacher_label"], &first["raw_output"]), (&json!("reject"), &json!("as it came")));
}

#[tokio::test]
async fn a_report_before_the_first_answer_says_so_and_one_on_another_kind_is_refused() {
    let app = TestApp::start().await;
    let job = running_job(&app).await;
    let report = app.get(&format!("/v1/jobs/{job}/report")).await.body;
    assert_eq!(
        (&report["counts"]["total"], &report["accuracy"], &report["latency_ms"]),
        (&json!(0), &Value::Null, &Value::Null)
    );
    assert_eq!(
        (&report["worst"], &report["agreement"]["mean"], &report["tokens_per_example"]),
        (&json!([]), &Value::Null, &Value::Null)
    );
    let rows = app.file(&[json!({"input": "a", "label": "refund"})]).await;
    let training = new_job(distillation_of(TrainingSource::File(rows.parse().unwrap())));
    app.store.create_job(&training).await.unwrap();
    app.get(&format!("/v1/jobs/{}/report", training.id)).await.refused(409, "not_an_annotation", "");
    assert_eq!(app.get("/v1/jobs/job-1/report").await.status, 404);
}

#[tokio::test]
async fn rows_from_before_lengths_were_kept_have_theirs() {
    let db = TestDatabase::before(17).await;
    db.old_annotation().await;
    let rows = "insert into annotations (job_id, example_index, project_id, example_id, input, status, teacher_label, agreement,
            rationale, input_tokens, output_tokens, latency_ms)
        select j.id, number, project_id, 'line-' || number, repeat('ü', number::integer + 1), 'valid', 'yes', 1,
            case when number < 2 then repeat('y', 5) end, 7, 3, 1
        from jobs j, generate_series(0, 2) as number";
    sqlx::query(rows).execute(&db.pool).await.unwrap();
    db.store.migrate().await.unwrap();
    let job = JobId(Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_000a));
    let lengths = db.store.annotation_lengths(job).await.unwrap();
    let (input, rationale) = (lengths.input.unwrap(), lengths.rationale.unwrap());
    assert_eq!((input.min, input.p50, input.max, rationale.min, rationale.max), (1, 2, 3, 5, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_for_a_report_that_takes_long_leave_the_database_to_others() {
    let app = TestApp::start().await;
    let job = running_job(&app).await;
    settle(&app, job).await;
    // Nobody reads an answer for as long as this is held.
    let mut held = app.pool().begin().await.unwrap();
    sqlx::query("lock table annotations in access exclusive mode").execute(&mut *held).await.unwrap();
    let path = format!("/v1/jobs/{job}/report");
    let asking = futures::future::join_all((0..30).map(|_| app.get(&path)));
    let others = async {
        let waiting = "select count(*) from pg_locks where not granted and relation = 'annotations'::regclass";
        until("a report waits for the rows", async || {
            let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(app.pool()).await.unwrap();
            (waiting > 0).then_some(())
        })
        .await;
        for _ in 0..20 {
            assert_eq!(app.get(&format!("/v1/jobs/{job}")).await.status, 200);
        }
        held.rollback().await.unwrap();
    };
    let (reports, ()) = tokio::join!(asking, others);
    assert!(reports.iter().all(|report| report.status == 200 && report.bytes == reports[0].bytes));
}
