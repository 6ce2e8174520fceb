-- The first schema: projects, files, jobs with their queue, what jobs report, and models.
-- Ids are UUIDv7 and come from the caller; instants come from this server's clock_timestamp().

create table projects (
    id uuid primary key,
    name text not null unique,
    created_at timestamptz not null default clock_timestamp()
);
comment on table projects is 'Who owns every other row. One project stands for everything until there are API keys.';
comment on column projects.id is 'UUID; the default project has a fixed one.';
comment on column projects.name is 'What people call it.';
comment on column projects.created_at is 'When it was made.';

insert into projects (id, name) values ('00000000-0000-7000-8000-000000000001', 'default');

create table jobs (
    id uuid primary key,
    project_id uuid not null references projects (id),
    kind text not null,
    state text not null default 'queued',
    spec jsonb not null,
    priority integer not null,
    progress_step bigint,
    progress_total bigint,
    progress_at timestamptz,
    result jsonb,
    error jsonb,
    attempt integer not null default 0,
    max_attempts integer not null,
    lost_count integer not null default 0,
    step_at_loss bigint not null default 0,
    lease_epoch bigint not null default 0,
    lease_owner uuid,
    lease_expires_at timestamptz,
    pause_reason text,
    cancel_requested_at timestamptz,
    metadata jsonb not null,
    created_at timestamptz not null default clock_timestamp(),
    run_at timestamptz not null,
    sort_at timestamptz not null,
    started_at timestamptz,
    finished_at timestamptz,

    constraint jobs_kind_known check (kind in ('annotation', 'distillation', 'evaluation')),
    constraint jobs_state_known
        check (state in ('queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled')),
    constraint jobs_spec_is_of_its_kind check (spec ->> 'kind' is not distinct from kind),
    constraint jobs_lease_iff_running check (
        (state = 'running') = (lease_owner is not null)
        and (state = 'running') = (lease_expires_at is not null)
    ),
    constraint jobs_finished_iff_terminal
        check ((state in ('succeeded', 'failed', 'cancelled')) = (finished_at is not null)),
    constraint jobs_reason_iff_paused check ((state = 'paused') = (pause_reason is not null)),
    constraint jobs_pause_reason_known check (pause_reason in ('user', 'budget', 'smoke', 'disk')),
    constraint jobs_result_iff_succeeded check ((state = 'succeeded') = (result is not null)),
    constraint jobs_error_if_failed check (state <> 'failed' or error is not null),
    constraint jobs_request_if_cancelled check (state <> 'cancelled' or cancel_requested_at is not null),
    constraint jobs_started_if_run check (state not in ('running', 'succeeded') or started_at is not null),
    constraint jobs_attempts_bounded check (attempt between 0 and max_attempts),
    constraint jobs_epoch_counts_claims check (lease_epoch >= attempt),
    constraint jobs_losses_counted check (lost_count >= 0 and step_at_loss >= 0),
    constraint jobs_progress_whole check (
        (progress_step is null) = (progress_total is null)
        and (progress_step is null) = (progress_at is null)
        and (progress_step is null or (progress_step >= 0 and progress_total >= 0))
    )
)
-- Room in each page for the next version of a row, so that a beat is a heap-only update; a long spec moves out of
-- the row, so that a beat does not copy it.
with (fillfactor = 70, toast_tuple_target = 512);

comment on table jobs is $$What was asked for, and the queue. States, and who moves a job between them:
queued: waits for a worker, for run_at or for the jobs it depends on; entered by create, a failed attempt, the reaper, a draining worker; left by claim, cancel, a failed dependency.
running: a worker holds the lease; entered by claim; left by finish, fail, release, an acknowledged cancel, the reaper. A crash leaves it running until the lease expires.
paused: stopped on purpose, to be resumed; left by resume and cancel.
succeeded: done, with a result; terminal.
failed: given up, with an error; terminal.
cancelled: stopped for good by a request; terminal.$$;
comment on column jobs.id is 'UUIDv7 from the caller: sorts by time of submission.';
comment on column jobs.project_id is 'Who owns it.';
comment on column jobs.kind is 'annotation, distillation or evaluation; workers claim by it.';
comment on column jobs.state is 'Where it stands; see the table''s comment.';
comment on column jobs.spec is 'What to do, with every default filled in; its member kind repeats the column.';
comment on column jobs.priority is 'Higher runs sooner: one point is worth 15 minutes of waiting.';
comment on column jobs.progress_step is 'Steps done by the running or last attempt, once it has said so.';
comment on column jobs.progress_total is 'Steps in all.';
comment on column jobs.progress_at is 'When the progress was last written.';
comment on column jobs.result is 'What a succeeded job found.';
comment on column jobs.error is 'Why it failed, or why its last attempt did: {code, message, hint}.';
comment on column jobs.attempt is 'Attempts begun; goes down again when a worker drains, so it fences nothing.';
comment on column jobs.max_attempts is 'Attempts allowed.';
comment on column jobs.lost_count is 'Leases lost since the job last moved past step_at_loss; the third loss is poison.';
comment on column jobs.step_at_loss is 'The furthest step that any lost attempt had reached.';
comment on column jobs.lease_epoch is 'The number of the newest hold; only grows: at claim, and when an unanswered cancel is forced. Every write of a worker carries it.';
comment on column jobs.lease_owner is 'The worker that holds the lease; a new id each time a worker starts.';
comment on column jobs.lease_expires_at is 'When the reaper may take the job from a silent worker. Not indexed: beats must stay heap-only updates.';
comment on column jobs.pause_reason is 'user, budget, smoke or disk.';
comment on column jobs.cancel_requested_at is 'When somebody asked to cancel it: a request, not a state.';
comment on column jobs.metadata is 'The user''s own labels.';
comment on column jobs.created_at is 'When it was submitted.';
comment on column jobs.run_at is 'Not claimed before this instant.';
comment on column jobs.sort_at is 'run_at - priority * 15 minutes: the claim''s order. Waiting moves a job forward, so nothing starves.';
comment on column jobs.started_at is 'When its first attempt began.';
comment on column jobs.finished_at is 'When it became terminal.';

