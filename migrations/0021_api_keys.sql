-- API keys, and who changed what.

create table api_keys (
    id text primary key,
    project_id uuid not null references projects (id),
    name text not null,
    digest bytea not null,
    last_four text not null,
    scopes text[] not null,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    constraint api_keys_id_form check (id ~ '^[0-9A-Za-z]{8}$'),
    constraint api_keys_digest_is_sha256 check (octet_length(digest) = 32),
    constraint api_keys_scopes_known check (scopes <@ array['read', 'submit', 'infer', 'admin'] and cardinality(scopes) > 0)
);
comment on table api_keys is 'Keys that requests are authenticated with. A row stays when its key is revoked: once there is one, requests need a key.';
comment on column api_keys.id is 'The part of the key that is no secret.';
comment on column api_keys.project_id is 'Whose rows the key reaches.';
comment on column api_keys.name is 'What people call it.';
comment on column api_keys.digest is 'SHA-256 of the secret, which is stored nowhere.';
comment on column api_keys.last_four is 'How the key ends, so that its holder knows it again.';
comment on column api_keys.scopes is 'What it may do: read, submit, infer, admin.';
comment on column api_keys.created_at is 'When it was made.';
comment on column api_keys.expires_at is 'From when on it is refused; null: never.';
comment on column api_keys.revoked_at is 'When it was revoked; null while it is good.';
comment on column api_keys.last_used_at is 'When it was last used, written at most once a minute.';

create table audit_log (
    id bigint generated always as identity primary key,
    project_id uuid not null references projects (id),
    key_id text references api_keys (id),
    operation text not null,
    resource text,
    request_id text,
    status integer,
    created_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz,
    constraint audit_log_status_when_ended check (status is null or ended_at is not null)
);
comment on table audit_log is 'Changes that were asked for: a row is written before the change is made and completed before the answer is sent.';
comment on column audit_log.id is 'Its place in the log; the cursor of lists.';
comment on column audit_log.project_id is 'Whose rows were changed.';
comment on column audit_log.key_id is 'Who asked; null where no key was needed, and for the command line.';
comment on column audit_log.operation is 'What: method and route, or the command.';
comment on column audit_log.resource is 'The id or name of what was changed; null where nothing was made.';
comment on column audit_log.request_id is 'The request; null for the command line.';
comment on column audit_log.status is 'The answer''s status; null for the command line, and where nobody knows how it ended.';
comment on column audit_log.created_at is 'When it was asked for.';
comment on column audit_log.ended_at is 'When it was done or refused; null where the process or its client went away in between.';
create index audit_log_by_project on audit_log (project_id, id);
