//! Rows as programs of each schema wrote them: whatever the constraints of the time tell apart. `@a1` is an id that ends so.

/// The rows written under the schema that this migration leaves.
pub fn written_after(version: i64) -> impl Iterator<Item = String> {
    ROWS.iter().filter(move |(after, _)| *after == version).map(|(_, text)| with_ids(text))
}

fn with_ids(text: &str) -> String {
    let mut parts = text.split('@');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |made, part| format!("{made}'00000000-0000-7000-8000-0000000000{}'{}", &part[..2], &part[2..]))
}

const ROWS: &[(i64, &str)] = &[
    (
        1,
        "insert into jobs (id, project_id, kind, state, spec, priority, result, error, attempt, max_attempts, lost_count, step_at_loss,
            lease_epoch, lease_owner, lease_expires_at, pause_reason, cancel_requested_at, metadata, run_at, sort_at, started_at,
            finished_at, progress_step, progress_total, progress_at)
        select j.id, @01::uuid, j.kind, j.state, jsonb_build_object('kind', j.kind), j.priority,
            case when j.state = 'succeeded' then '{\"seconds\": 12.5}'::jsonb end,
            case when j.state = 'failed' then '{\"code\": \"unreadable\"}'::jsonb end,
            j.attempt, 5, j.lost, 0, j.attempt + j.lost,
            case when j.state = 'running' then @ee::uuid end, case when j.state = 'running' then now() + interval '1 hour' end,
            case when j.state = 'paused' then 'budget' end, case when j.state = 'cancelled' then now() end,
            '{\"team\": \"returns\"}'::jsonb, now(), now(), case when j.attempt > 0 then now() end,
            case when j.state in ('succeeded', 'failed', 'cancelled') then now() end,
            case when j.attempt > 0 then 5 end, case when j.attempt > 0 then 10 end, case when j.attempt > 0 then now() end
        from (values
            (@a1::uuid, 'annotation', 'succeeded', 0, 1, 0), (@a2, 'annotation', 'failed', 0, 5, 2),
            (@a3, 'annotation', 'cancelled', 0, 1, 0), (@a4, 'annotation', 'running', 5, 1, 0),
            (@a5, 'annotation', 'paused', -5, 2, 0), (@d1, 'distillation', 'succeeded', 0, 2, 1),
            (@d2, 'distillation', 'succeeded', 0, 1, 0), (@d3, 'distillation', 'failed', 0, 5, 0),
            (@d4, 'distillation', 'running', 0, 1, 1), (@e1, 'evaluation', 'queued', 0, 0, 0)
        ) as j (id, kind, state, priority, attempt, lost);
        insert into job_dependencies (job_id, depends_on_id, project_id) values (@d1, @a1, @01), (@e1, @d1, @01);
        insert into files (id, project_id, filename, purpose, bytes, sha256, status, validation, artifact_key, made_by_job_id, deleted_at)
        values (@f1, @01, 'rows.jsonl', 'fine-tune', 12, repeat('ab', 32), 'processed', '{}', 'files/f1', null, null),
            (@f2, @01, 'output.jsonl', 'batch_output', 0, repeat('cd', 32), 'processed', '{}', 'jobs/a1/e1/output.jsonl', @a1, null),
            (@f3, @01, 'wrong.jsonl', 'evals', 7, repeat('ef', 32), 'error', '{\"errors\": []}', 'files/f3', null, null),
            (@f4, @01, 'gone.jsonl', 'user_data', 7, repeat('ef', 32), 'processed', '{}', 'files/f4', null, now());
        insert into job_files (job_id, file_id, project_id) values (@a1, @f1, @01), (@e1, @f1, @01);
        insert into job_events (job_id, project_id, level, code, message)
        values (@a1, @01, 'info', 'queued', 'queued'), (@a2, @01, 'error', 'failed', 'it failed');
        insert into job_metrics (job_id, step, name, project_id, value)
        values (@d1, 10, 'loss', @01, 0.5), (@d1, 5, 'loss', @01, 0.75), (@d4, 5, 'loss', @01, 'NaN');
        insert into annotations (job_id, example_index, project_id, example_id, input, label, status, reason, teacher_label, rationale,
            raw_output, input_tokens, output_tokens, latency_ms)
        values (@a1, 0, @01, 'line-0', 'a lämp', 'refund', 'valid', null, 'refund', 'it is late', 'it is late: refund', 7, 3, 1),
            (@a1, 1, @01, 'line-1', 'a coat', null, 'valid', null, 'reject', null, 'reject', 7, 3, 1),
            (@a1, 2, @01, 'line-2', 'a chair', null, 'invalid', 'no label', null, null, 'hm', 7, 3, 1),
            (@a1, 3, @01, 'line-3', 'a phone', null, 'refused', 'no', null, null, 'no', 7, 3, 1),
            (@a1, 4, @01, 'line-4', 'a bed', null, 'truncated', 'long', null, null, 'so', 7, 3, 1),
            (@a2, 0, @01, 'line-0', 'a lamp', null, 'failed', 'down', null, null, null, 0, 0, 1);
        insert into models (id, project_id, name, base, job_id, task, metrics, artifact_prefix, manifest_sha256, bytes, deleted_at)
        values (@b1, @01, 'desk', 'from_scratch', @d1, '{}', '{\"accuracy\": 0.9}', 'jobs/d1/e3/checkpoint', repeat('ab', 32), 9, null),
            (@b2, @01, 'gone', 'from_scratch', @d2, '{}', '{}', 'jobs/d2/e1/checkpoint', repeat('cd', 32), 9, now())",
    ),
    (
        2,
        "update jobs set estimate = '{\"seconds\": 10}', estimate_error = '{\"seconds\": 0.2}' where id = @d1;
        insert into idempotency_keys (project_id, route, key, fingerprint, holder, made_id, status, location, content_type, body)
        values (@01, 'POST /v1/annotation-jobs', 'first', repeat('ab', 32), @c1, @a1, 202, '/v1/jobs/a1', 'application/json', '{}'),
            (@01, 'POST /v1/annotation-jobs', 'open', repeat('cd', 32), @c2, null, null, null, null, null)",
    ),
    (
        3,
        "update jobs set pause_requested_at = now() where id = @d4;
        insert into snapshots (job_id, lease_epoch, step, project_id, artifact_prefix, manifest_sha256, bytes)
        values (@d4, 1, 4, @01, 'jobs/d4/e1/snapshot-4', repeat('ab', 32), 9)",
    ),
    (
        4,
        "update files set expires_at = created_at + interval '30 days' where id = @f1;
        update annotations set split = 'validation' where example_index = 1;
        update jobs set warnings = '[{\"code\": \"leakage\"}]' where id = @d1",
    ),
    (
        6,
        "update models set lineage = '{\"job\": \"d1\"}' where id = @b1;
        update models set purged_at = now(), base_model_id = @b1 where id = @b2;
        insert into checkpoints (id, project_id, job_id, step, accuracy, metrics, lineage, artifact_prefix, manifest_sha256, bytes,
            deleted_at, purged_at)
        values (@90, @01, @d4, 4, 0.5, '{}', '{}', 'jobs/d4/e1/checkpoint-4', repeat('ab', 32), 9, null, null),
            (@91, @01, @d4, 2, null, '{}', '{}', 'jobs/d4/e1/checkpoint-2', repeat('ab', 32), 9, now(), now());
        insert into model_names (project_id, name, kind, model_id, checkpoint_id, folder, target, previous_target)
        values (@01, 'live', 'alias', @b1, null, null, 'desk', 'gone'), (@01, 'early', 'alias', null, @90, null, 'd4:4', null),
            (@01, 'plain', 'alias', null, null, 't5-small', 't5-small', null);
        insert into alias_moves (project_id, alias, from_target, to_target) values (@01, 'live', null, 'gone'), (@01, 'live', 'gone', 'desk');
        insert into job_models (job_id, model_id, project_id) values (@e1, @b1, @01);
        insert into job_checkpoints (job_id, checkpoint_id, project_id) values (@e1, @90, @01)",
    ),
    (7, "update jobs set pace_step = 1, pace_at = now() where state = 'running'"),
    (8, "insert into job_metrics (job_id, step, name, project_id, value) values (@d4, 4, 'loss', @01, 0.6)"),
    (9, "update files set purged_at = now() where deleted_at is not null"),
    (10, "update jobs set worked_seconds = 4.5 where id = @a1"),
    (
        11,
        "insert into hub_commits (job_id, model, project_id, commit) values (@d1, 'google/flan-t5-small', @01, repeat('0a', 20))",
    ),
    (
        12,
        "insert into teacher_calls (job_id, example_index, sample, purpose, number, project_id, lease_epoch, round, request_sha256, state,
            reserved_input_tokens, reserved_output_tokens, reply, finish_reason, input_tokens, output_tokens, latency_ms, error,
            reused_from_job_id, settled_at, set_aside_at)
        select @a4::uuid, number, 0, purpose, 0, @01::uuid, 1, 0, sha256(number::text::bytea), state,
            case when state = 'reused' then 0 else 60 end, case when state = 'reused' then 0 else 40 end,
            reply, case when reply is not null then 'stop' end,
            case when state = 'answered' then 7 when reply is not null then 0 end,
            case when state = 'answered' then 3 when reply is not null then 0 end, case when reply is not null then 12 end,
            case when state in ('failed', 'unknown') then 'it hung' end, case when state = 'reused' then @a1::uuid end,
            case when state <> 'sent' then now() end, case when state = 'failed' then now() end
        from (values (0, 'answer', 'sent', null), (1, 'answer', 'answered', 'refund'), (1, 'repair', 'failed', null),
            (2, 'rationalization', 'unknown', null), (3, 'answer', 'reused', 'reject')) as c (number, purpose, state, reply);
        insert into annotations (job_id, example_index, project_id, example_id, input, label, status, teacher_label, rationale,
            input_tokens, output_tokens, latency_ms, samples, agreement, more_rationales, repaired, rationalized)
        values (@a4, 1, @01, 'line-1', 'a coat', 'refund', 'valid', 'refund', 'one', 7, 3, 1, 5, 0.8, '{two,three}', true, true);
        insert into annotation_sums (job_id, project_id, valid, answered_calls, failed_calls, unknown_calls, reused_calls, smoke)
        values (@a4, @01, 1, 1, 1, 1, 1, 'passed')",
    ),
    (
        13,
        "insert into teacher_paces (project_id, teacher, \"window\", threshold, narrowed_at, pushed_back, outages)
        values (@01, 'desk', 4.5, 8, now(), 3, 1), (@01, 'free', null, 0, null, 0, 0);
        insert into teacher_shares (project_id, teacher, worker, permits, wanted, expires_at) values (@01, 'desk', @ee, 4, 8, now())",
    ),
    (
        14,
        "update jobs set result = '{\"valid\": 0}' where id = @a2; update jobs set end_claimed_until = now() where id = @a3",
    ),
    (
        15,
        "insert into annotation_hands (job_id, project_id, worker, expires_at) values (@a4, @01, @ee, now());
        insert into annotation_chunks (job_id, number, project_id, first_index, end_index, line_number, byte_offset, end_offset, hand,
            settled_at)
        select @a4::uuid, number, @01::uuid, number * 10, number * 10 + 10, number * 10 + 1, number * 100, number * 100 + 100,
            case when number = 1 then (select max(epoch) from annotation_hands) end, case when number = 0 then now() end
        from generate_series(0, 2) as number;
        update annotation_sums set closed = true where job_id = @a1",
    ),
    (
        16,
        "update annotations set rationale_faults = '{repeats_input}', rationale_fingerprint = -7 where rationale = 'one';
        update annotations set rationale_faults = '{}', rationale_fingerprint = 7 where rationale = 'it is late'",
    ),
    (
        18,
        "insert into teacher_calls (job_id, example_index, sample, purpose, number, project_id, hand, round, request_sha256, state,
            reserved_input_tokens, reserved_output_tokens)
        values (@a4, 9, 1, 'answer', 1, @01, 7, 1, sha256('nine'), 'sent', 60, 40)",
    ),
    (
        19,
        "insert into files (id, project_id, filename, purpose, bytes, sha256, status, validation, artifact_key, made_by_job_id)
        values (@f5, @01, 'steps.csv', 'fine-tune-results', 12, repeat('ab', 32), 'processed', '{}', 'jobs/d1/e3/step_metrics.csv', @d1)",
    ),
    (
        21,
        "insert into api_keys (id, project_id, name, digest, last_four, scopes, expires_at, revoked_at, last_used_at)
        values ('1hTqe9Xb', @01, 'laptop', sha256('one'), 'abcd', '{read,submit}', now() + interval '30 days', null, now()),
            ('2hTqe9Xb', @01, 'lost', sha256('two'), 'efgh', '{admin}', null, now(), null);
        insert into audit_log (project_id, key_id, operation, resource, request_id, status, ended_at)
        values (@01, '1hTqe9Xb', 'POST /v1/files', 'file-1', 'request-1', 201, now()),
            (@01, null, 'keys create', '1hTqe9Xb', null, null, now()), (@01, '1hTqe9Xb', 'POST /v1/files', null, 'request-2', null, null)",
    ),
];