create index jobs_ready on jobs (sort_at, id) where state = 'queued';
create index jobs_running on jobs (id) where state = 'running';
create index jobs_of_project on jobs (project_id, id);

create function notify_jobs() returns trigger language plpgsql as $$
begin
    perform pg_notify('stepwise_jobs', '');
    return null;
end
$$;
comment on function notify_jobs() is
    'Says that something in the queue moved. A signal, never data: who hears it looks at the table.';
-- Once a row, and not for claims: a job that becomes running wakes nobody. Postgres sends equal signals of one
-- transaction once.
create trigger jobs_submitted after insert on jobs for each row execute function notify_jobs();
create trigger jobs_moved after update of state, cancel_requested_at on jobs for each row
    when ((old.state is distinct from new.state and new.state <> 'running')
        or old.cancel_requested_at is distinct from new.cancel_requested_at)
    execute function notify_jobs();

create table job_dependencies (
    job_id uuid not null references jobs (id) on delete cascade,
    depends_on_id uuid not null references jobs (id),
    project_id uuid not null references projects (id),
    primary key (job_id, depends_on_id),
    constraint job_dependencies_not_itself check (job_id <> depends_on_id)
);
comment on table job_dependencies is 'Which jobs must succeed before a job may be claimed.';
comment on column job_dependencies.job_id is 'The job that waits.';
comment on column job_dependencies.depends_on_id is 'The job that must succeed first.';
comment on column job_dependencies.project_id is 'Who owns both.';
create index job_dependencies_by_parent on job_dependencies (depends_on_id);

create table files (
    id uuid primary key,
    project_id uuid not null references projects (id),
    filename text not null,
    purpose text not null,
    bytes bigint not null,
    sha256 text not null,
    status text not null,
    validation jsonb not null,
    artifact_key text not null,
    made_by_job_id uuid references jobs (id),
    created_at timestamptz not null default clock_timestamp(),
    deleted_at timestamptz,
    constraint files_purpose_known check (purpose in ('fine-tune', 'evals', 'user_data', 'batch_output')),
    constraint files_status_known check (status in ('processed', 'error')),
    constraint files_bytes_counted check (bytes >= 0),
    constraint files_sha256_is_hexadecimal check (sha256 ~ '^[0-9a-f]{64}$')
);
comment on table files is 'Uploaded and produced files; their bytes lie in the artifact store. The bytes come first, the row second.';
comment on column files.id is 'UUIDv7 from the caller.';
comment on column files.project_id is 'Who owns it.';
comment on column files.filename is 'The name it was uploaded under; never a path.';
comment on column files.purpose is 'fine-tune, evals, user_data, or batch_output (written by an annotation job).';
comment on column files.bytes is 'Its size.';
comment on column files.sha256 is 'The digest of its bytes, in lower-case hexadecimal.';
comment on column files.status is 'processed: every line is good; error: some line is bad, and no job takes the file.';
comment on column files.validation is 'What was found in its lines: counts and the first errors.';
comment on column files.artifact_key is 'Where its bytes lie in the artifact store.';
comment on column files.made_by_job_id is 'The job that wrote it; null for an upload.';
comment on column files.created_at is 'When it was stored.';
comment on column files.deleted_at is 'When it was deleted. The row stays for the jobs that name it; no read shows it.';
create index files_of_project on files (project_id, id) where deleted_at is null;
create index files_by_maker on files (made_by_job_id) where made_by_job_id is not null;

create table job_files (
    job_id uuid not null references jobs (id) on delete cascade,
    file_id uuid not null references files (id),
    project_id uuid not null references projects (id),
    primary key (job_id, file_id)
);
comment on table job_files is 'Which files a job reads: none of them can be deleted before the job is terminal.';
comment on column job_files.job_id is 'The job.';
comment on column job_files.file_id is 'The file that it reads.';
comment on column job_files.project_id is 'Who owns both.';
create index job_files_by_file on job_files (file_id);

