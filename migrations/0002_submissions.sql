-- What a submission leaves: a key that makes its repetition harmless, and an estimate that is compared with what came.

alter table jobs
    add column estimate jsonb,
    add column estimate_error jsonb,
    add constraint jobs_error_of_an_estimate
        check (estimate_error is null or (estimate is not null and state = 'succeeded'));
comment on column jobs.estimate is 'What the job would probably take, as told when it was submitted; null where nothing could be said.';
comment on column jobs.estimate_error is 'The estimate against what the succeeded job took: by figure, estimated, actual and their ratio.';

-- For lists by metadata.
create index jobs_by_metadata on jobs using gin (metadata jsonb_path_ops);
-- Succeeded jobs whose estimate is still to be compared: nearly always none.
create index jobs_to_compare on jobs (id) where state = 'succeeded' and estimate is not null and estimate_error is null;

create table idempotency_keys (
    project_id uuid not null references projects (id),
    route text not null,
    key text not null,
    fingerprint text not null,
    holder uuid not null unique,
    made_id uuid,
    status integer,
    location text,
    content_type text,
    body bytea,
    created_at timestamptz not null default clock_timestamp(),
    primary key (project_id, route, key),
    constraint idempotency_keys_answered_whole
        check ((status is null) = (body is null) and (status is null) = (content_type is null)),
    constraint idempotency_keys_key_short check (length(key) between 1 and 255),
    constraint idempotency_keys_fingerprint_is_hexadecimal check (fingerprint ~ '^[0-9a-f]{64}$')
);
comment on table idempotency_keys is 'Keys that clients gave their requests. A request claims its key, acts, and stores its answer, which every repetition gets. What it makes is noted in the statement that makes it, so that a crash in between does not make it twice.';
comment on column idempotency_keys.project_id is 'Who owns it.';
comment on column idempotency_keys.route is 'Method and route, such as POST /v1/annotation-jobs; each has keys of its own.';
comment on column idempotency_keys.key is 'What the client sent.';
comment on column idempotency_keys.fingerprint is 'The digest of the request, in lower-case hexadecimal: a key may not come with another request.';
comment on column idempotency_keys.holder is 'The request that holds the key: whoever lost it to another one makes nothing.';
comment on column idempotency_keys.made_id is 'The job or file that the request made.';
comment on column idempotency_keys.status is 'The answer''s status; null while the request is under way.';
comment on column idempotency_keys.location is 'The answer''s location header.';
comment on column idempotency_keys.content_type is 'The answer''s content type.';
comment on column idempotency_keys.body is 'The answer''s body.';
comment on column idempotency_keys.created_at is 'When the key was claimed; a week later it is forgotten.';
create index idempotency_keys_by_age on idempotency_keys (created_at);
