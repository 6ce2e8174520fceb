-- Pausing running jobs, and where an interrupted training continues.

alter table jobs add column pause_requested_at timestamptz;
alter table jobs add constraint jobs_pause_request_of_a_running_job
    check (pause_requested_at is null or (state = 'running' and cancel_requested_at is null));
comment on column jobs.pause_requested_at is
    'When somebody asked to pause it while it was running: a request, not a state. A cancel withdraws it, and so does every end of the attempt.';
comment on table jobs is $$What was asked for, and the queue. States, and who moves a job between them:
queued: waits for a worker, for run_at or for the jobs it depends on; entered by create, a failed attempt, the reaper, a draining worker, resume, retry; left by claim, pause, cancel, a failed dependency.
running: a worker holds the lease; entered by claim; left by finish, fail, release, an acknowledged cancel, the reaper. A crash leaves it running until the lease expires.
paused: stopped on purpose, to be resumed; entered by pause of a queued job, and by fail, release and the reaper after a request; left by resume, cancel and a failed dependency.
succeeded: done, with a result; for good.
failed: given up, with an error; left only by retry.
cancelled: stopped by a request; left only by retry.$$;

-- A request to pause wakes the worker that holds the job; withdrawing it wakes nobody.
drop trigger jobs_moved on jobs;
create trigger jobs_moved after update of state, cancel_requested_at, pause_requested_at on jobs for each row
    when ((old.state is distinct from new.state and new.state <> 'running')
        or old.cancel_requested_at is distinct from new.cancel_requested_at
        or (old.pause_requested_at is null and new.pause_requested_at is not null))
    execute function notify_jobs();

create table snapshots (
    job_id uuid not null references jobs (id) on delete cascade,
    lease_epoch bigint not null,
    step bigint not null,
    project_id uuid not null references projects (id),
    artifact_prefix text not null unique,
    manifest_sha256 text not null,
    bytes bigint not null,
    created_at timestamptz not null default clock_timestamp(),
    primary key (job_id, lease_epoch, step),
    constraint snapshots_step_counted check (step >= 0),
    constraint snapshots_epoch_counted check (lease_epoch >= 1),
    constraint snapshots_bytes_counted check (bytes >= 0),
    constraint snapshots_manifest_is_hexadecimal check (manifest_sha256 ~ '^[0-9a-f]{64}$')
);
comment on table snapshots is 'Where an interrupted training continues. The files come first, the row second; of a job the newest is kept, and of a succeeded one none.';
comment on column snapshots.job_id is 'The training.';
comment on column snapshots.lease_epoch is 'The hold under which it was stored.';
comment on column snapshots.step is 'Optimizer steps done.';
comment on column snapshots.project_id is 'Who owns it.';
comment on column snapshots.artifact_prefix is 'The folder of its files in the artifact store.';
comment on column snapshots.manifest_sha256 is 'The digest of the manifest there, in lower-case hexadecimal.';
comment on column snapshots.bytes is 'The size of all its files.';
comment on column snapshots.created_at is 'When it was stored.';