create table job_events (
    id bigint generated always as identity primary key,
    job_id uuid not null references jobs (id) on delete cascade,
    project_id uuid not null references projects (id),
    level text not null,
    code text not null,
    message text not null,
    data jsonb not null default '{}',
    created_at timestamptz not null default clock_timestamp(),
    constraint job_events_level_known check (level in ('info', 'warn', 'error'))
);
comment on table job_events is 'What happened to a job, oldest first. Every change of a job''s state writes one in the same statement.';
comment on column job_events.id is 'Grows with time within a job; the cursor of lists.';
comment on column job_events.job_id is 'The job.';
comment on column job_events.project_id is 'Who owns it.';
comment on column job_events.level is 'info, warn or error.';
comment on column job_events.code is 'A stable name to branch on, such as retry_scheduled.';
comment on column job_events.message is 'A sentence for people.';
comment on column job_events.data is 'Details, an object.';
comment on column job_events.created_at is 'When it happened.';
create index job_events_of_job on job_events (job_id, id);

create table job_metrics (
    job_id uuid not null references jobs (id) on delete cascade,
    step bigint not null,
    name text not null,
    project_id uuid not null references projects (id),
    value double precision not null,
    created_at timestamptz not null default clock_timestamp(),
    primary key (job_id, step, name)
);
comment on table job_metrics is 'Figures of a job by step. An attempt that repeats a step overwrites the figures of the earlier one.';
comment on column job_metrics.job_id is 'The job.';
comment on column job_metrics.step is 'The optimizer step.';
comment on column job_metrics.name is 'Which figure, such as label_loss.';
comment on column job_metrics.project_id is 'Who owns it.';
comment on column job_metrics.value is 'The figure.';
comment on column job_metrics.created_at is 'When it was last written.';

create table annotations (
    job_id uuid not null references jobs (id) on delete cascade,
    example_index bigint not null,
    project_id uuid not null references projects (id),
    example_id text not null,
    input text not null,
    label text,
    status text not null,
    reason text,
    teacher_label text,
    rationale text,
    raw_output text,
    input_tokens bigint not null,
    output_tokens bigint not null,
    latency_ms bigint not null,
    created_at timestamptz not null default clock_timestamp(),
    primary key (job_id, example_index),
    constraint annotations_index_counted check (example_index >= 0),
    constraint annotations_status_known check (status in ('valid', 'invalid', 'refused', 'truncated', 'failed')),
    constraint annotations_label_if_valid check (status <> 'valid' or teacher_label is not null)
);
comment on table annotations is 'Settled answers of a teacher: a row an example, committed before the next answer is awaited, so that a restart pays for none twice.';
comment on column annotations.job_id is 'The annotation job.';
comment on column annotations.example_index is 'The example''s place in its file, from 0.';
comment on column annotations.project_id is 'Who owns it.';
comment on column annotations.example_id is 'The example''s id in its file.';
comment on column annotations.input is 'The example''s input.';
comment on column annotations.label is 'Ground truth, where the file has it.';
comment on column annotations.status is 'valid: a label was read; invalid: none of the set could be; refused: the teacher declined; truncated: the answer ended too early; failed: no answer came.';
comment on column annotations.reason is 'Why it is not valid.';
comment on column annotations.teacher_label is 'The label read from the answer.';
comment on column annotations.rationale is 'The rationale read from the answer.';
comment on column annotations.raw_output is 'The teacher''s text as it came.';
comment on column annotations.input_tokens is 'Tokens of the prompt, by the teacher''s count.';
comment on column annotations.output_tokens is 'Tokens of the answer, by the teacher''s count.';
comment on column annotations.latency_ms is 'Milliseconds from request to answer.';
comment on column annotations.created_at is 'When it was settled.';

create table models (
    id uuid primary key,
    project_id uuid not null references projects (id),
    name text not null,
    base text not null,
    job_id uuid not null references jobs (id),
    task jsonb not null,
    metrics jsonb not null,
    artifact_prefix text not null,
    manifest_sha256 text not null,
    bytes bigint not null,
    created_at timestamptz not null default clock_timestamp(),
    deleted_at timestamptz,
    constraint models_manifest_is_hexadecimal check (manifest_sha256 ~ '^[0-9a-f]{64}$'),
    constraint models_bytes_counted check (bytes >= 0)
);
comment on table models is 'Published checkpoints. A row implies complete, verified, immutable files.';
comment on column models.id is 'UUIDv7 from the caller.';
comment on column models.project_id is 'Who owns it.';
comment on column models.name is 'The name it is asked for by; unique in its project among those not deleted.';
comment on column models.base is 'What it was trained from: a model''s name, or from_scratch.';
comment on column models.job_id is 'The job that made it; a job makes one.';
comment on column models.task is 'The task it learned.';
comment on column models.metrics is 'Accuracies and the like, by metric name.';
comment on column models.artifact_prefix is 'The folder of its files in the artifact store.';
comment on column models.manifest_sha256 is 'The digest of the manifest there, in lower-case hexadecimal.';
comment on column models.bytes is 'The size of all its files.';
comment on column models.created_at is 'When it was published.';
comment on column models.deleted_at is 'When it was deleted. The row stays for its job''s lineage; no read shows it.';
create unique index models_by_name on models (project_id, name) where deleted_at is null;
create unique index models_by_job on models (job_id);
