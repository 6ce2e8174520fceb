-- Files that expire, splits that outlive an annotation, and warnings of a job.

alter table files add column expires_at timestamptz;
alter table files add constraint files_expire_after_they_are_stored check (expires_at > created_at);
comment on column files.expires_at is
    'When it goes away by itself; null: never. A job that is not over and reads it holds on to it.';
create index files_expiring on files (expires_at) where deleted_at is null and expires_at is not null;

create function file_has_expired(file uuid, expires_at timestamptz) returns boolean language sql stable as $$
    select coalesce(expires_at <= clock_timestamp(), false) and not exists (
        select from job_files f join jobs j on j.id = f.job_id
        where f.file_id = file and j.state in ('queued', 'running', 'paused')
    )
$$;
comment on function file_has_expired(uuid, timestamptz) is
    'Whether no read shows the file any more, though the sweep has not come by yet.';

alter table annotations add column split text;
alter table annotations add constraint annotations_split_known check (split in ('train', 'validation', 'test'));
comment on column annotations.split is 'What the example may be used for: train, validation or test; null: anything.';

alter table jobs add column warnings jsonb not null default '[]';
alter table jobs add constraint jobs_warnings_are_a_list check (jsonb_typeof(warnings) = 'array');
comment on column jobs.warnings is
    'What the user should know though it stops nothing: [{code, message, data}], from submission or from a worker.';
